"""A complete run without training: predictions by a die, everything else by the code that real runs go through."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pipeline.learn.data.targets import Targets
from pipeline.learn.judging.results import RowScores, conclude
from pipeline.learn.models.model import VideoClassifier, save_model
from pipeline.learn.runs.records import Prediction, Scores, SplitRow, top_classes
from pipeline.learn.runs.rows import Row
from pipeline.learn.runs.run import Run
from pipeline.learn.settings import ModelSettings, TrainSettings

STREAMS = {"rgb": 4, "flow": 4}


def make_run(
    root: Path,
    *,
    classes,
    names,
    labels,
    paths=None,
    rows=("rgb", "flow", "concat"),
    skill=0.5,
    seed=0,
    groups=None,
    store=None,
    multilabel=False,
    epochs=4,
    seeds=1,
) -> Run:
    """Write a run whose rows say the truth with some skill.

    Args:
        root: a new directory.
        classes: names, in the order of the columns.
        names: video ids.
        labels: (V,) places in `classes`, or bool (V, C).
        paths: of the files; none are there by default.
        rows: names; the last ones of two streams.
        skill: share of videos that a row is made to be right about.
        seed: of the die.
        groups: names; each video its own by default.
        store: the one of settings["stores"]; imported features by default.
        multilabel: labels are (V, C).
        epochs: lines of metrics.jsonl a row.
        seeds: how many times every row is made, each time by other dice.
    """
    rng = np.random.default_rng(seed)
    V, C = len(names), len(classes)
    members = np.asarray(labels) if multilabel else np.eye(C, dtype=bool)[labels]
    targets = Targets(tuple(classes), members, multilabel)
    settings = {
        name: ModelSettings(
            streams={name: 4} if name in STREAMS else dict(STREAMS),
            classes=C,
            multilabel=multilabel,
            fusion="concat" if name in STREAMS else name,
        )
        for name in rows
    }
    said = []
    for name in rows:
        scores = rng.normal(size=(seeds, V, C)) + 4 * members * (rng.random((seeds, V, 1)) < skill)
        p = 1 / (1 + np.exp(-scores)) if multilabel else np.exp(scores) / np.exp(scores).sum(2, keepdims=True)
        said.append(RowScores(Row(name, settings[name]), 10 * C, p.astype(np.float32), ()))
    groups = groups or [f"g{v}" for v in range(V)]
    results = conclude(said, targets, np.arange(V), groups, crossed=True)
    run = Run.create(
        root,
        {
            "command": "train-fusion",
            "seed": 0,
            "seeds": seeds,
            "threads": 1,
            "device": "cpu",
            "score_weights": "equal",
            "rows": [one.row.as_dict() | {"training": TrainSettings(learning_rate=1e-3).as_dict()} for one in said],
            "training": TrainSettings().as_dict(),
            "split": {
                "kind": "made",
                "folds": 2,
                "trainings": 2,
                "group_by": "",
                "files": "",
                "number": None,
                "labels": "",
            },
            "stores": [
                store
                or {
                    "path": str(root / "no-store"),
                    "kind": "import",
                    "digest": "0" * 16,
                    "settings": {"streams": STREAMS},
                    "software": {"numpy": "0.0"},
                }
            ],
            "software": {"torch": "0.0"},
        },
    )
    run.write_labels(list(classes), multilabel=multilabel)
    paths = paths or [f"/nowhere/{name}.avi" for name in names]
    run.write_splits(
        [
            SplitRow(name, path, targets.cell(v), groups[v], v % 2, "test", "")
            for v, (name, path) in enumerate(zip(names, paths, strict=True))
        ]
    )
    run.write_metrics(
        {
            "row": row,
            "seed": 0,
            "fold": fold,
            "epoch": epoch,
            "learning_rate": 1e-3,
            "train_loss": 2.0 / (epoch + 1),
            "train_top1": epoch / epochs,
            "val_loss": 2.5 / (epoch + 1),
            "val_top1": 0.8 * epoch / epochs + 0.1 * fold,
            "elapsed_s": 0.1,
        }
        for row in rows
        for fold in (0, 1, -1)
        for epoch in range(epochs)
    )
    folds = np.arange(V) % 2
    run.write_scores(
        Scores(
            tuple(names),
            members if multilabel else np.asarray(labels),
            tuple(classes),
            folds,
            np.arange(seeds),
            {one.row.name: one.test for one in said},
        )
    )
    kept = next(one for one in said if one.row.name == results.kept)
    run.write_predictions(
        [
            Prediction(name, s, int(folds[v]), targets.cell(v), top_classes(kept.test[s][v], classes))
            for v, name in enumerate(names)
            for s in range(seeds)
        ]
    )
    torch.manual_seed(seed)
    save_model(VideoClassifier(kept.row.model), run.model_path)
    run.write_json("model.json", kept.row.model.as_dict())
    run.finish(replace(results, kept_by="best on validation parts"))
    return run
