"""The HDF5 layout of a shard, schema 2. The only file that knows it, and the only door to h5py.

    /                    attrs: format, schema, shard, kind, settings (JSON), digest, software (JSON), streams
    /videos/             id path fingerprint attempt codec width height rotation fps duration_s frames
                         one row per video of the shard, failed ones too; labels are in the plan, where they can be
                         corrected
    /segments/           video (row in /videos) start stop (moments of the video) row_start row_stop (rows in /moments)
                         outcome
    /moments/            frame int64 (N,), pts_s float64 (N,); -1 and NaN where imported features came without times
    /streams/<name>      (N, D) float16 or float32, chunked by rows, each chunk with its Fletcher-32 checksum

Row `i` of every stream is the moment of row `i` of /moments: streams can not differ in length. The file format is that
of HDF5 1.10, whose own tables carry checksums too.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from schemas.errors import ResourceError, StoreError
from schemas.plan import Video
from schemas.words import counted

SHARD_FORMAT = "vidu-pipe shard"
SHARD_SCHEMA = 2
CHUNK_BYTES = 1 << 20
_CACHE_BYTES = 8 << 20  # holds several chunks: rows are read in runs that share their first and last one
_TEXT_COLUMNS = ("id", "path", "fingerprint")
_PROBE_COLUMNS = {"codec": "text", "width": "int64", "height": "int64", "rotation": "int64", "fps": "float64",
                  "duration_s": "float64", "frames": "int64"}


@dataclass(frozen=True, slots=True)
class SegmentRows:
    """Where the rows of one segment lie.

    Attributes:
        video: row in the shard's table of videos.
        start: first moment of the segment, counted in its video.
        stop: one past the last moment written; `start` when nothing was.
        row_start: first row in the shard.
        row_stop: one past the last row in the shard.
        outcome: `ok`, `partial` or `failed`.
    """

    video: int
    start: int
    stop: int
    row_start: int
    row_stop: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Origin:
    """What made a store, repeated in each of its shards.

    Attributes:
        kind: `extract`, or `import` for features computed elsewhere.
        settings: plain JSON values.
        digest: digest of the settings; rows of the same digest are comparable.
        software: version by library, of those that can change a feature.
    """

    kind: str
    settings: dict[str, Any]
    digest: str
    software: dict[str, str]


@dataclass(frozen=True, slots=True)
class ShardContent:
    """A whole shard in memory, about to be written.

    Attributes:
        shard: its name.
        origin: what made it.
        videos: one row a video.
        segments: in row order.
        frame: int64 (N,).
        pts_s: float64 (N,), seconds.
        streams: name -> (N, D) float16 or float32.
    """

    shard: str
    origin: Origin
    videos: tuple[Video, ...]
    segments: tuple[SegmentRows, ...]
    frame: NDArray[np.int64]
    pts_s: NDArray[np.float64]
    streams: dict[str, NDArray[Any]]

    def __post_init__(self) -> None:
        """Check that every table speaks of the same rows.

        Raises:
            ValueError: they do not; this is a bug of the caller.
        """
        rows = len(self.frame)
        lengths = {name: len(features) for name, features in self.streams.items()} | {"pts_s": len(self.pts_s)}
        if set(lengths.values()) != {rows}:
            raise ValueError(f"{counted(rows, 'moment')}, but columns of {lengths}")
        stop = 0
        for segment in self.segments:
            if segment.row_start != stop or segment.row_stop - segment.row_start != segment.stop - segment.start:
                raise ValueError(f"segments do not tile the rows: {segment}")
            stop = segment.row_stop
        if stop != rows:
            raise ValueError(f"segments end at row {stop} of {rows}")


def write_shard(path: Path, content: ShardContent) -> tuple[str, int]:
    """Write a shard whole or not at all: a temporary file beside `path`, fsync, one atomic rename, fsync of the folder.

    Returns:
        sha256 and size in bytes of the file.

    Raises:
        ResourceError: the file system refused (full, read-only, gone).
    """
    temporary = temporary_beside(path)
    try:
        try:
            with h5py.File(temporary, "w", libver=("v110", "v110")) as file:
                _fill(file, content)
            sha256, size_bytes = file_digest(temporary)
            commit_file(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error}; free space or choose another --out, then run the same "
                            "command again: nothing finished is lost") from error
    return sha256, size_bytes


def temporary_beside(path: Path) -> Path:
    """Return a new name in the same folder, which no other process on any node will choose."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def commit_file(temporary: Path, path: Path) -> None:
    """Make `temporary` durable and give it its name in one step (rename is atomic within a file system)."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def file_digest(path: Path) -> tuple[str, int]:
    """Return sha256 and size in bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size


def _fill(file: h5py.File, content: ShardContent) -> None:
    file.attrs.update({
        "format": SHARD_FORMAT, "schema": SHARD_SCHEMA, "shard": content.shard, "kind": content.origin.kind,
        "settings": json.dumps(content.origin.settings, sort_keys=True), "digest": content.origin.digest,
        "software": json.dumps(content.origin.software, sort_keys=True), "streams": list(content.streams),
    })
    videos = file.create_group("videos")
    for name in _TEXT_COLUMNS:
        _text(videos, name, [getattr(video, name) for video in content.videos])
    videos["attempt"] = np.array([video.attempt for video in content.videos], np.int64)
    for name, dtype in _PROBE_COLUMNS.items():
        values = [getattr(video.probe, name) for video in content.videos]
        if dtype == "text":
            _text(videos, name, values)
        else:
            videos[name] = np.array(values, dtype)
    segments = file.create_group("segments")
    for name in ("video", "start", "stop", "row_start", "row_stop"):
        segments[name] = np.array([getattr(segment, name) for segment in content.segments], np.int64)
    _text(segments, "outcome", [segment.outcome for segment in content.segments])
    moments = file.create_group("moments")
    for name in ("frame", "pts_s"):
        _column(moments, name, getattr(content, name))
    streams = file.create_group("streams")
    for name, features in content.streams.items():
        _column(streams, name, features)


