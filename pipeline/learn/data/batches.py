"""Batches gathered from the tables of a data set: videos of like length together, padded, converted on the way."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.learn.data.dataset import Dataset
from pipeline.learn.models.heads import Head

BUCKET_BATCHES = 16  # videos are sorted by length within this many batches: near-random order, little padding
FULL_BATCH_BYTES = 256 << 20  # a batch of long videos is cut so that its padded features stay below this


@dataclass(frozen=True, slots=True)
class Batch:
    """Some videos, padded to the longest of them.

    Attributes:
        features: stream -> float32 (B, T, D); beyond the mask it repeats the video's last moment.
        mask: bool (B, T).
        videos: int64 (B,), their places in the data set.
    """

    features: dict[str, Tensor]
    mask: Tensor
    videos: Tensor


def gather(data: Dataset, videos: Tensor, device: torch.device) -> Batch:
    """Copy videos out of the tables into one padded batch on `device`."""
    offsets = torch.from_numpy(data.offsets)
    start, length = offsets[videos], offsets[videos + 1] - offsets[videos]
    steps = torch.arange(int(length.max()))
    index = start.unsqueeze(1) + torch.minimum(steps, length.unsqueeze(1) - 1)  # (B, T)
    features = {}
    for name, table in data.streams.items():
        rows = torch.index_select(table, 0, index.flatten().to(table.device))
        features[name] = rows.to(device).float().view(*index.shape, table.shape[1])
    return Batch(features, (steps < length.unsqueeze(1)).to(device), videos.to(device))


def shuffled(data: Dataset, videos: NDArray[np.int64], *, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the videos in batches, each once, in an order that `generator` decides; like lengths share a batch."""
    lengths = torch.from_numpy(data.lengths)
    order = torch.from_numpy(videos)[torch.randperm(len(videos), generator=generator)]
    batches: list[Tensor] = []
    for bucket in torch.split(order, batch * BUCKET_BATCHES):
        batches += torch.split(bucket[torch.argsort(lengths[bucket], stable=True)], batch)
    for position in torch.randperm(len(batches), generator=generator).tolist():
        yield from _cut(batches[position], lengths, sum(data.dims.values()))


def in_order(data: Dataset, videos: NDArray[np.int64], *, batch: int) -> Iterator[Tensor]:
    """Yield the videos in batches, each once, the shortest first; nothing when there are none."""
    if not len(videos):
        return
    lengths = torch.from_numpy(data.lengths)
    chosen = torch.from_numpy(videos)
    for videos_of_batch in torch.split(chosen[torch.argsort(lengths[chosen], stable=True)], batch):
        yield from _cut(videos_of_batch, lengths, sum(data.dims.values()))


def _cut(videos: Tensor, lengths: Tensor, width: int) -> Iterator[Tensor]:
    """Halve a batch whose padded features, `width` a moment, would be larger than `FULL_BATCH_BYTES`."""
    if len(videos) > 1 and len(videos) * int(lengths[videos].max()) * width * 4 > FULL_BATCH_BYTES:
        half = len(videos) // 2
        yield from _cut(videos[:half], lengths, width)
        yield from _cut(videos[half:], lengths, width)
    else:
        yield videos


def pool(data: Dataset, head: Head) -> Dataset:
    """Apply a head that has nothing to learn to every video: a data set of one moment a video, in float32.

    The same head leaves a single moment as it is, so a model trained on the result is the model of the whole videos.
    """
    tables = {name: torch.empty(len(data.ids), dim) for name, dim in data.dims.items()}
    everything = np.arange(len(data.ids))
    with torch.inference_mode():
        for videos in in_order(data, everything, batch=256):
            batch = gather(data, videos, torch.device("cpu"))
            for name, table in tables.items():
                table[videos] = head(batch.features[name], batch.mask)
    return replace(data, offsets=np.arange(len(data.ids) + 1), streams=tables)
