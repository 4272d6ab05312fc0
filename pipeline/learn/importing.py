"""Bring your own features: folders of .npy or .npz files become a store, and train with the same heads.

One file a video: `.npy` (T, ...) of one stream, or `.npz` with one array a stream, and optionally `pts_s` (T,) float64
and `frame` (T,) int64. Several streams may also lie in several folders with files of the same names, and the times in
folders called `pts_s` and `frame`, which is how `vidu-pipe export` writes them. Whatever stands behind T is flattened
to D. Times that nobody gives are unknown and stay so: `pts_s` is NaN and `frame` -1 in the store; none is made up.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError
from schemas.files import file_digest
from schemas.labels import LabelRow, match_rows
from schemas.plan import Plan, Probe, Segment, SegmentReport, ShardReport, ShardTask, Video
from schemas.shard import Origin, SegmentRows, ShardContent, write_shard
from schemas.store import Store

logger = logging.getLogger(__name__)

SHARD_BYTES = 64 << 20
MOST_LOST = 0.01  # of a stream's root mean square, in storing it; rounding to float16 loses 0.0003
STREAM_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
TIME_ARRAYS = ("pts_s", "frame")
RESERVED = ("names", "labels", "classes", "folds", "seeds", "groups")  # arrays of other meaning in files of ours


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

    streams: dict[str, NDArray[Any]]
    frame: NDArray[np.int64]
    pts_s: NDArray[np.float64]


def import_store(folders: Mapping[str, Path], out: Path, *, source: str = "", labels: Sequence[LabelRow] = (),
                 dtype: str = "float16", fps: float | None = None, shortest: bool = False) -> Store:
    """Make a store of features computed elsewhere.

    Args:
        folders: stream name, `pts_s` or `frame` -> folder of .npy files; the name "" takes .npz files of any streams,
            or .npy files as a stream called `features`, or the whole of what `export` wrote as .npy.
        out: directory of the new store.
        source: what computed the features, in words; stores of the same words, streams and dtype are comparable.
        labels: of `read_label_csv`; label, split and group of each video are kept in its plan.
        dtype: `float16` or `float32`, as stored.
        fps: moments a second, where a video has no `pts_s`; None: its times are unknown.
        shortest: streams and times of different lengths are cut to the shortest instead of being refused.

    Raises:
        ConfigError: no files, names that do not fit together, or features that are not what they should be; the message
            names the file.
        ResourceError: the store can not be written.
    """
    folders = _exported(folders)
    sources = find_sources(folders)
    first = _load(sources[0], folders, fps=fps, shortest=shortest)
    dims = {name: table.shape[1] for name, table in first.streams.items()}
    settings = {"source": source, "streams": dims, "dtype": dtype}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    store = Store.create(out, Origin("import", settings, digest, {"numpy": np.__version__}))
    rows = match_rows(labels, {one.id: str(one.files[0].resolve()) for one in sources})
    tasks: list[ShardTask] = []
    for number, videos in enumerate(_packed(sources, folders, dims, fps=fps, shortest=shortest)):
        tasks.append(_write(store, f"{number:06d}", videos, rows, dtype))
    store.write_plan(Plan(0, tuple(video for task in tasks for video in task.videos), (), tuple(tasks)))
    unlabelled = len(sources) - len(rows)
    if labels and unlabelled:
        logger.warning("%d of %d videos are not in the label file", unlabelled, len(sources))
    untimed = sum(not video.probe.exact_pts for task in tasks for video in task.videos)
    if untimed:
        logger.warning("the times of %d of %d videos are unknown: give them as arrays pts_s, or --fps when moments are "
                       "evenly spaced; training does not need them", untimed, len(sources))
    return store


def _exported(folders: Mapping[str, Path]) -> Mapping[str, Path]:
    """Take a folder that `export --format npy` wrote for the folders of streams and times in it."""
    root = folders.get("")
    if root is None or len(folders) > 1 or not (root / "pts_s").is_dir():
        return folders
    return {child.name: child for child in sorted(root.iterdir()) if child.is_dir()}


def find_sources(folders: Mapping[str, Path]) -> list[Source]:
    """List the videos of the folders, sorted by id.

    Raises:
        ConfigError: a folder has no file, a video is not in all of them, or two files would share an id.
    """
    found: dict[str, dict[str, Path]] = {}
    for stream, folder in folders.items():
        if stream and (not STREAM_NAME.fullmatch(stream) or stream in RESERVED):
            raise ConfigError(f"a stream can not be called {stream!r}: a letter, then letters, digits, - and _, and "
                              f"not one of {', '.join(RESERVED)}")
        suffixes = (".npy",) if stream else (".npy", ".npz")
        files = [path for path in sorted(folder.rglob("*")) if path.suffix in suffixes]
        if not files:
            raise ConfigError(f"{folder} holds no {' or '.join(suffixes)} file")
        for path in files:
            known = found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), {})
            if stream in known:
                raise ConfigError(f"{known[stream]} and {path} would be the same video")
            known[stream] = path
    for name, files_of in found.items():
        missing = [stream for stream in folders if stream not in files_of]
        if missing:
            raise ConfigError(f"video {name!r} has no file in {folders[missing[0]]}, but "
                              f"{next(iter(files_of.values()))}; every stream needs a file of the same name")
    return [Source(name, tuple(found[name].values())) for name in sorted(found)]


def _load(source: Source, folders: Mapping[str, Path], *, fps: float | None, shortest: bool) -> Loaded:
    arrays: dict[str, NDArray[Any]] = {}
    for stream, path in zip(folders, source.files, strict=True):
        try:
            loaded = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ConfigError(f"{path} is not a plain NumPy file: {error}") from error
        if isinstance(loaded, np.ndarray):
            arrays[stream or "features"] = loaded
        else:
            with loaded:
                arrays |= {name: loaded[name] for name in loaded.files}
    streams = {name: _checked(table, name, source) for name, table in arrays.items() if name not in TIME_ARRAYS}
    times = {name: _time(arrays[name], name, source) for name in TIME_ARRAYS if name in arrays}
    lengths = {name: len(table) for name, table in (streams | times).items()}
    if not streams:
        raise ConfigError(f"{source.files[0]} holds no features: no array in it")
    if len(set(lengths.values())) > 1 and not shortest:
        raise ConfigError(f"the arrays of {source.id!r} have different lengths: {lengths}; make them at the same "
                          "moments, or cut all to the shortest with --shortest")
    length = min(lengths.values())
    pts_s = times.get("pts_s", np.arange(length) / fps if fps else np.full(length, np.nan))
    return Loaded({name: table[:length] for name, table in streams.items()},
                  times.get("frame", np.full(length, -1))[:length].astype(np.int64), pts_s[:length].astype(np.float64))


def _time(values: NDArray[Any], name: str, source: Source) -> NDArray[Any]:
    """Check an array of times or frame indices; NaN and -1 throughout are how a store says that it knows none."""
    numbers = values.dtype.kind in ("iu" if name == "frame" else "iuf")
    known = numbers and not (np.isnan(values).all() or (values == -1).all())
    ordered = not known or bool(np.isfinite(values).all() and (np.diff(values) >= 0).all())
    if not numbers or values.ndim != 1 or not ordered:
        raise ConfigError(f"{', '.join(map(str, source.files))}: `{name}` must be numbers (T,) that never decrease, "
                          f"not {values.dtype} of shape {values.shape}")
    return values


def _checked(table: NDArray[Any], stream: str, source: Source) -> NDArray[Any]:
    where = f"{', '.join(map(str, source.files))}: stream {stream!r}"
    if table.ndim < 1 or table.dtype.kind not in "fiu":
        raise ConfigError(f"{where} is an array of {table.dtype} of shape {table.shape}, not features (T, ...)")
    if not table.size:
        raise ConfigError(f"{where} holds no features: its shape is {table.shape}")
    flat = table.reshape(len(table), -1)
    if not np.isfinite(flat).all():
        raise ConfigError(f"{where} holds NaN or infinity")
    return flat


def _packed(sources: Sequence[Source], folders: Mapping[str, Path], dims: Mapping[str, int], *, fps: float | None,
            shortest: bool) -> Iterator[list[tuple[Source, Loaded]]]:
    """Yield videos in portions of about `SHARD_BYTES`."""
    portion: list[tuple[Source, Loaded]] = []
    size = 0
    for source in sources:
        loaded = _load(source, folders, fps=fps, shortest=shortest)
        found = {name: table.shape[1] for name, table in loaded.streams.items()}
        if found != dims:
            raise ConfigError(f"{source.files[0]} has streams and dims {found}, {sources[0].files[0]} has {dict(dims)}")
        portion.append((source, loaded))
        size += sum(table.nbytes for table in loaded.streams.values())
        if size >= SHARD_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _write(store: Store, shard: str, videos: Sequence[tuple[Source, Loaded]], rows: Mapping[str, LabelRow],
           dtype: str) -> ShardTask:
    planned = tuple(_video(source, loaded, rows.get(source.id)) for source, loaded in videos)
    stops = np.cumsum([len(loaded.frame) for _, loaded in videos]).tolist()
    starts = [0, *stops[:-1]]
    segments = tuple(SegmentRows(v, 0, stop - start, start, stop, "ok")
                     for v, (start, stop) in enumerate(zip(starts, stops, strict=True)))
    streams = {name: np.concatenate([_as_stored(loaded.streams[name], dtype, source) for source, loaded in videos])
               for name in videos[0][1].streams}
    for name, stored in streams.items():
        _check_kept(name, stored, [loaded.streams[name] for _, loaded in videos], videos[0][0])
    content = ShardContent(shard, store.origin, planned, segments,
                           np.concatenate([loaded.frame for _, loaded in videos]),
                           np.concatenate([loaded.pts_s for _, loaded in videos]), streams)
    sha256, size_bytes = write_shard(store.shard_path(shard), content)
    reports = tuple(SegmentReport(video.id, 0, 0, video.moments, "ok", "", "", 0, 0, 0, {}) for video in planned)
    store.write_report(ShardReport(shard, sha256, size_bytes, stops[-1], 0, reports, {}, 0.0, "", 0))
    return ShardTask(shard, tuple(
        Segment(video.id, 0, video.moments, tuple(loaded.frame.tolist()), 0, 0, None)
        for video, (_, loaded) in zip(planned, videos, strict=True)), planned)


def _as_stored(table: NDArray[Any], dtype: str, source: Source) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        stored = table.astype(dtype)
    if not np.isfinite(stored).all():
        raise ConfigError(f"{source.files[0]} holds values beyond {dtype} ({np.abs(table).max():g}); "
                          "use --dtype float32")
    return stored


def _check_kept(stream: str, stored: NDArray[Any], tables: Sequence[NDArray[Any]], first: Source) -> None:
    """Refuse a stream whose values are so near 0 that what is stored differs from them by more than `MOST_LOST`."""
    stops = np.cumsum([len(table) for table in tables])[:-1]
    size = sum(float(np.square(table, dtype=np.float64).sum()) for table in tables)
    lost = sum(float(np.square(table - part.astype(np.float64)).sum())
               for table, part in zip(tables, np.split(stored, stops), strict=True))
    if lost > MOST_LOST**2 * size:
        raise ConfigError(f"{first.files[0]} and those after it: the values of stream {stream!r} are too near 0 for "
                          f"{stored.dtype} (the largest is {max(np.abs(table).max() for table in tables):g}); use "
                          "--dtype float32")


def _video(source: Source, loaded: Loaded, row: LabelRow | None) -> Video:
    digest = hashlib.sha256("".join(file_digest(path)[0] for path in source.files).encode()).hexdigest()
    timed = not np.isnan(loaded.pts_s).any()
    duration_s = float(loaded.pts_s[-1] - loaded.pts_s[0]) if timed else 0.0
    probe = Probe("", 0, 0, 0, False, 0.0, duration_s, len(loaded.frame), 0, "", timed)
    said = (row.label, row.split, row.group) if row else ("", "", "")
    return Video(source.id, str(source.files[0].resolve()), digest, *said, 0, len(loaded.frame), probe)
