"""Classifiers over a feature store: trained, judged, compared, asked."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from pipeline.learn.runs.run import Run
from pipeline.learn.settings import TrainSettings
from schemas.checks import known
from schemas.errors import ConfigError
from schemas.options import parse_weights
from schemas.plain import Plain
from vidu_pipe.extraction import Videos, found_videos
from vidu_pipe.options import EngineOptions, FilePath, TrainOptions
from vidu_pipe.restored import left_as_found

if TYPE_CHECKING:
    from pipeline.learn.evaluate import Evaluation
    from pipeline.learn.predict import Timeline
    from pipeline.learn.request import Request
    from pipeline.predict_videos import Predictions
    from pipeline.report.facts.compare import Comparison

# what is trained when nothing else is said: every stream alone, and all fusions of them
_TRAIN_FUSION: Plain = {"command": "train-fusion", "alone": True, "fusions": ("concat", "average", "score", "gated")}


@left_as_found(torch_needed=True)
def train(
    store: FilePath | Sequence[FilePath],
    out: FilePath | None = None,
    *,
    tensorboard: bool = False,
    **options: Unpack[TrainOptions],
) -> Run:
    """Train classifiers over the features of a store, and judge each on videos that it has not seen.

        run = train("features", head="lstm", fusions=["concat"], leave_one_group_out=True, epochs=40)

    Args:
        store: its folder, or what `open_store` returned; or a list of several stores of the same moments, of which the
            columns are joined: labels, splits and groups are those of the first.
        out: the run's folder; None: the next free one in `runs/`, or the unfinished one of this very call.
        tensorboard: write the learning curves as event files into the run too.
        options: of the model (`head`, `head_options`, `fusions`, `alone`, `streams`, `hidden`, `dropout`), of the
            labels and their split (`labels`, `folds`, `leave_one_group_out`, `group_by`, `split_files`,
            `split_number`), of training (`epochs`, `batch`, `learning_rate`, ...) and of the work (`seed`, `seeds`,
            `device`, `threads`, `quiet`, ...). `Request`, `SplitChoice` and `TrainSettings` document each, with its
            default; an unknown one is answered with the known ones.

    Returns:
        the run: `run.results`, `run.predictions()`, `run.root`.

    Raises:
        ConfigError: what is asked for can not be done with these videos and labels.
        StoreError: a store can not be read.
        ResourceError: no such device, or the run can not be written.
    """
    from pipeline.learn.learn import learn
    from pipeline.report.tensorboard import event_writer, write_events

    if tensorboard:
        event_writer()  # what is not installed is said before training, not after it
    run = learn(request_of(store, dict(options)), Path(out) if out else None)
    if tensorboard:
        write_events(run)
    return run


def request_of(store: FilePath | Sequence[FilePath], options: Plain) -> "Request":
    """Sort the options of `train` into the records they belong to.

    Raises:
        ConfigError: an option is not known, or two exclude each other.
    """
    from pipeline.learn.models.heads import head_options
    from pipeline.learn.request import Request, SplitChoice

    names = {kind: {one.name for one in fields(kind)} for kind in (TrainSettings, SplitChoice, Request)}
    legal = sorted(set().union(*names.values(), {"leave_one_group_out", "split_files", "split_number"}))
    for name in options:
        known("option", name, tuple(legal))
    if options.pop("leave_one_group_out", False):
        if options.get("folds") is not None:
            raise ConfigError("`folds` and `leave_one_group_out` exclude each other")
        options["folds"] = 0
    if options.get("split_number") is not None and options.get("split_files") is None:
        raise ConfigError("`split_number` says which split of `split_files`, which is not given")
    for short, name in (("split_files", "files"), ("split_number", "number")):
        if options.get(short) is not None:
            options[name] = options[short]
        options.pop(short, None)
    given = {kind: {name: options.pop(name) for name in mine if name in options} for kind, mine in names.items()}
    for values in given.values():
        values |= {name: Path(values[name]) for name in ("labels", "files") if values.get(name) is not None}
        values |= {name: tuple(values[name]) for name in ("fusions", "streams") if name in values}
    asked = given[Request]
    if "head_options" in asked:
        asked["head_options"] = head_options(asked.get("head", "mean"), asked["head_options"])
    if "score_weights" in asked:
        asked["score_weights"] = parse_weights("score_weights", asked["score_weights"])
    return Request(
        stores=_folders(store),
        training=TrainSettings(**given[TrainSettings]),
        split=SplitChoice(**given[SplitChoice]),
        **_TRAIN_FUSION | asked,
    )


def open_run(path: FilePath) -> Run:
    """Open a run that is complete.

    Raises:
        StoreError: there is none, it is unfinished, or it is of another version.
    """
    return Run.open(Path(path))


@left_as_found(torch_needed=True)
def predict(
    run: FilePath | Run,
    videos: Videos,
    *,
    window: int = 0,
    keep: FilePath | None = None,
    weights: Mapping[str, FilePath] | None = None,
    device: str = "",
    mixed_software: bool = False,
    on_timeline: "Callable[[Timeline], None] | None" = None,
    timelines: FilePath | None = None,
    root: Path | None = None,
    keep_suffix: bool = False,
    **engine: Unpack[EngineOptions],
) -> "Predictions":
    """Say what videos show: extract them as the run's features were made, and ask its model.

    Args:
        run: a run, or its folder.
        videos: as for `extract`.
        window: moments in a timeline's window; 0: no timelines.
        keep: folder for the features; None: they are removed afterwards.
        weights: files by stream name, where the run's features were made with other than the published weights.
        device: `cpu` or `cuda`; empty: as the run's features were made.
        mixed_software: accept other versions of libraries than the features were made with.
        on_timeline: called with each video's timeline, when `window` asks for them.
        timelines: folder that gets a CSV and a page with a plot of each timeline.
        root: as for `extract`.
        keep_suffix: as for `extract`.
        engine: `inline, workers, address, retries, gpus_per_task, quiet`, as for `extract`.

    Returns:
        `.said`: of every video, probabilities in the order of `.classes`; `.bad`: videos that failed or broke off.

    Raises:
        ConfigError: the run knows imported features only, or its settings can not be had here.
        ResourceError: its device is not here.
        StoreError: the run can not be read, or libraries differ.
    """
    from pipeline.predict_videos import PredictJob, predict_videos

    found = found_videos(videos, root=root, keep_suffix=keep_suffix)
    files = {name: Path(file) for name, file in (weights or {}).items()}
    job = PredictJob(
        run=_folder(run),
        videos=found,
        weights=files,
        device=device,
        mixed_software=mixed_software,
        keep=Path(keep) if keep else None,
        window=window,
        engine=engine,
    )
    return predict_videos(job, _keeper(Run.open(job.run), timelines, on_timeline))


def _keeper(
    run: Run, timelines: FilePath | None, on_timeline: "Callable[[Timeline], None] | None"
) -> "Callable[[Timeline], None]":
    """Return what is to be done with each timeline: written, handed on, or both."""

    def keep(timeline: "Timeline") -> None:
        from pipeline.report.timelines import write_timeline

        if timelines is not None:
            write_timeline(run, timeline, Path(timelines))
        if on_timeline is not None:
            on_timeline(timeline)

    return keep


@left_as_found(torch_needed=True)
def evaluate(
    run: FilePath | Run,
    store: FilePath | Sequence[FilePath] | None = None,
    *,
    labels: FilePath | None = None,
    part: str | None = None,
    out: FilePath | None = None,
    device: str = "auto",
) -> "Evaluation":
    """Judge a run's model on another store (or several, joined as for `train`), or on a part of its own.

    Args:
        run: a run, or its folder.
        store: features to judge on; None: those of the run.
        labels: a CSV; None: the run's on its own store, else the plan's, or folders.
        part: `train`, `val`, `test` or `all`; None: the test part, or all where no split names one.
        out: CSV that the predictions are written to.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        ConfigError: nothing is left to judge, or a label is not a class of the model.
        StoreError: run or store can not be read, or their features differ.
    """
    from pipeline.learn.evaluate import evaluate_run

    return evaluate_run(
        _folder(run), stores=_folders(store), labels=_path(labels), part=part, out=_path(out), device=device
    )


def compare(runs: Sequence[FilePath | Run], *, html: FilePath | None = None) -> "Comparison":
    """Put runs side by side on the videos that all of them judged, with a paired test of each two.

    Args:
        runs: runs or their folders; `folder:row` takes another row than the kept one.
        html: file that the comparison is written to as a page.

    Raises:
        ConfigError: they share no video, or a row is not there.
        StoreError: a run can not be read.
    """
    from pipeline.report.facts.compare import compare_runs

    comparison = compare_runs([str(run.root) if isinstance(run, Run) else os.fspath(run) for run in runs])
    if html is not None:
        from pipeline.report.make import write_page
        from pipeline.report.pages.compare_page import compare_page

        write_page(Path(html), compare_page(comparison))
    return comparison


@left_as_found(torch_needed=True)
def report(
    run: FilePath | Run,
    out: FilePath | None = None,
    *,
    store: FilePath | Sequence[FilePath] | None = None,
    map: str = "pca",  # noqa: A002 - as the flag
    mistakes: int = 12,
    tensorboard: bool = False,
) -> Path:
    """Write a run as one HTML file that needs neither network nor scripts.

    Args:
        run: a run, or its folder.
        out: the file; None: `report.html` in the run.
        store: where the features are, for the map of them, in one store or several; None: where they were.
        map: `pca` or `tsne`.
        mistakes: how many of the hardest mistakes are shown.
        tensorboard: write the learning curves as event files into the run too.

    Returns:
        the file.
    """
    from pipeline.report.make import make_report
    from pipeline.report.tensorboard import write_events

    if tensorboard:
        write_events(Run.open(_folder(run)))
    return make_report(_folder(run), out=_path(out), stores=_folders(store), method=map, mistakes=mistakes)


def _path(file: FilePath | None) -> Path | None:
    return None if file is None else Path(file)


def _folders(stores: FilePath | Sequence[FilePath] | None) -> tuple[Path, ...]:
    if stores is None:
        return ()
    return (Path(stores),) if isinstance(stores, str | os.PathLike) else tuple(Path(store) for store in stores)


def _folder(run: FilePath | Run) -> Path:
    return run.root if isinstance(run, Run) else Path(run)
