"""What is exported comes back whole: videos, features, times, and what people said of them, in every format."""

import json
import re
import string
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.exchange.exporting import export_store, read_videos
from pipeline.exchange.formats import FORMATS
from pipeline.exchange.importing import import_store
from schemas.disk.shard import open_shard
from schemas.disk.store import Store
from schemas.errors import ConfigError, StoreError
from schemas.labels import LabelRow
from tests.builders import a_store, a_task

# whatever a file may be called: dots anywhere, suffixes of our own, spaces at the ends, bytes that are no UTF-8
PARTS = st.one_of(
    st.sampled_from(
        [
            "clip.v1",
            "clip.v2",
            "clip",
            "a.npy",
            "a.npz",
            "pts_s",
            "rgb",
            "v.",
            ".v",
            " v ",
            "a,b",
            "a\\b",
            'q"q',
            "bad\udcff",
            "export.json",
            "two\nlines",
            "日本",
        ]
    ),
    st.text(string.printable.replace("/", "") + "é\udc80", min_size=1, max_size=6),
)
IDS = st.lists(PARTS.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3).map("/".join)
WORDS = st.text(min_size=1, max_size=5).map(str.strip).filter(lambda word: word and ";" not in word)
SAID = st.none() | st.tuples(
    st.lists(WORDS, min_size=1, max_size=2), st.sampled_from(["", "train", "val", "test"]), st.just("") | WORDS
)


@st.composite
def stores(draw):
    """{stream: (D, dtype)}, and {id: (what is said, {stream: (T, D)} and perhaps times)}."""
    names = draw(st.lists(st.sampled_from(["rgb", "flow", "clip-2", "pose_x"]), min_size=1, max_size=3, unique=True))
    kinds = {name: (draw(st.integers(1, 3)), draw(st.sampled_from(["float16", "float32"]))) for name in names}
    videos = {}
    for video in draw(st.lists(IDS, min_size=1, max_size=4, unique=True)):
        T = draw(st.integers(1, 3))
        tables = {
            name: draw(arrays(dtype, (T, dim), elements=st.floats(-100, 100, width=16)))
            for name, (dim, dtype) in kinds.items()
        }
        if draw(st.booleans()):
            tables |= {"pts_s": np.sort(draw(arrays("float64", T, elements=st.floats(-10, 1e6))))}
        if draw(st.booleans()):
            tables |= {"frame": np.sort(draw(arrays("int64", T, elements=st.integers(0, 2**53))))}
        videos[video] = draw(SAID), tables
    return kinds, videos


def made(root, kinds, videos):
    """Write the features of each stream as .npy, import them."""
    for video, (_, tables) in videos.items():
        unknown = {"pts_s": np.full(len(tables[next(iter(kinds))]), np.nan)}
        unknown["frame"] = np.full(len(unknown["pts_s"]), -1)
        for name, table in (unknown | tables).items():
            path = root / "files" / name / f"{video}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, table)
    rows = [LabelRow(video, tuple(sorted(set(said[0]))), *said[1:]) for video, (said, _) in videos.items() if said]
    folders = {name: root / "files" / name for name in (*kinds, "pts_s", "frame")}
    return import_store(folders, root / "store", source="some network", labels=rows)


def content(store):
    """Everything that a store says of its videos, and their arrays."""
    with open_shard(store.shard_path("000000")) as shard:
        kinds = list(shard.dims.items()), shard.dtypes
    videos = {video.id: ((video.label, video.split, video.group), tables) for video, tables in read_videos(store)}
    return kinds, videos


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_is_called_as_its_suffix(form):
    assert re.fullmatch("[a-z0-9]+", form)


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(given_store=stores())
def test_what_is_exported_comes_back_whole(form, given_store):
    kinds, videos = given_store
    places = ["export.json", *(f"{video}.{suffix}" for video in videos for suffix in ("npy", form))]
    assume(not any(f"{video}/".startswith(f"{place}/") for video in videos for place in places))  # a file, and a folder
    with tempfile.TemporaryDirectory() as folder:
        store = made(Path(folder), kinds, videos)
        export_store(store, Path(folder) / "out", form=form)
        again = import_store({"": Path(folder) / "out"}, Path(folder) / "again")
        assert again.origin == store.origin  # a model of the one judges the other
        (was, before), (now, after) = content(store), content(again)
        assert now == was
        assert list(before) == list(after) == sorted(videos)
        for video, (said, tables) in videos.items():
            told = (";".join(sorted(set(said[0]))), *said[1:]) if said else ("", "", "")
            assert before[video][0] == after[video][0] == told
            for name, table in after[video][1].items():
                assert table.dtype == before[video][1][name].dtype
                np.testing.assert_array_equal(table, before[video][1][name])
                if name in tables:
                    np.testing.assert_array_equal(table, tables[name])


