"""Class scores of any network: read, joined by video name, normalised, weighted and added.

A file of scores is an `.npz` (arrays `names` (V,), optionally `labels` (V,) and `classes` (C,), and score arrays
(V, C); several sets in one file as `names_x`, `labels_x`, `score_x`; with an array `seeds` (S,), scores (S, V, C), of
which the mean over seeds is taken), or a `.csv` (`video`, optionally `label`, after it optionally `group`, then
one column a class). Groups are an array `groups` (V,) of an `.npz`, or lie in the run whose scores these are. Nothing
is ever joined by position.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.exchange.feature_files import read_arrays
from pipeline.learn.runs.run import Run
from schemas.arrays import Array
from schemas.errors import ConfigError
from schemas.labels import join_labels, match_names, split_labels
from schemas.words import counted

NORMALISATIONS = ("relu-l1", "softmax", "none")
_FIXED = ("names", "labels", "classes", "folds", "seeds", "groups")


@dataclass(frozen=True, slots=True)
class ScoreSet:
    """What one network says of some videos.

    Attributes:
        title: for messages and tables.
        names: V video names as the file has them, each once.
        scores: float64 (V, C).
        labels: the labels of each of V videos, as class names where `classes` are known, else as numbers; empty when
            the file has none.
        classes: C names; empty when the file has none.
        groups: V names of what belongs together; empty when the file does not say.
    """

    title: str
    names: tuple[str, ...]
    scores: Array
    labels: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that everything speaks of the same videos and classes.

        Raises:
            ConfigError: it does not, a name stands twice, or a score is not finite.
        """
        if self.scores.ndim != 2 or len(self.scores) != len(self.names):
            raise ConfigError(
                f"{self.title}: scores of shape {self.scores.shape} for "
                f"{counted(len(self.names), 'name')}; a table of names x classes is needed"
            )
        if self.labels and len(self.labels) != len(self.names):
            raise ConfigError(
                f"{self.title}: {counted(len(self.labels), 'label')} for {counted(len(self.names), 'name')}"
            )
        if self.groups and len(self.groups) != len(self.names):
            raise ConfigError(
                f"{self.title}: {counted(len(self.groups), 'group')} for {counted(len(self.names), 'name')}"
            )
        if self.classes and len(self.classes) != self.scores.shape[1]:
            raise ConfigError(
                f"{self.title}: {counted(len(self.classes), 'class name')} for "
                f"{counted(self.scores.shape[1], 'column')}"
            )
        if len(set(self.names)) != len(self.names):
            twice = next(name for name, times in Counter(self.names).items() if times > 1)
            raise ConfigError(f"{self.title}: {twice!r} stands there twice")
        if not np.isfinite(self.scores).all():
            bad = self.names[int(np.flatnonzero(~np.isfinite(self.scores).all(1))[0])]
            raise ConfigError(f"{self.title}: a score of {bad!r} is NaN or infinite")


