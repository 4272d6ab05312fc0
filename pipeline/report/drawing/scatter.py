"""The map of features as a picture: one mark a video, coloured and shaped by class, named where there is room.

A video of several labels is one mark too, that of its rarest label, and is shown with each of them.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from pipeline.report.drawing.markup import Markup, join, name_of, tag
from pipeline.report.facts.projection import FeatureMap, Point
from schemas.labels import split_labels
from schemas.words import counted

COLOURS = 8  # of the style sheet
_SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z",  # circle, square, triangle, diamond of about one area
    "M-3.6-3.6h7.2v7.2h-7.2Z",
    "M0-4.8L4.6 3.4H-4.6Z",
    "M0-5L5 0L0 5L-5 0Z",
)
CHIPS = 16  # with more classes a menu takes the place of the legend
_WIDE_PX = (900.0, 560.0)
_PHONE_PX = (340.0, 340.0)
_TEXT_PX = (6.8, 15.0)  # a character's width, a line's height


def scatter_chart(chart: FeatureMap) -> Markup:
    """Draw the map; pointing at a class (or choosing it) fades the others, without a line of script."""
    videos = Counter(label for point in chart.points for label in split_labels(point.label))
    place = {label: index for index, label in enumerate(sorted(videos))}
    labels = list(place)
    shapes = tag("defs", *(tag("path", d=d, id=f"mark{k}") for k, d in enumerate(_SHAPES)))
    marks = [
        _mark(point, [place[label] for label in sorted(split_labels(point.label), key=lambda one: videos[one])])
        for point in chart.points
    ]
    drawing = tag(
        "svg",
        shapes,
        *marks,
        *_names(chart.points, labels),
        width="100%",
        height="100%",
        role="img",
        aria_label=f"map of {counted(len(chart.points), 'video')}: {chart.x_title}; {chart.y_title}",
    )
    legend = _legend(labels) if len(labels) <= CHIPS else _menu(labels)
    return tag(
        "figure",
        tag("style", _fading(len(labels))),
        legend,
        tag("div", drawing, class_="plot map-plot"),
        tag("p", f"→ {chart.x_title}   ↑ {chart.y_title}", class_="xtitle"),
        class_="map",
    )


def _kind(index: int) -> tuple[str, str]:
    return f"k{index % COLOURS}", f"#mark{index // COLOURS % len(_SHAPES)}"


def _mark(point: Point, labels: Sequence[int]) -> Markup:
    """The mark of a video with these labels, by number, the rarest first."""
    colour, shape = _kind(labels[0])
    state = {True: "", False: " wrong", None: ""}[point.right]
    said = {True: "recognised", False: "mistaken", None: "not judged"}[point.right]
    return tag(
        "use",
        tag("title", f"{point.video}: {point.label}, {said}"),
        href=shape,
        x=f"{100 * point.x:.2f}%",
        y=f"{100 - 100 * point.y:.2f}%",
        class_=f"pt {colour} {' '.join(f'c{index}' for index in labels)}{state}",
    )


def _legend(labels: Sequence[str]) -> Markup:
    chips = []
    for index, label in enumerate(labels):
        colour, shape = _kind(index)
        sample = tag(
            "svg", tag("use", href=shape, x=7, y=7, class_=f"pt {colour}"), width=14, height=14, aria_hidden="true"
        )
        chips.append(tag("li", sample, name_of(label), class_=f"l{index}", tabindex="0"))
    return tag("ul", *chips, class_="chips", aria_label="classes; point at one to see it alone")


def _menu(labels: Sequence[str]) -> Markup:
    options = (tag("option", label, class_=f"l{index}") for index, label in enumerate(labels))
    return tag("label", "Show ", tag("select", tag("option", "all classes", selected=True), *options), class_="menu")


def _fading(count: int) -> Markup:
    """Style rules: who is pointed at, has the focus, or is chosen in the menu, leaves the others pale."""
    chosen, others = ":is(:hover,:focus,:checked)", ".map-plot :is(.pt,.place)"
    return join((Markup(f".map:has(.l{k}{chosen}) {others}:not(.c{k}){{opacity:.07}}") for k in range(count)), "\n")


def _names(points: Sequence[Point], labels: Sequence[str]) -> list[Markup]:
    """Put a class's name at the median of its points, if it meets no other name; on a phone there is room for fewer."""
    where: dict[str, list[tuple[float, float]]] = {label: [] for label in labels}
    for point in points:
        for label in split_labels(point.label):
            where[label].append((point.x, point.y))
    centres = {label: np.median(places, axis=0) for label, places in where.items()}
    common = sorted(labels, key=lambda label: -len(where[label]))
    phone = _fitting(common, centres, _PHONE_PX)
    wide = [*phone, *(label for label in _fitting([*phone, *common], centres, _WIDE_PX) if label not in phone)]
    place = {label: index for index, label in enumerate(labels)}
    return [
        tag(
            "text",
            label,
            x=f"{100 * centres[label][0]:.2f}%",
            y=f"{100 - 100 * centres[label][1]:.2f}%",
            dy=4,
            text_anchor="middle",
            class_=f"place c{place[label]}{'' if label in phone else ' roomy'}",
        )
        for label in wide
    ]


def _fitting(labels: Sequence[str], centres: dict[str, np.ndarray], size_px: tuple[float, float]) -> list[str]:
    taken: list[tuple[float, float, float]] = []
    fitting: list[str] = []
    for label in dict.fromkeys(labels):
        x, y, half = centres[label][0] * size_px[0], centres[label][1] * size_px[1], len(label) * _TEXT_PX[0] / 2 + 3
        if half < x < size_px[0] - half and all(
            abs(x - left) > half + other or abs(y - top) > _TEXT_PX[1] for left, top, other in taken
        ):
            taken.append((x, y, half))
            fitting.append(label)
    return fitting
