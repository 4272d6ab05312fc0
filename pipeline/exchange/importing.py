"""Bring your own features: folders of .npy, .npz or .parquet files become a store, and train with the same heads.

One file a video: `.npy` (T, ...) of one stream, or `.npz` or `.parquet` with one array or column a stream, and
optionally `pts_s` (T,) float64 and `frame` (T,) int64. Several streams may also lie in several folders with files of
the same names, and the times in folders called `pts_s` and `frame`. What `vidu-pipe export` wrote is read back whole,
labels, splits and groups included. Whatever stands behind T is flattened to D. Times that nobody gives are unknown and
stay so: `pts_s` is NaN and `frame` -1 in the store; none is made up.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.exchange.feature_files import (
    TIME_ARRAYS,
    Annotation,
    Manifest,
    check_stream_name,
    read_arrays,
    read_manifest,
)
from pipeline.exchange.formats import FORMATS
from schemas.arrays import Array
from schemas.checks import within
from schemas.config import digest_of
from schemas.disk.files import file_digest
from schemas.disk.shard import Origin, SegmentRows, ShardContent, write_shard
from schemas.disk.store import Store
from schemas.errors import ConfigError
from schemas.labels import LabelRow, match_rows
from schemas.plan import Plan, Probe, Segment, SegmentReport, ShardReport, ShardTask, Video
from schemas.words import counted

logger = logging.getLogger(__name__)

Kinds = Mapping[str, tuple[int, str]]  # stream -> (D, dtype as stored)

SHARD_BYTES = 64 << 20
LOST_SHARE = 0.01  # of the largest value: float16 keeps 0.0005 of it where it reaches, and less below 6e-5


@dataclass(frozen=True, slots=True)
class Source:
    """The files of one video.

    Attributes:
        id: path relative to the folder, without suffix.
        files: one a folder.
    """

    id: str
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """One video's features.

    Attributes:
        streams: name -> (T, D).
        frame: int64 (T,); all -1 when unknown.
        pts_s: float64 (T,), seconds; all NaN when unknown.
    """

    streams: dict[str, Array]
    frame: NDArray[np.int64]
    pts_s: NDArray[np.float64]


def import_store(
    folders: Mapping[str, Path],
    out: Path,
    *,
    source: str = "",
    labels: Sequence[LabelRow] = (),
    dtype: str = "",
    fps: float | None = None,
    shortest: bool = False,
) -> Store:
    """Make a store of features computed elsewhere.

    Args:
        folders: stream name, `pts_s` or `frame` -> folder of .npy files; the name "" takes .npz or .parquet files of
            any streams, or .npy files as a stream called `features`, or the whole of what `export` wrote.
        out: directory of the new store.
        source: what computed the features, in words; stores of the same words, streams and dtype are comparable.
            Empty: what the `export.json` of an export says.
        labels: of `read_label_csv`; label, split and group of each video are kept in its plan. A video that they do
            not name keeps what `export.json` says of it.
        dtype: `float16` or `float32`, as stored; empty: float16 where the files hold that, else float32.
        fps: moments a second, where a video has no `pts_s`; None: its times are unknown.
        shortest: streams and times of different lengths are cut to the shortest instead of being refused.

    Raises:
        ConfigError: no files, no source, names that do not fit together, or features that are not what they should be;
            the message names the file.
        ResourceError: the store can not be written.
    """
    for folder in folders.values():
        if not folder.is_dir():
            raise ConfigError(f"no folder {folder}")
    if fps is not None:
        within("`fps`", fps, 1e-6, 1e6)
    folders, manifest = _exported(folders)
    source = (source or manifest.source).strip()
    if not source:
        raise ConfigError(
            "say with `source` what computed the features (a network and its weights, a program and its "
            "version): a model judges only stores of the same source"
        )
    sources = find_sources(folders, suffix=f".{manifest.form}" if manifest.form else "")
    first = _load(sources[0], folders, fps=fps, shortest=shortest)
    order = [name for name in manifest.streams if name in first.streams] or list(first.streams)
    kinds = {name: _kind(first.streams[name], dtype) for name in order}
    settings = {
        "source": source,
        "streams": {name: dim for name, (dim, _) in kinds.items()},
        "dtype": _said_dtype(kinds),
    }
    store = Store.create(out, Origin("import", settings, digest_of(settings), {"numpy": np.__version__}))
    rows = match_rows(labels, {one.id: str(one.files[0].resolve()) for one in sources})
    said = manifest.said | {name: Annotation(row.label, row.split, row.group) for name, row in rows.items()}
    tasks: list[ShardTask] = []
    for number, videos in enumerate(_packed(sources, folders, kinds, dtype, fps=fps, shortest=shortest)):
        tasks.append(_write(store, f"{number:06d}", videos, said, kinds))
    store.books.write_plan(Plan(0, tuple(video for task in tasks for video in task.videos), (), tuple(tasks)))
    _tell_unknown(tasks, unlabelled=len(sources) - len(rows) if labels else 0)
    return store


def _tell_unknown(tasks: Sequence[ShardTask], *, unlabelled: int) -> None:
    """Say of how many videos labels or times are unknown."""
    videos = [video for task in tasks for video in task.videos]
    if unlabelled:
        logger.warning(
            "of %s %s not in the label file", counted(len(videos), "video"), counted(unlabelled, "is", "are")
        )
    untimed = sum(not video.probe.exact_pts for video in videos)
    if untimed:
        logger.warning(
            "of %d of %s nobody knows the times: give them as arrays pts_s, or `fps` when moments are "
            "evenly spaced; training does not need them",
            untimed,
            counted(len(videos), "video"),
        )


def _exported(folders: Mapping[str, Path]) -> tuple[Mapping[str, Path], Manifest]:
    """Take what `export` wrote for what it is: folders of streams and times, or one of whole videos, and its words."""
    root = folders.get("")
    manifest = read_manifest(root) if root is not None and len(folders) == 1 else None
    if manifest is None or root is None:
        return folders, Manifest("", "", (), {})
    if manifest.form and FORMATS[manifest.form].one_array:
        folders = {name: root / name for name in (*TIME_ARRAYS, *manifest.streams)}
    return folders, manifest


def find_sources(folders: Mapping[str, Path], *, suffix: str = "") -> list[Source]:
    """List the videos of the folders, sorted by id.

    Args:
        folders: stream, `pts_s`, `frame` or "" -> folder.
        suffix: all files have it; empty: any of `FORMATS`, and in the folder of a stream those that hold one array.

    Raises:
        ConfigError: a folder has no file, a video is not in all of them, or two files would share an id.
    """
    found: dict[str, dict[str, Path]] = {}
    for stream, folder in folders.items():
        if stream:
            check_stream_name(stream, str(folder))
        readable = [form for form in FORMATS if FORMATS[form].one_array or not stream]
        suffixes = (suffix,) if suffix else tuple(f".{form}" for form in readable)
        files = [path for path in sorted(folder.rglob("*")) if path.name.endswith(suffixes) and path.is_file()]
        if not files:
            raise ConfigError(f"{folder} holds no {' or '.join(suffixes)} file")
        for path in files:
            # the last suffix only, and by hand: an id may hold dots, also at its ends
            known = found.setdefault(path.relative_to(folder).as_posix().rpartition(".")[0], {})
            if stream in known:
                raise ConfigError(f"{known[stream]} and {path} would be the same video")
            known[stream] = path
    for name, files_of in found.items():
        missing = [stream for stream in folders if stream not in files_of]
        if missing:
            raise ConfigError(
                f"video {name!r} has no file in {folders[missing[0]]}, but "
                f"{next(iter(files_of.values()))}; every stream needs a file of the same name"
            )
    return [Source(name, tuple(found[name].values())) for name in sorted(found)]


def _load(source: Source, folders: Mapping[str, Path], *, fps: float | None, shortest: bool) -> Loaded:
    arrays: dict[str, Array] = {}
    for stream, path in zip(folders, source.files, strict=True):
        loaded = read_arrays(path)
        arrays |= loaded if isinstance(loaded, dict) else {stream or "features": loaded}
    streams = {name: _checked(table, name, source) for name, table in arrays.items() if name not in TIME_ARRAYS}
    times = {name: _time(arrays[name], name, source) for name in TIME_ARRAYS if name in arrays}
    lengths = {name: len(table) for name, table in (streams | times).items()}
    if not streams:
        raise ConfigError(f"{source.files[0]} holds no features: no array in it")
    if len(set(lengths.values())) > 1 and not shortest:
        raise ConfigError(
            f"the arrays of {source.id!r} have different lengths: {lengths}; make them at the same "
            "moments, or cut all to the shortest with `shortest`"
        )
    length = min(lengths.values())
    if not length:
        raise ConfigError(f"{', '.join(map(str, source.files))}: an array holds no moment: {lengths}")
    pts_s = times.get("pts_s", np.arange(length) / fps if fps else np.full(length, np.nan))
    return Loaded(
        {name: table[:length] for name, table in streams.items()},
        times.get("frame", np.full(length, -1))[:length].astype(np.int64),
        pts_s[:length].astype(np.float64),
    )


def _time(values: Array, name: str, source: Source) -> Array:
    """Check an array of times or frame indices; NaN and -1 throughout are how a store says that it knows none."""
    numbers = values.ndim == 1 and values.dtype.kind in ("iu" if name == "frame" else "iuf")
    unknown = numbers and bool((values == -1).all() if name == "frame" else np.isnan(values).all())
    # neighbours are compared, not subtracted: unsigned numbers would wrap around
    ordered = unknown or (numbers and bool(np.isfinite(values).all() and (values[1:] >= values[:-1]).all()))
    if not ordered:
        raise ConfigError(
            f"{', '.join(map(str, source.files))}: {name!r} must be numbers (T,) that never decrease, "
            f"not {values.dtype} of shape {values.shape}"
        )
    return values


def _checked(table: Array, stream: str, source: Source) -> Array:
    where = f"{', '.join(map(str, source.files))}: stream {stream!r}"
    if table.ndim < 1 or table.dtype.kind not in "fiu":
        raise ConfigError(f"{where} is an array of {table.dtype} of shape {table.shape}, not features (T, ...)")
    if not table.size:
        raise ConfigError(f"{where} holds no features: its shape is {table.shape}")
    check_stream_name(stream, str(source.files[0]))
    flat = table.reshape(len(table), -1)
    if not np.isfinite(flat).all():
        raise ConfigError(f"{where} holds NaN or infinity")
    return flat


def _kind(table: Array, dtype: str) -> tuple[int, str]:
    """(D, dtype as stored): float16 only where the file holds that or it is asked for."""
    return table.shape[1], dtype or ("float16" if table.dtype.kind == "f" and table.dtype.itemsize == 2 else "float32")


def _said_dtype(kinds: Kinds) -> str | dict[str, str]:
    """One word where all streams are stored alike."""
    dtypes = {name: dtype for name, (_, dtype) in kinds.items()}
    return next(iter(dtypes.values())) if len(set(dtypes.values())) == 1 else dtypes


def _packed(
    sources: Sequence[Source],
    folders: Mapping[str, Path],
    kinds: Kinds,
    dtype: str,
    *,
    fps: float | None,
    shortest: bool,
) -> Iterator[list[tuple[Source, Loaded]]]:
    """Yield videos in portions of about `SHARD_BYTES`."""
    portion: list[tuple[Source, Loaded]] = []
    size = 0
    for source in sources:
        loaded = _load(source, folders, fps=fps, shortest=shortest)
        _check_kinds(source, {name: _kind(table, dtype) for name, table in loaded.streams.items()}, sources[0], kinds)
        portion.append((source, loaded))
        size += sum(table.nbytes for table in loaded.streams.values())
        if size >= SHARD_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _check_kinds(source: Source, found: Kinds, first: Source, kinds: Kinds) -> None:
    dims, known = ({name: dim for name, (dim, _) in each.items()} for each in (found, kinds))
    if dims != known:
        raise ConfigError(f"{source.files[0]} has streams and dims {dims}, {first.files[0]} has {known}")
    if found != kinds:
        raise ConfigError(
            f"{source.files[0]} is to be stored as {_said_dtype(found)}, {first.files[0]} as "
            f"{_said_dtype(kinds)}; choose one for all with `dtype`"
        )


def _write(
    store: Store, shard: str, videos: Sequence[tuple[Source, Loaded]], said: Mapping[str, Annotation], kinds: Kinds
) -> ShardTask:
    planned = tuple(_video(source, loaded, said.get(source.id, Annotation())) for source, loaded in videos)
    stops = np.cumsum([len(loaded.frame) for _, loaded in videos]).tolist()
    starts = [0, *stops[:-1]]
    segments = tuple(
        SegmentRows(v, 0, stop - start, start, stop, "ok")
        for v, (start, stop) in enumerate(zip(starts, stops, strict=True))
    )
    streams = {name: _as_stored(name, dtype, videos) for name, (_, dtype) in kinds.items()}
    content = ShardContent(
        shard,
        store.origin,
        planned,
        segments,
        np.concatenate([loaded.frame for _, loaded in videos]),
        np.concatenate([loaded.pts_s for _, loaded in videos]),
        streams,
    )
    sha256, size_bytes = write_shard(store.shard_path(shard), content)
    reports = tuple(SegmentReport(video.id, 0, 0, video.moments, "ok", "", "", 0, 0, 0, {}) for video in planned)
    store.books.write_report(ShardReport(shard, sha256, size_bytes, stops[-1], 0, reports, {}, 0.0, "", 0))
    return ShardTask(
        shard,
        tuple(
            Segment(video.id, 0, video.moments, tuple(loaded.frame.tolist()), 0, 0, None)
            for video, (_, loaded) in zip(planned, videos, strict=True)
        ),
        planned,
    )


def _as_stored(stream: str, dtype: str, videos: Sequence[tuple[Source, Loaded]]) -> Array:
    """Join a stream's features (N, D); refuse numbers that `dtype` can not hold, too large or too small."""
    parts, largest, lost = [], 0.0, 0.0
    for source, loaded in videos:
        table = loaded.streams[stream]
        with np.errstate(over="ignore", under="ignore"):
            stored = table.astype(dtype)
        if not np.isfinite(stored).all():
            raise ConfigError(
                f"{source.files[0]} holds values beyond {dtype} ({np.abs(table).max():g}); "
                + ("use `dtype` float32" if dtype == "float16" else "scale them down first")
            )
        if stored.dtype != table.dtype:
            exact = table.astype(np.float64)
            largest, lost = max(largest, np.abs(exact).max()), max(lost, np.abs(exact - stored).max())
        parts.append(stored)
    if lost > LOST_SHARE * largest:
        raise ConfigError(
            f"{videos[0][0].files[0]} and others: stream {stream!r} holds values too small for {dtype} "
            f"(at most {largest:g}); " + ("use `dtype` float32" if dtype == "float16" else "scale them up first")
        )
    return np.concatenate(parts)


def _video(source: Source, loaded: Loaded, said: Annotation) -> Video:
    digest = hashlib.sha256("".join(file_digest(path)[0] for path in source.files).encode()).hexdigest()
    timed = not np.isnan(loaded.pts_s).any()
    duration_s = float(loaded.pts_s[-1] - loaded.pts_s[0]) if timed else 0.0
    probe = Probe("", 0, 0, 0, False, 0.0, duration_s, len(loaded.frame), 0, "", timed)
    return Video(
        source.id,
        str(source.files[0].resolve()),
        digest,
        said.label,
        said.split,
        said.group,
        0,
        len(loaded.frame),
        probe,
    )
