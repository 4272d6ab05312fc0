"""Read a store with nothing but h5py: `python -m examples.read_store features`.

Prints one line a video: id, moments, time of the first and last moment, and the shape of every stream.
"""

import json
import logging
import sys
from pathlib import Path

import h5py


def main() -> None:
    """Walk over all shards of the store named on the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for path in sorted(Path(sys.argv[1], "shards").glob("*.h5")):
        with h5py.File(path) as shard:
            ids = shard["videos/id"].asstr()[:]
            columns = (shard["segments"][name][:] for name in ("video", "row_start", "row_stop"))
            for video, start, stop in zip(*columns, strict=True):
                pts_s = shard["moments/pts_s"][start:stop]
                streams = {name: shard["streams"][name][start:stop].shape for name in shard.attrs["streams"]}
                span = f"{pts_s[0]:.2f} to {pts_s[-1]:.2f} s" if len(pts_s) else "no moment"
                logging.info("%s: %d moments, %s, %s", ids[video], stop - start, span, json.dumps(streams))


if __name__ == "__main__":
    main()
