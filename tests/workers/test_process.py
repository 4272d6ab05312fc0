"""Shards made in this process from tiny videos: every row is the right moment, and every trouble is data."""

import gc
import shutil
import tracemalloc
import weakref
from dataclasses import replace

import numpy as np
import pytest

from pipeline.planning.find import Found
from pipeline.planning.plan import first_plan, plan_video
from schemas.config import Sampling
from schemas.disk.shard import open_shard
from schemas.disk.store import Store
from schemas.errors import ConfigError, VideoDecodeError
from schemas.plan import ShardReport
from tests.builders import ORIGIN, SETTINGS
from tests.videos import number_of, write_video
from workers import process
from workers.decode.video import Clock
from workers.networks.batches import flow_input, rgb_input
from workers.networks.preprocessing import Preprocessing
from workers.process import Progress, make_shard, rehearse
from workers.tools import Tools

PLAIN = Preprocessing(36, 48, 1.0, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Pixels:
    """Its features are the whole input, so a test reads back what a network would have seen."""

    def __call__(self, batch):
        return batch.reshape(len(batch), -1)


class Shown:
    """An extractor whose features are what the network would have seen."""

    def __init__(self, stream, network):
        self.network, self.stream = network, stream
        self.shape = (3 if stream.kind == "rgb" else 2 * stream.stack), PLAIN.height, PLAIN.width

    def inputs(self, pictures, frames):
        if self.stream.kind == "rgb":
            return rgb_input(pictures.colour_at(frames), PLAIN)
        stacks = [pictures.flow_at(self.stream.motion, [f + k for k in self.stream.around]) for f in frames]
        return flow_input(np.stack(stacks).reshape(len(frames), -1, *pictures.size), PLAIN, self.stream.bound_px)


def tools_for(settings, method, **networks):
    return Tools(
        settings,
        ORIGIN,
        dict.fromkeys(settings.needs.flow, method),
        {stream.name: Shown(stream, networks.get(stream.name, Pixels())) for stream in settings.streams},
    )


def numbered_flow(grey):
    """Field i is full of the number its first frame carries, / 1000."""
    numbers = np.array([number_of(frame) for frame in grey[:-1]], np.float32) / 1000
    return np.broadcast_to(numbers[:, None, None, None], (len(numbers), 2, *grey.shape[1:])).copy()


TIME = Clock.time
SMALL = replace(SETTINGS, short_side_px=36, feature_dtype="float32")


def made(store, paths, settings=SMALL, flow=numbered_flow, **changes):
    """Plan these files into one shard, make it, and return (report, rows by video id)."""
    results = [plan_video(Found(path.stem, str(path)), settings, 0) for path in paths]
    (task,) = first_plan(results, 10**6).shards
    events = list(make_shard(replace(task, **changes), tools_for(settings, flow), store))
    report = events[-1]
    assert isinstance(report, ShardReport)
    assert all(isinstance(event, Progress) for event in events[:-1])
    assert sum(event.frames for event in events[:-1]) == task.work_frames, "progress tells all work, whatever happens"
    finished = [video for event in events[:-1] for video in event.finished]
    assert finished == [(s.video, s.outcome) for s in report.segments]
    assert store.trouble(report) == ""
    with open_shard(store.shard_path(task.shard)) as shard:
        frame, pts_s = shard.moments()
        streams = {name: shard.features(name) for name in shard.dims}
        rows = {
            shard.videos["id"][s.video]: (
                frame[s.row_start : s.row_stop],
                pts_s[s.row_start : s.row_stop],
                {name: features[s.row_start : s.row_stop] for name, features in streams.items()},
            )
            for s in shard.segments
        }
    return report, rows


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "store", ORIGIN)


@pytest.fixture
def clips(tmp_path):
    return [
        write_video(tmp_path / "a.mp4", frames=21, width=48, height=36),
        write_video(tmp_path / "b.avi", frames=2, width=48, height=36, codec="mpeg4"),
        write_video(tmp_path / "c.mkv", frames=1, width=48, height=36),
        write_video(tmp_path / "d.mkv", frames=30, width=48, height=36, options={"g": "10"}),
    ]


