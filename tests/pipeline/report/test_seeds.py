"""Runs of several seeds: the table, the pictures and the files speak of all of them."""

import itertools

import numpy as np
import pytest

from pipeline.exchange.scores import read_scores
from pipeline.report.facts.compare import compare_runs
from pipeline.report.facts.facts import read_report
from pipeline.report.make import pictured
from pipeline.report.pages.compare_page import compare_page, summary_of
from pipeline.report.pages.page import Illustrations, report_page
from tests.pipeline.report.pages import parse
from tests.pipeline.report.synthetic import make_run

CLASSES = ("a", "b", "c")
NAMES = [f"{CLASSES[v % 3]}/v{v:02d}" for v in range(42)]
SEEDS = 3


def three(root, skill, seed):
    return make_run(
        root,
        classes=CLASSES,
        names=NAMES,
        labels=np.arange(42) % 3,
        skill=skill,
        seed=seed,
        seeds=SEEDS,
        rows=("rgb", "flow", "concat"),
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    return three(folder / "weak", 0.3, 1), three(folder / "strong", 0.8, 2)


def right(run, row):
    """(S, V): whether each seed's model is right, from the scores file alone."""
    scores = run.scores()
    return scores.rows[row].argmax(2) == scores.labels


def test_the_share_of_right_lines_in_the_predictions_is_the_number_of_the_table(runs):
    for run in runs:
        results = run.results
        predictions = run.predictions()
        assert len(predictions) == SEEDS * len(NAMES)
        assert np.mean([one.correct for one in predictions]) == pytest.approx(results.row(results.kept).metrics["top1"])
        for row in results.rows:
            assert row.seeds == pytest.approx(right(run, row.name).mean(1).tolist())


def test_the_confusion_matrix_counts_every_seed_and_agrees_with_the_class_table(runs):
    for run in runs:
        results = run.results
        counts = np.array(results.confusion)
        assert counts.sum() == SEEDS * len(NAMES)
        assert counts.trace() / counts.sum() == pytest.approx(results.row(results.kept).metrics["top1"])
        for c, one in enumerate(results.classes):
            assert one.support * SEEDS == counts[c].sum()
            assert one.recall == pytest.approx(counts[c, c] / counts[c].sum())


def test_mistakes_are_the_videos_that_some_seed_mistakes_with_how_many(runs):
    for run in runs:
        data, kept = read_report(run), run.results.kept
        wrong = (~right(run, kept)).sum(0)
        assert {one.video: one.seeds for one in data.mistakes} == {
            name: count for name, count in zip(NAMES, wrong.tolist(), strict=True) if count
        }
        assert (data.wrong, data.judgements) == (wrong.sum(), SEEDS * len(NAMES))
        mean = dict(zip(NAMES, run.scores().rows[kept].mean(0), strict=True))
        for one in data.mistakes:
            assert one.p_said == pytest.approx(mean[one.video][CLASSES.index(one.said)], abs=1e-6)
            assert one.p_truth == pytest.approx(mean[one.video][CLASSES.index(one.truth)], abs=1e-6)
        assert sum(one.videos for one in data.bins) == SEEDS * len(NAMES)


def test_the_page_says_what_is_of_all_seeds(runs):
    run = runs[0]
    data = read_report(run)
    text = parse(report_page(data, Illustrations(pictured(run, data.mistakes[:3]), None, "x"))).text
    assert "on average over 3 seeds" in text
    assert "every video stands there 3 times" in text
    assert f"with one of 3 seeds or more ({data.wrong} of 126 judgements)" in text
    assert f"wrong with {data.mistakes[0].seeds} of 3 seeds" in text
    assert "put all 3 seeds together" in text


def test_runs_are_compared_by_the_mean_over_seeds_of_every_video(runs):
    rows = ("rgb", "concat")
    comparison = compare_runs([f"{run.root}:{row}" for run, row in zip(runs, rows, strict=True)])
    order = np.argsort(NAMES)
    first, second = (right(run, row).mean(0)[order] for run, row in zip(runs, rows, strict=True))
    (pair,) = comparison.pairs
    assert pair.difference == pytest.approx((second - first).mean())
    assert (pair.only_first, pair.only_second) == ((first > second).sum(), (second > first).sum())
    for one, run, row in zip(comparison.contenders, runs, rows, strict=True):
        assert one.seeds == pytest.approx(right(run, row).mean(1).tolist())
        assert (one.value, one.metrics["top1"]) == pytest.approx((np.mean(one.seeds),) * 2)
    assert "mean over a run's seeds" in summary_of(comparison)
    assert "McNemar" not in summary_of(comparison)
    assert "right more often" in parse(compare_page(comparison)).text


def test_the_p_value_of_means_over_seeds_is_that_of_all_sign_flips(tmp_path):
    runs = [
        make_run(
            tmp_path / name,
            classes=CLASSES,
            names=NAMES[:12],
            labels=np.arange(12) % 3,
            skill=skill,
            seed=seed,
            seeds=2,
        )
        for name, skill, seed in (("one", 0.2, 3), ("two", 0.9, 4))
    ]
    (pair,) = compare_runs([f"{run.root}:rgb" for run in runs]).pairs
    differences = right(runs[1], "rgb").mean(0) - right(runs[0], "rgb").mean(0)
    flipped = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=12)]
    assert pair.p == pytest.approx(np.mean([value >= abs(differences.sum()) - 1e-9 for value in flipped]))


def test_fuse_reads_the_mean_over_the_seeds_of_a_run(runs):
    found = read_scores(f"{runs[0].root}:flow")
    assert found.names == tuple(NAMES)
    np.testing.assert_allclose(found.scores, runs[0].scores().rows["flow"].mean(0), rtol=1e-6)
