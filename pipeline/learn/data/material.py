"""What is learnt from: a store's videos with labels, groups and folds, everything checked before work begins."""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.data.dataset import Dataset, fingerprints
from pipeline.learn.data.splits import Fold, check_classes, check_leaks, cut_validation, groups_of, made_folds
from pipeline.learn.data.stores import Joined
from pipeline.learn.data.targets import Targets, frequent, label_rows, make_targets, tell_partial
from pipeline.learn.request import Request, SplitChoice
from pipeline.learn.runs.records import SplitRow
from pipeline.learn.settings import TrainSettings
from schemas.disk.store import Store, VideoRows
from schemas.errors import ConfigError
from schemas.labels import LabelRow, match_parts, read_label_csv, read_split_files
from schemas.words import counted

logger = logging.getLogger(__name__)

DEFAULT_FOLDS = 5
VAL_TOLERANCE = 0.05  # of the share asked for
LARGE_SET = 5000  # from so many videos on one held-out fifth is judged instead of five folds


@dataclass(frozen=True, slots=True)
class Material:
    """What is learnt from, with everything checked.

    Attributes:
        data: features.
        stores: where they lie.
        targets: labels.
        groups: V names.
        fingerprints: V digests of the files.
        folds: one or more.
        again: the folds of every further repeat, as many each.
        last: all videos, which the kept row is trained on once more after cross-validation; None where there is none.
        kind: `csv`, `official` or `made`.
    """

    data: Dataset
    stores: tuple[Store, ...]
    targets: Targets
    groups: list[str]
    fingerprints: tuple[str, ...]
    folds: list[Fold]
    again: list[list[Fold]]
    last: Fold | None
    kind: str

    @property
    def crossed(self) -> bool:
        """The folds are those of cross-validation: each video is tested once."""
        return self.last is not None

    @property
    def trainings(self) -> list[Fold]:
        """The folds of all repeats, and the last training if there is one."""
        return [*self.folds, *itertools.chain(*self.again), *([self.last] if self.last else [])]

    def folds_of(self, place: int) -> list[Fold]:
        """Return the folds that the seed at this place trains on: those of its repeat, or else the only ones."""
        return [self.folds, *self.again][place] if self.again else self.folds


def read_material(request: Request) -> Material:
    """Read the stores and divide their videos; all that can be wrong with the request shows here, before work."""
    stores = Joined.open(request.stores)
    videos = videos_of(stores)
    if request.labels is None:
        stores.check_plans()
    labels = label_rows(videos, read_label_csv(request.labels) if request.labels else ())
    parts, kind = _parts(request.split, labels)
    labels = frequent({name: labels[name] for name in parts}, request.min_videos)
    videos = [video for video in videos if video.id in labels]
    tell_partial(videos)
    ids = [video.id for video in videos]
    targets = make_targets(ids, labels)
    prints = fingerprints(stores.first, videos)
    groups = groups_of(
        ids,
        pattern=request.split.group_by,
        given={name: row.group for name, row in labels.items()},
        fingerprints=prints,
    )
    everything, last, again = np.arange(len(ids)), None, list[list[Fold]]()
    if kind == "made":
        folds, crossed = _made(request, groups, targets)
        last = _with_validation(everything, everything[:0], groups, targets, request) if crossed else None
        again = [
            _made(replace(request, seed=request.seed + repeat), groups, targets)[0]
            for repeat in range(1, request.split.repeats)
        ]
    else:
        folds = [_given_fold([parts[name] for name in ids], groups, targets, request)]
    _check_repeats(request, [folds, *again], crossed=last is not None)
    for fold in itertools.chain(folds, *again):
        check_leaks(ids, groups, fold)
        check_classes(targets.classes, targets.members, fold)
    if kind == "made" or not any(part == "val" for part in parts.values()):
        _check_validation([*itertools.chain(folds, *again), *([last] if last else [])], request.training)
    elif request.training.val_fraction is not None:
        raise ConfigError("`val_fraction` cuts a validation part, and the labels' split has one already: leave it out")
    data = stores.read(videos, streams=request.streams, memory_bytes=request.memory_bytes)
    return Material(data, stores.stores, targets, groups, prints, folds, again, last, kind)


def videos_of(stores: Joined) -> list[VideoRows]:
    """Return the videos of the first store; of one that is still being made those that are there, with a warning.

    Raises:
        ConfigError: there is none yet, in one of the stores.
    """
    for store, rows in zip(stores.stores, stores.rows, strict=True):
        shards = store.books.read_plan().live_shards
        if not rows:
            raise ConfigError(f"{store.root} holds no video yet; `vidu-pipe status {store.root}` tells more")
        missing = sum(store.books.report(task.shard) is None for task in shards)
        if missing:
            logger.warning(
                "%s is unfinished: of %s %s not made, so videos, or parts of them, are missing here; the "
                "command that began it goes on with it",
                store.root,
                counted(len(shards), "shard"),
                counted(missing, "is", "are"),
            )
    return stores.videos


