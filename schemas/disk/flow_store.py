"""A folder of flow files on disk. The only file that knows where its parts lie.

    <video id>/flow_x_00001.jpg flow_y_00001.jpg  or flow_00001.flo   one field each; img_00001.jpg with `rgb`
    <video id>.npy or <video id>.h5                                   all fields of a video
    .vidu-pipe/                                                       store.json, plan.jsonl, reports/, .lock

A task is one video. It is done when its report is there and the video's files are those whose sha256 the report tells.
"""

import hashlib
import logging
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from schemas.disk.books import Books
from schemas.disk.files import commit, file_digest, refusals, temporary_beside
from schemas.disk.shard import Origin
from schemas.disk.store import Store
from schemas.errors import ConfigError, StoreError
from schemas.flow_config import FOLDER_FORMATS, FlowFileSettings
from schemas.plan import ShardReport

BOOKS = ".vidu-pipe"
_OURS = re.compile(r"(flow(_[xy])?(_p\d+)?|img)_\d{5,}\.(jpg|png|flo)")
logger = logging.getLogger(__name__)


class FlowStore:
    """Flow files and the books about them.

    Attributes:
        books: their plan and reports.
        root: the folder of the books.
        origin: what made them.
    """

    def __init__(self, books: Books) -> None:
        """Use `create` or `open`."""
        self.books = books
        self.root, self.origin = books.root, books.origin

    @classmethod
    def create(cls, root: Path, origin: Origin) -> "FlowStore":
        """Begin in a folder that is new or empty.

        Raises:
            ConfigError: the folder holds something else.
            ResourceError: it can not be made.
        """
        with refusals(root, "read"):
            strangers = sorted(child.name for child in root.iterdir() if child.name != BOOKS) if root.is_dir() else []
        if strangers:
            raise ConfigError(
                f"{root} was not begun by vidu-pipe flow, and is not empty ({', '.join(strangers[:3])} "
                "...); choose another `out`"
            )
        return cls(Books.create(root / BOOKS, origin, ("making", "reports")))

    @classmethod
    def exists(cls, root: Path) -> bool:
        """Tell whether flow files were begun in `root`."""
        return Books.exists(root / BOOKS)

    @classmethod
    def open(cls, root: Path) -> "FlowStore":
        """Open the books of `root`.

        Raises:
            StoreError: there are none, or they are of another version.
        """
        return cls(Books.open(root / BOOKS))

    @property
    def out(self) -> Path:
        """The folder that the user named."""
        return self.root.parent

    def with_origin(self, origin: Origin) -> "FlowStore":
        """Return the same store, to be gone on with by another origin."""
        return FlowStore(replace(self.books, origin=origin))

    def output(self, video: str) -> Path:
        """Return the folder or file of a video, there or not."""
        settings = FlowFileSettings.from_dict(self.origin.settings)
        if settings.format in FOLDER_FORMATS:
            return self.out / video
        return self.out / f"{video}{settings.step_mark}.{settings.format}"

    def check_ids(self, videos: Iterable[str]) -> None:
        """See that no video's folder would lie inside another's.

        Raises:
            ConfigError: one would.
        """
        if self.origin.settings["format"] not in FOLDER_FORMATS:
            return
        ids = set(videos)
        for video in sorted(ids):
            for parent in (parent.as_posix() for parent in Path(video).parents):
                if parent in ids:
                    raise ConfigError(
                        f"the folder of video {video!r} would lie inside the folder of video {parent!r}; "
                        "use `keep_suffix`, which keeps suffixes in ids, or `format` npy or h5"
                    )

    def workplace(self, shard: str) -> Path:
        """Return a new path on the same file system for an output that is being made."""
        return temporary_beside(self.root / "making" / shard)

    def put(self, made: Path, video: str) -> tuple[str, int]:
        """Give a finished output its place in one step.

        Returns:
            sha256 and size in bytes.

        Raises:
            ResourceError: the file system refused.
        """
        target = self.output(video)
        with refusals(target):
            digest = output_digest(made)
            target.parent.mkdir(parents=True, exist_ok=True)
            if made.is_dir():
                self._put_folder(made, target)
            else:
                commit(made, target)
        return digest

    def _put_folder(self, made: Path, target: Path) -> None:
        old = self.workplace("old")
        if target.is_dir():
            target.rename(old)
        commit(made, target)  # its pictures are not made durable one by one: their digest tells when one is lost
        if old.is_dir():
            for stranger in [child for child in old.iterdir() if not _OURS.fullmatch(child.name)]:
                stranger.rename(target / stranger.name)  # what the user put there is the user's
            remove_output(old)

    def sweep(self) -> None:
        """Remove what killed processes left half made; hold the lock."""
        for leftover in (self.root / "making").glob(".*.tmp"):
            remove_output(leftover)
        self.books.sweep()

    def trouble(self, report: ShardReport) -> str:
        """Say what is wrong with a video's files; empty when they are byte for byte what was written."""
        if not report.rows:
            return ""  # a failed video has none
        path = self.output(report.segments[0].video)
        try:
            sha256, size_bytes = output_digest(path)
        except OSError as error:
            return str(error)
        if size_bytes != report.size_bytes:
            return f"{path}: {size_bytes} bytes, not the {report.size_bytes} that were written"
        return "" if sha256 == report.sha256 else f"{path}: its sha256 is not the one that was written"


def output_digest(path: Path) -> tuple[str, int]:
    """Return sha256 and size in bytes of a file, or of all files of ours in a folder, their names included.

    Raises:
        OSError: it is not there, or can not be read.
    """
    if not path.is_dir():
        return file_digest(path)
    whole, total = hashlib.sha256(), 0
    for name in sorted(child.name for child in path.iterdir() if _OURS.fullmatch(child.name)):
        sha256, size_bytes = file_digest(path / name)
        whole.update(f"{name} {size_bytes} {sha256}\n".encode())
        total += size_bytes
    return whole.hexdigest(), total


def remove_output(path: Path) -> None:
    """Remove an output, there or not; in a folder only what vidu-pipe writes is removed.

    Raises:
        ResourceError: the file system refused.
    """
    with refusals(path, "remove"):
        if not path.is_dir():
            path.unlink(missing_ok=True)
            return
        for child in list(path.iterdir()):
            if _OURS.fullmatch(child.name):
                child.unlink()
    try:
        path.rmdir()
    except OSError:
        logger.warning("%s holds files that are not vidu-pipe's; it is left", path)


AnyStore = Store | FlowStore
STORES: dict[str, type[Store] | type[FlowStore]] = {"extract": Store, "flow": FlowStore}


def open_any(root: Path) -> AnyStore:
    """Open whatever vidu-pipe made in `root`.

    Raises:
        StoreError: nothing, or by another version.
    """
    for kind in STORES.values():
        if kind.exists(root):
            return kind.open(root)
    raise StoreError(f"no store in {root} (it has no store.json); `vidu-pipe extract` with `out` {root} makes one")
