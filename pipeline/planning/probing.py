"""Probing many files at once, and other work on files, in processes that may die without harm."""

import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipeline.planning.find import Found
from pipeline.planning.kept_probes import KeptProbes
from pipeline.planning.plan import Attempt, Planned, plan_video
from schemas.errors import MachineError, VideoCrashError
from schemas.flow_config import Settings
from schemas.plan import Failure
from schemas.words import counted

T = TypeVar("T")
_TRIES = 3
logger = logging.getLogger(__name__)


def plan_videos(
    attempts: Sequence[Attempt], settings: Settings, *, inline: bool, kept: KeptProbes | None = None
) -> list[Planned | Failure]:
    """Probe files and cut them into segments.

    FFmpeg opens a file's codec when it probes it, and a broken file can end the process that does so. Processes of a
    pool do it; when one dies, each file it may have been is tried alone, and those that die again are Failures.

    Args:
        attempts: a file, and how often it was planned before.
        settings: of the job.
        inline: probe in this process.
        kept: where results are written down as they come, and those of a planning that was killed are found.

    Returns:
        one result an attempt, in their order.
    """
    results = _Results(kept)
    results.find(attempts)
    if inline:
        for one in results.left(attempts):
            results.add(one, _planned(one[0], settings, one[1]))
    else:
        _guarded(attempts, settings, min(len(attempts), os.cpu_count() or 1), results)
    for result in results.by_attempt.values():
        if isinstance(result, Failure):
            logger.warning("failed: %s", result.message)
    return [results.by_attempt[one] for one in attempts]


@dataclass(slots=True)
class _Results:
    """The results so far."""

    kept: KeptProbes | None
    by_attempt: dict[Attempt, Planned | Failure] = field(default_factory=dict)

    def find(self, attempts: Sequence[Attempt]) -> None:
        """Take what a planning before left."""
        for one in attempts if self.kept is not None else ():
            result = self.kept and self.kept.find(*one)
            if result:
                self.by_attempt[one] = result
        if self.by_attempt:
            logger.info("%d of them were probed by a planning that did not end", len(self.by_attempt))

    def add(self, one: Attempt, result: Planned | Failure) -> None:
        """Take a result, and keep it."""
        self.by_attempt[one] = result
        if self.kept is not None:
            self.kept.keep(one[0], result)

    def left(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Return those without a result, in order."""
        return [one for one in attempts if one not in self.by_attempt]


def _planned(found: Found, settings: Settings, attempt: int) -> Planned | Failure:
    """Plan one file; what the machine does not manage `_TRIES` times is left to the next run of the same command."""
    for tried in range(1, _TRIES + 1):
        try:
            return plan_video(found, settings, attempt)
        except (MachineError, MemoryError) as error:
            if tried == _TRIES:
                return Failure(found.id, found.path, "", MachineError.__name__, str(error) or "memory ran out")
    raise AssertionError


def _guarded(attempts: Sequence[Attempt], settings: Settings, processes: int, results: _Results) -> None:
    """Go on with a new pool after each that broke; what the broken one may have been at is tried alone first."""
    while left := results.left(attempts):
        broke = _pooled(left, settings, processes, results)
        if broke:
            # a pool takes them in order, one a process and one more that waits
            suspects = results.left(left)[: 2 * processes + 1]
            logger.warning("a process that probed videos died; trying %s one by one", counted(len(suspects), "file"))
            for one in suspects:
                if _pooled([one], settings, 1, results):
                    results.add(one, _crashed(one[0]))


def _pooled(attempts: Sequence[Attempt], settings: Settings, processes: int, results: _Results) -> bool:
    """Add to `results` what a pool of processes finishes; return whether it broke before it finished all."""
    with _pool(processes) as pool:
        try:
            with _nameless_main():
                futures: dict[Future[Planned | Failure], Attempt] = {
                    pool.submit(_planned, found, settings, attempt): (found, attempt) for found, attempt in attempts
                }
        except BrokenProcessPool:  # so soon
            return True
        broke = False
        for future in as_completed(futures):
            try:
                results.add(futures[future], future.result())
            except BrokenProcessPool:
                broke = True
    return broke


def in_own_process(function: Callable[..., T], *arguments: object) -> T | None:
    """Run a function of a module in a new process; return None when it ends the process."""
    with _pool(1) as pool:
        try:
            with _nameless_main():
                future = pool.submit(function, *arguments)
            return future.result()
        except BrokenProcessPool:
            return None


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Run a pool; whoever interrupts its work waits for what is being done, and for nothing that has not begun."""
    # spawn: a fork of a process with threads can hang
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _nameless_main() -> Iterator[None]:
    """Keep new processes from running the caller's script again.

    A spawned process first runs the main script under another name, which a script that is not guarded against that
    does not survive: its videos would be taken for deadly. Probing needs nothing of the script.
    """
    main: dict[str, Any] = vars(sys.modules["__main__"])
    hidden: dict[str, Any] = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(hidden)


def _crashed(found: Found) -> Failure:
    return Failure(
        found.id, found.path, "", VideoCrashError.__name__, f"{found.path}: probing it ends the process that tries"
    )