def shown(row):
    """Number of the frame that the RGB network saw."""
    return number_of(np.uint8(row.reshape(3, 36, 48).transpose(1, 2, 0) * 255))


@pytest.mark.parametrize("sampling", [Sampling(every=8), Sampling(samples=5), Sampling(fps=9.0)])
def test_rgb_row_and_flow_row_are_the_same_moment_of_the_same_video(store, clips, sampling):
    settings = replace(SMALL, sampling=sampling)
    _, rows = made(store, clips, settings)
    for name, length in (("a", 21), ("b", 2), ("c", 1), ("d", 30)):
        frame, pts_s, streams = rows[name]
        assert frame.tolist() == sampling.moments(np.arange(length) / 25).tolist()
        assert pts_s - pts_s[0] == pytest.approx((frame - frame[0]) / 25, abs=2e-3)
        assert [shown(row) for row in streams["rgb"]] == frame.tolist()
        bound = settings.streams[1].bound_px * 36 / 256
        for moment, row in zip(frame, streams["flow"], strict=True):
            fields = row.reshape(settings.streams[1].stack, 2, 36, 48)[:, :, 20, 20] * 2 * bound * 1000
            wanted = [min(max(moment - 2 + k, 0), length - 2) if length > 1 else 0 for k in range(4)]
            assert np.allclose(fields, np.array(wanted)[:, None], atol=0.2)


def test_the_report_counts_what_was_done(store, clips):
    report, _ = made(store, clips)
    assert [(s.video, s.outcome, s.moments, s.frames_decoded) for s in report.segments] == [
        ("a", "ok", 3, 19),
        ("b", "ok", 1, 2),
        ("c", "ok", 1, 1),
        ("d", "ok", 4, 27),
    ]
    assert report.rows == 9
    assert report.flow_pairs == 10 + 1 + 0 + 14  # those that some stack holds, and no more
    assert set(report.stages_s) >= {"decode", "flow", "rgb-network", "flow-network", "write"}
    assert report.elapsed_s > 0
    assert report.peak_rss_bytes > 10**7


def test_a_shard_of_one_stream_computes_nothing_for_the_other(store, clips):
    settings = SMALL.only(("rgb",))
    report, rows = made(store, clips, settings, flow=None)
    assert set(rows["a"][2]) == {"rgb"}
    assert (report.flow_pairs, report.rows) == (0, 9)
    settings = SMALL.only(("flow",))
    _, rows = made(store, clips, settings)
    assert set(rows["a"][2]) == {"flow"}


def test_a_video_that_breaks_off_keeps_what_is_whole_and_costs_no_other(store, clips, monkeypatch):
    def breaking(path, **options):
        for window in decode(path, **options):
            if path.endswith("a.mp4") and window.frame[0] >= 16:
                raise VideoDecodeError(f"{path}: breaks here")
            yield window

    decode = process.decode
    monkeypatch.setattr(process, "decode", breaking)
    report, rows = made(store, clips)
    a, *others = report.segments
    assert (a.outcome, a.reason, a.moments, a.frames_decoded) == ("partial", "VideoDecodeError", 2, 16)
    assert a.message.endswith("a.mp4: breaks here")
    assert [(s.video, s.outcome) for s in others] == [("b", "ok"), ("c", "ok"), ("d", "ok")]
    assert rows["a"][0].tolist() == [0, 8]
    assert rows["d"][0].tolist() == [0, 8, 16, 24]


@pytest.mark.parametrize(("kept", "outcome", "rows_kept"), [(20, "partial", 4), (0, "failed", 0)])
def test_moments_in_frames_that_silently_do_not_come_are_told(store, clips, monkeypatch, kept, outcome, rows_kept):
    decode = process.decode
    monkeypatch.setattr(
        process,
        "decode",
        lambda path, **options: decode(path, **options | {"stop": min(options["stop"], kept)}) if kept else iter(()),
    )
    report, rows = made(store, clips[:1], replace(SMALL, sampling=Sampling(every=5)))
    (segment,) = report.segments
    assert (segment.outcome, segment.reason, segment.moments) == (outcome, "VideoDecodeError", rows_kept)
    assert ("1 moment with them" if outcome == "partial" else "5 moments") in segment.message
    assert len(rows["a"][0]) == rows_kept


