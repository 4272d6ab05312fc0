"""How one shard is made: the page to read first.

    decode ──▶ grey ──▶ flow ──▶ stacks ──┐
       └─────▶ colour ────────────────────┴─▶ complete moments ──▶ networks ──▶ shard

The hub of the workers: it alone knows decoder, flow, networks and shard layout, and it alone catches InputError. What
goes wrong with a video becomes a row of the report; whatever else goes wrong is raised.
"""

import resource
import socket
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from schemas.errors import InputError, VideoCrashError, VideoDecodeError
from schemas.frames import FrameBatch
from schemas.plan import Segment, SegmentReport, ShardReport, ShardTask, Video
from schemas.shard import SegmentRows, ShardContent, write_shard
from schemas.store import Store
from workers.decode import decode
from workers.features import StreamFeatures, flow_input, rgb_input
from workers.fingerprint import fingerprint
from workers.moments import MomentBuilder, Moments
from workers.tools import Tools

WINDOW_FRAMES = {"cpu": 16, "cuda": 128}


@dataclass(frozen=True, slots=True)
class Progress:
    """Said every now and then while a shard is being made.

    Attributes:
        frames: work done since the last word, in frames.
        finished: ids of videos whose segment is done, each with its outcome.
    """

    frames: int
    finished: tuple[tuple[str, str], ...] = ()


