"""Fixtures that every package's tests share."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
# processes that tests start run this checkout too, whichever one is installed
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "pipeline" / "api")])


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what tests make ready away from the user's cache, and share it among them and their processes."""
    os.environ["VIDU_PIPE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real clips that lies beside the repository, or skip."""
    if not SHARED_DATA.exists():
        pytest.skip("the folder of real clips (../shared/data) is not here")
    return SHARED_DATA


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 4 KiB of its own, or skip."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(place)], capture_output=True).returncode
    ):
        pytest.skip("a small disk can be mounted by root only")
    yield place
    subprocess.run(["umount", str(place)], check=True)
