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
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from schemas.arrays import Array
from schemas.disk.files import is_refused, reading, refusal, stays_inside, write_bytes
from schemas.errors import StoreError
from schemas.plain import Plain, to_record
from schemas.plan import OUTCOMES, Video
from schemas.words import counted

SHARD_FORMAT = "vidu-pipe shard"
SHARD_SCHEMA = 2
CHUNK_BYTES = 1 << 20
_CACHE_BYTES = 8 << 20  # holds several chunks: rows are read in runs that share their first and last one
_NUMBERS = {"width": "int64", "height": "int64", "rotation": "int64", "fps": "float64"}
_PROBE_COLUMNS = {"codec": "text"} | _NUMBERS | {"duration_s": "float64", "frames": "int64"}
_VIDEO_COLUMNS = {"id": "text", "path": "text", "fingerprint": "text", "attempt": "int64"} | _PROBE_COLUMNS
_SEGMENT_COLUMNS = dict.fromkeys(("video", "start", "stop", "row_start", "row_stop"), "int64") | {"outcome": "text"}
_MOMENT_COLUMNS = {"frame": "int64", "pts_s": "float64"}
_FEATURE_DTYPES = ("float16", "float32")


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
    settings: Plain
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
    streams: dict[str, Array]

    def __post_init__(self) -> None:
        """Check that every table speaks of the same rows.

        Raises:
            ValueError: they do not; this is a bug of the caller.
        """
        rows = len(self.frame)
        lengths = {name: len(features) for name, features in self.streams.items()} | {"pts_s": len(self.pts_s)}
        if set(lengths.values()) != {rows}:
            raise ValueError(f"{counted(rows, 'moment')}, but columns of {lengths}")
        check_tiling(self.segments, rows)


def check_tiling(segments: Iterable[SegmentRows], rows: int) -> None:
    """Check that segments follow each other over all rows of a shard.

    Raises:
        ValueError: they do not.
    """
    stop = 0
    for segment in segments:
        made = segment.stop - segment.start
        if segment.row_start != stop or not 0 <= made == segment.row_stop - segment.row_start or segment.start < 0:
            raise ValueError(f"segments do not tile the rows: {segment}")
        stop = segment.row_stop
    if stop != rows:
        raise ValueError(f"segments end at row {stop} of {rows}")


def write_shard(path: Path, content: ShardContent) -> tuple[str, int]:
    """Write a shard whole or not at all.

    Returns:
        sha256 and size in bytes of the file.

    Raises:
        ResourceError: the file system refused (full, read-only, gone).
    """
    data = _bytes_of(path, content)
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest(), len(data)


def _bytes_of(path: Path, content: ShardContent) -> bytes:
    """Build the file in memory: HDF5 ends the process when closing a file on a disk that is full."""
    with h5py.File(
        path, "w", driver="core", backing_store=False, block_size=CHUNK_BYTES, libver=("v110", "v110")
    ) as file:
        _fill(file, content)
        file.flush()  # gives back what was set aside for tables
        file.flush()  # ends the file there
        data: bytes = file.id.get_file_image()
    return data


def _fill(file: h5py.File, content: ShardContent) -> None:
    file.attrs.update(
        {
            "format": SHARD_FORMAT,
            "schema": SHARD_SCHEMA,
            "shard": content.shard,
            "kind": content.origin.kind,
            "settings": json.dumps(content.origin.settings, sort_keys=True),
            "digest": content.origin.digest,
            "software": json.dumps(content.origin.software, sort_keys=True),
            "streams": list(content.streams),
        }
    )
    group = file.create_group("videos")
    for name, dtype in _VIDEO_COLUMNS.items():
        _plain(
            group,
            name,
            dtype,
            [getattr(video.probe if name in _PROBE_COLUMNS else video, name) for video in content.videos],
        )
    group = file.create_group("segments")
    for name, dtype in _SEGMENT_COLUMNS.items():
        _plain(group, name, dtype, [getattr(segment, name) for segment in content.segments])
    group = file.create_group("moments")
    for name in _MOMENT_COLUMNS:
        _column(group, name, getattr(content, name))
    group = file.create_group("streams")
    for name, features in content.streams.items():
        _column(group, name, features)


def _plain(group: h5py.Group, name: str, dtype: str, values: list[Any]) -> None:
    if dtype == "text":
        _text(group, name, values)
    else:
        group[name] = np.array(values, dtype)


def _text(group: h5py.Group, name: str, values: list[str]) -> None:
    # file names need not be valid UTF-8: Python holds their stray bytes as surrogates, HDF5 as the bytes themselves
    encoded = [value.encode("utf-8", "surrogateescape") for value in values]
    group.create_dataset(name, data=encoded, dtype=h5py.string_dtype(), shape=(len(values),))


