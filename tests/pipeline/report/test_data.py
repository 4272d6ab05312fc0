"""Numbers of a report against counting them one by one."""

import numpy as np
import pytest

from pipeline.learn.judging.metrics import calibration_error
from pipeline.report.facts.facts import calibration_bins, members_of, read_report
from schemas.words import flat


def test_calibration_bins_hold_every_video_once_and_average_to_the_calibration_error():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), size=200)
    members = np.eye(4, dtype=bool)[rng.integers(4, size=200)]
    bins = calibration_bins(members, probabilities)
    assert sum(one.videos for one in bins) == 200
    error = sum(one.videos * abs(one.accuracy - one.confidence) for one in bins) / 200
    assert error == pytest.approx(calibration_error(members, probabilities))
    assert all(one.low <= one.confidence <= one.high for one in bins)


def test_mistakes_are_those_of_the_predictions_file_the_surest_first(run):
    data = read_report(run)
    wrong = {prediction.video: prediction for prediction in run.predictions() if not prediction.correct}
    assert {mistake.video for mistake in data.mistakes} == set(wrong)
    for mistake in data.mistakes:
        prediction = wrong[mistake.video]
        assert (mistake.truth, mistake.said) == (prediction.truth, prediction.top[0][0])
        assert mistake.p_said == pytest.approx(prediction.top[0][1], abs=1e-6)
    margins = [mistake.p_said - mistake.p_truth for mistake in data.mistakes]
    assert margins == sorted(margins, reverse=True)


def test_confusions_are_counted_as_the_predictions_say(run):
    counts = {}
    for prediction in run.predictions():
        if not prediction.correct:
            pair = prediction.truth, prediction.top[0][0]
            counts[pair] = counts.get(pair, 0) + 1
    data = read_report(run)
    assert {(pair.truth, pair.said): pair.videos for pair in data.confused} == counts
    assert [pair.videos for pair in data.confused] == sorted(counts.values(), reverse=True)
    assert {pair.of for pair in data.confused} == {10}


def test_a_curve_is_the_mean_and_range_over_folds_and_leaves_the_last_training_out(run):
    curve = next(c for c in read_report(run).curves if (c.row, c.metric) == ("flow", "val_top1"))
    assert curve.trainings == 2
    assert curve.mean == pytest.approx([0.05, 0.25, 0.45, 0.65])
    assert curve.low == pytest.approx([0.0, 0.2, 0.4, 0.6])
    assert curve.high == pytest.approx([0.1, 0.3, 0.5, 0.7])


def test_provenance_has_every_setting_of_the_run_once(run):
    sections = read_report(run).provenance
    assert dict(sections["Training"]) == dict(flat(run.settings["rows"][0]["training"]))
    assert dict(sections["Training"])["learning_rate"] == "0.001"
    assert dict(sections["Training"])["weight_decay"] == str(run.settings["training"]["weight_decay"])
    assert dict(sections["Features"])["digest"] == "0" * 16
    assert dict(sections["Features"])["streams.rgb"] == "4"
    assert dict(sections["Run"])["command"] == "train-fusion"


def test_labels_of_both_kinds_become_members(run):
    scores = run.scores()
    members = members_of(scores)
    assert members.sum() == 60
    assert (members.argmax(1) == scores.labels).all()
