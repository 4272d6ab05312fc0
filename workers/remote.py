"""The thin Ray skin around a product's `make`: a streaming task whose last word is the report."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import ray

from schemas.disk.flow_store import AnyStore
from schemas.errors import ResourceError
from schemas.flow_config import Settings
from schemas.plan import ShardReport, ShardTask
from workers.ledger import Progress
from workers.products import PRODUCTS

if TYPE_CHECKING:
    from workers.networks.engine import Network

Networks = dict[str, "Network | None"]
_TELL_EVERY_S = 0.5
_tools: dict[str, object] = {}  # one entry: a worker process serves one job


def shard_on_worker(
    tasks: tuple[ShardTask, ...],
    settings: Settings,
    networks: list["ray.ObjectRef[Networks]"],
    store: AnyStore,
) -> Iterator[Progress | ShardReport]:
    """Make a shard, and those that go on from it, on whatever machine this is; run by Ray as a streaming task.

    Args:
        tasks: what to make, in turn.
        settings: of the job.
        networks: one reference to them; in a list, so that Ray hands over the reference itself and only
            a process that has no tools yet fetches them.
        store: where to; its folder is the same on every machine.

    Raises:
        ResourceError: this machine has other software, no GPU, or does not see the store.
    """
    tools = _worker_tools(settings, networks, store)
    for task in tasks:
        yield from _seldom(PRODUCTS[settings.kind].make(task, tools, store))


def rehearse_on_worker(
    task: ShardTask,
    settings: Settings,
    networks: list["ray.ObjectRef[Networks]"],
    store: AnyStore,
) -> None:
    """Do all of a shard's work and write nothing: to find out which video ends the process that decodes it."""
    for _ in PRODUCTS[settings.kind].rehearse(task, _worker_tools(settings, networks, store)):
        pass


def _worker_tools(settings: Settings, networks: list["ray.ObjectRef[Networks]"], store: AnyStore) -> object:
    if settings.digest not in _tools:
        product = PRODUCTS[settings.kind]
        if product.software(settings) != store.origin.software:
            differ = sorted(set(product.software(settings).items()) ^ set(store.origin.software.items()))
            raise ResourceError(f"this node's software is not the driver's, so its results could differ: {differ}")
        if not store.books.is_seen():
            raise ResourceError(
                f"this node does not see the store {store.root}: put `out` on a file system that all share"
            )
        _tools.clear()
        _tools[settings.digest] = product.make_tools(settings, ray.get(networks[0]))
    return _tools[settings.digest]


def _seldom(events: Iterator[Progress | ShardReport]) -> Iterator[Progress | ShardReport]:
    """Join small progress into one word every half second: each word is a message to the driver."""
    frames, told = 0, time.monotonic()
    finished: tuple[tuple[str, str], ...] = ()
    for event in events:
        if isinstance(event, ShardReport):
            yield Progress(frames, finished)
            yield event
            return
        frames, finished = frames + event.frames, finished + event.finished
        if time.monotonic() - told > _TELL_EVERY_S:
            yield Progress(frames, finished)
            frames, finished, told = 0, (), time.monotonic()
