"""The style sheet of every page: one column, quiet ink, two colours that mean something, light and dark.

Colours: blue is right, vermilion is wrong (Okabe and Ito 2008, told apart by colour-blind readers); classes have eight
hues of the same origin. All text keeps a contrast of 4.5 : 1 or more against its ground (WCAG 2.2, success criterion
1.4.3); on grounds of many shades, `ink_on` computes which ink that is.
"""

import re

LIGHT = """
--paper:#fffdfa;--ink:#1c1b1a;--soft:#5f5b55;--rule:#e3dfd8;--tile:#f5f2ec;--blue:#00629c;--red:#bd4800;
--k0:#0072b2;--k1:#d55e00;--k2:#009e73;--k3:#cc6fa3;--k4:#b07d00;--k5:#3fa0dc;--k6:#7a4bb0;--k7:#6e6e6e"""
DARK = """
--paper:#151617;--ink:#eceae6;--soft:#a6a29b;--rule:#35363a;--tile:#1f2123;--blue:#5fb4ea;--red:#ff8b4a;
--k0:#4aa8e0;--k1:#f58a3c;--k2:#2fc79a;--k3:#e79ac6;--k4:#e0b23a;--k5:#9ad4fa;--k6:#b795e8;--k7:#a8a8a8"""

STYLE = ":root{color-scheme:light dark;" + LIGHT + "}\n@media (prefers-color-scheme:dark){:root{" + DARK + "}}" + """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0 auto;padding:1.5rem 1.25rem 4rem;max-width:68rem;background:var(--paper);color:var(--ink);
 font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
 font-variant-numeric:tabular-nums lining-nums;overflow-wrap:anywhere}
h1,h2,h3{font-family:Georgia,"Times New Roman",serif;line-height:1.2;font-weight:700;text-wrap:balance}
h1{font-size:clamp(1.6rem,4.4vw,2.5rem);margin:.3rem 0 .7rem}
h2{font-size:1.4rem;margin:0 0 .3rem}
h3{font-size:1rem;margin:0}
section{margin-top:3rem;border-top:2px solid var(--ink);padding-top:.8rem}
p{margin:.3rem 0 .8rem;max-width:44rem}
.over{color:var(--soft);margin:0;font-size:.9rem}
.lead{font-size:1.1rem}
.note,figcaption,small,.soft{color:var(--soft)}
.note{font-size:.9rem}
a{color:inherit}
nav{margin:1.2rem 0 0;font-size:.9rem;display:flex;flex-wrap:wrap;gap:.3rem 1.1rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.6rem;margin:1.4rem 0 0;padding:0}
.tile{background:var(--tile);padding:.6rem .8rem;margin:0}
.tile dt{font-size:.85rem;color:var(--soft)}
.tile dd{margin:0;font-size:1.5rem;font-weight:600;line-height:1.25}
.tile dd small{font-size:.85rem;font-weight:400;display:block}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:start;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--rule);vertical-align:top}
th{color:var(--soft);font-weight:400}
.narrow{width:auto}.narrow :is(th,td){padding-inline-end:1.6rem}
.num{text-align:end;white-space:nowrap}
td:last-child,th:last-child{padding-inline-end:0}
details{margin:.8rem 0}
summary{cursor:pointer;color:var(--soft);padding:.3rem 0}
figure{margin:.8rem 0 0}
svg{display:block;overflow:visible}
svg text{fill:var(--soft);font-size:12px;unicode-bidi:plaintext}
.grid{stroke:var(--rule)}
.ref{stroke:var(--soft);stroke-dasharray:3 3}
.rows{margin:.8rem 0}
.r{display:grid;grid-template-columns:9.5rem minmax(0,1fr) 9.5rem 5rem;gap:0 1.2rem;align-items:center;
 border-bottom:1px solid var(--rule)}
.wide .r{grid-template-columns:9.5rem minmax(0,1fr) 10rem 9rem}
.r .v,.r .w{text-align:end}
.r.head{color:var(--soft);font-size:.85rem;align-items:end}
.r.axis{border:0}
.r.kept .n{font-weight:700}
.bar{fill-opacity:.45}
.bar.single,.dot.single{fill:var(--k7)}
.bar.fused,.dot.fused{fill:var(--blue)}
.bar[class*=" k"],.dot[class*=" k"]{fill:var(--k)}
.seed{stroke:var(--ink)}
.link{stroke:var(--soft);stroke-width:1.5}
.recall{fill:var(--blue)}
.precision{fill:var(--paper);stroke:var(--red);stroke-width:2}
i{font-style:normal}
.k-recall{color:var(--blue)}.k-precision{color:var(--red)}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1.5rem 3rem;align-items:start}
.two>*{min-width:0}
.two section{margin-top:0}
.scroll{overflow-x:auto;max-width:100%;padding:.2rem 0}
.ground{fill:var(--tile)}
.rule{stroke:var(--paper);stroke-width:1}
.hit{fill:var(--blue)}.miss{fill:var(--red)}
svg text.light-black{fill:#000}svg text.light-white{fill:#fff}
@media (prefers-color-scheme:dark){svg text.dark-black{fill:#000}svg text.dark-white{fill:#fff}}
.plot{position:relative;margin:.4rem .6rem 1.6rem 2.4rem}
.square{aspect-ratio:1;max-width:25rem}
.map-plot{aspect-ratio:1.6;margin:1.2rem 1rem}
.xtitle,.ytitle{font-size:.85rem;color:var(--soft);margin:0 0 0 2.4rem;max-width:none}
.map .xtitle{margin:0}
.gap{stroke:var(--red);stroke-width:1.5}
.bin{fill:var(--blue);fill-opacity:.8;stroke:var(--paper)}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,18rem),1fr));gap:1.8rem 2.5rem;
 margin-top:1rem}
.key{display:flex;flex-wrap:wrap;gap:0 1rem;font-size:.85rem;margin:.4rem 0 0}
.key .what{color:var(--soft);flex:1 1 auto}
.line{fill:none;stroke-width:2;vector-effect:non-scaling-stroke}
.line.train{stroke:var(--k7)}.line.val{stroke:var(--blue)}
.band{fill-opacity:.16}.band.train{fill:var(--k7)}.band.val{fill:var(--blue)}
.t-train{color:var(--soft)}.t-val{color:var(--blue);font-weight:600}
.pt{fill:var(--k);stroke:var(--k);stroke-width:1.5;fill-opacity:.75}
.pt.wrong{fill:var(--paper);fill-opacity:1}
""" + "".join(f".k{index}{{--k:var(--k{index})}}" for index in range(8)) + "".join(
    f".t-k{index}{{color:var(--k{index})}}" for index in range(8)) + """
svg text.place,svg text.note{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round;
 pointer-events:none}
svg text.place{fill:var(--ink);font-size:12.5px;font-weight:600}
.chips{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem .4rem;padding:0;margin:.3rem 0;font-size:.88rem}
.chips li{display:flex;align-items:center;gap:.3rem;padding:.15rem .4rem;cursor:default;max-width:100%}
.chips li:is(:hover,:focus){background:var(--tile)}
.menu{font-size:.9rem}
select{font:inherit;max-width:100%}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr));gap:1.6rem 1.4rem;
 margin-top:1rem}
.card{margin:0}
.card .pics{display:grid;grid-template-columns:1fr 1fr;gap:2px}
.card img{width:100%;height:auto;display:block}
.card p{margin:.4rem 0 0;font-size:.92rem;line-height:1.4}
.card .id{color:var(--soft);font-size:.82rem}
.said{color:var(--red);font-weight:600}.true{color:var(--blue);font-weight:600}
.wheel{float:inline-end;width:5rem;height:5rem;margin:0 0 .5rem 1rem;border-radius:50%}
.ribbon rect{stroke:var(--paper);stroke-width:1;vector-effect:non-scaling-stroke}
.ribbon .k0,.ribbon .k1,.ribbon .k2,.ribbon .k3,.ribbon .k4,.ribbon .k5,.ribbon .k6,.ribbon .k7,.area{fill:var(--k)}
.area{fill-opacity:.55}
.prov{columns:2 26rem;column-gap:3rem}
.prov div{break-inside:avoid;margin-bottom:1.2rem}
.prov h3{margin-bottom:.2rem}
.prov td:first-child{color:var(--soft);width:42%}
footer{margin-top:3rem;color:var(--soft);font-size:.85rem}
@media (max-width:40rem){
 body{padding:1rem .9rem 3rem}
 .r,.wide .r{grid-template-columns:minmax(0,1fr) auto auto;gap:0 .8rem;padding-top:.35rem}
 .r .p{grid-column:1/-1;grid-row:2}
 .r.head .p{grid-row:1}
 .r.head .n,.r.head .v,.r.head .w{grid-row:2}
 .wide .w{grid-column:1/-1;grid-row:3;text-align:start}
 .wide .r.head .w{grid-row:3}
 .wide .w:empty{display:none}
 .map-plot{aspect-ratio:1}
 .roomy{display:none}
}
@media print{nav,.menu{display:none}}
"""


