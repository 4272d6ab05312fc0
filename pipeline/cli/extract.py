"""`vidu-pipe extract`, `vidu-pipe plan` and `vidu-pipe config`."""

import time
from typing import TYPE_CHECKING, Unpack

import click

from pipeline.cli.options import FILE, count, duration, found_of, video_options
from pipeline.cli.running import job_fields, run_job, run_options, tell
from pipeline.cli.settings import settings_of, settings_options
from pipeline.cli.values import ExtractFlags, PlanFlags, SettingsFlags
from schemas.words import counted

if TYPE_CHECKING:
    from pipeline.jobs.job import Summary


@click.command()
@video_options
@click.option("--out", type=FILE, default="features", show_default=True, help="The store's folder.")
@settings_options
@run_options
@click.option("--shard-frames", type=click.IntRange(1), help="Work of a shard in frames.  [default: by the job]")
def extract(**options: Unpack[ExtractFlags]) -> int:
    """Turn videos into a feature store.

    The same command again resumes: what is done stays, what is bad or missing is made, new videos are added.
    Exit code 3: done, but some videos failed or broke off; they are named at the end.
    """

    def make() -> "Summary":
        found, asked = found_of(options), settings_of(options)  # what is quick to refuse, before torch is imported
        from vidu_pipe import extract as extract_videos

        store = extract_videos(
            found,
            options["out"],
            settings=asked,
            shard_frames=options["shard_frames"],
            incomplete=True,
            **job_fields(options),
        )
        assert store.summary is not None
        return store.summary

    done = run_job(options, options["out"], make)
    if done is None:
        return 130
    return tell(*done, options["out"], unit="shard", following=f"Next: vidu-pipe inspect {options['out']}")


@click.command()
@video_options
@click.option("--out", type=FILE, default="features", show_default=True, help="The store's folder, there or not.")
@settings_options
@click.option("--shard-frames", type=click.IntRange(1), help="Work of a shard in frames.  [default: by the job]")
@click.option("--workers", type=click.IntRange(1), help="How many will run at a time.  [default: one a core]")
def plan(**options: Unpack[PlanFlags]) -> int:
    """Show what extract would do, and how long it would take on this machine. Writes nothing."""
    began = time.perf_counter()
    found, asked = found_of(options), settings_of(options)  # what is quick to refuse, before torch is imported
    from pipeline.jobs.estimate import estimate
    from pipeline.jobs.prepare import prepare

    settings, networks = prepare(asked)
    result = estimate(
        found,
        settings,
        networks,
        options["out"],
        options["shard_frames"],
        options["workers"],
        prepared_s=time.perf_counter() - began,
    )
    for failure in result.failures:
        click.echo(f"would fail: {failure.id} ({failure.reason}) {failure.message}", err=True)
    for video in result.damaged:
        click.echo(f"would be partial: {video.id} ({video.path}: {video.probe.damage})", err=True)
    click.echo(
        f"store    {options['out']}: {result.shards_done} of {counted(result.shards, 'shard is', 'shards are')} done"
    )
    click.echo(
        f"videos   {len(found)}, {len(result.failures)} of them no good, {len(result.damaged)} cut short or "
        f"damaged, {result.videos_new} new to the store"
        + (f", {result.videos_relabelled} with other labels" if result.videos_relabelled else "")
    )
    click.echo(
        f"to do    {counted(result.shards - result.shards_done, 'shard')}, {counted(result.moments, 'moment')}, "
        f"{counted(result.frames, 'frame')}"
    )
    streams = ", ".join(stream.name for stream in settings.streams)
    click.echo(f"settings {settings.digest}: {streams} on {settings.device}")
    if result.seconds_per_frame:
        click.echo(
            f"time     about {duration(result.total_s)} with {counted(result.workers, 'worker')}: "
            f"{duration(result.start_s)} to start, {duration(result.work_s)} to work "
            f"({count(1 / result.seconds_per_frame)} frame/s each, measured just now on {result.measured_on})"
        )
    return 3 if result.failures or result.damaged else 0


@click.command()
@settings_options
def config(**options: Unpack[SettingsFlags]) -> None:
    """Print the settings that these options mean, as a TOML file for --config."""
    from pipeline.stored import to_toml

    click.echo(to_toml(settings_of(options)), nl=False)
