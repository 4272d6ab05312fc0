"""Videos become a store: open or make it, bring its plan up to date, make what is not there, tell how it went."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.jobs.engine import Done, Engine, Lost
from pipeline.jobs.progress import Display
from pipeline.planning.find import Found
from pipeline.planning.kept_probes import KeptProbes
from pipeline.planning.outcomes import BadVideos, Partial, bad_videos
from pipeline.planning.plan import Attempt, Planned, extended, first_plan, update_of
from pipeline.planning.probing import plan_videos
from schemas.config import differences
from schemas.disk.flow_store import STORES, AnyStore, FlowStore
from schemas.disk.shard import Origin
from schemas.disk.store import Store
from schemas.errors import StoreError
from schemas.flow_config import Settings
from schemas.plan import Failure, Plan, ShardReport, ShardTask
from schemas.words import counted
from workers.products import PRODUCTS

if TYPE_CHECKING:
    from workers.networks.engine import Network

_LOST_AT_ONCE = 3  # so many shards lost and none made: the rest would be lost too
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to extract and how to go about it; beside the settings none of it changes a feature.

    Attributes:
        videos: files.
        settings: of the extraction.
        networks: by stream, as `prepare` found them; of flow files none.
        out: the store's folder.
        retry_failed: plan videos anew that gave no row or broke off.
        mixed_software: go on in a store that was begun with other versions of libraries.
        shard_frames: work of a shard in a new store; None chooses it by the size of the job.
        inline: work in this process, without Ray.
        address: of a Ray cluster; empty for this machine.
        workers: on this machine, how many at a time; 0 for one a core.
        retries: how often a shard is begun again after its worker died or the machine failed it.
        gpus_per_task: share of a GPU that each task takes on `cuda`.
        quiet: show no progress.
        log_json: file for JSON lines.
    """

    videos: Sequence[Found]
    settings: Settings
    networks: "dict[str, Network | None]"
    out: Path
    retry_failed: bool = False
    mixed_software: bool = False
    shard_frames: int | None = None
    inline: bool = False
    address: str = ""
    workers: int = 0
    retries: int = 2
    gpus_per_task: float = 1.0
    quiet: bool = False
    log_json: Path | None = None


@dataclass(slots=True)
class Summary:
    """How an extraction went.

    Attributes:
        store: what was written.
        made: reports of the shards made this time.
        kept: how many shards were done before.
        lost: shards given up, with the reason.
        bad: every video of the store that failed or broke off.
        relabelled: ids of videos of which label, split or group changed in the plan.
        traces: each distinct bug's traceback, once.
    """

    store: AnyStore
    made: list[ShardReport] = field(default_factory=list)
    kept: int = 0
    lost: list[Lost] = field(default_factory=list)
    bad: BadVideos = field(default_factory=lambda: BadVideos((), ()))
    relabelled: tuple[str, ...] = ()

    @property
    def features(self) -> Store:
        """The store, of a job that made features."""
        assert isinstance(self.store, Store)
        return self.store

    @property
    def failed(self) -> tuple[Failure, ...]:
        """Every video of the store without a row."""
        return self.bad.failed

    @property
    def partial(self) -> tuple[Partial, ...]:
        """Every video of the store that broke off."""
        return self.bad.partial

    @property
    def traces(self) -> list[str]:
        """Each distinct bug's traceback, once."""
        by_bug = {lost.why: lost.trace for lost in self.lost if lost.trace}
        return list(by_bug.values())

    @property
    def stages_s(self) -> dict[str, float]:
        """Worker seconds by stage over the shards made this time."""
        total: defaultdict[str, float] = defaultdict(float)
        for report in self.made:
            for stage, elapsed_s in report.stages_s.items():
                total[stage] += elapsed_s
        return dict(total)


def do_job(job: Job) -> Summary:
    """Do a job; doing it again resumes it.

    Raises:
        ConfigError: something about the job is not legal.
        StoreError: the store was made with other settings or other software, or is damaged beyond its shards.
        ResourceError: another process writes this store, or no shard can be made at all.
    """
    store = open_or_create(job.out, origin_of(job), mixed_software=job.mixed_software)
    if isinstance(store, FlowStore):
        store.check_ids(video.id for video in job.videos)
    with store.books.lock():
        store.sweep()
        plan, relabelled = up_to_date(store, job)
        reports = good_reports(store, plan)
        todo = [task for task in plan.live_shards if task.shard not in reports]
        summary = Summary(store, kept=len(reports), relabelled=relabelled)
        logger.info(
            "%s: %s, %s, %d of them done, %s to do",
            job.out,
            counted(len(plan.latest()), "video"),
            counted(len(plan.shards), "shard"),
            len(reports),
            counted(sum(task.work_frames for task in todo), "frame"),
        )
        if todo:
            display = Display(todo, job.settings.kind, quiet=job.quiet, log_json=job.log_json)
            with _engine(job, store) as engine, display:
                _run(engine, todo, display, summary)
        reports |= {report.shard: report for report in summary.made}
        summary.bad = bad_videos(plan, list(reports.values()))
    return summary


def origin_of(job: Job) -> Origin:
    """Return what is said of everything this job makes here."""
    settings = job.settings
    return Origin(settings.kind, settings.as_dict(), settings.digest, PRODUCTS[settings.kind].software(settings))


