"""Whole extractions in this process: what is done is kept, what is bad is remade, what fails is named."""

import json
import logging
import os
import pkgutil
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pipeline.jobs.inline_engine
from pipeline.jobs.engine import Died, Done, Lost, Told
from pipeline.jobs.job import _of_another_plan, do_job, verify_shards
from pipeline.jobs.progress import Display
from pipeline.planning.outcomes import BadVideos
from schemas.config import Sampling
from schemas.disk.store import Store
from schemas.errors import ConfigError, MachineError, ResourceError, StoreError
from tests.builders import a_task
from tests.pipeline.conftest import digests, leftovers
from tests.videos import write_video
from workers import process
from workers.decode import decode
from workers.networks import batches
from workers.process import Progress

MAKE_SHARD = process.make_shard


@pytest.fixture
def store(reference, tmp_path):
    return Path(shutil.copytree(reference, tmp_path / "store"))


def test_every_video_has_all_its_moments_in_every_stream(world, reference):
    rows = Store.open(reference).video_rows()
    assert [video.id for video in rows] == [f"class{k % 2}/v{k}" for k in (0, 2, 4, 1, 3, 5)]
    assert [video.moments for video in rows] == [3] * 6
    assert all(piece.outcome == "ok" for video in rows for piece in video.pieces)
    assert leftovers(reference) == []


@pytest.fixture
def long_pictures(tmp_path):
    """Three ordinary videos, and three of which every picture is 30,000 x 2 px."""
    folder = tmp_path / "videos"
    folder.mkdir()
    picture = np.full((2, 30000, 3), 99, np.uint8)
    for k in range(3):
        write_video(folder / f"long{k}.mkv", images=[picture] * 4, codec="ffv1")
        write_video(folder / f"plain{k}.mp4", frames=4, width=64, height=48)
    return folder


def test_videos_of_very_long_pictures_are_extracted_as_others_are(world, long_pictures, tmp_path):
    summary = world.extract(tmp_path / "store", folder=long_pictures)
    assert (summary.lost, summary.bad) == ([], BadVideos((), ()))
    assert sum(report.rows for report in summary.made) == 6


