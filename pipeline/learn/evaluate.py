"""A run's model judged on another store, or on a part of its own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.data.dataset import Dataset, fingerprints
from pipeline.learn.data.material import videos_of
from pipeline.learn.data.splits import groups_of
from pipeline.learn.data.stores import Joined
from pipeline.learn.data.targets import Targets, label_rows, make_targets, tell_partial
from pipeline.learn.judging.metrics import HALF, class_table, judge
from pipeline.learn.judging.results import main_values
from pipeline.learn.judging.statistics import bootstrap_mean, unit_numbers
from pipeline.learn.models.model import load_model
from pipeline.learn.runs.origins import is_own, open_stores
from pipeline.learn.runs.records import ClassResult, Prediction, top_classes
from pipeline.learn.runs.run import Run, write_predictions
from pipeline.learn.training.repeatable import prepare_torch
from pipeline.learn.training.train import scores_of
from schemas.disk.store import VideoRows
from schemas.errors import ConfigError
from schemas.labels import LabelRow, read_label_csv, split_labels


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        videos: how many were judged.
        part: which part of the split they are, or `all`.
        seen: how many of them the model was trained on.
        main: the metric the interval belongs to.
        metrics: as in a run's rows.
        low: lower end of the 95 % bootstrap interval of the main metric.
        high: its upper end.
        unit: what its bootstrap draws: `video` or `group`.
        units: how many of them there are.
        classes: per class.
        predictions: one a video.
    """

    videos: int
    part: str
    seen: int
    main: str
    metrics: dict[str, float]
    low: float
    high: float
    unit: str
    units: int
    classes: tuple[ClassResult, ...]
    predictions: tuple[Prediction, ...]


def evaluate_run(
    root: Path,
    *,
    stores: Sequence[Path] = (),
    labels: Path | None = None,
    part: str | None = None,
    out: Path | None = None,
    device: str = "auto",
) -> Evaluation:
    """Judge a run's model.

    Args:
        root: the run's directory.
        stores: features to judge on, side by side where there are several; none: those of the run.
        labels: a CSV; None: those of the run on its own store, else as in the plan, or by folder.
        part: `all`, or a part of the split; of the run's own split on its own store, else of the labels'. None: the
            test part, or all videos where no split names one.
        out: predictions are written there as CSV.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        ConfigError: nothing is left to judge, or a label is not a class of the model; or the model was trained on all
            videos of its own store, and no part is named.
        StoreError: run or store can not be read, or their features differ.
    """
    run = Run.open(root)
    chosen = prepare_torch(device, int(run.settings["threads"]))
    model = load_model(run.model_settings(), run.model_path)
    features = open_stores(run, stores, model.settings.streams)
    rows, videos, part = _judged(run, features, labels, part)
    tell_partial(videos)
    data = features.read(videos, streams=list(model.settings.streams))
    classes, _ = run.labels()
    targets = make_targets(data.ids, rows, classes)
    scores = scores_of(model.to(chosen), data, np.arange(len(data.ids)), chosen)
    probabilities = model.probabilities(scores).numpy()
    several = model.settings.multilabel
    prints = fingerprints(features.first, videos)
    least = np.array(run.results.thresholds or HALF)
    groups = _groups(run, features, data.ids, prints, rows)
    values = main_values(targets.members, probabilities, multilabel=several)
    predictions = _predictions(run, data, targets, probabilities)
    if out is not None:
        write_predictions(out, predictions)
    count = len(set(groups))
    return Evaluation(
        len(videos),
        part,
        _seen(run, features, data, prints),
        "lrap" if several else "top1",
        judge(targets.members, probabilities, multilabel=several, thresholds=least),
        *bootstrap_mean(values, unit_numbers(groups)),
        "video" if count == len(groups) else "group",
        count,
        class_table(targets.members, probabilities, classes, multilabel=several, thresholds=least),
        predictions,
    )


def _predictions(
    run: Run, data: Dataset, targets: Targets, probabilities: NDArray[np.float32]
) -> tuple[Prediction, ...]:
    seed = int(run.settings["seed"])
    return tuple(
        Prediction(name, seed, 0, targets.cell(v), top_classes(probabilities[v], targets.classes))
        for v, name in enumerate(data.ids)
    )


def _judged(
    run: Run, features: Joined, labels: Path | None, part: str | None
) -> tuple[Mapping[str, LabelRow], list[VideoRows], str]:
    """Return the labels that hold, the videos that are judged by them, and the part of the split that these are.

    Raises:
        ConfigError: there are none.
    """
    here = videos_of(features)
    own = _own_rows(run) if is_own(run, features) else {}
    if not own and labels is None:
        features.check_plans()
    rows = own if own and labels is None else label_rows(here, read_label_csv(labels) if labels else ())
    parts = {name: own[name].split if name in own else row.split for name, row in rows.items()}
    part = part or _held_out(run, parts, own=bool(own))
    videos = [video for video in here if video.id in rows and part in ("all", parts[video.id])]
    if not videos:
        raise ConfigError(
            f"no video of {features.name} is in the part {part!r}; its videos are in: "
            f"{', '.join(sorted(set(parts.values()) - {''})) or 'none, so `part` all'}"
        )
    return rows, videos, part


def _held_out(run: Run, parts: Mapping[str, str], *, own: bool) -> str:
    """Return the part that the model was not trained on, by the split that holds here."""
    if own and run.results.trained_on == "all videos":
        raise ConfigError(
            f"the model of {run.root} was trained on all videos of its store, so none is left to judge "
            "it by; what was found out of fold stands in its report. other `stores` judge it on other "
            "videos, `part` all on these in spite of all"
        )
    return "test" if "test" in parts.values() else "all"


def _own_rows(run: Run) -> dict[str, LabelRow]:
    """Labels, parts and groups as the run knows them."""
    return {row.video: LabelRow(row.path, split_labels(row.label), row.part, row.group) for row in run.splits()}


def _groups(
    run: Run, stores: Joined, ids: Sequence[str], prints: Sequence[str], rows: Mapping[str, LabelRow]
) -> list[str]:
    """Tell the group of every video: that of the run for a video it knows, else found as the run found its own."""
    pattern = str(run.settings["split"]["group_by"])
    if not all(re.search(pattern, name) for name in ids):
        pattern = ""  # videos of another kind of name
    found = groups_of(ids, pattern=pattern, given={name: row.group for name, row in rows.items()}, fingerprints=prints)
    own = {row.video: row.group for row in run.splits()} if is_own(run, stores) else {}
    known = {row.fingerprint: row.group for row in run.splits() if row.fingerprint}
    return [own.get(name) or known.get(mark) or group for name, mark, group in zip(ids, prints, found, strict=True)]


def _seen(run: Run, stores: Joined, data: Dataset, prints: Sequence[str]) -> int:
    """Count the videos that the kept model was trained on: by id in the run's own store, by content everywhere."""
    crossed = run.results.trained_on == "all videos"
    trained = [row for row in run.splits() if crossed or row.part != "test"]
    ids = {row.video for row in trained} if is_own(run, stores) else set()
    marks, paths = {row.fingerprint for row in trained} - {""}, {row.path for row in trained}
    return sum(
        name in ids or mark in marks or path in paths
        for name, path, mark in zip(data.ids, data.paths, prints, strict=True)
    )
