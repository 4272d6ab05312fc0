"""Who does what: videos, their segments, and the shards that the segments are packed into.

A plan is JSON lines: one `plan` line, then `video`, `failure` and `shard` lines. It is written before any work and does
not depend on how many workers will run it. New videos are appended as new shards; what is planned never changes, but
for what people say of a video (label, split, group) and where its file lies: the plan is where these are kept, and the
only place, so that they can be corrected without making a feature anew.
"""

import itertools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from schemas.checks import known
from schemas.disk.files import stays_inside
from schemas.errors import StoreError
from schemas.plain import Plain, parsed, to_record
from schemas.words import counted

PLAN_SCHEMA = 3
OUTCOMES = ("ok", "partial", "failed")
_MOST_FRAMES = 10**7  # moments of a segment; more are a lie that would fill the memory
_LINES = ("plan", "video", "failure", "shard")


@dataclass(frozen=True, slots=True)
class Probe:
    """What demuxing a file without decoding it tells.

    Attributes:
        codec: the decoder's name.
        width: of an upright frame (after the display matrix), in pixels.
        height: of an upright frame, in pixels.
        rotation: degrees of the display matrix, 0 to 359.
        interlaced: whether the stream says it is interlaced.
        fps: average frame rate; 0 when unknown.
        duration_s: from the first frame's time to the end of the last, in seconds.
        frames: displayable frames found.
        promised_frames: what the header says; 0 when it says nothing.
        damage: why the file is held to be cut short; empty when it is whole.
        exact_pts: every frame has a time of its own, so that a segment can be sought exactly.
    """

    codec: str
    width: int
    height: int
    rotation: int
    interlaced: bool
    fps: float
    duration_s: float
    frames: int
    promised_frames: int
    damage: str
    exact_pts: bool


@dataclass(frozen=True, slots=True)
class Video:
    """One input file as planned.

    Attributes:
        id: path relative to the videos root, without suffix, with forward slashes.
        path: absolute path of the file.
        fingerprint: digest of the file's size and both its ends: the same file wherever it lies.
        label: from a CSV; empty when none was given.
        split: from a CSV; empty when none was given.
        group: the recording, person or source it belongs to, from a CSV; empty when none was given.
        attempt: 0, and one more each time a failed video is planned anew; the rows of the last attempt count.
        moments: how many moments the video has.
        probe: what the file says of itself.
    """

    id: str
    path: str
    fingerprint: str
    label: str
    split: str
    group: str
    attempt: int
    moments: int
    probe: Probe


