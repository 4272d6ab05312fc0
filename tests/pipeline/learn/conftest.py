"""Stores and data sets that learning is tested on."""

from functools import partial

import numpy as np
import pytest
import torch

from pipeline.exchange.importing import import_store
from pipeline.learn.data.dataset import Dataset


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def write_store(root, videos, *, name="features", dtype="float32", source="made", **options):
    """Make a store of {video id: {stream: (T, D)}}."""
    folder = root / f"{name}-files"
    for video, streams in videos.items():
        path = folder / f"{video}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **streams)
    return import_store({"": folder}, root / name, dtype=dtype, source=source, **options)


@pytest.fixture
def make_store(tmp_path):
    """Return a maker of stores: {video id: {stream: (T, D)}} -> Store."""
    return partial(write_store, tmp_path)


@pytest.fixture(scope="session")
def halves(tmp_path_factory):
    """Return a store of 4 classes of which rgb tells the first half of the name and flow the second."""
    rng = np.random.default_rng(0)
    videos = {}
    for look in range(2):
        for move in range(2):
            for number in range(12):
                T = int(rng.integers(2, 5))
                videos[f"look{look}_move{move}/{number:02d}"] = {
                    "rgb": rng.normal(3 * look, 1, (T, 6)),
                    "flow": rng.normal(-3 * move, 1, (T, 5)),
                }
    return write_store(tmp_path_factory.mktemp("halves"), videos)


def make_dataset(lengths, dims, *, seed=0, dtype=torch.float32):
    """Make random features in memory."""
    generator = torch.Generator().manual_seed(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = tuple(f"v{index}" for index in range(len(lengths)))
    streams = {name: torch.randn(int(offsets[-1]), dim, generator=generator).to(dtype) for name, dim in dims.items()}
    return Dataset(ids, ids, offsets, streams)
