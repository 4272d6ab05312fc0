"""From videos to a classifier in a few lines: `python -m examples.quickstart FOLDER [OUT]`.

FOLDER holds one folder of videos a label. `python -m examples.demo_videos FOLDER` makes such a folder.
"""

import logging
import sys
from pathlib import Path

import vidu_pipe as vp


def main(videos: str, out: str = "quickstart", **how: object) -> vp.Run:
    """Extract features, train on them, and say what the videos show; `how` goes to `extract`."""
    store = vp.extract(videos, Path(out) / "features", samples=2, **how)
    logging.info("%r", store)

    run = vp.train(store, Path(out) / "run", head="mean", folds=3, quiet=True)
    logging.info("%s", run.results.verdict)
    logging.info("report: %s", vp.report(run))
    return run


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(*sys.argv[1:3])
