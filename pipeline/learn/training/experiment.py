"""Rows x folds x seeds: trains every model of a run, each once, and takes up what an interrupted run has done."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.learn.data.batches import pool
from pipeline.learn.data.dataset import Dataset
from pipeline.learn.data.splits import Fold
from pipeline.learn.data.targets import Targets
from pipeline.learn.models.heads import make_head
from pipeline.learn.models.model import VideoClassifier, join_late, load_model, save_model
from pipeline.learn.models.score_weights import fit_weights
from pipeline.learn.runs.rows import PLAIN, Row
from pipeline.learn.settings import ModelSettings, TrainSettings
from pipeline.learn.training.train import Task, answers, correct, fit, scores_of
from schemas.disk.files import write_lines
from schemas.plain import Plain, read_json

logger = logging.getLogger(__name__)

ALL_VIDEOS = -1  # the "fold" of the last training after cross-validation
INNER = -2  # the first "fold" of those within a training part, that rows are chosen by; the next is -3
LEARNT = 0.8  # of the training videos right, or it is said: measured 1.0 where heads learn, .2 to .3 where not


@dataclass(frozen=True, slots=True)
class Trained:
    """One row, trained on one fold with one seed; its model lies in the resume folder (`Experiment.model`).

    Attributes:
        parameters: trainable numbers in the model.
        test: probabilities float32 (len(fold.test), C).
        val: probabilities float32 (len(fold.val), C).
        history: rows for metrics.jsonl.
    """

    parameters: int
    test: NDArray[np.float32]
    val: NDArray[np.float32]
    history: list[Plain]


class Experiment:
    """Trains rows on folds; what is done lies in the resume folder.

    Attributes:
        data: features of all videos.
        targets: their labels.
        groups: what belongs together; empty: each video is a group by itself.
        training: how to train.
        device: where to compute.
        folder: where results of finished trainings and checkpoints of unfinished ones lie.
        weights: of a late fusion: `equal`, `fit`, or one number a stream.
        quiet: no progress bars.
    """

    def __init__(
        self,
        data: Dataset,
        targets: Targets,
        training: TrainSettings,
        *,
        device: torch.device,
        folder: Path,
        groups: Sequence[str] = (),
        weights: str | Sequence[float] = "equal",
        quiet: bool = False,
    ) -> None:
        self.data = data.to(device)
        self.targets = targets
        self.groups = groups
        self.training = training
        self.device = device
        self.folder = folder
        self.weights = weights
        self.quiet = quiet
        self._pooled: dict[str, Dataset] = {}
        self._unlearnt: set[str] = set()

    def train(self, row: Row, fold: Fold, *, seed: int, number: int, parts: Sequence[Trained] = ()) -> Trained:
        """Train a row, or read what an earlier run of the same settings has trained.

        Args:
            row: what to train.
            fold: on which videos.
            seed: of the run.
            number: of the fold, for names and seeds.
            parts: the trained parts of a late fusion, in the order of its streams.
        """
        unit = _unit(row.name, seed, number)
        data = self._data(row.model)
        done = self.folder / f"{unit}.json"
        if done.exists():
            model = self.model(row, seed=seed, number=number)
            return self._judged(model, data, fold, read_json(done, list[Plain]))
        if row.parts:
            model = self._joined(row, fold, parts, seed=seed, number=number)
            epochs: list[Plain] = []
        else:
            model, epochs = self._fitted(row, fold, data, unit=unit, seed=seed)
        history = [{"row": row.name, "seed": seed, "fold": number} | epoch for epoch in epochs]
        save_model(model, self.folder / f"{unit}.safetensors")
        write_lines(done, [json.dumps(history)])
        return self._judged(model, data, fold, history)

    def model(self, row: Row, *, seed: int, number: int) -> VideoClassifier:
        """Read a model that was trained, on the CPU and ready for evaluation."""
        return load_model(row.model, self.folder / f"{_unit(row.name, seed, number)}.safetensors")

    def _fitted(
        self, row: Row, fold: Fold, data: Dataset, *, unit: str, seed: int
    ) -> tuple[VideoClassifier, list[Plain]]:
        # one seed a unit, so that no result depends on what was trained before it
        unit_seed = int.from_bytes(hashlib.sha256(f"{seed}/{unit}".encode()).digest()[:4]) >> 1
        torch.manual_seed(unit_seed)
        model = VideoClassifier(row.model)
        checkpoint = self.folder / f"{unit}.pt"
        task = Task(data, self.targets.tensor, fold, self.groups)
        history = fit(
            model,
            task,
            self.training,
            seed=unit_seed,
            device=self.device,
            title=unit,
            quiet=self.quiet,
            checkpoint=checkpoint,
        )
        checkpoint.unlink(missing_ok=True)
        if model.layer is None:
            self._tell_unlearnt(row.name, float(correct(*answers(model, task, fold.train, self.device)).mean()))
        return model.cpu().eval(), history

    def _tell_unlearnt(self, row: str, right: float) -> None:
        """Say, once a row, that gradient descent did not get through with what it was shown."""
        if right < LEARNT and row not in self._unlearnt:
            self._unlearnt.add(row)
            logger.warning(
                "%s is right about only %.0f %% of the videos it was trained on, so it may not be trained "
                "to the end: more `epochs` or `learning_rate`, or less `dropout` may help",
                row,
                100 * right,
            )

    def _joined(self, row: Row, fold: Fold, parts: Sequence[Trained], *, seed: int, number: int) -> VideoClassifier:
        names = list(row.model.streams)
        alone = [
            Row(part, replace(row.model, streams={name: row.model.streams[name]}, fusion=PLAIN))
            for part, name in zip(row.parts, names, strict=True)
        ]
        model = join_late(
            row.model, {name: self.model(one, seed=seed, number=number) for name, one in zip(names, alone, strict=True)}
        )
        weights = np.full(len(names), 1.0)
        if self.weights == "fit":
            if len(fold.val):
                weights = fit_weights(np.stack([part.val for part in parts]), self.targets.members[fold.val])
        elif self.weights != "equal":
            weights = np.array([float(weight) for weight in self.weights])
        model.fusion.get_buffer("weights").copy_(torch.from_numpy(weights / weights.sum()))
        return model.eval()

    def _judged(self, model: VideoClassifier, data: Dataset, fold: Fold, history: list[Plain]) -> Trained:
        model.to(self.device)
        test, val = (
            model.probabilities(scores_of(model, data, videos, self.device)).numpy() for videos in (fold.test, fold.val)
        )
        return Trained(model.trainable(), test, val, history)

    def _data(self, model: ModelSettings) -> Dataset:
        """The streams a model uses; of one moment a video where its head may be applied beforehand."""
        head = make_head(model.head, dim=1, **model.head_options)
        data = self.data
        if head.pools:
            if model.head not in self._pooled:
                self._pooled[model.head] = pool(self.data, head)
            data = self._pooled[model.head]
        return replace(data, streams={name: data.streams[name] for name in model.streams})


def _unit(row: str, seed: int, number: int) -> str:
    return f"{row}-seed{seed}-fold{number}"
