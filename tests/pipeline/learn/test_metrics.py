"""Metrics, against scikit-learn and cases worked out by hand."""

import numpy as np
import pytest
from sklearn import metrics as sk

from pipeline.learn.judging.metrics import (
    calibration_error,
    class_table,
    confusion,
    fit_thresholds,
    hits,
    judge,
    out_of_fold_thresholds,
    ranking_precision,
)


@pytest.fixture
def said():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(7), 60)
    return np.eye(7, dtype=bool)[rng.integers(6, size=60)], probabilities  # the last class has no video


def test_judging_agrees_with_scikit_learn(said):
    members, probabilities = said
    truth, found = members.argmax(1), judge(*said, multilabel=False)
    assert found["top1"] == sk.accuracy_score(truth, probabilities.argmax(1))
    assert found["top5"] == sk.top_k_accuracy_score(truth, probabilities, k=5, labels=range(7))
    assert found["mean_class"] == pytest.approx(
        sk.recall_score(truth, probabilities.argmax(1), average="macro", labels=range(6))
    )
    assert found["map"] == pytest.approx(sk.average_precision_score(members[:, :6], probabilities[:, :6]))
    assert found["loss"] == pytest.approx(sk.log_loss(truth, probabilities, labels=range(7)))


def test_ranking_precision_agrees_with_scikit_learn():
    rng = np.random.default_rng(1)
    members, probabilities = rng.random((30, 6)) < 0.4, rng.random((30, 6))
    members[:, 0] |= ~members.any(1)
    expected = sk.label_ranking_average_precision_score(members, probabilities)
    assert ranking_precision(members, probabilities).mean() == pytest.approx(expected)


def test_the_class_table_tells_precision_recall_and_support(said):
    members, probabilities = said
    table = class_table(members, probabilities, tuple("abcdefg"), multilabel=False)
    counts = np.array(confusion(members, probabilities))
    assert [one.support for one in table] == counts.sum(1).tolist()
    assert table[2].recall == pytest.approx(counts[2, 2] / counts[2].sum())
    assert table[2].precision == pytest.approx(counts[2, 2] / counts[:, 2].sum())
    assert (table[6].support, table[6].recall, table[6].average_precision) == (0, 0.0, 0.0)


def test_a_sure_and_half_right_classifier_is_badly_calibrated():
    members = np.array([[True, False], [False, True]] * 2)
    sure = np.tile([1.0, 0.0], (4, 1))
    assert calibration_error(members, sure) == pytest.approx(0.5)
    assert calibration_error(members, np.tile([0.5, 0.5], (4, 1))) == pytest.approx(0.0)


def test_a_video_of_several_labels_is_hit_by_any_of_them():
    members = np.array([[True, True, False]])
    assert hits(members, np.array([[0.1, 0.7, 0.9]])).tolist() == [0.0]
    assert hits(members, np.array([[0.1, 0.9, 0.7]])).tolist() == [1.0]
    assert judge(members, np.array([[0.6, 0.9, 0.7]]), multilabel=True)["f1_macro"] == 1.0


@pytest.fixture
def rare():
    """Labels that are told apart well, by probabilities that one half is far above."""
    rng = np.random.default_rng(0)
    members = rng.random((90, 3)) < [0.1, 0.3, 0.5]
    members[~members.any(1), 2] = True
    return members, np.where(members, 0.3, 0.1) + rng.normal(0, 0.02, (90, 3)), np.arange(90) % 3


def test_thresholds_by_class_say_rare_labels_and_f1_is_scikit_learn_s(rare):
    members, probabilities, folds = rare
    assert judge(members, probabilities, multilabel=True)["f1_micro"] == 0
    least = out_of_fold_thresholds(members, probabilities, folds)
    found, said = judge(members, probabilities, least, multilabel=True), probabilities > least
    assert found["f1_macro"] == pytest.approx(sk.f1_score(members, said, average="macro"))
    assert found["f1_micro"] == pytest.approx(sk.f1_score(members, said, average="micro"))
    assert found["f1_micro"] > 0.95


def test_a_threshold_depends_on_no_video_of_its_own_fold(rare):
    members, probabilities, folds = rare
    least = out_of_fold_thresholds(members, probabilities, folds)
    turned = np.where((folds == 1)[:, None], ~members, members)
    assert np.array_equal(out_of_fold_thresholds(turned, probabilities, folds)[folds == 1], least[folds == 1])
    assert not np.array_equal(out_of_fold_thresholds(turned, probabilities, folds)[folds == 0], least[folds == 0])


def test_classes_that_all_or_no_videos_have_keep_a_threshold_of_one_half():
    members = np.array([[True, False, True], [True, False, False]])
    probabilities = np.array([[0.1] * 3, [0.05] * 3])
    assert fit_thresholds(members, probabilities).tolist() == [0.5, 0.5, pytest.approx(0.075)]
