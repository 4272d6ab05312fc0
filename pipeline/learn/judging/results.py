"""From what the models said to what a run found: metrics, intervals, the paired test, and the row that is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.data.targets import Targets
from pipeline.learn.judging.metrics import HALF, Thresholds, class_table, confusion, hits, judge, ranking_precision
from pipeline.learn.judging.statistics import (
    SIGNIFICANT,
    USEFUL,
    bootstrap_mean,
    holm,
    interval_words,
    reach,
    sign_flip_p,
    unit_numbers,
)
from pipeline.learn.runs.records import ClassResult, Results, RowResult, Versus
from pipeline.learn.runs.rows import Row
from schemas.words import counted


@dataclass(frozen=True, slots=True)
class RowScores:
    """What the models of one row said.

    Attributes:
        row: which one.
        parameters: trainable numbers in its model.
        test: float32 (S, J, C), one table a seed, in the order of the judged videos.
        val: one main metric a fold and seed, or of all inner folds; empty where nothing was held out.
        thresholds: float64 (S, J, C), from which probability on classes are said, fitted on other videos; None: one
            half, or videos have one label.
        final: float64 (C,), those of the model that is kept.
    """

    row: Row
    parameters: int
    test: NDArray[np.float32]
    val: tuple[float, ...]
    thresholds: NDArray[np.float64] | None = None
    final: NDArray[np.float64] | None = None

    @property
    def tables(self) -> list[tuple[NDArray[np.float32], Thresholds]]:
        """What each seed said, (J, C), with its thresholds."""
        return list(
            zip(self.test, [HALF] * len(self.test) if self.thresholds is None else self.thresholds, strict=True)
        )


def main_values(
    members: NDArray[np.bool_], probabilities: NDArray[np.float32], *, multilabel: bool
) -> NDArray[np.float64]:
    """Return the main metric of every video, (V,): its mean is what rows are compared by."""
    return ranking_precision(members, probabilities) if multilabel else hits(members, probabilities)


def mean_values(
    members: NDArray[np.bool_], probabilities: NDArray[np.float32], *, multilabel: bool
) -> NDArray[np.float64]:
    """Return the main metric of every video, (V,), as the mean over the seeds of `probabilities` (S, V, C).

    Its mean over videos is the mean of the seeds' own metrics: no seed is picked, and the seeds are not joined to a
    model that would be better than any of them.
    """
    values: NDArray[np.float64] = np.mean(
        [main_values(members, p, multilabel=multilabel) for p in probabilities], axis=0
    )
    return values


def mean_classes(tables: Sequence[tuple[ClassResult, ...]]) -> tuple[ClassResult, ...]:
    """Average the class tables of several seeds."""
    return tuple(
        ClassResult(
            same[0].name,
            same[0].support,
            float(np.mean([one.precision for one in same])),
            float(np.mean([one.recall for one in same])),
            float(np.mean([one.average_precision for one in same])),
        )
        for same in zip(*tables, strict=True)
    )


def conclude(
    said: Sequence[RowScores],
    targets: Targets,
    judged: NDArray[np.int64],
    groups: Sequence[str],
    *,
    crossed: bool,
    inner: bool = False,
    varied: str = "seeds",
) -> Results:
    """Judge every row, compare, choose.

    Args:
        said: one a row, in the order of the table.
        targets: of all videos.
        judged: int64 (J,), places of the judged videos.
        groups: V group names.
        crossed: it was cross-validation: every video was judged by a model that did not see it.
        inner: the numbers in `val` are of inner folds of the training part.
        varied: what the tables of `said` are: `seeds`, or `repeats`.
    """
    members = targets.members[judged]
    units = unit_numbers([groups[int(video)] for video in judged])
    values = {one.row.name: mean_values(members, one.test, multilabel=targets.multilabel) for one in said}
    rows = [_row(one, values[one.row.name], members, units, targets) for one in said]
    rows = _compared(rows, values, units)
    kept, kept_by = _choose(rows, crossed=crossed, inner=inner)
    best = next(one for one in said if one.row.name == kept.name)
    count = int(units.max()) + 1
    unit = "video" if count == len(judged) else "group"
    return Results(
        main="lrap" if targets.multilabel else "top1",
        judged="out of fold" if crossed else "test part",
        videos=len(judged),
        unit=unit,
        units=count,
        kept=kept.name,
        kept_by=kept_by,
        trained_on="all videos" if crossed else "train part",
        verdict=verdict(rows, count, unit),
        rows=tuple(rows),
        classes=mean_classes(
            [
                class_table(members, p, targets.classes, multilabel=targets.multilabel, thresholds=least)
                for p, least in best.tables
            ]
        ),
        confusion=None if targets.multilabel else _summed([confusion(members, p) for p in best.test]),
        varied=varied,
        thresholds=None if best.final is None else tuple(best.final.tolist()),
    )


def _summed(tables: Sequence[tuple[tuple[int, ...], ...]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(sum, zip(*rows, strict=True))) for rows in zip(*tables, strict=True))


def _row(
    one: RowScores, values: NDArray[np.float64], members: NDArray[np.bool_], units: NDArray[np.int64], targets: Targets
) -> RowResult:
    each = [
        judge(members, probabilities, multilabel=targets.multilabel, thresholds=least)
        for probabilities, least in one.tables
    ]
    low, high = bootstrap_mean(values, units)
    main = "lrap" if targets.multilabel else "top1"
    model = one.row.model
    return RowResult(
        one.row.name,
        tuple(model.streams),
        model.head,
        model.fusion if len(model.streams) > 1 else "",
        one.parameters,
        {name: float(np.mean([metrics[name] for metrics in each])) for name in each[0]},
        low,
        high,
        tuple(metrics[main] for metrics in each),
        float(np.mean(one.val)) if one.val else None,
        None,
    )


def _compared(
    rows: list[RowResult], values: Mapping[str, NDArray[np.float64]], units: NDArray[np.int64]
) -> list[RowResult]:
    """Compare every row of several streams with the best single stream."""
    singles = [row for row in rows if not row.fusion]
    fused = [row for row in rows if row.fusion]
    if not singles or not fused:
        return rows
    best = max(singles, key=lambda row: np.mean(row.seeds))
    differences = {row.name: values[row.name] - values[best.name] for row in fused}
    corrected = holm([sign_flip_p(difference, units) for difference in differences.values()])
    versus = {}
    for (name, difference), p in zip(differences.items(), corrected, strict=True):
        low, high = bootstrap_mean(difference, units, lowest=-1.0, together=len(differences))
        versus[name] = Versus(best.name, float(difference.mean()), low, high, p)
    return [replace(row, versus=versus.get(row.name)) for row in rows]


def _choose(rows: Sequence[RowResult], *, crossed: bool, inner: bool) -> tuple[RowResult, str]:
    """Choose the row to keep: never by a test part; a tie goes to fewer streams, then to the earlier row."""
    if len(rows) == 1:
        return rows[0], "the only row"
    if crossed:
        kept = max(rows, key=lambda row: (round(float(np.mean(row.seeds)), 9), -len(row.streams)))
        return kept, "best out of fold, so its own number is a little too good"
    if all(row.selection is not None for row in rows):
        kept = max(rows, key=lambda row: (round(row.selection or 0, 9), -len(row.streams)))
        return kept, f"best {'in inner folds of the training' if inner else 'on the validation'} part"
    fused = [row for row in rows if row.fusion]
    return (fused or list(rows))[0], "the first fusion, since nothing is held out of training to choose by"


def verdict(rows: Sequence[RowResult], units: int, unit: str) -> str:
    """Say in one sentence whether fusion helps; empty when nothing was fused and compared.

    It helps when the test says so, and does not when the intervals of all fusions end below `USEFUL`: else no
    difference is shown, either way.

    Args:
        rows: all of them.
        units: how many units the test permutes.
        unit: what they are.
    """
    fused = {row.name: row.versus for row in rows if row.versus}
    if not fused:
        return ""
    best = max((row for row in rows if row.name in fused), key=lambda row: np.mean(row.seeds))
    against = fused[best.name]
    single = next(row for row in rows if row.name == against.row)
    mine, theirs = 100 * float(np.mean(best.seeds)), 100 * float(np.mean(single.seeds))
    gain = (
        f"{best.name} {mine:.1f} % against {theirs:.1f} % of {single.name} alone ({100 * against.difference:+.1f} "
        f"points, {interval_words(len(fused))} {100 * against.low:+.1f} to {100 * against.high:+.1f}, "
        f"p = {against.p:.2g})"
    )
    if against.p < SIGNIFICANT and against.difference > 0:
        return f"Fusion helps: {gain}."
    if all(versus.high < USEFUL for versus in fused.values()):
        return (
            f"Fusion does not help here: the best fusion is {gain}, and a gain of {100 * USEFUL:g} points is "
            f"excluded. Use {single.name} alone."
        )
    if out_of_reach := reach(units, unit, len(fused)):
        return f"Whether fusion helps can not be shown here: {gain}; {out_of_reach}."
    return f"No difference is shown between fusion and {single.name} alone: {gain}, over {counted(units, unit)}."
