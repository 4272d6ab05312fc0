"""Scores are fused and judged by the same groups as training has."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.exchange.fusing import fuse_scores
from pipeline.exchange.scores import read_scores
from pipeline.learn.models.score_weights import fit_weights
from schemas.labels import LabelRow
from tests.pipeline.report.synthetic import make_run

NAMES = [f"{'abc'[v % 3]}/v{v:02d}" for v in range(60)]
GROUPS = [f"g{v // 10}" for v in range(60)]


@pytest.fixture
def run(tmp_path):
    """A run of 60 videos from 6 sources."""
    return make_run(
        tmp_path / "run", classes=("a", "b", "c"), names=NAMES, labels=np.arange(60) % 3, skill=0.4, groups=GROUPS
    )


def plain(run, path):
    """The scores of a run as anyone writes them: without its groups."""
    with np.load(run.root / "scores.npz") as file:
        np.savez(path, **{name: file[name] for name in file.files})
    return str(path)


def test_the_same_rows_have_the_same_interval_in_a_run_and_in_fuse(run):
    found = fuse_scores([f"{run.root}:rgb", f"{run.root}:flow"], how="none")
    assert (found.unit, found.units) == ("group", 6)
    for name, row in zip(("rgb", "flow"), found.rows, strict=False):
        known = run.results.row(name)
        assert (row.main, row.low, row.high) == (known.metrics["top1"], known.low, known.high)
    versus = run.results.row("concat").versus
    alone = fuse_scores([f"{run.root}:concat", f"{run.root}:{versus.row}"], weights="1,0")
    assert alone.rows[1].p == pytest.approx(versus.p)


def test_groups_come_from_the_option_the_label_file_the_score_files_or_the_names(run, tmp_path):
    sources = [plain(run, tmp_path / f"{name}.npz") + f":{name}" for name in ("rgb", "flow")]
    labels = [LabelRow(name, (name[0],), "", f"s{v % 4}") for v, name in enumerate(NAMES)]
    assert fuse_scores(sources).units == 60
    assert fuse_scores(sources, labels=labels).units == 4
    assert fuse_scores(sources, labels=labels, group_by=r"v\d").units == 6
    assert fuse_scores([f"{run.root}:rgb", sources[1]], labels=labels).units == 4
    assert fuse_scores([f"{run.root}:rgb", sources[1]], labels=[replace(row, group="") for row in labels]).units == 6


@pytest.mark.parametrize("name", ["out.npz", "out.csv"])
def test_what_is_written_keeps_its_groups(run, tmp_path, name):
    fuse_scores([f"{run.root}:rgb", f"{run.root}:flow"], out=tmp_path / name)
    assert read_scores(str(tmp_path / name)).groups == tuple(GROUPS)
    assert fuse_scores([str(tmp_path / name)]).units == 6


def test_weights_are_fitted_on_whole_groups(run, monkeypatch):
    halves = []

    def fit(tables, members):
        halves.append(tables[0].tobytes())
        return np.ones(len(tables))

    monkeypatch.setattr("pipeline.exchange.fusing.fit_weights", fit)
    scores = read_scores(f"{run.root}:rgb").scores
    fuse_scores([f"{run.root}:rgb", f"{run.root}:flow"], how="none", weights="fit")
    for half in halves[:2]:
        rows = {row.tobytes() for row in np.frombuffer(half).reshape(-1, 3)}
        inside = [any(scores[v].tobytes() in rows for v in range(g, g + 10)) for g in range(0, 60, 10)]
        whole = [all(scores[v].tobytes() in rows for v in range(g, g + 10)) for g in range(0, 60, 10)]
        assert inside == whole
        assert sum(whole) == 3


@pytest.mark.parametrize("helpful", [(3.0, 0.5), (3.0, -1.0), (0.4, 2.0)])
def test_fitted_weights_are_the_most_likely_ones_that_are_not_negative(helpful):
    rng = np.random.default_rng(0)
    members = np.eye(4, dtype=bool)[rng.integers(4, size=200)]
    tables = np.stack([rng.normal(size=(200, 4)) + much * members for much in helpful])

    def likelihood(weights):
        scores = np.tensordot(weights, tables, axes=1)
        return (scores[members] - np.log(np.exp(scores).sum(1))).sum()

    share = fit_weights(tables, members)
    assert share.min() >= 0
    best = max((likelihood(np.array([a, b])), a, b) for a in np.linspace(0, 4, 81) for b in np.linspace(0, 4, 81))
    assert share[0] == pytest.approx(best[1] / (best[1] + best[2]), abs=0.02)


def test_where_no_scores_help_all_weigh_the_same():
    members = np.eye(2, dtype=bool)[np.arange(40) % 2]
    assert fit_weights(np.stack([-1.0 * members, -2.0 * members]), members).tolist() == [0.5, 0.5]
