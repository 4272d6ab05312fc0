"""`vidu-pipe flow`: files of optical flow, without features."""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click
from click.core import ParameterSource

from pipeline.cli.options import FILE, found_of
from pipeline.cli.running import job_fields, run_job, run_options, tell
from pipeline.cli.values import FlowFlags
from schemas.config import FEATURE_DTYPES
from schemas.errors import ConfigError
from schemas.flow_config import FLOW_FORMATS
from schemas.options import parse_pairs, typed

if TYPE_CHECKING:
    from pipeline.jobs.job import Summary
    from schemas.options import OptionValue
    from workers.flow import FlowMethod

_METHOD = {"method", "flow_options", "device"}
_VIDEOS = {"videos", "root", "keep_suffix", "short_side", "upscale"}
# What each way of calling the command listens to; without --pair and --preview it is everything but --scale.
_PAIR = _METHOD | {"pair", "out", "preview", "scale"}
_PREVIEW = _METHOD | _VIDEOS | {"preview", "scale"}


@click.command()
@click.option(
    "--videos", default="", help="Folder, glob, text file of paths, CSV with path,label[,split], or one video."
)
@click.option("--root", type=FILE, help="Folder that video ids are relative to.")
@click.option("--keep-suffix", is_flag=True, help="Keep suffixes in ids, for one name in several formats.")
@click.option("--out", type=FILE, help="Folder for the files; with --pair, the .flo file.")
@click.option("--format", type=click.Choice(FLOW_FORMATS), default="jpg", show_default=True)
@click.option("--bound", type=float, help="Displacement in pixels at the end of an image's range.  [default: 20]")
@click.option("--dtype", type=click.Choice(FEATURE_DTYPES), help="Of npy and h5.  [default: float32]")
@click.option("--every", default=1, show_default=True, help="A field for every Nth frame.")
@click.option("--step", default=1, show_default=True, help="Frames from the first to the second of a pair.")
@click.option("--rgb", is_flag=True, help="Write the frames too, as img_00001.jpg.")
@click.option("--start-index", default=1, show_default=True, help="Number of the first file in a folder.")
@click.option("--method", default="tvl1", show_default=True, help="Optical flow method.")
@click.option("--flow-option", "flow_options", multiple=True, metavar="NAME=VALUE", help="Option of that method.")
@click.option("--short-side", default=256, show_default=True, help="Scale frames to this short side, in pixels.")
@click.option("--upscale", is_flag=True, help="Scale smaller frames up to it.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--pair", type=FILE, nargs=2, help="Two pictures instead of videos.")
@click.option("--preview", type=FILE, help="Draw frames and flow side by side into this .mp4 or .png.")
@click.option(
    "--scale",
    type=click.FloatRange(0, min_open=True),
    help="Displacement of the full colour in a preview, in pixels.  [default: by the flow]",
)
@run_options
def flow(**options: Unpack[FlowFlags]) -> int:
    """Write optical flow of videos as denseflow does, or of two pictures, or draw it.

    \b
    vidu-pipe flow --videos DIR --out DIR        images or arrays, laid out as mmaction2 reads them
    vidu-pipe flow --videos FILE --preview x.mp4 one video, drawn
    vidu-pipe flow --pair A.png B.png --out x.flo

    The same command again resumes: what is done stays, what is bad or missing is made, new videos are added.
    Exit code 3: done, but some videos failed or broke off; they are named at the end.
    """  # noqa: D301 - click's mark for lines that stay apart
    if options["pair"]:
        _only(_PAIR, "--pair")
        return _write_pair(options, options["pair"])
    if not options["videos"]:
        raise ConfigError("say which: --videos DIR, or --pair A.png B.png")
    if options["preview"]:
        _only(_PREVIEW, "--preview")
        return _draw(options, options["preview"])
    if not options["out"]:
        raise ConfigError("--out is missing: where to write?")
    if options["scale"] is not None:
        raise ConfigError("--scale belongs to --preview")
    return _write(options, options["out"])


def _only(allowed: set[str], way: str) -> None:
    """Refuse options that would be ignored."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in allowed and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise ConfigError(f"{parameter.opts[0]} means nothing with {way}")


def method_options(options: FlowFlags) -> "dict[str, OptionValue]":
    """Read the texts of --flow-option NAME=VALUE."""
    pairs = parse_pairs("flow_options", options["flow_options"])
    return {option: typed(option, text, None) for option, text in pairs.items()}


def _method(options: FlowFlags) -> "FlowMethod":
    from workers.devices import resolve_device
    from workers.flow import make_flow

    return make_flow(options["method"], resolve_device(options["device"]), **method_options(options))


def _write(options: FlowFlags, out: Path) -> int:
    def write() -> "Summary":
        from vidu_pipe import flow_files

        return flow_files(
            found_of(options),
            out,
            method=options["method"],
            options=method_options(options),
            device=options["device"],
            format=options["format"],
            bound_px=options["bound"],
            dtype=options["dtype"],
            every=options["every"],
            step=options["step"],
            rgb=options["rgb"],
            start_index=options["start_index"],
            short_side_px=options["short_side"],
            upscale=options["upscale"],
            incomplete=True,
            **job_fields(options),
        )

    done = run_job(options, out, write)
    if done is None:
        return 130
    return tell(*done, out, unit="video", following=f"Check later: vidu-pipe verify {out}")


def _draw(options: FlowFlags, preview: Path) -> int:
    from pipeline.flow.preview import Look, checked_suffix, preview_video

    path = checked_suffix(preview)
    found = found_of(options)
    if len(found) != 1:
        raise ConfigError(f"--preview draws one video; --videos {options['videos']} are {len(found)}")
    method = _method(options)
    preview_video(
        found[0].path,
        path,
        Look(flow=method, scale_px=options["scale"], short_side_px=options["short_side"], upscale=options["upscale"]),
    )
    click.echo(f"drawn: {path}")
    return 0


def _write_pair(options: FlowFlags, pair: tuple[Path, Path]) -> int:
    from pipeline.flow.pair import flow_of_pair

    out, preview = options["out"], options["preview"]
    if not out and not preview:
        raise ConfigError("--pair: give --out x.flo, or --preview x.png, or both")
    method = _method(options)
    first, second = pair
    length_px = flow_of_pair(first, second, method, out=out, preview=preview, scale_px=options["scale"])
    for path in (out, preview):
        if path:
            click.echo(f"written: {path}")
    click.echo(f"mean length of the flow: {length_px:.3g} px")
    return 0
