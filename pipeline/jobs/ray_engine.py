"""The Ray engine: bounded tasks in flight, machine faults retried, bugs not.

When a worker dies, or lacks memory or cannot read, again and again over one shard, some video in it may end every
process that decodes it. Then each video is tried in a process of its own, those that fail so twice are left out, and
the shard is made without them: one file costs one file.
"""

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

# Before Ray is imported: no reports home, no colours in logs, a GPU stays visible to tasks that ask for none, and
# workers are no nicer than the user made this process (Ray's own default of 15 crawls beside any busy program).
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_COLOR_PREFIX", "0")
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray.exceptions import RayError, RayTaskError

from pipeline.jobs.engine import Died, Done, Event, Lost, Told
from schemas.disk.flow_store import AnyStore
from schemas.errors import ResourceError, ViduError, is_machines
from schemas.flow_config import Settings
from schemas.plan import ShardReport, ShardTask, runs
from schemas.words import counted
from workers.remote import rehearse_on_worker, shard_on_worker

if TYPE_CHECKING:
    from workers.networks.engine import Network

# as Ray was imported: for each of its starts, since a caller of the library gets the environment back that it had
_ENVIRONMENT = {
    name: os.environ[name]
    for name in (
        "RAY_USAGE_STATS_ENABLED",
        "RAY_COLOR_PREFIX",
        "RAY_worker_niceness",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO",
    )
}
_WAIT_S = 0.5
_LOOK_EVERY_S = 10.0
_STARTS = 2
_QUEUE_PER_SLOT = 2  # a finished worker finds its next task waiting
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """How Ray is used; none of it changes a feature.

    Attributes:
        address: of a cluster; empty for this machine alone.
        workers: on this machine alone, how many at a time; 0 for one a core.
        retries: how often a shard is begun again after its worker died.
        gpus_per_task: share of a GPU that each task takes on `cuda`.
    """

    address: str = ""
    workers: int = 0
    retries: int = 2
    gpus_per_task: float = 1.0


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Shards that one worker makes in turn, without those that are done; how often the first one was begun before."""

    tasks: tuple[ShardTask, ...]
    tries: int


class RayEngine:
    """Makes shards as Ray tasks; use as a context manager, which starts or joins Ray and leaves it."""

    def __init__(
        self, settings: Settings, networks: "dict[str, Network | None]", store: AnyStore, options: ClusterOptions
    ) -> None:
        """Say what to make; Ray starts in `__enter__`."""
        self._settings = settings
        self._networks = networks
        self._store = store
        self._options = options
        self._running: dict[ray.ObjectRefGenerator, _Attempt] = {}
        self._slots = 1
        self._looked = 0.0

    def __enter__(self) -> "RayEngine":
        """Start or join Ray.

        Raises:
            ResourceError: Ray does not start, or the cluster can not be reached, or has no GPU though the settings
                want one.
        """
        _start(self._options)
        with ExitStack() as undone:
            undone.callback(ray.shutdown)
            self._prepare()
            undone.pop_all()
        return self

    def _prepare(self) -> None:
        """Hand the networks to Ray and say what its tasks need."""
        self._argument = [ray.put(self._networks)]
        needs: dict[str, Any] = {"num_cpus": 1, "max_retries": 0}
        if self._settings.device == "cuda":
            needs["num_gpus"] = self._options.gpus_per_task
        self._make = ray.remote(num_returns="streaming", **needs)(shard_on_worker)
        self._rehearse = ray.remote(max_calls=1, **needs)(rehearse_on_worker)  # a process for each
        self._look()

    def __exit__(self, *_: object) -> None:
        """Stop what still runs and leave Ray; shards that are done stay done."""
        for generator in self._running:
            ray.cancel(generator, force=True)
        ray.shutdown()

    @property
    def slots(self) -> int:
        """How many shards can be made at a time by now."""
        return self._slots

    def run(self, tasks: Sequence[ShardTask]) -> Iterator[Event]:
        """Make shards in any order."""
        queue = deque(_Attempt(run, 0) for run in runs(tasks))
        while queue or self._running:
            self._look()
            while queue and len(self._running) < self._slots * _QUEUE_PER_SLOT:
                attempt = queue.popleft()
                generator = self._make.remote(attempt.tasks, self._settings, self._argument, self._store)
                self._running[generator] = attempt
            ray.wait(list(self._running), num_returns=1, timeout=_WAIT_S)
            ready, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
            for generator in ready:
                yield from self._advance(generator, queue)

    def _advance(self, generator: ray.ObjectRefGenerator, queue: deque[_Attempt]) -> Iterator[Event]:
        attempt = self._running[generator]
        try:
            event = ray.get(next(generator))
        except StopIteration:
            del self._running[generator]
        except RayTaskError as error:
            del self._running[generator]
            if is_machines(error.cause):
                yield from self._died(attempt, _first_line(error.cause), queue)
                return
            if isinstance(error.cause, ViduError):
                raise error.cause from None
            yield from self._lost(attempt, repr(error.cause), str(error), queue)
        except RayError as error:
            del self._running[generator]
            yield from self._died(attempt, _first_line(error), queue)
        else:
            if isinstance(event, ShardReport):
                self._running[generator] = _Attempt(attempt.tasks[1:], 0)
                yield Done(event)
            else:
                yield Told(attempt.tasks[0], event)

    def _died(self, attempt: _Attempt, why: str, queue: deque[_Attempt]) -> Iterator[Event]:
        if not attempt.tasks:
            return  # it had nothing left to do
        yield Died(attempt.tasks[0], why)
        if attempt.tries < self._options.retries:
            queue.appendleft(_Attempt(attempt.tasks, attempt.tries + 1))
            return
        deadly = self._deadly(attempt.tasks[0])
        if deadly:
            tasks = tuple(replace(task, excluded=task.excluded | deadly) for task in attempt.tasks)
            queue.appendleft(_Attempt(tasks, attempt.tries))
        else:
            why = (
                f"its worker failed {counted(attempt.tries + 1, 'time')} ({why}), and no video alone is "
                "to blame; see `retries`, and how much memory a worker has"
            )
            yield from self._lost(attempt, why, "", queue)

    def _lost(self, attempt: _Attempt, why: str, trace: str, queue: deque[_Attempt]) -> Iterator[Event]:
        """Give the first shard up; those that would have gone on from it begin anew."""
        if attempt.tasks[1:]:
            queue.append(_Attempt(attempt.tasks[1:], 0))
        yield Lost(attempt.tasks[0], why, trace)

    def _deadly(self, task: ShardTask) -> frozenset[str]:
        """Find the videos that end a process of their own, or find the machine wanting, twice."""
        logger.warning(
            "shard %s: its worker failed %s; trying its %s one by one",
            task.shard,
            counted(self._options.retries + 1, "time"),
            counted(len(task.videos), "video"),
        )
        suspects = [video.id for video in task.videos if video.id not in task.excluded]
        if self._dying(task, [""]):
            return frozenset()  # even without any video: it is the machine, and all of them would be blamed
        for _ in range(2):
            suspects = self._dying(task, suspects)
        return frozenset(suspects)

    def _dying(self, task: ShardTask, videos: Sequence[str]) -> list[str]:
        alone = {video: replace(task, segments=tuple(s for s in task.segments if s.video == video)) for video in videos}
        results = {
            video: self._rehearse.remote(one, self._settings, self._argument, self._store)
            for video, one in alone.items()
        }
        dying = []
        for video, result in results.items():
            try:
                ray.get(result)
            except RayTaskError as error:
                if is_machines(error.cause):
                    dying.append(video)
                continue  # a bug is not a death; it will be shown when the shard is made
            except RayError:
                dying.append(video)
        return dying

    def _look(self) -> None:
        """Count the cluster's slots, now and then: nodes come and go."""
        if self._looked and time.monotonic() - self._looked < _LOOK_EVERY_S:
            return
        has = ray.cluster_resources()
        slots = has.get("CPU", 0.0)
        if self._settings.device == "cuda":
            slots = min(slots, has.get("GPU", 0.0) / self._options.gpus_per_task)
        if slots < 1 and not self._looked:
            raise ResourceError(
                f"nothing here can run a task: {has.get('CPU', 0):g} CPUs, {has.get('GPU', 0):g} GPUs "
                f"for `device` {self._settings.device}"
            )
        self._slots, self._looked = max(1, int(slots)), time.monotonic()