@dataclass(frozen=True, slots=True)
class Failure:
    """A video that could not be planned, or a video of a shard that gave no row.

    Attributes:
        id: the video's id.
        path: absolute path of the file.
        fingerprint: as in `Video`.
        reason: the error's type, e.g. `VideoOpenError`.
        message: the error's words.
    """

    id: str
    path: str
    fingerprint: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A half-open run of moments of one video, small enough for one task.

    Attributes:
        video: the video's id.
        start: first moment of the segment, counted in its video.
        stop: one past the last moment.
        frames: the moments' frame indices, never decreasing, `stop - start` of them.
        read_start: first frame the segment has to read (flow looks back half a stack).
        read_stop: one past the last frame it has to read.
        seek_pts: presentation time of frame `read_start` in ticks of the stream; None: read from the beginning.
        hand_on: first frame that the next segment reads, when its file can not be entered there: the decoder stays open
            for it. None: nobody goes on where this segment ends.
    """

    video: str
    start: int
    stop: int
    frames: tuple[int, ...]
    read_start: int
    read_stop: int
    seek_pts: int | None
    hand_on: int | None = None

    @property
    def work_frames(self) -> int:
        """Frames to process, the unit of work and of progress."""
        return self.read_stop - self.read_start


@dataclass(frozen=True, slots=True)
class ShardTask:
    """All a worker needs to know to make one shard, beside the settings.

    Attributes:
        shard: name of the shard, and of its file and report.
        segments: in the order of their rows.
        videos: the videos of the segments, each once, in order of first use.
        excluded: ids of videos found to end every process that decodes them; not part of the plan.
    """

    shard: str
    segments: tuple[Segment, ...]
    videos: tuple[Video, ...]
    excluded: frozenset[str] = frozenset()

    @property
    def work_frames(self) -> int:
        """Frames to process in the whole shard."""
        return sum(segment.work_frames for segment in self.segments)


def runs(tasks: Iterable[ShardTask]) -> list[tuple[ShardTask, ...]]:
    """Join neighbours that go on where the decoder of the one before ended: one process does them in turn."""
    joined: list[tuple[ShardTask, ...]] = []
    for task in tasks:
        if joined and _goes_on(joined[-1][-1].segments[-1], task.segments[0]):
            joined[-1] += (task,)
        else:
            joined.append((task,))
    return joined


def _goes_on(before: Segment, segment: Segment) -> bool:
    return before.hand_on is not None and (segment.video, segment.start) == (before.video, before.stop)


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """What became of one segment.

    Attributes:
        video: the video's id.
        attempt: the video's attempt.
        start: first moment of the segment.
        moments: rows written; fewer than planned when the video broke off.
        outcome: `ok`, `partial` or `failed`.
        reason: type of the error, empty when ok.
        message: words of the error, empty when ok.
        frames_promised: frames the video's header promises (or, when it is silent, that demuxing found).
        frames_decoded: frames of this segment that were decoded.
        frames_planned: frames of this segment that were to be decoded.
        stages_s: seconds of work by stage (decode, flow, rgb, ...).
    """

    video: str
    attempt: int
    start: int
    moments: int
    outcome: str
    reason: str
    message: str
    frames_promised: int
    frames_decoded: int
    frames_planned: int
    stages_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What comes home of a shard, and lies beside it on disk. A shard without its report does not exist.

    Attributes:
        shard: the shard's name.
        sha256: of the whole file.
        size_bytes: of the whole file.
        rows: moments in it.
        flow_pairs: flow fields computed.
        segments: one entry a segment, in the task's order.
        stages_s: seconds of work by stage, over all segments.
        elapsed_s: wall-clock seconds.
        node: host name of the worker.
        peak_rss_bytes: the worker's peak memory when the shard was done.
    """

    shard: str
    sha256: str
    size_bytes: int
    rows: int
    flow_pairs: int
    segments: tuple[SegmentReport, ...]
    stages_s: dict[str, float]
    elapsed_s: float
    node: str
    peak_rss_bytes: int

    def to_json(self) -> str:
        """Return the report as one JSON document."""
        return json.dumps(asdict(self), indent=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """All videos and shards of a store.

    Attributes:
        shard_frames: work of a shard, in frames; fixed when the store is made.
        videos: in the order they were planned; the last entry of an id counts.
        failures: files that could not be planned; the last entry of an id counts.
        shards: in the order they were planned.
    """

    shard_frames: int
    videos: tuple[Video, ...]
    failures: tuple[Failure, ...]
    shards: tuple[ShardTask, ...]

    @property
    def work_frames(self) -> int:
        """Frames to process in all shards."""
        return sum(shard.work_frames for shard in self.shards)

    @property
    def live_shards(self) -> tuple[ShardTask, ...]:
        """Shards with a video whose current attempt they hold; the others were planned anew and no longer count."""
        latest = {video.id: video.attempt for video in self.videos}
        return tuple(task for task in self.shards if any(video.attempt == latest[video.id] for video in task.videos))

    def latest(self) -> dict[str, Video]:
        """Return the current attempt of every planned video, by id."""
        return {video.id: video for video in self.videos}

    def to_json_lines(self) -> Iterable[str]:
        """Yield the plan line by line."""
        lines = 1 + len(self.videos) + len(self.failures) + len(self.shards)
        yield json.dumps({"type": "plan", "schema": PLAN_SCHEMA, "shard_frames": self.shard_frames, "lines": lines})
        for video in self.videos:
            yield json.dumps({"type": "video"} | asdict(video))
        for failure in self.failures:
            yield json.dumps({"type": "failure"} | asdict(failure))
        for task in self.shards:
            attempts = {video.id: video.attempt for video in task.videos}
            segments = [
                asdict(segment) | {"frames": _pack(segment.frames), "attempt": attempts[segment.video]}
                for segment in task.segments
            ]
            yield json.dumps({"type": "shard", "shard": task.shard, "segments": segments})

    @classmethod
    def from_json_lines(cls, lines: Iterable[str]) -> "Plan":
        """Rebuild a plan.

        Raises:
            StoreError: a line is not a plan's, or the plan is of another version.
        """
        head: _Head | None = None
        videos: dict[tuple[str, int], Video] = {}
        failures: list[Failure] = []
        shards: list[ShardTask] = []
        number = 0
        try:
            for line in lines:
                number += 1
                row = parsed(line, Plain)
                match known("line", row.pop("type", None), _LINES):
                    case "plan":
                        _check_schema(row)  # before a line of another version is misread
                        head = to_record(row, _Head)
                    case "video":
                        video = to_record(row, Video)
                        videos[_checked(video).id, video.attempt] = video
                    case "failure":
                        failures.append(to_record(row, Failure))
                    case "shard":
                        shards.append(to_record(row, _ShardLine).task(videos))
        except (KeyError, ValueError) as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"line {number} of the plan is not a plan's: {error}") from error
        if head is None or head.lines != number:
            promised = counted(head.lines, "line") if head else "an unknown number of lines"
            raise StoreError(f"the plan is cut short: it holds {number} of {promised}")
        return cls(head.shard_frames, tuple(videos.values()), tuple(failures), tuple(shards))


