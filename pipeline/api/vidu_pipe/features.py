"""A feature store as arrays: by video, with times, and as a table."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.jobs.job import Summary
from pipeline.planning.outcomes import BadVideos, bad_videos
from schemas.arrays import Array
from schemas.config import ExtractSettings
from schemas.disk.shard import open_shard
from schemas.disk.store import Store, VideoRows
from schemas.errors import ConfigError
from schemas.plain import Plain
from schemas.words import counted


@dataclass(frozen=True, slots=True, eq=False)
class VideoFeatures:
    """The features of one video: one row a moment, the same moments in every stream.

    A stream is an attribute where its name is a Python name (`video.rgb`), and an item always (`video["rgb"]`).

    Attributes:
        id: the video's id.
        frame: int64 (T,), frame indices of the moments.
        pts_s: float64 (T,), their presentation times in seconds.
        streams: by name, (T, D) as stored.
    """

    id: str
    frame: NDArray[np.int64]
    pts_s: NDArray[np.float64]
    streams: dict[str, Array]

    def __getitem__(self, stream: str) -> Array:
        """Return a stream's features (T, D).

        Raises:
            KeyError: there is no such stream; the message names those there are.
        """
        if stream not in self.streams:
            raise KeyError(f"no stream {stream!r}; there are {', '.join(self.streams)}")
        return self.streams[stream]

    def __getattr__(self, name: str) -> Array:
        """Return a stream's features (T, D).

        Raises:
            AttributeError: there is no such stream.
        """
        if name.startswith("_") or name == "streams" or name not in self.streams:
            raise AttributeError(f"no stream {name!r}; there are {', '.join(self.streams)}")
        return self.streams[name]

    def __len__(self) -> int:
        """Return T, the number of moments."""
        return len(self.frame)


class FeatureStore:
    """A feature store: a mapping of video ids to `VideoFeatures`, read from disk when asked for.

    Attributes:
        path: its folder.
        summary: how the extraction went that returned it; None for a store that was opened.
    """

    def __init__(self, store: Store, summary: Summary | None = None) -> None:
        """Use `open_store` or `extract`."""
        self.path = store.root
        self.summary = summary
        self._store = store
        self._rows: dict[str, VideoRows] | None = None

    def __fspath__(self) -> str:
        """Return the folder, so that a store stands where a path is wanted."""
        return os.fspath(self.path)

    @property
    def settings(self) -> ExtractSettings:
        """What made the features.

        Raises:
            ConfigError: they were imported.
        """
        if self._store.origin.kind != ExtractSettings.kind:
            raise ConfigError(f"{self.path}: its features were imported, so there are no settings of an extraction")
        return ExtractSettings.from_dict(self._store.origin.settings)

    @property
    def streams(self) -> dict[str, int]:
        """The dimension D of every stream, by name."""
        for video in self._videos.values():
            with open_shard(self._store.shard_path(video.pieces[0].shard)) as shard:
                return dict(shard.dims)
        return {}

    @property
    def bad(self) -> BadVideos:
        """Videos that failed or broke off, with the reason of each."""
        books = self._store.books
        plan = books.read_plan()
        return bad_videos(plan, [report for task in plan.live_shards if (report := books.report(task.shard))])

    @property
    def _videos(self) -> dict[str, VideoRows]:
        if self._rows is None:
            self._rows = {video.id: video for video in self._store.video_rows()}
        return self._rows

    def __len__(self) -> int:
        """Return how many videos have features."""
        return len(self._videos)

    def __iter__(self) -> Iterator[str]:
        """Go through the ids of the videos that have features, sorted."""
        return iter(self._videos)

    def __contains__(self, video: object) -> bool:
        """Tell whether a video has features."""
        return video in self._videos

    def __getitem__(self, video: str) -> VideoFeatures:
        """Read the features of one video.

        Raises:
            KeyError: the store has none of that id; the message names the nearest.
            StoreError: a shard can not be read.
        """
        if video not in self._videos:
            import difflib

            near = ", ".join(difflib.get_close_matches(video, self._videos, n=3)) or "nothing like it"
            raise KeyError(f"{self.path} has no features of {video!r}; nearest: {near}")
        frames, times, streams = [], [], dict[str, list[Array]]()
        for piece in self._videos[video].pieces:
            with open_shard(self._store.shard_path(piece.shard)) as shard:
                frame, pts_s = shard.moments(piece.row_start, piece.row_stop)
                frames.append(frame)
                times.append(pts_s)
                for name in shard.dims:
                    streams.setdefault(name, []).append(shard.features(name, piece.row_start, piece.row_stop))
        return VideoFeatures(
            video,
            np.concatenate(frames),
            np.concatenate(times),
            {name: np.concatenate(parts) for name, parts in streams.items()},
        )

    def table(self) -> list[Plain]:
        """Return one row a planned video: id, label, split, group, moments, outcome, reason, path.

        `pandas.DataFrame(store.table())` makes a data frame of it.
        """
        bad = self.bad
        reasons = {one.id: f"{one.reason}: {one.message}" for one in (*bad.partial, *bad.failed)}
        failed = {one.id for one in bad.failed}
        plan = self._store.books.read_plan()
        rows = []
        for name, video in sorted(plan.latest().items()):
            there = self._videos.get(name)
            outcome = there.outcome if there else "failed" if name in failed else "not made yet"
            rows.append(
                {
                    "id": name,
                    "label": video.label,
                    "split": video.split,
                    "group": video.group,
                    "moments": there.moments if there else 0,
                    "outcome": outcome,
                    "reason": reasons.get(name, ""),
                    "path": video.path,
                }
            )
        rows += [
            {
                "id": one.id,
                "label": "",
                "split": "",
                "group": "",
                "moments": 0,
                "outcome": "failed",
                "reason": f"{one.reason}: {one.message}",
                "path": one.path,
            }
            for one in plan.failures
            if one.id not in plan.latest()
        ]
        return rows

    def __repr__(self) -> str:
        """Say what it holds, in one line."""
        streams = ", ".join(f"{name} {dim}" for name, dim in self.streams.items()) or "nothing yet"
        return f"FeatureStore({str(self.path)!r}: {counted(len(self), 'video')}, {streams})"

    def _repr_html_(self) -> str:
        """Show it in a notebook: what it holds, and its first videos."""
        names = ("id", "label", "moments", "outcome")
        shown = self.table()
        cells = "".join(
            "<tr>" + "".join(f"<td>{escape(str(row[name]))}</td>" for name in names) + "</tr>" for row in shown[:10]
        )
        more = f"<p>and {len(shown) - 10} more</p>" if len(shown) > 10 else ""
        head = "".join(f"<th>{name}</th>" for name in names)
        return f"<p>{escape(repr(self))}</p><table><tr>{head}</tr>{cells}</table>{more}"


def open_store(path: str | os.PathLike[str] = "features") -> FeatureStore:
    """Open a feature store.

    Raises:
        StoreError: there is none, or it is of another version.
    """
    return FeatureStore(Store.open(Path(path)))
