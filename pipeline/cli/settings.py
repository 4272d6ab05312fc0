"""Options that say what is extracted, and their way into `ExtractSettings`.

--config FILE, --like STORE      whole settings, from a TOML file or as something was made before
--stream 'flow:stack=5,...'      a stream with all its fields, as often as wanted
--flow-stack 5, --every 4, ...   short flags for single fields; they change what the above say
"""

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import click

from pipeline.cli.flags import STREAM_FLAGS, WAYS
from pipeline.cli.options import FILE, stack_options
from pipeline.cli.values import SettingsFlags
from schemas.checks import known
from schemas.config import ANY_DEVICE, FEATURE_DTYPES, PRECISIONS
from schemas.errors import ConfigError
from schemas.options import parse_names, parse_pairs, typed
from schemas.streams import CROPS, DEFAULT_BACKBONE, DEFAULT_FLOW_BOUND_PX, STREAMS

if TYPE_CHECKING:
    from schemas.config import ExtractSettings
    from schemas.plain import Plain
    from schemas.streams import Stream

_FRAME_FLAGS = {
    "short_side": "short_side_px",
    "upscale": "upscale",
    "device": "device",
    "precision": "precision",
    "feature_dtype": "feature_dtype",
}

settings_options = stack_options(
    [
        click.option("--config", type=FILE, help="Settings from a TOML file; `vidu-pipe config` prints one."),
        click.option(
            "--like", type=FILE, metavar="STORE|RUN", help="Settings as a store or a run's features were made."
        ),
        click.option("--every", type=int, help="A moment every N frames.  [default: 8]"),
        click.option("--fps", type=float, help="Moments at this rate, by presentation time."),
        click.option("--samples", type=int, help="This many equally spaced moments per video."),
        click.option("--streams", help=f"Which streams, by kind ({', '.join(STREAMS)}) or name.  [default: rgb,flow]"),
        click.option(
            "--stream",
            "stream_texts",
            multiple=True,
            metavar="KIND:FIELD=VALUE,...",
            help="A stream with any of its fields, e.g. 'flow:name=flow5,stack=5,backbone=resnet50'; repeatable.",
        ),
        click.option("--short-side", type=int, help="Scale frames to this short side, in pixels.  [default: 256]"),
        click.option("--upscale/--no-upscale", default=None, help="Scale smaller frames up to it.  [default: no]"),
        click.option("--flow", help="Optical flow method.  [default: tvl1]"),
        click.option(
            "--flow-option", "flow_options", multiple=True, metavar="NAME=VALUE", help="Option of that method."
        ),
        click.option("--flow-stack", type=int, help="Flow fields around a moment.  [default: 10]"),
        click.option(
            "--flow-bound",
            type=float,
            help="Displacement at the end of the network's range, in pixels at short side 256.  "
            f"[default: {DEFAULT_FLOW_BOUND_PX:g}]",
        ),
        click.option("--rgb-backbone", help=f"A timm network.  [default: {DEFAULT_BACKBONE}]"),
        click.option("--flow-backbone", help=f"A timm network.  [default: {DEFAULT_BACKBONE}]"),
        click.option(
            "--rgb-crop",
            type=click.Choice(CROPS),
            help="The network's own crop of a frame, or none: all of it, resized to the network's input.  "
            "[default: network]",
        ),
        click.option("--flow-crop", type=click.Choice(CROPS), help="Likewise for flow.  [default: none]"),
        click.option(
            "--weights", type=FILE, help="Weights file for the first stream's backbone, and others on the same."
        ),
        click.option("--flow-weights", type=FILE, help="Weights file for the flow backbone."),
        click.option("--device", type=click.Choice(ANY_DEVICE), help="[default: auto]"),
        click.option("--precision", type=click.Choice(PRECISIONS), help="[default: fp32]"),
        click.option("--feature-dtype", type=click.Choice(FEATURE_DTYPES), help="[default: float16]"),
    ]
)


