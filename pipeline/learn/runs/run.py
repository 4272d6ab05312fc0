"""A run on disk: all that training leaves behind. The only file that knows its directory (schema 5).

    settings.json        what was asked, all of it:
                           schema, command, seed, seeds, threads, device, score_weights
                           rows      [{name, parts, model, training}, ...]: what is trained and compared; `model` is
                                     `ModelSettings.as_dict`, `parts` the single rows a late fusion is put together
                                     from, `training` how it was really trained: as asked, with every open value filled
                                     in (null when it is put together from others)
                           training  `TrainSettings.as_dict`, as asked: null is the program's choice
                           split     kind (csv | official | made), folds (0: leave one group out), repeats,
                                     group_by, ...,
                                     digest of the videos, their lengths, labels, groups and parts
                           stores    [{path, kind, digest, settings, software}, ...]: the origins of the features,
                                     the first one that of the labels too; `settings` is what
                                     `ExtractSettings.from_dict` reads when kind is `extract`
                           software  version by library
    labels.json          {schema, classes: [name, ...], multilabel}; position = column of every score
    splits.csv           video,path,label,group,fold,part,fingerprint  one line a video; `fold` is the one in which it
                                     is tested (0 when there is one split); `part` is train | val | test, and always
                                     test in cross-validation; of repeats it is the first; `fingerprint` knows the
                                     file wherever it lies
    metrics.jsonl        {row, seed, fold, epoch, learning_rate, train_loss, train_top1, val_loss, val_top1, elapsed_s}
                                     one line an epoch; val_* are null without a validation part; a linear row that is
                                     fitted to the end has one line, without learning_rate and with `strength`
                                     (scikit-learn's C times the number of features); fold -1 is the
                                     last training on all videos, whose model is kept after cross-validation
    predictions.csv      video,seed,fold,truth,top1,p1,...,top5,p5  of the kept row, judged videos only: the test
                                     part, or all (by the model of the fold that did not see the video); one line a
                                     video and seed, so that the share of right ones is the top-1 of results.json
    scores.npz           names (V,), labels (V,) int64 [or (V, C) bool when multi-label], classes (C,),
                                     folds (V,) [or (S, V) with repeats], seeds (S,), and one float32
                                     array (S, V, C) of probabilities a row, by the row's name; V judged
                                     videos in the order of predictions.csv. `vidu-pipe fuse` reads it, and
                                     takes the mean over seeds
    results.json         `Results` of records.py: one `RowResult` a row, the row that is kept, the verdict,
                                     per-class table and confusion matrix of the kept row
    model.safetensors    tensors of the kept row's model of the first seed, standardisation included
    model.json           `ModelSettings.as_dict` of the kept row: what model.safetensors is filled into
    resume/              only while training is unfinished
    report.html          made by `vidu-pipe report`
    tensorboard/         event files of the lines of metrics.jsonl, when --tensorboard asks for them

Fractions are 0 to 1 in every file. Files are written whole or not at all; results.json last: a run with it is complete.
"""

import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import cached_property
from html import escape
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from pipeline.learn.runs.records import (
    TOP,
    Labels,
    MetricsLine,
    Prediction,
    Results,
    Scores,
    SplitRow,
)
from pipeline.learn.settings import ModelSettings
from schemas.arrays import Array, write_npz
from schemas.disk.files import (
    is_there,
    locked,
    make_folder,
    read_csv,
    reading,
    refusals,
    remove_leftovers,
    write_csv,
    write_lines,
)
from schemas.errors import ConfigError, StoreError
from schemas.plain import Plain, read_json, read_json_lines, to_record
from schemas.words import counted

RUN_SCHEMA = 5


