"""The report as a page: whole, self-contained, true to the run's files, and safe whatever names hold."""

import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.drawing.charts import CLASSES_SHOWN, Scale, percent, rows_chart
from pipeline.report.facts.facts import read_report
from pipeline.report.make import make_report, pictured
from pipeline.report.pages.page import Illustrations, report_page
from schemas.errors import StoreError
from tests.pipeline.report.pages import assert_self_contained, parse
from tests.pipeline.report.synthetic import make_run
from tests.pipeline.report.test_markup import HOSTILE


def page_of(run, **options):
    return parse(make_report(run.root, **options).read_text(encoding="utf-8"))


def test_a_report_is_one_whole_page_that_leads_nowhere(run):
    page = page_of(run)
    assert_self_contained(page)
    names = [tag for tag, _ in page.tags]
    assert [names.count(name) for name in ("html", "head", "body", "main", "h1")] == [1] * 5
    ids = page.attributes("id")
    assert len(set(ids)) == len(ids)
    assert {anchor.removeprefix("#") for anchor in page.attributes("href")} <= set(ids)
    assert [value for value in page.attributes("content") if "default-src 'none'" in value]


def test_every_drawing_speaks_to_those_who_do_not_see_it(run):
    page = page_of(run)
    open_svgs = [attributes for tag, attributes in page.tags if tag == "svg" and "viewbox" not in attributes]
    assert open_svgs
    assert all(attributes.get("aria-label") or attributes.get("aria-hidden") == "true" for attributes in open_svgs)
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")


def test_the_numbers_shown_are_those_of_the_run(run):
    page, results = page_of(run), run.results
    kept = results.row(results.kept)
    assert f"{results.kept} gets {percent(kept.metrics['top1'])}\u00a0% of 60 videos right" in page.text
    for name in ("top1", "top5", "mean_class", "map", "ece"):
        assert f"{percent(kept.metrics[name])}\u00a0%" in page.text
    for row in results.rows:
        assert f"{percent(np.mean(row.seeds))} {percent(row.low)} to {percent(row.high)}" in page.text
        if row.versus:
            assert f"{100 * row.versus.difference:+.1f} p = {row.versus.p:.2g}".replace("-", "−") in page.text
    for one in results.classes:
        assert re.search(rf"{one.name}(?:\s)*{percent(one.recall)}  {percent(one.precision)}{one.support}", page.text)
    assert results.verdict in page.text
    for mistake in read_report(run).mistakes[:12]:
        assert f"said {mistake.said} {percent(mistake.p_said)}\u00a0%, is {mistake.truth} " in page.text


def test_dots_and_bars_lie_where_the_numbers_say(run):
    text = make_report(run.root).read_text()
    results = run.results
    ends = [value for row in results.rows for value in (row.low, row.high)]
    scale = Scale(np.floor(min(ends) * 20) / 20, np.ceil(max(ends) * 20) / 20)
    for row in results.rows:
        place = 100 * (row.metrics["top1"] - scale.low) / (scale.high - scale.low)
        assert any(
            abs(float(found) - place) < 0.02
            for found in re.findall(r'<circle cx="([\d.]+)%" cy="13" r="5.5" class="dot ', text)
        )


def test_every_count_of_the_confusion_matrix_is_in_its_square(run):
    results, (classes, _) = run.results, run.labels()
    text = page_of(run).text
    for t, row in enumerate(results.confusion):
        for s, count in enumerate(row):
            said = "recognised" if t == s else f"taken for “{classes[s]}”"
            line = f"{count} of {sum(row)} videos of “{classes[t]}” {'was' if count == 1 else 'were'} {said}"
            assert (line in text) == (count > 0)


