"""Plain JSON values become frozen records, every type checked; the only door to msgspec."""

import json
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from schemas.disk.files import reading
from schemas.errors import StoreError

Record = TypeVar("Record")
Plain = dict[str, Any]  # an object of JSON; whoever reads one checks what it finds


def to_record(plain: object, kind: type[Record], *, cells: bool = False) -> Record:
    """Rebuild a record, and the records in it, from what `dataclasses.asdict` and JSON made of it.

    Args:
        plain: plain values.
        kind: the record's class.
        cells: values are those of a CSV file, so numbers are text.

    Raises:
        ValueError: a field is missing, unknown or of another type; the message names it.
    """
    record = msgspec.convert(plain, kind, strict=not cells)
    _refuse_strangers(plain, record)
    return record


def _refuse_strangers(plain: object, record: object) -> None:
    """See that nothing was left out: a field that is not known here says what another version means by it."""
    if isinstance(record, tuple | list):
        if record and is_dataclass(record[0]) and isinstance(plain, tuple | list):
            for value, made in zip(plain, record, strict=True):
                _refuse_strangers(value, made)
        return
    kind: type = type(record)
    known = _names(kind) if is_dataclass(record) else record.keys() if isinstance(record, dict) else None
    if known is None or not isinstance(plain, dict):
        return
    if not plain.keys() <= known:
        raise ValueError(f"unknown field {min(map(str, plain.keys() - known))!r}")
    if is_dataclass(record):
        for name, value in plain.items():
            if isinstance(value, dict | list):
                _refuse_strangers(value, getattr(record, name))


@cache
def _names(kind: type) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind))


def parsed(text: str, kind: type[Record]) -> Record:
    """Rebuild a record from JSON text. By the standard library: names that are no UTF-8 keep their bytes there.

    Raises:
        ValueError: the text is no JSON, or not of this record.
    """
    try:
        return to_record(json.loads(text), kind)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_json(path: Path, kind: type[Record]) -> Record:
    """Read a record, or plain values of that type, from a JSON file.

    Raises:
        StoreError: the file is not there, or is not of this record.
        ResourceError: the machine does not let us read it.
    """
    with reading(path):
        text = path.read_text(encoding="utf-8")
    try:
        return parsed(text, kind)
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def read_json_lines(path: Path, kind: type[Record]) -> list[Record]:
    """Read a record from every line of a file.

    Raises:
        StoreError: the file is not there, or a line is not of this record; the message names the line.
        ResourceError: the machine does not let us read it.
    """
    records: list[Record] = []
    with reading(path), path.open(encoding="utf-8") as lines:
        try:
            records.extend(parsed(line, kind) for line in lines)
        except ValueError as error:
            raise StoreError(f"{path} is damaged: line {len(records) + 1}: {error}") from error
    return records