def read_all(sources: Sequence[str]) -> list[ScoreSet]:
    """Read several sources; those of one title are called as they were asked for.

    Raises:
        ConfigError: one can not be read, or is named twice.
    """
    twice = next((source for source in sources if sources.count(source) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice} is named twice; `weights` lets a file count more")
    sets = [read_scores(source) for source in sources]
    titles = [one.title for one in sets]
    return [
        replace(one, title=source) if titles.count(one.title) > 1 else one
        for one, source in zip(sets, sources, strict=True)
    ]


def read_scores(source: str) -> ScoreSet:
    """Read `FILE`, or `FILE:ARRAY` when an npz holds several score arrays.

    Raises:
        ConfigError: the file can not be read, or the array is not there; the message names those that are.
    """
    path, array = (
        (Path(source), "") if Path(source).exists() else (Path(source.rpartition(":")[0]), source.rpartition(":")[2])
    )
    if path.is_dir():
        path /= "scores.npz"
    if not path.is_file():
        raise ConfigError(f"no file of scores: {source}; give FILE.npz, FILE.npz:ARRAY, FILE.csv or a run directory")
    if path.suffix == ".csv":
        return _read_csv(path)
    arrays = read_arrays(path)
    if not isinstance(arrays, dict):
        raise ConfigError(f"{path} is not an .npz of plain arrays, but one array without names")
    found = _from_arrays(path, array, arrays)
    recorded = path.name == "scores.npz" and path.with_name("splits.csv").exists()
    return _with_groups(found, path.parent) if recorded else found


def _with_groups(found: ScoreSet, run: Path) -> ScoreSet:
    """Add the groups of a run's scores: they lie beside them, in its splits."""
    known = {row.video: row.group for row in Run.open(run).splits()}
    return replace(found, groups=tuple(known.get(name, name) for name in found.names))


def _from_arrays(path: Path, array: str, arrays: dict[str, Array]) -> ScoreSet:
    if "seeds" in arrays:
        arrays = {
            name: values.mean(0) if values.ndim == 3 and len(values) == len(arrays["seeds"]) else values
            for name, values in arrays.items()
        }
    tables = [
        name
        for name, values in arrays.items()
        if values.ndim == 2 and np.issubdtype(values.dtype, np.floating) and name not in _FIXED
    ]
    if array not in arrays and f"score_{array}" in arrays:
        array = f"score_{array}"
    if (array or len(tables) > 1) and array not in tables:
        raise ConfigError(
            f"{path} holds the score arrays {', '.join(tables)}; choose one as {path}:{tables[0]}"
            if tables
            else f"{path} holds no score array of names x classes"
        )
    if not tables:
        raise ConfigError(f"{path} holds no score array of names x classes; it holds {', '.join(arrays)}")
    array = array or tables[0]
    suffix = array.removeprefix("score")

    def beside(what: str) -> Array | None:
        return arrays.get(f"{what}{suffix}", arrays.get(what))

    names = beside("names")
    if names is None:
        raise ConfigError(f"{path}: no array 'names', so its rows can not be told apart")
    labels, classes = beside("labels"), beside("classes")
    titles = tuple(str(name) for name in classes) if classes is not None else ()
    cells = () if labels is None else _label_cells(path, labels, titles, arrays[array].shape[1])
    groups = beside("groups")
    return ScoreSet(
        array.removeprefix("score_"),
        tuple(str(name) for name in names),
        arrays[array].astype(np.float64),
        cells,
        titles,
        () if groups is None else tuple(groups.astype(str).tolist()),
    )


def _label_cells(path: Path, labels: Array, titles: tuple[str, ...], columns: int) -> tuple[tuple[str, ...], ...]:
    """The labels of each video, from names (V,), `a;b` for several, numbers (V,), or a table (V, C) of 0 and 1."""
    titles = titles or tuple(str(number) for number in range(columns))
    if labels.ndim == 2 and labels.shape[1] == len(titles) and np.isin(labels, (0, 1)).all():
        return tuple(tuple(titles[c] for c in np.flatnonzero(row)) for row in labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iuUS":
        raise ConfigError(
            f"{path}: labels are names (V,), numbers (V,) or a table (V, {len(titles)}) of 0 and 1, not "
            f"{labels.dtype} of shape {labels.shape}"
        )
    if labels.dtype.kind in "iu":
        return tuple((titles[check_place(label, len(titles), str(path))],) for label in labels.tolist())
    return tuple(cell_labels(str(label), titles) for label in labels)


def check_place(label: int, columns: int, where: str) -> int:
    """Return a label given as a number if it is that of a column.

    Raises:
        ConfigError: it is not.
    """
    if not 0 <= label < columns:
        hint = "; if labels count from 1 here, subtract 1" if label == columns else ""
        raise ConfigError(
            f"{where}: the label {label} is none of {counted(columns, 'column')}, which count from 0 to "
            f"{columns - 1}{hint}"
        )
    return label


def cell_labels(cell: str, classes: Sequence[str]) -> tuple[str, ...]:
    """`a;b` -> ("a", "b"); a cell that is the name of a class is that class."""
    return (cell,) if cell in classes else split_labels(cell)


def _read_csv(path: Path) -> ScoreSet:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file) if row]
        if header[0] not in ("video", "name", "path"):
            raise ConfigError(f"{path}: the first column must be 'video', not {header[0]!r}")
        first = 3 if header[1:3] == ["label", "group"] else 2 if header[1] == "label" else 1
        scores = np.array([[float(cell) for cell in row[first:]] for row in rows], dtype=np.float64)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, IndexError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is not a table of scores (video[,label],CLASS,...): {error}") from error
    labels = tuple(cell_labels(row[1], header[first:]) for row in rows) if first > 1 else ()
    groups = tuple(row[2] or row[0] for row in rows) if first > 2 else ()
    return ScoreSet(path.stem, tuple(row[0] for row in rows), scores, labels, tuple(header[first:]), groups)


