"""What becomes of the segments of one task, whatever is made of them: features or flow files.

Here, and nowhere else in a worker, an InputError becomes data: it ends its segment, the rows before it count, and the
report says why. Whatever else goes wrong is raised.
"""

import resource
import socket
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from schemas.errors import InputError, VideoCrashError, VideoDecodeError
from schemas.plan import Segment, SegmentReport, ShardReport, ShardTask
from schemas.words import counted
from workers.fingerprint import fingerprint


@dataclass(frozen=True, slots=True)
class Progress:
    """Said every now and then while a task is being done.

    Attributes:
        frames: work done since the last word, in frames.
        finished: ids of videos whose segment is done, each with its outcome.
    """

    frames: int
    finished: tuple[tuple[str, str], ...] = ()


@dataclass
class _Result:
    """What became of one segment, while its task is being done.

    Attributes:
        outcome: `ok`, `partial` or `failed`.
        reason: type of the error, empty when ok.
        message: words of the error, empty when ok.
        rows: made so far.
        frames_decoded: processed so far.
    """

    outcome: str = "ok"
    reason: str = ""
    message: str = ""
    rows: int = 0
    frames_decoded: int = 0


class Ledger:
    """Follows the segments of a task and writes its report.

    Attributes:
        results: one a segment that was begun, in the task's order.
        flow_pairs: flow fields computed so far; whoever computes them counts.
    """

    def __init__(self, task: ShardTask) -> None:
        """Begin now."""
        self.results: list[_Result] = []
        self.flow_pairs = 0
        self._task = task
        self._videos = {video.id: video for video in task.videos}
        self._began = time.perf_counter()
        self._stages_s: defaultdict[int, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))

    def watch(self, segment: Segment, steps: Iterator[tuple[int, int]]) -> Iterator[Progress]:
        """Do the next segment; an InputError ends it and keeps the rows before.

        Args:
            segment: the task's next.
            steps: does the work and yields (frames processed, rows made) as it goes; not begun when the video is no
                longer what was planned.
        """
        video, result = self._videos[segment.video], _Result()
        self.results.append(result)
        told, damage = 0, ""
        try:
            if video.id in self._task.excluded:
                raise VideoCrashError(
                    f"{video.path}: decoding it ended its process, or asked too much of the machine; it was left out"
                )
            if fingerprint(video.path) != video.fingerprint:
                raise VideoDecodeError(f"{video.path}: changed after it was planned; `retry_failed` plans it anew")
            damage = video.probe.damage
            for frames, rows in steps:
                result.rows += rows
                result.frames_decoded += frames
                told += frames
                yield Progress(frames)
            if damage:
                raise VideoDecodeError(f"{video.path}: {damage}")
            if missing := len(segment.frames) - result.rows:  # the decoder forgives a frame or two at the end
                raise VideoDecodeError(
                    f"{video.path}: its last frames do not decode, and {counted(missing, 'moment')} with them"
                )
        except InputError as error:
            result.reason, result.message = type(error).__name__, _whole_story(video.path, damage, str(error))
            result.outcome = "partial" if result.rows else "failed"
        yield Progress(segment.work_frames - told, ((segment.video, result.outcome),))

    @contextmanager
    def timed(self, number: int, stage: str) -> Iterator[None]:
        """Count the time inside towards a stage of segment `number`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent(number, stage, time.perf_counter() - began)

    def spent(self, number: int, stage: str, elapsed_s: float) -> None:
        """Count a time towards a stage of segment `number`."""
        self._stages_s[number][stage] += elapsed_s

    def report(self, *, sha256: str, size_bytes: int) -> ShardReport:
        """Tell how the task went, once its file or files are written."""
        total: defaultdict[str, float] = defaultdict(float)
        for stages in self._stages_s.values():
            for stage, elapsed_s in stages.items():
                total[stage] += elapsed_s
        return ShardReport(
            shard=self._task.shard,
            sha256=sha256,
            size_bytes=size_bytes,
            rows=sum(result.rows for result in self.results),
            flow_pairs=self.flow_pairs,
            segments=tuple(self._segments()),
            stages_s={stage: round(elapsed_s, 6) for stage, elapsed_s in total.items()},
            elapsed_s=time.perf_counter() - self._began,
            node=socket.gethostname(),
            peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )

    def _segments(self) -> Iterator[SegmentReport]:
        for number, (segment, result) in enumerate(zip(self._task.segments, self.results, strict=True)):
            video = self._videos[segment.video]
            yield SegmentReport(
                video=video.id,
                attempt=video.attempt,
                start=segment.start,
                moments=result.rows,
                outcome=result.outcome,
                reason=result.reason,
                message=result.message,
                frames_promised=video.probe.promised_frames or video.probe.frames,
                frames_decoded=result.frames_decoded,
                frames_planned=segment.work_frames,
                stages_s={stage: round(s, 6) for stage, s in self._stages_s[number].items()},
            )


def _whole_story(path: str, damage: str, message: str) -> str:
    """Put what the planner knew of a file's damage before what the decoder met, which is only its trace."""
    if not damage or damage in message:
        return message
    return f"{path}: {damage}; {message.removeprefix(f'{path}: ')}"
