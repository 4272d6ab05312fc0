"""Training one model. This page knows no head, no fusion and no file format of features.

Everything random comes from one seed: weights, dropout and Gumbel noise from the global generator, the order of videos
from one of its own. A run that was interrupted goes on from its last checkpoint and ends with the same bits.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from pipeline.learn.data.batches import gather, in_order, shuffled
from pipeline.learn.data.dataset import Dataset
from pipeline.learn.data.splits import Fold, inner_cuts
from pipeline.learn.data.targets import rarest
from pipeline.learn.models.linear import Cut, fit_linear
from pipeline.learn.models.model import VideoClassifier
from pipeline.learn.settings import VAL_WORTH_IT, TrainSettings
from pipeline.learn.training.checkpoint import TrainingState
from pipeline.learn.training.objective import Loss, make_loss, make_optimizer, settled_epoch
from schemas.errors import StoreError
from schemas.plain import Plain
from schemas.words import counted


@dataclass(frozen=True, slots=True)
class Task:
    """What is learnt from.

    Attributes:
        data: features.
        targets: int64 (V,), or float32 (V, C) when videos have several labels.
        fold: which videos are for what.
        groups: V names; empty: each video is a group by itself.
    """

    data: Dataset
    targets: Tensor
    fold: Fold
    groups: Sequence[str] = ()


def fit(
    model: VideoClassifier,
    task: Task,
    settings: TrainSettings,
    *,
    seed: int,
    device: torch.device,
    title: str,
    quiet: bool = False,
    checkpoint: Path | None = None,
) -> list[Plain]:
    """Train a model in place; with a validation part it ends with the weights of the best epoch.

    Where a linear layer is all there is to train it is fitted to the end instead (`linear.py`), in one row of epoch 0
    without a learning rate.

    Args:
        model: freshly built; standardised here with the training part.
        task: features, targets and fold.
        settings: how to train.
        seed: of the order of videos and of the noise.
        device: where to compute.
        title: shown by the progress bar.
        quiet: no progress bar.
        checkpoint: file to resume from when it is there, and to keep while training.

    Returns:
        one row an epoch: epoch, learning_rate, train_loss, train_top1, val_loss, val_top1, elapsed_s.

    Raises:
        StoreError: the loss became NaN; the message names a video.
    """
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    for name in model.branches:
        model.branch(name).standardise(*task.data.feature_statistics(name, task.fold.train))
    model.to(device)
    if model.layer is not None:
        return [_solve(model, model.layer, task, settings, seed=seed, device=device)]
    loss = make_loss(task.targets[task.fold.train], model.settings, settings, device)
    state = TrainingState(model, *make_optimizer(model, settings, settings.learning_rate or model.learning_rate), order)
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint)
    since = settled_epoch(settings)
    with tqdm(
        total=settings.epochs,
        initial=len(state.history),
        desc=title,
        unit="epoch",
        leave=False,
        disable=True if quiet else None,
    ) as bar:
        while len(state.history) < settings.epochs and not state.waits_longer_than(settings.patience, since=since):
            row = _epoch(state, task, loss, settings, device, checkpoint)
            bar.set_postfix(loss=f"{row['train_loss']:.3f}", top1=f"{row['train_top1']:.3f}", refresh=False)
            bar.update()
    if state.best is not None:
        model.load_state_dict(state.best)
    model.eval()
    return state.history


def _epoch(
    state: TrainingState, task: Task, loss: Loss, settings: TrainSettings, device: torch.device, checkpoint: Path | None
) -> Plain:
    """Do one epoch and keep where training is then; return its row."""
    started, epoch = time.perf_counter(), len(state.history)
    row: Plain = {"epoch": epoch, "learning_rate": state.set_rate(epoch / settings.epochs)}
    row |= train_epoch(state, task, loss, settings, device)
    row |= validate(state.model, task, loss, device)
    state.close_epoch(row | {"elapsed_s": round(time.perf_counter() - started, 4)}, checkpoint)
    return row


def _solve(
    model: VideoClassifier, layer: nn.Linear, task: Task, settings: TrainSettings, *, seed: int, device: torch.device
) -> Plain:
    """Fit the one layer that there is to train to the end, and tell it in a row like that of an epoch."""
    started, fold = time.perf_counter(), task.fold
    several = task.targets.ndim == 2
    known = np.concatenate([fold.train, fold.val])
    members = (
        (task.targets[known] if several else functional.one_hot(task.targets[known], model.settings.classes))
        .numpy()
        .astype(np.bool_)
    )
    x = seen(model, layer.in_features, task.data, known, device).numpy()
    found = fit_linear(
        x,
        members,
        np.arange(len(fold.train)),
        _cuts(task, members, seed),
        multilabel=several,
        balanced=settings.class_weights,
        threads=torch.get_num_threads(),
    )
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(found.weight))
        layer.bias.copy_(torch.from_numpy(found.bias))
    loss = make_loss(task.targets[fold.train], model.settings, replace(settings, label_smoothing=0.0), device)
    judged = {
        part: _judged(model, task, videos, loss, device) for part, videos in (("train", fold.train), ("val", fold.val))
    }
    return {
        "epoch": 0,
        "learning_rate": None,
        "strength": found.strength,
        **{f"{part}_{name}": value for part, values in judged.items() for name, value in values.items()},
        "elapsed_s": round(time.perf_counter() - started, 4),
    }


def _cuts(task: Task, members: NDArray[np.bool_], seed: int) -> list[Cut]:
    """Cut the training part into what is fitted and what is judged: inner folds, or many videos with a part for it."""
    train, val = len(task.fold.train), len(task.fold.val)
    if val and train + val >= VAL_WORTH_IT:
        return [(np.arange(train), np.arange(train, train + val))]
    groups = [task.groups[v] if task.groups else str(v) for v in task.fold.train]
    return inner_cuts(groups, rarest(members[:train]), seed=seed)


def train_epoch(
    state: TrainingState, task: Task, loss: Loss, settings: TrainSettings, device: torch.device
) -> dict[str, float]:
    """Take every training video once."""
    model, total, right = state.model.train(), 0.0, torch.zeros((), device=device)
    count, taken = len(task.fold.train), 0
    for videos in shuffled(task.data, task.fold.train, batch=settings.batch_of(count), generator=state.order):
        state.set_rate((len(state.history) + taken / count) / settings.epochs)
        batch = gather(task.data, videos, device)
        targets = task.targets[videos].to(device)
        scores = model(batch.features, batch.mask)
        value = loss(scores, targets)
        if not math.isfinite(number := value.item()):
            raise StoreError(_blame(task, videos, scores.detach()))
        model.zero_grad()  # the optimizer's own is the same, with a record for the profiler each time
        value.backward()
        if settings.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        state.optimizer.step()
        taken += len(videos)
        total += number * len(videos)
        right += correct(scores.detach(), targets).sum()
    return {"train_loss": total / count, "train_top1": float(right) / count}


def validate(model: VideoClassifier, task: Task, loss: Loss, device: torch.device) -> dict[str, float | None]:
    """Judge the validation part with the loss that is trained."""
    return {f"val_{name}": value for name, value in _judged(model, task, task.fold.val, loss, device).items()}


def _judged(
    model: VideoClassifier, task: Task, videos: NDArray[np.int64], loss: Loss, device: torch.device
) -> dict[str, float | None]:
    if not len(videos):
        return {"loss": None, "top1": None}
    scores, targets = answers(model, task, videos, device)
    return {"loss": float(loss(scores.to(device), targets.to(device))), "top1": float(correct(scores, targets).mean())}


def answers(
    model: VideoClassifier,
    task: Task,
    videos: NDArray[np.int64],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Return the scores of some videos of a task, and their targets."""
    return scores_of(model, task.data, videos, device), task.targets[videos]


