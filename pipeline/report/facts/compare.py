"""Runs side by side, on the videos that all of them judged."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.data.splits import joined_groups
from pipeline.learn.data.stores import streams_of
from pipeline.learn.judging.metrics import HALF, judge, out_of_fold_thresholds, said_members
from pipeline.learn.judging.results import mean_values
from pipeline.learn.judging.statistics import bootstrap_mean, holm, sign_flip_p, unit_numbers
from pipeline.learn.runs.origins import known_stores
from pipeline.learn.runs.records import Results, Scores
from pipeline.learn.runs.run import Run
from pipeline.report.facts.facts import members_of, trained_as
from schemas.errors import ConfigError
from schemas.plain import Plain
from schemas.words import counted, flat


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of one run, on the shared videos.

    Attributes:
        title: `run`, or `run:row` when the row was named.
        row: its name.
        judged: how many videos the run judged in all.
        metrics: top1, top5, mean_class, map, ece, loss, and lrap with several labels; each the mean over seeds.
        seeds: the main metric of each seed, over the shared videos.
        values: (V,), the main metric of every shared video, the mean over seeds.
        low: lower end of the 95 % bootstrap interval of their mean.
        high: its upper end.
        recalls: recall of every class of the comparison that the run knows, mean over seeds.
        settings: (name, value) lines.
        varied: what `seeds` are: `seeds`, or `repeats` with fresh folds.
    """

    title: str
    row: str
    judged: int
    metrics: dict[str, float]
    seeds: tuple[float, ...]
    values: NDArray[np.float64]
    low: float
    high: float
    recalls: dict[str, float]
    settings: dict[str, str]
    varied: str = "seeds"

    @property
    def value(self) -> float:
        """The main metric."""
        return float(self.values.mean())


@dataclass(frozen=True, slots=True)
class Pair:
    """Two contenders, paired by video.

    Attributes:
        first: title of the one.
        second: title of the other.
        difference: of the main metric, second minus first.
        low: lower end of the paired bootstrap interval; those of all pairs hold together 95 times in 100.
        high: its upper end.
        p: two-sided, of the paired sign-flip test (McNemar's exact one where the metric is 0 or 1 and videos are
            independent), corrected for the number of pairs.
        only_first: videos of which the first has the higher value: with top-1, those only it is right about, or with
            several seeds right about more often.
        only_second: those of which the second has.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    only_first: int
    only_second: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found.

    Attributes:
        main: `top1`, or `lrap` when videos have several labels.
        videos: shared by all.
        unit: what the bootstrap draws and the test permutes: `video` or `group`.
        units: how many of them there are.
        contenders: in the order asked for.
        pairs: each two of them.
        supports: class -> videos that have it, of the shared ones.
        differing: setting -> its value in each contender, where they differ.
    """

    main: str
    videos: int
    unit: str
    units: int
    contenders: tuple[Contender, ...]
    pairs: tuple[Pair, ...]
    supports: dict[str, int]
    differing: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Judged:
    """What one row of a run says, by video: (S, C) probabilities and thresholds of each."""

    title: str
    row: str
    classes: tuple[str, ...]
    multilabel: bool
    members: dict[str, NDArray[np.bool_]]
    said: dict[str, NDArray[np.float32]]
    thresholds: dict[str, NDArray[np.float64]]
    groups: dict[str, str]
    settings: dict[str, str]
    varied: str

    def truth(self, video: str) -> frozenset[str]:
        return frozenset(self.classes[c] for c in np.flatnonzero(self.members[video]))


def compare_runs(wanted: Sequence[str]) -> Comparison:
    """Compare runs.

    Args:
        wanted: two or more directories of runs; `RUN:ROW` takes another row than the kept one.

    Raises:
        ConfigError: fewer than two, no such row, no video in common, or runs that disagree about a label.
        StoreError: a run can not be read.
    """
    if len(wanted) < 2:
        raise ConfigError("a comparison needs two runs or more (RUN, or RUN:ROW for another row than the kept one)")
    if len(set(wanted)) < len(wanted):
        raise ConfigError("a run is named twice; name another, or another row of it as RUN:ROW")
    judged = [_read(text) for text in wanted]
    shared = sorted(set.intersection(*(set(one.said) for one in judged)))
    _check(judged, shared)
    units = _units([one.groups for one in judged], shared)
    contenders = tuple(_contender(one, shared, units) for one in judged)
    count = int(units.max()) + 1
    supports: dict[str, int] = {}
    for label in itertools.chain.from_iterable(judged[0].truth(video) for video in shared):
        supports[label] = supports.get(label, 0) + 1
    return Comparison(
        "lrap" if judged[0].multilabel else "top1",
        len(shared),
        "video" if count == len(shared) else "group",
        count,
        contenders,
        _pairs(contenders, units),
        supports,
        _differing(contenders),
    )


