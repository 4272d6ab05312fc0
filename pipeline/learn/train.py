"""Training one model. This page knows no head, no fusion and no file format of features.

Everything random comes from one seed: weights, dropout and Gumbel noise from the global generator, the order of videos
from one of its own. A run that was interrupted goes on from its last checkpoint and ends with the same bits.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from pipeline.learn.batches import gather, in_order, shuffled
from pipeline.learn.checkpoint import State
from pipeline.learn.dataset import Dataset
from pipeline.learn.memory import keep_freed_memory
from pipeline.learn.model import VideoClassifier
from pipeline.learn.objective import Loss, make_loss, make_optimizer
from pipeline.learn.settings import TrainSettings
from pipeline.learn.splits import Fold
from schemas.errors import StoreError
from schemas.words import counted


@dataclass(frozen=True, slots=True)
class Task:
    """What is learnt from.

    Attributes:
        data: features.
        targets: int64 (V,), or float32 (V, C) when videos have several labels.
        fold: which videos are for what.
    """

    data: Dataset
    targets: Tensor
    fold: Fold


def fit(model: VideoClassifier, task: Task, settings: TrainSettings, *, seed: int, device: torch.device,
        title: str, quiet: bool = False, checkpoint: Path | None = None) -> list[dict[str, Any]]:
    """Train a model in place; with a validation part it ends with the weights of the best epoch.

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
    keep_freed_memory()
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    for name in model.branches:
        model.branch(name).standardise(*task.data.moments(name, task.fold.train))
    model.to(device)
    loss = make_loss(task.targets[task.fold.train], model.settings, settings, device)
    state = State(model, *make_optimizer(model, settings, settings.learning_rate or model.learning_rate), order)
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint)
    bar = tqdm(total=settings.epochs, initial=len(state.history), desc=title, unit="epoch", leave=False,
               disable=True if quiet else None)
    with bar, standardised_once(model, task.data) as data:
        task = replace(task, data=data)
        while len(state.history) < settings.epochs and not state.waits_longer_than(settings.patience):
            started = time.perf_counter()
            epoch = len(state.history)
            row: dict[str, Any] = {"epoch": epoch, "learning_rate": state.set_rate(epoch / settings.epochs)}
            row |= train_epoch(state, task, loss, settings, device)
            row |= validate(model, task, loss, device)
            state.close_epoch(row | {"elapsed_s": round(time.perf_counter() - started, 4)}, checkpoint)
            bar.set_postfix(loss=f"{row['train_loss']:.3f}", top1=f"{row['train_top1']:.3f}", refresh=False)
            bar.update()
    if state.best is not None:
        model.load_state_dict(state.best)
    model.eval()
    return state.history


@contextmanager
def standardised_once(model: VideoClassifier, data: Dataset) -> Iterator[Dataset]:
    """Give features that are standardised already, where videos have one moment that every epoch would see the same.

    Meanwhile the model takes them as they are; afterwards it standardises by itself again.
    """
    branches = {name: model.branch(name) for name in model.branches}
    if not model.reduces_once or len(data.ids) < data.offsets[-1]:
        yield data
        return
    with torch.no_grad():
        ready = {name: branch.standardised(data.streams[name].to(branch.mean.device).float()).to(
                     data.streams[name].device) for name, branch in branches.items()}
    try:
        for branch in branches.values():
            branch.done_before = True
        yield replace(data, streams=ready)
    finally:
        for branch in branches.values():
            branch.done_before = False


def train_epoch(state: State, task: Task, loss: Loss, settings: TrainSettings,
                device: torch.device) -> dict[str, float]:
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
        value.backward()  # type: ignore[no-untyped-call]
        if settings.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        state.optimizer.step()
        taken += len(videos)
        total += number * len(videos)
        right += correct(scores.detach(), targets).sum()
    return {"train_loss": total / count, "train_top1": float(right) / count}


def validate(model: VideoClassifier, task: Task, loss: Loss, device: torch.device) -> dict[str, float | None]:
    """Judge the validation part with the loss that is trained."""
    videos = task.fold.val
    if not len(videos):
        return {"val_loss": None, "val_top1": None}
    scores, targets = predict(model, task.data, videos, device), task.targets[videos]
    return {"val_loss": float(loss(scores.to(device), targets.to(device))),
            "val_top1": float(correct(scores, targets).mean())}


@torch.inference_mode()
def predict(model: VideoClassifier, data: Dataset, videos: NDArray[np.int64], device: torch.device,
            batch: int = 128) -> Tensor:
    """Return the scores of some videos, float32 (len(videos), C) on the CPU, in their order."""
    model.eval()
    place = {int(video): index for index, video in enumerate(videos)}
    scores = torch.empty(len(videos), model.settings.classes)
    for chosen in in_order(data, videos, batch=batch):
        gathered = gather(data, chosen, device)
        scores[[place[int(video)] for video in chosen]] = model(gathered.features, gathered.mask).cpu()
    return scores


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
    return (f"the loss is no longer a number, at video {task.data.ids[suspects[0]]} (suspect are {len(suspects)} of "
            f"{counted(len(videos), 'video')} in the batch); a smaller --learning-rate or a look at its features "
            "may help")
