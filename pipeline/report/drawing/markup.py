"""SVG, and pieces of HTML around it, that can not be broken by what they hold: whatever is not `Markup` is escaped."""

import re
from collections.abc import Iterable

from markupsafe import Markup, escape

__all__ = ["Markup", "escaped", "join", "name_of", "number", "tag"]

# Control characters, which no page may hold, and the surrogates that stand for bytes of names that are no UTF-8.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID = frozenset({"meta", "img", "br", "hr", "input", "link", "col"})


def escaped(value: object) -> Markup:
    """Return markup as it is, and anything else as text that can not become markup."""
    return value if isinstance(value, Markup) else escape(_FORBIDDEN.sub("\ufffd", str(value)))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Make one element.

    Args:
        name: of the element.
        children: markup, or anything else as text; None is left out.
        attributes: `class_` is written `class` and `stroke_width` `stroke-width`; None and False are left out, True is
            written without a value; floats get two decimals, which in px or percent is finer than any screen.
    """
    written = "".join(
        _attribute(key, value) for key, value in attributes.items() if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def _attribute(key: str, value: object) -> str:
    key = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {key}"
    if isinstance(value, float):
        value = number(value)
    return f' {key}="{escaped(value)}"'


def number(value: float) -> str:
    """12.50 -> `12.5`: two decimals, no needless zeros."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def join(parts: Iterable[object], between: str = "") -> Markup:
    """Put parts side by side; None is left out."""
    return Markup(between.join(escaped(part) for part in parts if part is not None))


def name_of(value: object) -> Markup:
    """Return a name from outside (file, label) as an island of its own writing direction."""
    return tag("bdi", value)