def settings_of(options: SettingsFlags) -> "ExtractSettings":
    """Build the settings that the values of `settings_options` mean.

    Raises:
        ConfigError: they contradict each other, are out of range, or belong to a stream that is not there.
    """
    from schemas.config import Sampling

    settings = _base(options)
    flags: Plain = dict(options)
    settings = settings.on(options["device"] or settings.device)
    ways = {way: flags[way] for way in WAYS if flags[way] is not None}
    given = {field: flags[option] for option, field in _FRAME_FLAGS.items() if flags[option] is not None}
    if ways:
        given["sampling"] = Sampling(**ways)
    return replace(settings, **given, streams=with_flags(_chosen(settings, options), flags))


def _base(options: SettingsFlags) -> "ExtractSettings":
    from pipeline.stored import read_toml, stored_settings
    from schemas.config import ExtractSettings

    if options["config"] and options["like"]:
        raise ConfigError("--config and --like both say all settings: choose one")
    if options["config"]:
        return read_toml(options["config"])
    return stored_settings(options["like"]) if options["like"] else ExtractSettings()


def _chosen(settings: "ExtractSettings", options: SettingsFlags) -> "tuple[Stream, ...]":
    """The streams that are meant, before single fields of them are changed."""
    if options["stream_texts"]:
        if options["streams"]:
            raise ConfigError("--streams and --stream both say which streams: choose one")
        return tuple(parse_stream(text) for text in options["stream_texts"])
    if not options["streams"]:
        return settings.streams
    there = {stream.name: stream for stream in settings.streams}
    names = list(dict.fromkeys(parse_names(options["streams"])))
    if not names:
        raise ConfigError(f"--streams needs one of {', '.join(there | STREAMS)}")
    legal = tuple(there | STREAMS)
    return tuple(there[name] if name in there else STREAMS[known("stream", name, legal)]() for name in names)


def parse_stream(text: str) -> "Stream":
    """`flow:name=flow5,stack=5,preset=fast` -> a Flow; what is no field of the stream is an option of its method.

    Raises:
        ConfigError: the kind, a field or a value is not known.
    """
    from schemas.streams import Stream

    kind, _, rest = text.partition(":")
    plain: Plain = {"kind": kind.strip()}
    if plain["kind"] not in STREAMS:
        Stream.from_dict(plain, f"stream {text!r}:")  # names the known kinds
    legal: Plain = {one.name: one.type for one in fields(STREAMS[plain["kind"]])}
    for name, value in parse_pairs("stream", rest.split(",") if rest else ()).items():
        if name in legal and name != "options":
            plain[name] = typed(f"stream {text!r}: {name}", value, legal[name])
        elif "options" in legal:
            plain.setdefault("options", {})[name] = typed(name, value, None)
        else:
            plain[name] = value  # refused below, by name
    return Stream.from_dict(plain, f"stream {text!r}:")


def with_flags(streams: "tuple[Stream, ...]", options: "Plain") -> "tuple[Stream, ...]":
    """Change single fields of streams by the short flags that are given.

    Raises:
        ConfigError: a flag belongs to a kind of stream that is not there.
    """
    from schemas.streams import with_weights

    for option, (kind, field) in STREAM_FLAGS.items():
        value = options.get(option)
        if value in (None, ()):
            continue
        if not any(stream.kind == kind for stream in streams):
            own = sorted({f"`{stream.kind}.{field}`" for stream in streams if hasattr(stream, field)})
            raise ConfigError(
                f"`{kind}.{field}` belongs to a {kind} stream, and there is none: "
                f"{', '.join(stream.name for stream in streams)}"
                + (f"; what is there has {', '.join(own)}" if own else "")
            )
        if field == "options":
            value = tuple((name, typed(name, text, None)) for name, text in parse_pairs("flow_options", value).items())
        streams = tuple(_with(stream, field, value) if stream.kind == kind else stream for stream in streams)
    if options.get("weights"):
        streams = with_weights(streams, {"": str(options["weights"])})
    return streams


def _with(stream: "Stream", field: str, value: object) -> "Stream":
    """Change one field; another network has other weights than those that were recorded, and maybe another engine."""
    from schemas.streams import changed

    other = {"weights_sha256": "", "engine": ""} if field in ("backbone", "weights") else {}
    return changed(stream, **{field: value}, **other)
