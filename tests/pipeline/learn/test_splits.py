"""Splits that do not leak."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.learn.data.splits import Fold, check_classes, check_leaks, cut_validation, deal, groups_of, made_folds
from schemas.errors import ConfigError


def test_ucf_style_names_are_recognised():
    assert groups_of(["A/v_A_g07_c03", "A/v_A_g07_c01", "A/other"]) == ["v_A_g07", "v_A_g07", "A/other"]


def test_a_regular_expression_names_groups_by_its_parts_or_as_a_whole():
    assert groups_of(["bend/ann_bend", "run/bob_run1"], pattern=r"/([a-z]+)_") == ["ann", "bob"]
    assert groups_of(["s1-c2", "s3-c2"], pattern=r"s\d") == ["s1", "s3"]
    with pytest.raises(ConfigError, match="'run/x'"):
        groups_of(["bend/ann_bend", "run/x"], pattern=r"/([a-z]+)_")
    with pytest.raises(ConfigError, match="not a regular expression"):
        groups_of(["a"], pattern="(")


def test_groups_of_a_csv_come_before_names():
    ids = ["A/v_A_g07_c03", "A/v_A_g07_c01"]
    assert groups_of(ids, given={ids[0]: "tape1", ids[1]: ""}) == ["tape1", ids[1]]


def test_two_files_of_the_same_content_are_one_group_whatever_their_names():
    groups = groups_of(["a", "b", "c", "d"], fingerprints=["x", "y", "x", "y"])
    assert groups[0] == groups[2] != groups[1] == groups[3]
    joined = groups_of(["a", "b", "c"], given={"a": "g", "b": "g", "c": "h"}, fingerprints=["x", "y", "y"])
    assert len(set(joined)) == 1


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), min_size=12, max_size=60),
    st.integers(2, 4),
    st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_dealing_never_parts_a_group(videos, parts, seed):
    groups, classes = [f"g{group}" for group, _ in videos], np.array([label for _, label in videos])
    place = deal(groups, classes, parts, seed)
    assert all(len(set(place[np.array(groups) == group])) == 1 for group in set(groups))
    assert set(place) <= set(range(parts))


def test_dealing_keeps_classes_in_proportion():
    classes = np.repeat([0, 1, 2], [50, 30, 20])
    place = deal([f"v{index}" for index in range(100)], classes, 5, 0)
    for label, count in ((0, 10), (1, 6), (2, 4)):
        assert np.bincount(place[classes == label]).tolist() == [count] * 5


def test_folds_test_every_video_once_and_leave_one_group_out_has_a_fold_a_group():
    groups, classes = [f"g{index // 4}" for index in range(24)], np.tile([0, 1], 12)
    for folds, count in ((3, 3), (0, 6)):
        tests = made_folds(groups, classes, ["a", "b"], folds=folds, seed=0)
        assert len(tests) == count
        assert sorted(np.concatenate(tests).tolist()) == list(range(24))


def test_a_class_of_one_recording_is_refused_by_name():
    with pytest.raises(ConfigError, match="class 'rare' has 3 video"):
        made_folds(["a", "b", "c", "c", "c"], np.array([0, 0, 1, 1, 1]), ["common", "rare"], folds=2, seed=0)


def test_more_folds_than_recordings_are_refused():
    with pytest.raises(ConfigError, match="`folds` 5 is more"):
        made_folds(["a", "b", "a", "b"], np.array([0, 0, 1, 1]), ["x", "y"], folds=5, seed=0)


def test_validation_is_cut_by_groups_and_leaves_every_class_in_training():
    groups, classes = [f"g{index // 2}" for index in range(20)], np.arange(20) // 10
    train, val = cut_validation(np.arange(20), groups, classes, fraction=0.2, seed=0)
    assert len(val) == 4
    assert not {groups[v] for v in train} & {groups[v] for v in val}
    assert set(classes[train]) == {0, 1}


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.33, 0.4, 0.45, 0.5])
@pytest.mark.parametrize("videos_a_group", [1, 2])
def test_the_validation_part_is_as_large_as_asked(fraction, videos_a_group):
    groups, classes = [f"g{index // videos_a_group}" for index in range(200)], np.repeat([0, 1, 2], [100, 60, 40])
    train, val = cut_validation(np.arange(200), groups, classes, fraction=fraction, seed=0)
    assert len(val) == pytest.approx(fraction * 200, abs=videos_a_group / 2)
    assert not {groups[v] for v in train} & {groups[v] for v in val}
    for label, count in enumerate((100, 60, 40)):
        assert (classes[val] == label).sum() == pytest.approx(fraction * count, abs=2)


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), min_size=6, max_size=30),
    st.sampled_from([0.1, 0.3, 0.5]),
    st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_no_single_group_taken_or_given_back_would_bring_the_validation_part_nearer(videos, fraction, seed):
    groups, classes = np.array([f"g{group}" for group, _ in videos]), np.array([label for _, label in videos])
    everything = np.arange(len(videos))
    train, val = cut_validation(everything, list(groups), classes, fraction=fraction, seed=seed)
    assert sorted([*train, *val]) == everything.tolist()
    assert not set(groups[train]) & set(groups[val])
    assert set(classes[train]) == set(classes)
    distance = abs(len(val) - fraction * len(videos)) if len(val) else np.inf
    for name in set(groups):
        other = set(val) ^ set(np.flatnonzero(groups == name))
        left = np.setdiff1d(everything, list(other))
        if other and set(classes[left]) == set(classes):
            assert abs(len(other) - fraction * len(videos)) >= distance - 1e-9


def test_no_validation_is_cut_where_a_class_would_be_lost():
    train, val = cut_validation(np.arange(2), ["a", "b"], np.array([0, 1]), fraction=0.5, seed=0)
    assert train.tolist() == [0, 1]
    assert not len(val)


def test_a_split_that_leaks_is_refused_with_the_pair():
    fold = Fold(np.array([0]), np.array([], dtype=int), np.array([1, 2]))
    with pytest.raises(ConfigError, match=r"'c1' \(train\) and 'c3' \(test\).*'tape'"):
        check_leaks(["c1", "c2", "c3"], ["tape", "own", "tape"], fold)


def test_a_fold_that_tests_what_it_never_trains_is_refused():
    members = np.array([[True, False], [False, True]])
    with pytest.raises(ConfigError, match="class 'b' is tested"):
        check_classes(["a", "b"], members, Fold(np.array([0]), np.array([], dtype=int), np.array([1])))
    with pytest.raises(ConfigError, match="0 to test"):
        check_classes(["a", "b"], members, Fold(np.array([0, 1]), np.array([], dtype=int), np.array([], dtype=int)))


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=12),
    st.integers(2, 5),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_a_class_of_two_groups_is_in_two_parts_so_that_it_is_learnt_and_tested(sizes, parts, seed):
    videos = [
        (f"c{label}g{group}", label) for label, pair in enumerate(sizes) for group in (0, 1) for _ in range(pair[group])
    ]
    classes = np.array([label for _, label in videos])
    place = deal([group for group, _ in videos], classes, parts, seed)
    for label in range(len(sizes)):
        assert len(set(place[classes == label])) == 2
