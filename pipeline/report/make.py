"""Make a run's report: read, draw, write."""

import logging
from collections.abc import Sequence
from pathlib import Path

from pipeline.learn.runs.origins import known_stores
from pipeline.learn.runs.run import Run
from pipeline.report.drawing.thumbs import Thumb, middle_moment
from pipeline.report.facts.facts import Mistake, read_report
from pipeline.report.facts.projection import try_feature_map
from pipeline.report.pages.page import Illustrations, report_page
from schemas.config import ExtractSettings
from schemas.disk.files import make_folder, write_bytes
from workers.flow import make_flow

logger = logging.getLogger(__name__)


def make_report(
    root: Path, *, out: Path | None = None, stores: Sequence[Path] = (), method: str = "pca", mistakes: int = 12
) -> Path:
    """Write the report of a run as one HTML file.

    Args:
        root: the run's directory.
        out: the file; None: `report.html` in the run.
        stores: where the features are; none: where they were. Without them there is no map.
        method: of the map, a name of `MAPS`.
        mistakes: how many of the hardest mistakes are shown.

    Returns:
        the file.

    Raises:
        StoreError: there is no complete run, or it is damaged, or the store that was named does not fit.
        ResourceError: the file can not be written.
    """
    run = Run.open(root)
    data = read_report(run)
    chart, trouble = try_feature_map(run, stores=stores, method=method)
    if trouble:
        logger.warning("no map of the features: %s", trouble)
    page = report_page(data, Illustrations(pictured(run, data.mistakes[:mistakes]), chart, trouble))
    path = out or run.root / "report.html"
    write_page(path, page)
    return path


def pictured(run: Run, mistakes: tuple[Mistake, ...]) -> list[tuple[Mistake, Thumb]]:
    """Add pictures from the videos, if they are videos and still there."""
    known = known_stores(run)
    if known[0].kind != ExtractSettings.kind:  # the paths are those of its files
        return [(mistake, Thumb(trouble="no pictures: the features were imported")) for mistake in mistakes]
    each = [ExtractSettings.from_dict(store.settings) for store in known if store.kind == ExtractSettings.kind]
    settings = next((one for one in each if one.needs.flow), each[0])
    motion = next(iter(settings.needs.flow), None)
    flow = make_flow(motion.method, "cpu", **dict(motion.options)) if motion else None
    return [(mistake, middle_moment(mistake.path, settings, flow)) for mistake in mistakes]


def write_page(path: Path, page: str) -> None:
    """Write a page whole or not at all.

    Raises:
        ResourceError: it can not be written.
    """
    make_folder(path.parent)
    write_bytes(path, page.encode())
