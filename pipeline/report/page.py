"""The report: one HTML file that needs nothing else, not even a network or a script."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.learn.run import Results, RowResult
from pipeline.learn.statistics import COVERAGE, units_words
from pipeline.report import charts
from pipeline.report.curves import curves_chart
from pipeline.report.data import Mistake, ReportData
from pipeline.report.markup import Markup, join, name_of, tag
from pipeline.report.matrix import confused_list, confusion_chart
from pipeline.report.projection import FeatureMap
from pipeline.report.scatter import scatter_chart
from pipeline.report.style import STYLE
from pipeline.report.thumbs import Thumb, png
from workers.flow.draw import wheel_picture

LIST_FIRST = 14  # with more classes than these the confusions are listed before they are drawn
# The page may load nothing and run nothing: what slipped through the escaping would still be dead.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_WHEEL = ("Key to the colours of motion: red to the right, yellow down, blue to the left, violet up; the rim is the "
          "full scale.")
_MAIN = {"top1": "top-1 accuracy", "lrap": "label ranking average precision"}


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a report shows beside the run's own numbers.

    Attributes:
        mistakes: the hardest mistakes with their thumbnails.
        chart: the map of features, or None.
        no_chart: why there is no map.
    """

    mistakes: Sequence[tuple[Mistake, Thumb]]
    chart: FeatureMap | None
    no_chart: str = ""


def report_page(data: ReportData, pictures: Pictures) -> str:
    """Lay a report out as one HTML document."""
    sections = [section for section in (
        _rows(data), _classes(data), _confusion(data), _mistakes(data, pictures), _calibration(data),
        _map(data, pictures), _curves(data), _provenance(data)) if section is not None]
    links = [tag("a", title, href=f"#{anchor}") for anchor, title, _ in sections]
    body = [_head(data), tag("nav", *links, aria_label="contents"),
            *(tag("section", tag("h2", title), content, id=anchor) for anchor, title, content in sections),
            tag("footer", "Made by vidu-pipe. All numbers on this page are in the run's results.json, scores.npz, "
                "predictions.csv and metrics.jsonl.")]
    return document(f"{data.name}: {_headline(data.results)}", body)


def document(title: str, body: Sequence[Markup]) -> str:
    """Wrap a page's body into a self-contained HTML document."""
    head = [tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            tag("title", title), tag("style", Markup(STYLE))]
    return "<!doctype html>\n" + tag("html", tag("head", *head), tag("body", tag("main", *body)), lang="en") + "\n"


Section = tuple[str, str, Markup]


def _headline(results: Results) -> str:
    main = charts.with_unit(float(np.mean(results.row(results.kept).seeds)))
    average = f", on average over {results.times}" if results.seeds > 1 else ""
    if results.main == "lrap":
        return (f"{results.kept} ranks the labels of {results.videos:,} videos with an average precision of {main}"
                f"{average}")
    return f"{results.kept} gets {main} of {results.videos:,} videos right{average}"


def _head(data: ReportData) -> Markup:
    results, kept = data.results, data.results.row(data.results.kept)
    unseen = ("each judged by a model that had not seen it" if results.judged == "out of fold"
              else "the test part, which training never saw")
    sure = (f"{_MAIN[results.main][0].upper()}{_MAIN[results.main][1:]} with its 95 % interval: "
            f"{charts.percent(kept.low)} to {charts.with_unit(kept.high)} (bootstrap over "
            f"{units_words(results.units, results.unit)}); {results.videos:,} videos of {len(data.classes)} classes, "
            f"{unseen}.")
    chance = ""
    if not data.multilabel:
        common = max(data.results.classes, key=lambda one: one.support)
        chance = (f" Always saying “{common.name}”, the most frequent class, would get "
                  f"{charts.with_unit(common.support / results.videos)} right.")
    return tag("header", tag("p", "Run ", name_of(data.name), class_="over"), tag("h1", _headline(results)),
               tag("p", results.verdict, class_="lead") if results.verdict else None, tag("p", sure, chance),
               _tiles(kept, data))


