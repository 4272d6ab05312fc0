"""Plain-text tables for the terminal."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from schemas.words import counted

if TYPE_CHECKING:
    from pipeline.exchange.fusing import FusedScores
    from pipeline.learn.evaluate import Evaluation
    from pipeline.learn.runs.records import Results, RowResult

MAIN_NAMES = {"top1": "top-1", "lrap": "LRAP"}
NO_GROUPS = "if some belong together, --group-by REGEX or a column `group` of --labels says so"
LRAP = "videos have several labels: LRAP is the label ranking average precision, interval and test are of it"
F1 = "F1 is that of thresholds by class, fitted on videos of other folds or on those held out of training"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align cells without a header, all to the left: one line a row."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def results_table(results: "Results") -> str:
    """Lay out a run's results: one line a row, then what they mean."""
    from pipeline.learn.judging.statistics import units_words
    from pipeline.learn.runs.records import SHOWN

    main = MAIN_NAMES[results.main]
    several = results.seeds > 1
    compared = any(row.versus for row in results.rows)
    header = [
        "row",
        *(["mAP %"] if results.main == "lrap" else []),
        f"{main} %",
        "95 % interval",
        *([f"± {results.varied}"] if several else []),
        *SHOWN[results.main].values(),
        *(["vs best stream", "p"] if compared else []),
    ]
    rows = [_line(row, results, several=several, compared=compared) for row in results.rows]
    head = results.rows[0].head
    test = "; p by paired sign-flip test, corrected for the number of fusions (Holm)" if compared else ""
    test += f"; {results.reach}" if results.reach else ""
    seeds = (
        f"; every number the mean over {results.times}, ± the standard deviation {results.spread}" if several else ""
    )
    notes = [
        f"{counted(results.videos, 'video')}, {results.judged}; head {head}{seeds}; interval by bootstrap over "
        f"{units_words(results.units, results.unit)}{test}",
        *([NO_GROUPS] if results.unit == "video" else []),
        f"kept: {results.kept} ({results.kept_by}), trained on {results.trained_on}"
        + (" with the first seed" if several else ""),
    ]
    if results.main == "lrap":
        notes[:0] = [LRAP, F1]
    return "\n".join([table(header, rows), "", *notes, *([results.verdict] if results.verdict else [])])


def _line(row: "RowResult", results: "Results", *, several: bool, compared: bool) -> list[str]:
    cells = [
        row.name + (" *" if row.name == results.kept else ""),
        *([_percent(row.metrics["map"])] if results.main == "lrap" else []),
        _percent(fmean(row.seeds)),
        f"{_percent(row.low)} to {_percent(row.high)}",
    ]
    from pipeline.learn.runs.records import SHOWN

    cells += [_percent(stdev(row.seeds))] if several else []
    cells += [_percent(row.metrics[name]) for name in SHOWN[results.main]]
    if compared:
        cells += [f"{100 * row.versus.difference:+.1f}", f"{row.versus.p:.2g}"] if row.versus else ["", ""]
    return cells


def evaluation_table(evaluation: "Evaluation") -> str:
    """Lay out what `evaluate` found."""
    from pipeline.learn.judging.statistics import units_words

    header = ["class", "videos", "precision", "recall", "AP"]
    rows = [
        [one.name, str(one.support), _percent(one.precision), _percent(one.recall), _percent(one.average_precision)]
        for one in evaluation.classes
    ]
    numbers = "  ".join(
        f"{name} {_percent(value) if name != 'loss' else f'{value:.3f}'}" for name, value in evaluation.metrics.items()
    )
    seen = (
        f"\nwarning: {evaluation.seen} of these videos {'was' if evaluation.seen == 1 else 'were'} in the model's "
        "training; numbers are too good"
        if evaluation.seen
        else ""
    )
    interval = (
        f"{MAIN_NAMES[evaluation.main]} 95 % interval {_percent(evaluation.low)} to {_percent(evaluation.high)}"
        f", by bootstrap over {units_words(evaluation.units, evaluation.unit)}"
    )
    part = "" if evaluation.part == "all" else f", {evaluation.part} part"
    return f"{table(header, rows)}\n\n{counted(evaluation.videos, 'video')}{part}: {numbers}\n{interval}{seen}"


def fusion_table(fused: "FusedScores") -> str:
    """Lay out what `fuse` found; two digits, since published numbers have them."""
    from pipeline.learn.judging.statistics import reach, units_words

    weights = ", ".join(f"{weight:.3g}" for weight in fused.weights)
    if not fused.rows:
        return f"{counted(fused.videos, 'video')} fused with weights {weights}; without labels nothing is judged"
    header = ["scores", "weight", f"{MAIN_NAMES[fused.main]} %", "95 % interval", "top-5 %", "p against fused"]
    rows = [
        [
            one.title,
            "" if one.weight is None else f"{one.weight:.3g}",
            f"{100 * one.main:.2f}",
            f"{100 * one.low:.2f} to {100 * one.high:.2f}",
            f"{100 * one.top5:.2f}",
            "" if one.p is None else f"{one.p:.2g}",
        ]
        for one in fused.rows
    ]
    how = "; weights fitted, each half of the videos judged with those of the other half" if fused.fitted else ""
    out_of_reach = reach(fused.units, fused.unit, 1)
    over = (
        f"; intervals by bootstrap and p by paired sign-flip test, each as if it were the only one, over "
        f"{units_words(fused.units, fused.unit)}"
    )
    notes = f"{counted(fused.videos, 'video')}, joined by name{how}{over}{'; ' if out_of_reach else ''}{out_of_reach}"
    return "\n".join(
        [
            table(header, rows),
            "",
            notes,
            *([NO_GROUPS] if fused.unit == "video" else []),
            *([LRAP] if fused.main == "lrap" else []),
        ]
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