def _column(group: h5py.Group, name: str, values: Array) -> None:
    row_bytes = max(1, values.nbytes // max(1, len(values)))
    rows = max(1, min(len(values), CHUNK_BYTES // row_bytes))
    group.create_dataset(
        name, data=values, chunks=(rows, *values.shape[1:]), maxshape=(None, *values.shape[1:]), fletcher32=True
    )


class Shard:
    """One shard, open for reading.

    A shard may come from anybody, so nothing it says is followed or believed unseen: links and storage outside the
    file are refused, and so are sizes and ranges that can not be.

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
            raise StoreError(
                f"{path}: not a shard of schema {SHARD_SCHEMA} (format {attrs.get('format')!r}, "
                f"schema {attrs.get('schema')})"
            )
        self._file = file
        self.path = path
        self.name = str(attrs["shard"])
        self.origin = to_record(
            {
                "kind": str(attrs["kind"]),
                "settings": json.loads(attrs["settings"]),
                "digest": str(attrs["digest"]),
                "software": json.loads(attrs["software"]),
            },
            Origin,
        )
        streams = {name: self._stream(str(name)) for name in attrs["streams"]}
        self.dims = {name: int(column.shape[1]) for name, column in streams.items()}
        self.dtypes = {name: str(column.dtype) for name, column in streams.items()}
        lengths = {name: len(column) for name, column in streams.items()} | {
            name: len(self._column("moments", name, dtype)) for name, dtype in _MOMENT_COLUMNS.items()
        }
        self.rows = lengths["frame"]
        if set(lengths.values()) != {self.rows}:
            raise StoreError(f"{path}: tables of different lengths: {lengths}; run extract again to remake it")

    def _stream(self, name: str) -> h5py.Dataset:
        if not stays_inside(name):
            raise ValueError(f"a stream can not be called {name!r}")
        column = _own_dataset(self._file, f"streams/{name}")
        if column.ndim != 2 or column.dtype not in _FEATURE_DTYPES:
            raise ValueError(f"stream {name!r} is {column.dtype} {column.shape}")
        return column

    def _column(self, group: str, name: str, dtype: str) -> h5py.Dataset:
        column = _own_dataset(self._file, f"{group}/{name}")
        fits = h5py.check_string_dtype(column.dtype) if dtype == "text" else column.dtype == dtype
        if column.ndim != 1 or not fits:
            raise ValueError(f"{group}/{name} is {column.dtype} {column.shape}")
        return column

    def _table(self, group: str, columns: dict[str, str]) -> dict[str, list[Any]]:
        table = {name: _values(self._column(group, name, dtype)) for name, dtype in columns.items()}
        lengths = {name: len(values) for name, values in table.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"columns of {group} of different lengths: {lengths}")
        return table

    def _range(self, start: int, stop: int | None) -> slice:
        end = self.rows if stop is None else stop
        if not 0 <= start <= end <= self.rows:
            raise StoreError(f"{self.path}: rows {start} to {end} were asked for, and it has {self.rows}")
        return np.s_[start:end]

    @cached_property
    def videos(self) -> dict[str, list[Any]]:
        """Column name -> list of one value a video."""
        with _damage_named(self.path):
            return self._table("videos", _VIDEO_COLUMNS)

    @cached_property
    def segments(self) -> tuple[SegmentRows, ...]:
        """Where each segment's rows lie; they tile the shard's rows."""
        with _damage_named(self.path):
            columns = self._table("segments", _SEGMENT_COLUMNS)
            segments = tuple(SegmentRows(*row) for row in zip(*columns.values(), strict=True))
            check_tiling(segments, self.rows)
            known = len(self._column("videos", "id", "text"))
            for segment in segments:
                if not 0 <= segment.video < known or segment.outcome not in OUTCOMES:
                    raise ValueError(f"of {counted(known, 'video')}: {segment}")
            return segments

    def moments(self, start: int = 0, stop: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return frame indices int64 (n,) and presentation times float64 (n,) of a range of rows."""
        rows = self._range(start, stop)
        with _damage_named(self.path):
            frame, pts_s = (_own_dataset(self._file, f"moments/{name}")[rows] for name in _MOMENT_COLUMNS)
            if np.isinf(pts_s).any() or (self.origin.kind == "extract" and (frame < 0).any()):
                raise ValueError("a moment at no finite time, or before the first frame")
            return frame, pts_s

    def features(self, stream: str, start: int = 0, stop: int | None = None) -> Array:
        """Return features (n, D) of a range of rows, as stored."""
        rows = self._range(start, stop)
        with _damage_named(self.path):
            values: Array = self._stream(stream)[rows]
            return values

    def read_into(self, stream: str, out: Array, start: int, stop: int) -> None:
        """Read features of rows `start:stop` straight into `out` (n, D), converting to its dtype on the way."""
        rows = self._range(start, stop)
        if stop > start:
            with _damage_named(self.path):
                self._stream(stream).read_direct(out, rows)


def _own_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a data set that lies wholly in this file, as all that we write do."""
    place = file
    for part in name.split("/"):
        if not isinstance(place.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link to elsewhere")  # noqa: TRY004 - the file's fault, not a caller's
        place = place[part]
    layout = place.id.get_create_plist()
    foreign = layout.get_external_count() or place.is_virtual
    filters = {layout.get_filter(number)[0] for number in range(layout.get_nfilters())}
    if foreign or filters - {h5py.h5z.FILTER_FLETCHER32} or place.nbytes > file.id.get_filesize():
        raise ValueError(f"{name} is not stored in it as a shard's tables are")
    return place


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
        if isinstance(error, OSError) and is_refused(error):
            raise refusal(error, path, "read") from error
        raise StoreError(f"{path}: not readable as a shard ({error}); run extract again to remake it") from error


@contextmanager
def open_shard(path: Path) -> Iterator[Shard]:
    """Open a shard for reading.

    Raises:
        StoreError: the file is missing, cut short, of another format, or a checksum does not fit.
        ResourceError: the machine does not let us read it.
    """
    with reading(path), path.open("rb"):
        pass  # says what HDF5 would not
    with ExitStack() as stack:
        with _damage_named(path):
            shard = Shard(stack.enter_context(h5py.File(path, "r", rdcc_nbytes=_CACHE_BYTES)), path)
        yield shard


def check_shard(path: Path) -> None:
    """Read every row of every table of a shard, so that HDF5 compares every checksum.

    Raises:
        StoreError: something can not be read, or the tables do not fit together.
        ResourceError: the machine does not let us read it.
    """
    with open_shard(path) as shard:
        _ = shard.videos, shard.segments, shard.moments()
        for name in shard.dims:
            shard.features(name)
