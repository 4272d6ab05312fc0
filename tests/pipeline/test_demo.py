"""The demo set the real way, from video files to a run: what one stream alone can know, and what only both can."""

import math

import numpy as np
import pytest
from click.testing import CliRunner

from examples.demo_videos import CODECS, FRAMES, MATERIALS, MOTIONS, clip, write, write_set
from pipeline.cli import cli
from pipeline.learn.runs.run import Run
from workers.decode import decode

PER_LABEL = 10
VIDEOS = PER_LABEL * len(MATERIALS) * len(MOTIONS)


def chance_bound(share):
    """The accuracy that guessing right with this probability reaches in fewer than one of a thousand sets."""
    tail, right = 0.0, VIDEOS + 1
    while tail < 1e-3:
        right -= 1
        tail += math.comb(VIDEOS, right) * share**right * (1 - share) ** (VIDEOS - right)
    return right / VIDEOS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_set(folder / "videos", per_label=PER_LABEL)
    for words in (
        (
            "extract",
            "--videos",
            folder / "videos",
            "--out",
            folder / "features",
            "--samples",
            2,
            "--flow-option",
            "preset=fast",
            "--device",
            "cpu",
            "--inline",
            "--quiet",
        ),
        (
            "train-fusion",
            "--store",
            folder / "features",
            "--out",
            folder / "run",
            "--fusion",
            "concat,gated",
            "--device",
            "cpu",
            "--threads",
            1,
            "--no-report",
            "--quiet",
        ),
    ):
        result = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    return Run.open(folder / "run")


@pytest.mark.parametrize(("codec", "suffix"), CODECS)
def test_the_same_clip_shows_the_same_pictures_whenever_it_is_made(tmp_path, codec, suffix):
    shown = []
    for name in ("once", "again"):
        write(tmp_path / f"{name}{suffix}", codec, clip("brick", "rotating", np.random.default_rng(0)))
        [window] = decode(
            str(tmp_path / f"{name}{suffix}"),
            start=0,
            stop=FRAMES,
            seek_pts=None,
            rgb_frames=np.array([], np.int64),
            grey=True,
            short_side=256,
            upscale=False,
            window_frames=FRAMES,
        )
        shown.append(window.grey)
    assert np.array_equal(*shown)


def share_right(run, row, half):
    """How often a row is right about one half of the label, the material (0) or the motion (1)."""
    scores = run.scores()
    said = [scores.classes[c].split("_")[half] for c in scores.rows[row][0].argmax(1)]
    true = [name.split("/")[0].split("_")[half] for name in scores.names]
    return sum(one == other for one, other in zip(said, true, strict=True)) / VIDEOS


def test_each_stream_knows_its_half_of_the_label(run):
    assert share_right(run, "rgb", 0) >= 0.95
    assert share_right(run, "flow", 1) >= 0.95


@pytest.mark.parametrize(("row", "other_half"), [("rgb", len(MOTIONS)), ("flow", len(MATERIALS))])
def test_neither_stream_exceeds_its_half_by_more_than_chance_explains(run, row, other_half):
    assert run.results.row(row).metrics["top1"] <= chance_bound(1 / other_half)


def test_fusion_solves_what_neither_stream_can(run):
    results = run.results
    fused = [row for row in results.rows if row.fusion]
    assert results.videos == VIDEOS
    # nine clips a label are learnt from; `make demo`, with more clips and moments, comes nearer to 100 %
    assert max(row.metrics["top1"] for row in fused) >= 0.85 > chance_bound(1 / len(MATERIALS))
    assert all(row.versus.difference > 0.1 for row in fused)
    assert results.kept in {row.name for row in fused}
    assert results.verdict.startswith("Fusion helps")
