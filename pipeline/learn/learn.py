"""From a store to a run: what the three training commands share. Read this page to see the order of things."""

import importlib.metadata
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.learn.dataset import Dataset, fingerprints, read_dataset
from pipeline.learn.experiment import ALL_VIDEOS, Experiment, Row, Trained
from pipeline.learn.fusion import FUSIONS
from pipeline.learn.heads import make_head
from pipeline.learn.metrics import Members
from pipeline.learn.model import save_model
from pipeline.learn.results import Said, conclude, main_values
from pipeline.learn.run import TOP, Prediction, Run, Scores, SplitRow
from pipeline.learn.settings import ModelSettings, TrainSettings
from pipeline.learn.splits import Fold, check_classes, check_leaks, cut_validation, groups_of, made_folds
from pipeline.learn.targets import Targets, label_rows, make_targets
from schemas.errors import ConfigError, ResourceError
from schemas.labels import LabelRow, match_parts, read_label_csv, read_split_files
from schemas.store import Store

logger = logging.getLogger(__name__)

DEFAULT_FOLDS = 5
LARGE_SET = 5000  # from so many videos on one held-out fifth is judged instead of five folds
SOFTWARE = ("torch", "numpy", "h5py", "scikit-learn", "vidu-pipe")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitChoice:
    """How videos are divided.

    Attributes:
        folds: K for cross-validation, 1 to hold out one fifth, 0 to leave one group out at a time; None: as the labels
            say, else `DEFAULT_FOLDS`.
        group_by: regular expression that finds a video's group in its id.
        files: folder of official split files.
        number: which of those.
    """

    folds: int | None = None
    group_by: str = ""
    files: Path | None = None
    number: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything a training command asks for.

    Attributes:
        command: its name.
        store: the store's directory.
        labels: a CSV of labels; None: as in the plan, or by folder.
        streams: names of the streams; all when empty.
        head: a name of `HEADS`.
        head_options: its options.
        fusions: names of `FUSIONS`.
        alone: every stream is trained alone too.
        hidden: width of the classifier's hidden layer; 0: linear.
        dropout: in the classifier.
        training: how to train.
        split: how videos are divided.
        seed: of everything.
        seeds: how many seeds, from `seed` on.
        score_weights: of a late fusion: `equal`, `fit`, or numbers.
        device: `auto`, `cpu` or `cuda`.
        threads: of torch.
        memory_bytes: features beyond it are paged from a file.
        quiet: no progress bars.
    """

    command: str
    store: Path
    labels: Path | None = None
    streams: tuple[str, ...] = ()
    head: str = "mean"
    head_options: dict[str, Any] = field(default_factory=dict)
    fusions: tuple[str, ...] = ("concat",)
    alone: bool = False
    hidden: int = 0
    dropout: float = 0.5
    training: TrainSettings = field(default_factory=TrainSettings)
    split: SplitChoice = field(default_factory=SplitChoice)
    seed: int = 0
    seeds: int = 1
    score_weights: str | tuple[float, ...] = "equal"
    device: str = "auto"
    threads: int = 1
    memory_bytes: int = 8 << 30
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Material:
    """What is learnt from, with everything checked.

    Attributes:
        data: features.
        targets: labels.
        groups: V names.
        folds: one or more.
        crossed: the folds are those of cross-validation: each video is tested once.
        kind: `csv`, `official` or `made`.
    """

    data: Dataset
    targets: Targets
    groups: list[str]
    folds: list[Fold]
    crossed: bool
    kind: str


def learn(request: Request, out: Path | None = None) -> Run:
    """Train, judge and keep.

    Args:
        request: what to do.
        out: the run's directory; None: the next free `runs/<command>-N`, or the unfinished one of this request.

    Returns:
        the complete run.

    Raises:
        ConfigError: the request can not be carried out.
        StoreError: the store can not be read, or holds NaN.
        ResourceError: no such device, or the run can not be written.
    """
    device = prepare_torch(request.device, request.threads)
    material = prepare(request)
    rows = make_rows(request, material.data.dims, material.targets)
    run = _begin(_settings(request, material, rows, device), request.command, out)
    run.write_json("labels.json", {"schema": 1, "classes": material.targets.classes,
                                   "multilabel": material.targets.multilabel})
    run.write_splits(_split_rows(material))
    experiment = Experiment(material.data, material.targets, request.training, device=device,
                            folder=run.resume_folder, weights=request.score_weights, quiet=request.quiet)
    _train_and_keep(run, experiment, rows, material, list(range(request.seed, request.seed + request.seeds)))
    shutil.rmtree(run.resume_folder)
    return run


def prepare_torch(device: str, threads: int) -> torch.device:
    """Make torch deterministic and choose the device.

    Raises:
        ResourceError: `cuda` is asked for and not there.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    torch.use_deterministic_algorithms(True)
    # filling fresh memory with NaN is a debugging aid that costs time and changes no result
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    if device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("no CUDA device is available here; --device cpu works everywhere")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def prepare(request: Request) -> Material:
    """Read the store and divide its videos; everything that can be wrong with the request shows here, before work."""
    store = Store.open(request.store)
    videos = store.video_rows()
    if not videos:
        raise ConfigError(f"{store.root} holds no video yet; `vidu-pipe status {store.root}` tells more")
    labels = label_rows(videos, read_label_csv(request.labels) if request.labels else ())
    parts, kind = _parts(request.split, labels)
    videos = [video for video in videos if video.id in parts]
    ids = [video.id for video in videos]
    targets = make_targets(ids, labels)
    groups = groups_of(ids, pattern=request.split.group_by, given={name: row.group for name, row in labels.items()},
                       fingerprints=fingerprints(store, videos))
    if kind == "made":
        tests, crossed = _made(request, groups, targets)
        folds = [_with_validation(np.setdiff1d(np.arange(len(ids)), test), test, groups, targets, request)
                 for test in tests]
    else:
        folds, crossed = [_given_fold([parts[name] for name in ids], groups, targets, request)], False
    for fold in folds:
        check_leaks(ids, groups, fold)
        check_classes(targets.classes, targets.members, fold)
    data = read_dataset(store, videos, streams=request.streams, memory_bytes=request.memory_bytes)
    return Material(data, targets, groups, folds, crossed, kind)


