"""The books of a store: what made it, its plan, and what became of every task. All stores hold them, each its own way.

    store.json                what made it: kind, settings, digest, software
    plan.jsonl                videos, failures and shards (schemas/plan.py)
    reports/<name>.json       what became of each segment, and the checksum of what was made
    .lock                     held while a job writes

Each is written whole or not at all.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from schemas.disk.files import is_there, locked, make_folder, reading, refusals, remove_leftovers, write_lines
from schemas.disk.shard import Origin
from schemas.errors import ConfigError, ResourceError, StoreError
from schemas.plain import Plain, read_json, to_record
from schemas.plan import Plan, ShardReport

STORE_FORMAT = "vidu-pipe store"
STORE_SCHEMA = 2


@dataclass(frozen=True, slots=True)
class Books:
    """Made by `create`, found again by `open`.

    Attributes:
        root: their folder.
        origin: what made the store.
    """

    root: Path
    origin: Origin

    @classmethod
    def create(cls, root: Path, origin: Origin, folders: Sequence[str]) -> "Books":
        """Begin a store of these folders in a directory that is new, empty, or holds only what a killed `create` left.

        Raises:
            ConfigError: the directory holds something else.
            ResourceError: it can not be made, or another process is making one there.
        """
        make_folder(root)
        with refusals(root, "read"):
            strangers = sorted(
                child.name
                for child in root.iterdir()
                if child.name not in (*folders, "store.json") and not child.name.startswith(".")
            )
        if strangers:
            raise ConfigError(
                f"{root} is not a store, and not empty ({', '.join(strangers[:3])} ...); choose another `out`"
            )
        books = cls(root, origin)
        with books.lock():
            if books.is_seen():
                raise ResourceError(f"another process has just made a store in {root}; run the same command again")
            for folder in folders:
                make_folder(root / folder)
            head = {"format": STORE_FORMAT, "schema": STORE_SCHEMA} | asdict(origin)
            write_lines(root / "store.json", [json.dumps(head, indent=1)])
        return books

    @classmethod
    def exists(cls, root: Path) -> bool:
        """Tell whether a store was begun in `root`."""
        return is_there(root / "store.json")

    @classmethod
    def open(cls, root: Path) -> "Books":
        """Open the books of a store.

        Raises:
            StoreError: there is none, or it is of another version.
        """
        path = root / "store.json"
        if not is_there(path):
            raise StoreError(
                f"no store in {root} (it has no store.json); `vidu-pipe extract` with `out` {root} makes one"
            )
        head = read_json(path, Plain)
        version = head.get("format"), head.get("schema")
        if version != (STORE_FORMAT, STORE_SCHEMA):
            raise StoreError(
                f"{path}: format {version[0]!r} schema {version[1]!r}; this version reads "
                f"{STORE_FORMAT!r} schema {STORE_SCHEMA}. Make the store anew in another folder, or "
                "read it with the version that made it"
            )
        try:
            origin = to_record({name: head[name] for name in head.keys() - {"format", "schema"}}, Origin)
        except ValueError as error:
            raise StoreError(f"{path} is damaged: {error}") from error
        return cls(root, origin)

    def is_seen(self) -> bool:
        """Tell whether this machine sees the store's folder."""
        return is_there(self.root / "store.json")

    def sweep(self) -> None:
        """Remove what killed processes left half written; hold the lock."""
        with refusals(self.root, "read"):
            folders = [child for child in self.root.iterdir() if child.is_dir()]
        for folder in (self.root, *folders):
            remove_leftovers(folder)

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

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for writing; the kernel lets go when the owner dies, however it dies.

        Raises:
            BusyError: another process holds it; the message names that process.
            ResourceError: it can not be written at all.
        """
        with locked(self.root / ".lock", self.root):
            yield
