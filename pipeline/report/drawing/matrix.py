"""The confusion matrix: which class is taken for which. Squares of fixed size; a wide matrix scrolls in its own box."""

from collections.abc import Sequence

from pipeline.report.drawing.charts import with_unit
from pipeline.report.drawing.markup import Markup, tag
from pipeline.report.drawing.palette import ink_on
from schemas.words import counted

_COUNTED = 24  # with more classes the squares are too small for a number
_LABEL_CHARACTERS = 20
_CELLS_PX = ((8, 38), (14, 32), (_COUNTED, 24), (45, 15), (70, 11))
_SMALLEST_CELL_PX = 9


def confusion_chart(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup:
    """Draw the matrix: a row is the truth, a column what was said; full colour is all videos of the row."""
    cell = next((px for most, px in _CELLS_PX if len(classes) <= most), _SMALLEST_CELL_PX)
    font = min(12.0, cell - 1.0) if len(classes) > _COUNTED else 12.5
    label = round(font * 0.6 * min(_LABEL_CHARACTERS, max(map(len, classes)))) + 8
    side = cell * len(classes)
    ground = tag("rect", x=label, y=label, width=side, height=side, class_="ground")
    rules = [
        tag("line", **ends, class_="rule")
        for k in range(1, len(classes))
        for ends in (
            {"x1": label, "x2": label + side, "y1": label + k * cell, "y2": label + k * cell},
            {"y1": label, "y2": label + side, "x1": label + k * cell, "x2": label + k * cell},
        )
    ]
    cells = [
        _cell(t, s, count, sum(row), classes, cell, label, numbered=len(classes) <= _COUNTED)
        for t, row in enumerate(confusion)
        for s, count in enumerate(row)
        if count
    ]
    names = [mark for k, name in enumerate(classes) for mark in _names(name, label, cell, k, font)]
    drawing = tag(
        "svg",
        ground,
        *rules,
        *cells,
        *names,
        width=label + side + 2,
        height=label + side + 2,
        role="img",
        aria_label=f"confusion matrix of {counted(len(classes), 'class')}; rows are the truth, columns what was said",
    )
    return tag("div", drawing, class_="scroll matrix", tabindex="0")


def _cell(
    t: int, s: int, count: int, total: int, classes: Sequence[str], cell: int, label: int, *, numbered: bool
) -> Markup:
    share = count / total
    x, y = label + s * cell, label + t * cell
    said = (
        f"{count} of {counted(total, 'video')} of “{classes[t]}” {'was' if count == 1 else 'were'} "
        f"{'recognised' if t == s else f'taken for “{classes[s]}”'} ({with_unit(share)})"
    )
    opacity = round(0.12 + 0.88 * share**0.5, 2)  # the square root lets a single mistake among many videos be seen
    square = tag(
        "rect",
        x=x + 1,
        y=y + 1,
        width=cell - 2,
        height=cell - 2,
        class_="hit" if t == s else "miss",
        fill_opacity=opacity,
    )
    text = (
        tag(
            "text",
            count,
            x=x + cell / 2,
            y=y + cell / 2,
            dy=4,
            text_anchor="middle",
            class_=ink_on("blue" if t == s else "red", "tile", opacity),
        )
        if numbered
        else None
    )
    return tag("g", tag("title", said), square, text)


def _names(name: str, label: int, cell: int, k: int, font: float) -> list[Markup]:
    short = name if len(name) <= _LABEL_CHARACTERS else name[: _LABEL_CHARACTERS - 1] + "…"
    middle = label + k * cell + cell / 2
    full = tag("title", name) if short != name else None
    size = f"font-size:{font:g}px"
    return [
        tag("text", short, full, x=label - 6, y=middle, dy=font * 0.35, text_anchor="end", style=size),
        tag(
            "text",
            short,
            full,
            x=0,
            y=0,
            dy=font * 0.35,
            style=size,
            transform=f"translate({middle:g} {label - 6}) rotate(-90)",
        ),
    ]
