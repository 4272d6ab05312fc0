"""Timelines: windows, probabilities and the page."""

import re

import numpy as np
import pytest
import torch

from pipeline.learn.models.heads import HEADS
from pipeline.learn.models.model import VideoClassifier
from pipeline.learn.predict import Timeline, along, windows
from pipeline.learn.settings import ModelSettings
from pipeline.report.pages.timeline import clock, stretches, timeline_page
from tests.pipeline.report.pages import assert_self_contained, parse


def model_of(head="mean", *, multilabel=False, classes=3):
    torch.manual_seed(0)
    return VideoClassifier(
        ModelSettings(streams={"rgb": 5, "flow": 4}, classes=classes, head=head, multilabel=multilabel)
    ).eval()


def features_of(moments):
    generator = torch.Generator().manual_seed(moments)
    return {
        "rgb": torch.randn(moments, 5, generator=generator).half(),
        "flow": torch.randn(moments, 4, generator=generator).half(),
    }


def test_windows_are_centred_of_one_length_and_pushed_inwards_at_the_ends():
    assert windows(6, 3).tolist() == [[0, 1, 2], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [3, 4, 5]]
    assert windows(5, 4).tolist() == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4]]
    assert windows(3, 9).tolist() == [[0, 1, 2]] * 3
    assert windows(1, 1).tolist() == [[0]]


@pytest.mark.parametrize("head", sorted(HEADS))
def test_probabilities_of_every_moment_sum_to_one(head):
    found = along(model_of(head), features_of(300), window=7, device=torch.device("cpu"))
    assert found.shape == (300, 3)
    assert found.sum(1) == pytest.approx(1, abs=1e-5)


def test_with_several_labels_each_probability_stands_alone():
    found = along(model_of(multilabel=True), features_of(20), window=5, device=torch.device("cpu"))
    assert ((found > 0) & (found < 1)).all()
    assert np.abs(found.sum(1) - 1).max() > 0.01


@pytest.mark.parametrize("head", ["mean", "lstm", "attention"])
def test_a_moment_is_judged_as_a_video_of_its_window_would_be(head):
    model, features = model_of(head), features_of(30)
    found = along(model, features, window=9, device=torch.device("cpu"))
    for moment, window in enumerate(windows(30, 9)):
        batch = {name: table[window].float()[None] for name, table in features.items()}
        with torch.inference_mode():
            alone = model.probabilities(model(batch, torch.ones(1, 9, dtype=torch.bool)))[0]
        assert found[moment] == pytest.approx(alone.numpy(), abs=1e-6)


def test_a_video_not_longer_than_the_window_is_judged_as_a_whole_at_each_moment():
    model, features = model_of("lstm"), features_of(6)
    found = along(model, features, window=50, device=torch.device("cpu"))
    with torch.inference_mode():
        whole = model.probabilities(
            model({name: table.float()[None] for name, table in features.items()}, torch.ones(1, 6, dtype=torch.bool))
        )[0]
    assert np.abs(found - whole.numpy()).max() < 1e-6


def timeline_of(said, pts_s, classes=3):
    probabilities = np.full((len(said), classes), 0.1, np.float32)
    probabilities[np.arange(len(said)), said] = 1 - 0.1 * (classes - 1)
    return Timeline("a/<b>", np.arange(len(said)), np.array(pts_s, np.float64), probabilities, 3)


def test_stretches_tile_the_video_and_hold_until_the_next_moment():
    found = stretches(timeline_of([0, 0, 2, 2, 2, 1], [0.5, 1.0, 2.0, 2.5, 3.0, 4.0]))
    assert [(one.label, one.start, one.stop) for one in found] == [(0, 0, 2), (2, 2, 5), (1, 5, 6)]
    assert [(one.start_s, one.stop_s) for one in found] == [(0.5, 2.0), (2.0, 4.0), (4.0, 5.0)]
    assert [one.probability for one in found] == pytest.approx([0.8, 0.8, 0.8])


def test_the_page_shows_every_stretch_and_leads_nowhere():
    timeline = timeline_of([0, 0, 2, 2, 2, 1], [0, 1, 2, 3, 4, 5])
    page = parse(timeline_page(timeline, ["walk", "<i>run", "sit"], multilabel=False, head="mean"))
    assert_self_contained(page)
    for line in (
        "0:00.0 to 0:02.0: walk, 80.0\u00a0%",
        "0:02.0 to 0:05.0: sit, 80.0\u00a0%",
        "0:05.0 to 0:06.0: <i>run, 80.0\u00a0%",
    ):
        assert line in page.text
    assert "a/<b>" in page.text
    assert "window of 3 moments" in page.text


def test_the_curve_of_a_class_goes_through_its_probabilities():
    text = timeline_page(timeline_of([0, 1, 0], [0, 1, 2]), ["a", "b", "c"], multilabel=False, head="mean")
    path = re.search(r'<path d="M0 1000L([^Z]*)L[\d.]+ 1000Z" class="area k0">', text)
    points = [tuple(map(float, point.split())) for point in path[1].split("L")]
    assert points == [(0, 200), (333.33, 900), (666.67, 200)]


def test_a_very_long_video_keeps_its_extremes_and_a_small_page():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), size=20_000).astype(np.float32)
    timeline = Timeline("long", np.arange(20_000), np.arange(20_000) / 3, probabilities, 11)
    text = timeline_page(timeline, list("abcd"), multilabel=True, head="mean")
    assert len(text) < 300_000
    page = parse(text)
    for label in range(4):
        assert f"up to {100 * probabilities[:, label].max():.1f}\u00a0%" in page.text


def test_clock_reads_as_players_show_it():
    assert [clock(t) for t in (0, 9.96, 75.25, 3599.94, 3723.4, -0.2)] == [
        "0:00.0",
        "0:10.0",
        "1:15.2",
        "59:59.9",
        "1:02:03",
        "−0:00.2",
    ]
