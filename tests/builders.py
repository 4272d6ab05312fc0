"""Small legal values of the schemas, for tests that need one and care little which."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from schemas.config import ExtractSettings, Sampling
from schemas.disk.shard import Origin, SegmentRows, ShardContent, write_shard
from schemas.disk.store import Store
from schemas.plan import Plan, Probe, Segment, SegmentReport, ShardReport, ShardTask, Video
from schemas.streams import Flow, Rgb

PROBE = Probe(
    codec="h264",
    width=64,
    height=48,
    rotation=0,
    interlaced=False,
    fps=25.0,
    duration_s=1.2,
    frames=30,
    promised_frames=30,
    damage="",
    exact_pts=True,
)
SETTINGS = ExtractSettings(
    sampling=Sampling(every=8),
    short_side_px=32,
    device="cpu",
    streams=(
        Rgb("test_resnet", weights_sha256="a" * 16),
        Flow("test_resnet", weights_sha256="b" * 16, method="farneback", stack=4),
    ),
)
ORIGIN = Origin("extract", SETTINGS.as_dict(), SETTINGS.digest, {"torch": "1.0"})


def a_video(video_id: str = "a/b", **changes: Any) -> Video:
    """A video of 30 frames."""
    return replace(
        Video(
            id=video_id,
            path=f"/videos/{video_id}.mp4",
            fingerprint="f" * 16,
            label="",
            split="",
            group="",
            attempt=0,
            moments=4,
            probe=PROBE,
        ),
        **changes,
    )


def a_segment(video_id: str = "a/b", start: int = 0, stop: int = 4) -> Segment:
    """Moments `start:stop` of a video sampled every 8 frames."""
    frames = tuple(range(8 * start, 8 * stop, 8))
    return Segment(video_id, start, stop, frames, max(0, frames[0] - 5), frames[-1] + 6, None)


def a_task(shard: str = "000000", videos: tuple[str, ...] = ("a/b",), attempt: int = 0) -> ShardTask:
    """One whole segment a video."""
    return ShardTask(
        shard, tuple(a_segment(video) for video in videos), tuple(a_video(video, attempt=attempt) for video in videos)
    )


def a_plan(*tasks: ShardTask) -> Plan:
    """The plan of these shards."""
    videos = {(video.id, video.attempt): video for task in tasks for video in task.videos}
    return Plan(1024, tuple(videos.values()), (), tasks)


def a_segment_report(
    segment: Segment,
    attempt: int = 0,
    outcome: str = "ok",
    moments: int | None = None,
) -> SegmentReport:
    """What a segment says that went well, or did not."""
    reason, message = ("", "") if outcome == "ok" else ("VideoDecodeError", f"{segment.video}: is damaged")
    made = segment.stop - segment.start if moments is None else moments
    return SegmentReport(segment.video, attempt, segment.start, made, outcome, reason, message, 30, 30, 30, {})


def content_of(task: ShardTask, outcomes: dict[str, tuple[str, int]] | None = None) -> ShardContent:
    """A shard of random features; `outcomes` gives a video's (outcome, rows) where it is not ("ok", all)."""
    index = {video.id: row for row, video in enumerate(task.videos)}
    segments: list[SegmentRows] = []
    frame: list[int] = []
    for segment in task.segments:
        outcome, made = (outcomes or {}).get(segment.video, ("ok", len(segment.frames)))
        segments.append(
            SegmentRows(
                index[segment.video], segment.start, segment.start + made, len(frame), len(frame) + made, outcome
            )
        )
        frame += segment.frames[:made]
    random = np.random.default_rng(0)
    streams = {
        "rgb": random.normal(size=(len(frame), 8)).astype(np.float16),
        "flow": random.normal(size=(len(frame), 6)).astype(np.float32),
    }
    return ShardContent(
        task.shard,
        ORIGIN,
        task.videos,
        tuple(segments),
        np.array(frame, np.int64),
        np.array(frame, np.float64) / 25,
        streams,
    )


def put_shard(store: Store, task: ShardTask, outcomes: dict[str, tuple[str, int]] | None = None) -> ShardReport:
    """Write a shard and its report, as a worker would."""
    content = content_of(task, outcomes)
    sha256, size_bytes = write_shard(store.shard_path(task.shard), content)
    attempts = {video.id: video.attempt for video in task.videos}
    segments = tuple(
        a_segment_report(segment, attempts[segment.video], rows.outcome, rows.stop - rows.start)
        for segment, rows in zip(task.segments, content.segments, strict=True)
    )
    report = ShardReport(task.shard, sha256, size_bytes, len(content.frame), 0, segments, {}, 0.1, "here", 1)
    store.books.write_report(report)
    return report


def a_store(root: Path, *tasks: ShardTask) -> Store:
    """A store whose shards are all done."""
    store = Store.create(root, ORIGIN)
    store.books.write_plan(a_plan(*tasks))
    for task in tasks:
        put_shard(store, task)
    return store
