"""From a store to a run: what the three training commands share. Read this page to see the order of things."""

import itertools
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.data.material import Material, read_material, split_rows
from pipeline.learn.data.splits import Fold, inner_cuts
from pipeline.learn.judging.metrics import Members, fit_thresholds, out_of_fold_thresholds
from pipeline.learn.judging.results import RowScores, conclude, main_values
from pipeline.learn.models.model import save_model
from pipeline.learn.request import Request
from pipeline.learn.runs.provenance import LBFGS, run_settings
from pipeline.learn.runs.records import Prediction, Scores, top_classes
from pipeline.learn.runs.rows import Row, make_rows
from pipeline.learn.runs.run import Run
from pipeline.learn.settings import TrainSettings
from pipeline.learn.training.experiment import ALL_VIDEOS, INNER, Experiment, Trained
from pipeline.learn.training.repeatable import prepare_torch
from schemas.disk.files import is_there
from schemas.errors import BusyError, ConfigError
from schemas.plain import Plain

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
        BusyError: another process is training in `out`.
        ResourceError: no such device, or the run can not be written.
    """
    device = prepare_torch(request.device, request.threads)
    material = read_material(request)
    rows = make_rows(request, material.data.dims, material.targets)
    _check_weights(request.score_weights, rows, material)
    settings = run_settings(request, material, rows, device)
    _tell_unused(request.training, settings)
    with _begun(settings, request.command, out) as run:
        run.write_labels(material.targets.classes, multilabel=material.targets.multilabel)
        run.write_splits(split_rows(material))
        experiment = Experiment(
            material.data,
            material.targets,
            request.training,
            device=device,
            folder=run.resume_folder,
            groups=material.groups,
            weights=request.score_weights,
            quiet=request.quiet,
        )
        count = max(request.seeds, request.split.repeats)
        _train_and_keep(run, experiment, rows, material, list(range(request.seed, request.seed + count)))
        shutil.rmtree(run.resume_folder)
    return run


def _check_weights(weights: str | tuple[float, ...], rows: Sequence[Row], material: Material) -> None:
    """Refuse weights of a late fusion that would be left aside."""
    if weights != "equal" and not any(row.parts for row in rows):
        raise ConfigError("`score_weights` are those of the fusion score, which is not asked for: add it to `fusions`")
    if weights == "fit" and not all(len(fold.val) for fold in material.trainings):
        raise ConfigError(
            "`score_weights` fit needs a validation part in every training, to fit them on: "
            "`val_fraction` 0.2 cuts one where there are videos enough; or give numbers, as 1,1.5"
        )


def _tell_unused(asked: TrainSettings, settings: Plain) -> None:
    """Say which options of gradient descent were given and are of no use, since every row is fitted to the end."""
    if any(row["training"] and row["training"]["solver"] != LBFGS for row in settings["rows"]):
        return
    used, usual = {"class_weights", "val_fraction", "patience"}, TrainSettings().as_dict()
    given = [name for name, value in asked.as_dict().items() if name not in used and value != usual[name]]
    if given:
        logger.warning(
            "%s: of gradient descent, and left aside: a linear classifier over pooled features is fitted to "
            "the end without",
            ", ".join(f"--{name.replace('_', '-')}" for name in given),
        )


@contextmanager
def _begun(settings: Plain, command: str, out: Path | None) -> Iterator[Run]:
    """Begin a run, or go on with the unfinished one, and hold it meanwhile.

    Without `out` a run that another process is training is left to it, and the next one is taken.
    """
    with ExitStack() as stack:
        for root in [out] if out is not None else _candidates(command, settings):
            begun = is_there(root / "settings.json")
            try:
                stack.enter_context(Run.hold(root))
                run = Run.create(root, settings)
            except (BusyError, ConfigError):
                if out is not None:
                    raise
                continue  # taken, or finished, by another process since it was listed
            if begun:
                logger.info("going on with %s", root)
            yield run
            return


def _candidates(command: str, settings: Plain) -> Iterator[Path]:
    """Yield the unfinished runs of these settings, then new ones."""
    folder = Path("runs")
    stem = f"{command.removeprefix('train-')}-"
    numbers = sorted(
        int(path.name.removeprefix(stem)) for path in folder.glob(f"{stem}*") if path.name.removeprefix(stem).isdigit()
    )
    for number in numbers:
        known = folder / f"{stem}{number}"
        if Run.is_unfinished(known, settings):
            yield known
    yield from (folder / f"{stem}{number}" for number in itertools.count(max(numbers, default=0) + 1))


def _train_and_keep(
    run: Run, experiment: Experiment, rows: Sequence[Row], material: Material, seeds: Sequence[int]
) -> None:
    trained: dict[tuple[str, int, int], Trained] = {}
    for place, seed in enumerate(seeds):
        for number, fold in enumerate(material.folds_of(place)):
            for row in rows:
                parts = [trained[part, seed, number] for part in row.parts]
                trained[row.name, seed, number] = experiment.train(row, fold, seed=seed, number=number, parts=parts)
    inner = _inner_folds(rows, material, seeds[0])
    held = _held_out(experiment, rows, inner, seeds[0])
    judged = np.sort(np.concatenate([fold.test for fold in material.folds]))
    said = [_said(row, trained, material, seeds, judged, (inner, held)) for row in rows]
    results = conclude(
        said,
        material.targets,
        judged,
        material.groups,
        crossed=material.crossed,
        inner=bool(inner),
        varied="repeats" if material.again else "seeds",
    )
    history = [line for one in trained.values() for line in one.history]
    kept = next(row for row in rows if row.name == results.kept)
    if material.last is not None:
        history += _train_on_all(experiment, kept, rows, material.last, seeds[0])
    save_model(
        experiment.model(kept, seed=seeds[0], number=ALL_VIDEOS if material.last is not None else 0), run.model_path
    )
    run.write_json("model.json", kept.model.as_dict())
    run.write_metrics(history)
    _write_said(run, said, results.kept, material, judged, seeds)
    run.finish(results)


def _said(
    row: Row,
    trained: dict[tuple[str, int, int], Trained],
    material: Material,
    seeds: Sequence[int],
    judged: NDArray[np.int64],
    inner: tuple[Sequence[Fold], Mapping[str, NDArray[np.float32]]],
) -> RowScores:
    members, numbers, several = material.targets.members, range(len(material.folds)), material.targets.multilabel
    orders = [
        np.argsort(np.concatenate([fold.test for fold in material.folds_of(place)]), kind="stable")
        for place in range(len(seeds))
    ]
    test = np.stack(
        [
            np.concatenate([trained[row.name, seed, number].test for number in numbers])[order]
            for seed, order in zip(seeds, orders, strict=True)
        ]
    )
    held = [
        [(fold.val, trained[row.name, seed, number].val) for number, fold in enumerate(material.folds_of(place))]
        for place, seed in enumerate(seeds)
    ]
    if inner[0]:
        held = [[(np.concatenate([fold.test for fold in inner[0]]), inner[1][row.name])]]
    val = tuple(
        float(main_values(members[videos], table, multilabel=several).mean())
        for each in held
        for videos, table in each
        if len(videos)
    )
    said = RowScores(
        row,
        trained[row.name, seeds[0], 0].parameters,
        test,
        val if all(len(videos) for each in held for videos, _ in each) else (),
    )
    if not several:
        return said
    if material.crossed:
        least = np.stack(
            [
                out_of_fold_thresholds(members[judged], table, _numbers_of(material.folds_of(place))[judged])
                for place, table in enumerate(test)
            ]
        )
        return replace(said, thresholds=least, final=fit_thresholds(members[judged], test[0]))
    each = [fit_thresholds(members[videos], table) for [(videos, table)] in held if len(videos)]
    if not each:
        return said
    least = np.stack([np.broadcast_to(each[place % len(each)], test[0].shape) for place in range(len(seeds))])
    return replace(said, thresholds=least, final=each[0])


def _inner_folds(rows: Sequence[Row], material: Material, seed: int) -> list[Fold]:
    """Return folds within the training part, where nothing else that is fair could choose rows, or thresholds."""
    train = material.folds[0].train
    choice = len(rows) > 1 or material.targets.multilabel
    if material.crossed or not choice or len(material.folds[0].val):
        return []
    cuts = inner_cuts([material.groups[v] for v in train], material.targets.strata[train], seed=seed)
    return [Fold(train[fit], train[:0], train[judge]) for fit, judge in cuts]


def _held_out(
    experiment: Experiment, rows: Sequence[Row], inner: Sequence[Fold], seed: int
) -> dict[str, NDArray[np.float32]]:
    """Return what every row says of the videos of the inner folds, one fold after the other, (V, C)."""
    tables: dict[str, list[NDArray[np.float32]]] = {row.name: [] for row in rows}
    for number, fold in enumerate(inner):
        done: dict[str, Trained] = {}
        for row in rows:
            done[row.name] = experiment.train(
                row, fold, seed=seed, number=INNER - number, parts=[done[part] for part in row.parts]
            )
            tables[row.name].append(done[row.name].test)
    return {name: np.concatenate(each) for name, each in tables.items() if each}


def _train_on_all(experiment: Experiment, kept: Row, rows: Sequence[Row], fold: Fold, seed: int) -> list[Plain]:
    """Train the kept row once more, on all videos (less a validation part where one is cut); return its history."""
    parts = [
        experiment.train(next(row for row in rows if row.name == name), fold, seed=seed, number=ALL_VIDEOS)
        for name in kept.parts
    ]
    model = experiment.train(kept, fold, seed=seed, number=ALL_VIDEOS, parts=parts)
    return [line for one in (*parts, model) for line in one.history]


def _write_said(
    run: Run, said: Sequence[RowScores], kept: str, material: Material, judged: NDArray[np.int64], seeds: Sequence[int]
) -> None:
    targets, ids = material.targets, material.data.ids
    folds = np.array([_numbers_of(material.folds_of(place))[judged] for place in range(len(seeds))])
    members: Members = targets.members[judged]
    run.write_scores(
        Scores(
            tuple(ids[v] for v in judged),
            members if targets.multilabel else members.argmax(1),
            targets.classes,
            folds if material.again else folds[0],
            np.array(seeds),
            {one.row.name: one.test for one in said},
        )
    )
    best = next(one for one in said if one.row.name == kept).test
    run.write_predictions(
        [
            Prediction(
                ids[video],
                seed,
                int(folds[place, index]),
                targets.cell(video),
                top_classes(best[place, index], targets.classes),
            )
            for index, video in enumerate(judged.tolist())
            for place, seed in enumerate(seeds)
        ]
    )


def _numbers_of(folds: Sequence[Fold]) -> NDArray[np.int64]:
    """The fold in which a video is tested, by its place; of no meaning where it is not."""
    numbers = np.zeros(1 + max(int(fold.test.max()) for fold in folds), dtype=np.int64)
    for number, fold in enumerate(folds):
        numbers[fold.test] = number
    return numbers
