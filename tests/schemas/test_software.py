import importlib.metadata
import platform

from schemas.software import NOT_INSTALLED, versions


def test_every_library_has_its_version_and_python_too():
    assert versions(["numpy"]) == {"numpy": importlib.metadata.version("numpy"), "python": platform.python_version()}


def test_a_checkout_that_is_not_installed_says_so_instead_of_failing():
    assert versions(["no-such-distribution"])["no-such-distribution"] == NOT_INSTALLED
