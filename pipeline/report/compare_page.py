"""A comparison of runs as one HTML file."""

from pipeline.learn.records import SHOWN
from pipeline.learn.statistics import SIGNIFICANT, USEFUL, interval_words, reach, units_words
from pipeline.report.charts import (
    CLASSES_SHOWN,
    Interval,
    Scale,
    intervals_chart,
    percent,
    plus,
    spots_chart,
    with_unit,
)
from pipeline.report.compare import Comparison, Pair
from pipeline.report.markup import Markup, join, name_of, tag
from pipeline.report.page import document
from pipeline.report.scatter import COLOURS

_MAIN = {"top1": "top-1 accuracy", "lrap": "label ranking average precision"}


def compare_page(comparison: Comparison) -> str:
    """Lay a comparison out as one HTML document."""
    title = headline(comparison)
    sections = [("How good each is", _contenders(comparison)), ("Each two of them", _pairs(comparison)),
                ("Class by class", _classes(comparison)), ("What was done differently", _settings(comparison))]
    count = len(comparison.contenders)
    words = (f"{count} runs on the {comparison.videos:,} videos that all of them judged. Intervals by bootstrap, p by "
             f"a paired test, both over {units_words(comparison.units, comparison.unit)}.")
    return document(title, [tag("header", tag("p", "Comparison of runs", class_="over"), tag("h1", title),
                                tag("p", words)),
                            *(tag("section", tag("h2", heading), content) for heading, content in sections)])


def headline(comparison: Comparison) -> str:
    """Say in one sentence how the best run stands to the next best."""
    best, second = sorted(comparison.contenders, key=lambda one: -one.value)[:2]
    pair = next(p for p in comparison.pairs if {p.first, p.second} == {best.title, second.title})
    low, high = (pair.low, pair.high) if pair.second == best.title else (-pair.high, -pair.low)
    if pair.p < SIGNIFICANT and pair.difference:
        return (f"{best.title} is ahead of {second.title} by {100 * abs(pair.difference):.1f} points "
                f"(p = {pair.p:.2g})")
    found = (f"{100 * abs(pair.difference):+.1f} points, {interval_words(len(comparison.pairs))} {100 * low:+.1f} to "
             f"{100 * high:+.1f}, p = {pair.p:.2g}")
    if low > -USEFUL and high < USEFUL:
        return f"{best.title} and {second.title} differ by less than {100 * USEFUL:g} points ({found})"
    out_of_reach = reach(comparison.units, comparison.unit, len(comparison.pairs))
    return (f"No difference is shown between {best.title} and {second.title} ({found}"
            f"{'; ' if out_of_reach else ''}{out_of_reach})")


def several_seeds(comparison: Comparison) -> bool:
    """Whether a run among them was trained with several seeds."""
    return any(len(one.seeds) > 1 for one in comparison.contenders)


def varied(comparison: Comparison) -> str:
    """Name what numbers are means over: `seeds`, `repeats`, or both where runs differ in that."""
    return " or ".join(sorted({one.varied for one in comparison.contenders if len(one.seeds) > 1}, reverse=True))


def _contenders(comparison: Comparison) -> Markup:
    rows = [Interval(one.title, one.value, one.low, one.high, f"k{index % COLOURS}",
                     f"{percent(one.low)} to {percent(one.high)}", one.row, one.seeds)
            for index, one in enumerate(comparison.contenders)]
    chart = intervals_chart(rows, heads=("run", "% and 95 % interval", "row"), label="runs compared")
    titles = {"map": "mAP", "lrap": "LRAP", "top1": "top-1"} | SHOWN[comparison.main]
    names = [name for name in titles if name in comparison.contenders[0].metrics]
    head = tag("tr", tag("th", "run", scope="col"), *(tag("th", titles[name], scope="col", class_="num")
                                                      for name in names))
    body = [tag("tr", tag("td", name_of(one.title)), *(tag("td", percent(one.metrics[name]), class_="num")
                                                       for name in names)) for one in comparison.contenders]
    table = tag("table", tag("thead", head), tag("tbody", *body))
    words = f"The {_MAIN[comparison.main]} with its 95 % interval, and every other number in %."
    if several_seeds(comparison):
        words += f" Numbers are means over a run's {varied(comparison)}; a stroke is one of them."
    return join([tag("p", words), chart,
                 tag("div", table, class_="scroll")])