def make_shard(task: ShardTask, tools: Tools, store: Store) -> Iterator[Progress | ShardReport]:
    """Make one shard and its report in a store; they appear whole or not at all, the report last.

    Args:
        task: what to make.
        tools: decoder settings, flow method and networks.
        store: where to.

    Yields:
        Progress, and at the very end one ShardReport.

    Raises:
        ResourceError: the disk is full, the GPU is gone.
    """
    began = time.perf_counter()
    shard = _Shard(task, tools)
    for number, segment in enumerate(task.segments):
        yield from shard.add(number, segment)
    content = shard.finish()
    writing = time.perf_counter()
    sha256, size_bytes = write_shard(store.shard_path(task.shard), content)
    shard.stages_s[0]["write"] += time.perf_counter() - writing
    report = ShardReport(
        shard=task.shard, sha256=sha256, size_bytes=size_bytes, rows=len(content.frame), flow_pairs=shard.flow_pairs,
        segments=tuple(shard.reports()), stages_s=shard.total_stages_s(), elapsed_s=time.perf_counter() - began,
        node=socket.gethostname(), peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    store.write_report(report)
    yield report


def rehearse(task: ShardTask, tools: Tools) -> Iterator[Progress]:
    """Do all the work of `make_shard` but write nothing."""
    shard = _Shard(task, tools)
    for number, segment in enumerate(task.segments):
        yield from shard.add(number, segment)
    shard.finish()


@dataclass
class _Result:
    """What became of one segment, while the shard is being made."""

    outcome: str = "ok"
    reason: str = ""
    message: str = ""
    moments: int = 0
    frames_decoded: int = 0


@dataclass
class _Shard:
    """The rows of a shard as they come."""

    task: ShardTask
    tools: Tools
    frame: list[int] = field(default_factory=list)
    pts_s: list[float] = field(default_factory=list)
    results: list[_Result] = field(default_factory=list)
    stages_s: defaultdict[int, defaultdict[str, float]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float)))
    flow_pairs: int = 0

    def __post_init__(self) -> None:
        self.videos = {video.id: video for video in self.task.videos}
        self.streams = {network.stream: StreamFeatures(network, self._spent) for network in self.tools.networks}

    def add(self, number: int, segment: Segment) -> Iterator[Progress]:
        """Process one segment; an InputError ends it and keeps the moments before."""
        video, result = self.videos[segment.video], _Result()
        self.results.append(result)
        told = 0
        try:
            if video.id in self.task.excluded:
                raise VideoCrashError(f"{video.path}: decoding it ended its process; it was left out")
            for decoded, moments in self._moments(number, segment, video):
                self._push(number, moments, result)
                result.frames_decoded += decoded
                told += decoded
                yield Progress(decoded)
            if video.probe.damage:
                raise VideoDecodeError(f"{video.path}: {video.probe.damage}")
            if missing := len(segment.frames) - result.moments:  # the decoder forgives a frame or two at the end
                raise VideoDecodeError(f"{video.path}: its last frames do not decode, and {missing} moments with them")
        except InputError as error:
            result.reason, result.message = type(error).__name__, str(error)
            result.outcome = "partial" if result.moments else "failed"
        yield Progress(segment.work_frames - told, ((segment.video, result.outcome),))

    def _moments(self, number: int, segment: Segment, video: Video) -> Iterator[tuple[int, Moments]]:
        """Yield (frames processed, complete moments); at damage yield what is whole before it, then raise."""
        if fingerprint(video.path) != video.fingerprint:
            raise VideoDecodeError(f"{video.path}: changed after it was planned; run extract with --retry-failed")
        flow = self.tools.settings.flow
        builder = MomentBuilder(segment.frames, flow.stack if flow else 0, self.tools.flow)
        windows, broken = self._windows(segment, video), None
        while broken is None:
            try:
                with self._timed(number, "decode"):
                    window = next(windows, None)
            except InputError as error:
                broken, window = error, None
            if window is None:
                break
            yield from builder.add(window)
        yield 0, builder.finish()
        self.stages_s[number]["flow"] += builder.flow_s
        self.flow_pairs += builder.flow_pairs
        if broken is not None:
            raise broken

    def _windows(self, segment: Segment, video: Video) -> Iterator[FrameBatch]:
        settings = self.tools.settings
        colour = any(stream.name == "rgb" for stream in settings.streams)
        return decode(
            video.path, start=segment.read_start, stop=segment.read_stop, seek_pts=segment.seek_pts,
            rgb_frames=np.unique(np.array(segment.frames if colour else (), np.int64)), grey=settings.flow is not None,
            short_side=settings.short_side_px, upscale=settings.upscale,
            window_frames=WINDOW_FRAMES[settings.device])

    def _push(self, number: int, moments: Moments, result: _Result) -> None:
        """Give complete moments to the networks, every stream the same ones."""
        if not moments.frame:
            return
        settings = self.tools.settings
        self.frame += moments.frame
        self.pts_s += moments.pts_s
        result.moments += len(moments.frame)
        for name, features in self.streams.items():
            network = features.network
            with self._timed(number, f"{name}-input"):
                if name == "rgb":
                    inputs = rgb_input(np.stack(moments.rgb), network.preprocessing, settings.device)
                else:
                    assert settings.flow is not None
                    inputs = flow_input(np.stack(moments.stacks), network.preprocessing, settings.flow.bound_px,
                                        settings.device)
            features.push(inputs, number)

    @contextmanager
    def _timed(self, number: int, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.stages_s[number][stage] += time.perf_counter() - began

    def _spent(self, number: int, stream: str, elapsed_s: float) -> None:
        self.stages_s[number][f"{stream}-network"] += elapsed_s

    def finish(self) -> ShardContent:
        """Run the last batches and lay the tables out."""
        settings = self.tools.settings
        index = {video: row for row, video in enumerate(self.videos)}
        segments, row = [], 0
        for segment, result in zip(self.task.segments, self.results, strict=True):
            segments.append(SegmentRows(index[segment.video], segment.start, segment.start + result.moments,
                                        row, row + result.moments, result.outcome))
            row += result.moments
        streams = {name: features.finish(row).stored(settings.feature_dtype)
                   for name, features in self.streams.items()}
        return ShardContent(self.task.shard, self.tools.origin, self.task.videos, tuple(segments),
                            np.array(self.frame, np.int64), np.array(self.pts_s, np.float64), streams)

    def reports(self) -> Iterator[SegmentReport]:
        """Tell what became of every segment."""
        for number, (segment, result) in enumerate(zip(self.task.segments, self.results, strict=True)):
            video = self.videos[segment.video]
            yield SegmentReport(
                video=video.id, attempt=video.attempt, start=segment.start, moments=result.moments,
                outcome=result.outcome, reason=result.reason, message=result.message,
                frames_promised=video.probe.promised_frames or video.probe.frames,
                frames_decoded=result.frames_decoded, frames_planned=segment.work_frames,
                stages_s={stage: round(s, 6) for stage, s in self.stages_s[number].items()})

    def total_stages_s(self) -> dict[str, float]:
        """Sum the stages over all segments."""
        total: defaultdict[str, float] = defaultdict(float)
        for stages in self.stages_s.values():
            for stage, elapsed_s in stages.items():
                total[stage] += elapsed_s
        return {stage: round(elapsed_s, 6) for stage, elapsed_s in total.items()}
