"""Options of heads as a user types them: `NAME=VALUE`, told by the head's own signature."""

import inspect
from collections.abc import Sequence

from pipeline.learn.models.heads import HEADS
from schemas.errors import ConfigError
from schemas.options import OptionValue

_TRUE, _FALSE = ("yes", "true", "1"), ("no", "false", "0")


def parse_head_options(head: str, texts: Sequence[str]) -> dict[str, OptionValue]:
    """Turn `NAME=VALUE` texts into the options of a head, each of the type its signature says.

    Raises:
        ConfigError: head or option is unknown, an option is given twice, or a value is not of its type.
    """
    if head not in HEADS:
        raise ConfigError(f"unknown head {head!r}; known: {', '.join(HEADS)}")
    legal = _legal(head)
    options: dict[str, OptionValue] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or name not in legal:
            raise ConfigError(f"`head_options` {text}: head {head} takes NAME=VALUE of these, shown with their "
                              f"defaults: {', '.join(told_options(head)) or 'none'}")
        if name in options:
            raise ConfigError(f"`head_options` {name} is given twice")
        options[name] = _parsed(text, value, legal[name].annotation)
    return options


def told_options(head: str) -> list[str]:
    """Return what a head of `HEADS` can be told, as `NAME=DEFAULT`."""
    return [f"{name}={_told(kind.default)}" for name, kind in _legal(head).items()]


def _legal(head: str) -> dict[str, inspect.Parameter]:
    return {name: kind for name, kind in inspect.signature(HEADS[head]).parameters.items() if name != "dim"}


def _parsed(text: str, value: str, kind: type[OptionValue]) -> OptionValue:
    if kind is bool and value.lower() in (*_TRUE, *_FALSE):
        return value.lower() in _TRUE
    try:
        if kind is not bool:
            return kind(value)
    except ValueError:
        pass
    wanted = {int: "a whole number", float: "a number", bool: "yes or no"}[kind]
    raise ConfigError(f"`head_options` {text}: {value!r} is not {wanted}")


def _told(default: object) -> str:
    return ("yes" if default else "no") if isinstance(default, bool) else str(default)
