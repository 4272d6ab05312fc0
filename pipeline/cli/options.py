"""Options that several commands share, and how numbers are told."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.values import VideoFlags

if TYPE_CHECKING:
    from pipeline.planning.find import Found

Command = Callable[..., Any]
FILE = click.Path(path_type=Path)


def stack_options(options: list[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    """Join options into one decorator."""
    return lambda command: functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


video_options = stack_options(
    [
        click.option(
            "--videos",
            required=True,
            help="Folder, glob, text file of paths, CSV with path,label[,split][,group], or one video.",
        ),
        click.option("--root", type=FILE, help="Folder that video ids are relative to."),
        click.option("--keep-suffix", is_flag=True, help="Keep suffixes in ids, for one name in several formats."),
    ]
)


def found_of(options: VideoFlags) -> "list[Found]":
    """Find the videos that the values of `video_options` mean."""
    from vidu_pipe.extraction import found_videos

    return found_videos(options["videos"], root=options["root"], keep_suffix=options["keep_suffix"])


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
