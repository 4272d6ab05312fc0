"""Probing many files at once, each in a process that may die without harm."""

import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from pipeline.find import Found
from pipeline.plan import Planned, plan_video
from schemas.errors import MachineError, VideoCrashError
from schemas.flow_config import Settings
from schemas.plan import Failure
from schemas.words import counted

Job = tuple[Found, int]
_TRIES = 3
logger = logging.getLogger(__name__)


def plan_videos(jobs: Sequence[Job], settings: Settings, *, inline: bool) -> list[Planned | Failure]:
    """Probe files and cut them into segments.

    FFmpeg opens a file's codec when it probes it, and a broken file can end the process that does so. Processes of a
    pool do it; when one dies, each file it may have been is tried alone, and those that die again are Failures.

    Args:
        jobs: (file, attempt).
        settings: of the job.
        inline: probe in this process.

    Returns:
        one result a job, in the order of the jobs.
    """
    if inline:
        results = {job: _planned(job[0], settings, job[1]) for job in jobs}
    else:
        results = _guarded(jobs, settings, min(len(jobs), os.cpu_count() or 1))
    for result in results.values():
        if isinstance(result, Failure):
            logger.warning("failed: %s", result.message)
    return [results[job] for job in jobs]


def _planned(found: Found, settings: Settings, attempt: int) -> Planned | Failure:
    """Plan one file; what the machine does not manage `_TRIES` times is left to the next run of the same command."""
    for tried in range(1, _TRIES + 1):
        try:
            return plan_video(found, settings, attempt)
        except (MachineError, MemoryError) as error:
            if tried == _TRIES:
                return Failure(found.id, found.path, "", MachineError.__name__, str(error) or "memory ran out")
    raise AssertionError


def _guarded(jobs: Sequence[Job], settings: Settings, processes: int) -> dict[Job, Planned | Failure]:
    """Go on with a new pool after each that broke; what the broken one may have been at is tried alone first."""
    results: dict[Job, Planned | Failure] = {}
    while left := [job for job in jobs if job not in results]:
        broke = _pooled(left, settings, processes, results)
        if broke:
            # a pool takes jobs in order, one a process and one more that waits
            suspects = [job for job in left if job not in results][:2 * processes + 1]
            logger.warning("a process that probed videos died; trying %s one by one", counted(len(suspects), "file"))
            for job in suspects:
                if _pooled([job], settings, 1, results):
                    results[job] = _crashed(job[0])
    return results


def _pooled(jobs: Sequence[Job], settings: Settings, processes: int,
            results: dict[Job, Planned | Failure]) -> bool:
    """Add to `results` what a pool of processes finishes; return whether it broke before it finished all."""
    # spawn: a fork of a process with threads can hang
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        try:
            with _nameless_main():
                futures: dict[Future[Planned | Failure], Job] = {
                    pool.submit(_planned, found, settings, attempt): (found, attempt) for found, attempt in jobs}
        except BrokenProcessPool:  # so soon
            return True
        broke = False
        for future in as_completed(futures):
            try:
                results[futures[future]] = future.result()
            except BrokenProcessPool:
                broke = True
    return broke


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
    return Failure(found.id, found.path, "", VideoCrashError.__name__,
                   f"{found.path}: probing it ends the process that tries")
