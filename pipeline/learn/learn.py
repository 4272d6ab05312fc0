"""From a store to a run: what the three training commands share. Read this page to see the order of things."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.device import prepare_torch
from pipeline.learn.experiment import ALL_VIDEOS, Experiment, Trained
from pipeline.learn.material import Material, prepare, split_rows
from pipeline.learn.metrics import Members
from pipeline.learn.model import save_model
from pipeline.learn.provenance import run_settings
from pipeline.learn.records import top_classes
from pipeline.learn.request import Request
from pipeline.learn.results import Said, conclude, main_values
from pipeline.learn.rows import Row, make_rows
from pipeline.learn.run import Prediction, Run, Scores
from pipeline.learn.splits import Fold
from schemas.errors import ConfigError

logger = logging.getLogger(__name__)


def learn(request: Request, out: Path | None = None) -> Run:
    """Train, judge and keep.

    Args:
        request: what to do.
        out: the run's directory; None: the next free `runs/<command>-N`, or the unfinished one of this request.

    Returns:
        the complete run.

    Raises:
        ConfigError: the request can not be carried out.
        StoreError: the store can not be read, or holds NaN.
        ResourceError: no such device, or the run can not be written.
    """
    device = prepare_torch(request.device, request.threads)
    material = prepare(request)
    rows = make_rows(request, material.data.dims, material.targets)
    _check_weights(request.score_weights, rows, material)
    run = _begin(run_settings(request, material, rows, device), request.command, out)
    run.write_labels(material.targets.classes, multilabel=material.targets.multilabel)
    run.write_splits(split_rows(material))
    experiment = Experiment(material.data, material.targets, request.training, device=device,
                            folder=run.resume_folder, groups=material.groups, weights=request.score_weights,
                            quiet=request.quiet)
    count = max(request.seeds, request.split.repeats)
    _train_and_keep(run, experiment, rows, material, list(range(request.seed, request.seed + count)))
    shutil.rmtree(run.resume_folder)
    return run


def _check_weights(weights: str | tuple[float, ...], rows: Sequence[Row], material: Material) -> None:
    """Refuse weights of a late fusion that would be left aside."""
    if weights != "equal" and not any(row.parts for row in rows):
        raise ConfigError("--score-weights are those of the fusion score, which is not asked for: add it to --fusion")
    if weights == "fit" and not all(len(fold.val) for fold in material.trainings):
        raise ConfigError("--score-weights fit needs a validation part in every training, to fit them on: --val 0.2 "
                          "cuts one where there are videos enough; or give numbers, as 1,1.5")


def _begin(settings: dict[str, Any], command: str, out: Path | None) -> Run:
    """Begin a run, or go on with the unfinished one."""
    if out is not None:
        return Run.create(out, settings)
    folder = Path("runs")
    stem = f"{command.removeprefix('train-')}-"
    numbers = [int(path.name.removeprefix(stem)) for path in folder.glob(f"{stem}*")
               if path.name.removeprefix(stem).isdigit()]
    for number in sorted(numbers):
        known = folder / f"{stem}{number}"
        if Run.is_unfinished(known, settings):
            logger.info("going on with %s", known)
            return Run.create(known, settings)
    return Run.create(folder / f"{stem}{max(numbers, default=0) + 1}", settings)


def _train_and_keep(run: Run, experiment: Experiment, rows: Sequence[Row], material: Material,
                    seeds: Sequence[int]) -> None:
    trained: dict[tuple[str, int, int], Trained] = {}
    for place, seed in enumerate(seeds):
        for number, fold in enumerate(material.folds_of(place)):
            for row in rows:
                parts = [trained[part, seed, number] for part in row.parts]
                trained[row.name, seed, number] = experiment.train(row, fold, seed=seed, number=number, parts=parts)
    judged = np.sort(np.concatenate([fold.test for fold in material.folds]))
    said = [_said(row, trained, material, seeds) for row in rows]
    results = conclude(said, material.targets, judged, material.groups, crossed=material.crossed,
                       varied="repeats" if material.again else "seeds")
    history = [line for one in trained.values() for line in one.history]
    kept = next(row for row in rows if row.name == results.kept)
    if material.last is not None:
        model, more = _train_on_all(experiment, kept, rows, material.last, seeds[0])
        history += more
    else:
        model = trained[kept.name, seeds[0], 0]
    save_model(model.model, run.model_path)
    run.write_json("model.json", kept.model.as_dict())
    run.write_metrics(history)
    _write_said(run, said, results.kept, material, judged, seeds)
    run.finish(results)


def _said(row: Row, trained: dict[tuple[str, int, int], Trained], material: Material,
          seeds: Sequence[int]) -> Said:
    members, numbers = material.targets.members, range(len(material.folds))
    orders = [np.argsort(np.concatenate([fold.test for fold in material.folds_of(place)]), kind="stable")
              for place in range(len(seeds))]
    test = np.stack([np.concatenate([trained[row.name, seed, number].test for number in numbers])[order]
                     for seed, order in zip(seeds, orders, strict=True)])
    val = tuple(float(main_values(members[fold.val], trained[row.name, seed, number].val,
                                  multilabel=material.targets.multilabel).mean())
                for place, seed in enumerate(seeds) for number, fold in enumerate(material.folds_of(place))
                if len(fold.val))
    return Said(row, trained[row.name, seeds[0], 0].model.trainable(), test,
                val if len(val) == len(seeds) * len(numbers) else ())


def _train_on_all(experiment: Experiment, kept: Row, rows: Sequence[Row], fold: Fold,
                  seed: int) -> tuple[Trained, list[dict[str, Any]]]:
    """Train the kept row once more, on all videos (less a validation part where one is cut)."""
    parts = [experiment.train(next(row for row in rows if row.name == name), fold, seed=seed, number=ALL_VIDEOS)
             for name in kept.parts]
    model = experiment.train(kept, fold, seed=seed, number=ALL_VIDEOS, parts=parts)
    return model, [line for one in (*parts, model) for line in one.history]


def _write_said(run: Run, said: Sequence[Said], kept: str, material: Material, judged: NDArray[np.int64],
                seeds: Sequence[int]) -> None:
    targets, ids = material.targets, material.data.ids
    folds = np.array([_numbers_of(material.folds_of(place))[judged] for place in range(len(seeds))])
    members: Members = targets.members[judged]
    run.write_scores(Scores(tuple(ids[v] for v in judged), members if targets.multilabel else members.argmax(1),
                            targets.classes, folds if material.again else folds[0], np.array(seeds),
                            {one.row.name: one.test for one in said}))
    best = next(one for one in said if one.row.name == kept).test
    run.write_predictions([
        Prediction(ids[video], seed, int(folds[place, index]), targets.cell(video),
                   top_classes(best[place, index], targets.classes))
        for index, video in enumerate(judged.tolist()) for place, seed in enumerate(seeds)])


def _numbers_of(folds: Sequence[Fold]) -> NDArray[np.int64]:
    """The fold in which a video is tested, by its place; of no meaning where it is not."""
    numbers = np.zeros(1 + max(int(fold.test.max()) for fold in folds), dtype=np.int64)
    for number, fold in enumerate(folds):
        numbers[fold.test] = number
    return numbers
