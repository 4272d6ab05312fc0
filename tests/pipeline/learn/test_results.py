"""What a run concludes, and how it says so."""

import numpy as np
import pytest

from pipeline.cli.tables import results_table
from pipeline.learn.judging.results import verdict
from pipeline.learn.runs.records import RowResult, Versus
from tests.pipeline.report.synthetic import make_run


def rows(*differences):
    """One single stream at 80 %, and fusions that differ from it by (points, low, high, p)."""
    single = RowResult("flow", ("flow",), "mean", "", 1, {"top1": 0.8}, 0.7, 0.9, (0.8,), None, None)
    return [single] + [
        RowResult(
            f"fusion{k}",
            ("rgb", "flow"),
            "mean",
            "concat",
            1,
            {"top1": 0.8 + gain},
            0.7,
            0.9,
            (0.8 + gain,),
            None,
            Versus("flow", gain, low, high, p),
        )
        for k, (gain, low, high, p) in enumerate(differences)
    ]


def test_an_interval_that_leaves_room_for_a_useful_gain_shows_no_difference():
    said = verdict(rows((-0.035, -0.195, 0.125, 0.6)), 30, "group")
    assert said.startswith("No difference is shown between fusion and flow alone: ")
    assert "-19.5 to +12.5" in said
    assert "Use flow alone" not in said
    assert verdict(rows((0.01, -0.1, 0.12, 0.6)), 30, "group").startswith("No difference is shown")


def test_fusion_is_advised_against_only_where_no_fusion_can_gain_much():
    assert "Use flow alone" in verdict(rows((-0.02, -0.05, 0.01, 0.6)), 300, "video")
    assert "Use flow alone" in verdict(rows((-0.1, -0.15, -0.05, 0.001)), 300, "video")
    assert "No difference" in verdict(rows((-0.02, -0.05, 0.01, 0.6), (-0.03, -0.2, 0.1, 0.6)), 300, "video")
    assert verdict(rows((0.1, 0.05, 0.15, 0.001)), 300, "video").startswith("Fusion helps")


def test_the_interval_of_the_verdict_is_for_as_many_fusions_as_its_p(tmp_path):
    names, groups = [f"{'ab'[v % 2]}/{v:03d}" for v in range(90)], [f"g{v % 30}" for v in range(90)]
    made = {"classes": ("a", "b"), "names": names, "labels": np.arange(90) % 2, "groups": groups, "skill": 0.4}
    one = make_run(tmp_path / "one", rows=("rgb", "flow", "concat"), **made).results
    three = make_run(tmp_path / "three", rows=("rgb", "flow", "concat", "score", "gated"), **made).results
    alone, among = (found.row("concat").versus for found in (one, three))
    assert alone.difference == pytest.approx(among.difference)
    assert among.low < alone.low < alone.high < among.high
    assert "points, 95 % interval " in one.verdict
    assert "points, interval (95 % for 3 together) " in three.verdict


def test_where_no_groups_are_known_that_is_said_with_the_way_out(tmp_path):
    names = [f"{'ab'[v % 2]}/{v:03d}" for v in range(40)]
    made = {"classes": ("a", "b"), "names": names, "labels": np.arange(40) % 2}
    said = results_table(make_run(tmp_path / "alone", **made).results)
    assert "over 40 videos, each taken as independent, since none are known to belong together" in said
    assert "--group-by REGEX" in said
    assert "independent" not in results_table(
        make_run(tmp_path / "grouped", groups=[f"g{v % 20}" for v in range(40)], **made).results
    )
