"""A comparison of runs as one HTML file."""

from pipeline.learn.judging.statistics import SIGNIFICANT, USEFUL, interval_words, reach, units_words
from pipeline.learn.runs.records import SHOWN
from pipeline.report.drawing.charts import (
    CLASSES_SHOWN,
    Interval,
    Scale,
    intervals_chart,
    percent,
    plus,
    spots_chart,
    with_unit,
)
from pipeline.report.drawing.markup import Markup, join, name_of, tag
from pipeline.report.drawing.scatter import COLOURS
from pipeline.report.facts.compare import Comparison, Pair
from pipeline.report.pages import render
from pipeline.report.pages.page import MAIN_TITLES
from schemas.words import counted

Table = dict[str, list[tuple[str, ...]] | list[tuple[str, bool]]]  # heads: (words, is a number); rows of cells


def compare_page(comparison: Comparison) -> str:
    """Lay a comparison out as one HTML document, by `templates/compare.html`."""
    return render(
        "compare.html",
        title=headline(comparison),
        comparison=comparison,
        main=MAIN_TITLES[comparison.main],
        units=units_words(comparison.units, comparison.unit),
        interval=interval_words(len(comparison.pairs)),
        varied=varied(comparison) if several_seeds(comparison) else "",
        metrics=_metrics(comparison),
        settings=_settings(comparison),
        more=len(comparison.supports) - CLASSES_SHOWN,
        charts={"contenders": _contenders(comparison), "pairs": _pairs(comparison)} | _classes(comparison),
    )


def headline(comparison: Comparison) -> str:
    """Say in one sentence how the best run stands to the next best."""
    best, second = sorted(comparison.contenders, key=lambda one: -one.value)[:2]
    pair = next(p for p in comparison.pairs if {p.first, p.second} == {best.title, second.title})
    low, high = (pair.low, pair.high) if pair.second == best.title else (-pair.high, -pair.low)
    if pair.p < SIGNIFICANT and pair.difference:
        return f"{best.title} is ahead of {second.title} by {100 * abs(pair.difference):.1f} points (p = {pair.p:.2g})"
    found = (
        f"{100 * abs(pair.difference):+.1f} points, {interval_words(len(comparison.pairs))} {100 * low:+.1f} to "
        f"{100 * high:+.1f}, p = {pair.p:.2g}"
    )
    if low > -USEFUL and high < USEFUL:
        return f"{best.title} and {second.title} differ by less than {100 * USEFUL:g} points ({found})"
    out_of_reach = reach(comparison.units, comparison.unit, len(comparison.pairs))
    return (
        f"No difference is shown between {best.title} and {second.title} ({found}"
        f"{'; ' if out_of_reach else ''}{out_of_reach})"
    )


def several_seeds(comparison: Comparison) -> bool:
    """Whether a run among them was trained with several seeds."""
    return any(len(one.seeds) > 1 for one in comparison.contenders)


def varied(comparison: Comparison) -> str:
    """Name what numbers are means over: `seeds`, `repeats`, or both where runs differ in that."""
    return " or ".join(sorted({one.varied for one in comparison.contenders if len(one.seeds) > 1}, reverse=True))


def _contenders(comparison: Comparison) -> Markup:
    rows = [
        Interval(
            one.title,
            one.value,
            one.low,
            one.high,
            f"k{index % COLOURS}",
            f"{percent(one.low)} to {percent(one.high)}",
            one.row,
            one.seeds,
        )
        for index, one in enumerate(comparison.contenders)
    ]
    return intervals_chart(rows, heads=("run", "% and 95 % interval", "row"), label="runs compared")


def _metrics(comparison: Comparison) -> Table:
    titles = {"map": "mAP", "lrap": "LRAP", "top1": "top-1"} | SHOWN[comparison.main]
    names = [name for name in titles if name in comparison.contenders[0].metrics]
    return {
        "heads": [("run", False), *((titles[name], True) for name in names)],
        "rows": [(one.title, *(percent(one.metrics[name]) for name in names)) for one in comparison.contenders],
    }


def _pairs(comparison: Comparison) -> Markup:
    ends = [value for pair in comparison.pairs for value in (pair.low, pair.high, 0.0)]
    low, high = min(ends), max(ends)
    scale = Scale(low - 0.05 * (high - low) - 0.005, high + 0.05 * (high - low) + 0.005)
    rows = [
        Interval(
            f"{pair.second} − {pair.first}",
            pair.difference,
            pair.low,
            pair.high,
            "fused" if pair.p < SIGNIFICANT else "single",
            f"{plus(pair.low)} to {plus(pair.high)}",
            join([f"p = {pair.p:.2g}", tag("small", f"  {_counts(pair)}")]),
        )
        for pair in comparison.pairs
    ]
    return intervals_chart(
        rows,
        heads=("pair", "points and interval", "p, only one right"),
        label="differences of each two runs",
        scale=scale,
        reference=0.0,
        signed=True,
    )


def _counts(pair: Pair) -> str:
    return f"{pair.only_second} : {pair.only_first}"


def _classes(comparison: Comparison) -> dict[str, Markup]:
    """Recall by class: of the classes where runs differ most, and of the others."""

    def spread(name: str) -> float:
        recalls = [one.recalls[name] for one in comparison.contenders]
        return max(recalls) - min(recalls)

    order = sorted(comparison.supports, key=lambda name: (-spread(name), name))
    rows = [(name, comparison.supports[name], [one.recalls[name] for one in comparison.contenders]) for name in order]
    key = join(
        [
            join([tag("i", "●", class_=f"t-k{index % COLOURS}"), " ", name_of(one.title)])
            for index, one in enumerate(comparison.contenders)
        ],
        "   ",
    )
    return {"classes": spots_chart(rows[:CLASSES_SHOWN], key), "other_classes": spots_chart(rows[CLASSES_SHOWN:], key)}


def _settings(comparison: Comparison) -> Table:
    return {
        "heads": [("setting", False), *((one.title, False) for one in comparison.contenders)],
        "rows": [(name, *values) for name, values in comparison.differing.items()],
    }


def summary_of(comparison: Comparison) -> str:
    """Say what the intervals and p-values of the text tables are."""
    exact = (comparison.main, comparison.unit) == ("top1", "video") and not several_seeds(comparison)
    test = "exact McNemar test" if exact else "paired sign-flip test"
    seeds = f"; a video's value is the mean over a run's {varied(comparison)}" if several_seeds(comparison) else ""
    best = max(comparison.contenders, key=lambda one: one.value)
    pairs = len(comparison.pairs)
    several = f", those of {counted(pairs, 'pair')} 95 % together" if pairs > 1 else ""
    return (
        f"{counted(comparison.videos, 'shared video')}; 95 % intervals{several}, by bootstrap over "
        f"{units_words(comparison.units, comparison.unit)}; p by {test}, corrected for {counted(pairs, 'pair')} "
        f"(Holm){seeds}\n"
        f"{headline(comparison)}; {best.title} {with_unit(best.value)}"
    )
