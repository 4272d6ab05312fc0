"""What `vidu-pipe plan` promises of time."""

from dataclasses import replace

import pytest

from pipeline.jobs import estimate as module
from pipeline.jobs.estimate import ENGINE_S, Estimate, Measured, estimate
from pipeline.jobs.prepare import prepare
from pipeline.planning.find import find_videos
from tests.pipeline.conftest import poisoned_environment

ESTIMATE = Estimate(
    shards=4,
    shards_done=0,
    videos_new=4,
    videos_relabelled=0,
    failures=(),
    damaged=(),
    moments=50,
    frames=400,
    longest_frames=100,
    start_s=12.0,
    workers=2,
    seconds_per_frame=0.1,
    measured_on="a",
)


def test_the_time_of_a_job_is_its_start_and_its_work_shared_by_the_workers():
    assert (ESTIMATE.work_s, ESTIMATE.total_s) == (pytest.approx(20), pytest.approx(32))


def test_no_job_is_shorter_than_its_longest_shard_takes_one_worker():
    assert replace(ESTIMATE, workers=100).work_s == pytest.approx(10)


def test_the_start_counts_libraries_of_driver_and_workers_networks_and_the_engine(world, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "measure", lambda *_: Measured(2.0, 0.01, "a"))
    settings, weights = prepare(world.asked)
    found = find_videos(str(world.folder))
    result = estimate(found, settings, weights, tmp_path / "store", 24, None, prepared_s=5.0)
    planned_s = result.start_s - (5.0 + ENGINE_S + 5.0 + 2.0)
    assert 0 < planned_s < 60
    assert (result.longest_frames, result.frames, result.seconds_per_frame) == (19, 114, 0.01)


def test_a_file_that_ends_the_process_that_decodes_it_does_not_end_the_estimate(world, tmp_path, monkeypatch, caplog):
    for name, value in poisoned_environment(POISON_DECODE="v1.avi").items():  # of the middle shard
        monkeypatch.setenv(name, value)
    settings, weights = prepare(world.asked)
    result = estimate(find_videos(str(world.folder)), settings, weights, tmp_path / "store", 24, None, prepared_s=1.0)
    assert result.measured_on == "class0/v0"
    assert result.seconds_per_frame > 0
    assert "shard 000003: a video in it ends the process" in caplog.text
