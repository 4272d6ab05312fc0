"""The engine for debugging, tiny jobs and notebooks: everything in this process, one shard after the other, no Ray."""

import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.events import Done, Event, Lost, Told
from schemas.errors import ViduError
from schemas.plan import ShardReport, ShardTask
from schemas.store import Store
from workers.products import PRODUCTS


@dataclass(frozen=True, slots=True)
class InlineEngine:
    """Makes shards in this process. It has no one to survive a decoder that ends its process."""

    tools: Any
    store: Store
    slots: int = 1

    def run(self, tasks: Sequence[ShardTask]) -> Iterator[Event]:
        """Make shards in the plan's order."""
        make = PRODUCTS[self.tools.settings.kind].make
        for task in tasks:
            try:
                for event in make(task, self.tools, self.store):
                    yield Done(event) if isinstance(event, ShardReport) else Told(task, event)
            except ViduError:
                raise
            except Exception as error:  # noqa: BLE001 - a bug must not cost the other shards; it is shown
                yield Lost(task, repr(error), traceback.format_exc())