def _tiles(kept: RowResult, data: ReportData) -> Markup:
    shown = [("top-1", "top1", "right at first"), ("top-5", "top5", "among the first five"),
             ("mean class", "mean_class", "mean recall of the classes"), ("mAP", "map", "mean average precision"),
             ("macro F1", "f1_macro", "mean over classes"), ("micro F1", "f1_micro", "over all labels"),
             ("ECE", "ece", "calibration error"), ("LRAP", "lrap", "label ranking")]
    tiles = [tag("div", tag("dt", title), tag("dd", charts.with_unit(kept.metrics[name]), tag("small", words)),
                 class_="tile") for title, name, words in shown
             if name in kept.metrics and (name != "top5" or len(data.classes) > 5)]
    streams = " + ".join(kept.streams)
    model = tag("div", tag("dt", "kept model"),
                tag("dd", kept.head, tag("small", f"{streams}, {kept.parameters:,} parameters")), class_="tile")
    return tag("dl", *tiles, model, class_="tiles")


def _rows(data: ReportData) -> Section:
    results = data.results
    several = len(results.rows) > 1
    words = ["A dot is the ", _MAIN[results.main], ", its bar the 95 % bootstrap interval",
             "; grey: one stream alone, blue: streams fused" if several else "", ". ",
             f"Intervals are by a bootstrap that draws whole {results.unit}s, widened by Student's t for their number "
             "(Hesterberg 2015), with a made-up one all right and a made-up one all wrong among those drawn: "
             f"{COVERAGE}. "]
    if results.seeds > 1:
        words.append(f"Every number is the mean over {results.times}; a stroke is one of them, ± the "
                     f"standard deviation {results.spread}. ")
    if any(row.versus for row in results.rows):
        words += ["Differences are paired, on the same videos; p by a sign-flip test over ", f"{results.unit}s",
                  ", corrected for the number of fusions (Holm)", f"; {results.reach}" if results.reach else "", ". "]
    first = " with the first seed" if results.seeds > 1 else ""
    words += [f"Kept: {results.kept} ({results.kept_by}), trained on {results.trained_on}{first}."]
    title = "Which stream carries the label" if several else "How good it is, and how sure that is"
    return "rows", title, join([tag("p", *words), charts.rows_chart(results)])


def _classes(data: ReportData) -> Section:
    words = ("Recall: the share of a class's videos that is found. Precision: the share that is right where the class "
             "is said. The class that is missed most comes first."
             + (f" Both are the mean over {data.results.times}." if data.results.seeds > 1 else ""))
    return "classes", "Class by class", join([tag("p", words), charts.classes_chart(data.results.classes)])


def _confusion(data: ReportData) -> Section | None:
    if data.results.confusion is None:
        return None
    words = ("A row is the truth, a column what the model said; blue on the diagonal is right, red off it is wrong, "
             "the stronger the larger its share of the row."
             + (f" Of all {data.results.times}: every video stands there {data.results.seeds} times."
                if data.results.seeds > 1 else ""))
    pairs = confused_list(data.confused) if data.confused else tag("p", "Nothing was confused.")
    matrix = confusion_chart(data.results.confusion, data.classes)
    # a large matrix shows a pattern, but it is the list one reads
    parts = (tag("div", matrix, tag("div", pairs), class_="two") if len(data.classes) <= LIST_FIRST
             else tag("div", pairs, matrix))
    return "confusion", "What is taken for what", join([tag("p", words), parts])


