"""The report: one HTML file that needs nothing else, not even a network or a script."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.learn.judging.statistics import COVERAGE, units_words
from pipeline.learn.runs.records import ClassResult, Results, RowResult
from pipeline.report.drawing import charts
from pipeline.report.drawing.curves import curves_chart
from pipeline.report.drawing.markup import Markup
from pipeline.report.drawing.matrix import confusion_chart
from pipeline.report.drawing.scatter import scatter_chart
from pipeline.report.drawing.thumbs import Thumb, png
from pipeline.report.facts.facts import Mistake, ReportData
from pipeline.report.facts.projection import FeatureMap
from pipeline.report.pages import render
from schemas.words import counted
from workers.flow.files.drawing import wheel_picture

LIST_FIRST = 14  # with more classes than these the confusions are listed before they are drawn
CONFUSIONS_SHOWN = 14
MAIN_TITLES = {"top1": "top-1 accuracy", "lrap": "label ranking average precision"}
_TILES = (
    ("top-1", "top1", "right at first"),
    ("top-5", "top5", "among the first five"),
    ("mean class", "mean_class", "mean recall of the classes"),
    ("mAP", "map", "mean average precision"),
    ("macro F1", "f1_macro", "mean over classes"),
    ("micro F1", "f1_micro", "over all labels"),
    ("ECE", "ece", "calibration error"),
    ("LRAP", "lrap", "label ranking"),
)


@dataclass(frozen=True, slots=True)
class Illustrations:
    """What a report shows beside the run's own numbers.

    Attributes:
        mistakes: the hardest mistakes with their thumbnails.
        chart: the map of features, or None.
        no_chart: why there is no map.
    """

    mistakes: Sequence[tuple[Mistake, Thumb]]
    chart: FeatureMap | None
    no_chart: str = ""


def report_page(data: ReportData, pictures: Illustrations) -> str:
    """Lay a report out as one HTML document, by `templates/report.html`."""
    results, kept = data.results, data.results.row(data.results.kept)
    headline = _headline(results)
    drawn = any(thumb.flow for _, thumb in pictures.mistakes)
    trained = {curve.row for curve in data.curves}
    return render(
        "report.html",
        title=f"{data.name}: {headline}",
        headline=headline,
        data=data,
        pictures=pictures,
        kept=kept,
        main=MAIN_TITLES[results.main],
        titles=_titles(data),
        tiles=_tiles(kept, data),
        common=_most_common(data),
        units=units_words(results.units, results.unit),
        coverage=COVERAGE,
        charts=_charts(data, pictures),
        confused=[
            (pair.truth, pair.said, f"{pair.videos} of {pair.of}", charts.percent(pair.videos / pair.of))
            for pair in data.confused[:CONFUSIONS_SHOWN]
        ],
        rarer=len(data.confused) - CONFUSIONS_SHOWN,
        list_first=len(data.classes) > LIST_FIRST,
        wheel=png(wheel_picture(120)) if drawn else "",
        trainings=max((curve.trainings for curve in data.curves), default=0),
        late=[row.name for row in results.rows if row.name not in trained],
    )


def _titles(data: ReportData) -> dict[str, str]:
    """Anchor -> heading of every section that the report has, in order."""
    several = len(data.results.rows) > 1
    titles = {
        "rows": "Which stream carries the label" if several else "How good it is, and how sure that is",
        "classes": "Class by class",
        "confusion": "What is taken for what",
        "mistakes": "Hardest mistakes",
        "calibration": "Can its probabilities be trusted",
        "map": "Map of the features",
        "curves": "How training went",
        "provenance": "Where it comes from",
    }
    absent = {"confusion"} if data.results.confusion is None else set()
    absent |= set() if data.curves else {"curves"}
    return {anchor: title for anchor, title in titles.items() if anchor not in absent}


def _charts(data: ReportData, pictures: Illustrations) -> dict[str, Markup]:
    results = data.results
    drawn = {
        "rows": charts.rows_chart(results),
        "classes": charts.classes_chart(results.classes),
        "calibration": charts.calibration_chart(data.bins),
    }
    if results.confusion is not None:
        drawn["confusion"] = confusion_chart(results.confusion, data.classes)
    if pictures.chart is not None:
        drawn["map"] = scatter_chart(pictures.chart)
    if data.curves:
        drawn["curves"] = curves_chart(data.curves)
    return drawn


def _headline(results: Results) -> str:
    main = charts.with_unit(float(np.mean(results.row(results.kept).seeds)))
    average = f", on average over {results.times}" if results.seeds > 1 else ""
    if results.main == "lrap":
        return (
            f"{results.kept} ranks the labels of {counted(results.videos, 'video')} with an average precision of "
            f"{main}{average}"
        )
    return f"{results.kept} gets {main} of {counted(results.videos, 'video')} right{average}"


def _most_common(data: ReportData) -> ClassResult | None:
    return None if data.multilabel else max(data.results.classes, key=lambda one: one.support)


def _tiles(kept: RowResult, data: ReportData) -> list[tuple[str, str, str]]:
    """(what, its value, what that means) of the numbers at the top."""
    shown = [
        (title, charts.with_unit(kept.metrics[name]), words)
        for title, name, words in _TILES
        if name in kept.metrics and (name != "top5" or len(data.classes) > 5)
    ]
    streams = " + ".join(kept.streams)
    return [*shown, ("kept model", kept.head, f"{streams}, {counted(kept.parameters, 'parameter')}")]
