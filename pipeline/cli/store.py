"""`vidu-pipe status`, `verify` and `inspect`: looking at a store."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.flags import told
from pipeline.cli.options import FILE, amount_of_bytes, count
from pipeline.cli.tables import columns
from schemas.errors import ConfigError
from schemas.words import counted, flat

if TYPE_CHECKING:
    from schemas.disk.store import VideoRows

STORE = click.argument("store", type=FILE, default="features")


@click.command()
@STORE
def status(store: Path) -> int:
    """Show how far a store is, without reading its features. Exit code 3: some videos failed or broke off."""
    from pipeline.planning.outcomes import bad_videos
    from schemas.disk.flow_store import open_any

    opened = open_any(store)
    plan = opened.books.read_plan()
    shards = plan.live_shards
    reports = {task.shard: report for task in shards if (report := opened.books.report(task.shard))}
    done, work = (
        sum(task.work_frames for task in tasks)
        for tasks in ((task for task in shards if task.shard in reports), shards)
    )
    bad = bad_videos(plan, list(reports.values()))
    share = done / work if work else 1.0
    click.echo(
        f"{store}: {len(reports)} of {counted(len(shards), 'shard')}, {done:,} of {counted(work, 'frame')} "
        f"({share:.0%}), {counted(len(plan.latest()), 'video')} planned, "
        f"{len(bad.partial)} broke off, {len(bad.failed)} failed"
    )
    for line in bad.lines():
        click.echo(told(line))
    return 3 if bad.failed or bad.partial else 0


@click.command()
@STORE
def verify(store: Path) -> int:
    """Read every shard, compare every checksum, and name every bad shard. Exit code 1: there are some."""
    from pipeline.jobs.job import verify_shards
    from schemas.disk.flow_store import open_any

    opened = open_any(store)
    plan = opened.books.read_plan()
    checked = verify_shards(opened, plan)
    bad = [trouble for _, trouble in checked if trouble]
    for trouble in bad:
        click.echo(f"bad: {trouble}")
    missing = len(plan.live_shards) - len(checked)
    whole = counted(len(checked) - len(bad), "shard is whole", "shards are whole")
    click.echo(
        f"{store}: {whole}, {len(bad)} bad, {missing} not made yet"
        + ("; the same command again makes these, and only these" if bad or missing else "")
    )
    return 1 if bad else 0


@click.command("inspect")
@STORE
@click.option("--videos", "list_videos", is_flag=True, help="One line a video.")
def inspect(store: Path, list_videos: bool) -> int:
    """Show what a store holds: videos, moments, streams with dims and dtype, size, failures, settings."""
    from pipeline.planning.outcomes import bad_videos
    from schemas.disk.flow_store import FlowStore, open_any
    from schemas.disk.shard import open_shard

    opened = open_any(store)
    if isinstance(opened, FlowStore):
        raise ConfigError(f"{store} holds flow files, not features; `vidu-pipe status` and `verify` look at these")
    plan, rows = opened.books.read_plan(), opened.video_rows()
    reports = [report for task in plan.shards if (report := opened.books.report(task.shard))]
    bad = bad_videos(plan, reports)
    size = sum(report.size_bytes for report in reports)
    moments = sum(video.moments for video in rows)
    click.echo(f"store     {store} ({opened.origin.kind}, settings {opened.origin.digest})")
    click.echo(f"videos    {len(rows):,} with features, {len(bad.partial)} of them broke off; {len(bad.failed)} failed")
    click.echo(f"moments   {moments:,}, {count(moments / max(1, len(rows)))} a video")
    if untimed := sum(not video.probe.exact_pts for video in plan.latest().values() if opened.origin.kind == "import"):
        click.echo(f"times     unknown of {counted(untimed, 'video')}, imported without")
    if named := [video for video in rows if video.label]:
        splits = sorted({video.split for video in named} - {""})
        labels, groups = ({getattr(video, what) for video in named} - {""} for what in ("label", "group"))
        click.echo(
            f"labels    of {counted(len(named), 'video')} from a CSV: {counted(len(labels), 'label')}, splits "
            f"{', '.join(splits) or 'none'}, {counted(len(groups), 'group')}"
        )
    click.echo(f"shards    {len(reports)} of {len(plan.shards)}, {amount_of_bytes(size)}")
    if reports:
        with open_shard(opened.shard_path(reports[0].shard)) as shard:
            for name, dim in shard.dims.items():
                click.echo(f"stream    {name:<8} {dim} x {shard.dtypes[name]}")
    for line in columns(flat(opened.origin.settings)):
        click.echo(f"setting   {line}")
    click.echo("software  " + ", ".join(f"{name} {version}" for name, version in opened.origin.software.items()))
    if list_videos:
        for line in columns([(video.id, counted(video.moments, "moment"), _said_of(video)) for video in rows]):
            click.echo(f"video     {line}")
    for line in bad.lines():
        click.echo(told(line))
    return 0


def _said_of(video: "VideoRows") -> str:
    words = (("label", video.label), ("split", video.split), ("group", video.group))
    return "  ".join(f"{name} {value}" for name, value in words if value)
