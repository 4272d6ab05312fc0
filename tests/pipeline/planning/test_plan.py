import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.planning.find import Found
from pipeline.planning.plan import (
    HAND_ON_FRAMES,
    SEEK_GAP_FRAMES,
    SEGMENT_FRAMES,
    SHARD_FRAMES,
    SHARDS_AIMED_AT,
    Planned,
    cut,
    extended,
    first_plan,
    pack,
    plan_video,
    update_of,
)
from schemas.config import Sampling
from schemas.errors import ConfigError
from schemas.plan import Failure, ShardReport, runs
from schemas.streams import Flow, Rgb
from tests.builders import PROBE, SETTINGS, a_plan, a_segment, a_segment_report, a_task, a_video
from tests.videos import write_video
from tests.workers.test_moments import CountingFlow, built, expected

lengths = st.one_of(st.integers(1, 60), st.integers(61, 6000))
samplings = st.one_of(
    st.builds(Sampling, every=st.integers(1, 700)),
    st.builds(Sampling, samples=st.integers(1, 40)),
    st.builds(Sampling, fps=st.floats(0.05, 60)),
)


def segments_of(length, sampling, stack, exact_pts=True, entry=None):
    needs = Flow(stack=stack).needs() if stack else Rgb().needs()
    video = a_video(probe=replace(PROBE, exact_pts=exact_pts))
    frames = sampling.moments(np.arange(length) / 25)
    return frames, list(cut(video, frames, 7 + 3 * np.arange(length), needs, entry or (lambda frame: frame)))


