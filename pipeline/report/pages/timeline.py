"""What a model says along one video, as a page: a ribbon of the first class, and every class that matters below it."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.predict import Timeline
from pipeline.report.drawing.charts import Scale, anchor, percent, with_unit
from pipeline.report.drawing.curves import stretched
from pipeline.report.drawing.markup import Markup, number, tag
from pipeline.report.drawing.scatter import COLOURS
from pipeline.report.pages import render

STRIP_PX = 46


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run of moments of which one class is said first.

    Attributes:
        label: the class, by its column.
        start: first moment.
        stop: one past the last moment.
        start_s: from this time ...
        stop_s: ... up to this one, where the next moment begins.
        probability: mean over its moments.
    """

    label: int
    start: int
    stop: int
    start_s: float
    stop_s: float
    probability: float


def stretches(timeline: Timeline) -> list[Stretch]:
    """Cut a timeline where the first class changes."""
    said, ends = timeline.probabilities.argmax(1), _ends(timeline.pts_s)
    found, start = [], 0
    for label, group in itertools.groupby(said.tolist()):
        stop = start + len(list(group))
        found.append(
            Stretch(
                label,
                start,
                stop,
                float(timeline.pts_s[start]),
                float(ends[stop - 1]),
                float(timeline.probabilities[start:stop, label].mean()),
            )
        )
        start = stop
    return found


def _ends(pts_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """A moment lasts until the next one, the last as long as the one before it; float64 (T,)."""
    last = pts_s[-1] - pts_s[-2] if len(pts_s) > 1 else 1.0
    return np.append(pts_s[1:], pts_s[-1] + last)


@dataclass(frozen=True, slots=True)
class Strip:
    """The row of one class.

    Attributes:
        name: of the class.
        drawing: its probability along the video.
        highest: its highest probability.
        first: share of the moments that say it first, in words; empty when none does.
    """

    name: str
    drawing: Markup
    highest: float
    first: str


def timeline_page(timeline: Timeline, classes: Sequence[str], *, multilabel: bool, head: str) -> str:
    """Lay a timeline out as one self-contained HTML document, by `templates/timeline.html`."""
    found, shown = [] if multilabel else stretches(timeline), _shown(timeline)
    colour = {label: f"k{place % COLOURS}" for place, label in enumerate(shown)}
    scale = Scale(float(timeline.pts_s[0]), float(_ends(timeline.pts_s)[-1]))
    return render(
        "timeline.html",
        title=f"{timeline.video}: timeline",
        video=timeline.video,
        moments=len(timeline.pts_s),
        window=timeline.window,
        window_s=_window_s(timeline),
        head=head,
        axis=_axis(scale),
        ribbon=_ribbon(found, classes, colour, scale) if found else "",
        strips=[_strip(timeline, classes[label], label, colour[label], scale) for label in shown],
        found=[(clock(one.start_s), clock(one.stop_s), classes[one.label], percent(one.probability)) for one in found],
    )


def _window_s(timeline: Timeline) -> float:
    gaps = np.diff(timeline.pts_s)
    return float(np.median(gaps)) * timeline.window if len(gaps) else 0.0


def _shown(timeline: Timeline) -> list[int]:
    """The classes worth a row: by the time they are said first, then by their highest probability."""
    p = timeline.probabilities
    first = np.bincount(p.argmax(1), minlength=p.shape[1])
    return sorted(range(p.shape[1]), key=lambda c: (-int(first[c]), -float(p[:, c].max()), c))[:COLOURS]


def _ribbon(found: Sequence[Stretch], classes: Sequence[str], colour: dict[int, str], scale: Scale) -> Markup:
    blocks = [
        tag(
            "rect",
            tag("title", _words(one, classes)),
            x=scale.at(one.start_s),
            y=10,
            width=number(100 * (scale.share(one.stop_s) - scale.share(one.start_s))) + "%",
            height=26,
            class_=colour.get(one.label, "k7"),
        )
        for one in found
    ]
    label = "; ".join(_words(one, classes) for one in found[:40])
    return tag("svg", *blocks, width="100%", height=STRIP_PX, class_="ribbon", role="img", aria_label=label)


def _words(one: Stretch, classes: Sequence[str]) -> str:
    return f"{clock(one.start_s)} to {clock(one.stop_s)}: {classes[one.label]}, {with_unit(one.probability)}"


def _strip(timeline: Timeline, name: str, label: int, colour: str, scale: Scale) -> Strip:
    p = timeline.probabilities[:, label]
    share = 1000 * (timeline.pts_s - scale.low) / ((scale.high - scale.low) or 1)
    line = "L".join(f"{number(x)} {number(1000 - 1000 * y)}" for x, y in _drawn(share, p))
    area = tag(
        "path", d=f"M{number(float(share[0]))} 1000L{line}L{number(float(share[-1]))} 1000Z", class_=f"area {colour}"
    )
    base = tag("line", x1=0, x2="100%", y1=STRIP_PX - 1, y2=STRIP_PX - 1, class_="grid")
    best = int(p.argmax())
    drawing = tag(
        "svg",
        base,
        stretched(area),
        width="100%",
        height=STRIP_PX,
        role="img",
        aria_label=f"{name}: highest {with_unit(float(p[best]))} at {clock(float(timeline.pts_s[best]))}",
    )
    first = float((timeline.probabilities.argmax(1) == label).mean())
    return Strip(name, drawing, float(p[best]), f"{percent(first, 0)}\u00a0%" if first else "")


def _drawn(share: NDArray[np.float64], p: NDArray[np.float32]) -> Iterator[tuple[float, float]]:
    """All points of a short video; of a long one the lowest and highest of each thousandth of its width."""
    if len(p) <= 2000:
        yield from zip(share.tolist(), p.tolist(), strict=True)
        return
    for part in np.array_split(np.arange(len(p)), 1000):
        for index in sorted({int(part[p[part].argmin()]), int(part[p[part].argmax()])}):
            yield float(share[index]), float(p[index])


def _axis(scale: Scale) -> Markup:
    ticks = scale.ticks()
    whole = all(tick == round(tick) for tick in ticks)
    labels = (
        tag(
            "text",
            clock(tick)[:-2] if whole and tick < 3600 else clock(tick),
            x=scale.at(tick),
            y=14,
            text_anchor=anchor(scale.share(tick)),
        )
        for tick in ticks
    )
    return tag("svg", *labels, width="100%", height=20, aria_hidden="true")


def clock(time_s: float) -> str:
    """75.25 -> `1:15.2`; from an hour on `1:02:03`."""
    if time_s >= 3600:
        whole = round(time_s)
        return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
    tenths = round(10 * abs(time_s))
    return f"{'−' if time_s < 0 and tenths else ''}{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"
