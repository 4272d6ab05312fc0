"""The thin Ray skin around `make_shard`: a streaming task whose last word is the report."""

import time
from collections.abc import Iterator

import ray

from schemas.config import ExtractSettings
from schemas.errors import ResourceError
from schemas.plan import ShardReport, ShardTask
from schemas.store import Store
from workers.backbones import State
from workers.process import Progress, make_shard, rehearse
from workers.tools import Tools, make_tools, software

Weights = dict[str, State]
_TELL_EVERY_S = 0.5
_tools: dict[str, Tools] = {}  # one entry: a worker process serves one extraction


def shard_on_worker(
    task: ShardTask, settings: ExtractSettings, weights: list["ray.ObjectRef[Weights]"], store: Store,
) -> Iterator[Progress | ShardReport]:
    """Make one shard on whatever machine this is; run by Ray as a streaming task.

    Args:
        task: what to make.
        settings: of the extraction.
        weights: one reference to the state dicts; in a list, so that Ray hands over the reference itself and only
            a process that has no tools yet fetches them.
        store: where to; its folder is the same on every machine.

    Raises:
        ResourceError: this machine has other software, no GPU, or does not see the store.
    """
    yield from _seldom(make_shard(task, _worker_tools(settings, weights, store), store))


def rehearse_on_worker(
    task: ShardTask, settings: ExtractSettings, weights: list["ray.ObjectRef[Weights]"], store: Store,
) -> None:
    """Do all of a shard's work and write nothing: to find out which video ends the process that decodes it."""
    for _ in rehearse(task, _worker_tools(settings, weights, store)):
        pass


def _worker_tools(settings: ExtractSettings, weights: list["ray.ObjectRef[Weights]"], store: Store) -> Tools:
    if settings.digest not in _tools:
        if software() != store.origin.software:
            differ = sorted(set(software().items()) ^ set(store.origin.software.items()))
            raise ResourceError(f"this node's software is not the driver's, so its features could differ: {differ}")
        if not store.exists(store.root):
            raise ResourceError(f"this node does not see the store {store.root}: put --out on a file system all share")
        _tools.clear()
        _tools[settings.digest] = make_tools(settings, ray.get(weights[0]))
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