def _start(options: ClusterOptions) -> None:
    """Start Ray on this machine, or join a cluster.

    A start that fails is tried once more: on a busy machine Ray's own patience runs out now and then.

    Raises:
        ResourceError: it fails for good.
    """
    if ray.is_initialized():
        raise ResourceError("this process uses Ray already; call ray.shutdown() before, or work inline")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if options.address:
        quiet |= {"address": options.address}
    else:
        quiet |= {
            "address": "local",
            "num_cpus": options.workers or os.cpu_count() or 1,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    trouble: Exception | None = None
    for _ in range(1 if options.address else _STARTS):
        if trouble is not None:
            logger.warning("Ray did not start (%s); trying once more", _first_line(trouble))
        try:
            with ExitStack() as undone, _own_signals():
                undone.callback(ray.shutdown)  # of what has started when an interrupt comes, too
                ray.init(**quiet)
                undone.pop_all()
        except Exception as error:  # noqa: BLE001 - a node that starts too slowly is a bare Exception of Ray's
            trouble = error
        else:
            return
    if options.address:
        raise ResourceError(f"no Ray at {options.address}: {trouble}") from trouble
    raise ResourceError(
        f"Ray does not start on this machine: {trouble}. It needs processors, memory and room in /tmp "
        "that others leave free; `inline` works without it"
    ) from trouble


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's own ways to be interrupted: Ray puts handlers of its own there, and its SIGTERM aborts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
