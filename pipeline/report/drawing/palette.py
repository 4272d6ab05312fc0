"""The colours of the style sheet, and which ink can be read on them."""

import re
from importlib.resources import files

STYLE = files("pipeline.report").joinpath("pages/style.css").read_text(encoding="utf-8")


def palettes(sheet: str) -> dict[str, dict[str, str]]:
    """Read the variables of both themes: {"light": {"ink": "#1c1b1a", ...}, "dark": {...}}.

    Args:
        sheet: a style sheet that says `:root{...}` twice, for light pages and for dark ones.
    """
    light, dark = (dict(re.findall(r"--(\w+):(#[0-9a-f]{6})", rule)) for rule in re.findall(r":root\{([^}]*)\}", sheet))
    return {"light": light, "dark": dark}


THEMES = palettes(STYLE)


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
    return "#" + "".join(
        f"{round(opacity * over + (1 - opacity) * under):02x}"
        for over, under in zip(_rgb(colour), _rgb(ground), strict=True)
    )


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in _rgb(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
