"""Features for others' tools: one file a video, as detection and captioning code reads them."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError, ResourceError
from schemas.files import make_folder, write_bytes, writing
from schemas.shard import open_shard
from schemas.store import Store, VideoRows

FORMATS = ("npy", "npz", "parquet")


def export_store(store: Store, out: Path, *, form: str = "npy") -> int:
    """Write every video of a store as files of its own, folders mirrored.

    `npy`: `<out>/<stream>/<id>.npy` (T, D) as stored, and `<id>.npy` (T,) in the folders `pts_s` and `frame` beside it.
    `npz`: `<out>/<id>.npz` with an array a stream, `pts_s` and `frame`. `parquet`: `<out>/<id>.parquet`, one row a
    moment: frame, pts_s, and a list of numbers a stream. `import_store` reads the first two back, times included.

    Args:
        store: to be read.
        out: a directory that is new or empty.
        form: one of `FORMATS`.

    Returns:
        how many videos were written.

    Raises:
        ConfigError: unknown format, or `out` is not empty.
        ResourceError: a file can not be written, or parquet's library is not installed.
    """
    if form not in FORMATS:
        raise ConfigError(f"unknown format {form!r}; known: {', '.join(FORMATS)}")
    if form == "parquet":
        _parquet()
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty; choose another --out")
    count = 0
    for video, arrays in read_videos(store):
        _write(out, video.id, arrays, form)
        count += 1
    return count


def read_videos(store: Store) -> Iterator[tuple[VideoRows, dict[str, NDArray[Any]]]]:
    """Yield every video with its arrays: `frame` (T,), `pts_s` (T,), and (T, D) a stream."""
    for video in store.video_rows():
        pieces: list[dict[str, NDArray[Any]]] = []
        for piece in video.pieces:
            with open_shard(store.shard_path(piece.shard)) as shard:
                frame, pts_s = shard.moments(piece.row_start, piece.row_stop)
                features = {name: shard.features(name, piece.row_start, piece.row_stop) for name in shard.dims}
            pieces.append({"frame": frame, "pts_s": pts_s} | features)
        yield video, {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _write(out: Path, video_id: str, arrays: dict[str, NDArray[Any]], form: str) -> None:
    if form == "npy":
        for name, values in arrays.items():
            held = io.BytesIO()  # into a file numpy writes by a way that does not say why it can not
            np.save(held, values)
            write_bytes(_place(out / name, video_id, form), held.getbuffer())
    elif form == "npz":
        with writing(_place(out, video_id, form)) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    else:
        arrow, parquet = _parquet()
        columns = {name: arrow.array(list(values)) if values.ndim == 2 else arrow.array(values)
                   for name, values in arrays.items()}
        with writing(_place(out, video_id, form)) as file:
            parquet.write_table(arrow.table(columns), file)


def _place(folder: Path, video_id: str, form: str) -> Path:
    path = folder / f"{video_id}.{form}"  # appended, not with_suffix: an id may hold dots
    make_folder(path.parent)
    return path


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise ResourceError("parquet needs the library pyarrow: pip install 'vidu-pipe[parquet]'; npz and npy need "
                            "nothing") from error
    return arrow, parquet