def test_hostile_names_of_videos_labels_and_runs_stay_text(tmp_path):
    # a label holds no semicolon, which parts labels, and no slash leads out of a name
    classes = sorted(name.replace(";", ",") for name in HOSTILE if "\x00" not in name and "\udcff" not in name)
    labels = np.arange(4 * len(classes)) % len(classes)
    names = [f"{HOSTILE[v % len(HOSTILE)]}_{v}".replace("\x00", "\x01") for v in range(len(labels))]
    run = make_run(tmp_path / "<b onclick='x'>&\"", classes=classes, names=names, labels=labels, skill=0.3)
    page = page_of(run, mistakes=99)
    assert_self_contained(page)
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [attributes for tag, attributes in page.tags if tag == "b" and attributes]
    assert "<script>alert(1)</script>" in page.text
    assert "<b onclick='x'>&\"" in page.text
    islands = sum(tag == "bdi" for tag, _ in page.tags)
    assert islands > 3 * len(classes)


def test_a_hundred_classes_show_the_worst_first_and_fold_the_rest_away(tmp_path):
    classes = [f"Class{c:03d}" for c in range(101)]
    labels = np.arange(505) % 101
    run = make_run(tmp_path / "run", classes=classes, labels=labels, names=[f"v{v}" for v in range(505)], skill=0.8)
    page = page_of(run)
    assert f"The other {101 - CLASSES_SHOWN} classes" in page.text
    assert [tag for tag, _ in page.tags].count("details") == 1
    recall = {one.name: one.recall for one in run.results.classes}
    table = page.text[page.text.index("recall, precision %") : page.text.index("What is taken for what", 2000)]
    shown = re.findall(r"Class\d{3}", table)
    assert sorted(shown) == classes
    assert [recall[name] for name in shown] == sorted(recall.values())
    assert run.root.joinpath("report.html").stat().st_size < 1e6


@pytest.mark.parametrize("classes", [2, 3])
def test_videos_of_several_labels_are_reported_by_their_ranking(tmp_path, classes):
    rng = np.random.default_rng(0)
    labels = rng.random((30, classes)) < 0.5
    labels[~labels.any(1), 0] = True
    labels[0] = True
    run = make_run(
        tmp_path / "run",
        classes=[f"c{c}" for c in range(classes)],
        labels=labels,
        multilabel=True,
        names=[f"v{v}" for v in range(30)],
    )
    page = page_of(run)
    results = run.results
    assert f"{percent(results.row(results.kept).metrics['lrap'])}\u00a0%" in page.text
    assert "What is taken for what" not in page.text


def test_a_run_of_one_row_without_a_mistake_says_so(tmp_path):
    labels = np.arange(20) % 2
    run = make_run(
        tmp_path / "run",
        classes=("a", "b"),
        labels=labels,
        names=[f"v{v}" for v in range(20)],
        rows=("rgb",),
        skill=1.0,
        seed=3,
    )
    scores = run.scores()
    sure = np.eye(2, dtype=np.float32)[labels] * 0.8 + 0.1
    run.write_scores(
        type(scores)(scores.names, scores.labels, scores.classes, scores.folds, scores.seeds, {"rgb": sure[None]})
    )
    page = page_of(run)
    assert "There is not one mistake" in page.text
    assert "How good it is, and how sure that is" in page.text


def test_several_seeds_are_marked_and_their_spread_is_told(run):
    results = run.results
    first = replace(results.rows[0], seeds=(0.4, 0.5, 0.6))
    chart = rows_chart(replace(results, rows=(first, *results.rows[1:])))
    assert chart.count('class="seed"') == 3
    assert "±\u00a010.0" in parse(chart).text
    assert "50.0 " in parse(chart).text


def test_without_the_store_there_is_no_map_and_the_page_says_why(run, caplog):
    page = page_of(run)
    assert "No map: no store in" in page.text
    with pytest.raises(StoreError, match="no store in"):
        make_report(run.root, stores=(run.root / "nowhere",))


def test_pictures_of_videos_that_are_gone_leave_words_instead(run):
    data = read_report(run)
    page = parse(report_page(data, Illustrations(pictured(run, data.mistakes[:2]), None, "x")))
    assert "no pictures: the features were imported" in page.text
    assert "src" not in {name for _, attributes in page.tags for name in attributes}


def test_ticks_are_round_and_inside():
    assert Scale(0, 1).ticks() == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert Scale(0.7, 0.95).ticks() == pytest.approx([0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
    assert Scale(3.2, 3.2).ticks()
    assert Scale(0, 7300).ticks() == [0, 2000, 4000, 6000]
