"""Charts by hand: SVG in percent of its box, so that it flows to any width while its text keeps its size.

Every chart speaks to a screen reader too: rows are tables by role, drawings carry a label, and points a title that a
pointer shows. Colours are classes of the style sheet, never numbers here, so that dark pages have their own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.learn.runs.records import ClassResult, Results, RowResult
from pipeline.report.drawing.markup import Markup, join, name_of, number, tag
from pipeline.report.facts.facts import Bin
from schemas.words import counted

ROW_PX = 26
MID = ROW_PX / 2
CLASSES_SHOWN = 24  # the worst ones; the others are one click away


def percent(fraction: float, digits: int = 1) -> str:
    """0.8333 -> `83.3`."""
    return f"{100 * fraction:.{digits}f}".replace("-", "−")


def with_unit(fraction: float) -> str:
    """0.8333 -> `83.3 %`, never parted at a line's end."""
    return f"{percent(fraction)}\u00a0%"


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` along the box.

    Attributes:
        low: value at the start.
        high: value at the end.
    """

    low: float
    high: float

    def at(self, value: float) -> str:
        """Return the place of a value, in percent of the box."""
        return number(100 * self.share(value)) + "%"

    def up(self, value: float) -> str:
        """Return the place of a value on a vertical axis, where SVG counts from the top."""
        return number(100 - 100 * self.share(value)) + "%"

    def share(self, value: float) -> float:
        """Return the place of a value, 0 to 1."""
        return (value - self.low) / ((self.high - self.low) or 1)

    def ticks(self, most: int = 6) -> list[float]:
        """Return round values inside, at most about `most`."""
        span = (self.high - self.low) or 1
        step = 10.0 ** math.floor(math.log10(span / most))
        step = next(factor * step for factor in (1, 2, 2.5, 5, 10) if span / (factor * step) <= most)
        first = math.ceil(self.low / step - 1e-9)
        return [round(k * step, 10) for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def around(values: Sequence[float], step: float = 0.05) -> Scale:
    """Choose a scale of fractions that holds the values and ends at round ones."""
    low, high = math.floor(min(values) / step + 1e-9) * step, math.ceil(max(values) / step - 1e-9) * step
    return Scale(max(0.0, low), min(1.0, high if high > low else low + step))


def rule(x1: str, y1: object, x2: str, y2: object, kind: str) -> Markup:
    """Draw one straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def _strip(scale: Scale, *marks: Markup) -> Markup:
    """The drawing of one row: grid lines, then marks; the words beside it say the same, so readers skip it."""
    grid = (rule(scale.at(tick), 0, scale.at(tick), ROW_PX, "grid") for tick in scale.ticks())
    return tag("svg", *grid, *marks, width="100%", height=ROW_PX, aria_hidden="true")


def _axis(scale: Scale, unit: str = " %") -> Markup:
    ticks = scale.ticks()
    labels = (
        tag(
            "text",
            percent(tick, 0) + (unit if tick == ticks[-1] else ""),
            x=scale.at(tick),
            y=14,
            text_anchor=anchor(scale.share(tick)),
        )
        for tick in ticks
    )
    return tag("svg", *labels, width="100%", height=20, aria_hidden="true")


def anchor(share: float) -> str:
    """Say how a label stands to its place on an axis, so that none leaves the box: `text-anchor`."""
    return "start" if share < 0.02 else "end" if share > 0.98 else "middle"


def _row(kind: str, *cells: tuple[str, str, object]) -> Markup:
    """One row of (class, role, content) cells."""
    return tag(
        "div",
        *(tag("span", content, class_=name, role=role) for name, role, content in cells),
        class_=f"r {kind}".rstrip(),
        role="row",
    )


@dataclass(frozen=True, slots=True)
class Interval:
    """One row of `intervals_chart`.

    Attributes:
        name: of what is measured.
        value: the measure.
        low: lower end of its interval.
        high: its upper end.
        kind: `single`, `fused`, or a colour of the style sheet (`k0` ...).
        words: what stands beside the value.
        aside: what stands in the last column.
        seeds: single measures that `value` is the mean of; not drawn when there is one.
        kept: it is the one that is kept.
    """

    name: str
    value: float
    low: float
    high: float
    kind: str
    words: str
    aside: Markup | str = ""
    seeds: tuple[float, ...] = ()
    kept: bool = False


def intervals_chart(
    rows: Sequence[Interval],
    *,
    heads: tuple[str, str, str],
    label: str,
    scale: Scale | None = None,
    reference: float | None = None,
    signed: bool = False,
) -> Markup:
    """Draw values with their intervals, one a row.

    Args:
        rows: from the top.
        heads: of the columns of names, values and asides.
        label: what the chart is, for those who do not see it.
        scale: None: just wide enough.
        reference: a value that is marked through all rows.
        signed: values are differences and show their sign.
    """
    scale = scale or around([value for row in rows for value in (row.low, row.high, *row.seeds)])
    mark = [] if reference is None else [rule(scale.at(reference), 0, scale.at(reference), ROW_PX, "ref")]
    head = _row(
        "head",
        ("n", "columnheader", heads[0]),
        ("p", "columnheader", ""),
        ("v", "columnheader", heads[1]),
        ("w", "columnheader", heads[2]),
    )
    body = [
        _row(
            "kept" if row.kept else "",
            ("n", "rowheader", join([name_of(row.name), " (kept)" if row.kept else None])),
            ("p", "cell", _strip(scale, *mark, *_interval(row, scale))),
            (
                "v",
                "cell",
                join([tag("b", plus(row.value) if signed else percent(row.value)), tag("small", f" {row.words}")]),
            ),
            ("w", "cell", row.aside),
        )
        for row in rows
    ]
    foot = _row(
        "axis",
        ("n", "cell", ""),
        ("p", "cell", _axis(scale, " points" if signed else " %")),
        ("v", "cell", ""),
        ("w", "cell", ""),
    )
    return tag("div", head, *body, foot, class_="rows wide", role="table", aria_label=label)


def _interval(row: Interval, scale: Scale) -> list[Markup]:
    seeds = row.seeds if len(row.seeds) > 1 else ()
    return [
        tag(
            "rect",
            x=scale.at(row.low),
            y=MID - 2,
            width=number(100 * (scale.share(row.high) - scale.share(row.low))) + "%",
            height=4,
            rx=2,
            class_=f"bar {row.kind}",
        ),
        *(rule(scale.at(seed), MID - 6, scale.at(seed), MID + 6, "seed") for seed in seeds),
        tag("circle", cx=scale.at(row.value), cy=MID, r=5.5, class_=f"dot {row.kind}"),
    ]


def plus(fraction: float) -> str:
    """-0.0111 -> `−1.1`, with a true minus."""
    return f"{100 * fraction:+.1f}".replace("-", "−")


def rows_chart(results: Results) -> Markup:
    """Draw every row's main metric with its interval, and its distance to the best single stream."""
    best = next((row.versus.row for row in results.rows if row.versus), "")
    rows = [
        Interval(
            row.name,
            _main(row),
            row.low,
            row.high,
            "fused" if row.fusion else "single",
            _spread(row),
            _versus(row),
            row.seeds,
            row.name == results.kept,
        )
        for row in results.rows
    ]
    return intervals_chart(
        rows,
        heads=("model", "% and 95 % interval", f"against {best}" if best else ""),
        label="models compared",
        reference=_main(results.row(best)) if best else None,
    )


def _main(row: RowResult) -> float:
    return float(np.mean(row.seeds))


def _spread(row: RowResult) -> str:
    several = f", ±\u00a0{percent(float(np.std(row.seeds, ddof=1)))}" if len(row.seeds) > 1 else ""
    return f"{percent(row.low)} to {percent(row.high)}{several}"


def _versus(row: RowResult) -> Markup | str:
    if row.versus is None:
        return ""
    return join([f"{plus(row.versus.difference)} ", tag("small", f"p = {row.versus.p:.2g}")])


def classes_chart(classes: Sequence[ClassResult]) -> Markup:
    """Draw precision and recall of every class, the class with the lowest recall first."""
    order = sorted(classes, key=lambda one: (one.support == 0, one.recall, one.precision, one.name))
    scale = Scale(0, 1)
    head = _row(
        "head",
        ("n", "columnheader", "class"),
        (
            "p",
            "columnheader",
            join([tag("i", "●", class_="k-recall"), " recall  ", tag("i", "○", class_="k-precision"), " precision"]),
        ),
        ("v", "columnheader", "recall, precision %"),
        ("w", "columnheader", "videos"),
    )
    rows = [
        _row(
            "",
            ("n", "rowheader", name_of(one.name)),
            ("p", "cell", _strip(scale, *_dumbbell(one, scale))),
            ("v", "cell", join([tag("b", percent(one.recall)), tag("small", f"  {percent(one.precision)}")])),
            ("w", "cell", str(one.support)),
        )
        for one in order
    ]
    axis = _row("axis", ("n", "cell", ""), ("p", "cell", _axis(scale)), ("v", "cell", ""), ("w", "cell", ""))
    shown = tag(
        "div",
        head,
        *rows[:CLASSES_SHOWN],
        axis,
        class_="rows",
        role="table",
        aria_label="recall and precision by class",
    )
    if len(rows) <= CLASSES_SHOWN:
        return shown
    rest = tag("div", *rows[CLASSES_SHOWN:], axis, class_="rows", role="table", aria_label="the other classes")
    more = tag("summary", f"The other {counted(len(rows) - CLASSES_SHOWN, 'class')}, better recognised")
    return join([shown, tag("details", more, rest)])


def _dumbbell(one: ClassResult, scale: Scale) -> list[Markup]:
    return [
        rule(scale.at(one.recall), MID, scale.at(one.precision), MID, "link"),
        tag("circle", cx=scale.at(one.precision), cy=MID, r=4.5, class_="precision"),
        tag("circle", cx=scale.at(one.recall), cy=MID, r=5.5, class_="recall"),
    ]


def spots_chart(rows: Sequence[tuple[str, int, Sequence[float]]], key: Markup) -> Markup:
    """Draw several runs' recall of each class: (class, videos, recall of every run) a row, runs told by colour."""
    scale = Scale(0, 1)
    head = _row(
        "head",
        ("n", "columnheader", "class"),
        ("p", "columnheader", key),
        ("v", "columnheader", "recall %"),
        ("w", "columnheader", "videos"),
    )

    def dots(values: Sequence[float]) -> list[Markup]:
        # the first is the largest, so that runs of the same recall show as rings
        return [
            tag("circle", cx=scale.at(value), cy=MID, r=5 + 1.5 * (len(values) - 1 - index), class_=f"dot k{index % 8}")
            for index, value in enumerate(values)
        ]

    body = [
        _row(
            "",
            ("n", "rowheader", name_of(name)),
            (
                "p",
                "cell",
                _strip(scale, rule(scale.at(min(values)), MID, scale.at(max(values)), MID, "link"), *dots(values)),
            ),
            ("v", "cell", tag("small", "  ".join(percent(value) for value in values))),
            ("w", "cell", str(support)),
        )
        for name, support, values in rows
    ]
    axis = _row("axis", ("n", "cell", ""), ("p", "cell", _axis(scale)), ("v", "cell", ""), ("w", "cell", ""))
    return tag("div", head, *body, axis, class_="rows", role="table", aria_label="recall by class")


def calibration_chart(bins: Sequence[Bin]) -> Markup:
    """Draw how often the model is right against how sure it is; the area of a dot is its share of the videos."""
    scale, most = Scale(0, 1), max(one.videos for one in bins)
    grid = [
        mark
        for tick in (0, 0.25, 0.5, 0.75, 1)
        for mark in (
            rule(scale.at(tick), 0, scale.at(tick), "100%", "grid"),
            rule("0", scale.up(tick), "100%", scale.up(tick), "grid"),
            tag("text", percent(tick, 0), x=scale.at(tick), y="100%", dy=16, text_anchor="middle"),
            tag("text", percent(tick, 0), x=-8, y=scale.up(tick), dy=4, text_anchor="end"),
        )
    ]
    # the wider the gap between dot and diagonal, the longer this line: what the calibration error averages
    gaps = [
        rule(
            scale.at(one.confidence), scale.up(one.confidence), scale.at(one.confidence), scale.up(one.accuracy), "gap"
        )
        for one in bins
    ]
    dots = [
        tag(
            "circle",
            tag("title", _said(one)),
            cx=scale.at(one.confidence),
            cy=scale.up(one.accuracy),
            r=3 + 11 * (one.videos / most) ** 0.5,
            class_="bin",
        )
        for one in bins
    ]
    words = [
        tag("text", "right more often than it is sure", x="3%", y="12%", class_="note"),
        tag("text", "surer than it is right", x="96%", y="95%", text_anchor="end", class_="note"),
    ]
    drawing = tag(
        "svg",
        *grid,
        rule("0", "100%", "100%", "0", "ref"),
        *gaps,
        *dots,
        *words,
        width="100%",
        height="100%",
        role="img",
        aria_label="accuracy by confidence: " + "; ".join(map(_said, bins)),
    )
    return tag(
        "figure",
        tag("p", "share that is right, %", class_="ytitle"),
        tag("div", drawing, class_="plot square"),
        tag("p", "how sure the model is, %", class_="xtitle"),
    )


def _said(one: Bin) -> str:
    return f"{counted(one.videos, 'video')}: {with_unit(one.confidence)} sure, {with_unit(one.accuracy)} right"