class Run:
    """A run directory, made by `create` and found again by `open`.

    Attributes:
        root: the directory.
        settings: settings.json as plain values.
    """

    def __init__(self, root: Path, settings: Plain) -> None:
        """Use `create` or `open`."""
        self.root = root
        self.settings = settings

    @staticmethod
    @contextmanager
    def hold(root: Path) -> Iterator[None]:
        """Hold a new, empty or unfinished run for writing, until it is complete or this process ends.

        Raises:
            BusyError: another process is training there.
            ConfigError: the directory holds a complete run, or something else.
            ResourceError: it can not be written.
        """
        make_folder(root)
        _refuse_others(root)
        make_folder(root / "resume")
        with locked(root / "resume" / ".lock", root):
            yield

    @classmethod
    def create(cls, root: Path, settings: Plain) -> "Run":
        """Begin a run in a new or empty directory, or go on with one that was begun with the same settings.

        Whoever trains holds it (`hold`).

        Raises:
            ConfigError: the directory holds a complete run, or one of other settings, or something else.
            ResourceError: it can not be written.
        """
        settings = _as_read(settings)
        make_folder(root)
        for folder in (root, root / "resume"):
            remove_leftovers(folder)
        _refuse_others(root)
        if is_there(root / "settings.json"):
            known = read_json(root / "settings.json", Plain)
            if known != settings:
                changed = sorted(key for key in known | settings if known.get(key) != settings.get(key))
                raise ConfigError(
                    f"{root} holds an unfinished run with other settings ({', '.join(changed)}), or its "
                    "videos or labels have changed since; repeat its command to finish it, or choose "
                    "another `out`"
                )
        run = cls(root, settings)
        run.write_json("settings.json", settings)
        return run

    @classmethod
    def is_unfinished(cls, root: Path, settings: Plain) -> bool:
        """Tell whether `root` holds a run that was begun with these settings and not completed."""
        begun = is_there(root / "settings.json") and not is_there(root / "results.json")
        return begun and read_json(root / "settings.json", Plain) == _as_read(settings)

    @classmethod
    def open(cls, root: Path) -> "Run":
        """Open a complete run.

        Raises:
            StoreError: there is none, it is unfinished, or it is of another version.
        """
        if not is_there(root / "settings.json"):
            raise StoreError(f"no run in {root} (it has no settings.json); `vidu-pipe train-fusion` makes one")
        settings = read_json(root / "settings.json", Plain)
        if settings.get("schema") != RUN_SCHEMA:
            raise StoreError(
                f"{root}: a run of schema {settings.get('schema')!r}; this version reads {RUN_SCHEMA}: "
                "train it again, or read it with the version that made it"
            )
        if not is_there(root / "results.json"):
            raise StoreError(f"{root}: training is unfinished; repeat its command to finish it")
        return cls(root, settings)

    def __repr__(self) -> str:
        """Say where it is and what it found."""
        results = self.results
        kept = results.row(results.kept)
        return (
            f"Run({str(self.root)!r}: {results.kept} {100 * kept.metrics[results.main]:.1f} % {results.main}, "
            f"{counted(results.videos, 'video')} {results.judged})"
        )

    def _repr_html_(self) -> str:
        """Show it in a notebook: its verdict, and a line a row."""
        results = self.results
        cells = "".join(
            f"<tr><td>{escape(row.name)}</td><td>{100 * row.metrics[results.main]:.1f}</td><td>"
            f"{100 * row.low:.1f} to {100 * row.high:.1f}</td></tr>"
            for row in results.rows
        )
        return (
            f"<p>{escape(repr(self))}</p><p>{escape(results.verdict)}</p><table><tr><th>row</th>"
            f"<th>{results.main} %</th><th>95 % interval</th></tr>{cells}</table>"
        )

    @property
    def model_path(self) -> Path:
        """The kept model's tensors."""
        return self.root / "model.safetensors"

    def model_settings(self) -> ModelSettings:
        """Return what the kept model is built from."""
        return read_json(self.root / "model.json", ModelSettings)

    @property
    def resume_folder(self) -> Path:
        """Where training keeps what it needs to go on; made on demand."""
        folder = self.root / "resume"
        make_folder(folder)
        return folder

    def labels(self) -> tuple[tuple[str, ...], bool]:
        """Return the classes, in the order of every score's columns, and whether videos have several of them."""
        labels = read_json(self.root / "labels.json", Labels)
        return labels.classes, labels.multilabel

    @cached_property
    def results(self) -> Results:
        """What the run found."""
        return read_json(self.root / "results.json", Results)

    def metrics(self) -> list[Plain]:
        """Return the lines of metrics.jsonl."""
        return [dict(line) for line in read_json_lines(self.root / "metrics.jsonl", MetricsLine)]

    def predictions(self) -> list[Prediction]:
        """Return what the kept row says of every judged video."""
        return read_csv(
            self.root / "predictions.csv",
            lambda row: Prediction(
                row["video"],
                int(row["seed"]),
                int(row["fold"]),
                row["truth"],
                tuple((row[f"top{k}"], float(row[f"p{k}"])) for k in range(1, TOP + 1) if f"top{k}" in row),
            ),
        )

    def splits(self) -> list[SplitRow]:
        """Return the part and fold of every video."""
        return read_csv(self.root / "splits.csv", lambda row: to_record(row, SplitRow, cells=True))

    def scores(self) -> Scores:
        """Return what every row says of every judged video."""
        path = self.root / "scores.npz"
        with reading(path):
            data = path.read_bytes()
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return Scores(
                tuple(arrays.pop("names").tolist()),
                arrays.pop("labels"),
                tuple(arrays.pop("classes").tolist()),
                arrays.pop("folds"),
                arrays.pop("seeds"),
                arrays,
            )
        except (AttributeError, EOFError, KeyError, TypeError, ValueError, BadZipFile, zlib.error) as error:
            raise StoreError(f"{path} is damaged: {error}") from error

    def write_json(self, name: str, plain: object) -> None:
        """Write one JSON file whole."""
        write_lines(self.root / name, [json.dumps(plain, indent=1)])

    def write_labels(self, classes: Sequence[str], *, multilabel: bool) -> None:
        """Write labels.json."""
        self.write_json("labels.json", {"schema": RUN_SCHEMA, "classes": classes, "multilabel": multilabel})

    def write_metrics(self, rows: Iterable[Plain]) -> None:
        """Write metrics.jsonl."""
        write_lines(self.root / "metrics.jsonl", (json.dumps(row) for row in rows))

    def write_splits(self, rows: Iterable[SplitRow]) -> None:
        """Write splits.csv."""
        columns = [field.name for field in fields(SplitRow)]
        write_csv(self.root / "splits.csv", [columns, *([getattr(row, name) for name in columns] for row in rows)])

    def write_predictions(self, predictions: Sequence[Prediction]) -> None:
        """Write predictions.csv."""
        write_predictions(self.root / "predictions.csv", predictions)

    def write_scores(self, scores: Scores) -> None:
        """Write scores.npz."""
        arrays: dict[str, Array] = {
            "names": np.array(scores.names, dtype=np.str_),
            "labels": scores.labels,
            "classes": np.array(scores.classes, dtype=np.str_),
            "folds": scores.folds,
            "seeds": scores.seeds,
        }
        write_npz(self.root / "scores.npz", arrays | scores.rows)

    def finish(self, results: Results) -> None:
        """Write results.json, which makes the run complete."""
        self.write_json("results.json", asdict(results))


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write a table of predictions; probabilities with six digits."""
    top = len(predictions[0].top) if predictions else 0
    header = ["video", "seed", "fold", "truth", *(name for k in range(1, top + 1) for name in (f"top{k}", f"p{k}"))]
    write_csv(
        path,
        [
            header,
            *(
                [p.video, p.seed, p.fold, p.truth, *(cell for name, value in p.top for cell in (name, f"{value:.6f}"))]
                for p in predictions
            ),
        ],
    )


def _refuse_others(root: Path) -> None:
    """Refuse a complete run, and a directory of other files."""
    with refusals(root, "read"):
        present = {child.name for child in root.iterdir()} - {"resume"}
    if "results.json" in present:
        raise ConfigError(f"{root} holds a complete run; choose another `out`")
    if present and "settings.json" not in present:
        raise ConfigError(f"{root} is not a run, and not empty; choose another `out`")


def _as_read(settings: Plain) -> Plain:
    plain: Plain = json.loads(json.dumps({"schema": RUN_SCHEMA} | settings))
    return plain
