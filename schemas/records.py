"""Settings that a user wrote become frozen records: every field known, every value of its type."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

from schemas.errors import ConfigError
from schemas.plain import to_record

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")


def record_of(kind: type[Record], plain: object, where: str) -> Record:
    """Build a frozen record from plain values.

    Args:
        kind: a dataclass.
        plain: a mapping of field names to JSON values.
        where: what messages call the record, e.g. `stream.flow`; empty for the outermost one.

    Raises:
        ConfigError: a field is not known or missing, or a value is not of its type or out of range.
    """
    if not isinstance(plain, Mapping):
        raise ConfigError(f"{where or 'settings'}: a table of fields is needed, not {plain!r}")
    legal = [one.name for one in fields(kind)]
    for name in plain:
        if name not in legal:
            raise ConfigError(f"unknown field {_path(where, str(name))!r}; {_nearest(str(name), legal)}")
    try:
        return to_record(dict(plain), kind)
    except ValueError as error:
        if isinstance(error.__cause__, ConfigError):  # the record's own check, in its own words
            raise error.__cause__ from None
        words, _, place = str(error).partition(" - at ")
        field = place.strip("`").removeprefix("$").lstrip(".")
        raise ConfigError(f"`{_path(where, field)}`: {words[0].lower()}{words[1:]}") from error


def _path(where: str, field: str) -> str:
    return ".".join(part for part in (where, field) if part)


def _nearest(name: str, legal: list[str]) -> str:
    near = difflib.get_close_matches(name, legal, n=2)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(legal)}"
