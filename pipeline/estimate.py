"""What an extraction would do and how long it would take: the same plan, held against one second of real work."""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.extract import good_reports, refuse_other
from pipeline.find import Found
from pipeline.plan import compare, extended, first_plan
from pipeline.probing import plan_videos
from schemas.config import ExtractSettings
from schemas.plan import Failure, Plan, ShardReport, ShardTask
from schemas.store import Store
from workers.backbones import State
from workers.process import rehearse
from workers.tools import make_tools, origin_of

CALIBRATION_S = 1.0
_SAMPLE_FRAMES = 64  # a batch of moments: the least work whose time is typical


@dataclass(frozen=True, slots=True)
class Estimate:
    """What would be done.

    Attributes:
        shards: of the whole store.
        shards_done: of them done already.
        videos_new: files the store does not know yet.
        videos_relabelled: videos of the store of which label, split or group would change.
        failures: files that can not be planned.
        moments: rows to make.
        frames: work to do, in frames.
        workers: how many would work at a time.
        seconds_per_frame: of one worker; 0 when there is nothing to measure.
        measured_on: id of the video that was measured on.
    """

    shards: int
    shards_done: int
    videos_new: int
    videos_relabelled: int
    failures: tuple[Failure, ...]
    moments: int
    frames: int
    workers: int
    seconds_per_frame: float
    measured_on: str

    @property
    def total_s(self) -> float:
        """Wall-clock estimate, in seconds; no shorter than the longest shard would take alone."""
        return self.frames * self.seconds_per_frame / self.workers


def estimate(found: list[Found], settings: ExtractSettings, weights: dict[str, State], out: Path,
             shard_frames: int | None, workers: int | None) -> Estimate:
    """Plan without writing, and measure for about a second.

    Raises:
        ConfigError: as `extract` would.
        StoreError: the store in `out` is damaged, or was made with other settings.
    """
    plan, reports = Plan(0, (), (), ()), dict[str, ShardReport]()
    if Store.exists(out) and (out / "plan.jsonl").exists():
        store = Store.open(out)
        refuse_other(store, origin_of(settings), mixed_software=True)
        old = store.read_plan()
        reports = good_reports(store, old)
        update = compare(old, found, list(reports.values()), retry_failed=False)
        new, relabelled = len(update.new), len(update.relabelled)
        plan = extended(update.plan, plan_videos(update.new, settings, inline=False))
    else:
        new, relabelled = len(found), 0
        plan = first_plan(plan_videos([(file, 0) for file in found], settings, inline=False), shard_frames)
    todo = [task for task in plan.live_shards if task.shard not in reports]
    per_frame_s, measured_on = measure(todo, settings, weights) if todo else (0.0, "")
    return Estimate(
        shards=len(plan.shards), shards_done=len(reports), videos_new=new, videos_relabelled=relabelled,
        failures=plan.failures,
        moments=sum(len(segment.frames) for task in todo for segment in task.segments),
        frames=sum(task.work_frames for task in todo), workers=min(workers or os.cpu_count() or 1, max(1, len(todo))),
        seconds_per_frame=per_frame_s, measured_on=measured_on)


def measure(todo: list[ShardTask], settings: ExtractSettings, weights: dict[str, State]) -> tuple[float, str]:
    """Work for about a second on the middle shard and return (seconds per frame, video id)."""
    tools = make_tools(settings, weights)
    task = todo[len(todo) // 2]
    segment = max(task.segments, key=lambda one: one.work_frames)
    kept = [frame for frame in segment.frames if frame < segment.frames[0] + _SAMPLE_FRAMES]
    stop = min(segment.read_stop, kept[-1] + 1 + (segment.read_stop - segment.frames[-1]))
    sample = replace(segment, frames=tuple(kept), stop=segment.start + len(kept), read_stop=stop)
    trial = replace(task, segments=(sample,))
    for _ in rehearse(trial, tools):  # once unmeasured: compiled code is loaded, caches are filled
        pass
    frames, began = 0, time.perf_counter()
    while time.perf_counter() - began < CALIBRATION_S:
        frames += sum(progress.frames for progress in rehearse(trial, tools))
    return (time.perf_counter() - began) / frames, segment.video
