"""A timeline on disk: what a model says of every moment of a video, as CSV and as a page with a plot."""

import logging
from pathlib import Path

from pipeline.learn.predict import Timeline
from pipeline.learn.runs.run import Run
from pipeline.report.make import write_page
from pipeline.report.pages.timeline import timeline_page
from schemas.disk.files import write_csv

logger = logging.getLogger(__name__)


def write_timeline(run: Run, timeline: Timeline, folder: Path) -> None:
    """Write `<video id>.html` and `<video id>.csv` into a folder.

    Raises:
        ResourceError: one can not be written.
    """
    if len(timeline.frame) == 1:
        logger.warning(
            "%s has one moment, so its timeline is one row: the run's features were made with few moments a "
            "video (`sampling.samples`, or a large `sampling.every`); a run on features with more of them "
            "shows a course",
            timeline.video,
        )
    classes, multilabel = run.labels()
    page = timeline_page(timeline, classes, multilabel=multilabel, head=run.model_settings().head)
    write_page(folder / f"{timeline.video}.html", page)
    rows = zip(timeline.frame, timeline.pts_s, timeline.probabilities, strict=True)
    write_csv(
        folder / f"{timeline.video}.csv",
        [
            ["frame", "pts_s", "said", *classes],
            *(
                [frame, f"{pts_s:.6f}", classes[int(row.argmax())], *(f"{value:.6f}" for value in row)]
                for frame, pts_s, row in rows
            ),
        ],
    )
