"""`vidu-pipe bench`: what this machine can do."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import FILE, count
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.flow.bench import BenchRow


@click.group()
def bench() -> None:
    """Measure this machine."""


@bench.command()
@click.option("--video", type=FILE, help="Measure the speed on frames of this video.")
@click.option(
    "--size",
    default="340x256",
    show_default=True,
    metavar="WxH",
    help="Of the pictures; with --video its frames get the same short side.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=2.0,
    show_default=True,
    help="To spend on each method; a slower one computes one pair.",
)
def flow(video: Path | None, size: str, seconds: float) -> int:
    """Compare the flow methods: speed on one thread, ratio to OpenCV's TV-L1, error on a known motion.

    AEE is the mean distance in px between the flow found and the flow that made the pair. Exit code 1: a method gave
    no sane flow.
    """
    match = re.fullmatch(r"(\d+)[xX](\d+)", size)
    if not match:
        raise ConfigError(f"--size {size}: write WxH, for example 340x256")
    width, height = int(match[1]), int(match[2])

    import torch

    from pipeline.flow.bench import bench_flow, known_pair, processor, video_frames

    torch.set_num_threads(1)
    pair = known_pair(width, height)
    frames = None if video is None else video_frames(str(video), min(width, height))
    devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    click.echo(f"{processor()}; one thread" + (f"; {torch.cuda.get_device_name()}" if "cuda" in devices else ""))
    shown = "the pair" if frames is None else f"{video} at {frames.shape[2]}x{frames.shape[1]}"
    click.echo(
        f"speed on {shown}, AEE on a made pair of {width}x{height} that moves by "
        f"{abs(pair.flow).max():.1f} px at most\n"
    )
    apart = "" if frames is None else f" {'px from accurate':>18}"
    click.echo(f"{'method':<20} {'device':<6} {'pairs/s':>10} {'x OpenCV TV-L1':>15} {'AEE px':>8}{apart}")
    baseline, insane = None, False
    for row in bench_flow(pair, frames, seconds=seconds, devices=devices):
        baseline = row.pairs_per_s if baseline is None else baseline
        insane |= row.pairs_per_s is None
        click.echo(_line(row, baseline))
    return 1 if insane else 0


def _line(row: "BenchRow", baseline: float | None) -> str:
    speed = "not sane" if row.pairs_per_s is None else count(row.pairs_per_s)
    ratio = count(row.pairs_per_s / baseline) if row.pairs_per_s and baseline else ""
    apart = "" if row.apart_px is None else f" {row.apart_px:>18.3f}"
    return f"{row.name:<20} {row.device:<6} {speed:>10} {ratio:>15} {row.error_px:>8.3f}{apart}"