@pytest.mark.parametrize("form", FORMATS)
def test_an_extracted_store_is_imported_with_every_stream_as_it_was(tmp_path, form):
    store = a_store(tmp_path / "store", a_task("000000"), a_task("000001", ("b/other.v2",)))
    export_store(store, tmp_path / "out", form=form)
    again = import_store({"": tmp_path / "out"}, tmp_path / "again")
    (was, before), (now, after) = content(store), content(again)
    assert (now, list(after)) == (was, list(before))
    for video, (said, tables) in before.items():
        assert after[video][0] == said
        for name, table in tables.items():
            np.testing.assert_array_equal(after[video][1][name], table)
    assert store.origin.digest in again.origin.settings["source"]


def test_a_label_file_has_the_last_word_over_what_export_knew(make_store, tmp_path):
    rows = [LabelRow(name, ("old",), "train", "g") for name in ("x", "y")]
    export_store(make_store({name: {"rgb": np.ones((1, 2))} for name in "xy"}, labels=rows), tmp_path / "out")
    again = import_store({"": tmp_path / "out"}, tmp_path / "again", labels=[LabelRow("y.mp4", ("new",), "", "")])
    assert [(v.label, v.split, v.group) for v in again.video_rows()] == [("old", "train", "g"), ("new", "", "")]


@pytest.mark.parametrize("source", ["", "  "])
def test_features_of_unknown_origin_are_refused(make_store, source):
    with pytest.raises(ConfigError, match="say with `source` what computed the features"):
        make_store({"v": {"rgb": np.ones((1, 2))}}, source=source)


def test_files_of_different_dtypes_are_stored_alike_only_when_asked(make_store):
    videos = {"u": {"rgb": np.ones((1, 2), np.float16)}, "v": {"rgb": np.ones((1, 2), np.float32)}}
    with pytest.raises(ConfigError, match=r"v\.npz is to be stored as float32, .*u\.npz as float16; .* `dtype`"):
        make_store(videos, dtype="")
    assert make_store(videos, name="asked", dtype="float16").origin.settings["dtype"] == "float16"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format": "vidu-pipe export", "schema": 1}', "damaged"),
        ('{"format": "x", "schema": 9, "form": "npy", "source": "", "streams": [], "said": {}}', "this version reads"),
    ],
)
def test_a_damaged_manifest_is_refused_by_name(make_store, tmp_path, text, words):
    export_store(make_store({"v": {"rgb": np.ones((1, 2))}}), tmp_path / "out")
    (tmp_path / "out" / "export.json").write_text(text)
    with pytest.raises(ConfigError, match=rf"export\.json.*{words}"):
        import_store({"": tmp_path / "out"}, tmp_path / "again")


@pytest.mark.parametrize("video", ["../v", "/tmp/v", "a/../../v", "a//v", "./v", "v\0", ""])
def test_an_id_that_leads_out_of_the_folder_is_never_written(make_store, tmp_path, video, monkeypatch):
    store = make_store({"v": {"rgb": np.ones((1, 2))}})
    ((row, tables),) = read_videos(store)
    monkeypatch.setattr(
        "pipeline.exchange.exporting.read_videos",
        lambda _: [(type(row)(video, *(getattr(row, name) for name in row.__slots__[1:])), tables)],
    )
    with pytest.raises(StoreError, match="not the id of a video"):
        export_store(store, tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").rglob("*.npy")) == []


@pytest.mark.parametrize("name", ["file", "a/b", "names", "two words", ""])
def test_an_array_that_can_not_name_a_stream_is_refused(tmp_path, name):
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "v.npz", "w") as file, file.open(f"{name}.npy", "w") as member:
        np.save(member, np.ones((1, 2)))
    with pytest.raises(ConfigError, match=r"v\.npz: a stream can not be called"):
        import_store({"": tmp_path / "in"}, tmp_path / "store", source="made")


def test_the_manifest_is_plain_text_that_others_can_read(make_store, tmp_path):
    rows = [LabelRow("v", ("a",), "test", "")]
    export_store(make_store({"v": {"rgb": np.ones((1, 2))}}, labels=rows), tmp_path / "out")
    plain = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (plain["source"], plain["streams"]) == ("made", ["rgb"])
    assert plain["said"] == {"v": {"label": "a", "split": "test", "group": ""}}


def test_parquet_lists_of_different_lengths_are_refused(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "in").mkdir()
    parquet.write_table(arrow.table({"rgb": arrow.array([[1.0], [1.0, 2.0, 3.0]])}), tmp_path / "in" / "v.parquet")
    with pytest.raises(ConfigError, match="not all of one length"):
        import_store({"": tmp_path / "in"}, tmp_path / "store", source="made")
    assert not Store.exists(tmp_path / "store")
