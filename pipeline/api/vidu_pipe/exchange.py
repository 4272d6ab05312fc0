"""Features and scores of other programs: into a store, out of it, and fused."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.disk.store import Store
from vidu_pipe.features import FeatureStore
from vidu_pipe.options import FilePath

if TYPE_CHECKING:
    from pipeline.exchange.fusing import FusedScores
    from schemas.labels import LabelRow


def import_features(
    folders: FilePath | Mapping[str, FilePath],
    out: FilePath = "features",
    *,
    source: str = "",
    labels: FilePath | None = None,
    dtype: str | None = None,
    fps: float | None = None,
    shortest: bool = False,
) -> FeatureStore:
    """Make a store of features computed elsewhere, one file a video.

        store = import_features({"rgb": "i3d/rgb", "pts_s": "i3d/times"}, "features", source="I3D, Kinetics-400")

    Args:
        folders: by stream, or of times as `pts_s`, folders of .npy, .npz or .parquet; or one folder, of files that
            hold all streams, or as `export` wrote it.
        out: the new store's folder.
        source: what computed the features, in words; a model judges only stores of the same words.
        labels: a CSV `path,label[,split][,group]`.
        dtype: `float16` or `float32`, as stored; None: float16 where the files hold that, else float32.
        fps: moments a second, where videos have no `pts_s`.
        shortest: cut streams of different lengths to the shortest.

    Raises:
        ConfigError: files are missing, damaged, or do not fit together.
        ResourceError: the store can not be written.
    """
    from pipeline.exchange.importing import import_store

    given = {"": folders} if isinstance(folders, str | os.PathLike) else folders
    places = {name: Path(folder) for name, folder in given.items()}
    return FeatureStore(
        import_store(
            places, Path(out), source=source, labels=_rows(labels), dtype=dtype or "", fps=fps, shortest=shortest
        )
    )


def export(store: FilePath, out: FilePath, *, format: str = "npy") -> int:  # noqa: A002 - as the flag is called
    """Write one file a video: features (T, D) and presentation times.

    Args:
        store: its folder, or what `open_store` returned.
        out: a new or empty folder.
        format: `npy`, `npz` or `parquet`.

    Returns:
        how many videos were written.

    Raises:
        ConfigError: unknown format, or `out` is not empty.
        ResourceError: a file can not be written, or parquet's library is not installed.
        StoreError: there is no store, or it is damaged.
    """
    from pipeline.exchange.exporting import export_store

    return export_store(Store.open(Path(store)), Path(out), form=format)


def fuse(
    scores: Sequence[FilePath],
    *,
    weights: str | Sequence[float] = "equal",
    normalise: str = "relu-l1",
    labels: FilePath | None = None,
    group_by: str = "",
    common: bool = False,
    out: FilePath | None = None,
) -> "FusedScores":
    """Fuse class scores of any networks, joined by video name.

    Args:
        scores: `file.npz`, `file.npz:array` where it holds several, `file.csv`, or `run:row`.
        weights: `equal`, `fit` (each half of the videos is judged with the other half's weights), or numbers.
        normalise: `relu-l1`, `softmax` or `none`.
        labels: a CSV `path,label[,split][,group]`; None: the labels in the score files.
        group_by: regular expression that finds in a video's id what belongs together.
        common: go on with the videos that all files have.
        out: .npz or .csv that the fused scores are written to.

    Raises:
        ConfigError: files, names, classes or weights do not fit together.
    """
    from pipeline.exchange.fusing import fuse_scores

    return fuse_scores(
        [os.fspath(one) for one in scores],
        weights=weights,
        how=normalise,
        labels=_rows(labels),
        group_by=group_by,
        common=common,
        out=None if out is None else Path(out),
    )


def _rows(labels: FilePath | None) -> "Sequence[LabelRow]":
    from schemas.labels import read_label_csv

    return read_label_csv(Path(labels)) if labels is not None else ()
