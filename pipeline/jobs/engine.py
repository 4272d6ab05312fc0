"""What an engine (Ray, or this process) says while it makes shards."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.plan import ShardReport, ShardTask
from workers.ledger import Progress


@dataclass(frozen=True, slots=True)
class Told:
    """A shard goes on."""

    task: ShardTask
    progress: Progress


@dataclass(frozen=True, slots=True)
class Done:
    """A shard is on disk."""

    report: ShardReport


@dataclass(frozen=True, slots=True)
class Died:
    """The machine took a shard's worker or failed it; all it told of this shard is void, and the shard begins again."""

    task: ShardTask
    why: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A shard is given up: the machine failed its worker too often, or the program has a bug (`trace` shows it)."""

    task: ShardTask
    why: str
    trace: str = ""


Event = Told | Done | Died | Lost


class Engine(Protocol):
    """Makes shards, somewhere."""

    def run(self, tasks: Sequence[ShardTask]) -> Iterator[Event]:
        """Make shards in any order; ends when every task is Done or Lost.

        Raises:
            ResourceError: no shard can be made at all.
        """
        ...

    @property
    def slots(self) -> int:
        """How many shards are made at a time."""
        ...
