"""What commands that run a job share: their options, how they end, and what they tell."""

import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.flags import told
from pipeline.cli.options import FILE, amount_of_bytes, count, duration, stack_options
from pipeline.cli.values import JobFlags
from schemas.words import counted

if TYPE_CHECKING:
    from pipeline.jobs.job import Summary
    from vidu_pipe.options import JobOptions

run_options = stack_options(
    [
        click.option("--retry-failed", is_flag=True, help="Try videos again that failed or broke off."),
        click.option("--mixed-software", is_flag=True, help="Go on where other versions of libraries began."),
        click.option(
            "--ray-address", envvar="RAY_ADDRESS", default="", help="A Ray cluster; default: this machine alone."
        ),
        click.option(
            "--workers", type=click.IntRange(0), default=0, help="Tasks at a time here.  [default: one a core]"
        ),
        click.option("--gpus-per-task", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True),
        click.option(
            "--retries",
            type=click.IntRange(0),
            default=2,
            show_default=True,
            help="How often a task begins again after its worker died.",
        ),
        click.option("--inline", is_flag=True, help="Work in this process, without Ray."),
        click.option("--quiet", is_flag=True, help="No progress."),
        click.option("--log-json", type=FILE, help="Append one JSON object a line about what happens."),
    ]
)


def job_fields(options: JobFlags) -> "JobOptions":
    """Return what `run_options` say, as fields of a Job."""
    return {
        "inline": options["inline"],
        "address": options["ray_address"],
        "workers": options["workers"],
        "retries": options["retries"],
        "gpus_per_task": options["gpus_per_task"],
        "quiet": options["quiet"],
        "retry_failed": options["retry_failed"],
        "mixed_software": options["mixed_software"],
        "log_json": options["log_json"],
    }


def run_job(options: JobFlags, out: Path, job: Callable[[], "Summary"]) -> "tuple[Summary, float] | None":
    """Do a job; None when the user interrupts.

    Returns:
        how it went, and how many seconds it took.
    """
    if options["quiet"]:
        logging.getLogger().setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems end jobs politely, with SIGTERM
    began = time.monotonic()
    try:
        summary = job()
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted. What is done in {out} is safe; the same command again goes on there.", err=True)
        return None
    return summary, time.monotonic() - began


def tell(summary: "Summary", elapsed_s: float, out: Path, *, unit: str, following: str) -> int:
    """Print how a job went and return the exit code.

    Args:
        summary: of the job.
        elapsed_s: wall-clock seconds.
        out: the folder that was written to.
        unit: what a task makes.
        following: what to say last when all is done.
    """
    if summary.made:
        _tell_speed(summary, elapsed_s)
    for line in summary.bad.lines():
        click.echo(told(line), err=True)
    for trace in summary.traces:
        click.echo(f"\nA bug in vidu-pipe; please report it:\n{trace}", err=True)
    for lost in summary.lost:
        name = f"shard {lost.task.shard}" if unit == "shard" else ", ".join(video.id for video in lost.task.videos)
        click.echo(told(f"not made: {name}: {lost.why}"), err=True)
    if summary.relabelled:
        click.echo(
            f"labels: {counted(len(summary.relabelled), 'video has', 'videos have')} another label, split or "
            f"group now ({summary.relabelled[0]} first)"
        )
    bad = f"{len(summary.partial)} broke off, {len(summary.failed)} failed"
    click.echo(f"{out}: {counted(len(summary.made), unit)} made, {summary.kept} were done before; {bad}")
    if summary.lost:
        click.echo("Run the same command again to try what is missing once more.", err=True)
        return 1
    click.echo(following)
    return 3 if summary.failed or summary.partial else 0


def _tell_speed(summary: "Summary", elapsed_s: float) -> None:
    made, stages_s = summary.made, summary.stages_s
    frames = sum(segment.frames_decoded for report in made for segment in report.segments)
    pairs, rows = sum(report.flow_pairs for report in made), sum(report.rows for report in made)
    work = {"decode": (frames, "frame"), "flow": (pairs, "pair"), "encode": (rows, "field")}
    width = max(map(len, stages_s), default=0) + 1
    for stage in sorted(stages_s, key=lambda name: -stages_s[name]):
        of_moments = stage.endswith(("-input", "-network"))  # after the name of a stream
        number, unit = (rows, "moment") if of_moments else work.get(stage, (0, ""))
        rate = f"{count(number / stages_s[stage])} {unit}/s" if number and stages_s[stage] else ""
        click.echo(f"  {stage:<{width}}{duration(stages_s[stage]):>12} of workers' time   {rate}")
    size = sum(report.size_bytes for report in made)
    moments = f", {counted(rows, 'moment')}" if summary.store.origin.kind == "extract" else ""
    computed = f", {counted(pairs, 'flow pair')}" if pairs else ""
    click.echo(
        f"  {counted(frames, 'frame')}{computed}{moments}, {amount_of_bytes(size)} "
        f"in {duration(elapsed_s)}: {count(frames / elapsed_s)} frame/s"
    )