def _parts(choice: SplitChoice, labels: dict[str, LabelRow]) -> tuple[dict[str, str], str]:
    """Video id -> part, and where that comes from; parts are empty when a split is to be made."""
    if choice.files is not None:
        if choice.folds is not None:
            raise ConfigError("--split-files fixes the split, --folds and --leave-one-group-out make one: choose")
        return match_parts(read_split_files(choice.files, choice.number), labels), "official"
    given = {name: row.split for name, row in labels.items()}
    if choice.folds is None and any(given.values()):
        parts = {name: part for name, part in given.items() if part}
        if len(parts) < len(given):
            logger.warning("%d videos have no split in the labels and are left out", len(given) - len(parts))
        return parts, "csv"
    return given, "made"


def _made(request: Request, groups: Sequence[str], targets: Targets) -> tuple[list[NDArray[np.int64]], bool]:
    folds = request.split.folds
    if folds is None:
        folds = 1 if len(groups) >= LARGE_SET else min(DEFAULT_FOLDS, len(set(groups)))
    return made_folds(groups, targets.strata, targets.classes, folds=folds, seed=request.seed), folds != 1


def _given_fold(parts: Sequence[str], groups: Sequence[str], targets: Targets, request: Request) -> Fold:
    train, val, test = (np.flatnonzero([part == name for part in parts]) for name in ("train", "val", "test"))
    return Fold(train, val, test) if len(val) else _with_validation(train, test, groups, targets, request)


