"""Fixtures that every package's tests share."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real clips that lies beside the repository, or skip."""
    if not SHARED_DATA.exists():
        pytest.skip("the folder of real clips (../shared/data) is not here")
    return SHARED_DATA
