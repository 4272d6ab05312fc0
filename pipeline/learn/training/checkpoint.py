"""All that changes while a model is trained, so that it can be put down and taken up without a bit of difference."""

import io
import logging
import time
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from pipeline.learn.models.model import VideoClassifier
from pipeline.learn.training.objective import Schedule
from schemas.disk.files import reading, write_bytes
from schemas.errors import StoreError
from schemas.plain import Plain

logger = logging.getLogger(__name__)

CHECKPOINT_EVERY_S = 10.0


class TrainingState:
    """All that changes while training, so that it can be put down and taken up.

    Attributes:
        model: trained in place.
        optimizer: with its running means.
        schedule: the learning rate, by the share of training done.
        order: generator of the order of videos.
        history: one row an epoch.
        best: weights of the epoch with the lowest validation loss; None without validation.
    """

    def __init__(
        self, model: VideoClassifier, optimizer: torch.optim.Optimizer, schedule: Schedule, order: torch.Generator
    ) -> None:
        self.model, self.optimizer, self.schedule, self.order = model, optimizer, schedule, order
        self.history: list[Plain] = []
        self.best: dict[str, Tensor] | None = None
        self._best_epoch = -1
        self._saved_at = time.perf_counter()

    def set_rate(self, progress: float) -> float:
        """Set the learning rate that holds when the share `progress` of training is done, and return it."""
        rate = self.schedule(progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def waits_longer_than(self, patience: int, *, since: int = 0) -> bool:
        """Whether `patience` epochs, of those from `since` on, went by without a better one; never when it is 0."""
        waited = len(self.history) - max(self._best_epoch + 1, since)
        return bool(patience) and self.best is not None and waited >= patience

    def close_epoch(self, row: Plain, checkpoint: Path | None) -> None:
        """Note an epoch, keep the weights if it is the best one, and put everything down now and then."""
        self.history.append(row)
        losses = [past["val_loss"] for past in self.history]
        if row["val_loss"] is not None and row["val_loss"] <= min(losses):
            self._best_epoch = len(self.history) - 1
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        if checkpoint is not None and time.perf_counter() - self._saved_at > CHECKPOINT_EVERY_S:
            self.save(checkpoint)

    def save(self, path: Path) -> None:
        """Put everything down, whole or not at all.

        Raises:
            ResourceError: the file system refused.
        """
        held = io.BytesIO()  # the library's own way into a file does not say why it can not be written
        cuda = torch.cuda.get_rng_state_all() if _cuda_is_used() else []
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "best": self.best,
                "history": self.history,
                "best_epoch": self._best_epoch,
                "order": self.order.get_state(),
                "noise": torch.get_rng_state(),
                "cuda": cuda,
            },
            held,
        )
        write_bytes(path, held.getbuffer())
        self._saved_at = time.perf_counter()

    def load(self, path: Path) -> None:
        """Take everything up; only tensors and plain values are read, never code.

        Raises:
            StoreError: the file is not there, or is damaged.
        """
        with reading(path):
            data = path.read_bytes()
        try:
            kept = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
        except (RuntimeError, EOFError, UnpicklingError) as error:
            raise StoreError(f"{path} is damaged: {error}; remove it, and that training begins anew") from error
        self.model.load_state_dict(kept["model"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.history, self.best, self._best_epoch = kept["history"], kept["best"], kept["best_epoch"]
        self.order.set_state(kept["order"])
        torch.set_rng_state(kept["noise"])
        if kept["cuda"] and _cuda_is_used():
            torch.cuda.set_rng_state_all(kept["cuda"])
        logger.info("resumed after epoch %d of %s", len(self.history), path.stem)


def _cuda_is_used() -> bool:
    return bool(torch.cuda.is_initialized())
