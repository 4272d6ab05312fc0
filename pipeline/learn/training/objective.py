"""What training minimises, and the steps it takes."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.learn.settings import ModelSettings, TrainSettings

ONE_CYCLE_WARM_UP = 0.2  # share of training in which the learning rate rises
ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1 / 250_000  # of the highest; as torch has them
SETTLED = 0.1  # of the highest learning rate

Loss = Callable[[Tensor, Tensor], Tensor]
Schedule = Callable[[float], float]


def make_loss(targets: Tensor, model: ModelSettings, settings: TrainSettings, device: torch.device) -> Loss:
    """Cross entropy with label smoothing; binary cross entropy when videos have several labels.

    Args:
        targets: of the training part, int64 (V,) or float32 (V, C).
        model: tells which of the two it is.
        settings: smoothing, and whether classes are weighted.
        device: where scores will be.
    """
    if not model.multilabel:
        counts = torch.bincount(targets, minlength=model.classes).float()
        weight = (len(targets) / (counts.clamp_min(1) * len(counts))).to(device) if settings.class_weights else None
        return nn.CrossEntropyLoss(weight, label_smoothing=settings.label_smoothing)
    positive = targets.sum(0).clamp_min(1)
    balance = ((len(targets) - positive).clamp_min(1) / positive).to(device) if settings.class_weights else None

    def binary(scores: Tensor, labels: Tensor) -> Tensor:
        smooth = labels * (1 - settings.label_smoothing) + settings.label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(scores, smooth, pos_weight=balance)

    return binary


def make_optimizer(
    model: nn.Module, settings: TrainSettings, learning_rate: float
) -> tuple[torch.optim.Optimizer, Schedule]:
    """AdamW, matrices decayed and vectors not, and its learning rate as a function of the share of training done."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    return optimizer, functools.partial(rate_at, settings.schedule, learning_rate)


def rate_at(schedule: str, highest: float, progress: float) -> float:
    """Return the learning rate when the share `progress` of training, 0 to 1, is done.

    Steps are not counted: how many an epoch has differs from epoch to epoch where batches of long videos are cut.

    Args:
        schedule: `one-cycle` (Smith and Topin 2017): up along a cosine, then down along one to nearly nothing; `cosine`
            (Loshchilov and Hutter 2017): down to 0; `constant`.
        highest: the highest rate.
        progress: videos taken, of all that will be taken in all epochs.
    """
    if schedule == "constant":
        return highest
    if schedule == "cosine":
        return _along(highest, 0.0, progress)
    if progress < ONE_CYCLE_WARM_UP:
        return _along(highest * ONE_CYCLE_START, highest, progress / ONE_CYCLE_WARM_UP)
    return _along(highest, highest * ONE_CYCLE_END, (progress - ONE_CYCLE_WARM_UP) / (1 - ONE_CYCLE_WARM_UP))


def settled_epoch(settings: TrainSettings) -> int:
    """Return the first epoch whose learning rate has come down to `SETTLED` of the highest; 0 where it stays high.

    Before, steps are so large that the best epochs are still to come, however long validation has not improved.
    """
    if rate_at(settings.schedule, 1.0, 1.0) > SETTLED:
        return 0
    rates = [rate_at(settings.schedule, 1.0, epoch / settings.epochs) for epoch in range(settings.epochs)]
    peak = rates.index(max(rates))
    return next((epoch for epoch in range(peak, settings.epochs) if rates[epoch] <= SETTLED), settings.epochs)


def _along(start: float, stop: float, share: float) -> float:
    """From `start` to `stop` along half a cosine."""
    return stop + (start - stop) * (1 + math.cos(math.pi * share)) / 2
