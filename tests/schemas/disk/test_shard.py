import errno
import hashlib
import json
import os
import random
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from schemas.disk import shard as shard_module
from schemas.disk.files import file_digest
from schemas.disk.shard import SegmentRows, ShardContent, check_shard, open_shard, write_shard
from schemas.errors import ResourceError, StoreError
from tests.builders import ORIGIN, PROBE, a_task, a_video, content_of
from tests.schemas.test_plan import names


@st.composite
def contents(draw):
    videos = draw(st.lists(st.builds(a_video, names, path=names, attempt=st.integers(0, 3)), max_size=4))
    counts = [draw(st.integers(0, 5)) for _ in range(draw(st.integers(0, 5)) if videos else 0)]
    segments, row = [], 0
    for count in counts:
        start = draw(st.integers(0, 9))
        segments.append(
            SegmentRows(
                draw(st.integers(0, len(videos) - 1)),
                start,
                start + count,
                row,
                row + count,
                "ok" if count else "failed",
            )
        )
        row += count
    random_numbers = np.random.default_rng(draw(st.integers(0, 99)))
    streams = {
        name: random_numbers.normal(size=(row, draw(st.integers(1, 9)))).astype(dtype)
        for name, dtype in (("rgb", "float16"), ("flow", "float32"))
    }
    return ShardContent(
        "000003",
        ORIGIN,
        tuple(videos),
        tuple(segments),
        np.arange(row, dtype=np.int64),
        random_numbers.normal(size=row),
        streams,
    )


@given(contents())
@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_shard_gives_back_what_was_written(tmp_path, content):
    path = tmp_path / "000003.h5"
    sha256, size_bytes = write_shard(path, content)
    assert (sha256, size_bytes) == (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
    check_shard(path)
    with open_shard(path) as shard:
        assert (shard.name, shard.origin, shard.rows) == ("000003", ORIGIN, len(content.frame))
        for column in ("id", "path", "attempt", "fingerprint"):
            assert shard.videos[column] == [getattr(video, column) for video in content.videos]
        for column in ("codec", "width", "height", "rotation", "fps", "duration_s", "frames"):
            assert shard.videos[column] == [getattr(video.probe, column) for video in content.videos]
        assert shard.segments == content.segments
        frame, pts_s = shard.moments()
        assert np.array_equal(frame, content.frame)
        assert np.array_equal(pts_s, content.pts_s)
        assert shard.dims == {name: features.shape[1] for name, features in content.streams.items()}
        for name, features in content.streams.items():
            assert shard.dtypes[name] == str(features.dtype)
            assert np.array_equal(shard.features(name), features)


def test_ranges_are_read_alone_and_straight_into_an_array_of_another_dtype(tmp_path):
    content = content_of(a_task(videos=("a", "b")))
    write_shard(tmp_path / "s.h5", content)
    out = np.full((5, 8), -1.0, np.float32)
    with open_shard(tmp_path / "s.h5") as shard:
        assert np.array_equal(shard.features("rgb", 2, 5), content.streams["rgb"][2:5])
        assert np.array_equal(shard.moments(2, 5)[0], content.frame[2:5])
        shard.read_into("rgb", out[1:4], 2, 5)
        shard.read_into("rgb", out[4:], 3, 3)
    assert np.array_equal(out[1:4], content.streams["rgb"][2:5].astype(np.float32))
    assert (out[[0, 4]] == -1).all()


def test_any_hdf5_tool_reads_the_documented_layout(tmp_path):
    content = content_of(a_task(videos=("a", "b")), {"b": ("partial", 2)})
    write_shard(tmp_path / "s.h5", content)
    with h5py.File(tmp_path / "s.h5") as file:
        assert dict(file.attrs) | {"streams": list(file.attrs["streams"])} == {
            "format": "vidu-pipe shard",
            "schema": 2,
            "shard": "000000",
            "kind": "extract",
            "digest": ORIGIN.digest,
            "settings": json.dumps(ORIGIN.settings, sort_keys=True),
            "streams": ["rgb", "flow"],
            "software": json.dumps(ORIGIN.software, sort_keys=True),
        }
        assert set(file) == {"videos", "segments", "moments", "streams"}
        assert file["videos/id"].asstr()[:].tolist() == ["a", "b"]
        assert file["videos/width"][:].tolist() == [64, 64]
        assert file["segments/outcome"].asstr()[:].tolist() == ["ok", "partial"]
        assert file["segments/row_start"][:].tolist() == [0, 4]
        assert file["segments/row_stop"][:].tolist() == [4, 6]
        assert file["moments/frame"].dtype == np.int64
        assert file["moments/pts_s"].dtype == np.float64
        assert len(file["streams/rgb"]) == len(file["streams/flow"]) == len(file["moments/frame"]) == 6
        assert file["streams/rgb"].fletcher32
        documented = set((shard_module.__doc__ or "").split())
        assert set(file["videos"]) | set(file["segments"]) <= documented


def test_the_same_content_gives_the_same_bytes(tmp_path):
    content = content_of(a_task())
    assert write_shard(tmp_path / "one.h5", content) == write_shard(tmp_path / "two.h5", content)


@pytest.mark.parametrize("rows", [0, 4, 3000])
def test_a_shard_is_the_bytes_that_hdf5_itself_would_write_into_a_file(tmp_path, rows):
    content = ShardContent(
        "000000",
        ORIGIN,
        (a_video(),),
        (SegmentRows(0, 0, rows, 0, rows, "ok"),),
        np.arange(rows),
        np.arange(float(rows)),
        {"rgb": np.full((rows, 300), 0.5, np.float32)},
    )
    write_shard(tmp_path / "memory.h5", content)
    with h5py.File(tmp_path / "file.h5", "w", libver=("v110", "v110")) as file:
        shard_module._fill(file, content)
    assert (tmp_path / "memory.h5").read_bytes() == (tmp_path / "file.h5").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"frame": np.arange(3)},
        {"pts_s": np.arange(5.0)},
        {"streams": {"rgb": np.zeros((9, 2), np.float16)}},
        {"segments": (SegmentRows(0, 0, 3, 0, 3, "ok"),)},
        {"segments": (SegmentRows(0, 0, 4, 1, 5, "ok"),)},
        {"segments": (SegmentRows(0, 0, 3, 0, 4, "ok"),)},
    ],
)
def test_tables_that_do_not_fit_together_are_never_written(change):
    with pytest.raises(ValueError, match=r"columns|segments"):
        replace(content_of(a_task()), **change)