def _parts(choice: SplitChoice, labels: dict[str, LabelRow]) -> tuple[dict[str, str], str]:
    """Video id -> part, and where that comes from; parts are empty when a split is to be made."""
    if choice.files is not None:
        if choice.folds is not None:
            raise ConfigError("`split_files` fixes the split, `folds` and `leave_one_group_out` make one: choose")
        return match_parts(read_split_files(choice.files, choice.number), labels), "official"
    given = {name: row.split for name, row in labels.items()}
    if choice.folds is None and any(given.values()):
        parts = {name: part for name, part in given.items() if part}
        if len(parts) < len(given):
            logger.warning(
                "%s no split in the labels and left out", counted(len(given) - len(parts), "video has", "videos have")
            )
        return parts, "csv"
    return given, "made"


def _made(request: Request, groups: Sequence[str], targets: Targets) -> tuple[list[Fold], bool]:
    folds, everything = request.split.folds, np.arange(len(groups))
    if folds is None:
        folds = 1 if len(groups) >= LARGE_SET else min(DEFAULT_FOLDS, len(set(groups)))
    tests = made_folds(groups, targets.strata, targets.classes, folds=folds, seed=request.seed)
    return [
        _with_validation(np.setdiff1d(everything, test), test, groups, targets, request) for test in tests
    ], folds != 1


def _check_repeats(request: Request, repeats: Sequence[Sequence[Fold]], *, crossed: bool) -> None:
    """Refuse repeats that would repeat nothing, and say where they repeat less than asked.

    Raises:
        ConfigError: seeds are asked for too, or the folds can not be made anew.
    """
    asked = request.split.repeats
    if asked == 1:
        return
    if request.seeds > 1:
        raise ConfigError("`repeats` gives every repeat a seed of its own, so `seeds` says nothing beside it: choose")
    if not crossed or request.split.folds == 0:
        raise ConfigError(
            "`repeats` makes the folds of cross-validation anew: it needs `folds` of 2 or more, and no "
            "split that is given"
        )
    different = len({frozenset(fold.test.tobytes() for fold in folds) for folds in repeats})
    if different == 1:
        raise ConfigError(
            f"`repeats` {asked}: so few groups make the same folds each time; fewer `folds` vary, or "
            "`seeds`, on the same folds"
        )
    if different < asked:
        logger.warning("`repeats` %d: so few groups make only %d different sets of folds", asked, different)


def _given_fold(parts: Sequence[str], groups: Sequence[str], targets: Targets, request: Request) -> Fold:
    train, val, test = (np.flatnonzero([part == name for part in parts]) for name in ("train", "val", "test"))
    return Fold(train, val, test) if len(val) else _with_validation(train, test, groups, targets, request)


def _with_validation(
    train: NDArray[np.int64], test: NDArray[np.int64], groups: Sequence[str], targets: Targets, request: Request
) -> Fold:
    share = request.training.val_share(len(train))
    rest, val = cut_validation(train, groups, targets.strata, fraction=share, seed=request.seed)
    return Fold(rest, val, test)


def _check_validation(folds: Sequence[Fold], training: TrainSettings) -> None:
    """Say where the validation part that is asked for can not be cut, and refuse what needs one and has none.

    Raises:
        ConfigError: `--patience` is given and a training has no validation part.
    """
    if training.patience and not all(len(fold.val) for fold in folds):
        raise ConfigError(
            f"`patience` {training.patience} waits for a validation loss, and there is no validation "
            "part: `val_fraction` 0.2 cuts one where there are videos enough"
        )
    asked = training.val_fraction
    if not asked:
        return
    shares = [len(fold.val) / (len(fold.val) + len(fold.train)) for fold in folds]
    none, far = shares.count(0.0), max(shares, key=lambda share: abs(share - asked))
    if none:
        logger.warning(
            "`val_fraction` %g: in %d of %s there is no validation part, since every cut by groups would "
            "take all training videos of a class",
            asked,
            none,
            counted(len(folds), "training"),
        )
    elif abs(far - asked) > VAL_TOLERANCE:
        logger.warning(
            "`val_fraction` %g: groups are not parted, so the nearest cut is %.2f in one of %s",
            asked,
            far,
            counted(len(folds), "training"),
        )


def split_rows(material: Material) -> list[SplitRow]:
    """Tell of every video in which part of which fold it is; of repeats, in the first."""
    data, part, place = material.data, {}, {}
    for number, fold in enumerate(material.folds):
        for name in ("test",) if material.crossed else ("train", "val", "test"):
            for video in getattr(fold, name).tolist():
                part[video], place[video] = name, number
    return [
        SplitRow(
            data.ids[v],
            data.paths[v],
            material.targets.cell(v),
            material.groups[v],
            place[v],
            part[v],
            material.fingerprints[v],
        )
        for v in sorted(part)
    ]
