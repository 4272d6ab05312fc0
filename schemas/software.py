"""Versions that a result depends on, as stores and runs record them."""

import importlib.metadata
import platform
from collections.abc import Iterable

NOT_INSTALLED = "not installed"


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the version of each library, and of Python; `not installed` for one that is not.

    A checkout that is run without being installed has no version of its own, and that is what it says.
    """
    found = dict[str, str]()
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = NOT_INSTALLED
    return found | {"python": platform.python_version()}
