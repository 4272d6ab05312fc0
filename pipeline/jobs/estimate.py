"""What an extraction would do and how long it would take: the same plan, held against one second of real work."""

import logging
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.jobs.job import good_reports, refuse_other
from pipeline.planning.find import Found
from pipeline.planning.plan import extended, first_plan, update_of
from pipeline.planning.probing import in_own_process, plan_videos
from schemas.config import ExtractSettings
from schemas.disk.store import Store
from schemas.plan import Failure, Plan, ShardReport, ShardTask, Video, runs
from workers.networks.engine import Network
from workers.process import rehearse
from workers.tools import feature_origin, make_tools

CALIBRATION_S = 1.0
ENGINE_S = 4.0  # Ray's own start and end on this machine; measured on 2 cores, little depends on them
_SAMPLE_FRAMES = 64  # a batch of moments: the least work whose time is typical
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What would be done.

    Attributes:
        shards: of the whole store.
        shards_done: of them done already.
        videos_new: files the store does not know yet.
        videos_relabelled: videos of the store of which label, split or group would change.
        failures: files that can not be planned.
        damaged: videos that will be partial, since their files are cut short or damaged.
        moments: rows to make.
        frames: work to do, in frames.
        workers: how many would work at a time.
        longest_frames: most work that one worker does alone, in frames: a shard, and those that go on from it.
        start_s: from the command's start to the first frame: imports, weights, planning, Ray, imports of workers.
        seconds_per_frame: of one worker; 0 when there is nothing to measure.
        measured_on: id of the video that was measured on.
    """

    shards: int
    shards_done: int
    videos_new: int
    videos_relabelled: int
    failures: tuple[Failure, ...]
    damaged: tuple[Video, ...]
    moments: int
    frames: int
    longest_frames: int
    start_s: float
    workers: int
    seconds_per_frame: float
    measured_on: str

    @property
    def work_s(self) -> float:
        """Wall-clock estimate of the work, in seconds; no shorter than the longest piece takes alone."""
        return max(self.frames / self.workers, self.longest_frames) * self.seconds_per_frame

    @property
    def total_s(self) -> float:
        """Wall-clock estimate of the whole job, in seconds."""
        return self.start_s + self.work_s


def estimate(
    found: list[Found],
    settings: ExtractSettings,
    networks: dict[str, Network | None],
    out: Path,
    shard_frames: int | None,
    workers: int | None,
    *,
    prepared_s: float,
) -> Estimate:
    """Plan without writing, and measure for about a second.

    Args:
        found: files.
        settings: of the extraction.
        networks: by stream.
        out: the store's folder, there or not.
        shard_frames: as in `Job`.
        workers: how many would work at a time; None: one a core.
        prepared_s: what it took this process to import libraries and prepare networks; each worker does that too.

    Raises:
        ConfigError: as `extract` would.
        StoreError: the store in `out` is damaged, or was made with other settings.
    """
    began = time.perf_counter()
    plan, reports = Plan(0, (), (), ()), dict[str, ShardReport]()
    if Store.exists(out) and (out / "plan.jsonl").exists():
        store = Store.open(out)
        refuse_other(store, feature_origin(settings), mixed_software=True)
        old = store.books.read_plan()
        reports = good_reports(store, old)
        update = update_of(old, found, list(reports.values()), retry_failed=False)
        new, relabelled = len(update.new), len(update.relabelled)
        plan = extended(update.plan, plan_videos(update.new, settings, inline=False))
    else:
        new, relabelled = len(found), 0
        plan = first_plan(plan_videos([(file, 0) for file in found], settings, inline=False), shard_frames)
    todo = [task for task in plan.live_shards if task.shard not in reports]
    planned_s = time.perf_counter() - began
    measured = measure(todo, settings, networks) if todo else Measured(0.0, 0.0, "")
    return Estimate(
        shards=len(plan.shards),
        shards_done=len(reports),
        videos_new=new,
        videos_relabelled=relabelled,
        failures=plan.failures,
        damaged=tuple(video for video in plan.latest().values() if video.probe.damage),
        moments=sum(len(segment.frames) for task in todo for segment in task.segments),
        frames=sum(task.work_frames for task in todo),
        longest_frames=max((sum(task.work_frames for task in run) for run in runs(todo)), default=0),
        start_s=prepared_s + planned_s + ENGINE_S + prepared_s + measured.tools_s,
        workers=min(workers or os.cpu_count() or 1, max(1, len(todo))),
        seconds_per_frame=measured.per_frame_s,
        measured_on=measured.video,
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """What a second of real work showed.

    Attributes:
        tools_s: until the first frames were done: networks built, compiled code loaded, caches filled.
        per_frame_s: seconds a frame, from then on.
        video: id of the video it was measured on.
    """

    tools_s: float
    per_frame_s: float
    video: str


def measure(todo: list[ShardTask], settings: ExtractSettings, networks: dict[str, Network | None]) -> Measured:
    """Work for about a second on the middle shard, in a process of its own; on another when a file in it ends that."""
    for task in dict.fromkeys((todo[len(todo) // 2], todo[0], todo[-1])):
        measured = in_own_process(_measure_on, task, settings, networks)
        if measured is not None:
            return measured
        logger.warning("shard %s: a video in it ends the process that decodes it; measuring on another", task.shard)
    return Measured(0.0, 0.0, "")


def _measure_on(task: ShardTask, settings: ExtractSettings, networks: dict[str, Network | None]) -> Measured:
    began = time.perf_counter()
    tools = make_tools(settings, networks)
    segment = max(task.segments, key=lambda one: one.work_frames)
    kept = [frame for frame in segment.frames if frame < segment.frames[0] + _SAMPLE_FRAMES]
    stop = min(segment.read_stop, kept[-1] + 1 + (segment.read_stop - segment.frames[-1]))
    sample = replace(segment, frames=tuple(kept), stop=segment.start + len(kept), read_stop=stop)
    trial = replace(task, segments=(sample,))
    for _ in rehearse(trial, tools):  # once unmeasured: compiled code is loaded, caches are filled
        pass
    frames, warm = 0, time.perf_counter()
    while time.perf_counter() - warm < CALIBRATION_S:
        frames += sum(progress.frames for progress in rehearse(trial, tools))
    return Measured(warm - began, (time.perf_counter() - warm) / frames, segment.video)