def join_scores(sets: Sequence[ScoreSet], *, common: bool = False) -> list[ScoreSet]:
    """Bring score sets into one order of videos and classes, that of the first.

    Videos are joined by name, with or without the suffix of their file, and called by the shortest.

    Args:
        sets: at least one.
        common: go on with the videos that all sets have, instead of refusing.

    Raises:
        ConfigError: videos, classes or labels differ; the message shows which.
    """
    sets = _called_alike(sets)
    first = sets[0]
    shared = set(first.names).intersection(*(one.names for one in sets))
    for one in sets[1:]:
        missing, extra = sorted(set(first.names) - set(one.names)), sorted(set(one.names) - set(first.names))
        if (missing or extra) and not common:
            raise ConfigError(
                f"{first.title} and {one.title} do not speak of the same videos: {len(missing)} only in "
                f"{first.title} ({_few(missing)}), {len(extra)} only in {one.title} ({_few(extra)}); "
                "`common` takes those that both have"
            )
    if not shared:
        raise ConfigError(
            f"the score files have no video in common; {first.title} has {_few(list(first.names))}, "
            f"{sets[-1].title} has {_few(list(sets[-1].names))}"
        )
    order = [name for name in first.names if name in shared]
    named = next((one for one in sets if one.classes), first)
    joined = [_arranged(one, order, named) for one in sets]
    labelled = [one for one in joined if one.labels]
    for one in labelled[1:]:
        if one.labels != labelled[0].labels:
            index = next(i for i, (a, b) in enumerate(zip(labelled[0].labels, one.labels, strict=True)) if a != b)
            raise ConfigError(
                f"{order[index]!r} is {join_labels(labelled[0].labels[index])!r} in {labelled[0].title} "
                f"and {join_labels(one.labels[index])!r} in {one.title}"
            )
    return joined


def _called_alike(sets: Sequence[ScoreSet]) -> list[ScoreSet]:
    """Give every video one name in all sets, the shortest that a set has for it."""
    names = list(sets[0].names)
    place = {name: index for index, name in enumerate(names)}
    found = [match_names(one.names, place) for one in sets]
    for meant in found:
        for name, known in meant.items():
            names[place[known]] = min(names[place[known]], name, key=len)
    return [
        replace(one, names=tuple(names[place[meant[name]]] if name in meant else name for name in one.names))
        for one, meant in zip(sets, found, strict=True)
    ]


def _arranged(one: ScoreSet, order: Sequence[str], named: ScoreSet) -> ScoreSet:
    """Put videos in order, and columns in that of `named`; where a file names no classes, columns are in that order."""
    classes, columns = named.classes, named.scores.shape[1]
    place = {name: index for index, name in enumerate(one.names)}
    rows = [place[name] for name in order]
    scores = one.scores[rows]
    if classes and one.classes and classes != one.classes:
        if set(classes) != set(one.classes):
            odd = sorted(set(classes) ^ set(one.classes))
            raise ConfigError(f"{one.title} has other classes than {named.title}: {_few(odd)}")
        scores = scores[:, [one.classes.index(name) for name in classes]]
    elif scores.shape[1] != columns:
        raise ConfigError(
            f"{one.title} has {counted(scores.shape[1], 'column')}, {named.title} has {columns}: "
            "they do not speak of the same classes"
        )
    labels = tuple(one.labels[row] for row in rows) if one.labels else ()
    groups = tuple(one.groups[row] for row in rows) if one.groups else ()
    if classes and not one.classes:  # its labels are numbers of columns
        labels = tuple(tuple(classes[int(label)] if label.isdecimal() else label for label in cell) for cell in labels)
    return replace(one, names=tuple(order), scores=scores, labels=labels, classes=classes, groups=groups)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "") or "none"


def normalise(scores: Array, how: str) -> Array:
    """Make the scores of different networks comparable, row by row.

    Args:
        scores: (V, C).
        how: `relu-l1`: negative scores become 0 and each row sums to 1 (a row without a positive score stays 0);
            `softmax`; `none`.

    Raises:
        ConfigError: `how` is unknown.
    """
    if how == "relu-l1":
        positive = np.maximum(scores, 0)
        return np.asarray(positive / np.maximum(positive.sum(1, keepdims=True), 1e-12))
    if how == "softmax":
        raised = np.exp(scores - scores.max(1, keepdims=True))
        return np.asarray(raised / raised.sum(1, keepdims=True))
    if how == "none":
        return scores
    raise ConfigError(f"unknown normalisation {how!r}; known: {', '.join(NORMALISATIONS)}")
