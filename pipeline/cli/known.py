"""What help tells of variants: the names of the dicts they stand in, read when somebody asks for help."""

from collections.abc import Callable
from typing import Any

import click

CELLS = ("lstm", "gru")  # heads with a command of their own, train-lstm


class KnownOption(click.Option):
    """An option whose help has `{known}` in it, for what is known: heavy to import, so it is not until it is shown."""

    def __init__(self, *args: Any, known: Callable[[], str], **kwargs: Any) -> None:  # noqa: ANN401 - click's own
        """Take a function that tells what is known, beside what `click.Option` takes."""
        super().__init__(*args, **kwargs)
        self._known = known

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the flag and its help, in which `{known}` is filled in."""
        text = self.help or ""
        self.help = text.replace("{known}", self._known())
        try:
            return super().get_help_record(ctx)
        finally:
            self.help = text


def heads() -> str:
    """Name the heads."""
    from pipeline.learn.models.heads import HEADS

    return ", ".join(HEADS)


def pools() -> str:
    """Name the heads of `train-pooling`."""
    from pipeline.learn.models.heads import HEADS

    return ", ".join(name for name in HEADS if name not in CELLS)


def plain_pools() -> str:
    """Name the heads that learn nothing."""
    from pipeline.learn.models.heads import HEADS

    return ", ".join(name for name, head in HEADS.items() if head.pools)


def learning_rates() -> str:
    """Tell the learning rates of heads; that of most comes last."""
    from pipeline.learn.models.heads import HEADS, Head

    names: dict[float, list[str]] = {}
    for name, head in HEADS.items():
        names.setdefault(head.learning_rate, []).append(name)
    usual = names.pop(Head.learning_rate, None)
    told = [f"{rate:g} over {', '.join(heads)}" for rate, heads in names.items()]
    return "; ".join([*told, f"else {Head.learning_rate:g}"] if usual else told)


def options_of_heads() -> str:
    """Tell the options of heads with their defaults; heads with the same ones together."""
    from pipeline.learn.models.heads import HEADS, told_options

    heads: dict[str, list[str]] = {}
    for head in HEADS:
        heads.setdefault(" ".join(told_options(head)), []).append(head)
    return "; ".join(f"{', '.join(names)}: {options}" for options, names in heads.items() if options)


def fusions() -> str:
    """Name the fusions."""
    from pipeline.learn.models.fusion import FUSIONS

    return ", ".join(FUSIONS)


def feature_files() -> str:
    """Name the formats of files of features."""
    from pipeline.exchange.formats import FORMATS

    return ", ".join(FORMATS)