def _mistakes(data: ReportData, pictures: Pictures) -> Section:
    if not data.mistakes:
        return "mistakes", "Hardest mistakes", tag("p", "There is not one mistake among the judged videos.")
    seeds, times = data.results.seeds, data.results.times
    words = (f"{len(data.mistakes):,} of {data.results.videos:,} videos are mistaken" + (
        f" with one of {times} or more ({data.wrong:,} of {data.judgements:,} judgements); here those where the "
        "models were surest of the wrong class, by the mean of their probabilities. " if seeds > 1 else
        "; here those where the model was surest of the wrong class. "))
    drawn = any(thumb.flow for _, thumb in pictures.mistakes)
    wheel = tag("img", src=png(wheel_picture(120)), class_="wheel", alt=_WHEEL) if drawn else None
    key = ("Left the frame in the middle of the video, right how it moves: the hue is the direction as in the wheel, "
           "the strength the distance, full at the scale that stands below.") if drawn else ""
    cards = [_card(mistake, thumb, times if seeds > 1 else "") for mistake, thumb in pictures.mistakes]
    return "mistakes", "Hardest mistakes", join([wheel, tag("p", words, key), tag("div", *cards, class_="cards")])


def _card(mistake: Mistake, thumb: Thumb, times: str) -> Markup:
    pictures = [tag("img", src=source, alt=f"{what} of {mistake.video}", loading="lazy")
                for source, what in ((thumb.frame, "a frame"), (thumb.flow, "coloured motion")) if source]
    where = [f"at {thumb.pts_s:.1f} s" if thumb.frame else "", f"full colour {thumb.scale_px:g} px a frame"
             if thumb.flow else "", thumb.trouble, f"wrong with {mistake.seeds} of {times}" if times else ""]
    return tag("figure", tag("div", *pictures, class_="pics") if pictures else None,
               tag("p", "said ", tag("span", name_of(mistake.said), f" {charts.with_unit(mistake.p_said)}",
                                     class_="said"),
                   ", is ", tag("span", name_of(mistake.truth), f" {charts.with_unit(mistake.p_truth)}",
                                            class_="true")),
               tag("p", name_of(mistake.video), tag("br"), ", ".join(part for part in where if part), class_="id"),
               class_="card")


def _calibration(data: ReportData) -> Section:
    ece = data.results.row(data.results.kept).metrics["ece"]
    words = ["A dot is the videos of which the model was about that sure; the larger, the more. On the dashed line it "
             "would be right exactly as often as it is sure. The mean distance from the line, each video counting the "
             f"same, is the calibration error: {charts.with_unit(ece)}."]
    if data.results.seeds > 1:
        words.append(f" The dots put all {data.results.times} together; the error is the mean of their own.")
    return "calibration", "Can its probabilities be trusted", tag(
        "div", tag("p", *words), charts.calibration_chart(data.bins), class_="two")


def _map(data: ReportData, pictures: Pictures) -> Section:
    title, chart = "Map of the features", pictures.chart
    if chart is None:
        return "map", title, tag("p", "No map: ", pictures.no_chart)
    sample = f"A sample of {len(chart.points):,} of the {chart.videos:,} videos" \
        if len(chart.points) < chart.videos else f"The {chart.videos:,} videos"
    words = (f"{sample} by the mean of their {' and '.join(chart.streams)} features, before any training: what lies "
             "apart here is easy to tell apart. A hollow mark is a video that the kept row mistakes"
             + (f" with half of {data.results.times} or more." if data.results.seeds > 1 else "."))
    return "map", title, join([tag("p", words), scatter_chart(chart)])


def _curves(data: ReportData) -> Section | None:
    if not data.curves:
        return None
    most = max(curve.trainings for curve in data.curves)
    band = f" Lines are the mean of {most} trainings (folds and seeds), bands their range." if most > 1 else ""
    several = " Accuracy: the first class said is one of the video's labels." if data.multilabel else ""
    late = [row.name for row in data.results.rows if row.name not in {curve.row for curve in data.curves}]
    put = f" Fitted in one go, or put together from trained streams: {', '.join(late)}." if late else ""
    return "curves", "How training went", join([
        tag("p", f"By epoch.{band}{several}{put}"), curves_chart(data.curves)])


def _provenance(data: ReportData) -> Section:
    parts = [tag("div", tag("h3", title), tag("table", tag("tbody", *(
        tag("tr", tag("td", key), tag("td", name_of(value))) for key, value in lines))))
        for title, lines in data.provenance.items()]
    return "provenance", "Where it comes from", tag("div", *parts, class_="prov")
