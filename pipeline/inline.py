"""The engine for debugging, tiny jobs and notebooks: everything in this process, one shard after the other, no Ray."""

import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.events import Died, Done, Event, Lost, Told
from schemas.errors import ViduError, is_machines
from schemas.plan import ShardReport, ShardTask
from schemas.store import Store
from workers.products import PRODUCTS


@dataclass(frozen=True, slots=True)
class InlineEngine:
    """Makes shards in this process. It has no one to survive a decoder that ends its process.

    Attributes:
        tools: what all shards share.
        store: where to.
        retries: how often a shard is begun again after the machine failed.
        slots: one at a time.
    """

    tools: Any
    store: Store
    retries: int = 2
    slots: int = 1

    def run(self, tasks: Sequence[ShardTask]) -> Iterator[Event]:
        """Make shards in the plan's order."""
        for task in tasks:
            yield from self._made(task)

    def _made(self, task: ShardTask) -> Iterator[Event]:
        for left in range(self.retries, -1, -1):
            try:
                for event in PRODUCTS[self.tools.settings.kind].make(task, self.tools, self.store):
                    yield Done(event) if isinstance(event, ShardReport) else Told(task, event)
            except Exception as error:  # a bug must not cost the other shards; it is shown
                if isinstance(error, ViduError) and not is_machines(error):
                    raise
                why, trace = repr(error), "" if is_machines(error) else traceback.format_exc()
            else:
                return
            if trace or not left:
                yield Lost(task, why, trace)
                return
            yield Died(task, why)
