"""Shards from anybody: nothing in them is followed out of the file, and no size or range is believed unseen."""

import json

import h5py
import numpy as np
import pytest

from pipeline.exchange.exporting import export_store
from schemas.disk.files import file_digest
from schemas.disk.shard import check_shard, open_shard
from schemas.disk.store import Store
from schemas.errors import StoreError
from tests.builders import a_store, a_task

SECRET = b"what nobody else may read" * 100


def replaced(file, name, make):
    del file[name]
    make(file, name)


def raw_storage(file, name, secret):
    replaced(
        file, name, lambda file, name: file.create_dataset(name, (8, 8), "float16", external=[(str(secret), 0, 128)])
    )


def virtual(file, name, secret):
    with h5py.File(secret.with_suffix(".h5"), "w") as other:
        other["data"] = np.zeros((8, 8), np.float16)
    layout = h5py.VirtualLayout((8, 8), "float16")
    layout[:] = h5py.VirtualSource(secret.with_suffix(".h5"), "data", (8, 8))
    replaced(file, name, lambda file, name: file.create_virtual_dataset(name, layout))


def external_link(file, name, secret):
    with h5py.File(secret.with_suffix(".h5"), "w") as other:
        other["data"] = np.zeros((8, 8), np.float16)
    replaced(
        file,
        name,
        lambda file, name: file.__setitem__(name, h5py.ExternalLink(str(secret.with_suffix(".h5")), "/data")),
    )


def soft_link(file, name, secret):
    replaced(file, name, lambda file, name: file.__setitem__(name, h5py.SoftLink("/elsewhere")))
    file["elsewhere"] = np.zeros((8, 8), np.float16)


def linked_group(file, name, secret):
    file.move("streams", "elsewhere")
    file["streams"] = h5py.SoftLink("/elsewhere")


def compressed(file, name, secret):
    replaced(
        file, name, lambda file, name: file.create_dataset(name, data=np.zeros((8, 8), np.float16), compression="gzip")
    )


def no_bytes_behind(file, name, secret):
    replaced(file, name, lambda file, name: file.create_dataset(name, (8, 1 << 40), "float16", chunks=(1, 1 << 16)))


def other_type(file, name, secret):
    replaced(file, name, lambda file, name: file.create_dataset(name, data=np.zeros((8, 8), np.complex64)))


def stream_of_another_place(file, name, secret):
    file["outside"] = np.zeros((8, 8), np.float16)
    file.attrs["streams"] = ["../outside", "flow"]


def settings_that_are_none(file, name, secret):
    file.attrs["settings"] = "[]"


TRICKS = [
    raw_storage,
    virtual,
    external_link,
    soft_link,
    linked_group,
    compressed,
    no_bytes_behind,
    other_type,
    stream_of_another_place,
    settings_that_are_none,
]


def changed(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def accepted(store):
    """The report that a liar would write beside the shard."""
    path = store.root / "reports/000000.json"
    sha256, size_bytes = file_digest(store.shard_path("000000"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": sha256, "size_bytes": size_bytes}))
    return store.books.report("000000")


def refused_everywhere(store, out):
    path = store.shard_path("000000")
    assert "run extract again" in store.trouble(accepted(store))
    with pytest.raises(StoreError, match=r"000000\.h5"):
        check_shard(path)
    with pytest.raises(StoreError, match=r"000000\.h5"):
        export_store(store, out)
    assert not [file for file in out.rglob("*") if file.is_file()]


@pytest.mark.parametrize("trick", TRICKS)
def test_what_leads_out_of_a_shard_is_refused_by_verify_and_by_export(tmp_path, trick):
    store = a_store(tmp_path / "store", a_task(videos=("a", "b")))
    (tmp_path / "secret").write_bytes(SECRET)
    changed(store.shard_path("000000"), lambda file: trick(file, "streams/rgb", tmp_path / "secret"))
    refused_everywhere(store, tmp_path / "out")


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("segments/row_start", [-5, 4]),
        ("segments/row_stop", [4, 9]),
        ("segments/row_start", [4, 0]),
        ("segments/start", [-1, 0]),
        ("segments/stop", [2**62, 4]),
        ("segments/video", [0, 2]),
        ("segments/video", [-1, 0]),
        ("segments/video", [0.0, 1.0]),
        ("segments/outcome", ["ok", "fine"]),
        ("moments/pts_s", [np.inf] * 8),
        ("moments/frame", [0] * 7),
        ("videos/id", ["a"]),
        ("videos/attempt", [[0, 0]]),
        ("moments/frame", [-7] * 8),
    ],
)
def test_ranges_and_values_that_can_not_be_are_refused(tmp_path, table, values):
    store = a_store(tmp_path / "store", a_task(videos=("a", "b")))
    changed(
        store.shard_path("000000"),
        lambda file: replaced(
            file,
            table,
            lambda file, name: file.__setitem__(name, np.array(values, object if isinstance(values[0], str) else None)),
        ),
    )
    refused_everywhere(store, tmp_path / "out")


@pytest.mark.parametrize(("table", "values"), [("segments/row_start", [0, 4]), ("moments/pts_s", [np.nan] * 8)])
def test_tables_written_anew_with_legal_values_are_read(tmp_path, table, values):
    store = a_store(tmp_path / "store", a_task(videos=("a", "b")))
    changed(
        store.shard_path("000000"),
        lambda file: replaced(file, table, lambda file, name: file.__setitem__(name, np.array(values))),
    )
    assert store.trouble(accepted(store)) == ""


@pytest.mark.parametrize(("start", "stop"), [(-5, 3), (-1, None), (0, 9), (5, 2), (9, None)])
def test_rows_that_are_not_there_are_never_read(tmp_path, start, stop):
    store = a_store(tmp_path / "store", a_task(videos=("a", "b")))
    with open_shard(store.shard_path("000000")) as shard:
        for read in (shard.moments, lambda *rows: shard.features("rgb", *rows)):
            with pytest.raises(StoreError, match="8"):
                read(start, stop)
        if stop is not None:
            with pytest.raises(StoreError, match="8"):
                shard.read_into("rgb", np.zeros((9, 8), np.float16), start, stop)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"a"', '"../a"'), ('"a"', '"/a"'), ('"a"', '"x/../../a"'), ('"a"', '""'), ('"000000"', '"../000000"')],
)
def test_a_plan_whose_names_lead_out_of_its_folder_is_refused(tmp_path, old, new):
    path = a_store(tmp_path / "store", a_task(videos=("a",))).root / "plan.jsonl"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(StoreError, match=r"plan\.jsonl: line \d"):
        Store.open(tmp_path / "store").books.read_plan()