def _read(text: str) -> _Judged:
    root, row = Path(text), ""
    if not root.exists() and ":" in text:
        root, row = Path(text.rpartition(":")[0]), text.rpartition(":")[2]
    run = Run.open(root)
    scores, results = run.scores(), run.results
    row = row or results.kept
    if row not in scores.rows:
        raise ConfigError(f"{root} has no row {row!r}; it has {', '.join(scores.rows)}")
    settings = dict(
        flat(
            {key: value for key, value in run.settings.items() if key not in ("schema", "rows", "stores")}
            | {"training": trained_as(run.settings, row)}
            | _features(run)
        )
    )
    model = next(one for one in run.settings["rows"] if one["name"] == row)["model"]
    return _Judged(
        text,
        row,
        scores.classes,
        scores.labels.ndim == 2,
        dict(zip(scores.names, members_of(scores), strict=True)),
        dict(zip(scores.names, scores.rows[row].swapaxes(0, 1), strict=True)),
        dict(zip(scores.names, _thresholds(scores, row, results).swapaxes(0, 1), strict=True)),
        {line.video: line.group for line in run.splits()},
        settings | dict(flat(model, "model")),
        results.varied,
    )


def _features(run: Run) -> Plain:
    """Where a run's features lie, and what made each stream: the same words however many stores they lie in."""
    known = known_stores(run)
    return {
        "stores": [store.path for store in known],
        "features": {
            name: {"kind": store.kind, "software": store.software} | settings
            for store in known
            for name, settings in streams_of(store).items()
        },
    }


def _thresholds(scores: Scores, row: str, results: Results) -> NDArray[np.float64]:
    """Return from which probability on classes are said, (S, V, C): as the run has it, never by the same fold."""
    tables, members = scores.rows[row], members_of(scores)
    if scores.labels.ndim == 1 or results.judged != "out of fold":
        return np.broadcast_to(np.array((row == results.kept and results.thresholds) or HALF), tables.shape)
    folds = np.broadcast_to(scores.folds, tables.shape[:2])
    return np.stack([out_of_fold_thresholds(members, *each) for each in zip(tables, folds, strict=True)])


def _check(judged: Sequence[_Judged], shared: Sequence[str]) -> None:
    first = judged[0]
    if not shared:
        raise ConfigError(
            "the runs have not judged one video in common; they name videos like "
            + ", ".join(f"{min(one.said)!r} ({one.title})" for one in judged)
        )
    for other in judged[1:]:
        parted = [video for video in shared if first.truth(video) != other.truth(video)]
        if parted:
            raise ConfigError(
                f"{first.title} and {other.title} disagree about the label of {counted(len(parted), 'video')}, "
                f"{parted[0]!r} first: {';'.join(sorted(first.truth(parted[0])))} and "
                f"{';'.join(sorted(other.truth(parted[0])))}"
            )
        if first.multilabel != other.multilabel:
            raise ConfigError(f"one of {first.title} and {other.title} has several labels a video, the other has not")


def _units(groups: Sequence[dict[str, str]], shared: Sequence[str]) -> NDArray[np.int64]:
    """Number the units of resampling, int64 (V,): videos that share a group in any of the runs belong together."""
    return unit_numbers(joined_groups([[group.get(video, video) for video in shared] for group in groups]))


def _contender(one: _Judged, shared: Sequence[str], units: NDArray[np.int64]) -> Contender:
    members = np.stack([one.members[v] for v in shared])
    tables = np.stack([one.said[v] for v in shared], axis=1)
    values = mean_values(members, tables, multilabel=one.multilabel)
    least = np.stack([one.thresholds[v] for v in shared], axis=1)
    judged = [judge(members, *each, multilabel=one.multilabel) for each in zip(tables, least, strict=True)]
    metrics = {name: float(np.mean([each[name] for each in judged])) for name in judged[0]}
    main = "lrap" if one.multilabel else "top1"
    found = np.mean(
        [(said_members(*each, multilabel=one.multilabel) & members).sum(0) for each in zip(tables, least, strict=True)],
        axis=0,
    )
    recalls = {name: float(found[c] / members[:, c].sum()) for c, name in enumerate(one.classes) if members[:, c].any()}
    return Contender(
        one.title,
        one.row,
        len(one.said),
        metrics,
        tuple(each[main] for each in judged),
        values,
        *bootstrap_mean(values, units),
        recalls,
        one.settings,
        one.varied,
    )


def _pairs(contenders: Sequence[Contender], units: NDArray[np.int64]) -> tuple[Pair, ...]:
    couples = list(itertools.combinations(contenders, 2))
    differences = [second.values - first.values for first, second in couples]
    corrected = holm([sign_flip_p(difference, units) for difference in differences])
    return tuple(
        Pair(
            first.title,
            second.title,
            float(difference.mean()),
            *bootstrap_mean(difference, units, lowest=-1.0, together=len(couples)),
            p,
            int((difference < 0).sum()),
            int((difference > 0).sum()),
        )
        for (first, second), difference, p in zip(couples, differences, corrected, strict=True)
    )


def _differing(contenders: Sequence[Contender]) -> dict[str, tuple[str, ...]]:
    names = dict.fromkeys(name for one in contenders for name in one.settings)
    values = {name: tuple(one.settings.get(name, "absent") for one in contenders) for name in names}
    return {name: each for name, each in values.items() if len(set(each)) > 1}
