"""Stores of the same moments side by side: what several extractions made is read as if one had made it.

Labels, splits, groups and paths are those of the first store's plan; of the others only the columns count.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.data.dataset import Dataset, fingerprints, read_dataset, read_moments
from schemas.config import ExtractSettings, differences
from schemas.disk.shard import Origin
from schemas.disk.store import Store, VideoRows
from schemas.errors import ConfigError
from schemas.plain import Plain
from schemas.words import counted

logger = logging.getLogger(__name__)

SAME_TIME_S = 1e-6  # imported times may have been rounded on their way


@dataclass(frozen=True, slots=True)
class Joined:
    """One store, or several whose columns stand side by side.

    Attributes:
        stores: the first one says what the videos are.
        rows: of each store, its videos by id.
    """

    stores: tuple[Store, ...]
    rows: tuple[dict[str, VideoRows], ...]

    @classmethod
    def of(cls, stores: Sequence[Store]) -> "Joined":
        """Put stores side by side.

        Raises:
            ConfigError: their moments were chosen in different ways.
            StoreError: a shard can not be read.
        """
        first = stores[0]
        for store in stores[1:]:
            lines = _sampling_differs(first.origin, store.origin)
            if lines:
                raise ConfigError(
                    f"{first.root} and {store.root} have other moments ({', '.join(lines)}), so their "
                    "features do not belong together; extract one of them again with the other's "
                    "sampling"
                )
        return cls(tuple(stores), tuple({video.id: video for video in store.video_rows()} for store in stores))

    @classmethod
    def open(cls, roots: Sequence[Path]) -> "Joined":
        """Open stores and put them side by side.

        Raises:
            ConfigError: none is named, one is named twice, or their moments were chosen in different ways.
            StoreError: one is not there, is of another version, or can not be read.
        """
        if not roots:
            raise ConfigError("no store is named")
        places = [root.resolve() for root in roots]
        twice = [root for root, place in zip(roots, places, strict=True) if places.count(place) > 1]
        if twice:
            raise ConfigError(f"the store {twice[0]} is named twice")
        return cls.of([Store.open(root) for root in roots])

    @property
    def first(self) -> Store:
        """The store that says what the videos are."""
        return self.stores[0]

    @property
    def videos(self) -> list[VideoRows]:
        """The videos of the first store, sorted by id."""
        return list(self.rows[0].values())

    @property
    def name(self) -> str:
        """The stores' folders, in words."""
        return " and ".join(str(store.root) for store in self.stores)

    def check_plans(self) -> None:
        """Refuse stores of which one has a video that another has not, and say whose labels hold where they differ.

        Raises:
            ConfigError: the message names the first such video.
        """
        for store, rows in zip(self.stores[1:], self.rows[1:], strict=True):
            odd = min(self.rows[0].keys() ^ rows.keys(), default=None)
            if odd is not None:
                there, not_there = (self.first, store) if odd in self.rows[0] else (store, self.first)
                raise ConfigError(
                    f"{there.root} has the video {odd!r} and {not_there.root} has not; extract it there "
                    "too, or name the videos that both have in a CSV as `labels`"
                )
            other = [name for name, video in self.rows[0].items() if _told_apart(video, rows[name])]
            if other:
                logger.warning(
                    "%s and %s have other labels, splits or groups of %s, %r first: those of %s hold",
                    self.first.root,
                    store.root,
                    counted(len(other), "video"),
                    other[0],
                    self.first.root,
                )

    def read(
        self,
        videos: Sequence[VideoRows],
        *,
        streams: Sequence[str] = (),
        memory_bytes: int = 8 << 30,
        spill_dir: Path | None = None,
    ) -> Dataset:
        """Read the features of videos into memory, after a look whether all stores mean the same moments.

        Args:
            videos: of `self.videos`, in the order wanted.
            streams: names of those wanted; all when empty, store by store.
            memory_bytes: as for `read_dataset`, of all stores together.
            spill_dir: as for `read_dataset`.

        Raises:
            ConfigError: no video; a stream that no store or more than one store has; or the stores' videos, files or
                moments differ: the message names the first difference.
            StoreError: a shard can not be read, or a feature is NaN or infinite.
        """
        if len(self.stores) == 1:
            return read_dataset(self.first, videos, streams=streams, memory_bytes=memory_bytes, spill_dir=spill_dir)
        columns, sides, data = self._columns(streams), self._sides(videos), list[Dataset]()
        for store, side, names in zip(self.stores, sides, columns, strict=True):
            if names:
                data.append(read_dataset(store, side, streams=names, memory_bytes=memory_bytes, spill_dir=spill_dir))
                size = sum(table.nbytes for table in data[-1].streams.values())
                memory_bytes -= size if size <= memory_bytes else 0
        tables = {name: table for one in data for name, table in one.streams.items()}
        return replace(
            data[0],
            paths=tuple(video.path for video in videos),
            streams={name: tables[name] for name in streams or tables},
        )

    def _columns(self, streams: Sequence[str]) -> list[list[str]]:
        """The streams wanted of each store."""
        each = [[name for name in streams_of(store.origin) if not streams or name in streams] for store in self.stores]
        owner: dict[str, Store] = {}
        for store, names in zip(self.stores, each, strict=True):
            for name in names:
                if name in owner:
                    raise ConfigError(
                        f"{owner[name].root} and {store.root} both have a stream {name!r}: choose others "
                        "as `streams`, or extract one of them under another name (`stream.name`)"
                    )
                owner[name] = store
        missing = [name for name in streams if name not in owner]
        if missing:
            known = dict.fromkeys(name for store in self.stores for name in streams_of(store.origin))
            raise ConfigError(f"{self.name} have no stream {missing[0]!r}; they have {', '.join(known)}")
        return each

    def _sides(self, videos: Sequence[VideoRows]) -> list[list[VideoRows]]:
        """The same videos as every store has them, their moments compared."""
        sides, compare = [list(videos)], _Moments(self.first, videos)
        for store, rows in zip(self.stores[1:], self.rows[1:], strict=True):
            absent = [video.id for video in videos if video.id not in rows]
            if absent:
                raise ConfigError(
                    f"{self.first.root} has the video {absent[0]!r} and {store.root} has not; extract it "
                    "there too, or leave it out of the CSV given as `labels`"
                )
            sides.append([rows[video.id] for video in videos])
            compare.refuse_others(_Moments(store, sides[-1]))
        return sides