def _check_schema(row: Plain) -> None:
    if row.get("schema") != PLAN_SCHEMA:
        raise StoreError(
            f"plan of schema {row.get('schema')}; this version reads schema {PLAN_SCHEMA}. Make the store "
            "anew in another folder, or read it with the version that made it"
        )


def _checked(video: Video) -> Video:
    """An id becomes the name of files: it may not lead out of the folder that these are written to."""
    if not stays_inside(video.id):
        raise ValueError(f"{video.id!r} is no video id: it leads out of the folder")
    if video.attempt < 0 or video.moments < 0:
        raise ValueError(f"attempt {video.attempt} and {counted(video.moments, 'moment')} of {video.id!r}")
    return video


@dataclass(frozen=True, slots=True)
class _Head:
    """The first line."""

    schema: int
    shard_frames: int
    lines: int


@dataclass(frozen=True, slots=True)
class _Run:
    """Regular frame indices."""

    first: int
    step: int
    count: int


@dataclass(frozen=True, slots=True)
class _ShardLine:
    """A shard as it is written: its segments' frames are packed, and each has its video's attempt."""

    shard: str
    segments: tuple[Plain, ...]

    def task(self, videos: dict[tuple[str, int], Video]) -> ShardTask:
        if not self.shard.isdecimal():
            raise ValueError(f"{self.shard!r} is no shard's name")
        attempts = [to_record(plain.pop("attempt", None), int) for plain in self.segments]
        segments = tuple(_segment(plain) for plain in self.segments)
        used = {
            segment.video: videos[segment.video, attempt] for segment, attempt in zip(segments, attempts, strict=True)
        }
        return ShardTask(self.shard, segments, tuple(used.values()))


def _segment(plain: Plain) -> Segment:
    if "hand_on" not in plain:
        raise ValueError("a segment without 'hand_on'")
    segment = to_record(plain | {"frames": _unpack(plain.get("frames"))}, Segment)
    if not 0 <= segment.start <= segment.stop or len(segment.frames) != segment.stop - segment.start:
        raise ValueError(
            f"moments {segment.start} to {segment.stop} of {segment.video!r}, but "
            f"{counted(len(segment.frames), 'frame')}"
        )
    return segment


def _pack(frames: tuple[int, ...]) -> list[int] | dict[str, int]:
    """A regular run of moments takes three numbers, so that a long video's plan stays short."""
    step = frames[1] - frames[0] if len(frames) > 2 else 0
    if step > 0 and all(b - a == step for a, b in itertools.pairwise(frames)):
        return {"first": frames[0], "step": step, "count": len(frames)}
    return list(frames)


def _unpack(plain: object) -> tuple[int, ...]:
    if not isinstance(plain, dict):
        return to_record(plain, tuple[int, ...])
    run = to_record(plain, _Run)
    if run.step < 1 or not 0 <= run.count <= _MOST_FRAMES:
        raise ValueError(f"{counted(run.count, 'frame')} in steps of {run.step}")
    return tuple(range(run.first, run.first + run.step * run.count, run.step))
