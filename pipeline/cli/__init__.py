"""The command line: parse, call one function, print.

A command's module is imported only when that command runs, so `vidu-pipe --help` answers at once.
"""

import importlib
import io
import logging
import sys
from collections.abc import Sequence

import click

from pipeline.cli.flags import FlagFormatter, enter, told
from schemas.errors import ViduError

# name -> (module, attribute, one line of help)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "extract": ("pipeline.cli.extract", "extract", "Turn videos into a feature store; run it again to resume."),
    "plan": ("pipeline.cli.extract", "plan", "Show what extract would do, and how long it would take."),
    "config": ("pipeline.cli.extract", "config", "Print settings as a TOML file for --config."),
    "flow": ("pipeline.cli.flow", "flow", "Write optical flow as images, arrays or .flo files, or draw it."),
    "status": ("pipeline.cli.store", "status", "Show how far a store is."),
    "verify": ("pipeline.cli.store", "verify", "Read every shard of a store and check every checksum."),
    "inspect": ("pipeline.cli.store", "inspect", "Show what a store holds: videos, moments, streams, failures."),
    "train-pooling": ("pipeline.cli.learn", "train_pooling", "Train a classifier over pooled moments."),
    "train-lstm": ("pipeline.cli.learn", "train_lstm", "Train a recurrent classifier over moments."),
    "train-fusion": ("pipeline.cli.learn", "train_fusion", "Train streams alone and fused; tell whether fusion helps."),
    "evaluate": ("pipeline.cli.learn", "evaluate", "Judge a run's model on another store or part."),
    "predict": ("pipeline.cli.predict", "predict", "Say what new videos show, by a run's model; timelines too."),
    "report": ("pipeline.cli.report", "report", "Make one HTML file of a run."),
    "compare": ("pipeline.cli.report", "compare", "Put runs side by side, with paired tests."),
    "import": ("pipeline.cli.exchange", "import_features", "Make a store from .npy, .npz or .parquet features."),
    "export": ("pipeline.cli.exchange", "export", "Write a store as one .npy, .npz or .parquet a video."),
    "fuse": ("pipeline.cli.exchange", "fuse", "Fuse class scores of any networks, joined by video name."),
    "bench": ("pipeline.cli.bench", "bench", "Measure this machine."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports only the one that is called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self,
        ctx: click.Context,
        args: list[str],
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest known ones."""
        name = args[0] if args else ""
        if name and name not in COMMANDS and not name.startswith("-"):
            import difflib

            near = " or ".join(difflib.get_close_matches(name, COMMANDS, n=2)) or f"one of {', '.join(COMMANDS)}"
            ctx.fail(f"no command {name!r}; did you mean {near}?")
        found = super().resolve_command(ctx, args)
        enter(found[1])
        return found

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; errors name fields, which are told as the flags that set them."""
        try:
            return super().invoke(ctx)
        except ViduError as error:
            error.args = (told(str(error)),)
            raise

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from schemas.software import versions

        click.echo(f"vidu-pipe, version {versions(['vidu-pipe'])['vidu-pipe']}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Turn folders of videos into a feature store, and train light classifiers over it."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code.

    0: all is well. 1: the machine or a store is in trouble. 2: the command can not be carried out as asked.
    3: done, but some videos failed or broke off. 130: interrupted.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # file names need not be text: those bytes go out as they came in
        sys.stdout.reconfigure(errors="surrogateescape" if sys.stdout.encoding == "utf-8" else "backslashreplace")
    lines = logging.StreamHandler()
    lines.setFormatter(FlagFormatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[lines])
    try:
        code = cli.main(args=None if args is None else list(args), prog_name="vidu-pipe", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except ViduError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)
