"""Splits that do not leak: what is recorded together is never parted over training, validation and test.

A group is what belongs together: a recording, a person, a source. Groups come from a CSV, from a regular expression, or
from UCF-style names (`v_Class_g07_c03`: clip 3 of recording 7); two files of the same content are one group whatever
their names. Every split, made here or given, is checked; one in which a group is on two sides is refused.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError
from schemas.words import counted

UCF_NAME = re.compile(r"(v_[^/]+_g\d+)_c\d+(\.[A-Za-z]\w*)?$")  # names may keep their file's suffix

Indices = NDArray[np.int64]

INNER_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Fold:
    """One division of the videos; the three do not overlap.

    Attributes:
        train: places of the videos to learn from.
        val: places of those that decide when to stop; may be empty.
        test: places of those to be judged on.
    """

    train: Indices
    val: Indices
    test: Indices


def groups_of(
    ids: Sequence[str], *, pattern: str = "", given: Mapping[str, str] | None = None, fingerprints: Sequence[str] = ()
) -> list[str]:
    """Tell the group of every video; a video that belongs to none is a group by itself, named by its id.

    Args:
        ids: V video ids.
        pattern: a regular expression searched in the id; its groups, joined by `/`, or else the whole match, name the
            group. Every id must match.
        given: id -> group, from a CSV; an empty name counts as none.
        fingerprints: V digests of the files; ids that share one share a group.

    Raises:
        ConfigError: the expression is wrong, or an id does not match it.
    """
    if pattern:
        names = [_matched(pattern, video_id) for video_id in ids]
    elif given and any(given.values()):
        names = [given.get(video_id) or video_id for video_id in ids]
    else:
        names = [match[1] if (match := UCF_NAME.search(video_id)) else video_id for video_id in ids]
    if not any(fingerprints):
        return names
    return joined_groups([names, [digest or f"\0{place}" for place, digest in enumerate(fingerprints)]])


def _matched(pattern: str, video_id: str) -> str:
    try:
        match = re.search(pattern, video_id)
    except re.error as error:
        raise ConfigError(f"`group_by` {pattern!r} is not a regular expression: {error}") from error
    if match is None:
        raise ConfigError(f"`group_by` {pattern!r} finds no group in {video_id!r}; every video id must match")
    return "/".join(part or "" for part in match.groups()) if match.groups() else match[0]


def joined_groups(namings: Sequence[Sequence[str]]) -> list[str]:
    """Join what shares a name in any of several namings of the same V videos, and what hangs together by such.

    Args:
        namings: each V names.

    Returns:
        V names: that of a joined group is what the first naming calls its first video.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    videos = len(namings[0])
    node: dict[tuple[int, str], int] = {}  # every name of every naming, after the videos
    for place, names in enumerate(namings):
        for name in names:
            node.setdefault((place, name), videos + len(node))
    ends = np.array([node[place, name] for place, names in enumerate(namings) for name in names], dtype=np.int64)
    starts = np.tile(np.arange(videos), len(namings))
    edges = coo_array((np.ones(len(ends)), (starts, ends)), shape=(videos + len(node),) * 2)
    _, component = connected_components(edges, directed=False)
    _, first, unit = np.unique(component[:videos], return_index=True, return_inverse=True)
    return [namings[0][int(first[number])] for number in unit]


def deal(groups: Sequence[str], classes: NDArray[np.int64], parts: int, seed: int) -> Indices:
    """Deal groups into `parts` of about equal size and mix of classes.

    Groups are dealt one by one, large ones first, those of about one size in an order that `seed` decides, each to the
    part that has the smallest share of the group's classes so far. scikit-learn's StratifiedGroupKFold minimises a
    spread over all classes at once instead: where classes have two or three groups it put all of a class into one
    part, so that it could not be both learnt and tested, in 26 of 400 simulated sets (this rule in none), and took 13
    times as long for 9,537 videos.

    Args:
        groups: V names.
        classes: int64 (V,).
        parts: at least 2.
        seed: of the order.

    Returns:
        int64 (V,), the part of every video.
    """
    group, counts = _counted(groups, classes)
    share = counts / counts.sum(0)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-np.floor(np.log2(counts[order].sum(1))), kind="stable")]  # one size: up to twice as large
    held = np.zeros((parts, counts.shape[1]))
    sizes = np.zeros(parts)
    place = np.empty(len(counts), dtype=np.int64)
    for index in order:
        load = held @ share[index]
        best = np.flatnonzero(load <= load.min() + 1e-12)
        place[index] = best[np.argmin(sizes[best])]
        held[place[index]] += share[index]
        sizes[place[index]] += counts[index].sum()
    return place[group]


def _counted(groups: Sequence[str], classes: NDArray[np.int64]) -> tuple[Indices, NDArray[np.float64]]:
    """Number groups and classes: the group of every video (V,), and how many videos of each class each has (G, C)."""
    _, group = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
    _, label = np.unique(classes, return_inverse=True)
    counts = np.zeros((group.max() + 1, label.max() + 1))
    np.add.at(counts, (group, label), 1)
    return group.astype(np.int64), counts


