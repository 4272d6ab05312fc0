"""Which video files are meant, and what they are called."""

import glob
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from schemas.errors import ConfigError
from schemas.labels import read_label_csv
from schemas.plan import Video
from schemas.words import counted

# Suffixes that count as videos when a folder is searched. Files that are named one by one may have any.
VIDEO_SUFFIXES = frozenset(
    {
        ".3g2",
        ".3gp",
        ".264",
        ".265",
        ".asf",
        ".avi",
        ".av1",
        ".divx",
        ".dv",
        ".f4v",
        ".flv",
        ".gif",
        ".h264",
        ".h265",
        ".hevc",
        ".ivf",
        ".m1v",
        ".m2t",
        ".m2ts",
        ".m2v",
        ".m4v",
        ".mjpeg",
        ".mjpg",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpe",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".nut",
        ".obu",
        ".ogm",
        ".ogv",
        ".qt",
        ".rm",
        ".rmvb",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
        ".y4m",
    }
)
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is meant.

    Attributes:
        id: video id.
        path: absolute path.
        label: from a CSV, else empty.
        split: from a CSV, else empty.
        group: from a CSV, else empty.
    """

    id: str
    path: str
    label: str = ""
    split: str = ""
    group: str = ""


def said_of(video: Found | Video) -> tuple[str, str, str]:
    """Return what people say of a video: its label, split and group."""
    return video.label, video.split, video.group


def find_videos(videos: str, *, root: Path | None = None, keep_suffix: bool = False) -> list[Found]:
    """Find the videos a user means, sorted by id.

    Args:
        videos: a folder (searched to the bottom), a glob, a text file with one path a line, a CSV with
            `path,label[,split][,group]`, or one video file.
        root: what ids are relative to; by default the folder, the part of the glob before its first wildcard, or the
            folder that the text file or CSV lies in.
        keep_suffix: keep suffixes in ids, for folders that hold the same name in several formats.

    Raises:
        ConfigError: nothing is found, a listed path lies outside the root, two files share an id, or a CSV contradicts
            itself.
    """
    given = Path(videos)
    if given.is_dir():
        base, files = given, [Found("", str(path)) for path in _walk(given)]
    elif glob.has_magic(videos) and not given.exists():
        base = Path(videos[: _first_magic(videos)] + "_").parent
        files = [Found("", path) for path in dict.fromkeys(_matching(videos)) if Path(path).is_file()]
    elif not given.exists():
        raise ConfigError(f"`videos` {videos}: no such file or folder")
    elif given.suffix.lower() in VIDEO_SUFFIXES:
        base, files = given.parent, [Found("", videos)]
    else:
        base, files = given.parent, list(_listed(given))
    if not files:
        raise ConfigError(
            f"`videos` {videos}: no videos in it. Files in a folder are taken by suffix "
            f"({' '.join(sorted(VIDEO_SUFFIXES))}); list others in a text file, one path a line"
        )
    return _named(files, _absolute(root or base), keep_suffix)


def find_files(paths: Sequence[str], *, root: Path | None = None, keep_suffix: bool = False) -> list[Found]:
    """Take video files that are named one by one, sorted by id.

    Args:
        paths: of the files.
        root: what ids are relative to; by default the folder that holds all of them.
        keep_suffix: keep suffixes in ids.

    Raises:
        ConfigError: there are none, a path lies outside the root, or two files share an id.
    """
    if not paths:
        raise ConfigError("`videos` is an empty list")
    files = [Found("", path) for path in paths]
    base = root or Path(os.path.commonpath([_absolute(Path(path)).parent for path in paths]))
    return _named(files, _absolute(base), keep_suffix)


def _first_magic(pattern: str) -> int:
    return min(pattern.index(sign) for sign in "*?[" if sign in pattern)


def _matching(pattern: str) -> Iterator[str]:
    """Paths that a glob means; `**` means all visible folders below, each real one once: links may run in circles."""
    parts = pattern.split("/")
    parts = [part for part, before in zip(parts, ["", *parts], strict=False) if (part, before) != ("**", "**")]
    if "**" not in parts:
        yield from glob.glob(pattern)  # noqa: PTH207 - Path.glob takes no absolute pattern
        return
    at = parts.index("**")
    rest = parts[at + 1 :] or ["*"]
    for head in _matching("/".join([*parts[:at], ""])) if at else [""]:
        for folder, _ in _folders(head or "."):
            yield from _matching("/".join([glob.escape(folder), *rest]))


def _folders(folder: Path | str) -> Iterator[tuple[str, list[str]]]:
    """A folder and the visible folders below, with the names in them; links are followed, each real folder once."""
    seen: set[str] = set()
    for where, folders, names in os.walk(folder, followlinks=True, onerror=_unread):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield where, names


def _walk(folder: Path) -> Iterator[Path]:
    """Visible files with a video's suffix; links to folders are followed, each real folder once."""
    others = 0
    for where, names in _folders(folder):
        for name in sorted(names):
            if name.startswith("."):
                continue
            path = Path(where, name)
            if path.suffix.lower() in VIDEO_SUFFIXES:
                yield path
            else:
                others += 1
    if others:
        logger.info(
            "%s: %s",
            folder,
            counted(
                others,
                "file that has no video's suffix is left alone",
                "files that have no video's suffix are left alone",
            ),
        )


def _unread(error: OSError) -> None:
    logger.warning("%s can not be searched for videos: %s", error.filename, error.strerror)


def _listed(path: Path) -> Iterator[Found]:
    if path.suffix.lower() == ".csv":
        for row in read_label_csv(path):
            yield Found("", str(path.parent / row.path), row.label, row.split, row.group)
        return
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # splitlines would end a line at U+0085, and at more
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"`videos` {path}: neither a video's suffix nor a text file of paths: {error}") from error
    names = (line.strip(" \t") for line in lines)
    yield from (Found("", str(path.parent / name)) for name in names if name)


def _named(files: Iterable[Found], root: Path, keep_suffix: bool) -> list[Found]:
    named: dict[str, Found] = {}
    for file in files:
        path = _absolute(Path(file.path))
        try:
            relative = path.relative_to(root) if path.is_relative_to(root) else path.resolve().relative_to(root)
        except ValueError:
            raise ConfigError(
                f"{path} lies outside {root}, so it can have no id there; give `root`, a folder that holds all videos"
            ) from None
        video_id = (relative if keep_suffix else relative.with_suffix("")).as_posix()
        other = named.get(video_id)
        if other is not None and other.path != str(path):
            raise ConfigError(
                f"two files share the id {video_id!r}: {other.path} and {path}. Rename one, or use "
                "`keep_suffix`, which keeps suffixes in ids"
            )
        if other is not None and said_of(other) != said_of(file):
            raise ConfigError(
                f"{path} is listed twice, as {said_of(other)} and as {said_of(file)}; write its path the "
                "same way in both lines, or leave one out"
            )
        named[video_id] = replace(file, id=video_id, path=str(path))
    return [named[video_id] for video_id in sorted(named)]


def _absolute(path: Path) -> Path:
    """Make a path absolute and straight, but follow no link: an id is what the user sees."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve follows links
