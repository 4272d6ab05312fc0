"""Fixtures that every package's tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
# processes that tests start run this checkout too, whichever one is installed
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "pipeline" / "api")])


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real clips that lies beside the repository, or skip."""
    if not SHARED_DATA.exists():
        pytest.skip("the folder of real clips (../shared/data) is not here")
    return SHARED_DATA