@pytest.fixture(scope="module")
def good_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "s.h5"
    write_shard(path, content_of(a_task(videos=("a", "b"))))
    return path.read_bytes()


def test_a_shard_cut_anywhere_is_a_store_error(tmp_path, good_bytes):
    path = tmp_path / "s.h5"
    for size in (*range(0, len(good_bytes), 97), len(good_bytes) - 1):
        path.write_bytes(good_bytes[:size])
        with pytest.raises(StoreError, match=r"s\.h5"):
            check_shard(path)


def test_a_flipped_bit_in_a_feature_is_found_by_its_checksum(tmp_path, good_bytes):
    path = tmp_path / "s.h5"
    features = content_of(a_task(videos=("a", "b"))).streams["flow"].tobytes()
    where = good_bytes.index(features)
    for offset in range(0, len(features), 13):
        spoiled = bytearray(good_bytes)
        spoiled[where + offset] ^= 1 << offset % 8
        path.write_bytes(spoiled)
        with pytest.raises(StoreError, match="run extract again"):
            check_shard(path)


def test_rubbish_anywhere_gives_a_store_error_or_a_readable_shard_never_another_error(tmp_path, good_bytes):
    path, chance = tmp_path / "s.h5", random.Random(5)
    found = 0
    for _ in range(150):
        spoiled = bytearray(good_bytes)
        where = chance.randrange(len(spoiled) - 16)
        spoiled[where : where + 16] = chance.randbytes(16)
        path.write_bytes(spoiled)
        try:
            check_shard(path)
        except StoreError:
            found += 1
    assert found > 50


@pytest.mark.parametrize("text", [b"", b"not hdf5 at all", b"\x89HDF\r\n\x1a\n" + b"\0" * 500])
def test_what_is_no_hdf5_file_is_a_store_error(tmp_path, text):
    (tmp_path / "s.h5").write_bytes(text)
    with pytest.raises(StoreError, match="not readable as a shard"):
        check_shard(tmp_path / "s.h5")


def test_a_missing_shard_is_a_store_error(tmp_path):
    with pytest.raises(StoreError, match=r"s\.h5"):
        check_shard(tmp_path / "s.h5")


