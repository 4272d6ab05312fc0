"""What a run's settings.json says: all that was asked, of which features, with which versions."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict

import torch

from pipeline.learn.data.material import Material, split_rows
from pipeline.learn.data.splits import Fold
from pipeline.learn.models.heads import HEADS
from pipeline.learn.models.model import VideoClassifier
from pipeline.learn.request import Request
from pipeline.learn.runs.rows import Row
from pipeline.learn.settings import TrainSettings
from schemas.plain import Plain
from schemas.software import versions

SOFTWARE = ("torch", "numpy", "h5py", "scikit-learn", "vidu-pipe")
LBFGS = "l-bfgs"


def run_settings(request: Request, material: Material, rows: Sequence[Row], device: torch.device) -> Plain:
    """Return what settings.json holds; `run.py` documents every field."""
    split = request.split
    return {
        "command": request.command,
        "seed": request.seed,
        "seeds": request.seeds,
        "threads": request.threads,
        "device": device.type,
        "score_weights": request.score_weights,
        "rows": [row.as_dict() | {"training": done(request.training, row, material.trainings)} for row in rows],
        "training": request.training.as_dict(),
        "split": {
            "kind": material.kind,
            "folds": split.folds if material.kind == "made" else None,
            "repeats": split.repeats,
            "trainings": len(material.trainings),
            "group_by": split.group_by,
            "files": str(split.files) if split.files else "",
            "number": split.number if split.files else None,
            "labels": str(request.labels) if request.labels else "",
            "min_videos": request.min_videos,
            "digest": split_digest(material),
        },
        "stores": [{"path": str(store.root.resolve()), **asdict(store.origin)} for store in material.stores],
        "software": versions(SOFTWARE),
    }


def done(asked: TrainSettings, row: Row, trainings: Sequence[Fold]) -> Plain | None:
    """Return how a row is trained: what was asked, with every value that was left open filled in.

    `batch` and `val_fraction` follow from the size of the training part: they are lists, one a training, where that
    makes a difference. None for a row that is put together from others instead of being trained; of a linear row, which
    is fitted to the end, what that takes.
    """
    if row.parts:
        return None
    sizes = [(len(fold.train), len(fold.val)) for fold in trainings]
    share = {"val_fraction": _same([round(val / (train + val), 3) for train, val in sizes])}
    if VideoClassifier(row.model).layer is not None:
        return {"solver": LBFGS, "class_weights": asked.class_weights} | share
    return (
        {"solver": "adamw"}
        | asked.as_dict()
        | {
            "learning_rate": asked.learning_rate or HEADS[row.model.head].learning_rate,
            "batch": _same([asked.batch_of(train) for train, _ in sizes]),
        }
        | share
    )


def split_digest(material: Material) -> str:
    """Return a digest of which videos, how long, with which label and group are in which part of which fold.

    Store and labels may change between an interrupted training and its repetition; with it that is noticed, instead of
    models being judged on videos they were trained on.
    """
    rows = [(row.video, row.label, row.group, row.fold, row.part) for row in split_rows(material)]
    again = [fold.test.tolist() for folds in material.again for fold in folds]
    text = json.dumps([rows, material.data.lengths.tolist(), *again])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _same(values: Sequence[float]) -> float | list[float]:
    return values[0] if len(set(values)) == 1 else list(values)
