"""From video files to what a run's model says of them: extraction as the run's features were made, then the model.

The one place where both wings meet, and they meet on disk: in a store that is removed afterwards unless it is wanted.
A run over several stores, which one extraction can not make, takes one for each kind of settings; they are joined as
for training.
"""

import itertools
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.jobs.engine import Lost
from pipeline.jobs.job import Job, Summary, do_job
from pipeline.jobs.prepare import prepare
from pipeline.learn.data.stores import Joined
from pipeline.learn.models.model import load_model
from pipeline.learn.predict import Judgement, Predictor, Timeline
from pipeline.learn.runs.origins import KnownStore, known_stores
from pipeline.learn.runs.records import top_classes
from pipeline.learn.runs.run import Run
from pipeline.learn.training.repeatable import prepare_torch
from pipeline.planning.find import Found
from pipeline.planning.outcomes import BadVideos
from pipeline.stored import in_one_pass
from schemas.config import ExtractSettings
from schemas.errors import ConfigError, ResourceError, StoreError
from schemas.streams import with_weights
from vidu_pipe.options import EngineOptions
from workers.devices import has_gpu
from workers.networks.engine import Network
from workers.tools import feature_software

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictJob:
    """What to predict.

    Attributes:
        run: directory of the run.
        videos: files.
        weights: files by stream, where the run's features were made with other than the published weights; an empty
            name means the first stream with a network, and those on the same backbone.
        device: `cpu` or `cuda`; empty: as the run's features were made.
        mixed_software: accept other versions of libraries than the features were made with.
        keep: folder for the store of the videos' features; None: it is removed afterwards. Where it takes several
            stores they are folders `1`, `2`, ... in it.
        window: moments in a timeline's window; 0: no timelines.
        engine: options of `Job`: inline, address, workers, retries, gpus_per_task, quiet.
    """

    run: Path
    videos: Sequence[Found]
    weights: Mapping[str, Path] = field(default_factory=dict)
    device: str = ""
    mixed_software: bool = False
    keep: Path | None = None
    window: int = 0
    engine: EngineOptions = field(default_factory=EngineOptions)


@dataclass(frozen=True, slots=True)
class Predictions:
    """What came of it.

    Attributes:
        run: the run's directory.
        row: the kept row's name.
        head: its temporal head.
        classes: C names.
        multilabel: probabilities are of each class by itself.
        said: of every video that gave a moment, by id.
        bad: videos that gave none, and videos that broke off.
        summaries: of the extraction, or of one for each kind of settings.
    """

    run: Path
    row: str
    head: str
    classes: tuple[str, ...]
    multilabel: bool
    said: tuple[Judgement, ...]
    bad: BadVideos
    summaries: tuple[Summary, ...]

    @property
    def lost(self) -> list[Lost]:
        """Shards given up, with the reason."""
        return [lost for summary in self.summaries for lost in summary.lost]

    @property
    def traces(self) -> list[str]:
        """Each distinct bug's traceback."""
        return list(dict.fromkeys(trace for summary in self.summaries for trace in summary.traces))

    def top(self, index: int, count: int) -> tuple[tuple[str, float], ...]:
        """Return the most probable classes of a video with their probabilities, by its place in `said`."""
        return top_classes(self.said[index].probabilities, self.classes, count)


def predict_videos(job: PredictJob, on_timeline: Callable[[Timeline], None] | None = None) -> Predictions:
    """Extract videos as the run's features were made, and say what they show.

    Args:
        job: what to do.
        on_timeline: called with each video's timeline when the job asks for them.

    Raises:
        ConfigError: the run knows imported features only, or its settings can not be had here.
        ResourceError: its device is not here.
        StoreError: run or store can not be read, or libraries differ.
    """
    run = Run.open(job.run)
    (classes, multilabel), results = run.labels(), run.results
    model = load_model(run.model_settings(), run.model_path)  # a run that is damaged says so before the long part
    extractions = same_extractions(run, job)
    wanted = {found.id for found in job.videos}
    with _folder(job.keep) as folder:
        folders = [folder / str(place) for place in range(1, len(extractions) + 1)] if extractions[1:] else [folder]
        summaries = tuple(
            do_job(
                Job(
                    videos=job.videos,
                    settings=settings,
                    networks=networks,
                    out=out,
                    mixed_software=job.mixed_software,
                    **job.engine,
                )
            )
            for out, (settings, networks) in zip(folders, extractions, strict=True)
        )
        stores = Joined.of([summary.features for summary in summaries])
        there = wanted.intersection(*stores.rows)
        rows = [video for video in stores.videos if video.id in there]
        said: list[Judgement] = []
        if rows:
            device = prepare_torch(extractions[0][0].device, int(run.settings["threads"]))
            predictor = Predictor(model, stores, rows, device)
            said = predictor.said()
            if job.window and on_timeline is not None:
                for index in range(len(rows)):
                    on_timeline(predictor.timeline(index, job.window))
    return Predictions(
        run.root,
        results.kept,
        model.settings.head,
        classes,
        multilabel,
        tuple(said),
        _all_bad(summaries).among(wanted),
        summaries,
    )


