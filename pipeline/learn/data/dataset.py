"""A store in memory: one contiguous table a stream, and where in it each video lies.

The whole store is read once, straight from HDF5 into its place. When it is larger than `memory_bytes` its place is a
memory-mapped temporary file that the kernel pages in and out; the file has no name and goes with the process.
"""

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.arrays import Array
from schemas.disk.files import refusals
from schemas.disk.shard import Shard, open_shard
from schemas.disk.store import Store, VideoRows
from schemas.errors import ConfigError, StoreError

logger = logging.getLogger(__name__)

BLOCK_ROWS = 8192  # rows per step where a table may be larger than memory
CHECK_ROWS = 256  # rows per step of looking for NaN, so that what is found out of them stays in the cache


@dataclass(frozen=True, slots=True)
class Dataset:
    """Features of V videos with N moments in all.

    Attributes:
        ids: V video ids.
        paths: V absolute paths of the files.
        offsets: int64 (V + 1,); video v has the rows `offsets[v]:offsets[v + 1]`.
        streams: name -> (N, D) float16 or float32.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    offsets: NDArray[np.int64]
    streams: dict[str, Tensor]

    @property
    def dims(self) -> dict[str, int]:
        """Stream name -> D."""
        return {name: int(table.shape[1]) for name, table in self.streams.items()}

    def rows(self, videos: NDArray[np.int64]) -> Iterator[slice]:
        """Yield the row ranges of videos, neighbours joined."""
        start = stop = -1
        for video in np.sort(videos):
            low, high = int(self.offsets[video]), int(self.offsets[video + 1])
            if low != stop:
                if stop > start:
                    yield slice(start, stop)
                start = low
            stop = high
        yield slice(start, stop)

    def feature_statistics(self, stream: str, videos: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, float32 (D,), over all moments of `videos`."""
        table = self.streams[stream]
        total, count = torch.zeros(2, table.shape[1], dtype=torch.float64, device=table.device), 0
        centre = table[int(self.offsets[videos[0]])].float()  # near the mean, so that squares do not cancel
        for rows in self.rows(videos):
            for block in torch.split(table[rows], BLOCK_ROWS):
                shifted = block.float() - centre
                total += torch.stack([shifted.sum(0), shifted.square().sum(0)])
                count += len(block)
        mean = total[0] / count
        variance = (total[1] / count - mean.square()).clamp_min(0)
        return (mean + centre).float(), variance.sqrt().float()

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Moments of each video, int64 (V,)."""
        lengths: NDArray[np.int64] = np.diff(self.offsets)
        return lengths

    def to(self, device: torch.device) -> "Dataset":
        """Move the tables to a device, when they fit in half of what it has free; else leave them where they are."""
        size = sum(table.nbytes for table in self.streams.values())
        if device.type == "cpu" or size > torch.cuda.mem_get_info(device)[0] // 2:
            return self
        return replace(self, streams={name: table.to(device) for name, table in self.streams.items()})


def read_dataset(
    store: Store,
    videos: Sequence[VideoRows],
    *,
    streams: Sequence[str] = (),
    memory_bytes: int = 8 << 30,
    spill_dir: Path | None = None,
) -> Dataset:
    """Read the features of videos into memory.

    Args:
        store: where they lie.
        videos: of `Store.video_rows`, in the order wanted.
        streams: names of those wanted; all when empty.
        memory_bytes: tables larger than this together go to a memory-mapped file.
        spill_dir: folder of that file; the system's temporary folder when None.

    Raises:
        ConfigError: no video, or a stream the store does not have.
        StoreError: a shard can not be read, or a feature is NaN or infinite; the message names the video.
    """
    if not videos:
        raise ConfigError(f"{store.root} holds no video to learn from; `vidu-pipe status {store.root}` tells more")
    lengths = np.array([video.moments for video in videos])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tables: dict[str, Array] = {}
    for shard, ranges in _runs(videos, offsets).items():
        with open_shard(store.shard_path(shard)) as file:
            layout = _layout(store, file, streams)
            tables = tables or _allocate(layout, int(offsets[-1]), memory_bytes, spill_dir)
            found = {name: (table.shape[1], table.dtype) for name, table in tables.items()}
            if layout != found:
                raise StoreError(f"{file.path}: streams {layout}, the shards before it have {found}")
            for name, table in tables.items():
                for row_start, row_stop, place in ranges:
                    rows = table[place : place + row_stop - row_start]
                    file.read_into(name, rows, row_start, row_stop)
                    if (bad := _not_finite(rows)) is not None:
                        raise StoreError(_blame(name, place + bad, videos, offsets))
    return Dataset(
        tuple(video.id for video in videos),
        tuple(video.path for video in videos),
        offsets,
        {name: torch.from_numpy(table) for name, table in tables.items()},
    )


def _runs(videos: Sequence[VideoRows], offsets: NDArray[np.int64]) -> dict[str, list[tuple[int, int, int]]]:
    """Shard -> (row_start, row_stop, place) of what is to be read; rows that stay neighbours are one run."""
    runs: dict[str, list[tuple[int, int, int]]] = {}
    for video, offset in zip(videos, offsets[:-1].tolist(), strict=True):
        place = offset
        for piece in video.pieces:
            ranges = runs.setdefault(piece.shard, [])
            rows = piece.row_stop - piece.row_start
            if ranges and ranges[-1][1] == piece.row_start and ranges[-1][2] + piece.row_start - ranges[-1][0] == place:
                ranges[-1] = (ranges[-1][0], piece.row_stop, ranges[-1][2])
            else:
                ranges.append((piece.row_start, piece.row_stop, place))
            place += rows
    return runs


def _layout(store: Store, shard: Shard, streams: Sequence[str]) -> dict[str, tuple[int, np.dtype[Any]]]:
    """Stream -> (D, dtype), of those wanted."""
    missing = [name for name in streams if name not in shard.dims]
    if missing:
        raise ConfigError(f"{store.root} has no stream {missing[0]!r}; it has {', '.join(shard.dims)}")
    return {name: (shard.dims[name], np.dtype(shard.dtypes[name])) for name in streams or shard.dims}


def _allocate(
    layout: dict[str, tuple[int, np.dtype[Any]]], rows: int, memory_bytes: int, spill_dir: Path | None
) -> dict[str, Array]:
    size = sum(rows * dim * dtype.itemsize for dim, dtype in layout.values())
    if size <= memory_bytes:
        return {name: np.empty((rows, dim), dtype) for name, (dim, dtype) in layout.items()}
    logger.info(
        "features take %.1f GB, more than `memory_bytes` allows: they are paged from a temporary file in %s",
        size / 1e9,
        spill_dir or tempfile.gettempdir(),
    )
    tables: dict[str, Array] = {}
    for name, (dim, dtype) in layout.items():
        with tempfile.TemporaryFile(dir=spill_dir) as file:  # the map keeps its own handle on the nameless file
            with refusals(Path(spill_dir or tempfile.gettempdir())):  # a page without room would end the process
                os.posix_fallocate(file.fileno(), 0, rows * dim * dtype.itemsize)
            tables[name] = np.memmap(file, dtype, "r+", shape=(rows, dim))
    return tables


def _not_finite(table: Array) -> int | None:
    """Return the first row of a table (N, D) that holds NaN or infinity."""
    for start in range(0, len(table), CHECK_ROWS):
        finite = np.isfinite(table[start : start + CHECK_ROWS])
        if not finite.all():
            return start + int(np.flatnonzero(~finite.all(axis=1))[0])
    return None


def _blame(stream: str, row: int, videos: Sequence[VideoRows], offsets: NDArray[np.int64]) -> str:
    video = int(np.searchsorted(offsets, row, side="right")) - 1
    return (
        f"stream {stream} of video {videos[video].id} holds NaN or infinity at moment {row - offsets[video]}; "
        "leave the video out, or make its features anew"
    )


def read_moments(store: Store, videos: Sequence[VideoRows]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return frame indices int64 (N,) and presentation times float64 (N,) of the moments of videos, one after another.

    Raises:
        StoreError: a shard can not be read.
    """
    offsets = np.cumsum([0, *(video.moments for video in videos)])
    frame, pts_s = np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.float64)
    for shard, ranges in _runs(videos, offsets).items():
        with open_shard(store.shard_path(shard)) as file:
            for start, stop, place in ranges:
                frame[place : place + stop - start], pts_s[place : place + stop - start] = file.moments(start, stop)
    return frame, pts_s


def fingerprints(store: Store, videos: Sequence[VideoRows]) -> tuple[str, ...]:
    """Return the fingerprint of each video's file: two ids with the same one are the same recording."""
    found: dict[str, str] = {}
    for shard in sorted({piece.shard for video in videos for piece in video.pieces}):
        with open_shard(store.shard_path(shard)) as file:
            found |= dict(zip(file.videos["id"], file.videos["fingerprint"], strict=True))
    return tuple(found[video.id] for video in videos)