@given(lengths, samplings, st.integers(0, 12), st.booleans())
def test_segments_tile_the_moments_and_read_what_they_need(length, sampling, stack, exact_pts):
    frames, segments = segments_of(length, sampling, stack, exact_pts)
    assert [frame for segment in segments for frame in segment.frames] == frames.tolist()
    stop = 0
    for segment in segments:
        assert segment.start == stop
        assert segment.stop - segment.start == len(segment.frames) > 0
        stop = segment.stop
        assert 0 <= segment.read_start <= segment.frames[0]
        assert segment.frames[-1] < segment.read_stop <= length
        for frame in segment.frames:
            fields = {min(max(frame - stack // 2 + k, 0), length - 2) for k in range(stack)} if length > 1 else set()
            for field in fields:
                assert segment.read_start <= field < segment.read_stop - 1
        assert segment.seek_pts == (7 + 3 * segment.read_start if segment.read_start and exact_pts else None)
    assert stop == len(frames)


@given(st.integers(2, 250), samplings, st.integers(1, 12), st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_segments_give_the_very_stacks_of_the_whole_video(length, sampling, stack, sizes):
    frames, segments = segments_of(length, sampling, stack)
    rows = [
        row
        for segment in segments
        for row in built(segment.frames, stack, segment.read_stop, sizes, first=segment.read_start, flow=CountingFlow())
    ]
    assert rows == expected(frames.tolist(), stack, length)


@given(st.integers(1, 20_000), st.integers(1, 700), st.integers(0, 12))
def test_no_segment_of_a_video_that_can_be_sought_reads_much_more_than_its_bound(length, every, stack):
    _, segments = segments_of(length, Sampling(every=every), stack)
    assert all(segment.work_frames <= SEGMENT_FRAMES + stack + 1 for segment in segments)
    extra = sum(segment.work_frames for segment in segments) - length
    assert extra <= len(segments) * (stack + 2)


@given(st.integers(1, 40_000), st.integers(1, 700), st.integers(0, 12), st.integers(1, 20_000), st.booleans())
def test_all_segments_together_decode_little_more_than_the_video_wherever_it_can_be_entered(
    length, every, stack, gop, exact_pts
):
    def entry(frame):
        assert exact_pts
        return frame // gop * gop or None

    _, segments = segments_of(length, Sampling(every=every), stack, exact_pts, entry)
    decoded = stop = 0
    hand_on = None
    for segment in segments:
        begin = entry(segment.read_start) or 0 if segment.seek_pts is not None else 0
        decoded += segment.read_stop - (stop if segment.read_start == hand_on else begin)
        hand_on, stop = segment.hand_on, segment.read_stop
        assert segment.work_frames <= HAND_ON_FRAMES + every + stack + 1
    assert decoded <= length * (1 + (SEEK_GAP_FRAMES + stack + 1) / (SEGMENT_FRAMES - every - stack))
    assert hand_on is None


def test_a_video_that_can_not_be_entered_is_one_segment_or_several_that_hand_on():
    for exact_pts in (False, True):
        _, (segment,) = segments_of(HAND_ON_FRAMES, Sampling(every=8), 10, exact_pts, lambda _: None)
        assert (segment.seek_pts, segment.hand_on) == (None, None)
        _, segments = segments_of(50_000, Sampling(every=8), 10, exact_pts, lambda _: None)
        assert len(segments) == 7
        assert [segment.hand_on for segment in segments] == [s.read_start for s in segments[1:]] + [None]


def test_shards_of_which_each_goes_on_with_the_decoder_of_the_one_before_are_one_run():
    _, segments = segments_of(30_000, Sampling(every=8), 10, exact_pts=False)
    tasks = pack([planned("a", [9]), Planned(a_video("a/b"), tuple(segments)), planned("c", [9])], 1, 0)
    assert [len(run) for run in runs(tasks)] == [1, 4, 1]
    assert [len(run) for run in runs(tasks[:2] + tasks[3:])] == [1, 1, 2, 1]
    assert [task for run in runs(tasks) for task in run] == tasks


def test_moments_far_apart_are_segments_of_their_own_so_nothing_between_is_decoded():
    _, segments = segments_of(100_000, Sampling(samples=5), 10)
    assert [segment.work_frames for segment in segments] == [11] * 5
    gap = SEEK_GAP_FRAMES // 2
    assert len(segments_of(5 * gap, Sampling(every=gap), 10)[1]) == 1


def planned(video_id, works):
    segments, first = [], 0
    for number, work in enumerate(works):
        segments.append(replace(a_segment(video_id, number, number + 1), read_start=first, read_stop=first + work))
        first += work
    return Planned(a_video(video_id), tuple(segments))


videos = st.lists(st.lists(st.integers(1, 300), min_size=1, max_size=6), max_size=8).map(
    lambda all_works: [planned(f"v{k}", works) for k, works in enumerate(all_works)]
)


@given(videos, st.integers(1, 500), st.integers(0, 9))
def test_packing_keeps_every_segment_in_order_and_fills_shards_to_their_bound(some, bound, first):
    tasks = pack(some, bound, first)
    assert [s for task in tasks for s in task.segments] == [s for video in some for s in video.segments]
    assert [task.shard for task in tasks] == [f"{first + k:06d}" for k in range(len(tasks))]
    for task in tasks:
        assert task.work_frames <= bound or len(task.segments) == 1
        assert [video.id for video in task.videos] == list(dict.fromkeys(s.video for s in task.segments))
    for task, following in itertools.pairwise(tasks):
        assert task.work_frames + following.segments[0].work_frames > bound
    assert pack(some, bound, first) == tasks


@given(videos, videos, st.integers(1, 500))
def test_a_plan_only_grows(old, new, bound):
    new = [
        Planned(replace(p.video, id="n" + p.video.id), tuple(replace(s, video="n" + s.video) for s in p.segments))
        for p in new
    ]
    plan = first_plan(old, bound)
    longer = extended(plan, new)
    assert longer.shards[: len(plan.shards)] == plan.shards
    assert longer.videos[: len(plan.videos)] == plan.videos
    assert longer.shard_frames == plan.shard_frames == bound
    assert [task.shard for task in longer.shards] == [f"{k:06d}" for k in range(len(longer.shards))]


def test_the_work_of_a_shard_grows_with_the_job_between_its_bounds():
    least, most = SHARD_FRAMES
    assert first_plan([planned("a", [100])]).shard_frames == least
    assert first_plan([planned("a", [5000 * SHARDS_AIMED_AT])]).shard_frames == 5000
    assert first_plan([planned("a", [10**9])]).shard_frames == most
    assert first_plan([]).shards == ()


def failure(video_id, reason="VideoOpenError"):
    return Failure(video_id, f"/videos/{video_id}.mp4", "", reason, "bad")


def test_a_new_result_takes_the_place_of_an_old_failure():
    plan = first_plan([failure("a"), failure("b")])
    plan = extended(plan, [planned("a", [3]), failure("b", "EmptyVideoError")])
    assert [(f.id, f.reason) for f in plan.failures] == [("b", "EmptyVideoError")]
    assert list(plan.latest()) == ["a"]


def report_of(task, outcome="ok", moments=None):
    attempts = {video.id: video.attempt for video in task.videos}
    segments = tuple(a_segment_report(s, attempts[s.video], outcome, moments) for s in task.segments)
    return ShardReport(task.shard, "", 0, 0, 0, segments, {}, 0, "", 0)


@pytest.fixture
def files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    return [Found(name, str(tmp_path / f"{name}.mp4")) for name in ("a", "b")]


@pytest.fixture
def known(files):
    from workers.fingerprint import fingerprint

    task = replace(
        a_task(videos=("a", "b")),
        videos=tuple(a_video(file.id, path=file.path, fingerprint=fingerprint(file.path)) for file in files),
    )
    return a_plan(task), [report_of(task)]


def test_a_store_that_knows_all_files_has_nothing_new(files, known):
    plan, reports = known
    assert update_of(plan, files, reports, retry_failed=True) == update_of(plan, files, reports, retry_failed=False)
    assert update_of(plan, files, reports, retry_failed=False).plan is plan
    assert update_of(plan, files, reports, retry_failed=False).new == ()


def test_files_added_are_new_and_files_gone_are_kept(files, known, tmp_path, caplog):
    caplog.set_level("INFO")
    plan, reports = known
    added = Found("c", str(tmp_path / "c.mp4"))
    update = update_of(plan, [files[0], added], reports, retry_failed=False)
    assert (update.plan, update.new) == (plan, ((added, 0),))
    assert "1 video of this store is not among `videos` today (b first)" in caplog.text


def test_a_file_that_was_moved_keeps_its_features(files, known, tmp_path):
    plan, reports = known
    moved = tmp_path / "elsewhere" / "a.mp4"
    moved.parent.mkdir()
    (tmp_path / "a.mp4").rename(moved)
    update = update_of(plan, [Found("a", str(moved)), files[1]], reports, retry_failed=False)
    assert update.new == ()
    assert [video.path for video in update.plan.videos] == [str(moved), files[1].path]
    assert [video.path for video in update.plan.shards[0].videos] == [str(moved), files[1].path]


def test_what_a_csv_says_today_takes_the_place_of_what_the_plan_says_and_is_counted(files, known, caplog):
    caplog.set_level("INFO")
    plan, reports = known
    said = [replace(files[0], label="run", split="test", group="anna"), replace(files[1], label="sit")]
    update = update_of(plan, said, reports, retry_failed=False)
    assert (update.new, update.relabelled) == ((), ("a", "b"))
    for videos in (update.plan.videos, update.plan.shards[0].videos):
        assert [(v.label, v.split, v.group) for v in videos] == [("run", "test", "anna"), ("sit", "", "")]
    assert "2 videos have another label, split or group than before (a first)" in caplog.text
    again = update_of(update.plan, said, reports, retry_failed=False)
    assert (again.plan is update.plan, again.relabelled) == (True, ())
    dropped = update_of(update.plan, [replace(said[0], split="", group="")], reports, retry_failed=False)
    assert (dropped.plan.latest()["a"].split, dropped.plan.latest()["a"].group, dropped.relabelled) == ("", "", ("a",))


def test_a_folder_says_nothing_of_labels_so_those_of_the_plan_stay_even_when_a_video_is_tried_again(files, known):
    plan, reports = known
    said = update_of(plan, [replace(files[0], label="run", group="anna")], reports, retry_failed=False).plan
    assert update_of(said, files, reports, retry_failed=False).plan is said
    failed = [report_of(said.shards[0], "failed", 0)]
    (found, attempt), *_ = update_of(said, files, failed, retry_failed=True).new
    assert (found.label, found.group, attempt) == ("run", "anna", 1)


def test_a_file_that_is_another_now_is_refused_once_it_has_features(files, known, tmp_path):
    plan, reports = known
    (tmp_path / "a.mp4").write_bytes(b"other")
    with pytest.raises(ConfigError, match=r"1 file changed.*a\.mp4"):
        update_of(plan, files, reports, retry_failed=False)
    assert update_of(plan, files, [], retry_failed=False).new == ()


@pytest.mark.parametrize(
    ("outcome", "changed", "retried"),
    [
        ("failed", False, True),
        ("failed", True, True),
        ("partial", True, True),
        ("partial", False, True),
        ("ok", False, False),
    ],
)
def test_retrying_takes_what_failed_and_what_broke_off_mended_or_not(files, known, tmp_path, outcome, changed, retried):
    plan, _ = known
    reports = [report_of(plan.shards[0], outcome, 0 if outcome == "failed" else 2)]
    if changed:
        (tmp_path / "a.mp4").write_bytes(b"mended")
    update = update_of(plan, files[:1], reports, retry_failed=True)
    assert update.new == (((files[0], 1),) if retried else ())


def test_files_that_could_not_be_planned_are_tried_again_only_when_asked(files):
    plan = first_plan([failure("a")])
    assert update_of(plan, files[:1], [], retry_failed=False).new == ()
    assert update_of(plan, files[:1], [], retry_failed=True).new == ((files[0], 0),)


def test_files_that_the_machine_failed_at_are_tried_again_unasked(files):
    plan = first_plan([failure("a", "MachineError"), failure("b")])
    assert update_of(plan, files, [], retry_failed=False).new == ((files[0], 0),)


def test_a_file_is_planned_by_its_own_times_and_a_bad_one_becomes_a_failure(tmp_path):
    path = write_video(tmp_path / "a.mkv", frames=20, width=32, height=32)
    result = plan_video(Found("a", str(path), "run", "train", "anna"), SETTINGS, 2)
    assert isinstance(result, Planned)
    video = result.video
    assert (video.label, video.split, video.group, video.attempt, video.moments) == ("run", "train", "anna", 2, 3)
    assert [segment.frames for segment in result.segments] == [(0, 8, 16)]
    path.write_bytes(b"nonsense")
    result = plan_video(Found("a", str(path)), SETTINGS, 0)
    assert isinstance(result, Failure)
    assert (result.id, result.reason) == ("a", "VideoOpenError")
    assert str(path) in result.message
