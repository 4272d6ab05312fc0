"""What a run's settings.json says: all that was asked, of which features, with which versions."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from pipeline.learn.material import Material
from pipeline.learn.request import Request
from pipeline.learn.rows import Row

SOFTWARE = ("torch", "numpy", "h5py", "scikit-learn", "vidu-pipe")


def run_settings(request: Request, material: Material, rows: Sequence[Row], device: torch.device) -> dict[str, Any]:
    """Return what settings.json holds; `run.py` documents every field."""
    split = request.split
    return {
        "command": request.command, "seed": request.seed, "seeds": request.seeds, "threads": request.threads,
        "device": device.type, "score_weights": request.score_weights, "rows": [row.as_dict() for row in rows],
        "training": request.training.as_dict(),
        "split": {"kind": material.kind, "folds": split.folds if material.kind == "made" else None,
                  "trainings": len(material.folds), "group_by": split.group_by,
                  "files": str(split.files) if split.files else "", "number": split.number if split.files else None,
                  "labels": str(request.labels) if request.labels else ""},
        "store": {"path": str(request.store.resolve()), **asdict(material.data.origin)},
        "software": _versions(),
    }


def _versions() -> dict[str, str]:
    """Version by library; a checkout that is run without being installed has none of its own."""
    found = {}
    for name in SOFTWARE:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