def _with_validation(train: NDArray[np.int64], test: NDArray[np.int64], groups: Sequence[str], targets: Targets,
                     request: Request) -> Fold:
    train, val = cut_validation(train, groups, targets.strata, fraction=request.training.val_share(len(train)),
                                seed=request.seed)
    return Fold(train, val, test)


def make_rows(request: Request, dims: dict[str, int], targets: Targets) -> list[Row]:
    """List the models of a request: the streams alone, then the fusions.

    Raises:
        ConfigError: a head, fusion or option is unknown.
    """
    make_head(request.head, dim=1, **request.head_options)
    unknown = [name for name in request.fusions if name not in FUSIONS]
    if unknown:
        raise ConfigError(f"unknown fusion {unknown[0]!r}; known: {', '.join(FUSIONS)}")
    clash = [name for name in dims if name in FUSIONS]
    if clash:
        raise ConfigError(f"a stream can not be called {clash[0]!r}, which is the name of a fusion")

    def settings(streams: Sequence[str], fusion: str) -> ModelSettings:
        return ModelSettings(streams={name: dims[name] for name in streams}, classes=len(targets.classes),
                             multilabel=targets.multilabel, head=request.head, head_options=request.head_options,
                             fusion=fusion, hidden=request.hidden, dropout=request.dropout)

    if len(dims) == 1:
        return [Row(next(iter(dims)), settings(list(dims), "concat"))]
    if isinstance(request.score_weights, tuple) and len(request.score_weights) != len(dims):
        raise ConfigError(f"{len(request.score_weights)} score weights for {len(dims)} streams ({', '.join(dims)})")
    late = [name for name in request.fusions if FUSIONS[name].is_late]
    alone = [Row(name, settings([name], "concat")) for name in dims] if request.alone or late else []
    return alone + [Row(name, settings(list(dims), name), tuple(dims) if name in late else ())
                    for name in request.fusions]


def _settings(request: Request, material: Material, rows: Sequence[Row], device: torch.device) -> dict[str, Any]:
    split = request.split
    return {
        "command": request.command, "seed": request.seed, "seeds": request.seeds, "threads": request.threads,
        "device": device.type, "score_weights": request.score_weights, "rows": [row.as_dict() for row in rows],
        "training": request.training.as_dict(),
        "split": {"kind": material.kind, "folds": split.folds if material.kind == "made" else None,
                  "trainings": len(material.folds), "group_by": split.group_by,
                  "files": str(split.files) if split.files else "", "number": split.number if split.files else None,
                  "labels": str(request.labels) if request.labels else ""},
        "store": {"path": str(request.store.resolve()), **asdict(material.data.origin)},
        "software": _versions(),
    }


def _versions() -> dict[str, str]:
    """Version by library; a checkout that is run without being installed has none of its own."""
    found = {}
    for name in SOFTWARE:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _begin(settings: dict[str, Any], command: str, out: Path | None) -> Run:
    """Begin a run, or go on with the unfinished one."""
    if out is not None:
        return Run.create(out, settings)
    folder = Path("runs")
    stem = f"{command.removeprefix('train-')}-"
    numbers = [int(path.name.removeprefix(stem)) for path in folder.glob(f"{stem}*")
               if path.name.removeprefix(stem).isdigit()]
    if numbers:
        last = folder / f"{stem}{max(numbers)}"
        if Run.is_unfinished(last, settings):
            logger.info("going on with %s", last)
            return Run.create(last, settings)
    return Run.create(folder / f"{stem}{max(numbers, default=0) + 1}", settings)


def _split_rows(material: Material) -> list[SplitRow]:
    data, part, place = material.data, {}, {}
    for number, fold in enumerate(material.folds):
        for name in ("test",) if material.crossed else ("train", "val", "test"):
            for video in getattr(fold, name).tolist():
                part[video], place[video] = name, number
    return [SplitRow(data.ids[v], data.paths[v], material.targets.cell(v), material.groups[v], place[v], part[v])
            for v in sorted(part)]


