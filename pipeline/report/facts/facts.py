"""What a report shows, as plain typed numbers: from a run's files to dataclasses, without a pixel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.judging.metrics import CALIBRATION_BINS, hits
from pipeline.learn.runs.origins import known_stores
from pipeline.learn.runs.records import Results, Scores
from pipeline.learn.runs.run import Run
from pipeline.learn.training.experiment import ALL_VIDEOS
from schemas.plain import Plain
from schemas.words import flat

CURVES = ("train_loss", "val_loss", "train_top1", "val_top1")


@dataclass(frozen=True, slots=True)
class Curve:
    """One number of one row by epoch, over all its trainings (folds and seeds).

    Attributes:
        row: name of the row.
        metric: one of `CURVES`.
        mean: (E,), over the trainings that got as far as that epoch.
        low: (E,), the lowest of them.
        high: (E,), the highest of them.
        trainings: how many there were.
    """

    row: str
    metric: str
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    trainings: int


@dataclass(frozen=True, slots=True)
class Bin:
    """Videos whose first class was said with a probability from `low` to `high`; each counts once a seed.

    Attributes:
        low: lower end of the bin.
        high: its upper end.
        videos: how many.
        confidence: mean probability.
        accuracy: share that was right.
    """

    low: float
    high: float
    videos: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Mistake:
    """A video of which some seed's model says a class first that is not a label of it.

    Attributes:
        video: its id.
        path: of its file.
        truth: its label or labels.
        said: the wrong class that is most probable.
        p_said: its probability, mean over seeds.
        p_truth: probability of the (most probable) true label, mean over seeds.
        seeds: how many of them are wrong.
    """

    video: str
    path: str
    truth: str
    said: str
    p_said: float
    p_truth: float
    seeds: int


@dataclass(frozen=True, slots=True)
class Confused:
    """A class that was taken for another.

    Attributes:
        truth: the class.
        said: what it was taken for.
        videos: how often; every video counts once a seed.
        of: how many videos the class has, counted alike.
    """

    truth: str
    said: str
    videos: int
    of: int


@dataclass(frozen=True, slots=True)
class ReportData:
    """All of a report but pictures and the map of features.

    Attributes:
        name: of the run's directory.
        results: as the run has them.
        classes: C names.
        multilabel: videos may have several labels.
        curves: of every row that was trained itself.
        bins: of the kept row; empty bins left out.
        judgements: of the kept row: videos times seeds.
        wrong: how many of them are wrong.
        mistakes: of the kept row, the surest first.
        confused: pairs of classes, the most frequent first; empty with several labels.
        provenance: section -> (name, value) lines.
    """

    name: str
    results: Results
    classes: tuple[str, ...]
    multilabel: bool
    curves: tuple[Curve, ...]
    bins: tuple[Bin, ...]
    judgements: int
    wrong: int
    mistakes: tuple[Mistake, ...]
    confused: tuple[Confused, ...]
    provenance: dict[str, tuple[tuple[str, str], ...]]


def read_report(run: Run) -> ReportData:
    """Read everything a report shows from a run's files.

    Raises:
        StoreError: a file of the run is damaged.
    """
    results, scores = run.results, run.scores()
    classes, multilabel = run.labels()
    probabilities, members = scores.rows[results.kept].astype(np.float64), members_of(scores)
    paths = {row.video: row.path for row in run.splits()}
    right = np.array([hits(members, table) for table in probabilities])
    return ReportData(
        name=run.root.resolve().name,
        results=results,
        classes=classes,
        multilabel=multilabel,
        curves=tuple(_curves(run.metrics())),
        bins=tuple(calibration_bins(np.tile(members, (len(probabilities), 1)), np.concatenate(probabilities))),
        judgements=right.size,
        wrong=int((right == 0).sum()),
        mistakes=tuple(_mistakes(scores, probabilities, members, paths)),
        confused=tuple(_confused(results, classes)),
        provenance=provenance(run),
    )


def members_of(scores: Scores) -> NDArray[np.bool_]:
    """Return the labels of the judged videos as bool (V, C)."""
    if scores.labels.ndim == 2:
        return np.asarray(scores.labels, dtype=np.bool_)
    return np.asarray(scores.labels[:, None] == np.arange(len(scores.classes)), dtype=np.bool_)


def _curves(lines: Sequence[Plain]) -> list[Curve]:
    rows = list(dict.fromkeys(line["row"] for line in lines))
    found = (
        _curve(row, metric, [line for line in lines if line["row"] == row and line["fold"] != ALL_VIDEOS])
        for row in rows
        for metric in CURVES
    )
    return [curve for curve in found if curve is not None]


def _curve(row: str, metric: str, lines: Sequence[Plain]) -> Curve | None:
    by_epoch: dict[int, list[float]] = {}
    for line in lines:
        if line[metric] is not None:
            by_epoch.setdefault(line["epoch"], []).append(line[metric])
    if len(by_epoch) < 2:  # fitted to the end in one go
        return None
    epochs = [by_epoch[epoch] for epoch in sorted(by_epoch)]
    return Curve(
        row,
        metric,
        np.array([np.mean(values) for values in epochs]),
        np.array([min(v) for v in epochs]),
        np.array([max(v) for v in epochs]),
        len({(line["seed"], line["fold"]) for line in lines}),
    )


def calibration_bins(members: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> list[Bin]:
    """Bin videos by the probability of the first class said, as the calibration error does (Guo et al. 2017)."""
    sure, right = probabilities.max(1), hits(members, probabilities)
    bins = np.minimum((sure * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    return [
        Bin(
            b / CALIBRATION_BINS,
            (b + 1) / CALIBRATION_BINS,
            int((bins == b).sum()),
            float(sure[bins == b].mean()),
            float(right[bins == b].mean()),
        )
        for b in np.unique(bins).tolist()
    ]


def _mistakes(
    scores: Scores, probabilities: NDArray[np.float64], members: NDArray[np.bool_], paths: dict[str, str]
) -> list[Mistake]:
    """List the videos that some seed mistakes, by the means over seeds of the probabilities (S, V, C)."""
    wrong = np.sum([hits(members, table) == 0 for table in probabilities], axis=0)
    mean = probabilities.mean(0)
    said, true = np.where(members, -1.0, mean), np.where(members, mean, -1.0).max(1)
    videos = np.flatnonzero(wrong)
    order = videos[np.argsort(true[videos] - said.max(1)[videos], kind="stable")]
    return [
        Mistake(
            scores.names[v],
            paths.get(scores.names[v], ""),
            ";".join(scores.classes[c] for c in np.flatnonzero(members[v])),
            scores.classes[said[v].argmax()],
            float(said[v].max()),
            float(true[v]),
            int(wrong[v]),
        )
        for v in order.tolist()
    ]


def _confused(results: Results, classes: Sequence[str]) -> list[Confused]:
    if results.confusion is None:
        return []
    pairs = [
        Confused(classes[t], classes[s], count, sum(row))
        for t, row in enumerate(results.confusion)
        for s, count in enumerate(row)
        if t != s and count
    ]
    return sorted(pairs, key=lambda pair: (-pair.videos, -pair.videos / pair.of, pair.truth, pair.said))


def provenance(run: Run) -> dict[str, tuple[tuple[str, str], ...]]:
    """Tell where a run comes from: sections of (name, value) lines."""
    settings, kept, known = run.settings, run.results.kept, known_stores(run)
    top = {key: value for key, value in settings.items() if not isinstance(value, dict | list) and key != "schema"}
    numbers = [f" {place}" if len(known) > 1 else "" for place in range(1, len(known) + 1)]
    features = {
        f"Features{number}": {"path": store.path, "kind": store.kind, "digest": store.digest} | store.settings
        for number, store in zip(numbers, known, strict=True)
    }
    versions = {f"Versions, features{number}": store.software for number, store in zip(numbers, known, strict=True)}
    sections = {
        "Run": {"directory": run.root.resolve(), **top},
        "Kept model": run.model_settings().as_dict(),
        "Training": trained_as(settings, kept),
        "Split": settings["split"],
        **features,
        **versions,
        "Versions, learning": settings["software"],
    }
    return {title: tuple(flat(values)) for title, values in sections.items()}


def trained_as(settings: Plain, name: str) -> Plain:
    """Return how a row was trained; of a row that was put together, how its parts were, which are trained alike."""
    rows = {row["name"]: row for row in settings["rows"]}
    row = rows[name]
    training: Plain = rows[row["parts"][0]]["training"] if row["parts"] else row["training"]
    return training