def scores_of(
    model: VideoClassifier, data: Dataset, videos: NDArray[np.int64], device: torch.device, batch: int = 128
) -> Tensor:
    """Return the scores of some videos, float32 (len(videos), C) on the CPU, in their order."""
    return _each(model.eval(), model.settings.classes, data, videos, device, batch)


def seen(
    model: VideoClassifier, width: int, data: Dataset, videos: NDArray[np.int64], device: torch.device, batch: int = 128
) -> Tensor:
    """Return what the last layer, of so many inputs, sees of videos, float32 (len(videos), width) as `scores_of`."""
    return _each(model.eval().seen, width, data, videos, device, batch)


@torch.inference_mode()
def _each(
    ask: Callable[[Mapping[str, Tensor], Tensor], Tensor],
    width: int,
    data: Dataset,
    videos: NDArray[np.int64],
    device: torch.device,
    batch: int,
) -> Tensor:
    place = {int(video): index for index, video in enumerate(videos)}
    found = torch.empty(len(videos), width)
    for chosen in in_order(data, videos, batch=batch):
        gathered = gather(data, chosen, device)
        found[[place[int(video)] for video in chosen]] = ask(gathered.features, gathered.mask).cpu()
    return found


def correct(scores: Tensor, targets: Tensor) -> Tensor:
    """1.0 where the first class said is a label of the video, else 0.0: (B,)."""
    said = scores.argmax(1)
    if targets.ndim == 1:
        return (said == targets).float()
    return (targets.gather(1, said.unsqueeze(1)).squeeze(1) > 0).float()


def _blame(task: Task, videos: Tensor, scores: Tensor) -> str:
    """Name a video whose scores are not finite, else the first of the batch."""
    bad = (~torch.isfinite(scores)).any(1).nonzero().flatten().cpu()
    suspects: Sequence[int] = videos[bad].tolist() or videos.tolist()
    return (
        f"the loss is no longer a number, at video {task.data.ids[suspects[0]]} (suspect are {len(suspects)} of "
        f"{counted(len(videos), 'video')} in the batch); a smaller `learning_rate` or a look at its features "
        "may help"
    )
