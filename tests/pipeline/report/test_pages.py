"""Templates: whatever they show stays text, what they miss is an error, and a wheel holds them all."""

from pathlib import Path

import jinja2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.learn.predict import Timeline
from pipeline.report.drawing.markup import escaped
from pipeline.report.facts.compare import compare_runs
from pipeline.report.pages import render
from pipeline.report.pages.compare_page import compare_page
from pipeline.report.pages.timeline import timeline_page
from tests.pipeline.report.pages import assert_self_contained, parse
from tests.pipeline.report.synthetic import make_run
from tests.pipeline.report.test_markup import HOSTILE

ROOT = Path(__file__).parents[3]


def said(name):
    """A name as a page shows it."""
    return parse(escaped(name)).text


def test_hostile_names_in_a_timeline_stay_text():
    probabilities = np.eye(len(HOSTILE), dtype=np.float32) * 0.5 + 0.01
    count = len(HOSTILE)
    for video in HOSTILE:
        timeline = Timeline(video, np.arange(count), np.arange(count) * 1.0, probabilities, 3)
        page = parse(timeline_page(timeline, HOSTILE, multilabel=False, head="mean"))
        assert_self_contained(page)
        assert not {"b", "i", "img"} & {tag for tag, _ in page.tags}  # tags of the names, and of no timeline
        assert said(video) in page.text
        assert page.text.count(said(HOSTILE[0])) >= 3  # its row, its block, its line in the table


def test_hostile_names_in_a_comparison_stay_text(tmp_path):
    names = [f"v{v}" for v in range(12)]
    labels = np.arange(12) % 2
    runs = [
        make_run(tmp_path / f"{title}&\"'", classes=("<b>", "</title><i>"), names=names, labels=labels, seed=seed)
        for seed, title in enumerate(["<script>alert(1)<", "bad\udcff"])
    ]
    page = parse(compare_page(compare_runs([str(run.root) for run in runs])))
    assert_self_contained(page)
    assert page.text.count("</title><i>") == page.text.count("<b>") > 0
    for run in runs:
        assert page.text.count(said(str(run.root))) >= 4


@given(st.text())
def test_any_text_of_a_template_comes_out_as_a_chart_would_write_it(text):
    page = render(
        "timeline.html",
        title=text,
        video=text,
        moments=1,
        window=1,
        window_s=0.0,
        head="mean",
        axis="",
        ribbon="",
        strips=[],
        found=[],
    )
    assert f"<title>{escaped(text)}</title>" in page
    assert f"<h1><bdi>{escaped(text)}</bdi></h1>" in page


def test_what_a_template_is_not_given_is_an_error_and_no_blank():
    with pytest.raises(jinja2.UndefinedError, match="'video' is undefined"):
        render("timeline.html", title="x")
