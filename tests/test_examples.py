"""The examples that a reader runs first do what they say."""

import subprocess
import sys

import pytest

from examples import demo_videos, quickstart
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three clips of each of the demo's labels."""
    folder = tmp_path_factory.mktemp("examples") / "videos"
    demo_videos.write_set(folder, per_label=3)
    return folder


def test_the_quickstart_goes_from_videos_to_a_report(videos, tmp_path):
    run = quickstart.main(str(videos), str(tmp_path), inline=True, quiet=True, device="cpu")
    assert {row.name for row in run.results.rows} >= {"rgb", "flow", "concat"}
    assert (tmp_path / "run" / "report.html").exists()


def test_the_walkthrough_runs_from_top_to_bottom(videos, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "examples.walkthrough", str(videos), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = done.stderr
    assert "rgb (2, 1280), flow (2, 1280)" in said
    assert "motion of the middle: 1.0" in said
    assert "report: " in said
