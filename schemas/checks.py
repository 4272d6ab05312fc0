"""Checks of settings: names from a closed list, numbers in a range."""

from schemas.errors import ConfigError


def known(what: str, value: str, legal: tuple[str, ...]) -> str:
    """Return `value` if it is one of `legal`.

    Raises:
        ConfigError: it is not; the message names the legal ones.
    """
    if value not in legal:
        raise ConfigError(f"unknown {what} {value!r}; known: {', '.join(legal)}")
    return value


def within(what: str, value: float, low: float, high: float) -> None:
    """Check a value.

    Raises:
        ConfigError: it is not between `low` and `high`, or not a number.
    """
    if not low <= value <= high:  # so written, NaN is refused too
        raise ConfigError(f"{what} must be between {low:g} and {high:g}, not {value:g}")
