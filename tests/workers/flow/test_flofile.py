import struct

import cv2
import numpy as np
import pytest

from schemas.errors import ResourceError, StoreError
from workers.flow.files.flo import read_flo, write_flo


@pytest.fixture
def field():
    return np.random.default_rng(0).normal(0, 5, (2, 7, 11)).astype(np.float32)


def test_a_field_written_and_read_is_the_same_field(tmp_path, field):
    write_flo(tmp_path / "a.flo", field)
    np.testing.assert_array_equal(read_flo(tmp_path / "a.flo"), field)


def test_the_file_is_laid_out_as_middlebury_says(tmp_path, field):
    write_flo(tmp_path / "a.flo", field)
    data = (tmp_path / "a.flo").read_bytes()
    assert data[:4] == b"PIEH"
    assert struct.unpack_from("<2i", data, 4) == (11, 7)
    row, column = 3, 5
    assert struct.unpack_from("<2f", data, 12 + 8 * (row * 11 + column)) == tuple(field[:, row, column].tolist())


def test_opencv_reads_what_we_write_and_we_read_what_opencv_writes(tmp_path, field):
    write_flo(tmp_path / "ours.flo", field)
    np.testing.assert_array_equal(cv2.readOpticalFlow(str(tmp_path / "ours.flo")).transpose(2, 0, 1), field)
    cv2.writeOpticalFlow(str(tmp_path / "theirs.flo"), np.ascontiguousarray(field.transpose(1, 2, 0)))
    np.testing.assert_array_equal(read_flo(tmp_path / "theirs.flo"), field)


def test_the_ground_truth_of_middlebury_is_read(shared_data):
    path = shared_data / "flow/middlebury/RubberWhale/flow10.flo"
    flow = read_flo(path)
    assert flow.shape == (2, 388, 584)
    np.testing.assert_array_equal(flow, cv2.readOpticalFlow(str(path)).transpose(2, 0, 1))
    unknown = (np.abs(flow) > 1e9).any(axis=0)
    assert 0 < unknown.mean() < 0.1
    assert np.abs(flow[:, ~unknown]).max() < 10


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PIE",
        b"HEIP" + bytes(40),
        b"PIEH" + struct.pack("<2i", 3, 2) + bytes(47),
        b"PIEH" + struct.pack("<2i", 3, 2) + bytes(49),
        b"PIEH" + struct.pack("<2i", -1, 2),
        b"PIEH" + struct.pack("<2i", 0, 0),
    ],
)
def test_files_that_are_no_flo_or_cut_short_are_refused(tmp_path, data):
    (tmp_path / "bad.flo").write_bytes(data)
    with pytest.raises(StoreError, match=r"bad\.flo"):
        read_flo(tmp_path / "bad.flo")


def test_a_missing_file_and_a_missing_folder_are_named(tmp_path, field):
    with pytest.raises(StoreError, match=r"none\.flo"):
        read_flo(tmp_path / "none.flo")
    with pytest.raises(ResourceError, match="nowhere"):
        write_flo(tmp_path / "nowhere" / "a.flo", field)
