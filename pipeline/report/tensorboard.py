"""A run's learning curves as TensorBoard event files, made from metrics.jsonl."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.learn.runs.run import Run
from pipeline.learn.training.experiment import ALL_VIDEOS
from schemas.disk.files import commit, refusals, temporary_beside
from schemas.errors import ResourceError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

COORDINATES = ("row", "seed", "fold", "epoch", "elapsed_s")  # of a line of metrics.jsonl; all else is a scalar


def event_writer() -> "type[SummaryWriter]":
    """Return what writes event files; called before long work whose end needs it.

    Raises:
        ResourceError: the package `tensorboard` is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ResourceError(
            "event files for TensorBoard need a package more: pip install 'vidu-pipe[tensorboard]'"
        ) from error
    return SummaryWriter


def write_events(run: Run) -> Path:
    """Write `tensorboard/` in a run, anew when it is there.

    It holds one event file a training, in `<row>/seed<S>-fold<F>` (or `-all`), with a scalar a metric and epoch.

    Returns:
        the folder, which `tensorboard --logdir` is given.

    Raises:
        ResourceError: the package `tensorboard` is not installed, or the folder can not be written.
    """
    writer_class = event_writer()
    folder = run.root / "tensorboard"
    fresh = temporary_beside(folder)
    trainings: dict[str, list[dict[str, float]]] = {}
    for line in run.metrics():
        fold = "all" if line["fold"] == ALL_VIDEOS else f"fold{line['fold']}"
        trainings.setdefault(f"{line['row']}/seed{line['seed']}-{fold}", []).append(line)
    with refusals(folder):
        try:
            for name, lines in trainings.items():
                with writer_class(str(fresh / name)) as writer:
                    for line in lines:
                        for metric in line.keys() - set(COORDINATES):
                            if line[metric] is not None:
                                writer.add_scalar(metric, line[metric], int(line["epoch"]))
            shutil.rmtree(folder, ignore_errors=True)
            commit(fresh, folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return folder
