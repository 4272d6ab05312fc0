"""Intervals and tests, against exact and published answers."""

import numpy as np
import pytest

from pipeline.learn.judging import statistics
from pipeline.learn.judging.statistics import bootstrap_mean, holm, reach, sign_flip_p, smallest_p, unit_numbers
from tests.benchmarks.bench_coverage import Cell, coverage


def test_the_interval_of_a_share_is_the_binomial_one():
    values = np.repeat([1.0, 0.0], [80, 20])
    low, high = bootstrap_mean(values, np.arange(100))
    assert low == pytest.approx(0.71, abs=0.015)  # Wilson's: 0.711 to 0.867
    assert high == pytest.approx(0.87, abs=0.015)


@pytest.mark.parametrize(
    ("groups", "videos", "equal", "alike", "shares"),
    [
        (5, 1, True, 0.0, (0.9,)),
        (20, 1, True, 0.0, (0.97,)),
        (9, 3, True, 0.5, (0.7,)),
        (9, 10, True, 0.2, (0.9,)),
        (24, 7, True, 0.2, (0.97,)),
        (5, 100, True, 0.5, (0.9,)),
        (9, 100, True, 0.5, (0.9,)),
        (9, 100, True, 0.5, (0.97,)),
        (9, 100, True, 0.0, (0.9,)),
        (20, 30, False, 0.5, (0.7,)),
        (50, 100, False, 0.5, (0.9,)),
        (9, 10, True, 0.2, (0.1, 0.05)),
        (9, 100, True, 0.5, (0.25, 0.15)),
        (20, 30, False, 0.5, (0.1, 0.05)),
    ],
)
def test_intervals_hold_the_truth_whatever_the_size_of_groups_and_however_alike_they_are(
    groups, videos, equal, alike, shares, monkeypatch
):
    monkeypatch.setattr(statistics, "RESAMPLES", 1000)
    held, width = coverage(Cell(groups, videos, equal, alike, shares), 200)
    assert held >= 0.91  # of 200; with made-up groups of one video it was 0.42 for 5 groups of 100
    assert groups < 9 or width < 0.75


def test_intervals_that_hold_together_are_wider():
    values, units = np.repeat([1.0, 0.0, -1.0], [20, 60, 10]), np.arange(90) % 30
    one, four = (bootstrap_mean(values, units, lowest=-1.0, together=count) for count in (1, 4))
    assert four[0] < one[0] < one[1] < four[1]
    assert bootstrap_mean(values, units, lowest=-1.0, together=4) == four


def test_where_all_is_right_the_interval_ends_near_the_rule_of_three():
    low, high = bootstrap_mean(np.ones(90), np.arange(90))
    assert high == 1.0
    assert low == pytest.approx(1 - 3 / 90, abs=0.015)
    low, _ = bootstrap_mean(np.ones(90), np.repeat(np.arange(9), 10))
    assert 0.75 < low < 1 - 3 / 90  # groups may err as one: 3 / 9 is where they always do
    assert bootstrap_mean(np.zeros(90), np.arange(90), lowest=-1.0) == pytest.approx((-0.04, 0.04), abs=0.015)


def test_the_interval_holds_the_number_it_belongs_to_and_one_group_says_nothing():
    for values in (np.ones(3), np.zeros(3), np.array([1.0, 0.0, 1.0])):
        low, high = bootstrap_mean(values, np.arange(3))
        assert 0 <= low <= values.mean() <= high <= 1
    assert bootstrap_mean(np.array([1.0, 0.0]), np.array([0, 0])) == (0.0, 1.0)


def test_copies_of_a_video_hardly_make_a_number_surer():
    values = np.repeat([1.0, 0.0], [16, 4])
    one = bootstrap_mean(values, np.arange(20))
    many = bootstrap_mean(np.repeat(values, 10), np.repeat(np.arange(20), 10))
    assert many[1] - many[0] > 0.9 * (one[1] - one[0])


def test_where_the_paired_test_can_not_reach_significance_that_is_said():
    assert smallest_p(5, 3) == pytest.approx(3 * sign_flip_p(np.arange(1.0, 6.0), np.arange(5)))
    assert reach(5, "group", 3) == ("with 5 groups p can not fall below 0.19, whatever is found; 7 groups are needed")
    assert reach(7, "group", 3) == ""


def test_the_paired_test_of_right_and_wrong_is_mcnemars_exact_test():
    differences = np.concatenate([np.ones(8), -np.ones(2), np.zeros(30)])
    assert sign_flip_p(differences, np.arange(40)) == pytest.approx(2 * (1 + 10 + 45) / 1024)


def test_all_sign_patterns_are_counted_when_groups_are_few():
    assert sign_flip_p(np.array([3.0, 1.0, 2.0]), np.arange(3)) == pytest.approx(2 / 8)
    assert sign_flip_p(np.array([1.0, 2.0, -1.0]), np.array([0, 0, 0])) == 1.0


def test_sampled_patterns_agree_with_the_normal_limit():
    rng = np.random.default_rng(0)
    differences = rng.normal(0.3, 1, 60)
    z = differences.sum() / np.sqrt((differences**2).sum())
    from math import erfc, sqrt

    assert sign_flip_p(differences, np.arange(60)) == pytest.approx(erfc(abs(z) / sqrt(2)), abs=0.02)


def test_no_difference_is_no_evidence():
    assert sign_flip_p(np.zeros(5), np.arange(5)) == 1.0


def test_p_values_are_corrected_for_their_number():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_groups_are_numbered():
    assert unit_numbers(["b", "a", "b"]).tolist() == [1, 0, 1]
