"""What a classifier is to say: the classes, and which of them each video has."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.disk.store import VideoRows
from schemas.errors import ConfigError
from schemas.labels import LABEL_SEPARATOR, LabelRow, folder_label, join_labels, match_rows, split_labels
from schemas.words import counted

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Targets:
    """Labels of V videos out of C classes.

    Attributes:
        classes: C names, sorted.
        members: bool (V, C); every video has at least one.
        multilabel: some video has several.
    """

    classes: tuple[str, ...]
    members: NDArray[np.bool_]
    multilabel: bool

    @property
    def tensor(self) -> Tensor:
        """What losses take: int64 (V,), or float32 (V, C) with several labels."""
        if self.multilabel:
            return torch.from_numpy(self.members.astype(np.float32))
        return torch.from_numpy(self.members.argmax(1).astype(np.int64))

    @property
    def strata(self) -> NDArray[np.int64]:
        """int64 (V,): what splits keep in proportion: the label, with several labels the rarest of a video's."""
        return rarest(self.members)

    def cell(self, video: int) -> str:
        """The labels of a video in one cell: `a` or `a;b`."""
        return join_labels(self.classes[c] for c in np.flatnonzero(self.members[video]))


def rarest(members: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return of every video the label that the fewest videos have: (V, C) -> (V,)."""
    ranked = np.where(members, members.sum(0).astype(np.float64), np.inf)
    return np.asarray(ranked.argmin(1), dtype=np.int64)


def label_rows(videos: Sequence[VideoRows], csv: Sequence[LabelRow] = ()) -> dict[str, LabelRow]:
    """Tell label, split and group of every video, from a CSV, or else from the plan, or else from the folder.

    A CSV decides label and split alone. Groups say what was recorded together, which another choice of labels does not
    change: a CSV that names none leaves those of the plan in force, so that no split leaks for want of a column.

    Args:
        videos: of the store.
        csv: of `read_label_csv`; when given, videos that are not in it are left out.

    Returns:
        video id -> row.

    Raises:
        ConfigError: no row of the CSV fits, or without one a video has no label or its folder is named like several.
    """
    if csv:
        found = match_rows(csv, {video.id: video.path for video in videos})
        if not found:
            raise ConfigError(
                f"not one of {counted(len(csv), 'path')} in the label file is a video of the store; it "
                f"has videos like {videos[0].id!r}, the file {csv[0].path!r}"
            )
        absent, unused = len(videos) - len(found), len({row.path for row in csv}) - len(found)
        if absent or unused:
            logger.warning(
                "%s not in the label file and left out; %s not in the store",
                counted(absent, "video of the store is", "videos of the store are"),
                counted(unused, "of its paths is", "of its paths are"),
            )
        if any(row.group for row in found.values()):
            return found
        return {video.id: replace(found[video.id], group=video.group) for video in videos if video.id in found}
    odd = [video.id for video in videos if not video.label and LABEL_SEPARATOR in folder_label(video.id)]
    if odd:
        raise ConfigError(
            f"a folder is one label, and {folder_label(odd[0])!r} of {odd[0]!r} would be read as "
            f"several, since {LABEL_SEPARATOR!r} stands between labels of a video: rename the folder, "
            "or give a CSV as `labels` if its videos do have several labels"
        )
    rows = {
        video.id: LabelRow(video.id, split_labels(video.label or folder_label(video.id)), video.split, video.group)
        for video in videos
    }
    bare = [video_id for video_id, row in rows.items() if not row.labels]
    if bare:
        raise ConfigError(
            f"{counted(len(bare), 'video has', 'videos have')} no label, the first is "
            f"{bare[0]!r}: put each video into a folder named after its class, or give "
            "a CSV of lines path,label as `labels`"
        )
    return rows


def frequent(rows: Mapping[str, LabelRow], least: int) -> dict[str, LabelRow]:
    """Leave out classes of fewer than `least` videos, and the videos that have no other label, with a warning."""
    counts = Counter(label for row in rows.values() for label in row.labels)
    rare = sorted(label for label, count in counts.items() if count < least)
    kept = {
        video_id: replace(row, labels=tuple(label for label in row.labels if label not in rare))
        for video_id, row in rows.items()
    }
    kept = {video_id: row for video_id, row in kept.items() if row.labels}
    if rare:
        logger.warning(
            "of %s %d left out, with fewer than %s each and %s in all: %s",
            counted(len(counts), "class"),
            len(rare),
            counted(least, "video"),
            counted(len(rows) - len(kept), "video"),
            ", ".join(rare[:10]) + ", ..." * (len(rare) > 10),
        )
    if not kept:
        raise ConfigError(
            f"`min_videos` {least}: no class has so many videos; the largest has {max(counts.values(), default=0)}"
        )
    return kept


def tell_partial(videos: Sequence[VideoRows]) -> None:
    """Say how many of the videos broke off or are not extracted to their end; they count like any other."""
    partial = [video.id for video in videos if video.outcome == "partial"]
    if partial:
        logger.warning(
            "of %s %s partial (%s first): moments up to the damage are used; `vidu-pipe status` tells more",
            counted(len(videos), "video"),
            counted(len(partial), "is", "are"),
            partial[0],
        )


def make_targets(ids: Sequence[str], rows: Mapping[str, LabelRow], classes: Sequence[str] = ()) -> Targets:
    """Turn labels into columns.

    Args:
        ids: V video ids.
        rows: id -> row.
        classes: the columns, when they are fixed by a model; else all labels that occur, sorted.

    Raises:
        ConfigError: there is only one class, or a label is not among `classes`.
    """
    names = tuple(classes) or tuple(sorted({label for video_id in ids for label in rows[video_id].labels}))
    if len(names) < 2:
        raise ConfigError(f"all videos have the label {names[0]!r}; a classifier needs at least two classes")
    place = {name: index for index, name in enumerate(names)}
    members = np.zeros((len(ids), len(names)), dtype=np.bool_)
    for index, video_id in enumerate(ids):
        for label in rows[video_id].labels:
            if label not in place:
                raise ConfigError(
                    f"{video_id!r} has the label {label!r}, which is not a class here; known: "
                    f"{', '.join(names[:20])}{' ...' if len(names) > 20 else ''}"
                )
            members[index, place[label]] = True
    return Targets(names, members, bool((members.sum(1) > 1).any()))
