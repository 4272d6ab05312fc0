"""A store on disk. The only file that knows its directory.

    store.json                what made it: kind, settings, digest, software
    plan.jsonl                videos, failures and shards (schemas/plan.py)
    shards/<name>.h5          (schemas/disk/shard.py)
    reports/<name>.json       what became of each segment, and the shard's sha256
    .lock                     held while an extract writes

A shard is done when its report is there and the file has the size and sha256 that the report tells. Reports are written
last, so a process killed at any point leaves a shard that is done, or one that will be made again.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

from schemas.disk.files import (
    file_digest,
    is_there,
    locked,
    make_folder,
    reading,
    refusals,
    remove_leftovers,
    write_lines,
)
from schemas.disk.shard import Origin, check_shard, open_shard
from schemas.errors import ConfigError, ResourceError, StoreError
from schemas.plain import Plain, read_json, to_record
from schemas.plan import Plan, ShardReport, Video

STORE_FORMAT = "vidu-pipe store"
STORE_SCHEMA = 2


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
        root: its directory.
        origin: what made it.
    """

    folders: ClassVar[tuple[str, ...]] = ("shards", "reports")

    def __init__(self, root: Path, origin: Origin) -> None:
        """Use `create` or `open`."""
        self.root = root
        self.origin = origin

    @classmethod
    def create(cls, root: Path, origin: Origin) -> Self:
        """Make an empty store in a directory that is new, empty, or holds only what a killed `create` left.

        Raises:
            ConfigError: the directory holds something else.
            ResourceError: it can not be made, or another process is making one there.
        """
        make_folder(root)
        with refusals(root, "read"):
            strangers = sorted(child.name for child in root.iterdir()
                               if child.name not in (*cls.folders, "store.json") and not child.name.startswith("."))
        if strangers:
            raise ConfigError(f"{root} is not a store, and not empty ({', '.join(strangers[:3])} ...); "
                              "choose another `out`")
        store = cls(root, origin)
        with store.lock():
            if store.is_seen():
                raise ResourceError(f"another process has just made a store in {root}; run the same command again")
            for folder in cls.folders:
                make_folder(root / folder)
            head = {"format": STORE_FORMAT, "schema": STORE_SCHEMA} | asdict(origin)
            write_lines(root / "store.json", [json.dumps(head, indent=1)])
        return store

    @classmethod
    def exists(cls, root: Path) -> bool:
        """Tell whether a store was begun in `root`."""
        return is_there(root / "store.json")

    @classmethod
    def open(cls, root: Path) -> Self:
        """Open a store.

        Raises:
            StoreError: there is none, or it is of another version.
        """
        path = root / "store.json"
        if not is_there(path):
            raise StoreError(f"no store in {root} (it has no store.json); `vidu-pipe extract` with `out` {root} makes "
                             "one")
        head = read_json(path, Plain)
        version = head.get("format"), head.get("schema")
        if version != (STORE_FORMAT, STORE_SCHEMA):
            raise StoreError(f"{path}: format {version[0]!r} schema {version[1]!r}; this version reads "
                             f"{STORE_FORMAT!r} schema {STORE_SCHEMA}. Make the store anew in another folder, or "
                             "read it with the version that made it")
        try:
            origin = to_record({name: head[name] for name in head.keys() - {"format", "schema"}}, Origin)
        except ValueError as error:
            raise StoreError(f"{path} is damaged: {error}") from error
        return cls(root, origin)

    @property
    def out(self) -> Path:
        """The folder that the user named."""
        return self.root

    def is_seen(self) -> bool:
        """Tell whether this machine sees the store's folder."""
        return is_there(self.root / "store.json")

    def with_origin(self, origin: Origin) -> Self:
        """Return the same store, to be gone on with by another origin."""
        return type(self)(self.root, origin)

    def sweep(self) -> None:
        """Remove what killed processes left half written; hold the lock."""
        for folder in (self.root, *(self.root / name for name in self.folders)):
            remove_leftovers(folder)

    def shard_path(self, shard: str) -> Path:
        """Return the file of a shard, there or not."""
        return self.root / "shards" / f"{shard}.h5"

    def read_plan(self) -> Plan:
        """Read the plan.

        Raises:
            StoreError: there is none, or it is damaged.
        """
        path = self.root / "plan.jsonl"
        if not is_there(path):
            raise StoreError(f"{self.root} was begun but has no plan yet; run extract again")
        try:
            with reading(path), path.open(encoding="utf-8") as lines:
                return Plan.from_json_lines(lines)
        except StoreError as error:
            raise StoreError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error

    def write_plan(self, plan: Plan) -> None:
        """Replace the plan in one atomic step."""
        write_lines(self.root / "plan.jsonl", plan.to_json_lines())

    def write_report(self, report: ShardReport) -> None:
        """Write the report that makes a shard count."""
        write_lines(self.root / "reports" / f"{report.shard}.json", [report.to_json()])

    def report(self, shard: str) -> ShardReport | None:
        """Return the report of a shard, or None when there is none or it is damaged: the shard is not done.

        Raises:
            ResourceError: the machine does not let us read it.
        """
        try:
            return read_json(self.root / "reports" / f"{shard}.json", ShardReport)
        except StoreError:
            return None

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
        plan = self.read_plan()
        latest, found = plan.latest(), dict[str, list[Piece]]()
        for task in plan.live_shards:
            if self.report(task.shard) is None:
                continue
            with open_shard(self.shard_path(task.shard)) as shard:
                ids, attempts = shard.videos["id"], shard.videos["attempt"]
                for segment in shard.segments:
                    video = latest.get(ids[segment.video])
                    if video is None:
                        raise StoreError(f"{shard.path}: holds {ids[segment.video]!r}, which the plan does not know; "
                                         "run extract again to remake it")
                    if attempts[segment.video] == video.attempt:
                        piece = Piece(task.shard, segment.start, segment.row_start, segment.row_stop, segment.outcome)
                        found.setdefault(video.id, []).append(piece)
        rows = (_rows_of(latest[video], found[video]) for video in sorted(found))
        return [video for video in rows if video.pieces]

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for writing; the kernel lets go when the owner dies, however it dies.

        Raises:
            BusyError: another process holds it; the message names that process.
            ResourceError: it can not be written at all.
        """
        with locked(self.root / ".lock", self.root):
            yield


def _rows_of(video: Video, pieces: Iterable[Piece]) -> VideoRows:
    ordered = sorted(pieces, key=lambda piece: piece.start)
    whole = (all(piece.outcome == "ok" for piece in ordered)
             and sum(piece.row_stop - piece.row_start for piece in ordered) == video.moments)
    kept = tuple(piece for piece in ordered if piece.row_stop > piece.row_start)
    return VideoRows(video.id, video.path, video.label, video.split, video.group, video.attempt,
                     "ok" if whole else "partial", kept)
