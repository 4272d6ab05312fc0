"""Late fusion of class scores from anyone's networks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.exchange.scores import ScoreSet, cell_labels, check_place, join_scores, normalise, read_all
from pipeline.learn.data.splits import deal, groups_of, joined_groups
from pipeline.learn.judging.metrics import Members, hits
from pipeline.learn.judging.results import main_values
from pipeline.learn.judging.statistics import bootstrap_mean, sign_flip_p, unit_numbers
from pipeline.learn.models.score_weights import fit_weights
from schemas.arrays import Array, write_npz
from schemas.disk.files import write_csv
from schemas.errors import ConfigError
from schemas.labels import LabelRow, join_labels, match_rows
from schemas.options import parse_weights
from schemas.words import counted


@dataclass(frozen=True, slots=True)
class Judged:
    """One line of the table of `fuse`.

    Attributes:
        title: a score array, or `fused`.
        weight: of the array; None for `fused`.
        main: share of videos whose label scores highest; with several labels the label ranking average precision.
        low: lower end of its 95 % bootstrap interval.
        high: its upper end.
        top5: share of videos whose label is among the five best.
        p: of the paired test against `fused`; None for `fused`.
    """

    title: str
    weight: float | None
    main: float
    low: float
    high: float
    top5: float
    p: float | None


@dataclass(frozen=True, slots=True)
class FusedScores:
    """What `fuse` found.

    Attributes:
        videos: how many were joined.
        main: the metric of the rows: `top1`, or `lrap` when videos have several labels.
        unit: what the bootstrap draws and the test permutes: `video` or `group`.
        units: how many of them there are.
        fitted: weights were fitted, each half of the videos judged with those of the other half.
        rows: one a score array, then `fused`; empty without labels.
        weights: used for the scores that are written, in the order of the arrays.
    """

    videos: int
    main: str
    unit: str
    units: int
    fitted: bool
    rows: tuple[Judged, ...]
    weights: tuple[float, ...]


def fuse_scores(
    sources: Sequence[str],
    *,
    weights: str | Sequence[float] = "equal",
    how: str = "relu-l1",
    labels: Sequence[LabelRow] = (),
    group_by: str = "",
    common: bool = False,
    out: Path | None = None,
) -> FusedScores:
    """Join, normalise, weight and add class scores; judge them where labels are known.

    Args:
        sources: of `read_scores`.
        weights: `equal`, `fit`, or numbers, as such or separated by commas.
        how: of `normalise`.
        labels: of `read_label_csv`; else those in the files.
        group_by: regular expression that finds what a video belongs to in its id. Else groups are those of `labels`,
            of the files (videos that one of them puts together are together), or of UCF-style names.
        common: take the videos that all files have, instead of refusing.
        out: .npz or .csv to write.

    Raises:
        ConfigError: files, names, classes or weights do not fit together.
    """
    wish = parse_weights("weights", weights)
    sets = join_scores(read_all(sources), common=common)
    tables = np.stack([normalise(one.scores, how) for one in sets])
    members = _truth(sets, labels)
    groups = groups_of(sets[0].names, pattern=group_by, given=_known_groups(sets, labels))
    if wish == "fit":
        if members is None:
            raise ConfigError("`weights` fit needs labels: in a score file, or a CSV as `labels`")
        if len(set(groups)) < 2:
            raise ConfigError(
                "`weights` fit needs two videos, or groups of videos, at least: each half is judged with "
                "weights of the other"
            )
        fused, used = _cross_fitted(tables, members, groups), fit_weights(tables, members)
    else:
        used = _numbers(wish, len(sets))
        fused = np.tensordot(used, tables, axes=1)
    if out is not None:
        grouped = len(set(groups)) < len(groups)
        _write(out, replace(sets[0], groups=tuple(groups) if grouped else ()), np.tensordot(used, tables, axes=1))
    rows = _judge(sets, tables, fused, used, members, groups) if members is not None else ()
    units = len(set(groups))
    return FusedScores(
        len(groups),
        "lrap" if members is not None and _several(members) else "top1",
        "video" if units == len(groups) else "group",
        units,
        wish == "fit",
        rows,
        tuple(float(w) for w in used),
    )


def _several(members: Members) -> bool:
    return bool((members.sum(1) > 1).any())


def _known_groups(sets: Sequence[ScoreSet], labels: Sequence[LabelRow]) -> dict[str, str]:
    """Video -> its group by the label file, else by the score files; empty when none knows any."""
    names = sets[0].names
    rows = match_rows(labels, dict.fromkeys(names, ""))
    if any(row.group for row in rows.values()):
        return {name: row.group for name, row in rows.items()}
    known = [one.groups for one in sets if one.groups]
    return dict(zip(names, joined_groups(known), strict=True)) if known else {}


def _truth(sets: Sequence[ScoreSet], labels: Sequence[LabelRow]) -> Members | None:
    names, classes = sets[0].names, sets[0].classes
    if labels:
        rows = match_rows(labels, dict.fromkeys(names, ""))
        missing = [name for name in names if name not in rows]
        if missing:
            raise ConfigError(
                f"{counted(len(missing), 'video has', 'videos have')} no label in the label "
                f"file, the first is {missing[0]!r}"
            )
        cells = tuple(cell_labels(rows[name].label, classes) for name in names)
    else:
        cells = next((one.labels for one in sets if one.labels), ())
        if not cells:
            return None
    members = np.zeros(sets[0].scores.shape, dtype=np.bool_)
    for row, name, cell in zip(members, names, cells, strict=True):
        if not cell:
            raise ConfigError(f"{name!r} has no label")
        row[[_place(label, classes, len(row), name) for label in cell]] = True
    return members


def _place(label: str, classes: Sequence[str], columns: int, video: str) -> int:
    """The column of a label."""
    if classes:
        if label not in classes:
            raise ConfigError(
                f"the label {label!r} of {video!r} is not among the classes of the score files: "
                f"{', '.join(classes[:20])}{' ...' if len(classes) > 20 else ''}"
            )
        return classes.index(label)
    if not label.removeprefix("-").isdecimal():
        raise ConfigError(
            f"the label {label!r} of {video!r} is a name, but no score file names its classes: give "
            "one an array 'classes', or labels as numbers of columns, from 0 on"
        )
    return check_place(int(label), columns, repr(video))


def _numbers(weights: str | tuple[float, ...], count: int) -> NDArray[np.float64]:
    if isinstance(weights, str):
        return np.ones(count)
    if len(weights) != count:
        raise ConfigError(f"{counted(len(weights), 'weight')} for {counted(count, 'score file')}")
    return np.array(weights)


def _cross_fitted(tables: Array, members: NDArray[np.bool_], groups: Sequence[str]) -> Array:
    """Fuse each half of the videos with weights fitted on the other; groups are not parted."""
    half = deal(groups, members.argmax(1).astype(np.int64), 2, 0)
    fused = np.empty(tables.shape[1:])
    for side in (0, 1):
        weights = fit_weights(tables[:, half != side], members[half != side])
        fused[half == side] = np.tensordot(weights, tables[:, half == side], axes=1)
    return fused


def _judge(
    sets: Sequence[ScoreSet],
    tables: Array,
    fused: Array,
    used: NDArray[np.float64],
    members: Members,
    groups: Sequence[str],
) -> tuple[Judged, ...]:
    units, several = unit_numbers(groups), _several(members)
    right = main_values(members, fused, multilabel=several)

    def row(title: str, weight: float | None, scores: Array) -> Judged:
        mine = main_values(members, scores, multilabel=several)
        return Judged(
            title,
            weight,
            float(mine.mean()),
            *bootstrap_mean(mine, units),
            float(hits(members, scores, top=5).mean()),
            None if weight is None else sign_flip_p(right - mine, units),
        )

    return (
        *(row(one.title, float(weight), table) for one, weight, table in zip(sets, used, tables, strict=True)),
        row("fused", None, fused),
    )


def _write(path: Path, first: ScoreSet, fused: Array) -> None:
    if path.suffix == ".npz":
        arrays = {"names": np.array(first.names), "fused": fused.astype(np.float32)}
        arrays |= {"classes": np.array(first.classes)} if first.classes else {}
        arrays |= {"labels": np.array([join_labels(cell) for cell in first.labels])} if first.labels else {}
        arrays |= {"groups": np.array(first.groups)} if first.groups else {}
        write_npz(path, arrays)
    elif path.suffix == ".csv":
        titles = first.classes or tuple(str(number) for number in range(fused.shape[1]))
        named = [*(["label"] if first.labels else []), *(["group"] if first.labels and first.groups else [])]
        columns = {"label": [join_labels(labels) for labels in first.labels], "group": first.groups}
        cells = [[columns[name][place] for name in named] for place in range(len(first.names))]
        write_csv(
            path,
            [
                ["video", *named, *titles],
                *(
                    [name, *cell, *(f"{score:.6g}" for score in row)]
                    for name, cell, row in zip(first.names, cells, fused, strict=True)
                ),
            ],
        )
    else:
        raise ConfigError(f"`out` must end in .npz or .csv, not {path.name!r}")
