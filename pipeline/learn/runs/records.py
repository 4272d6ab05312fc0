"""What a run's files speak of: results, predictions, scores and parts, as frozen records; `run.py` writes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.judging.statistics import reach
from schemas.arrays import Array

TOP = 5  # classes a prediction names
SHOWN = {
    "top1": {"top5": "top-5", "mean_class": "mean class", "map": "mAP", "ece": "ECE"},
    "lrap": {"f1_macro": "macro F1", "f1_micro": "micro F1", "top1": "top-1", "ece": "ECE"},
}
"""By the main metric: those shown behind it, with their titles; mAP stands before LRAP."""


@dataclass(frozen=True, slots=True)
class Versus:
    """A row against the best single stream, on the same videos.

    Attributes:
        row: name of the row it is compared with.
        difference: of the main metric, this row minus that one.
        low: lower end of the bootstrap interval of the difference; those of all rows hold together 95 times in 100.
        high: its upper end.
        p: two-sided p-value of the paired test, corrected for the number of rows compared (Holm 1979).
    """

    row: str
    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True)
class RowResult:
    """One line of the table.

    Attributes:
        name: unique in the run: `rgb`, `flow`, `concat`, ...
        streams: streams it uses.
        head: name of its temporal head.
        fusion: how its streams are joined; empty for one stream.
        parameters: trainable numbers in its model.
        metrics: as `judge` of metrics.py names them; each the mean over seeds.
        low: lower end of the 95 % bootstrap interval of the main metric.
        high: its upper end.
        seeds: the main metric of each seed.
        selection: the main metric on the validation part, mean over folds and seeds, or without one in inner folds of
            the training part; None where nothing was held out to choose by.
        versus: against the best single stream; None for single streams.
    """

    name: str
    streams: tuple[str, ...]
    head: str
    fusion: str
    parameters: int
    metrics: dict[str, float]
    low: float
    high: float
    seeds: tuple[float, ...]
    selection: float | None
    versus: Versus | None


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One class of the kept row.

    Attributes:
        name: of the class.
        support: judged videos that have this label.
        precision: 0 when the class was never said.
        recall: 0 when there is no video of it.
        average_precision: of its scores.
    """

    name: str
    support: int
    precision: float
    recall: float
    average_precision: float


@dataclass(frozen=True, slots=True)
class Results:
    """What a run found.

    Attributes:
        main: the metric that is compared: `top1`, or `lrap` (label ranking average precision) with several labels.
        judged: `test part`, or `out of fold` after cross-validation.
        videos: judged videos.
        unit: what the bootstrap draws and the test permutes: `video` or `group`.
        units: how many of them there are.
        kept: name of the row whose model and predictions are kept.
        kept_by: how it was chosen.
        trained_on: what the kept model was trained on: `train part` or `all videos`.
        verdict: one plain sentence: does fusion help?
        rows: in the order of the table.
        classes: of the kept row, mean over seeds.
        confusion: of the kept row, [truth][said] counts, in which every video counts once a seed; None when videos have
            several labels.
        thresholds: of the kept model, with several labels: the probability from which each class is said; None: 0.5.
        varied: what numbers are means over: `seeds`, on the same folds, or `repeats`, with fresh folds.
    """

    main: str
    judged: str
    videos: int
    unit: str
    units: int
    kept: str
    kept_by: str
    trained_on: str
    verdict: str
    rows: tuple[RowResult, ...]
    classes: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...] | None
    varied: str = "seeds"
    thresholds: tuple[float, ...] | None = None

    @property
    def spread(self) -> str:
        """Say what the spread (±) between the trainings of a row is due to."""
        if self.varied == "repeats":
            return "between repeats with fresh folds and seeds"
        return "between seeds, with the split as it is: another split would add to it"

    @property
    def reach(self) -> str:
        """A remark where the paired tests can not show any difference with so few units; else empty."""
        tests = sum(row.versus is not None for row in self.rows)
        return reach(self.units, self.unit, tests) if tests else ""

    @property
    def seeds(self) -> int:
        """How many seeds, or repeats with a seed each, every row was trained with."""
        return len(self.rows[0].seeds)

    @property
    def times(self) -> str:
        """So many seeds, or repeats, in words."""
        return f"{self.seeds} {self.varied}"

    def row(self, name: str) -> RowResult:
        """Return the row of that name."""
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True, slots=True)
class Labels:
    """What labels.json says.

    Attributes:
        schema: of the run.
        classes: in the order of every score's columns.
        multilabel: whether videos have several of them.
    """

    schema: int
    classes: tuple[str, ...]
    multilabel: bool


class MetricsLine(TypedDict):
    """One line of metrics.jsonl; `val_*` are None without a validation part.

    A linear classifier that is fitted to the end has one line, without a learning rate and with its `strength`.
    """

    row: str
    seed: int
    fold: int
    epoch: int
    learning_rate: float | None
    strength: NotRequired[float]
    train_loss: float
    train_top1: float
    val_loss: float | None
    val_top1: float | None
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """One line of predictions.csv.

    Attributes:
        video: its id.
        seed: of the model.
        fold: in which it was judged.
        truth: its label, `a;b` when it has several.
        top: (class, probability), best first, at most `TOP`.
    """

    video: str
    seed: int
    fold: int
    truth: str
    top: tuple[tuple[str, float], ...]

    @property
    def correct(self) -> bool:
        """Whether the first class said is a label of the video."""
        return self.top[0][0] in self.truth.split(";")


@dataclass(frozen=True, slots=True)
class Scores:
    """What every row says of every judged video.

    Attributes:
        names: V video ids.
        labels: int64 (V,), or bool (V, C) when videos have several labels.
        classes: C class names.
        folds: int64 (V,); with repeats (S, V).
        seeds: int64 (S,).
        rows: row name -> probabilities, float32 (S, V, C), one table a seed.
    """

    names: tuple[str, ...]
    labels: Array
    classes: tuple[str, ...]
    folds: NDArray[np.int64]
    seeds: NDArray[np.int64]
    rows: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class SplitRow:
    """One line of splits.csv; the attributes are its columns. `fingerprint` knows the file wherever it lies."""

    video: str
    path: str
    label: str
    group: str
    fold: int
    part: str
    fingerprint: str


def top_classes(probabilities: Array, classes: Sequence[str], top: int = TOP) -> tuple[tuple[str, float], ...]:
    """Return the `top` most probable classes with their probabilities, best first; equal ones by position."""
    best = np.argsort(-probabilities, kind="stable")[:top]
    return tuple((classes[c], float(probabilities[c])) for c in best)