class _Moments:
    """The moments of some videos, as one store has them."""

    def __init__(self, store: Store, videos: Sequence[VideoRows]) -> None:
        self.store, self.videos = store, videos
        self.lengths = np.array([video.moments for video in videos], np.int64)
        self.frame, self.pts_s = read_moments(store, videos)

    def refuse_others(self, other: "_Moments") -> None:
        """Refuse the moments of another store that are not these; times that are unknown are no difference."""
        mine, theirs = self.store.root, other.store.root
        if {self.store.origin.kind, other.store.origin.kind} == {ExtractSettings.kind}:
            prints, others = (np.array(fingerprints(one.store, one.videos)) for one in (self, other))
            if (odd := _first(prints != others)) is not None:
                raise ConfigError(
                    f"the file of {self.videos[odd].id!r} is not the same one in {mine} and {theirs}; "
                    "extract both from the same files"
                )
        if (odd := _first(self.lengths != other.lengths)) is not None:
            raise ConfigError(
                f"{self.videos[odd].id!r} has {counted(int(self.lengths[odd]), 'moment')} in {mine} and "
                f"{other.lengths[odd]} in {theirs}; extract both whole, with the same sampling"
            )
        framed, timed = (self.frame >= 0) & (other.frame >= 0), ~np.isnan(self.pts_s - other.pts_s)
        late = np.abs(self.pts_s - other.pts_s) > SAME_TIME_S
        if (row := _first((framed & (self.frame != other.frame)) | late)) is not None:
            video = int(self._places(row))
            place = row - int(self.lengths[:video].sum())
            raise ConfigError(
                f"moment {place} of {self.videos[video].id!r} is {self.said(row)} in {mine} and "
                f"{other.said(row)} in {theirs}; extract both with the same sampling"
            )
        blind = np.unique(self._places(np.flatnonzero(~framed & ~timed)))
        if len(blind):
            logger.warning(
                "of %d of %s the times are unknown in %s or %s: the moments are taken for the same ones, "
                "since there are as many",
                len(blind),
                counted(len(self.videos), "video"),
                mine,
                theirs,
            )

    def said(self, row: int) -> str:
        """Tell one moment in words."""
        return f"frame {self.frame[row]} at {self.pts_s[row]:.6f} s"

    def _places(self, rows: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """The place of the video that each row belongs to."""
        return np.asarray(np.searchsorted(np.cumsum(self.lengths), rows, side="right"))


def _told_apart(video: VideoRows, other: VideoRows) -> bool:
    """Whether another plan says something else of a video, and not just nothing."""
    pairs = ((video.label, other.label), (video.split, other.split), (video.group, other.group))
    return any(theirs not in ("", mine) for mine, theirs in pairs)


def _first(marks: NDArray[np.bool_]) -> int | None:
    return int(marks.argmax()) if marks.any() else None


def streams_of(origin: Origin) -> dict[str, Plain]:
    """Return, by the name of every stream of a store, the settings that decide its features: plain JSON values.

    Two stores in which these are the same hold the same features in that column, whatever stands beside it.
    """
    settings = origin.settings
    if origin.kind == ExtractSettings.kind:
        return {stream["name"]: settings | {"stream": [stream]} for stream in settings["stream"]}
    dtype = settings.get("dtype")
    return {
        name: settings | {"streams": {name: dim}, "dtype": dtype[name] if isinstance(dtype, dict) else dtype}
        for name, dim in settings["streams"].items()
    }


def _sampling_differs(mine: Origin, theirs: Origin) -> list[str]:
    if {mine.kind, theirs.kind} != {ExtractSettings.kind}:
        return []
    return differences(*({"sampling": one.settings["sampling"]} for one in (mine, theirs)))
