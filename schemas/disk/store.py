"""A store on disk. The only file that knows its directory.

    store.json plan.jsonl reports/ .lock      (schemas/disk/books.py)
    shards/<name>.h5                          (schemas/disk/shard.py)

A shard is done when its report is there and the file has the size and sha256 that the report tells. Reports are written
last, so a process killed at any point leaves a shard that is done, or one that will be made again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from schemas.disk.books import Books
from schemas.disk.files import file_digest
from schemas.disk.shard import Origin, check_shard, open_shard
from schemas.errors import ResourceError, StoreError
from schemas.plan import ShardReport, Video


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of one video's moments that lies in one shard.

    Attributes:
        shard: the shard's name.
        start: first moment, counted in the video.
        row_start: first row in the shard.
        row_stop: one past the last row.
        outcome: `ok` or `partial`.
    """

    shard: str
    start: int
    row_start: int
    row_stop: int
    outcome: str


@dataclass(frozen=True, slots=True)
class VideoRows:
    """Where the features of one video lie.

    Attributes:
        id: the video's id.
        path: absolute path of the file, as the plan has it.
        label: from the plan, so from the last CSV that named the video; empty when none did.
        split: from the plan; empty when none was given.
        group: from the plan; empty when none was given.
        attempt: of the video.
        outcome: `ok`, or `partial` when moments that were planned are not there, or the file is damaged.
        pieces: in order of moments.
    """

    id: str
    path: str
    label: str
    split: str
    group: str
    attempt: int
    outcome: str
    pieces: tuple[Piece, ...]

    @property
    def moments(self) -> int:
        """Rows of the video over all pieces."""
        return sum(piece.row_stop - piece.row_start for piece in self.pieces)


class Store:
    """A feature store: made by `create`, found again by `open`.

    Attributes:
        books: its plan and reports.
        root: its directory.
        origin: what made it.
    """

    def __init__(self, books: Books) -> None:
        """Use `create` or `open`."""
        self.books = books
        self.root, self.origin = books.root, books.origin

    @classmethod
    def create(cls, root: Path, origin: Origin) -> "Store":
        """Make an empty store in a directory that is new, empty, or holds only what a killed `create` left.

        Raises:
            ConfigError: the directory holds something else.
            ResourceError: it can not be made, or another process is making one there.
        """
        return cls(Books.create(root, origin, ("shards", "reports")))

    @classmethod
    def exists(cls, root: Path) -> bool:
        """Tell whether a store was begun in `root`."""
        return Books.exists(root)

    @classmethod
    def open(cls, root: Path) -> "Store":
        """Open a store.

        Raises:
            StoreError: there is none, or it is of another version.
        """
        return cls(Books.open(root))

    @property
    def out(self) -> Path:
        """The folder that the user named."""
        return self.root

    def with_origin(self, origin: Origin) -> "Store":
        """Return the same store, to be gone on with by another origin."""
        return Store(replace(self.books, origin=origin))

    def sweep(self) -> None:
        """Remove what killed processes left half written; hold the lock."""
        self.books.sweep()

    def shard_path(self, shard: str) -> Path:
        """Return the file of a shard, there or not."""
        return self.root / "shards" / f"{shard}.h5"

    def trouble(self, report: ShardReport) -> str:
        """Say what is wrong with a reported shard; empty when its file is byte for byte what was written."""
        path = self.shard_path(report.shard)
        try:
            if path.stat().st_size != report.size_bytes:
                return f"{path}: {path.stat().st_size} bytes, not the {report.size_bytes} that were written"
            if file_digest(path)[0] != report.sha256:
                return f"{path}: its sha256 is not the one that was written"
            check_shard(path)
        except (OSError, ResourceError, StoreError) as error:
            return str(error)
        return ""

    def video_rows(self) -> list[VideoRows]:
        """Tell where every video's rows lie, sorted by id; videos without a row are left out.

        Of a video that was planned more than once only the last attempt counts.

        Raises:
            StoreError: a shard that is reported can not be read.
        """
        plan = self.books.read_plan()
        latest, found = plan.latest(), dict[str, list[Piece]]()
        for task in plan.live_shards:
            if self.books.report(task.shard) is None:
                continue
            with open_shard(self.shard_path(task.shard)) as shard:
                ids, attempts = shard.videos["id"], shard.videos["attempt"]
                for segment in shard.segments:
                    video = latest.get(ids[segment.video])
                    if video is None:
                        raise StoreError(
                            f"{shard.path}: holds {ids[segment.video]!r}, which the plan does not know; "
                            "run extract again to remake it"
                        )
                    if attempts[segment.video] == video.attempt:
                        piece = Piece(task.shard, segment.start, segment.row_start, segment.row_stop, segment.outcome)
                        found.setdefault(video.id, []).append(piece)
        rows = (_rows_of(latest[video], found[video]) for video in sorted(found))
        return [video for video in rows if video.pieces]


def _rows_of(video: Video, pieces: Iterable[Piece]) -> VideoRows:
    ordered = sorted(pieces, key=lambda piece: piece.start)
    whole = (
        all(piece.outcome == "ok" for piece in ordered)
        and sum(piece.row_stop - piece.row_start for piece in ordered) == video.moments
    )
    kept = tuple(piece for piece in ordered if piece.row_stop > piece.row_start)
    return VideoRows(
        video.id, video.path, video.label, video.split, video.group, video.attempt, "ok" if whole else "partial", kept
    )
