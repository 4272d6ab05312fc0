"""Real full disks: a tmpfs of a few KiB where the tests may mount one, and else a limit on the size of a file.

Each kind of file is written by a process of its own, because what is feared is that the process dies.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from schemas.disk.books import Books
from schemas.disk.files import refusals, write_csv
from schemas.disk.flow_arrays import H5Writer, NpyWriter
from schemas.disk.flow_store import remove_output
from schemas.disk.shard import SegmentRows, ShardContent, write_shard
from schemas.disk.store import Store
from schemas.errors import ResourceError
from schemas.flow_config import FlowFileSettings
from schemas.frames import FlowBatch
from tests.builders import ORIGIN, a_plan, a_task, a_video

ROOT = Path(__file__).parents[3]
SIZES_KIB = (4, 8, 16, 20, 32, 48, 80, 100)


def shard(folder):
    rows = SegmentRows(0, 0, 300, 0, 300, "ok")
    write_shard(
        folder / "s.h5",
        ShardContent(
            "000000",
            ORIGIN,
            (a_video(),),
            (rows,),
            np.arange(300),
            np.arange(300.0),
            {"rgb": np.ones((300, 300), np.float16)},
        ),
    )


def fields(folder, kind, writer_class):
    writer = writer_class(folder / "made", FlowFileSettings(format=kind, bound_px=None, dtype="float32"))
    try:
        with refusals(folder / "out"):
            try:
                for first in range(0, 40, 8):
                    flow = np.ones((8, 2, 25, 20), np.float32)
                    writer.add(FlowBatch(np.arange(first, first + 8), flow), np.arange(8.0))
            finally:
                writer.close()
    except ResourceError:
        remove_output(folder / "made")
        raise


def plan(folder):
    store = Store(Books(folder, ORIGIN))
    with store.books.lock():
        store.books.write_plan(a_plan(a_task(videos=tuple(f"{number:0200d}" for number in range(400)))))


WRITERS = {
    "shard": shard,
    "h5": lambda folder: fields(folder, "h5", H5Writer),
    "npy": lambda folder: fields(folder, "npy", NpyWriter),
    "plan": plan,
    "csv": lambda folder: write_csv(folder / "a.csv", [["x" * 1000]] * 200),
}


def outcomes(kind, folder, *, mounted):
    """For every size: the type of what is raised, whether its words name a way out, and what is left."""
    found = []
    for size in SIZES_KIB:
        if mounted:
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(folder)], check=True)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size * 1024, resource.RLIM_INFINITY))
        try:
            WRITERS[kind](folder)
            said = ""
        except ResourceError as error:
            said = str(error)
        left = sorted({child.name for child in folder.iterdir()} - {".lock"})
        found.append([str(folder) in said and "same command again" in said, left])
    return found


def told(kind, folder, *, mounted):
    code = (
        f"import json, pathlib; from {__name__} import outcomes; "
        f"print(json.dumps(outcomes({kind!r}, pathlib.Path({str(folder)!r}), mounted={mounted})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_disk_that_is_really_full_is_a_resource_error_and_nothing_is_left(small_disk, kind):
    assert told(kind, small_disk, mounted=True) == [[True, []]] * len(SIZES_KIB)


@pytest.mark.parametrize("kind", ["shard", "h5"])
def test_a_limit_on_the_size_of_files_is_a_resource_error_and_nothing_is_left(tmp_path, kind):
    assert told(kind, tmp_path, mounted=False) == [[True, []]] * len(SIZES_KIB)
