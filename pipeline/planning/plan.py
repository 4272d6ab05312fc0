"""Found videos become a plan: probed, sampled, cut into segments, packed into shards.

The plan depends on the files and the settings alone. A store's plan only grows: what is planned stays as it is, new
videos and new attempts are appended as new shards.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.planning.find import Found, said_of
from pipeline.planning.outcomes import outcomes
from schemas.errors import ConfigError, EmptyVideoError, InputError, MachineError
from schemas.flow_config import FlowFileSettings, Settings
from schemas.plan import Failure, Plan, Segment, ShardReport, ShardTask, Video
from schemas.streams import Needs
from schemas.words import counted
from workers.decode import check_size, entries, probe, seconds
from workers.fingerprint import fingerprint

SEGMENT_FRAMES = 1024  # a segment reads few more frames, if its file can be entered where the next one begins
HAND_ON_FRAMES = 8192  # no segment reads many more: memory grows with its features; the next one goes on where it ends
SEEK_GAP_FRAMES = 256  # moments further apart become segments of their own: seeking is cheaper than decoding
SHARD_FRAMES = (512, 16384)  # least and most work of a shard ...
SHARDS_AIMED_AT = 1000  # ... which is chosen so that a store has about this many
Attempt = tuple[Found, int]  # a file, and how often it was planned before
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Planned:
    """A probed video and its segments."""

    video: Video
    segments: tuple[Segment, ...]


def plan_video(found: Found, settings: Settings, attempt: int) -> Planned | Failure:
    """Probe one file and cut it into segments; a file that is no good becomes a Failure. Runs in any process.

    Raises:
        MachineError: the machine failed; the file may be good.
    """
    mark = ""
    try:
        mark = fingerprint(found.path)
        facts, ticks, time_base = probe(found.path)
        check_size(found.path, facts.width, facts.height, short_side=settings.short_side_px, upscale=settings.upscale)
        frames = _moments(found, seconds(ticks, time_base), settings)
    except InputError as error:
        return Failure(found.id, found.path, mark, type(error).__name__, str(error))
    video = Video(found.id, found.path, mark, *said_of(found), attempt, len(frames), facts)
    if isinstance(settings, FlowFileSettings):  # one video, one output: it stays in one piece
        stop = len(ticks) if settings.rgb else int(frames[-1]) + settings.step + 1
        return Planned(video, (Segment(video.id, 0, len(frames), tuple(frames.tolist()), 0, stop, None),))
    with entries(found.path) as entry:
        needs = settings.needs
        return Planned(video, tuple(cut(video, frames, ticks, needs, lambda frame: _entered(ticks, entry, frame))))


def _entered(ticks: NDArray[np.int64], entry: Callable[[int], int | None], frame: int) -> int | None:
    """Return the frame from which decoding must begin to come to `frame`; None: from the first."""
    entered = entry(int(ticks[frame]))
    return None if entered is None else int(np.searchsorted(ticks, entered, side="right")) - 1


def _moments(found: Found, pts_s: NDArray[np.float64], settings: Settings) -> NDArray[np.int64]:
    """Return the frames that get a row: moments of features, or the first frames of flow pairs."""
    if not isinstance(settings, FlowFileSettings):
        return settings.sampling.moments(pts_s)
    starts = settings.starts(len(pts_s))
    if not starts:
        raise EmptyVideoError(f"{found.path}: flow needs {counted(settings.step + 1, 'frame')}, it has {len(pts_s)}")
    return np.array(starts, np.int64)


def cut(
    video: Video, frames: NDArray[np.int64], ticks: NDArray[np.int64], needs: Needs, entry: Callable[[int], int | None]
) -> Iterator[Segment]:
    """Cut a video's moments into segments, so that all of them together decode about what the video has.

    A cut costs what lies between the frame at which the file is entered and the one that is wanted: where that is much,
    there is none. A segment that would grow past all bounds hands on: the next one continues with its decoder.

    Args:
        video: whose moments they are.
        frames: int64 (M,), frame indices that never decrease.
        ticks: int64 (N,), presentation time of every frame.
        needs: what of the video the streams look at around a moment.
        entry: tells from which frame on a file must be decoded to come to the one given; None: from its beginning.
            Asked only of videos whose frames have times of their own.

    Yields:
        segments that tile the moments.
    """
    starts = np.maximum(frames - needs.before, 0).tolist()
    stops = np.minimum(frames + needs.after + 1, len(ticks)).tolist()
    worth = _Worth(entry) if video.probe.exact_pts else None
    first, seek = 0, int(ticks[starts[0]]) if worth and starts[0] else None
    for moment in range(1, len(frames) + 1):
        last = moment == len(frames)
        sought = (
            not last
            and worth is not None
            and worth.cutting(starts[first], stops[moment - 1], starts[moment], stops[moment])
        )
        hands_on = not last and not sought and stops[moment] - starts[first] > HAND_ON_FRAMES
        if last or sought or hands_on:
            yield Segment(
                video.id,
                first,
                moment,
                tuple(frames[first:moment].tolist()),
                starts[first],
                stops[moment - 1],
                seek,
                starts[moment] if hands_on else None,
            )
            first, seek = moment, int(ticks[starts[moment]]) if sought and starts[moment] else None


class _Worth:
    """Says whether a segment had better end, of a video that can be sought."""

    def __init__(self, entry: Callable[[int], int | None]) -> None:
        self._entry = entry
        self._ask_from = 0

    def cutting(self, start: int, stop: int, next_start: int, next_stop: int) -> bool:
        """Tell it of a segment that reads `start:stop` and of the moment after it, needing `next_start:next_stop`."""
        far = next_start - stop > SEEK_GAP_FRAMES
        if next_start < self._ask_from or not (far or next_stop - start > SEGMENT_FRAMES):
            return False
        entered = self._entry(next_start)
        if entered is not None and stop - entered <= (0 if far else SEEK_GAP_FRAMES):
            return True
        self._ask_from = next_start + SEEK_GAP_FRAMES // 2  # a better entry, if any, is not missed by much
        return False


def pack(planned: Sequence[Planned], shard_frames: int, first_number: int) -> list[ShardTask]:
    """Pack segments, in order, into shards of about `shard_frames` frames of work."""
    tasks: list[ShardTask] = []
    waiting: list[tuple[Segment, Video]] = []
    work = 0

    def close() -> None:
        videos = {video.id: video for _, video in waiting}
        tasks.append(
            ShardTask(
                f"{first_number + len(tasks):06d}", tuple(segment for segment, _ in waiting), tuple(videos.values())
            )
        )
        waiting.clear()

    for video in planned:
        for segment in video.segments:
            if waiting and work + segment.work_frames > shard_frames:
                close()
                work = 0
            waiting.append((segment, video.video))
            work += segment.work_frames
    if waiting:
        close()
    return tasks


def first_plan(results: Sequence[Planned | Failure], shard_frames: int | None = None) -> Plan:
    """Make the plan of a new store; a shard's work is chosen by the size of the whole job, if it is not given."""
    planned = [result for result in results if isinstance(result, Planned)]
    work = sum(segment.work_frames for video in planned for segment in video.segments)
    chosen = shard_frames or int(np.clip(work // SHARDS_AIMED_AT, *SHARD_FRAMES))
    return extended(Plan(chosen, (), (), ()), results)


def extended(plan: Plan, results: Sequence[Planned | Failure]) -> Plan:
    """Append newly planned videos to a plan; a new result takes the place of an old failure of the same id."""
    planned = [result for result in results if isinstance(result, Planned)]
    failed = [result for result in results if isinstance(result, Failure)]
    ids = {video.video.id for video in planned} | {failure.id for failure in failed}
    return Plan(
        plan.shard_frames,
        (*plan.videos, *(video.video for video in planned)),
        (*(failure for failure in plan.failures if failure.id not in ids), *failed),
        (*plan.shards, *pack(planned, plan.shard_frames, len(plan.shards))),
    )


@dataclass(frozen=True, slots=True)
class Update:
    """What a store's plan lacks.

    Attributes:
        plan: the old plan, with paths, labels, splits and groups as they are today.
        new: files to probe, with the attempt each is.
        relabelled: ids of planned videos of which label, split or group changed.
    """

    plan: Plan
    new: tuple[Attempt, ...]
    relabelled: tuple[str, ...]


def update_of(plan: Plan, found: Sequence[Found], reports: Sequence[ShardReport], *, retry_failed: bool) -> Update:
    """Hold the files of today against a store's plan.

    What a CSV says of a video today (label, split, group) takes the place of what the plan says; a folder or a list of
    paths says nothing, so the plan stays as it is.

    Raises:
        ConfigError: a file whose features are in the store is another file now.
    """
    latest, failures = plan.latest(), {failure.id: failure for failure in plan.failures}
    outcome = outcomes(plan, reports)
    new: list[Attempt] = []
    today: dict[str, Found] = {}
    changed: list[str] = []
    for one in found:
        video = latest.get(one.id)
        if video is None:
            if retry_failed or one.id not in failures or failures[one.id].reason == MachineError.__name__:
                new.append((one, 0))
            continue
        file = today[one.id] = (
            one if one.label else replace(one, label=video.label, split=video.split, group=video.group)
        )
        if retry_failed and outcome.get(file.id) in ("failed", "partial"):
            new.append((file, video.attempt + 1))
        elif outcome.get(file.id) in ("ok", "partial") and _changed(file, video):
            changed.append(file.path)
    if changed:
        raise ConfigError(
            f"{counted(len(changed), 'file')} changed since features were computed, {changed[0]} first; "
            "choose another `out`, or bring the old files back"
        )
    _tell_missing(latest, found)
    relabelled = tuple(name for name, file in today.items() if said_of(file) != said_of(latest[name]))
    if relabelled:
        logger.info(
            "%s another label, split or group than before (%s first); features do not depend on it",
            counted(len(relabelled), "video has", "videos have"),
            relabelled[0],
        )
    return Update(_renewed(plan, today), tuple(new), relabelled)


def _changed(file: Found, video: Video) -> bool:
    try:
        return fingerprint(file.path) != video.fingerprint
    except InputError:
        return True


def _tell_missing(latest: dict[str, Video], found: Sequence[Found]) -> None:
    missing = sorted(set(latest) - {file.id for file in found})
    if missing:
        logger.info(
            "%s not among `videos` today (%s first); features stay",
            counted(len(missing), "video of this store is", "videos of this store are"),
            missing[0],
        )


def _renewed(plan: Plan, today: dict[str, Found]) -> Plan:
    """Return the plan with today's paths, labels, splits and groups; the very same plan when nothing is new."""

    def renewed(video: Video) -> Video:
        file = today.get(video.id)
        if file is None or (file.path, *said_of(file)) == (video.path, *said_of(video)):
            return video
        return replace(video, path=file.path, label=file.label, split=file.split, group=file.group)

    videos = tuple(renewed(video) for video in plan.videos)
    if videos == plan.videos:
        return plan
    shards = tuple(replace(task, videos=tuple(renewed(video) for video in task.videos)) for task in plan.shards)
    return replace(plan, videos=videos, shards=shards)
