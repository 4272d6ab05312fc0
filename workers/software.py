"""Versions that a result depends on."""

import platform
from collections.abc import Iterable
from importlib.metadata import version


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of installed libraries, and of Python."""
    return {name: version(name) for name in names} | {"python": platform.python_version()}
