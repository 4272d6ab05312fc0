"""Extractions on Ray, with workers that die; one Ray run serves several questions."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.jobs import ray_engine as cluster
from pipeline.jobs.prepare import prepare
from pipeline.jobs.ray_engine import ClusterOptions, RayEngine
from pipeline.planning.find import Found, find_videos
from pipeline.planning.outcomes import BadVideos
from pipeline.planning.probing import plan_videos
from schemas.disk.books import Books
from schemas.disk.store import Store
from schemas.errors import ResourceError
from schemas.plan import Failure, runs
from tests.builders import ORIGIN, SETTINGS, a_task
from tests.pipeline.conftest import digests, leftovers, poisoned_environment
from tests.videos import write_video


@pytest.fixture
def starts(monkeypatch):
    """What ray.init was asked for; it fails as often as `failing` says."""
    asked, failing = [], [0]

    def init(**options):
        asked.append(options)
        if len(asked) <= failing[0]:
            raise Exception("The current node timed out during startup.")  # as Ray does

    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    return asked, failing


def test_ray_that_does_not_start_is_started_once_more(starts, caplog):
    asked, failing = starts
    failing[0] = 1
    cluster._start(ClusterOptions(workers=2))
    assert len(asked) == 2
    assert "did not start (The current node timed out" in caplog.text


def test_ray_that_does_not_start_at_all_is_told_in_words(starts):
    asked, failing = starts
    failing[0] = 9
    with pytest.raises(ResourceError, match=r"does not start on this machine: The current node.*`inline`"):
        cluster._start(ClusterOptions(workers=2))
    with pytest.raises(ResourceError, match=r"no Ray at 10\.0\.0\.1:6379: The current node"):
        cluster._start(ClusterOptions(address="10.0.0.1:6379"))
    assert len(asked) == 3


def test_ray_that_is_in_use_is_left_alone(starts, monkeypatch):
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: 1 / 0)
    with pytest.raises(ResourceError, match="uses Ray already"):
        cluster._start(ClusterOptions())
    assert starts[0] == []


def test_ray_is_left_when_nothing_here_can_run_a_task(starts, world, tmp_path, monkeypatch):
    settings, weights = prepare(world.asked)
    left = []
    monkeypatch.setattr(cluster.ray, "put", lambda value: value)
    monkeypatch.setattr(cluster.ray, "cluster_resources", dict)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: left.append(True))
    with (
        pytest.raises(ResourceError, match="nothing here can run a task"),
        RayEngine(settings, weights, Store(Books(tmp_path, ORIGIN)), ClusterOptions()),
    ):
        pass
    assert left == [True]


def test_no_video_is_blamed_where_a_shard_without_any_fails_too(monkeypatch):
    engine = RayEngine(SETTINGS, {}, Store(Books(Path("unused"), ORIGIN)), ClusterOptions())
    monkeypatch.setattr(engine, "_dying", lambda _, videos: list(videos))
    assert engine._deadly(a_task(videos=("a", "b"))) == frozenset()
    monkeypatch.setattr(engine, "_dying", lambda _, videos: [video for video in videos if video == "b"])
    assert engine._deadly(a_task(videos=("a", "b"))) == {"b"}


@pytest.fixture(scope="module")
def deadly_run(world, tmp_path_factory):
    """Two workers; v1 kills its worker once, v3 finds no memory once, v4 kills every process that decodes it."""
    out = tmp_path_factory.mktemp("deadly") / "store"
    with pytest.MonkeyPatch.context() as patched:
        for name, value in poisoned_environment(
            POISON_DECODE_ONCE="v1.avi",
            POISON_MEMORY_ONCE="v3.avi",
            POISON_DECODE="v4.mp4",
            POISON_FOLDER=str(out.parent),
        ).items():
            patched.setenv(name, value)
        summary = world.extract(out, inline=False, workers=2, retries=1, log_json=out.parent / "log.jsonl")
    events = [json.loads(line) for line in (out.parent / "log.jsonl").read_text().splitlines()]
    return out, summary, events


def shard_of(root, video):
    (shard,) = {task.shard for task in Store.open(root).books.read_plan().shards for v in task.videos if v.id == video}
    return shard


def test_workers_that_died_or_found_no_memory_were_seen_and_their_shards_begun_again(deadly_run):
    out, _, events = deadly_run
    died = [event["shard"] for event in events if event["event"] == "died"]
    assert died.count(shard_of(out, "class1/v1")) >= 1
    assert died.count(shard_of(out, "class1/v3")) >= 1
    assert died.count(shard_of(out, "class0/v4")) >= 2
    assert (out.parent / "v1.avi").exists()
    assert (out.parent / "v3.avi").exists()


def test_a_video_that_kills_every_worker_fails_alone(deadly_run):
    out, summary, _ = deadly_run
    assert [(video.id, video.reason) for video in summary.failed] == [("class0/v4", "VideoCrashError")]
    assert summary.lost == []
    assert len(summary.made) == 6
    assert "class0/v4" not in [video.id for video in Store.open(out).video_rows()]


def test_features_are_the_same_bytes_whoever_made_them_in_whatever_order(deadly_run, reference):
    out, _, _ = deadly_run
    ours, theirs = digests(out), digests(reference)
    deadly = shard_of(out, "class0/v4")
    assert ours.pop(deadly) != theirs.pop(deadly)
    assert ours == theirs
    assert len(ours) == 5


def test_nothing_is_left_half_written_by_the_dead(deadly_run):
    out, _, _ = deadly_run
    assert leftovers(out) == []
    assert sorted(path.stem for path in (out / "shards").iterdir()) == sorted(digests(out))


def test_one_worker_resumes_a_store_to_the_same_bytes_and_shards_go_on_from_one_another(
    world, reference, tmp_path, monkeypatch
):
    monkeypatch.setattr("pipeline.planning.plan.HAND_ON_FRAMES", 16)
    monkeypatch.setattr(
        "pipeline.jobs.job.plan_videos", lambda jobs, settings, *_, **__: plan_videos(jobs, settings, inline=True)
    )  # a process of its own would not know of the bound
    raw = write_video(tmp_path / "raw.h264", frames=60, width=48, height=48)
    videos = [*find_videos(str(world.folder)), Found("raw", str(raw))]
    made = []
    for name, inline in (("inline", True), ("ray", False)):
        out = Path(shutil.copytree(reference, tmp_path / name))
        for shard in ("000001", "000004"):
            (out / "reports" / f"{shard}.json").unlink()
        summary = world.extract(out, videos=videos, inline=inline, workers=1)
        made.append(digests(out))
        assert (len(summary.made), summary.kept, summary.lost, summary.bad) == (
            2 + len(made[0]) - 6,
            4,
            [],
            BadVideos((), ()),
        )
    assert made[0] == made[1] == made[1] | digests(reference)
    assert [len(run) for run in runs(Store.open(out).books.read_plan().shards)] == [1] * 6 + [len(made[0]) - 6]
    assert len(made[0]) > 8


def test_a_file_that_kills_the_process_that_probes_it_is_a_failure_and_the_others_are_planned(
    world, monkeypatch, tmp_path
):
    for name, value in poisoned_environment(POISON_PROBE="v2.mp4").items():
        monkeypatch.setenv(name, value)
    job = world.job(tmp_path / "unused")
    jobs = [(video, 0) for video in job.videos]
    jobs += [
        (replace(video, id=f"{video.id}-{k}"), 0)
        for k in range(4)
        for video in job.videos
        if not video.path.endswith("v2.mp4")
    ]
    results = plan_videos(jobs, job.settings, inline=False)
    failed = [result for result in results if isinstance(result, Failure)]
    assert [(failure.id, failure.reason) for failure in failed] == [("class0/v2", "VideoCrashError")]
    assert [result.id if isinstance(result, Failure) else result.video.id for result in results] == [
        file.id for file, _ in jobs
    ]
