"""What training minimises, and the steps it takes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.learn.settings import ModelSettings, TrainSettings

ONE_CYCLE_WARM_UP = 0.2  # share of the steps in which the learning rate rises

Loss = Callable[[Tensor, Tensor], Tensor]


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


def make_optimizer(model: nn.Module, settings: TrainSettings, learning_rate: float,
                   steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW, matrices decayed and vectors not, and its schedule over all epochs of `steps` each."""
    parameters = list(model.parameters())
    groups = [{"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
              {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    whole = steps * settings.epochs
    if settings.schedule == "one-cycle":
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=whole + 1,
                                                              pct_start=ONE_CYCLE_WARM_UP, cycle_momentum=False)
    if settings.schedule == "cosine":
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, whole)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
