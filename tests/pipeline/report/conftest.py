"""Runs that the tests of reports share."""

import numpy as np
import pytest

from tests.pipeline.report.synthetic import make_run

CLASSES = ("bend", "jump", "run", "walk", "wave", "sit")


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A complete run: 60 videos of 6 classes, 20 groups, three rows."""
    labels = np.arange(60) % 6
    return make_run(
        tmp_path_factory.mktemp("runs") / "plain",
        classes=CLASSES,
        labels=labels,
        names=[f"{CLASSES[c]}/v{v:02d}" for v, c in enumerate(labels)],
        groups=[f"g{v // 3}" for v in range(60)],
    )
