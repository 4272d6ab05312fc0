"""What became of the videos of a store, over all their segments: whole, broken off or failed, by how many frames."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from schemas.plan import Failure, Plan, Segment, SegmentReport, ShardReport, Video


@dataclass(frozen=True, slots=True)
class Partial(Failure):
    """A video of which some moments are there, with what was said of it first, and its frames.

    Attributes:
        frames_promised: by the file's header; 0 when it says nothing.
        frames_found: displayable frames that are in the file, by its packets.
        frames_needed: frames that its moments need.
        frames_decoded: of those needed.
    """

    frames_promised: int
    frames_found: int
    frames_needed: int
    frames_decoded: int

    @property
    def frames(self) -> str:
        """The promised frames against those decoded, in words."""
        promised = f"{self.frames_promised:,}" if self.frames_promised else "no number"
        return (
            f"frames: {promised} promised, {self.frames_found:,} in the file, "
            f"{self.frames_decoded:,} of {self.frames_needed:,} needed decoded"
        )


@dataclass(frozen=True, slots=True)
class BadVideos:
    """The videos of a store that are not whole, by id.

    Attributes:
        partial: those that broke off.
        failed: those without a row.
    """

    partial: tuple[Partial, ...]
    failed: tuple[Failure, ...]

    def among(self, ids: Container[str]) -> "BadVideos":
        """Return those of some videos alone."""
        return BadVideos(
            tuple(one for one in self.partial if one.id in ids), tuple(one for one in self.failed if one.id in ids)
        )

    def lines(self) -> Iterator[str]:
        """Yield one line a video, for people."""
        for video in self.partial:
            yield f"partial: {video.id} ({video.reason}) {video.message}. {video.frames}"
        for failure in self.failed:
            yield f"failed: {failure.id} ({failure.reason}) {failure.message}"


def outcomes(plan: Plan, reports: Iterable[ShardReport]) -> dict[str, str]:
    """Return the outcome of every video that has one, by id, over all segments of its last attempt."""
    found: dict[str, set[str]] = {}
    for video, segment in _segments(plan, reports):
        found.setdefault(video.id, set()).add(segment.outcome)
    return {video: next(iter(all_)) if len(all_) == 1 else "partial" for video, all_ in found.items()}


def bad_videos(plan: Plan, reports: Sequence[ShardReport]) -> BadVideos:
    """Return the failed and the partial videos of a store, each with what was said of it first."""
    outcome, said = outcomes(plan, reports), dict[str, Failure]()
    for video, segment in _segments(plan, reports):
        if segment.outcome != "ok":
            said.setdefault(video.id, Failure(video.id, video.path, video.fingerprint, segment.reason, segment.message))
    said |= {failure.id: failure for failure in plan.failures}  # a new attempt that could not even be planned
    failed = {video: said[video] for video in said if outcome.get(video, "failed") == "failed"}
    partial = [said[video] for video in sorted(said) if outcome.get(video) == "partial"]  # it keeps the rows it has
    return BadVideos(tuple(_partials(partial, plan, reports)), tuple(failed[video] for video in sorted(failed)))


def _segments(plan: Plan, reports: Iterable[ShardReport]) -> Iterator[tuple[Video, SegmentReport]]:
    """Yield what is reported of the last attempt of every video."""
    latest = plan.latest()
    for segment in (segment for report in reports for segment in report.segments):
        if segment.video in latest and segment.attempt == latest[segment.video].attempt:
            yield latest[segment.video], segment


def _partials(said: Sequence[Failure], plan: Plan, reports: Sequence[ShardReport]) -> Iterator[Partial]:
    wanted = {one.id for one in said}
    planned: dict[tuple[str, int, int], Segment] = {}
    for task in plan.shards if wanted else ():
        attempts = {video.id: video.attempt for video in task.videos}
        planned |= {
            (segment.video, attempts[segment.video], segment.start): segment
            for segment in task.segments
            if segment.video in wanted
        }
    needed: dict[str, list[range]] = {}
    decoded: dict[str, list[range]] = {}
    for video, report in _segments(plan, reports):
        if video.id in wanted:
            start = planned[video.id, report.attempt, report.start].read_start
            needed.setdefault(video.id, []).append(range(start, start + report.frames_planned))
            decoded.setdefault(video.id, []).append(range(start, start + report.frames_decoded))
    latest = plan.latest()
    for one in said:
        probe = latest[one.id].probe
        yield Partial(
            one.id,
            one.path,
            one.fingerprint,
            one.reason,
            one.message,
            probe.promised_frames,
            probe.frames,
            _covered(needed[one.id]),
            _covered(decoded[one.id]),
        )


def _covered(ranges: Iterable[range]) -> int:
    """Count the frames in any of the ranges: neighbouring segments read some of the same."""
    count = stop = 0
    for one in sorted(ranges, key=lambda one: one.start):
        count += max(0, one.stop - max(one.start, stop))
        stop = max(stop, one.stop)
    return count
