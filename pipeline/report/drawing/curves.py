"""Learning curves: small pictures, one a row, all at the same scale."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.report.drawing.charts import Scale, percent, rule, with_unit
from pipeline.report.drawing.markup import Markup, join, name_of, number, tag
from pipeline.report.facts.facts import Curve


def curves_chart(curves: Sequence[Curve]) -> Markup:
    """Draw accuracy and loss by epoch, a small picture a row, all at the same scale."""
    rows = list(dict.fromkeys(curve.row for curve in curves))
    panels = []
    highest = max((float(curve.high.max()) for curve in curves if curve.metric.endswith("loss")), default=1.0)
    for row in rows:
        mine = {curve.metric: curve for curve in curves if curve.row == row}
        pictures = [_curves(mine, "top1", Scale(0, 1), "accuracy, %"), _curves(mine, "loss", Scale(0, highest), "loss")]
        panels.append(tag("div", tag("h3", name_of(row)), *pictures, class_="panel"))
    return tag("div", *panels, class_="panels")


def _curves(mine: dict[str, Curve], what: str, scale: Scale, title: str) -> Markup:
    parts = [(part, mine[f"{part}_{what}"]) for part in ("train", "val") if f"{part}_{what}" in mine]
    epochs = max(len(curve.mean) for _, curve in parts)
    across = Scale(1, max(2, epochs))
    grid = [
        mark
        for tick in scale.ticks(4)
        for mark in (
            rule("0", scale.up(tick), "100%", scale.up(tick), "grid"),
            tag(
                "text",
                percent(tick, 0) if what == "top1" else f"{tick:g}",
                x=-6,
                y=scale.up(tick),
                dy=4,
                text_anchor="end",
            ),
        )
    ]
    lines = [
        mark
        for part, curve in parts
        for mark in (
            tag(
                "path",
                d=band_path(curve.low, curve.high, scale, len(curve.mean) / max(1, epochs)),
                class_=f"band {part}",
            ),
            tag("path", d=line_path(curve.mean, scale, len(curve.mean) / max(1, epochs)), class_=f"line {part}"),
        )
    ]
    words = [
        tag(
            "span",
            f"{ {'train': 'training', 'val': 'validation'}[part] } "
            f"{with_unit(curve.mean[-1]) if what == 'top1' else f'{curve.mean[-1]:.3f}'}",
            class_=f"t-{part}",
        )
        for part, curve in parts
    ]
    ends = [
        tag("text", str(epoch), x=across.at(epoch), y="100%", dy=15, text_anchor=anchor)
        for epoch, anchor in ((1, "start"), (epochs, "end"))
    ]
    drawing = tag(
        "svg",
        *grid,
        *ends,
        stretched(*lines),
        width="100%",
        height=110,
        role="img",
        aria_label=f"{title} by epoch, 1 to {epochs}",
    )
    return join([tag("p", tag("span", title, class_="what"), *words, class_="key"), tag("div", drawing, class_="plot")])


def stretched(*paths: Markup) -> Markup:
    """Paths in a box of 1000 x 1000 that is stretched over the whole drawing; strokes keep their width."""
    return tag("svg", *paths, viewBox="0 0 1000 1000", preserveAspectRatio="none", width="100%", height="100%")


def _points(values: NDArray[np.float64], scale: Scale, reach: float) -> list[str]:
    across = np.linspace(0, 1000 * reach, len(values)) if len(values) > 1 else np.array([0.0])
    return [
        f"{number(x)} {number(1000 - 1000 * scale.share(y))}"
        for x, y in zip(across.tolist(), values.tolist(), strict=True)
    ]


def line_path(values: NDArray[np.float64], scale: Scale, reach: float = 1.0) -> str:
    """Return the path of a line through equally spaced values, over the first `reach` of the width."""
    points = _points(values, scale, reach)
    return "M" + "L".join(points if len(points) > 1 else points * 2)


def band_path(low: NDArray[np.float64], high: NDArray[np.float64], scale: Scale, reach: float = 1.0) -> str:
    """Return the path of the area between two lines."""
    return "M" + "L".join(_points(low, scale, reach) + _points(high, scale, reach)[::-1]) + "Z"
