"""The comparison of runs against tests that count every case."""

import itertools
import math

import numpy as np
import pytest

from pipeline.report.facts.compare import Comparison, Contender, Pair, compare_runs
from pipeline.report.pages.compare_page import compare_page, headline
from schemas.errors import ConfigError, StoreError
from tests.pipeline.report.pages import assert_self_contained, parse
from tests.pipeline.report.synthetic import make_run

CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two runs on 40 and 46 videos of which they share 36, every video a group."""
    folder = tmp_path_factory.mktemp("compare")
    names = [f"{CLASSES[v % 3]}/v{v:02d}" for v in range(50)]

    def one(name, start, stop, skill, seed):
        chosen = range(start, stop)
        return make_run(
            folder / name,
            classes=CLASSES,
            names=[names[v] for v in chosen],
            labels=np.array([v % 3 for v in chosen]),
            skill=skill,
            seed=seed,
            groups=[f"g{v}" for v in chosen],
        )

    return one("weak", 0, 40, 0.2, 1), one("strong", 4, 50, 0.9, 2)


def right(run, row=None):
    """Video -> whether the row is right, from the scores file alone."""
    scores = run.scores()
    said = scores.rows[row or run.results.kept][0].argmax(1)
    return dict(zip(scores.names, said == scores.labels, strict=True))


def test_only_shared_videos_count_and_each_run_keeps_its_own_number_of_them(two):
    comparison = compare_runs([str(run.root) for run in two])
    assert (comparison.videos, comparison.unit, comparison.units) == (36, "video", 36)
    for run, contender in zip(two, comparison.contenders, strict=True):
        shared = [value for name, value in right(run).items() if name in right(two[0]) and name in right(two[1])]
        assert contender.value == contender.metrics["top1"] == np.mean(shared)
        assert contender.judged == len(right(run))


def test_where_groups_are_too_few_for_any_difference_to_show_the_headline_says_so(tmp_path):
    names = [f"{CLASSES[v % 3]}/v{v:02d}" for v in range(30)]
    runs = [
        make_run(
            tmp_path / f"skill{skill}",
            classes=CLASSES,
            names=names,
            labels=np.arange(30) % 3,
            skill=skill,
            seed=1,
            groups=[f"g{v % 4}" for v in range(30)],
        )
        for skill in (0.2, 0.9)
    ]
    comparison = compare_runs([str(run.root) for run in runs])
    assert "with 4 groups p can not fall below 0.12, whatever is found; 6 groups are needed" in headline(comparison)


def test_the_paired_test_is_mcnemars_counted_by_hand(two):
    (pair,) = compare_runs([str(run.root) for run in two]).pairs
    first, second = right(two[0]), right(two[1])
    shared = set(first) & set(second)
    only_first = sum(first[v] and not second[v] for v in shared)
    only_second = sum(second[v] and not first[v] for v in shared)
    assert (pair.only_first, pair.only_second) == (only_first, only_second)
    assert pair.difference == pytest.approx((only_second - only_first) / len(shared))
    trials = only_first + only_second
    as_far = [math.comb(trials, k) for k in range(trials + 1) if abs(2 * k - trials) >= abs(2 * only_second - trials)]
    assert pair.p == pytest.approx(sum(as_far) / 2**trials)


def test_with_groups_the_test_flips_whole_groups_counted_by_hand(tmp_path):
    names = [f"v{v:02d}" for v in range(30)]
    groups = [f"g{v // 3}" for v in range(30)]
    runs = [
        make_run(
            tmp_path / f"r{seed}",
            classes=CLASSES,
            names=names,
            labels=np.arange(30) % 3,
            skill=skill,
            seed=seed,
            groups=groups,
        )
        for seed, skill in ((1, 0.3), (2, 0.8))
    ]
    (pair,) = compare_runs([str(run.root) for run in runs]).pairs
    differences = [int(right(runs[1])[v]) - int(right(runs[0])[v]) for v in names]
    sums = [sum(differences[k : k + 3]) for k in range(0, 30, 3)]
    flipped = [
        abs(sum(sign * value for sign, value in zip(signs, sums, strict=True)))
        for signs in itertools.product((1, -1), repeat=10)
    ]
    assert pair.p == pytest.approx(np.mean([value >= abs(sum(sums)) for value in flipped]))


def test_videos_that_share_a_group_in_either_run_are_one_unit(tmp_path):
    names = [f"v{v}" for v in range(6)]
    one = make_run(
        tmp_path / "one", classes=CLASSES, names=names, labels=np.arange(6) % 3, groups=["x", "x", "y", "z", "u", "w"]
    )
    two = make_run(
        tmp_path / "two", classes=CLASSES, names=names, labels=np.arange(6) % 3, groups=["1", "2", "2", "3", "4", "4"]
    )
    comparison = compare_runs([str(one.root), str(two.root)])
    assert (comparison.unit, comparison.units) == ("group", 3)  # v0 v1 v2, v3, v4 v5


def test_another_row_than_the_kept_one_can_be_named(two):
    comparison = compare_runs([f"{two[0].root}:rgb", f"{two[0].root}:flow", str(two[0].root)])
    assert [one.row for one in comparison.contenders][:2] == ["rgb", "flow"]
    assert comparison.contenders[0].value == np.mean(list(right(two[0], "rgb").values()))
    assert len(comparison.pairs) == 3
    with pytest.raises(ConfigError, match="no row 'sound'; it has rgb, flow, concat"):
        compare_runs([f"{two[0].root}:sound", str(two[1].root)])


def test_recall_by_class_is_counted_over_the_shared_videos(two):
    comparison = compare_runs([str(run.root) for run in two])
    shared = sorted(set(right(two[0])) & set(right(two[1])))
    for label in CLASSES:
        of_class = [v for v in shared if v.startswith(label)]
        assert comparison.supports[label] == len(of_class)
        for run, contender in zip(two, comparison.contenders, strict=True):
            assert contender.recalls[label] == pytest.approx(np.mean([right(run)[v] for v in of_class]))


def test_runs_that_disagree_about_a_label_are_refused_with_the_video(two, tmp_path):
    other = make_run(tmp_path / "other", classes=CLASSES, names=["a/v09", "b/v10"], labels=np.array([0, 2]))
    with pytest.raises(ConfigError, match=r"disagree about the label of 1 video, 'b/v10' first: b and c"):
        compare_runs([str(two[0].root), str(other.root)])


def test_runs_without_a_common_video_one_run_and_no_run_are_refused(two, tmp_path):
    other = make_run(tmp_path / "other", classes=CLASSES, names=["x", "y", "z"], labels=np.arange(3))
    with pytest.raises(ConfigError, match="not judged one video in common"):
        compare_runs([str(two[0].root), str(other.root)])
    with pytest.raises(ConfigError, match="two runs or more"):
        compare_runs([str(two[0].root)])
    with pytest.raises(ConfigError, match="named twice"):
        compare_runs([str(two[0].root)] * 2)
    with pytest.raises(StoreError, match="no run in"):
        compare_runs([str(two[0].root), str(tmp_path / "nothing")])


def test_the_page_is_self_contained_and_shows_the_numbers(two):
    comparison = compare_runs([str(run.root) for run in two])
    page = parse(compare_page(comparison))
    assert_self_contained(page)
    for one in comparison.contenders:
        assert f"{100 * one.value:.1f} {100 * one.low:.1f} to {100 * one.high:.1f}" in page.text
    (pair,) = comparison.pairs
    assert f"p = {pair.p:.2g}  {pair.only_second} : {pair.only_first}" in page.text
    assert headline(comparison) in page.text
    assert "is ahead of" in headline(comparison)
    assert "chance" not in headline(comparison)


def test_differing_settings_are_listed_and_equal_ones_are_not(two):
    comparison = compare_runs([f"{two[0].root}:{row}" for row in ("rgb", "flow", "concat")])
    assert comparison.differing["model.streams.flow"] == ("absent", "4", "4")
    assert "training.epochs" not in comparison.differing


def compared(gain, low, high, p):
    """A comparison of two runs that differ so, over 40 groups."""
    one, two = (
        Contender(name, "rgb", 90, {}, (value,), np.full(90, value), value - 0.1, value + 0.1, {}, {})
        for name, value in (("one", 0.7), ("two", 0.7 + gain))
    )
    return Comparison("top1", 90, "group", 40, (one, two), (Pair("one", "two", gain, low, high, p, 3, 3),), {}, {})


def test_no_difference_is_shown_unless_the_interval_is_narrow():
    said = headline(compared(0.0, -0.105, 0.105, 1.0))
    assert said.startswith("No difference is shown between")
    assert "-10.5 to +10.5" in said
    assert "equally" not in said
    assert headline(compared(0.005, -0.01, 0.015, 0.4)).startswith("two and one differ by less than 2 points")
    assert headline(compared(-0.03, -0.1, 0.04, 0.4)).startswith("No difference is shown between one and two (+3.0 ")
    assert "-4.0 to +10.0" in headline(compared(-0.03, -0.1, 0.04, 0.4))
    assert headline(compared(-0.03, -0.05, -0.01, 0.01)) == "one is ahead of two by 3.0 points (p = 0.01)"
