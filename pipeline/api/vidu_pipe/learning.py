"""Classifiers over a feature store: trained, judged, compared, asked."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.learn.run import Run
from pipeline.learn.settings import TrainSettings
from schemas.errors import ConfigError
from vidu_pipe.extraction import Videos, found_videos

if TYPE_CHECKING:
    from pipeline.learn.evaluate import Evaluation
    from pipeline.learn.predict import Timeline
    from pipeline.predict import Predictions
    from pipeline.report.compare import Comparison

FilePath = str | os.PathLike[str]
FUSIONS = ("concat", "average", "score", "gated")


def train(
    store: FilePath,
    out: FilePath | None = None,
    *,
    head: str = "mean",
    head_options: Mapping[str, Any] | None = None,
    fusions: Sequence[str] = FUSIONS,
    alone: bool = True,
    streams: Sequence[str] = (),
    labels: FilePath | None = None,
    folds: int | None = None,
    leave_one_group_out: bool = False,
    group_by: str = "",
    split_files: FilePath | None = None,
    split_number: int = 1,
    command: str = "train-fusion",
    **more: Any,  # noqa: ANN401 - fields of TrainSettings and Request, named below
) -> Run:
    """Train classifiers over the features of a store, and judge each on videos that it has not seen.

        run = train("features", head="lstm", fusions=["concat"], leave_one_group_out=True, epochs=40)

    Args:
        store: its folder, or what `open_store` returned.
        out: the run's folder; None: the next free one in `runs/`, or the unfinished one of this very call.
        head: what makes one vector of a video's moments, a name of `HEADS`.
        head_options: of the head.
        fusions: how streams are joined, names of `FUSIONS`.
        alone: every stream is trained alone too.
        streams: those used; all when empty.
        labels: a CSV `path,label[,split][,group]`; None: as in the store's plan, else folder names.
        folds: K of cross-validation, 1 holds out one fifth; None: the labels' own split, else 5.
        leave_one_group_out: as many folds as there are groups.
        group_by: regular expression that finds in a video's id what belongs together.
        split_files: folder of the official split files of UCF101 or HMDB51.
        split_number: which of them.
        command: what the run calls the way it was made.
        more: `epochs, batch, learning_rate, schedule, ...` (see `TrainSettings`) and `hidden, dropout, seed, seeds,
            score_weights, device, threads, memory_bytes, quiet` (see `Request`).

    Returns:
        the run: `run.results`, `run.predictions()`, `run.root`.

    Raises:
        ConfigError: what is asked for can not be done with these videos and labels.
        StoreError: the store can not be read.
        ResourceError: no such device, or the run can not be written.
    """
    from pipeline.learn.learn import learn
    from pipeline.learn.request import Request, SplitChoice
    from schemas.checks import known

    if leave_one_group_out and folds is not None:
        raise ConfigError("`folds` and `leave_one_group_out` exclude each other")
    of_training = tuple(one.name for one in fields(TrainSettings))
    of_request = tuple(one.name for one in fields(Request))
    for name in more:
        known("option", name, (*of_training, *of_request))
    training = TrainSettings(**{name: more.pop(name) for name in of_training if name in more})
    split = SplitChoice(folds=0 if leave_one_group_out else folds, group_by=group_by,
                        files=Path(split_files) if split_files else None, number=split_number)
    request = Request(command=command, store=Path(store), labels=Path(labels) if labels else None,
                      streams=tuple(streams), head=head, head_options=dict(head_options or {}), fusions=tuple(fusions),
                      alone=alone, training=training, split=split, **more)
    return learn(request, Path(out) if out else None)


def open_run(path: FilePath) -> Run:
    """Open a run that is complete.

    Raises:
        StoreError: there is none, it is unfinished, or it is of another version.
    """
    return Run.open(Path(path))


def predict(run: FilePath | Run, videos: Videos, *, window: int = 0, keep: FilePath | None = None,
            weights: Mapping[str, FilePath] | None = None, device: str = "", mixed_software: bool = False,
            on_timeline: "Callable[[Timeline], None] | None" = None, root: Path | None = None,
            keep_suffix: bool = False, **engine: Any) -> "Predictions":  # noqa: ANN401 - fields of Job, named below
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
    from pipeline.predict import PredictJob, predict_videos

    found = found_videos(videos, root=root, keep_suffix=keep_suffix)
    files = {name: Path(file) for name, file in (weights or {}).items()}
    job = PredictJob(run=_folder(run), videos=found, weights=files, device=device, mixed_software=mixed_software,
                     keep=Path(keep) if keep else None, window=window, engine=engine)
    return predict_videos(job, on_timeline)


def evaluate(run: FilePath | Run, store: FilePath | None = None, **more: Any) -> "Evaluation":  # noqa: ANN401
    """Judge a run's model on another store, or on a part of its own; see `pipeline.learn.evaluate.evaluate_run`."""
    from pipeline.learn.evaluate import evaluate_run

    return evaluate_run(_folder(run), store=None if store is None else Path(store), **more)


def compare(runs: Sequence[FilePath | Run]) -> "Comparison":
    """Put runs side by side on the videos that all of them judged, with a paired test of each two.

    Args:
        runs: runs or their folders; `folder:row` takes another row than the kept one.

    Raises:
        ConfigError: they share no video, or a row is not there.
        StoreError: a run can not be read.
    """
    from pipeline.report.compare import compare_runs

    return compare_runs([str(run.root) if isinstance(run, Run) else os.fspath(run) for run in runs])


def report(run: FilePath | Run, out: FilePath | None = None, *, store: FilePath | None = None, map: str = "pca",  # noqa: A002
           mistakes: int = 12) -> Path:
    """Write a run as one HTML file that needs neither network nor scripts.

    Args:
        run: a run, or its folder.
        out: the file; None: `report.html` in the run.
        store: where the features are, for the map of them; None: where they were.
        map: `pca` or `tsne`.
        mistakes: how many of the hardest mistakes are shown.

    Returns:
        the file.
    """
    from pipeline.report.make import make_report

    return make_report(_folder(run), out=Path(out) if out else None, store=Path(store) if store else None, method=map,
                       mistakes=mistakes)


def _folder(run: FilePath | Run) -> Path:
    return run.root if isinstance(run, Run) else Path(run)