def palette(variables: str) -> dict[str, str]:
    """`--ink:#1c1b1a;` -> {"ink": "#1c1b1a"}."""
    return dict(re.findall(r"--(\w+):(#[0-9a-f]{6})", variables))


THEMES = {"light": palette(LIGHT), "dark": palette(DARK)}  # the prefix of the class that colours text -> its colours


def ink_on(colour: str, ground: str, opacity: float) -> str:
    """Choose black or white text for a colour laid over a ground, in light pages and in dark ones.

    One of the two always has a contrast of 4.5 : 1: where that of black ends (luminance 0.175), white's has begun.

    Args:
        colour: a name of the palette.
        ground: likewise.
        opacity: of the colour, 0 to 1.

    Returns:
        the classes of the text, as `light-black dark-white`.
    """
    chosen = []
    for prefix, colours in THEMES.items():
        mixed = blend(colours[colour], colours[ground], opacity)
        chosen.append(f"{prefix}-{'black' if contrast('#000000', mixed) > contrast('#ffffff', mixed) else 'white'}")
    return " ".join(chosen)


def blend(colour: str, ground: str, opacity: float) -> str:
    """Lay a colour over another as a browser does, in sRGB: `#rrggbb`."""
    return "#" + "".join(f"{round(opacity * over + (1 - opacity) * under):02x}"
                         for over, under in zip(_rgb(colour), _rgb(ground), strict=True))


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
              for value in (channel / 255 for channel in _rgb(colour))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