def open_or_create(root: Path, origin: Origin, *, mixed_software: bool) -> AnyStore:
    """Open the store in `root`, or make one there.

    Raises:
        StoreError: it was made with other settings, or (unless `mixed_software`) by other versions of libraries.
    """
    kind = STORES.get(origin.kind, Store)
    if not kind.exists(root):
        return kind.create(root, origin)
    store = kind.open(root)
    refuse_other(store, origin, mixed_software=mixed_software)
    return store.with_origin(origin)


def refuse_other(store: AnyStore, origin: Origin, *, mixed_software: bool) -> None:
    """Check that new features may stand beside those of a store.

    Raises:
        StoreError: as `open_or_create`.
    """
    root = store.out
    if store.origin.kind != origin.kind:
        raise StoreError(f"{root} holds {store.origin.kind}ed features; choose another `out`")
    if store.origin.digest != origin.digest:
        raise StoreError(
            f"{root} was made with other settings; its own, then those asked for:\n  "
            + "\n  ".join(differences(store.origin.settings, origin.settings))
            + "\nAsk for its own, or choose another `out`."
        )
    if store.origin.software != origin.software and not mixed_software:
        old, new = store.origin.software, origin.software
        lines = [
            f"{name}: {old.get(name)}, {new.get(name)}" for name in sorted(old | new) if old.get(name) != new.get(name)
        ]
        raise StoreError(
            f"{root} was made with other versions, so new features could differ from its own:\n  "
            + "\n  ".join(lines)
            + "\nInstall its own, choose another `out`, or accept that with "
            "`mixed_software` (every shard records its versions)."
        )


def up_to_date(store: AnyStore, job: Job) -> tuple[Plan, tuple[str, ...]]:
    """Bring the store's plan up to today's files and labels, and write it before any work.

    Returns:
        the plan, and the ids of its videos of which label, split or group changed.
    """
    relabelled: tuple[str, ...] = ()
    kept = KeptProbes(store.root / ".probes.jsonl")
    if (store.root / "plan.jsonl").exists():
        old = store.books.read_plan()
        reports = [report for task in old.shards if (report := store.books.report(task.shard))]
        update = update_of(old, job.videos, reports, retry_failed=job.retry_failed)
        plan = extended(update.plan, _probed(update.new, job, kept)) if update.new else update.plan
        relabelled = update.relabelled
        if plan is old:
            return plan, relabelled
    else:
        plan = first_plan(_probed([(found, 0) for found in job.videos], job, kept), job.shard_frames)
    store.books.write_plan(plan)
    kept.forget()
    return plan, relabelled


def _probed(new: Sequence[Attempt], job: Job, kept: KeptProbes) -> list[Planned | Failure]:
    logger.info("probing %s", counted(len(new), "file"))
    return plan_videos(new, job.settings, inline=job.inline, kept=kept)


def good_reports(store: AnyStore, plan: Plan) -> dict[str, ShardReport]:
    """Return the reports of the shards that are done; a shard whose file is not what was written is not done."""
    checked = verify_shards(store, plan)
    for trouble in (trouble for _, trouble in checked if trouble):
        logger.warning("bad shard, to be made again: %s", trouble)
    return {report.shard: report for report, trouble in checked if not trouble}


@contextmanager
def _engine(job: Job, store: AnyStore) -> Iterator[Engine]:
    if job.inline:
        from pipeline.jobs.inline_engine import InlineEngine

        yield InlineEngine(PRODUCTS[job.settings.kind].make_tools(job.settings, job.networks), store, job.retries)
        return
    from pipeline.jobs.ray_engine import ClusterOptions, RayEngine

    options = ClusterOptions(
        address=job.address, workers=job.workers, retries=job.retries, gpus_per_task=job.gpus_per_task
    )
    with RayEngine(job.settings, job.networks, store, options) as engine:
        yield engine


def _run(engine: Engine, todo: list[ShardTask], display: Display, summary: Summary) -> None:
    for event in engine.run(todo):
        display.follow(event)
        if isinstance(event, Done):
            summary.made.append(event.report)
        elif isinstance(event, Lost):
            summary.lost.append(event)
            if len(summary.lost) >= _LOST_AT_ONCE and not summary.made:
                bugs = sum(bool(lost.trace) for lost in summary.lost)
                logger.error(
                    "%s lost, %d to a bug and the others to the machine, and none was made; the rest is not tried",
                    counted(len(summary.lost), "shard"),
                    bugs,
                )
                return


def verify_shards(store: AnyStore, plan: Plan) -> list[tuple[ShardReport, str]]:
    """Read every shard that is reported and compare every checksum; say what is wrong with each, empty when nothing."""
    done = [(task, report) for task in plan.live_shards if (report := store.books.report(task.shard))]
    with ThreadPoolExecutor() as pool:
        return [
            (report, trouble)
            for (_, report), trouble in zip(
                done, pool.map(lambda pair: _of_another_plan(*pair) or store.trouble(pair[1]), done), strict=True
            )
        ]


def _of_another_plan(task: ShardTask, report: ShardReport) -> str:
    attempts = {video.id: video.attempt for video in task.videos}
    planned = [(segment.video, attempts[segment.video], segment.start) for segment in task.segments]
    if planned != [(segment.video, segment.attempt, segment.start) for segment in report.segments]:
        return f"shard {task.shard}: holds other segments than the plan gives it"
    return ""