def _pairs(comparison: Comparison) -> Markup:
    ends = [value for pair in comparison.pairs for value in (pair.low, pair.high, 0.0)]
    low, high = min(ends), max(ends)
    scale = Scale(low - 0.05 * (high - low) - 0.005, high + 0.05 * (high - low) + 0.005)
    rows = [Interval(f"{pair.second} − {pair.first}", pair.difference, pair.low, pair.high,
                     "fused" if pair.p < SIGNIFICANT else "single", f"{plus(pair.low)} to {plus(pair.high)}",
                     join([f"p = {pair.p:.2g}", tag("small", f"  {_counts(pair)}")])) for pair in comparison.pairs]
    words = (f"The difference on the same videos, in points, and its {interval_words(len(rows))}; blue where it is "
             "not put down to chance (p below 0.05, "
             "corrected for the number of pairs by Holm's method). In the last column, how many videos only one of the "
             "two gets right" + (" (or ranks better)." if comparison.main == "lrap" else "."))
    if several_seeds(comparison):
        words += (f" With several {varied(comparison)} a video's value is the mean over them, and the last column "
                  "counts the videos that one of the two gets right more often.")
    return join([tag("p", words), intervals_chart(
        rows, heads=("pair", "points and interval", "p, only one right"), label="differences of each two runs",
        scale=scale, reference=0.0, signed=True)])


def _counts(pair: Pair) -> str:
    return f"{pair.only_second} : {pair.only_first}"


def _classes(comparison: Comparison) -> Markup:
    def spread(name: str) -> float:
        recalls = [one.recalls[name] for one in comparison.contenders]
        return max(recalls) - min(recalls)

    order = sorted(comparison.supports, key=lambda name: (-spread(name), name))
    rows = [(name, comparison.supports[name], [one.recalls[name] for one in comparison.contenders]) for name in order]
    key = join([join([tag("i", "●", class_=f"t-k{index % COLOURS}"), " ", name_of(one.title)])
                for index, one in enumerate(comparison.contenders)], "   ")
    chart = spots_chart(rows[:CLASSES_SHOWN], key)
    more = len(rows) - CLASSES_SHOWN
    rest = tag("details", tag("summary", f"The other {more} classes, where runs differ less"),
               spots_chart(rows[CLASSES_SHOWN:], key)) if more > 0 else None
    return join([tag("p", "The share of each class's videos that is found; where runs differ most comes first."), chart,
                 rest])


def _settings(comparison: Comparison) -> Markup:
    if not comparison.differing:
        return tag("p", "Nothing: all settings are the same.")
    head = tag("tr", tag("th", "setting", scope="col"),
               *(tag("th", name_of(one.title), scope="col") for one in comparison.contenders))
    rows = [tag("tr", tag("td", name), *(tag("td", name_of(value)) for value in values))
            for name, values in comparison.differing.items()]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), class_="scroll")


def summary_of(comparison: Comparison) -> str:
    """Say what the intervals and p-values of the text tables are."""
    exact = (comparison.main, comparison.unit) == ("top1", "video") and not several_seeds(comparison)
    test = "exact McNemar test" if exact else "paired sign-flip test"
    seeds = f"; a video's value is the mean over a run's {varied(comparison)}" if several_seeds(comparison) else ""
    best = max(comparison.contenders, key=lambda one: one.value)
    pairs = len(comparison.pairs)
    several = f", those of the {pairs} pairs 95 % together" if pairs > 1 else ""
    return (f"{comparison.videos} shared videos; 95 % intervals{several}, by bootstrap over "
            f"{units_words(comparison.units, comparison.unit)}; p by {test}, corrected for {pairs} pair"
            f"{'' if pairs == 1 else 's'} (Holm){seeds}\n"
            f"{headline(comparison)}; {best.title} {with_unit(best.value)}")
