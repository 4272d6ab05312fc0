"""Jobs of flow files go the way that jobs of features go: these tests hold that way to what it promises."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.jobs.job import do_job
from schemas.disk.flow_store import FlowStore
from schemas.errors import ConfigError, ResourceError, StoreError
from tests.flowing import bytes_of, flow_job, write_cut, write_moving

ROOT = Path(__file__).parents[3]


@pytest.fixture
def videos(tmp_path):
    """Three good videos, one in a folder of its own."""
    write_moving(tmp_path / "videos/a.mp4", dx=1)
    write_moving(tmp_path / "videos/b.mp4", dx=-1)
    write_moving(tmp_path / "videos/c/d.mp4", dy=1)
    return tmp_path / "videos"


def test_every_video_gets_its_folder_and_a_second_run_has_nothing_to_do(videos, tmp_path):
    first = do_job(flow_job(videos, tmp_path / "out"))
    assert (len(first.made), first.kept, first.failed, first.partial, first.lost) == (3, 0, (), (), [])
    before = bytes_of(tmp_path / "out")
    assert {name.rsplit("/", 1)[0] for name in before} == {"a", "b", "c/d"}
    again = do_job(flow_job(videos, tmp_path / "out"))
    assert (len(again.made), again.kept) == (0, 3)
    assert bytes_of(tmp_path / "out") == before


@pytest.mark.parametrize("settings", [{}, {"format": "npy", "bound_px": None, "dtype": "float32"}])
def test_removed_and_corrupted_outputs_are_noticed_and_made_again(videos, tmp_path, settings):
    do_job(flow_job(videos, tmp_path / "out", **settings))
    before = bytes_of(tmp_path / "out")
    names = list(before)
    (tmp_path / "out" / names[0]).unlink()
    damaged = tmp_path / "out" / names[-1]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1  # the same size, one bit of another value
    damaged.write_bytes(data)
    again = do_job(flow_job(videos, tmp_path / "out", **settings))
    assert (len(again.made), again.kept) == (2, 1)
    assert bytes_of(tmp_path / "out") == before


def test_new_videos_join_and_changed_ones_are_refused(videos, tmp_path):
    do_job(flow_job(videos, tmp_path / "out"))
    write_moving(videos / "e.mp4", dx=2)
    assert len(do_job(flow_job(videos, tmp_path / "out")).made) == 1
    write_moving(videos / "a.mp4", dx=3)
    with pytest.raises(ConfigError, match=r"a\.mp4"):
        do_job(flow_job(videos, tmp_path / "out"))


def test_other_settings_are_refused_and_the_difference_is_shown(videos, tmp_path):
    do_job(flow_job(videos, tmp_path / "out"))
    with pytest.raises(StoreError, match=r"bound_px: 20\.0, 15\.0"):
        do_job(flow_job(videos, tmp_path / "out", bound_px=15.0))


def test_broken_videos_are_told_and_the_others_made(videos, tmp_path):
    (videos / "no.mp4").write_bytes(b"this is no video")
    write_cut(videos / "half.avi")
    summary = do_job(flow_job(videos, tmp_path / "out"))
    assert [(video.id, video.reason) for video in summary.failed] == [("no", "VideoOpenError")]
    assert [video.id for video in summary.partial] == ["half"]
    assert len(summary.made) == 4
    assert not (tmp_path / "out/no").exists()
    assert len(list((tmp_path / "out/half").glob("flow_x_*.jpg"))) > 5


def test_a_mended_video_takes_the_place_of_its_half(videos, tmp_path):
    write_cut(videos / "half.avi")
    do_job(flow_job(videos, tmp_path / "out"))
    rows = len(list((tmp_path / "out/half").glob("flow_x_*.jpg")))
    write_moving(videos / "half.avi", frames=rows + 5)
    summary = do_job(flow_job(videos, tmp_path / "out", retry_failed=True))
    assert (len(summary.made), summary.partial, summary.failed) == (1, (), ())
    assert len(list((tmp_path / "out/half").glob("flow_x_*.jpg"))) == rows + 4
    again = do_job(flow_job(videos, tmp_path / "out"))
    assert (len(again.made), again.kept) == (0, 4)


def test_a_failed_video_that_is_mended_is_made(videos, tmp_path):
    (videos / "no.mp4").write_bytes(b"this is no video")
    do_job(flow_job(videos, tmp_path / "out"))
    write_moving(videos / "no.mp4")
    assert len(do_job(flow_job(videos, tmp_path / "out")).made) == 0
    summary = do_job(flow_job(videos, tmp_path / "out", retry_failed=True))
    assert (len(summary.made), summary.failed) == (1, ())


def test_only_one_process_writes_at_a_time(videos, tmp_path):
    do_job(flow_job(videos, tmp_path / "out"))
    with FlowStore.open(tmp_path / "out").books.lock(), pytest.raises(ResourceError, match="is being written"):
        do_job(flow_job(videos, tmp_path / "out"))


def test_videos_whose_folders_would_nest_are_refused_before_any_work(tmp_path):
    write_moving(tmp_path / "videos/a.mp4")
    write_moving(tmp_path / "videos/a/b.mp4")
    with pytest.raises(ConfigError, match="inside the folder of video 'a'"):
        do_job(flow_job(tmp_path / "videos", tmp_path / "out"))
    assert bytes_of(tmp_path / "out") == {}


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path):
    for number in range(8):
        write_moving(tmp_path / f"videos/v{number}.mp4", frames=12, dx=0.5 * number)
    command = [
        sys.executable,
        "-c",
        "from pipeline.cli import main; main()",
        "flow",
        "--videos",
        str(tmp_path / "videos"),
        "--out",
        str(tmp_path / "out"),
        "--method",
        "dis",
        "--short-side",
        "256",
        "--upscale",
        "--inline",
        "--quiet",
        "--device",
        "cpu",
    ]
    reports = tmp_path / "out/.vidu-pipe/reports"
    process = subprocess.Popen(command, cwd=ROOT)
    while process.poll() is None and not (reports.exists() and len(list(reports.glob("*.json"))) > 1):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    settings = {"short_side_px": 256, "upscale": True}
    summary = do_job(flow_job(tmp_path / "videos", tmp_path / "out", **settings))
    assert summary.kept >= 2
    assert summary.made
    assert summary.kept + len(summary.made) == 8
    assert list((tmp_path / "out/.vidu-pipe/making").iterdir()) == []
    do_job(flow_job(tmp_path / "videos", tmp_path / "whole", **settings))
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")


def test_ray_makes_the_same_bytes_as_this_process(videos, tmp_path):
    write_cut(videos / "half.avi")
    inline = do_job(flow_job(videos, tmp_path / "inline", rgb=True))
    ray = do_job(flow_job(videos, tmp_path / "ray", rgb=True, inline=False, workers=2))
    assert bytes_of(tmp_path / "ray") == bytes_of(tmp_path / "inline")
    assert len(ray.made) == len(inline.made) == 4
    assert [video.id for video in ray.partial] == ["half"]
