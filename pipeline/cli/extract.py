"""`vidu-pipe extract` and `vidu-pipe plan`."""

import logging
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import (
    FILE,
    amount_of_bytes,
    count,
    duration,
    found_of,
    video_options,
    wish_options,
    wishes_of,
)

if TYPE_CHECKING:
    from pipeline.extract import Summary


@click.command()
@video_options
@click.option("--out", type=FILE, default="features", show_default=True, help="The store's folder.")
@wish_options
@click.option("--retry-failed", is_flag=True, help="Try videos again that failed, or broke off and are mended now.")
@click.option("--mixed-software", is_flag=True, help="Go on in a store that other versions of libraries began.")
@click.option("--ray-address", envvar="RAY_ADDRESS", default="", help="A Ray cluster; default: this machine alone.")
@click.option("--workers", type=click.IntRange(0), default=0, help="Shards at a time here.  [default: one a core]")
@click.option("--gpus-per-task", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--retries", type=click.IntRange(0), default=2, show_default=True,
              help="How often a shard begins again after its worker died.")
@click.option("--shard-frames", type=click.IntRange(1), help="Work of a shard in frames.  [default: by the job]")
@click.option("--inline", is_flag=True, help="Work in this process, without Ray.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--log-json", type=FILE, help="Append one JSON object a line about what happens.")
def extract(**options: Any) -> int:  # noqa: ANN401 - click hands over what its options say
    """Turn videos into a feature store.

    The same command again resumes: what is done stays, what is bad or missing is made, new videos are added.
    Exit code 3: done, but some videos failed; they are named at the end.
    """
    if options["quiet"]:
        logging.getLogger().setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems end jobs politely, with SIGTERM
    out: Path = options["out"]
    began = time.monotonic()
    try:
        from pipeline.extract import Job
        from pipeline.extract import extract as run
        from pipeline.prepare import prepare

        wishes, found = wishes_of(options), found_of(options)
        settings, weights = prepare(wishes)
        own = ("retry_failed", "mixed_software", "shard_frames", "inline", "workers", "retries", "gpus_per_task",
               "quiet", "log_json")
        summary = run(Job(videos=found, settings=settings, weights=weights, out=out, address=options["ray_address"],
                          **{name: options[name] for name in own}))
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted. What is done in {out} is safe; the same command again goes on there.", err=True)
        return 130
    return _tell(summary, time.monotonic() - began)


def _tell(summary: "Summary", elapsed_s: float) -> int:
    store = summary.store
    if summary.made:
        _tell_speed(summary, elapsed_s)
    for title, videos in (("partial", summary.partial), ("failed", summary.failed)):
        for video in videos:
            click.echo(f"{title}: {video.id} ({video.reason}) {video.message}", err=True)
    for trace in summary.traces:
        click.echo(f"\nA bug in vidu-pipe; please report it:\n{trace}", err=True)
    for lost in summary.lost:
        click.echo(f"not made: shard {lost.task.shard}: {lost.why}", err=True)
    bad = f"{len(summary.partial)} broke off, {len(summary.failed)} failed"
    click.echo(f"{store.root}: {len(summary.made)} shards made, {summary.kept} were done before; {bad}")
    if summary.lost:
        click.echo("Run the same command again to try the missing shards once more.", err=True)
        return 1
    click.echo(f"Next: vidu-pipe inspect {store.root}")
    return 3 if summary.failed else 0


def _tell_speed(summary: "Summary", elapsed_s: float) -> None:
    made, stages_s = summary.made, summary.stages_s
    frames = sum(segment.frames_decoded for report in made for segment in report.segments)
    pairs, rows = sum(report.flow_pairs for report in made), sum(report.rows for report in made)
    work = {"decode": (frames, "frame"), "flow": (pairs, "pair"), "rgb-network": (rows, "moment"),
            "flow-network": (rows, "moment")}
    for stage in sorted(stages_s, key=lambda name: -stages_s[name]):
        number, unit = work.get(stage, (0, ""))
        rate = f"{count(number / stages_s[stage])} {unit}/s" if number and stages_s[stage] else ""
        click.echo(f"  {stage:<13}{duration(stages_s[stage]):>12} of workers' time   {rate}")
    size = sum(report.size_bytes for report in made)
    click.echo(f"  {count(frames)} frames, {count(pairs)} flow pairs, {count(rows)} moments, {amount_of_bytes(size)} "
               f"in {duration(elapsed_s)}: {count(frames / elapsed_s)} frame/s")


@click.command()
@video_options
@click.option("--out", type=FILE, default="features", show_default=True, help="The store's folder, there or not.")
@wish_options
@click.option("--shard-frames", type=click.IntRange(1), help="Work of a shard in frames.  [default: by the job]")
@click.option("--workers", type=click.IntRange(1), help="How many will run at a time.  [default: one a core]")
def plan(**options: Any) -> int:  # noqa: ANN401 - click hands over what its options say
    """Show what extract would do, and how long it would take on this machine. Writes nothing."""
    from pipeline.estimate import estimate
    from pipeline.prepare import prepare

    wishes, found = wishes_of(options), found_of(options)
    settings, weights = prepare(wishes)
    result = estimate(found, settings, weights, options["out"], options["shard_frames"], options["workers"])
    for failure in result.failures:
        click.echo(f"would fail: {failure.id} ({failure.reason}) {failure.message}", err=True)
    click.echo(f"store    {options['out']}: {result.shards_done} of {result.shards} shards are done")
    click.echo(f"videos   {len(found)}, {len(result.failures)} of them no good, {result.videos_new} new to the store")
    click.echo(f"to do    {result.shards - result.shards_done} shards, {result.moments:,} moments, "
               f"{result.frames:,} frames")
    streams = ", ".join(stream.name for stream in settings.streams)
    click.echo(f"settings {settings.digest}: {streams} on {settings.device}")
    if result.seconds_per_frame:
        click.echo(f"time     about {duration(result.total_s)} with {result.workers} workers "
                   f"({count(1 / result.seconds_per_frame)} frame/s each, measured just now on {result.measured_on})")
    return 3 if result.failures else 0