def _train_and_keep(run: Run, experiment: Experiment, rows: Sequence[Row], material: Material,
                    seeds: Sequence[int]) -> None:
    trained: dict[tuple[str, int, int], Trained] = {}
    for seed in seeds:
        for number, fold in enumerate(material.folds):
            for row in rows:
                parts = [trained[part, seed, number] for part in row.parts]
                trained[row.name, seed, number] = experiment.train(row, fold, seed=seed, number=number, parts=parts)
    judged = np.concatenate([fold.test for fold in material.folds])
    order = np.argsort(judged, kind="stable")
    said = [_said(row, trained, material, seeds, order) for row in rows]
    results = conclude(said, material.targets, judged[order], material.groups, crossed=material.crossed)
    history = [line for one in trained.values() for line in one.history]
    kept = next(row for row in rows if row.name == results.kept)
    if material.crossed:
        model, more = _train_on_all(experiment, kept, rows, material, seeds[0])
        history += more
    else:
        model = trained[kept.name, seeds[0], 0]
    save_model(model.model, run.model_path)
    run.write_json("model.json", kept.model.as_dict())
    run.write_metrics(history)
    _write_said(run, said, results.kept, material, judged[order])
    run.finish(results)


def _said(row: Row, trained: dict[tuple[str, int, int], Trained], material: Material, seeds: Sequence[int],
          order: NDArray[np.int64]) -> Said:
    members, numbers = material.targets.members, range(len(material.folds))
    test = tuple(np.concatenate([trained[row.name, seed, number].test for number in numbers])[order] for seed in seeds)
    val = tuple(float(main_values(members[material.folds[number].val], trained[row.name, seed, number].val,
                                  multilabel=material.targets.multilabel).mean())
                for seed in seeds for number in numbers if len(material.folds[number].val))
    return Said(row, trained[row.name, seeds[0], 0].model.trainable(), test,
                val if len(val) == len(seeds) * len(numbers) else ())


def _train_on_all(experiment: Experiment, kept: Row, rows: Sequence[Row], material: Material,
                  seed: int) -> tuple[Trained, list[dict[str, Any]]]:
    """Train the kept row once more, on all videos (less a validation part where one is cut)."""
    everything = np.arange(len(material.data.ids))
    train, val = cut_validation(everything, material.groups, material.targets.strata,
                                fraction=experiment.training.val_share(len(everything)), seed=seed)
    fold = Fold(train, val, everything[:0])
    parts = [experiment.train(next(row for row in rows if row.name == name), fold, seed=seed, number=ALL_VIDEOS)
             for name in kept.parts]
    model = experiment.train(kept, fold, seed=seed, number=ALL_VIDEOS, parts=parts)
    return model, [line for one in (*parts, model) for line in one.history]


def _write_said(run: Run, said: Sequence[Said], kept: str, material: Material, judged: NDArray[np.int64]) -> None:
    targets, ids = material.targets, material.data.ids
    place = {video: number for number, fold in enumerate(material.folds) for video in fold.test.tolist()}
    folds = np.array([place[video] for video in judged.tolist()], dtype=np.int64)
    members: Members = targets.members[judged]
    run.write_scores(Scores(tuple(ids[v] for v in judged), members if targets.multilabel else members.argmax(1),
                            targets.classes, folds, {one.row.name: one.test[0] for one in said}))
    best = next(one for one in said if one.row.name == kept).test[0]
    run.write_predictions([
        Prediction(ids[video], int(folds[index]), targets.cell(video), top_classes(best[index], targets.classes))
        for index, video in enumerate(judged.tolist())])


def top_classes(probabilities: NDArray[Any], classes: Sequence[str], top: int = TOP) -> tuple[tuple[str, float], ...]:
    """Return the `top` most probable classes with their probabilities, best first; equal ones by position."""
    best = np.argsort(-probabilities, kind="stable")[:top]
    return tuple((classes[c], float(probabilities[c])) for c in best)
