"""Features for others' tools: one file a video, as detection and captioning code reads them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.exchange.feature_files import (
    Annotation,
    Arrays,
    Manifest,
    check_stream_name,
    write_arrays,
    write_manifest,
)
from pipeline.exchange.formats import FORMATS
from schemas.checks import known
from schemas.disk.files import is_there, make_folder
from schemas.disk.shard import open_shard
from schemas.disk.store import Store, VideoRows
from schemas.errors import ConfigError


def export_store(store: Store, out: Path, *, form: str = "npy") -> int:
    """Write every video of a store as files of its own, folders mirrored, and `export.json` beside them.

    `pipeline/exchange/feature_files.py` tells what the files are. `import_store` makes of them a store with the same
    videos, features, times, labels, splits and groups.

    Args:
        store: to be read.
        out: a directory that is new or empty.
        form: a name of `FORMATS`.

    Returns:
        how many videos were written.

    Raises:
        ConfigError: unknown format, or `out` is not empty.
        ResourceError: a file can not be written, or a library that the format needs is not installed.
        StoreError: the store is damaged.
    """
    FORMATS[known("format", form, tuple(FORMATS))].ready()
    said: dict[str, Annotation] = {}
    streams: tuple[str, ...] = ()
    if is_there(out) and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty; choose another `out`")
    make_folder(out)
    for video, arrays in read_videos(store):
        write_arrays(out, video.id, arrays, form)
        said[video.id] = Annotation(video.label, video.split, video.group)
        streams = tuple(name for name in arrays if name not in ("frame", "pts_s"))
    write_manifest(out, Manifest(form, source_of(store), streams, said))
    return len(said)


def source_of(store: Store) -> str:
    """Say in words what computed the features of a store: the same words for features that are comparable."""
    if store.origin.kind == "import":
        return str(store.origin.settings["source"])
    return f"vidu-pipe {store.origin.kind}, settings {store.origin.digest}"


def read_videos(store: Store) -> Iterator[tuple[VideoRows, Arrays]]:
    """Yield every video with its arrays: `frame` (T,), `pts_s` (T,), and (T, D) a stream."""
    for video in store.video_rows():
        pieces: list[Arrays] = []
        for piece in video.pieces:
            with open_shard(store.shard_path(piece.shard)) as shard:
                for name in shard.dims:
                    check_stream_name(name, str(shard.path))
                frame, pts_s = shard.moments(piece.row_start, piece.row_stop)
                features = {name: shard.features(name, piece.row_start, piece.row_stop) for name in shard.dims}
            pieces.append({"frame": frame, "pts_s": pts_s} | features)
        yield video, {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
