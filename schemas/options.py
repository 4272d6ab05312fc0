"""Options as a user types them: `NAME=VALUE`, names and numbers between commas. The one parser for all of them."""

import math
from collections.abc import Iterable, Sequence

from schemas.errors import ConfigError

OptionValue = int | float | bool | str
_TRUE, _FALSE = ("yes", "true", "1"), ("no", "false", "0")
_WANTED = {int: "a whole number", float: "a number", bool: "yes or no"}


def parse_pairs(what: str, texts: Iterable[str]) -> dict[str, str]:
    """Cut `NAME=VALUE` texts at their first `=`.

    Args:
        what: the field that messages name.
        texts: one a pair.

    Raises:
        ConfigError: a text has no `=`, or a name comes twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise ConfigError(f"`{what}` {text!r}: write NAME=VALUE")
        if name in pairs:
            raise ConfigError(f"`{what}` {name} is given twice")
        pairs[name] = value
    return pairs


def typed(what: str, text: str, kind: type[OptionValue] | None) -> OptionValue:
    """Read a value of a type; without one, a number where it reads as a number, else the text.

    Raises:
        ConfigError: the text is not of that type.
    """
    if kind is None:
        return _number(text)
    if kind is bool and text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    try:
        if kind is not bool:
            return kind(text)
    except ValueError:
        pass
    raise ConfigError(f"{what}: {text!r} is not {_WANTED.get(kind, 'of its type')}")


def parse_names(text: str) -> tuple[str, ...]:
    """`rgb, flow` -> ("rgb", "flow")."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def parse_weights(what: str, wish: str | Sequence[float]) -> str | tuple[float, ...]:
    """Read weights of scores: `equal`, `fit`, or numbers, as such or between commas.

    Args:
        what: the field that messages name.
        wish: of the user.

    Raises:
        ConfigError: it is neither, or numbers that weigh nothing.
    """
    if wish in ("equal", "fit"):
        return str(wish)
    try:
        numbers = tuple(float(number) for number in (wish.split(",") if isinstance(wish, str) else wish))
    except ValueError:
        raise ConfigError(f"`{what}` {wish!r} is neither equal, fit, nor numbers as in 1,1.5") from None
    if not all(math.isfinite(number) and number >= 0 for number in numbers) or not any(numbers):
        raise ConfigError(f"`{what}` {wish!r}: weights are finite and not negative, and one is positive")
    return numbers


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
