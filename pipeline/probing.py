"""Probing many files at once, each in a process that may die without harm."""

import logging
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from pipeline.find import Found
from pipeline.plan import Planned, plan_video
from schemas.config import ExtractSettings
from schemas.errors import VideoCrashError
from schemas.plan import Failure

_FEW = 4  # so few files are probed one after the other sooner than processes start
Job = tuple[Found, int]
logger = logging.getLogger(__name__)


def plan_videos(jobs: Sequence[Job], settings: ExtractSettings, *, inline: bool) -> list[Planned | Failure]:
    """Probe files and cut them into segments.

    FFmpeg opens a file's codec when it probes it, and a broken file can end the process that does so. Processes of a
    pool do it; when one dies, each file it may have been is tried alone, and those that die again are Failures.

    Args:
        jobs: (file, attempt).
        settings: of the extraction.
        inline: probe in this process.

    Returns:
        one result a job, in the order of the jobs.
    """
    if inline:
        results = {job: plan_video(job[0], settings, job[1]) for job in jobs}
    else:
        results = dict(_pooled(jobs, settings, min(len(jobs), os.cpu_count() or 1) or 1))
        for job in [job for job in jobs if job not in results]:
            alone = dict(_pooled([job], settings, 1))
            results[job] = alone.get(job) or _crashed(job[0])
    for result in results.values():
        if isinstance(result, Failure):
            logger.warning("failed: %s", result.message)
    return [results[job] for job in jobs]


def _pooled(jobs: Sequence[Job], settings: ExtractSettings, processes: int) -> Iterator[tuple[Job, Planned | Failure]]:
    """Yield what a pool of processes finished before it broke, if it broke."""
    # spawn: a fork of a process with threads can hang
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        futures: dict[Future[Planned | Failure], Job] = {
            pool.submit(plan_video, found, settings, attempt): (found, attempt) for found, attempt in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            logger.warning("a process that probed videos died; the files it had are tried one by one")


def _crashed(found: Found) -> Failure:
    return Failure(found.id, found.path, "", VideoCrashError.__name__,
                   f"{found.path}: probing it ends the process that tries")
