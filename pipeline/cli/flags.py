"""The library's messages name fields in backquotes; here they become the flags of the command that runs."""

import logging
import re
from collections.abc import Iterator

import click

WAYS = ("every", "fps", "samples")
# option -> (kind of stream, field)
STREAM_FLAGS = {
    "rgb_backbone": ("rgb", "backbone"),
    "rgb_crop": ("rgb", "crop"),
    "flow_backbone": ("flow", "backbone"),
    "flow_crop": ("flow", "crop"),
    "flow_weights": ("flow", "weights"),
    "flow": ("flow", "method"),
    "flow_options": ("flow", "options"),
    "flow_stack": ("flow", "stack"),
    "flow_bound": ("flow", "bound_px"),
}
# Fields that the flags of every command set, or of no command here: what a message tells to do is done by another one.
FLAGS = {
    "out": "--out",
    "retry_failed": "--retry-failed",
    "short_side_px": "--short-side",
    "bound_px": "--bound",
    "weights": "--weights",
    "address": "--ray-address",
    "folders": "--from",
    "fusions": "--fusion",
    "memory_bytes": "--memory",
    **{f"sampling.{way}": f"--{way}" for way in WAYS},
    **{f"{kind}.{field}": "--" + option.replace("_", "-") for option, (kind, field) in STREAM_FLAGS.items()},
    "flow.options": "--flow-option",
}
# Where one command has a name of its own for a field.
OWN_FLAGS = {
    "predict": {"keep": "--keep-store", "out": "--keep-store"},
    "report": {"map": "--map"},
    "train-pooling": {"head": "--pool"},
    "train-lstm": {"head": "--cell"},
}
_running: click.Command | None = None  # a process runs one command, and its log lines come from any thread


def enter(command: click.Command | None) -> None:
    """Tell which command runs from now on."""
    global _running
    _running = command


def flag_of(field: str, command: click.Command | None) -> str | None:
    """Return the flag that sets a field; None where there is none."""
    from schemas.streams import STREAMS

    own = OWN_FLAGS.get(command.name or "", {}) if command else {}
    flags = FLAGS | {one.name or "": one.opts[0] for one in options_of(command)} | own
    kind, dot, name = field.partition(".")
    if field not in flags and dot and kind in ("stream", *STREAMS):
        return f"--stream {'KIND' if kind == 'stream' else kind}:{name}=VALUE"  # a field without a flag of its own
    return flags.get(field)


def told(message: str) -> str:
    """Put the flags of the running command in the place of the fields that a message names.

    Commands and code in backquotes stay as they are.
    """
    return re.sub(r"`([a-z0-9_.-]+)`", lambda field: flag_of(field[1], _running) or field[0], message)


def options_of(command: click.Command | None) -> Iterator[click.Option]:
    """Yield the options of a command and of those below it."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from options_of(below)
    elif command is not None:
        yield from (one for one in command.params if isinstance(one, click.Option))


class FlagFormatter(logging.Formatter):
    """Log lines, in which fields are told as flags."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return told(super().format(record))