def test_a_video_whose_pictures_ask_too_much_memory_fails_alone_before_it_is_decoded(
    world, long_pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr(process, "decode", lambda path, **how: decode(path, **how) if "plain" in path else 1 / 0)
    job = world.job(tmp_path / "store", folder=long_pictures)
    summary = do_job(replace(job, settings=replace(job.settings, upscale=True, short_side_px=48)))
    assert [(video.id, video.reason) for video in summary.failed] == [
        (f"long{k}", "VideoTooLargeError") for k in range(3)
    ]
    assert "held as 720000 x 48 px; at most 16,777,216 px are held" in summary.failed[0].message
    assert (summary.lost, sum(report.rows for report in summary.made)) == ([], 3)


def test_the_same_job_again_does_nothing(world, store):
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file() and path.name != ".lock"}
    summary = world.extract(store)
    assert (summary.made, summary.kept, summary.failed, summary.lost) == ([], 6, (), [])
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_bad_shards_are_named_and_these_alone_are_made_again_with_the_same_bytes(world, store, reference):
    (store / "shards" / "000000.h5").unlink()
    (store / "reports" / "000001.json").unlink()
    (store / "reports" / "000002.json").write_text("{")
    third = store / "shards" / "000003.h5"
    third.write_bytes(third.read_bytes()[:-100])
    fourth = store / "shards" / "000004.h5"
    spoiled = bytearray(fourth.read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    fourth.write_bytes(spoiled)
    opened = Store.open(store)
    troubles = {report.shard: trouble for report, trouble in verify_shards(opened, opened.books.read_plan())}
    assert {shard for shard, trouble in troubles.items() if trouble} == {"000000", "000003", "000004"}
    summary = world.extract(store)
    assert sorted(report.shard for report in summary.made) == [f"{k:06d}" for k in range(5)]
    assert digests(store) == digests(reference)
    assert not any(trouble for _, trouble in verify_shards(opened, opened.books.read_plan()))


def test_a_report_of_another_plan_does_not_make_a_shard_done(world, store, reference):
    other = (reference / "reports" / "000001.json").read_text()
    (store / "reports" / "000002.json").write_text(other.replace('"000001"', '"000002"'))
    shutil.copy(reference / "shards" / "000001.h5", store / "shards" / "000002.h5")
    report = Store.open(store).books.report("000002")
    assert "other segments" in _of_another_plan(a_task("000002"), report)
    assert [report.shard for report in world.extract(store).made] == ["000002"]
    assert digests(store) == digests(reference)


def test_a_run_that_ends_anywhere_goes_on_there_with_the_same_bytes(world, reference, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def dying(task, tools, where, *, after):
        for number, event in enumerate(MAKE_SHARD(task, tools, where)):
            if task.shard == "000003" and number == after:
                raise Killed
            yield event

    for after in (0, 1):
        with monkeypatch.context() as patched:
            patched.setattr(
                process, "make_shard", lambda task, tools, where, after=after: dying(task, tools, where, after=after)
            )
            with pytest.raises(Killed):
                world.extract(tmp_path / "store")
    assert len(digests(tmp_path / "store")) == 3
    assert world.extract(tmp_path / "store").kept == 3
    assert digests(tmp_path / "store") == digests(reference)


def test_a_planning_that_was_killed_goes_on_where_it_was(world, reference, folder, tmp_path, monkeypatch):
    from pipeline.planning import probing

    plan_video, probed, first = probing.plan_video, [], []

    def killed(found, *more):
        if len(probed) == 4 and not first:
            raise KeyboardInterrupt
        probed.append(found.id)
        return plan_video(found, *more)

    monkeypatch.setattr(probing, "plan_video", killed)
    out = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt):
        world.extract(out, folder=folder)
    kept = out / ".probes.jsonl"
    kept.write_text(kept.read_text()[:-20])  # the kill fell into the last line
    (changed,) = folder.rglob("v0.mp4")
    os.utime(changed, (1, 1))
    first[:], probed[:] = probed, []
    summary = world.extract(out, folder=folder)
    assert first[1] not in probed
    assert sorted(probed) == sorted({"class0/v0", first[3], *(video.id for video in world.job(out).videos[4:])})
    assert (len(summary.made), summary.failed, kept.exists()) == (6, (), False)
    assert Store.open(out).books.read_plan() == up_to_date_plan(world, folder, tmp_path / "other")


def up_to_date_plan(world, folder, out):
    """The plan of a store that was planned in one go."""
    world.extract(out, folder=folder)
    return Store.open(out).books.read_plan()


def test_a_full_disk_ends_the_run_and_loses_nothing_finished(world, reference, tmp_path, monkeypatch):
    real, calls = os.fsync, []

    def filling(handle):
        calls.append(handle)
        if len(calls) > 12:
            raise OSError(28, "No space left on device")
        real(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", filling)
        with pytest.raises(ResourceError, match="No space left on device"):
            world.extract(tmp_path / "store")
    kept = digests(tmp_path / "store")
    assert 0 < len(kept) < 6
    assert leftovers(tmp_path / "store") == []
    assert world.extract(tmp_path / "store").kept == len(kept)
    assert digests(tmp_path / "store") == digests(reference)


def test_other_settings_are_refused_with_the_difference(world, store):
    rgb, flow = world.asked.streams
    other = replace(
        world, asked=replace(world.asked, sampling=Sampling(every=4), streams=(rgb, replace(flow, method="dis")))
    )
    with pytest.raises(StoreError, match=r"sampling\.every: 8, 4\n  stream\.flow\.method: farneback, dis\n.*`out`"):
        other.extract(store)


def test_other_software_is_refused_unless_it_is_accepted(world, store):
    head = json.loads((store / "store.json").read_text())
    head["software"]["av"] = "1.0"
    (store / "store.json").write_text(json.dumps(head))
    (store / "reports" / "000000.json").unlink()
    with pytest.raises(StoreError, match=r"(?s)av: 1\.0, .*`mixed_software`"):
        world.extract(store)
    assert len(world.extract(store, mixed_software=True).made) == 1


def test_a_folder_that_is_no_store_is_left_alone(world, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"thesis\.tex"):
        world.extract(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_second_extract_on_a_store_that_is_being_written_is_refused(world, store):
    with Store.open(store).books.lock(), pytest.raises(ResourceError, match="being written by process"):
        world.extract(store)


@pytest.fixture
def folder(world, tmp_path):
    return Path(shutil.copytree(world.folder, tmp_path / "videos"))


def test_new_videos_are_added_as_new_shards(world, store, folder, reference):
    write_video(folder / "class0" / "new.mkv", frames=10, width=32, height=32)
    summary = world.extract(store, folder=folder)
    assert ([report.shard for report in summary.made], summary.kept) == (["000006"], 6)
    assert {shard: digest for shard, digest in digests(store).items() if shard < "000006"} == digests(reference)
    assert "class0/new" in [video.id for video in Store.open(store).video_rows()]


def test_a_bad_file_costs_itself_alone_and_is_mended_by_retrying(world, folder, tmp_path):
    out = tmp_path / "store"
    good = (folder / "class0" / "v0.mp4").read_bytes()
    (folder / "class0" / "v0.mp4").write_bytes(b"nonsense")
    summary = world.extract(out, folder=folder)
    assert [(video.id, video.reason) for video in summary.failed] == [("class0/v0", "VideoOpenError")]
    assert len(Store.open(out).video_rows()) == 5
    (folder / "class0" / "v0.mp4").write_bytes(good)
    assert [video.id for video in world.extract(out, folder=folder).failed] == ["class0/v0"]
    summary = world.extract(out, folder=folder, retry_failed=True)
    assert (summary.failed, len(summary.made)) == ((), 1)
    assert len(Store.open(out).video_rows()) == 6


def test_a_file_that_changes_while_the_run_waits_fails_and_retrying_takes_the_new_one(world, folder, tmp_path):
    out, job = tmp_path / "store", world.job(tmp_path / "store", folder=folder)
    started = Path(shutil.copytree(folder, tmp_path / "old"))
    write_video(folder / "class1" / "v5.avi", frames=17, width=64, height=48, codec="mpeg4")
    # planned with the old file, made with the new one
    first = replace(job, videos=[replace(v, path=v.path.replace(str(folder), str(started))) for v in job.videos])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pipeline.jobs.inline_engine.InlineEngine, "run", lambda *_: iter(()))
        do_job(first)
    shutil.copy(folder / "class1" / "v5.avi", started / "class1" / "v5.avi")
    summary = do_job(first)
    assert [(video.id, video.reason) for video in summary.failed] == [("class1/v5", "VideoDecodeError")]
    assert "changed after it was planned" in summary.failed[0].message
    summary = do_job(replace(first, retry_failed=True))
    assert summary.failed == ()
    assert {v.id: (v.moments, v.attempt) for v in Store.open(out).video_rows()}["class1/v5"] == (3, 1)


def test_a_video_that_breaks_off_is_partial_and_keeps_its_moments(world, folder, tmp_path):
    whole = write_video(tmp_path / "long.avi", frames=60, codec="mpeg4").read_bytes()
    (folder / "cut.avi").write_bytes(whole[: len(whole) * 2 // 3])
    summary = world.extract(tmp_path / "store", folder=folder)
    assert [(video.id, video.reason) for video in summary.partial] == [("cut", "VideoDecodeError")]
    assert "60" in summary.partial[0].message
    assert 0 < {v.id: v.moments for v in Store.open(tmp_path / "store").video_rows()}["cut"] < 8


def test_names_that_are_not_utf8_are_extracted_like_any_other(world, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(world.folder / "class0" / "v0.mp4", folder / "caf\udce9 中.mp4")
    summary = world.extract(tmp_path / "store", folder=folder)
    assert summary.failed == ()
    assert [video.id for video in Store.open(tmp_path / "store").video_rows()] == ["caf\udce9 中"]


def test_a_store_of_no_good_video_is_a_store_and_says_so(world, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"nonsense")
    summary = world.extract(tmp_path / "store", folder=tmp_path / "videos")
    assert (summary.made, len(summary.failed)) == ([], 1)
    assert Store.open(tmp_path / "store").video_rows() == []


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("workers.process.decode", MemoryError()),
        ("workers.networks.batches.StreamNetwork.run", MemoryError()),
        (
            "workers.networks.batches.StreamNetwork.run",
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."),
        ),
        ("workers.networks.batches.StreamNetwork.run", RuntimeError("Exception from core.cpp:117:\nstd::bad_alloc")),
        ("workers.networks.batches.StreamNetwork.run", torch.OutOfMemoryError("CUDA out of memory")),
        ("workers.moments.MomentBuilder.add", MemoryError()),
        ("workers.ledger.fingerprint", MachineError("a: reading fails")),
    ],
)
def test_what_the_machine_fails_at_is_done_again_and_blamed_on_nobody(
    world, reference, tmp_path, monkeypatch, where, error
):
    owner, _, name = where.rpartition(".")
    owner = pkgutil.resolve_name(owner)
    function, calls = getattr(owner, name), []

    def failing(*arguments, **options):
        calls.append(name)
        if len(calls) in (2, 4):
            raise type(error)(*error.args)  # a new one each time: an error that is kept keeps the frames it passed
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, failing)
    summary = world.extract(tmp_path / "store")
    assert (summary.lost, summary.failed, summary.partial) == ([], (), ())
    assert digests(tmp_path / "store") == digests(reference)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_a_video_that_the_machine_never_manages_fails_alone(world, tmp_path, monkeypatch, error):
    def failing(path, **options):
        if path.endswith("v2.mp4"):
            raise type(error)(*error.args)
        return decode(path, **options)

    monkeypatch.setattr(process, "decode", failing)
    summary = world.extract(tmp_path / "store", retries=1, shard_frames=10**6)
    assert [(video.id, video.reason) for video in summary.failed] == [("class0/v2", "VideoCrashError")]
    assert (summary.lost, sum(report.rows for report in summary.made)) == ([], 15)


def test_a_machine_without_memory_for_anything_loses_shards_blames_no_video_and_gives_up_soon(
    world, tmp_path, monkeypatch, caplog
):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(batches.StreamNetwork, "run", full)
    summary = world.extract(tmp_path / "store", retries=1)
    ((why, trace),) = {(lost.why, lost.trace) for lost in summary.lost}
    assert "out of memory" in why
    assert (trace, summary.failed, summary.made, len(summary.lost)) == ("", (), [], 3)
    assert "3 shards lost, 0 to a bug" in caplog.text


def test_a_bug_costs_its_shard_and_is_shown_once_with_its_trace(world, reference, tmp_path, monkeypatch):
    def buggy(task, tools, where):
        if task.shard in ("000001", "000004"):
            raise ZeroDivisionError("a bug")
        return MAKE_SHARD(task, tools, where)

    monkeypatch.setattr(process, "make_shard", buggy)
    summary = world.extract(tmp_path / "store")
    assert sorted(lost.task.shard for lost in summary.lost) == ["000001", "000004"]
    assert len(summary.traces) == 1
    assert "ZeroDivisionError: a bug" in summary.traces[0]
    assert len(summary.made) == 4


def test_a_bug_in_every_shard_is_not_met_thousands_of_times(world, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "make_shard", lambda *_: 1 / 0)
    summary = world.extract(tmp_path / "store")
    assert (len(summary.lost), summary.made) == (3, [])


def shown(tasks, events, tmp_path, **options):
    with Display(tasks, quiet=False, log_json=tmp_path / "log.jsonl", **options) as display:
        for event in events:
            display.follow(event)
        return display, [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]


def test_the_log_tells_what_happens_one_json_object_a_line(reference, tmp_path):
    tasks, report = [a_task("000000"), a_task("000001")], Store.open(reference).books.report("000000")
    display, lines = shown(
        tasks,
        [
            Told(tasks[0], Progress(5)),
            Died(tasks[0], "killed"),
            Told(tasks[0], Progress(3)),
            Done(report),
            Lost(tasks[1], "why", "trace"),
        ],
        tmp_path,
    )
    assert [line["event"] for line in lines] == ["start", "died", "shard", "lost"]
    assert lines[2]["sha256"] == report.sha256
    assert all(line["time"] > 1e9 for line in lines)
    assert display._told == {}


def test_a_second_run_appends_to_the_log(tmp_path):
    shown([], [], tmp_path)
    assert [line["event"] for line in shown([], [], tmp_path)[1]] == ["start", "start"]


def test_a_log_that_can_not_be_written_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="`log_json`"):
        Display([], quiet=True, log_json=tmp_path / "gone" / "log.jsonl")


def test_plain_lines_tell_progress_when_nobody_sees_a_bar(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("pipeline.jobs.progress._LINE_EVERY_S", -1.0)
    task = a_task()
    with caplog.at_level(logging.INFO):
        shown([task], [Told(task, Progress(10))], tmp_path)
    assert "10 of 30 frames" in caplog.text
    assert "0/1 video" in caplog.text
