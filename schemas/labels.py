"""Where labels come from: parent folders, a CSV, or the official split files of UCF101 and HMDB51.

Everything here speaks of videos by their id: the path relative to the videos root, without suffix, forward slashes.
A video may have several labels (multi-label); they are written `a;b` in one cell, or as several rows of one path.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from schemas.errors import ConfigError

PARTS = ("train", "val", "test")
LABEL_SEPARATOR = ";"
_COLUMNS = ("path", "label", "split", "group")
_UCF_FILE = re.compile(r"(train|test)list0?(\d+)\.txt")
_HMDB_FILE = re.compile(r"(.+)_test_split(\d+)\.txt")
_HMDB_PARTS = {"0": "", "1": "train", "2": "test"}  # 0: the clip is not used in this split


@dataclass(frozen=True, slots=True)
class LabelRow:
    """What a label CSV says of one video.

    Attributes:
        path: as written in the CSV.
        labels: sorted, without repetition; never empty.
        split: `train`, `val` or `test`; empty when the CSV does not say.
        group: the recording, person or source it belongs to; empty when the CSV does not say.
    """

    path: str
    labels: tuple[str, ...]
    split: str
    group: str

    @property
    def label(self) -> str:
        """The labels in one cell, as a store keeps them: `a` or `a;b`."""
        return join_labels(self.labels)


def split_labels(cell: str) -> tuple[str, ...]:
    """`b; a;` -> ("a", "b")."""
    return tuple(sorted({label.strip() for label in cell.split(LABEL_SEPARATOR)} - {""}))


def join_labels(labels: Iterable[str]) -> str:
    """("b", "a") -> `a;b`."""
    return LABEL_SEPARATOR.join(sorted(set(labels)))


def folder_label(video_id: str) -> str:
    """Return the name of the folder a video lies in; empty when it lies in the root."""
    return PurePosixPath(video_id).parent.name


def without_suffix(path: str) -> str:
    r"""Turn a path as people write it (`Archery/v_01.avi`, `Archery\v_01.avi`, `./Archery/v_01`) into an id.

    Only a suffix that looks like a file's (a dot, then one to five letters or digits, one a letter) is taken off, so
    `clip_1.25` keeps its name.
    """
    pure = PurePosixPath(path.replace("\\", "/"))
    text = str(pure)
    return text[: -len(pure.suffix)] if re.fullmatch(r"\.(?=.*[A-Za-z])\w{1,5}", pure.suffix) else text


def read_label_csv(path: Path) -> list[LabelRow]:
    """Read a CSV of labels: `path,label[,split][,group]`, with or without that header line.

    With a header the columns may stand in any order and others beside them are left alone; without one they are
    taken in the order above. Rows of one path are joined: their labels add up, their split and group must agree.

    Args:
        path: UTF-8 file; a byte order mark is allowed.

    Returns:
        one entry a path, in the order in which paths first appear.

    Raises:
        ConfigError: the file is missing or empty, a cell is empty, a split is unknown, or two rows contradict.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if "".join(row).strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot read labels from {path}: {error}") from error
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    columns = {name: header.index(name) for name in _COLUMNS if name in header}
    if "path" in columns:
        rows = rows[1:]
        if "label" not in columns:
            raise ConfigError(f"{path}: the header names no column 'label'; it has {', '.join(header)}")
    else:
        columns = {name: index for index, name in enumerate(_COLUMNS)}
    if not rows:
        raise ConfigError(f"{path} holds no labels; write one line a video: path,label[,split][,group]")
    found: dict[str, LabelRow] = {}
    for number, cells in rows:
        row = _label_row(cells, columns, f"{path}, line {number}")
        found[row.path] = _joined(found[row.path], row, f"{path}, line {number}") if row.path in found else row
    return list(found.values())


def _label_row(cells: list[str], columns: Mapping[str, int], where: str) -> LabelRow:
    def cell(name: str) -> str:
        index = columns.get(name, len(cells))
        return cells[index].strip() if index < len(cells) else ""

    row = LabelRow(cell("path"), split_labels(cell("label")), cell("split").lower(), cell("group"))
    if not row.path or not row.labels:
        raise ConfigError(f"{where}: a path and a label are needed, not {','.join(cells)!r}")
    if row.split and row.split not in PARTS:
        raise ConfigError(f"{where}: unknown split {row.split!r}; known: {', '.join(PARTS)}, or empty")
    return row


