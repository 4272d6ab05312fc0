"""The engine for debugging, tiny jobs and notebooks: everything in this process, one shard after the other, no Ray."""

import traceback
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.jobs.engine import Died, Done, Event, Lost, Told
from schemas.disk.flow_store import AnyStore
from schemas.errors import ViduError, is_machines
from schemas.plan import ShardReport, ShardTask
from workers.products import PRODUCTS, TaskTools


@dataclass(frozen=True, slots=True)
class InlineEngine:
    """Makes shards in this process. It has no one to survive a decoder that ends its process.

    Attributes:
        tools: what all shards share.
        store: where to.
        retries: how often a shard is begun again after the machine failed.
        slots: one at a time.
    """

    tools: TaskTools
    store: AnyStore
    retries: int = 2
    slots: int = 1

    def run(self, tasks: Sequence[ShardTask]) -> Iterator[Event]:
        """Make shards in the plan's order."""
        for task in tasks:
            yield from self._made(task)

    def _made(self, task: ShardTask) -> Iterator[Event]:
        """Make a shard, again where the machine failed; at last without the videos that it can not bear."""
        why, trace = yield from self._tried(task)
        for _ in range(self.retries):
            if trace or not why:
                break
            yield Died(task, why)
            why, trace = yield from self._tried(task)
        if why and not trace and (deadly := self._deadly(task)):
            yield Died(task, why)
            why, trace = yield from self._tried(replace(task, excluded=task.excluded | deadly))
        if why:
            yield Lost(task, why, trace)

    def _tried(self, task: ShardTask) -> Generator[Event, None, tuple[str, str]]:
        """Make a shard; return why that failed and, of a bug, its trace: both empty when it is made."""
        try:
            for event in PRODUCTS[self.tools.settings.kind].make(task, self.tools, self.store):
                yield Done(event) if isinstance(event, ShardReport) else Told(task, event)
        except Exception as error:  # a bug must not cost the other shards; it is shown
            if isinstance(error, ViduError) and not is_machines(error):
                raise
            return repr(error), "" if is_machines(error) else traceback.format_exc()
        return "", ""

    def _deadly(self, task: ShardTask) -> frozenset[str]:
        """Find the videos that the machine can not bear, each tried alone; none where it fails without any too."""
        if self._fails(replace(task, segments=())):
            return frozenset()
        return frozenset(
            video.id
            for video in task.videos
            if video.id not in task.excluded
            and self._fails(
                replace(task, segments=tuple(segment for segment in task.segments if segment.video == video.id))
            )
        )

    def _fails(self, task: ShardTask) -> bool:
        try:
            for _ in PRODUCTS[self.tools.settings.kind].rehearse(task, self.tools):
                pass
        except Exception as error:  # noqa: BLE001 - a bug is shown when the shard is made
            return is_machines(error)
        return False