def test_a_file_that_changed_after_it_was_planned_fails_and_costs_no_other(store, clips):
    results = [plan_video(Found(path.stem, str(path)), SMALL, 0) for path in clips]
    (task,) = first_plan(results, 10**6).shards
    shutil.copy(clips[3], clips[0])
    clips[1].unlink()
    *_, report = make_shard(task, tools_for(SMALL, numbered_flow), store)
    assert [(s.video, s.outcome, s.reason) for s in report.segments] == [
        ("a", "failed", "VideoDecodeError"),
        ("b", "failed", "VideoOpenError"),
        ("c", "ok", ""),
        ("d", "ok", ""),
    ]
    assert "changed after it was planned" in report.segments[0].message


def test_a_video_found_deadly_is_left_out_and_never_opened(store, clips, monkeypatch):
    def guarded(path, **options):
        assert not path.endswith("a.mp4")
        return decode(path, **options)

    decode = process.decode
    monkeypatch.setattr(process, "decode", guarded)
    report, rows = made(store, clips, excluded=frozenset({"a"}))
    assert (report.segments[0].outcome, report.segments[0].reason) == ("failed", "VideoCrashError")
    assert rows["a"][0].tolist() == []
    assert report.rows == 6


@pytest.mark.parametrize("breaks_at", [16, 10**6])
def test_a_finished_shard_is_gone_without_a_collection(store, clips, monkeypatch, breaks_at):
    class Followed(process._Shard):
        def __post_init__(self):
            super().__post_init__()
            alive.append(weakref.ref(self))

    def breaking(path, **options):
        for window in decode(path, **options):
            if window.frame[0] >= breaks_at:
                raise VideoDecodeError(f"{path}: breaks here")
            yield window

    decode, alive = process.decode, []
    monkeypatch.setattr(process, "_Shard", Followed)
    monkeypatch.setattr(process, "decode", breaking)
    (task,) = first_plan([plan_video(Found(path.stem, str(path)), SMALL, 0) for path in clips], 10**6).shards
    monkeypatch.setattr(gc, "collect", lambda *_: 0)  # the decoder's own collections would help here
    gc.disable()
    try:
        *_, report = make_shard(task, tools_for(SMALL, numbered_flow), store)
        list(rehearse(task, tools_for(SMALL, numbered_flow)))
        assert [shard() for shard in alive] == [None, None]
    finally:
        gc.enable()
    assert [s.outcome for s in report.segments].count("partial") == (2 if breaks_at == 16 else 0)


def test_a_shard_whose_videos_all_fail_is_written_empty(store, clips):
    report, _ = made(store, clips, excluded=frozenset("abcd"))
    assert (report.rows, [s.outcome for s in report.segments]) == (0, ["failed"] * 4)


def test_damage_that_the_probe_saw_makes_a_video_partial(store, tmp_path):
    whole = write_video(tmp_path / "long.avi", frames=60, codec="mpeg4").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) * 2 // 3])
    report, rows = made(store, [tmp_path / "cut.avi"])
    (segment,) = report.segments
    assert (segment.outcome, segment.frames_promised) == ("partial", 60)
    assert 0 < segment.frames_decoded < 60
    assert 0 < len(rows["cut"][0]) == segment.moments < 8


def test_rehearsing_writes_nothing(store, clips):
    results = [plan_video(Found(path.stem, str(path)), SMALL, 0) for path in clips]
    (task,) = first_plan(results, 10**6).shards
    before = sorted(store.root.rglob("*"))
    assert list(rehearse(replace(task, segments=()), tools_for(SMALL, numbered_flow))) == []
    assert sum(progress.frames for progress in rehearse(task, tools_for(SMALL, numbered_flow))) == task.work_frames
    assert sorted(store.root.rglob("*")) == before


class Broken(Pixels):
    def __call__(self, batch):
        return np.full((len(batch), 2), np.nan, np.float32)