def _joined(old: LabelRow, new: LabelRow, where: str) -> LabelRow:
    for name in ("split", "group"):
        mine, theirs = getattr(old, name), getattr(new, name)
        if mine and theirs and mine != theirs:
            raise ConfigError(f"{where}: {old.path} is in {name} {mine!r} and in {name} {theirs!r}")
    labels = tuple(sorted({*old.labels, *new.labels}))
    return LabelRow(old.path, labels, old.split or new.split, old.group or new.group)


def match_names(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Find which known video is meant by each name, as people and programs write them.

    The same name is meant first; else the one that differs by nothing but a file's suffix, on one side, and that no
    name means exactly: of `clip`, `clip.v1` and `clip.v2` none stands for another where all are known.

    Returns:
        name -> known name, for the names that mean one.
    """
    names, every = list(names), set(known)
    found = {name: name for name in names if name in every}
    free = every - found.keys()
    longer: dict[str, list[str]] = {}
    for name in free:
        longer.setdefault(without_suffix(name), []).append(name)
    for name in names:
        if name not in found:
            written, plain = str(PurePosixPath(name.replace("\\", "/"))), without_suffix(name)
            meant = [one for one in (written, plain) if one in free] or longer.get(written, [])
            if len(set(meant)) == 1:
                found[name] = meant[0]
    return found


def match_rows(rows: Iterable[LabelRow], videos: Mapping[str, str]) -> dict[str, LabelRow]:
    """Find the video of every CSV row: by id, with or without suffix, or by absolute path.

    Args:
        rows: of `read_label_csv`.
        videos: id -> absolute path.

    Returns:
        id -> row, for the videos that have one; rows of videos that are not there are left out.

    Raises:
        ConfigError: two rows speak of one video and contradict.
    """
    rows = list(rows)
    by_path = {path: video_id for video_id, path in videos.items() if path}
    meant = match_names([row.path for row in rows if row.path not in by_path], videos)
    found: dict[str, LabelRow] = {}
    for row in rows:
        video_id = by_path.get(row.path) or meant.get(row.path)
        if video_id is not None:
            known = found.get(video_id)
            found[video_id] = _joined(known, row, f"label of {video_id}") if known else row
    return found


def read_split_files(folder: Path, number: int) -> dict[str, str]:
    """Read the official split files of UCF101 (`trainlist01.txt`, ...) or HMDB51 (`<class>_test_split1.txt`, ...).

    Soomro et al. 2012 (UCF101); Kuehne et al. 2011 (HMDB51).

    Args:
        folder: where the files lie.
        number: 1, 2 or 3.

    Returns:
        `<class>/<clip>` without suffix -> `train` or `test`. HMDB51 clips that a split leaves out are left out.

    Raises:
        ConfigError: there is no such split in the folder, or a line is not one of these files'.
    """
    names = sorted(child.name for child in folder.iterdir()) if folder.is_dir() else []
    files = [
        name
        for name in names
        if any((match := pattern.fullmatch(name)) and int(match[2]) == number for pattern in (_UCF_FILE, _HMDB_FILE))
    ]
    parts: dict[str, str] = {}
    for name in files:
        with (folder / name).open(encoding="utf-8") as lines:
            for count, line in enumerate(lines, start=1):
                if line.strip():
                    video_id, part = _split_line(name, line.split(), f"{folder / name}, line {count}")
                    parts |= {video_id: part} if part else {}
    if set(parts.values()) != {"train", "test"}:
        raise ConfigError(
            f"{folder} has no split {number} of UCF101 (trainlist{number:02d}.txt and "
            f"testlist{number:02d}.txt) or HMDB51 (<class>_test_split{number}.txt)"
        )
    return parts


def _split_line(name: str, words: list[str], where: str) -> tuple[str, str]:
    if match := _UCF_FILE.fullmatch(name):
        return without_suffix(words[0]), match[1]
    match = _HMDB_FILE.fullmatch(name)
    assert match
    if len(words) != 2 or words[1] not in _HMDB_PARTS:
        raise ConfigError(f"{where}: expected `<clip> 0|1|2`, not {' '.join(words)!r}")
    return f"{match[1]}/{without_suffix(words[0])}", _HMDB_PARTS[words[1]]


def match_parts(parts: Mapping[str, str], ids: Iterable[str]) -> dict[str, str]:
    """Find the videos of an official split among `ids`, by class folder and clip name (the last two parts of an id).

    Returns:
        id -> part, for those that are found.

    Raises:
        ConfigError: not one is found.
    """
    found = {video_id: parts[key] for video_id in ids if (key := "/".join(PurePosixPath(video_id).parts[-2:])) in parts}
    if not found:
        raise ConfigError(f"not one video is in the split files; they name videos like {next(iter(parts))!r}")
    return found
