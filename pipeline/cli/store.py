"""`vidu-pipe status`, `verify` and `inspect`: looking at a store."""

from pathlib import Path

import click

from pipeline.cli.options import FILE, amount_of_bytes, count
from schemas.errors import ConfigError

STORE = click.argument("store", type=FILE, default="features")


@click.command()
@STORE
def status(store: Path) -> int:
    """Show how far a store is, without reading its features. Exit code 3: some videos failed."""
    from pipeline.extract import bad_videos
    from schemas.flow_store import open_any

    opened = open_any(store)
    plan = opened.read_plan()
    shards = plan.live_shards
    reports = {task.shard: report for task in shards if (report := opened.report(task.shard))}
    done, work = (sum(task.work_frames for task in tasks) for tasks in (
        (task for task in shards if task.shard in reports), shards))
    failed, partial = bad_videos(plan, list(reports.values()))
    share = done / work if work else 1.0
    click.echo(f"{store}: {len(reports)} of {len(shards)} shards, {done:,} of {work:,} frames "
               f"({share:.0%}), {len(plan.latest())} videos planned, {len(partial)} broke off, {len(failed)} failed")
    for title, videos in (("partial", partial), ("failed", failed)):
        for video in videos:
            click.echo(f"{title}: {video.id} ({video.reason}) {video.message}")
    return 3 if failed else 0


@click.command()
@STORE
def verify(store: Path) -> int:
    """Read every shard, compare every checksum, and name every bad shard. Exit code 1: there are some."""
    from pipeline.extract import verify as check
    from schemas.flow_store import open_any

    opened = open_any(store)
    plan = opened.read_plan()
    checked = check(opened, plan)
    bad = [trouble for _, trouble in checked if trouble]
    for trouble in bad:
        click.echo(f"bad: {trouble}")
    missing = len(plan.live_shards) - len(checked)
    click.echo(f"{store}: {len(checked) - len(bad)} shards are whole, {len(bad)} bad, {missing} not made yet"
               + ("; the same command again makes these, and only these" if bad or missing else ""))
    return 1 if bad else 0


@click.command("inspect")
@STORE
@click.option("--videos", "list_videos", is_flag=True, help="One line a video.")
def inspect(store: Path, list_videos: bool) -> int:
    """Show what a store holds: videos, moments, streams with dims and dtype, size, failures, settings."""
    from pipeline.extract import bad_videos
    from schemas.flow_store import open_any
    from schemas.shard import open_shard

    opened = open_any(store)
    if opened.origin.kind == "flow":
        raise ConfigError(f"{store} holds flow files, not features; `vidu-pipe status` and `verify` look at these")
    plan, rows = opened.read_plan(), opened.video_rows()
    reports = [report for task in plan.shards if (report := opened.report(task.shard))]
    failed, partial = bad_videos(plan, reports)
    size = sum(report.size_bytes for report in reports)
    moments = sum(video.moments for video in rows)
    click.echo(f"store     {store} ({opened.origin.kind}, settings {opened.origin.digest})")
    click.echo(f"videos    {len(rows):,} with features, {len(partial)} of them broke off; {len(failed)} failed")
    click.echo(f"moments   {moments:,}, {count(moments / max(1, len(rows)))} a video")
    if named := [video for video in rows if video.label]:
        splits = sorted({video.split for video in named} - {""})
        click.echo(f"labels    of {len(named):,} videos from a CSV: {len({video.label for video in named}):,} labels, "
                   f"splits {', '.join(splits) or 'none'}, {len({video.group for video in named} - {''}):,} groups")
    click.echo(f"shards    {len(reports)} of {len(plan.shards)}, {amount_of_bytes(size)}")
    if reports:
        with open_shard(opened.shard_path(reports[0].shard)) as shard:
            for name, dim in shard.dims.items():
                click.echo(f"stream    {name:<8} {dim} x {shard.dtypes[name]}")
    for key, value in opened.origin.settings.items():
        click.echo(f"setting   {key}: {value}")
    click.echo("software  " + ", ".join(f"{name} {version}" for name, version in opened.origin.software.items()))
    if list_videos:
        for video in rows:
            said = "  ".join(f"{name} {value}" for name, value in (
                ("label", video.label), ("split", video.split), ("group", video.group)) if value)
            click.echo(f"video     {video.id}  {video.moments} moments  {said}".rstrip())
    for title, videos in (("partial", partial), ("failed", failed)):
        for bad in videos:
            click.echo(f"{title:<9} {bad.id} ({bad.reason}) {bad.message}")
    return 0
