"""A run's learning curves as TensorBoard event files, written after training from metrics.jsonl."""

from pathlib import Path

from pipeline.learn.experiment import ALL_VIDEOS
from pipeline.learn.run import Run
from schemas.errors import ConfigError


def write_events(run: Run, folder: Path) -> int:
    """Write one event file a training: `<row>/seed<S>-fold<F>` (or `-all`), with a scalar a metric and epoch.

    Args:
        run: whose metrics.
        folder: what `tensorboard --logdir` is given.

    Returns:
        how many trainings were written.

    Raises:
        ConfigError: the package `tensorboard` is not installed, or the folder holds events already.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError("--tensorboard needs a package more: pip install 'vidu-pipe[tensorboard]'") from error
    if any(folder.rglob("events.out.tfevents.*")):
        raise ConfigError(f"{folder} holds event files already, and TensorBoard would mix them; choose another folder")
    trainings: dict[str, list[dict[str, float]]] = {}
    for line in run.metrics():
        fold = "all" if line["fold"] == ALL_VIDEOS else f"fold{line['fold']}"
        trainings.setdefault(f"{line['row']}/seed{line['seed']}-{fold}", []).append(line)
    for name, lines in trainings.items():
        with SummaryWriter(str(folder / name)) as writer:
            for line in lines:
                for metric, value in line.items():
                    if metric not in ("row", "seed", "fold", "epoch", "elapsed_s") and value is not None:
                        writer.add_scalar(metric, value, int(line["epoch"]))
    return len(trainings)
