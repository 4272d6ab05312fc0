"""A map of the features: every video one point in the plane, like videos near each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.data.dataset import Dataset
from pipeline.learn.runs.origins import open_stores
from pipeline.learn.runs.run import Run
from schemas.errors import ConfigError, StoreError

MOST_POINTS = 3000  # more can not be told apart on a screen; a sample of them is shown
_TSNE_DIMS = 50


@dataclass(frozen=True, slots=True)
class Point:
    """One video on the map.

    Attributes:
        video: its id.
        label: its label or labels in one cell.
        right: whether the kept row is right about it, with more than half of its seeds; None when it was not judged.
        x: 0 to 1, from the left.
        y: 0 to 1, from the bottom.
    """

    video: str
    label: str
    right: bool | None
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """The map.

    Attributes:
        points: one a video, or a sample of `MOST_POINTS`.
        videos: how many there are in all.
        streams: whose features it shows.
        x_title: what the horizontal axis is.
        y_title: what the vertical axis is.
    """

    points: tuple[Point, ...]
    videos: int
    streams: tuple[str, ...]
    x_title: str
    y_title: str


def feature_map(run: Run, *, stores: Sequence[Path] = (), method: str = "pca") -> FeatureMap:
    """Map the videos of a run.

    A video is the mean of its moments; every feature is standardised, every stream of the kept model weighs the same.

    Args:
        run: whose videos.
        stores: where the features are; none: where they were.
        method: a name of `MAPS`.

    Raises:
        ConfigError: the method is unknown, or no video of the run is in the store.
        StoreError: a store is gone, or holds other features.
    """
    if method not in MAPS:
        raise ConfigError(f"unknown map {method!r}; known: {', '.join(MAPS)}")
    streams = run.model_settings().streams
    features = open_stores(run, stores, streams)
    labels = {row.video: row.label for row in run.splits()}
    videos = [video for video in features.videos if video.id in labels]
    if not videos:
        raise ConfigError(f"not one video of {run.root} is in {features.name}")
    count = len(videos)
    if count > MOST_POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(count, MOST_POINTS, replace=False))
        videos = [videos[index] for index in chosen.tolist()]
    data = features.read(videos, streams=tuple(streams))
    plane, x_title, y_title = MAPS[method](_video_vectors(data))
    low, span = plane.min(0), np.maximum(np.ptp(plane, axis=0), 1e-9)
    said: dict[str, list[bool]] = {}
    for prediction in run.predictions():
        said.setdefault(prediction.video, []).append(prediction.correct)
    right = {video: 2 * sum(each) > len(each) for video, each in said.items()}
    points = [
        Point(name, labels[name], right.get(name), *((place - low) / span).tolist())
        for name, place in zip(data.ids, plane, strict=True)
    ]
    return FeatureMap(tuple(points), count, tuple(streams), x_title, y_title)


def _video_vectors(data: Dataset) -> NDArray[np.float64]:
    """(V, sum of D): means over moments, standardised; a stream of D features is scaled by 1 / sqrt(D)."""
    parts = []
    for table in data.streams.values():
        rows = table.numpy()
        means = np.stack(
            [
                rows[start:stop].mean(0, dtype=np.float64)
                for start, stop in zip(data.offsets[:-1], data.offsets[1:], strict=True)
            ]
        )
        spread = means.std(0)
        parts.append((means - means.mean(0)) / np.where(spread < 1e-9, 1, spread) / means.shape[1] ** 0.5)
    return np.concatenate(parts, axis=1)


def principal(vectors: NDArray[np.float64], dims: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coordinates (V, dims) along the principal components (Pearson 1901), and their shares of variance (dims,).

    Both are zeros where there are fewer components.
    """
    from sklearn.decomposition import PCA

    places, shares = np.zeros((len(vectors), dims)), np.zeros(dims)
    if np.ptp(vectors, axis=0).any():
        count = min(dims, *vectors.shape)
        pca = PCA(count, random_state=0)
        places[:, :count], shares[:count] = pca.fit_transform(vectors), pca.explained_variance_ratio_
    return places, shares


def _pca(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], str, str]:
    places, shares = principal(vectors, 2)
    titles = [
        f"{ordinal} principal component, {100 * share:.0f} % of variance"
        for ordinal, share in zip(("first", "second"), shares, strict=True)
    ]
    return places, titles[0], titles[1]


def _tsne(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], str, str]:
    """t-SNE (van der Maaten and Hinton 2008) of the first 50 principal components; near means alike, far nothing."""
    from sklearn.manifold import TSNE

    if len(vectors) < 4:
        raise ConfigError(f"a t-SNE map needs at least 4 videos, not {len(vectors)}; `map` pca")
    reduced, _ = principal(vectors, min(_TSNE_DIMS, *vectors.shape))
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(reduced)
    return np.asarray(places, np.float64), f"t-SNE, perplexity {perplexity:.0f}", "distances far apart mean nothing"


MAPS: dict[str, Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], str, str]]] = {"pca": _pca, "tsne": _tsne}


def try_feature_map(run: Run, *, stores: Sequence[Path], method: str) -> tuple[FeatureMap | None, str]:
    """Map the videos, or say why that can not be done; a store that was named must be there and fit."""
    try:
        return feature_map(run, stores=stores, method=method), ""
    except StoreError as error:
        if stores:
            raise
        return None, str(error)
