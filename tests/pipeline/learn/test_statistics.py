"""Intervals and tests, against exact and published answers."""

import numpy as np
import pytest

from pipeline.learn.statistics import bootstrap_mean, holm, sign_flip_p, unit_numbers


def test_the_interval_of_a_share_is_the_binomial_one():
    values = np.repeat([1.0, 0.0], [80, 20])
    low, high = bootstrap_mean(values, np.arange(100))
    assert low == pytest.approx(0.72, abs=0.015)
    assert high == pytest.approx(0.875, abs=0.015)


def test_copies_of_a_video_do_not_make_a_number_surer():
    values = np.repeat([1.0, 0.0], [16, 4])
    one = bootstrap_mean(values, np.arange(20))
    many = bootstrap_mean(np.repeat(values, 10), np.repeat(np.arange(20), 10))
    assert many == one


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