def test_a_network_that_gives_no_numbers_ends_the_run_with_words_and_no_shard(store, clips):
    broken = tools_for(SMALL, numbered_flow, rgb=Broken())
    (task,) = first_plan([plan_video(Found("a", str(clips[0])), SMALL, 0)]).shards
    with pytest.raises(ConfigError, match="rgb network gave NaN or infinity"):
        list(make_shard(task, broken, store))
    assert list(store.root.glob("*/*")) == []


@pytest.mark.parametrize(
    ("name", "options", "decoded"),
    [
        ("a.mkv", {"g": "12"}, 200),
        ("a.mkv", {"x264-params": "keyint=1000:scenecut=0"}, 120),
        ("a.h264", {}, 120),
        ("a.avi", {}, 120),
    ],
)
def test_a_video_cut_into_segments_gives_the_same_rows_as_one_piece(
    store, tmp_path, monkeypatch, name, options, decoded
):
    clip = write_video(tmp_path / name, frames=120, width=48, height=36, options=options)
    _, whole = made(store, [clip])
    for bound, frames in (("SEGMENT_FRAMES", 25), ("HAND_ON_FRAMES", 25), ("SEEK_GAP_FRAMES", 12)):
        monkeypatch.setattr(f"pipeline.planning.plan.{bound}", frames)
    result = plan_video(Found("a", str(clip)), SMALL, 0)
    assert len(result.segments) > 4
    came = []
    monkeypatch.setattr(Clock, "time", lambda clock, frame: came.append(frame.pts) or TIME(clock, frame))
    frames, rgb, flow = [], [], []
    for task in first_plan([result], 20).shards:
        *_, report = make_shard(task, tools_for(SMALL, numbered_flow), store)
        assert report.segments[0].outcome == "ok"
        with open_shard(store.shard_path(task.shard)) as shard:
            frames.append(shard.moments()[0])
            rgb.append(shard.features("rgb"))
            flow.append(shard.features("flow"))
    assert len(came) <= decoded, "what is before a segment is not decoded again"
    assert np.array_equal(np.concatenate(frames), whole["a"][0])
    assert np.array_equal(np.concatenate(rgb), whole["a"][2]["rgb"])
    assert np.array_equal(np.concatenate(flow), whole["a"][2]["flow"])


def test_segments_that_could_go_on_give_the_same_rows_when_one_of_them_is_made_alone(store, tmp_path, monkeypatch):
    clip = write_video(tmp_path / "a.h264", frames=60, width=48, height=36)
    monkeypatch.setattr("pipeline.planning.plan.HAND_ON_FRAMES", 16)
    tasks = first_plan([plan_video(Found("a", str(clip)), SMALL, 0)], 1).shards
    assert len(tasks) > 2
    tools = tools_for(SMALL, numbered_flow)
    in_turn = [list(make_shard(task, tools, store))[-1].sha256 for task in tasks]
    assert [list(make_shard(task, tools, store))[-1].sha256 for task in reversed(tasks)] == in_turn[::-1]


class Mean:
    def __call__(self, batch):
        return batch.reshape(len(batch), -1).mean(axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["a.mkv", "a.h264", "a.avi"])
def test_memory_is_flat_in_the_length_of_the_video(store, tmp_path, name):
    settings = replace(SMALL, short_side_px=96)
    tools = tools_for(
        settings, lambda grey: np.zeros((len(grey) - 1, 2, *grey.shape[1:]), np.float32), rgb=Mean(), flow=Mean()
    )
    peaks = []
    for frames in (64, 64, 512):
        clip = write_video(tmp_path / name, frames=frames, width=128, height=96)
        (task,) = first_plan([plan_video(Found("a", str(clip)), settings, 0)]).shards
        tracemalloc.start()
        *_, report = make_shard(task, tools, store)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert report.rows == frames // 8
    window = process.WINDOW_FRAMES["cpu"] * 128 * 96 * (1 + 3 + 8)
    assert peaks[2] < peaks[1] + window / 4, "one window is held, however many there are"