def test_a_foreign_hdf5_file_and_another_schema_are_refused(tmp_path, good_bytes):
    h5py.File(tmp_path / "s.h5", "w").close()
    with pytest.raises(StoreError, match="not a shard of schema 2"):
        check_shard(tmp_path / "s.h5")
    (tmp_path / "t.h5").write_bytes(good_bytes)
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        file.attrs["schema"] = 3
    with pytest.raises(StoreError, match="schema 3"):
        check_shard(tmp_path / "t.h5")


def test_columns_of_different_lengths_are_found(tmp_path, good_bytes):
    (tmp_path / "s.h5").write_bytes(good_bytes)
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["streams/rgb"].resize(7, axis=0)
    with pytest.raises(StoreError, match="different lengths"):
        check_shard(tmp_path / "s.h5")


def test_columns_of_videos_of_different_lengths_are_found(tmp_path, good_bytes):
    (tmp_path / "s.h5").write_bytes(good_bytes)
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        del file["videos/width"]
        file["videos/width"] = np.arange(3)
    with pytest.raises(StoreError, match="videos of different lengths"):
        check_shard(tmp_path / "s.h5")


@pytest.mark.parametrize("table", ["videos", "segments"])
def test_a_small_table_that_is_damaged_is_a_store_error_where_it_is_asked_for(tmp_path, good_bytes, table):
    (tmp_path / "s.h5").write_bytes(good_bytes)
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        del file[table]
        file[table] = np.arange(3)  # a column where a group should be
    with open_shard(tmp_path / "s.h5") as shard, pytest.raises(StoreError, match=r"s\.h5: not readable as a shard"):
        getattr(shard, table)
    with pytest.raises(StoreError, match=r"s\.h5"):
        check_shard(tmp_path / "s.h5")


def test_a_disk_that_fails_is_not_blamed_on_the_shard(tmp_path, good_bytes, monkeypatch):
    def failing(*_args, **_options):
        raise OSError(errno.EIO, "Can't synchronously read data (file read failed: errno = 5)")

    (tmp_path / "s.h5").write_bytes(good_bytes)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", failing)
    with open_shard(tmp_path / "s.h5") as shard, pytest.raises(ResourceError, match=r"cannot read .*s\.h5.*the disk"):
        shard.moments()


def test_an_error_of_the_reader_itself_is_not_blamed_on_the_shard(tmp_path, good_bytes):
    (tmp_path / "s.h5").write_bytes(good_bytes)
    with pytest.raises(KeyError), open_shard(tmp_path / "s.h5"):
        raise KeyError("mine")


def no_space(*_args, **_options):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (Path, "replace")])
def test_a_full_disk_leaves_nothing_behind_and_keeps_the_old_file(tmp_path, monkeypatch, owner, name):
    path = tmp_path / "s.h5"
    path.write_bytes(b"old")
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, no_space)
        with pytest.raises(ResourceError, match=r"No space left on device.*same command again"):
            write_shard(path, content_of(a_task()))
    assert [child.name for child in tmp_path.iterdir()] == ["s.h5"]
    assert path.read_bytes() == b"old"


def test_a_bug_while_writing_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_module, "_column", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_shard(tmp_path / "s.h5", content_of(a_task()))
    assert list(tmp_path.iterdir()) == []


def test_the_file_has_its_name_only_when_it_is_whole(tmp_path, monkeypatch):
    path, seen = tmp_path / "s.h5", []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (seen.append(path.exists()), fsync(handle)))
    write_shard(path, content_of(a_task()))
    assert seen == [False, True]  # the file itself before it has its name, its folder after


def test_a_folder_that_is_gone_is_a_resource_error(tmp_path):
    with pytest.raises(ResourceError, match="cannot write"):
        write_shard(tmp_path / "gone" / "s.h5", content_of(a_task()))


def test_rows_are_chunked_to_about_a_mebibyte(tmp_path):
    video = a_video(probe=replace(PROBE, frames=3000))
    rows = SegmentRows(0, 0, 3000, 0, 3000, "ok")
    content = ShardContent(
        "000000",
        ORIGIN,
        (video,),
        (rows,),
        np.arange(3000),
        np.arange(3000.0),
        {"rgb": np.zeros((3000, 1280), np.float16)},
    )
    write_shard(tmp_path / "s.h5", content)
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["streams/rgb"].chunks == (409, 1280)
    assert file_digest(tmp_path / "s.h5")[1] == (tmp_path / "s.h5").stat().st_size
