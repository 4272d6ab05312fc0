"""Which stores a run was trained on, and whether the features of others are those that its model knows."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.learn.data.stores import Joined, streams_of
from pipeline.learn.runs.run import Run
from schemas.config import differences
from schemas.disk.shard import Origin
from schemas.errors import StoreError
from schemas.plain import to_record


@dataclass(frozen=True, slots=True)
class KnownStore(Origin):
    """What a run says of a store it was trained on.

    Attributes:
        path: where it was.
    """

    path: str


def known_stores(run: Run, streams: Collection[str] = ()) -> list[KnownStore]:
    """Return the stores that a run was trained on: all, or those that hold one of `streams`.

    Raises:
        StoreError: the run is damaged.
    """
    try:
        stores = [to_record(one, KnownStore) for one in run.settings["stores"]]
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{run.root / 'settings.json'} is damaged: of its stores, {error}") from error
    return [store for store in stores if not streams or not streams_of(store).keys().isdisjoint(streams)]


def open_stores(run: Run, roots: Sequence[Path], streams: Collection[str]) -> Joined:
    """Open the stores that are named, or else those that a run's model reads.

    Args:
        run: whose model it is.
        roots: directories of stores; none: where those of the run were.
        streams: of the model.

    Raises:
        ConfigError: the stores do not belong together.
        StoreError: one can not be read, or its features are not those the model knows; the message shows each
            difference.
    """
    known = known_stores(run, streams)
    stores = Joined.open(roots or [Path(store.path) for store in known])
    lines, there = dict[str, None](), set[str]()
    for store in stores.stores:
        for one in known:
            mine, theirs = streams_of(one), streams_of(store.origin)
            for name in [name for name in streams if name in mine and name in theirs]:
                there.add(name)
                lines |= dict.fromkeys(
                    [f"kind: {one.kind}, {store.origin.kind}"]
                    if one.kind != store.origin.kind
                    else differences(mine[name], theirs[name])
                )
    lines |= dict.fromkeys(f"stream {name}: there, absent" for name in streams if name not in there)
    if lines:
        raise StoreError(
            f"the features of {stores.name} are not those of {run.root}, which knows "
            f"{', '.join(streams)}; they differ in (model's, store's):\n  " + "\n  ".join(lines)
        )
    return stores


def is_own(run: Run, stores: Joined) -> bool:
    """Tell whether the videos of stores are those that a run was trained on: one of the stores is."""
    paths = {store.path for store in known_stores(run)}
    return any(str(store.root.resolve()) in paths for store in stores.stores)
