import errno
import os

import h5py
import numpy as np
import pytest

from schemas.disk.flow_arrays import H5Writer, NpyWriter, _Patient
from schemas.flow_config import FlowFileSettings
from schemas.frames import FlowBatch


def batches(*lengths, size=(5, 7)):
    random, first = np.random.default_rng(0), 0
    for length in lengths:
        flow = random.normal(0, 3, (length, 2, *size)).astype(np.float32)
        frame = np.arange(first, first + length)
        yield FlowBatch(frame, flow), frame / 25
        first += length


def written(writer, *lengths):
    for batch, pts_s in batches(*lengths):
        writer.add(batch, pts_s)
    writer.close()
    return np.concatenate([batch.flow for batch, _ in batches(*lengths)])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("lengths", [(1,), (3, 1, 8), (9, 90, 1)])
def test_an_npy_grows_to_the_length_that_came(tmp_path, dtype, lengths):
    settings = FlowFileSettings(format="npy", bound_px=None, dtype=dtype)
    expected = written(NpyWriter(tmp_path / "a", settings), *lengths)
    array = np.load(tmp_path / "a", mmap_mode="r")
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, expected.astype(dtype))


@pytest.mark.parametrize("capacity", [0, 100, 3000, 5000, 9000])
def test_hdf5_reads_back_what_a_disk_refused_and_the_writer_is_told(tmp_path, monkeypatch, capacity):
    def pwrite(handle, data, place):
        if place + len(data) > capacity:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(handle, data, place)

    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", pwrite)
    disk = _Patient(tmp_path / "a")
    with h5py.File(disk, "w") as file:
        file["table"] = np.arange(999)
        for number in range(30):
            file.attrs[f"name{number}"] = "x" * 99
    with h5py.File(disk, "r") as file:
        assert file["table"][:].tolist() == list(range(999))
        assert len(file.attrs) == 30
    with pytest.raises(OSError, match="No space left"):
        disk.complain()
    disk.close()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_h5_holds_fields_frames_times_and_settings(tmp_path, dtype):
    settings = FlowFileSettings(format="h5", bound_px=None, dtype=dtype)
    expected = written(H5Writer(tmp_path / "a", settings), 3, 1, 8)
    with h5py.File(tmp_path / "a") as file:
        assert file["flow"].dtype == dtype
        np.testing.assert_array_equal(file["flow"][:], expected.astype(dtype))
        assert file["frame"][:].tolist() == list(range(12))
        assert file["pts_s"][:].tolist() == [k / 25 for k in range(12)]
        assert file.attrs["digest"] == settings.digest


@pytest.mark.parametrize("writer", [NpyWriter, H5Writer])
def test_the_same_fields_in_other_portions_are_the_same_bytes(tmp_path, writer):
    kind = "npy" if writer is NpyWriter else "h5"
    settings = FlowFileSettings(format=kind, bound_px=None, dtype="float32")
    written(writer(tmp_path / "a", settings), 4, 4)
    written(writer(tmp_path / "b", settings), 1, 6, 1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("writer", [NpyWriter, H5Writer])
def test_without_a_field_there_is_no_file(tmp_path, writer):
    writer(tmp_path / "a", FlowFileSettings(format="npy", bound_px=None, dtype="float32")).close()
    assert not (tmp_path / "a").exists()