def made_folds(
    groups: Sequence[str], classes: NDArray[np.int64], names: Sequence[str], *, folds: int, seed: int
) -> list[Indices]:
    """Return the test videos of each of `folds` folds; of one fifth of the videos when `folds` is 1.

    Args:
        groups: V names.
        classes: int64 (V,), places in `names`.
        names: C class names.
        folds: K; 0 leaves one group out at a time.
        seed: of the order.

    Raises:
        ConfigError: a class has too few recordings to be both learnt and tested, or K is too large.
    """
    distinct = sorted(set(groups))
    for place in np.unique(classes):
        held = {groups[int(v)] for v in np.flatnonzero(classes == place)}
        if len(held) < 2:
            count = int((classes == place).sum())
            raise ConfigError(
                f"class {names[int(place)]!r} has {counted(count, 'video')} from 1 recording: too few to "
                f"learn from one and test on another; add videos of it, or `min_videos` {count + 1} "
                "leaves it out"
            )
    if folds == 0:
        array = np.array(groups, dtype=np.str_)
        return [np.flatnonzero(array == name) for name in distinct]
    if folds > len(distinct):
        raise ConfigError(f"`folds` {folds} is more than there are recordings ({len(distinct)})")
    parts = deal(groups, classes, max(folds, 2) if folds > 1 else min(5, len(distinct)), seed)
    return [np.flatnonzero(parts == part) for part in range(folds)]


def inner_cuts(groups: Sequence[str], classes: NDArray[np.int64], *, seed: int) -> list[tuple[Indices, Indices]]:
    """Cut a training part into folds of its own, to choose by: (places to fit, places to judge), by groups.

    Args:
        groups: V names, of the training part alone.
        classes: int64 (V,).
        seed: of the order.

    Returns:
        up to `INNER_FOLDS` cuts; none where there is one group.
    """
    parts = min(INNER_FOLDS, len(set(groups)))
    if parts < 2:
        return []
    place = deal(groups, classes, parts, seed)
    return [(np.flatnonzero(place != part), np.flatnonzero(place == part)) for part in range(parts)]


def cut_validation(
    train: Indices, groups: Sequence[str], classes: NDArray[np.int64], *, fraction: float, seed: int
) -> tuple[Indices, Indices]:
    """Cut a validation part from a training part, by groups, so that no class loses its last training video.

    Groups are gone through class by class, in an order that `seed` decides, and one is taken whenever at least half of
    it is owed to the part (error diffusion); then single groups are taken or given back while that brings the size
    nearer to what is asked.

    Args:
        train: places of the videos to cut from.
        groups: V names.
        classes: int64 (V,).
        fraction: of the videos of `train`.
        seed: of the order.

    Returns:
        train and val; val is empty when `fraction` is 0 or no cut leaves every class in training.
    """
    if not fraction:
        return train, train[:0]
    group, counts = _counted([groups[v] for v in train], classes[train])
    whole, target = counts.sum(0), fraction * len(train)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(counts[order].argmax(1), kind="stable")]
    chosen, held, owed = np.zeros(len(counts), dtype=np.bool_), np.zeros_like(whole), 0.0
    for index in order:
        size = counts[index].sum()
        owed += fraction * size
        if owed >= size / 2 and (held + counts[index] < whole).all():
            chosen[index], held, owed = True, held + counts[index], owed - size
    while (index := _nearer(chosen, counts, held, target)) is not None:
        held = held + (-counts[index] if chosen[index] else counts[index])
        chosen[index] = not chosen[index]
    return train[~chosen[group]], train[chosen[group]]


def _nearer(
    chosen: NDArray[np.bool_], counts: NDArray[np.float64], held: NDArray[np.float64], target: float
) -> int | None:
    """Return the group which, taken or given back, brings the size of the part nearest to `target`, if one does."""
    change = np.where(chosen, -1, 1)[:, None] * counts
    sizes = held.sum() + change.sum(1)
    legal = (held + change < counts.sum(0)).all(1) & (sizes > 0)
    distance = np.where(legal, np.abs(sizes - target), np.inf)
    best = int(distance.argmin())
    now = abs(held.sum() - target) if chosen.any() else np.inf  # an empty part is no part
    return best if distance[best] < now - 1e-9 else None


def check_leaks(ids: Sequence[str], groups: Sequence[str], fold: Fold) -> None:
    """Refuse a fold in which one group is on two sides.

    Raises:
        ConfigError: it does; the message shows two such videos.
    """
    seen: dict[str, tuple[str, str]] = {}
    for part, videos in (("train", fold.train), ("val", fold.val), ("test", fold.test)):
        for v in videos.tolist():
            other, side = seen.setdefault(groups[v], (ids[v], part))
            if side != part:
                raise ConfigError(
                    f"the split leaks: {other!r} ({side}) and {ids[v]!r} ({part}) are of one recording "
                    f"({groups[v]!r}); put both on one side"
                )


def check_classes(names: Sequence[str], members: NDArray[np.bool_], fold: Fold) -> None:
    """Refuse a fold that tests a class it does not train.

    Args:
        names: C class names.
        members: bool (V, C).
        fold: to be checked.

    Raises:
        ConfigError: the message names the class.
    """
    if not len(fold.train) or not len(fold.test):
        raise ConfigError(
            f"the split leaves {counted(len(fold.train), 'video')} to train on and {len(fold.test)} to "
            "test on; videos of both parts are needed, or `folds`, which makes a split of its own"
        )
    missing = np.flatnonzero(members[fold.test].any(0) & ~members[fold.train].any(0))
    if len(missing):
        raise ConfigError(
            f"class {names[missing[0]]!r} is tested but has no training video in one of the folds; "
            "fewer or other groups, more videos, or leaving it out (`min_videos`) would mend it"
        )
