import pytest

from schemas.disk.flow_store import FlowStore, open_any, output_digest, remove_output
from schemas.disk.shard import Origin
from schemas.disk.store import Store
from schemas.errors import ConfigError, StoreError
from schemas.flow_config import FlowFileSettings


def begin(root, **settings):
    chosen = FlowFileSettings(**settings)
    return FlowStore.create(root, Origin("flow", chosen.as_dict(), chosen.digest, {}))


def folder_of(store, **files):
    made = store.workplace("000000")
    made.mkdir()
    for name, text in files.items():
        (made / f"{name}.jpg").write_text(text)
    return made


def test_the_books_lie_apart_from_the_flow(tmp_path):
    store = begin(tmp_path / "out")
    assert [child.name for child in (tmp_path / "out").iterdir()] == [".vidu-pipe"]
    assert FlowStore.exists(tmp_path / "out")
    assert not Store.exists(tmp_path / "out")
    assert isinstance(open_any(tmp_path / "out"), FlowStore)
    assert store.out == tmp_path / "out"
    with pytest.raises(StoreError, match="no store"):
        open_any(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "v_01").mkdir()
    with pytest.raises(ConfigError, match="v_01"):
        begin(tmp_path)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "c/v_1.25"),
        ({"format": "flo", "bound_px": None}, "c/v_1.25"),
        ({"format": "h5", "bound_px": None, "dtype": "float16"}, "c/v_1.25.h5"),
        ({"format": "npy", "bound_px": None, "dtype": "float16", "step": 3}, "c/v_1.25_p3.npy"),
    ],
)
def test_an_output_is_named_by_its_video(tmp_path, settings, name):
    assert begin(tmp_path / "out", **settings).output("c/v_1.25") == tmp_path / "out" / name


def test_a_folder_inside_another_videos_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"'a/b'.*'a'.*`keep_suffix`"):
        begin(tmp_path / "jpg").check_ids(["a/b", "c", "a"])
    begin(tmp_path / "jpg2").check_ids(["a.mp4", "a/b", "ab"])
    begin(tmp_path / "npy", format="npy", bound_px=None, dtype="float32").check_ids(["a/b", "a"])


def test_an_output_takes_the_place_of_an_older_one_and_spares_the_users_files(tmp_path):
    store = begin(tmp_path / "out")
    store.put(folder_of(store, flow_x_00001="old", flow_x_00002="old"), "a")
    (store.output("a") / "notes.txt").write_text("mine")
    digest = store.put(folder_of(store, flow_x_00001="new"), "a")
    assert {child.name: child.read_text() for child in store.output("a").iterdir()} == {
        "flow_x_00001.jpg": "new",
        "notes.txt": "mine",
    }
    assert digest == output_digest(store.output("a"))
    assert list((store.root / "making").iterdir()) == []


def test_a_digest_tells_names_and_bytes_of_what_is_ours(tmp_path):
    store = begin(tmp_path / "out")
    one = output_digest(folder_of(store, flow_x_00001="a", flow_y_00001="b"))
    assert output_digest(folder_of(store, flow_x_00001="a", flow_y_00001="b", notes="c")) == one
    for other in (
        {"flow_x_00001": "a", "flow_y_00001": "c"},
        {"flow_x_00001": "a", "flow_y_00002": "b"},
        {"flow_x_00001": "a"},
        {"flow_x_00001": "a", "flow_y_00001": "b", "img_00001": ""},
    ):
        assert output_digest(folder_of(store, **other)) != one


def test_sweeping_removes_what_was_being_made_and_nothing_else(tmp_path):
    store = begin(tmp_path / "out")
    store.put(folder_of(store, flow_x_00001="a"), "kept")
    folder_of(store, flow_x_00001="half")
    store.workplace("000001").write_text("half")
    store.sweep()
    assert list((store.root / "making").iterdir()) == []
    assert (store.output("kept") / "flow_x_00001.jpg").exists()


def test_removing_an_output_leaves_what_is_not_ours(tmp_path):
    store = begin(tmp_path / "out")
    made = folder_of(store, flow_x_00001="a", notes="mine")
    remove_output(made)
    assert [child.name for child in made.iterdir()] == ["notes.jpg"]
    remove_output(tmp_path / "nothing")
