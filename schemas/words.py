"""How numbers and settings are said to people: in messages, tables and pages alike."""

import re


def counted(number: int, one: str, many: str = "") -> str:
    """1, "stretch" -> `1 stretch`; 1234, "stretch" -> `1,234 stretches`.

    Args:
        number: how many.
        one: what is counted, and what follows, where there is one: `video`, or `video has no label`.
        many: where there is none or several; empty: the plural of `one`.
    """
    return f"{number:,} {one if number == 1 else many or plural(one)}"


def plural(noun: str) -> str:
    """`class` -> `classes`, `copy` -> `copies`, `video` -> `videos`."""
    if re.search(r"(s|x|ch|sh)$", noun):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if re.search(r"[^aeiou]y$", noun) else f"{noun}s"


def flat(values: object, prefix: str = "") -> list[tuple[str, str]]:
    """{"a": {"b": 1}} -> [("a.b", "1")]: nested settings as lines of a table.

    Items of a list are named by their own `name`, or as pairs of name and value, else by their place; lists of single
    values are joined by commas.
    """
    if isinstance(values, list | tuple) and values:
        if all(isinstance(item, dict) for item in values):
            values = {str(item.get("name", place)): item for place, item in enumerate(values)}
        elif all(isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], str) for item in values):
            values = dict(values)
    if isinstance(values, dict) and values:
        return [line for key, value in values.items() for line in flat(value, f"{prefix}.{key}".lstrip("."))]
    return [(prefix, _said(values))]


def _said(value: object) -> str:
    if isinstance(value, list | tuple):
        value = ", ".join(map(_said, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None or value in ("", {}) else str(value)