def _text(group: h5py.Group, name: str, values: list[str]) -> None:
    # file names need not be valid UTF-8: Python holds their stray bytes as surrogates, HDF5 as the bytes themselves
    encoded = [value.encode("utf-8", "surrogateescape") for value in values]
    group.create_dataset(name, data=encoded, dtype=h5py.string_dtype(), shape=(len(values),))


def _column(group: h5py.Group, name: str, values: NDArray[Any]) -> None:
    row_bytes = max(1, values.nbytes // max(1, len(values)))
    rows = max(1, min(len(values), CHUNK_BYTES // row_bytes))
    group.create_dataset(name, data=values, chunks=(rows, *values.shape[1:]), maxshape=(None, *values.shape[1:]),
                         fletcher32=True)


class Shard:
    """One shard, open for reading.

    Attributes:
        path: its file.
        name: its name.
        origin: what made it.
        rows: N.
        dims: stream name -> D.
        dtypes: stream name -> dtype name.
    """

    def __init__(self, file: h5py.File, path: Path) -> None:
        """Look at an open file; use `open_shard`. Tables are read when they are asked for."""
        attrs = file.attrs
        if attrs.get("format") != SHARD_FORMAT or attrs.get("schema") != SHARD_SCHEMA:
            raise StoreError(f"{path}: not a shard of schema {SHARD_SCHEMA} (format {attrs.get('format')!r}, "
                             f"schema {attrs.get('schema')})")
        self._file = file
        self.path = path
        self.name = str(attrs["shard"])
        self.origin = Origin(str(attrs["kind"]), json.loads(attrs["settings"]), str(attrs["digest"]),
                             json.loads(attrs["software"]))
        self.rows = int(file["moments/frame"].shape[0])
        self.dims = {name: int(file["streams"][name].shape[1]) for name in attrs["streams"]}
        self.dtypes = {name: str(file["streams"][name].dtype) for name in attrs["streams"]}

    @cached_property
    def videos(self) -> dict[str, list[Any]]:
        """Column name -> list of one value a video."""
        with _damage_named(self.path):
            return {name: _values(column) for name, column in self._file["videos"].items()}

    @cached_property
    def segments(self) -> tuple[SegmentRows, ...]:
        """Where each segment's rows lie."""
        with _damage_named(self.path):
            columns = [_values(self._file["segments"][name])
                       for name in ("video", "start", "stop", "row_start", "row_stop", "outcome")]
            return tuple(SegmentRows(*row) for row in zip(*columns, strict=True))

    def moments(self, start: int = 0, stop: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return frame indices int64 (n,) and presentation times float64 (n,) of a range of rows."""
        with _damage_named(self.path):
            return self._file["moments/frame"][start:stop], self._file["moments/pts_s"][start:stop]

    def features(self, stream: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return features (n, D) of a range of rows, as stored."""
        with _damage_named(self.path):
            values: NDArray[Any] = self._file["streams"][stream][start:stop]
            return values

    def read_into(self, stream: str, out: NDArray[Any], start: int, stop: int) -> None:
        """Read features of rows `start:stop` straight into `out` (n, D), converting to its dtype on the way."""
        if stop > start:
            with _damage_named(self.path):
                self._file["streams"][stream].read_direct(out, np.s_[start:stop])


def _values(dataset: h5py.Dataset) -> list[Any]:
    if h5py.check_string_dtype(dataset.dtype):
        return list(dataset.asstr(errors="surrogateescape")[:])
    values: list[Any] = dataset[:].tolist()
    return values


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn whatever h5py makes of damaged bytes into one StoreError; wraps reading only, never a caller's code."""
    try:
        yield
    except StoreError:
        raise
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError) as error:
        raise StoreError(f"{path}: not readable as a shard ({error}); run extract again to remake it") from error


@contextmanager
def open_shard(path: Path) -> Iterator[Shard]:
    """Open a shard for reading.

    Raises:
        StoreError: the file is missing, cut short, of another format, or a checksum does not fit.
    """
    with ExitStack() as stack:
        with _damage_named(path):
            shard = Shard(stack.enter_context(h5py.File(path, "r", rdcc_nbytes=_CACHE_BYTES)), path)
        yield shard


def check_shard(path: Path) -> None:
    """Read every row of every table of a shard, so that HDF5 compares every checksum.

    Raises:
        StoreError: something can not be read, or the tables do not fit together.
    """
    with open_shard(path) as shard:
        frame, pts_s = shard.moments()
        lengths = {name: len(shard.features(name)) for name in shard.dims} | {"pts_s": len(pts_s), "frame": len(frame)}
        end = shard.segments[-1].row_stop if shard.segments else 0
        if set(lengths.values()) != {end}:
            raise StoreError(f"{path}: tables of different lengths: {lengths}, segments end at {end}")
        columns = {name: len(values) for name, values in shard.videos.items()}
        if len(set(columns.values())) != 1:
            raise StoreError(f"{path}: columns of videos of different lengths: {columns}")