def same_extractions(run: Run, job: PredictJob) -> list[tuple[ExtractSettings, dict[str, Network | None]]]:
    """Prepare an extraction with the settings kept in a run, of the streams its model uses, or as many as that takes.

    With `job.keep` every stream is extracted, so that the store kept is one the run's own features compare with.

    Raises:
        ConfigError: the features were imported, or the weights found here are not those they were made with.
        ResourceError: their device is not here.
        StoreError: libraries differ, and that is not accepted.
    """
    streams = tuple(run.model_settings().streams)
    needed = known_stores(run, streams)
    if any(store.kind != ExtractSettings.kind for store in needed):
        raise ConfigError(
            f"{run.root} was trained on imported features, which were not made by this program, so it "
            "can not make them of new videos: import theirs too, and let `vidu-pipe evaluate` judge them"
        )
    each = []
    for store, settings in _with_weights(known_stores(run), job.weights):
        if job.keep or store in needed:
            _check_software(run, store.software, feature_software(settings.device), accepted=job.mixed_software)
            here = _on_device(run, settings, job.device)
            each.append(here if job.keep else here.only(streams))
    return [prepare(settings) for settings in in_one_pass(each)]


def _with_weights(
    known: Sequence[KnownStore], files: Mapping[str, Path]
) -> Iterator[tuple[KnownStore, ExtractSettings]]:
    """Yield the settings of all stores, their streams with the files of weights that they get, as if in one store."""
    made = [store for store in known if store.kind == ExtractSettings.kind]
    each = [ExtractSettings.from_dict(store.settings) for store in made]
    streams = iter(
        with_weights(
            tuple(stream for settings in each for stream in settings.streams),
            {name: str(file) for name, file in files.items()},
        )
    )
    for store, settings in zip(made, each, strict=True):
        yield store, replace(settings, streams=tuple(itertools.islice(streams, len(settings.streams))))


def _all_bad(summaries: Sequence[Summary]) -> BadVideos:
    """Every video that failed in one of the extractions, and every other one that broke off in one."""
    failed = {one.id: one for summary in reversed(summaries) for one in summary.failed}
    partial = {one.id: one for summary in reversed(summaries) for one in summary.partial if one.id not in failed}
    return BadVideos(tuple(partial[name] for name in sorted(partial)), tuple(failed[name] for name in sorted(failed)))


def _on_device(run: Run, known: ExtractSettings, asked: str) -> ExtractSettings:
    if not asked and known.device == "cuda" and not has_gpu():
        raise ResourceError(
            f"the features of {run.root} were made on cuda, and there is no GPU here; `device` cpu "
            "makes them here, equal but for rounding"
        )
    if asked and asked != known.device:
        logger.warning(
            "features are made on %s, those of the run were made on %s: equal but for rounding", asked, known.device
        )
        return known.on(asked)
    return known


def _check_software(run: Run, then: dict[str, str], now: dict[str, str], *, accepted: bool) -> None:
    lines = [
        f"{name}: {then.get(name)}, {now.get(name)}" for name in sorted(then | now) if then.get(name) != now.get(name)
    ]
    if lines and not accepted:
        raise StoreError(
            f"the features of {run.root} were made with other versions than are here, so those of new "
            "videos could differ from what the model knows; then, now:\n  "
            + "\n  ".join(lines)
            + "\nInstall those, or accept that with `mixed_software`."
        )
    if lines:
        logger.warning("other versions than the run's features were made with: %s", "; ".join(lines))


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="vidu-pipe-predict-") as folder:
        yield Path(folder) / "store"
