"""Options that several commands share, and their way into `Wishes`."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schemas.config import CROPS, DEFAULT_CROP, DEFAULT_FLOW_BOUND_PX, FEATURE_DTYPES, PRECISIONS
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.find import Found
    from pipeline.prepare import Wishes

Command = Callable[..., Any]
FILE = click.Path(path_type=Path)


def stack_options(options: list[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    """Join options into one decorator."""
    return lambda command: functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


video_options = stack_options([
    click.option("--videos", required=True, help="Folder, glob, text file of paths, CSV with "
                                                 "path,label[,split][,group], or one video."),
    click.option("--root", type=FILE, help="Folder that video ids are relative to."),
    click.option("--keep-suffix", is_flag=True, help="Keep suffixes in ids, for one name in several formats."),
])

wish_options = stack_options([
    click.option("--every", type=int, help="A moment every N frames.  [default: 8]"),
    click.option("--fps", type=float, help="Moments at this rate, by presentation time."),
    click.option("--samples", type=int, help="This many equally spaced moments per video."),
    click.option("--streams", default="rgb,flow", show_default=True, help="Which of rgb, flow."),
    click.option("--short-side", default=256, show_default=True, help="Scale frames to this short side, in pixels."),
    click.option("--upscale", is_flag=True, help="Scale smaller frames up to it."),
    click.option("--flow", default="tvl1", show_default=True, help="Optical flow method."),
    click.option("--flow-option", "flow_options", multiple=True, metavar="NAME=VALUE", help="Option of that method."),
    click.option("--flow-stack", default=10, show_default=True, help="Flow fields around a moment."),
    click.option("--flow-bound", default=DEFAULT_FLOW_BOUND_PX, show_default=True,
                 help="Displacement at the end of the network's range, in pixels at short side 256."),
    click.option("--rgb-backbone", help="A timm network.  [default: tf_efficientnet_lite0]"),
    click.option("--flow-backbone", help="A timm network.  [default: tf_efficientnet_lite0]"),
    click.option("--rgb-crop", type=click.Choice(CROPS), default=DEFAULT_CROP["rgb"], show_default=True,
                 help="The network's own crop of a frame, or none: all of it, resized to the network's input."),
    click.option("--flow-crop", type=click.Choice(CROPS), default=DEFAULT_CROP["flow"], show_default=True,
                 help="Likewise for flow."),
    click.option("--weights", type=FILE, help="Weights file for the first stream's backbone, and others on the same."),
    click.option("--flow-weights", type=FILE, help="Weights file for the flow backbone."),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    click.option("--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True),
    click.option("--feature-dtype", type=click.Choice(FEATURE_DTYPES), default="float16", show_default=True),
])


def wishes_of(options: dict[str, Any]) -> "Wishes":
    """Build `Wishes` from the values of `wish_options`.

    Raises:
        ConfigError: they contradict each other or are out of range.
    """
    from schemas.config import Sampling

    ways = {name: options[name] for name in ("every", "fps", "samples") if options[name] is not None}
    sampling = Sampling(**ways or {"every": 8})
    from pipeline.prepare import Wishes, wanted_streams

    given = {name: options[name] for name in ("rgb_backbone", "flow_backbone") if options[name]}
    return Wishes(
        sampling=sampling, streams=wanted_streams(options["streams"]),
        short_side_px=options["short_side"], upscale=options["upscale"], flow=options["flow"],
        flow_options=flow_options_of(options["flow_options"]), flow_stack=options["flow_stack"],
        flow_bound_px=options["flow_bound"], rgb_crop=options["rgb_crop"], flow_crop=options["flow_crop"],
        weights=options["weights"], flow_weights=options["flow_weights"],
        device=options["device"], precision=options["precision"], feature_dtype=options["feature_dtype"], **given)


def flow_options_of(texts: Sequence[str]) -> tuple[tuple[str, Any], ...]:
    """Turn the texts of `--flow-option NAME=VALUE` into sorted pairs.

    Raises:
        ConfigError: one has no `=`.
    """
    from workers.flow import parse_options

    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not equals:
            raise ConfigError(f"--flow-option {name}: write NAME=VALUE")
    return parse_options({name: value for name, _, value in pairs})


def found_of(options: dict[str, Any]) -> "list[Found]":
    """Find the videos that the values of `video_options` mean."""
    from pipeline.find import find_videos

    return find_videos(options["videos"], root=options["root"], keep_suffix=options["keep_suffix"])


def count(number: float) -> str:
    """12345.6 -> `12,346`; small rates keep a digit."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def amount_of_bytes(number: float) -> str:
    """1536 -> `1.5 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def duration(span_s: float) -> str:
    """3723 -> `1 h 02 min`."""
    if span_s < 100:
        return f"{span_s:.1f} s"
    minutes = round(span_s / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
