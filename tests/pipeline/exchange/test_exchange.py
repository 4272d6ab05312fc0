"""Features and scores come from others' tools and go to them."""

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from pipeline.exchange.exporting import export_store, read_videos
from pipeline.exchange.fusing import fuse_scores
from pipeline.exchange.importing import import_store
from pipeline.exchange.scores import normalise, read_scores
from pipeline.learn.models.score_weights import fit_weights
from schemas.disk.store import Store
from schemas.errors import ConfigError, StoreError
from schemas.labels import LabelRow


def save(folder, arrays):
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    return folder


def test_two_folders_become_two_streams_of_one_store(tmp_path):
    rgb = save(tmp_path / "i3d", {"run/1": np.ones((4, 2, 3)), "sit/1.5": np.zeros((2, 2, 3))})
    pose = save(tmp_path / "pose", {"run/1": np.ones((4, 5)), "sit/1.5": np.zeros((2, 5))})
    rows = [LabelRow("run/1.mp4", ("run",), "train", "")]
    store = import_store({"rgb": rgb, "pose": pose}, tmp_path / "store", labels=rows, fps=2.0, source="i3d")
    videos = Store.open(store.root).video_rows()
    assert [(v.id, v.moments, v.label + v.split) for v in videos] == [("run/1", 4, "runtrain"), ("sit/1.5", 2, "")]
    assert store.origin.settings["streams"] == {"rgb": 6, "pose": 5}
    assert store.trouble(store.books.report("000000")) == ""


@pytest.mark.parametrize(("form", "count"), [("npy", 9), ("npz", 3), ("parquet", 3)])
def test_what_is_exported_is_what_was_imported(make_store, tmp_path, form, count):
    rng = np.random.default_rng(0)
    times = np.array([0, 0.5, 2])
    videos = {
        "a/x.y": {"rgb": rng.normal(size=(3, 2)), "flow": rng.normal(size=(3, 4)), "pts_s": times},
        "b": {"rgb": rng.normal(size=(1, 2)), "flow": rng.normal(size=(1, 4)), "pts_s": np.array([7.0])},
    }
    store = make_store(videos, dtype="float16")
    assert export_store(store, tmp_path / "out", form=form) == 2
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) == count
    expected = videos["a/x.y"]["rgb"].astype(np.float16)
    if form == "npy":
        np.testing.assert_array_equal(np.load(tmp_path / "out" / "rgb" / "a" / "x.y.npy"), expected)
        np.testing.assert_array_equal(np.load(tmp_path / "out" / "pts_s" / "a" / "x.y.npy"), [0, 0.5, 2])
    elif form == "npz":
        np.testing.assert_array_equal(np.load(tmp_path / "out" / "a" / "x.y.npz")["rgb"], expected)
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        table = parquet.read_table(tmp_path / "out" / "a" / "x.y.parquet").to_pydict()
        np.testing.assert_array_equal(np.array(table["rgb"], np.float16), expected)
        assert table["pts_s"] == [0, 0.5, 2]
    with pytest.raises(ConfigError, match="not empty"):
        export_store(store, tmp_path / "out", form=form)


def test_folders_of_single_streams_are_read_with_their_times(make_store, tmp_path):
    store = make_store({"v": {"rgb": np.ones((2, 3)), "flow": np.ones((2, 4)), "pts_s": np.array([1.5, 9])}})
    export_store(store, tmp_path / "out")
    folders = {name: tmp_path / "out" / name for name in ("rgb", "pts_s")}
    ((_, arrays),) = read_videos(import_store(folders, tmp_path / "again", source="made"))
    assert arrays["pts_s"].tolist() == [1.5, 9]
    assert set(arrays) == {"frame", "pts_s", "rgb"}
    with pytest.raises(ConfigError, match="no features"):
        import_store({"pts_s": tmp_path / "out" / "pts_s"}, tmp_path / "none", source="made")


def test_times_that_nobody_gives_are_unknown_and_never_made_up(tmp_path, caplog):
    rgb = save(tmp_path / "rgb", {"v": np.ones((3, 2))})
    ((_, arrays),) = read_videos(import_store({"rgb": rgb}, tmp_path / "store", source="made"))
    assert np.isnan(arrays["pts_s"]).all()
    assert arrays["frame"].tolist() == [-1] * 3
    assert "of 1 of 1 video nobody knows the times" in caplog.text
    assert Store.open(tmp_path / "store").books.read_plan().videos[0].probe.duration_s == 0
    ((_, arrays),) = read_videos(import_store({"rgb": rgb}, tmp_path / "even", fps=2.0, source="made"))
    assert arrays["pts_s"].tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    "times",
    [
        {"pts_s": np.array([2.0, 1])},
        {"pts_s": np.array([np.nan, 1])},
        {"frame": np.ones(2)},
        {"pts_s": np.ones((2, 1))},
        {"pts_s": np.array(["a", "b"])},
    ],
)
def test_times_that_can_not_be_are_refused(make_store, times):
    with pytest.raises(ConfigError, match=r"must be numbers \(T,\) that never decrease"):
        make_store({"v": {"rgb": np.ones((2, 3))} | times})


def test_times_of_another_length_than_the_features_are_refused(make_store):
    with pytest.raises(ConfigError, match=r"different lengths: \{'rgb': 2, 'pts_s': 3\}"):
        make_store({"v": {"rgb": np.ones((2, 3)), "pts_s": np.arange(3.0)}})


def test_streams_of_different_lengths_are_refused_or_cut_when_asked(tmp_path):
    folders = {name: save(tmp_path / name, {"v": np.ones((T, 2))}) for name, T in (("rgb", 4), ("flow", 3))}
    with pytest.raises(ConfigError, match=r"different lengths: \{'rgb': 4, 'flow': 3\}"):
        import_store(folders, tmp_path / "store", source="made")
    assert import_store(folders, tmp_path / "cut", shortest=True, source="made").video_rows()[0].moments == 3


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "holds no .npy"),
        ({"v": np.array(["x"])}, "not features"),
        ({"v": np.ones((0, 3))}, "no features"),
        ({"v": np.array([[np.nan]])}, "NaN"),
        ({"v": np.array([[1e6]])}, r"beyond float16 .* `dtype` float32"),
        ({"u": np.array([[1e-9]]), "v": np.array([[2e-8]])}, r"too small for float16 .* `dtype` float32"),
        ({"u": np.ones((2, 3)), "v": np.ones((2, 4))}, "has streams and dims"),
    ],
)
def test_features_that_are_none_are_refused_with_their_file(tmp_path, arrays, words):
    (tmp_path / "in").mkdir()
    with pytest.raises(ConfigError, match=words):
        import_store({"rgb": save(tmp_path / "in", arrays)}, tmp_path / "store", source="made", dtype="float16")


def test_a_pickle_is_never_opened(tmp_path):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "v.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(ConfigError, match="not a plain NumPy file"):
        import_store({"rgb": tmp_path / "in"}, tmp_path / "store", source="made")


def test_names_that_do_not_fit_are_refused(tmp_path):
    rgb, flow = save(tmp_path / "a", {"v": np.ones((1, 2))}), save(tmp_path / "b", {"w": np.ones((1, 2))})
    with pytest.raises(ConfigError, match="'v' has no file in"):
        import_store({"rgb": rgb, "flow": flow}, tmp_path / "store", source="made")
    with pytest.raises(ConfigError, match=r"can not be called 'a\.b'"):
        import_store({"a.b": rgb}, tmp_path / "store", source="made")
    with pytest.raises(StoreError, match="no store"):
        Store.open(tmp_path / "store")


@pytest.mark.parametrize(
    ("file", "arrays", "weights", "how", "top1"),
    [
        ("hidden_two_stream", ["spatial", "tvl1"], "1,1.5", "relu-l1", "91.30"),
        ("hidden_two_stream", ["spatial", "hidden"], "1,1.5", "relu-l1", "89.00"),
        ("dmcnet_coviar", ["iframe", "mv", "residual"], "2,1,1", "none", "90.70"),
    ],
)
def test_published_numbers_of_two_stream_networks_come_out_to_the_digit(shared_data, file, arrays, weights, how, top1):
    path = shared_data / "scores" / f"{file}_ucf101_split1.npz"
    fused = fuse_scores([f"{path}:{array}" for array in arrays], weights=weights, how=how)
    assert fused.videos == 3783
    assert f"{100 * fused.rows[-1].main:.2f}" == top1


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda _: b"",
        lambda _: b"PK\x03\x04 and no more",
        lambda whole: whole[:60] + b"?" * 40 + whole[100:],
    ],
)
def test_a_damaged_file_is_refused_by_name_whatever_is_wrong_with_it(tmp_path, damage):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "v.npz"
    np.savez_compressed(path, rgb=np.random.default_rng(0).normal(size=(9, 9)), names=np.array(["x"]))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match=r"v\.npz"):
        import_store({"": tmp_path / "in"}, tmp_path / "store", source="made")
    with pytest.raises(ConfigError, match=r"v\.npz"):
        read_scores(str(path))


def scores_file(path, names, scores, labels=(), classes=()):
    arrays = {"names": np.array(names), "score": np.array(scores, dtype=np.float64)}
    arrays |= {"labels": np.array(labels)} if len(labels) else {}
    arrays |= {"classes": np.array(classes)} if len(classes) else {}
    np.savez(path, **arrays)
    return str(path)


def test_scores_are_joined_by_name_and_never_by_position(tmp_path):
    one = scores_file(tmp_path / "a.npz", ["x.avi", "y.avi"], [[1, 0], [0, 1]], labels=[0, 1])
    two = scores_file(tmp_path / "b.npz", ["y", "x"], [[0, 1], [1, 0]])
    assert fuse_scores([one, two]).rows[-1].main == 1.0


def test_names_that_differ_after_a_dot_are_different_videos(tmp_path):
    names = ["clip.v1", "clip.v2", "x.avi"]
    one = scores_file(tmp_path / "a.npz", names, np.eye(3), labels=[0, 1, 2])
    two = scores_file(tmp_path / "b.npz", ["x", "clip.v2.mp4", "clip.v1"], np.eye(3)[::-1])
    labels = [LabelRow(name, (label,), "", "") for name, label in (("clip.v2", "1"), ("x.avi", "2"), ("clip.v1", "0"))]
    fused = fuse_scores([one, two], labels=labels, out=tmp_path / "out.npz")
    assert (fused.videos, fused.rows[-1].main) == (3, 1.0)
    assert read_scores(str(tmp_path / "out.npz")).names == ("clip.v1", "clip.v2", "x")
    with pytest.raises(ConfigError, match=r"1 only in .*\(clip\.v2\), 1 only in .*\(clip\.v3\)"):
        fuse_scores([one, scores_file(tmp_path / "c.npz", ["clip.v1", "clip.v3", "x"], np.eye(3))])


def test_classes_are_joined_by_name(tmp_path):
    one = scores_file(tmp_path / "a.npz", ["x"], [[3, 0, 0]], labels=["run"], classes=["run", "sit", "lie"])
    (tmp_path / "b.csv").write_text("video,sit,run,lie\nx.mp4,0,1,0\n")
    fused = fuse_scores([one, str(tmp_path / "b.csv")], how="none", out=tmp_path / "out.csv")
    assert fused.rows[1].main == 1.0
    assert (tmp_path / "out.csv").read_text().splitlines() == ["video,label,run,sit,lie", "x,run,4,0,0"]
    assert read_scores(str(tmp_path / "out.csv")).labels == (("run",),)


def test_videos_that_are_not_in_all_files_are_reported_or_left_out_when_asked(tmp_path):
    one = scores_file(tmp_path / "a.npz", ["x", "y"], [[1, 0], [0, 1]], labels=[0, 1])
    two = scores_file(tmp_path / "b.npz", ["y", "z"], [[0, 1], [1, 0]])
    with pytest.raises(ConfigError, match=r"1 only in .*a\.npz \(x\), 1 only in .*b\.npz \(z\)"):
        fuse_scores([one, two])
    assert fuse_scores([one, two], common=True).videos == 1


def test_contradicting_labels_and_repeated_names_are_refused(tmp_path):
    one = scores_file(tmp_path / "a.npz", ["x", "y"], [[1, 0], [0, 1]], labels=[0, 1])
    two = scores_file(tmp_path / "b.npz", ["x", "y"], [[1, 0], [0, 1]], labels=[0, 0])
    with pytest.raises(ConfigError, match=r"'y' is '1' in .*a\.npz and '0' in .*b\.npz"):
        fuse_scores([one, two])
    with pytest.raises(ConfigError, match="'x' stands there twice"):
        fuse_scores([scores_file(tmp_path / "c.npz", ["x", "x"], [[1, 0], [0, 1]])])
    with pytest.raises(ConfigError, match="'x' stands there twice"):
        fuse_scores([one, scores_file(tmp_path / "d.npz", ["x.avi", "x.mp4"], [[1, 0], [0, 1]])])
    with pytest.raises(ConfigError, match="3 weights for 1 score file"):
        fuse_scores([one], weights="1,2,3")


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        ([1, 2], (), r"the label 2 is none of 2 columns, which count from 0 to 1; if labels count from 1"),
        ([1, 2], ("a", "b"), "the label 2 is none of 2 columns"),
        ([0, -1], (), "the label -1 is none of 2 columns"),
        ([0, -1], ("a", "b"), "the label -1 is none of 2 columns"),
        ([0.0, 1.0], (), "labels are names"),
        (["a", "c"], ("a", "b"), "the label 'c' of 'y' is not among the classes"),
        (["a", "b"], (), "is a name, but no score file names its classes"),
        (["a", ""], ("a", "b"), "'y' has no label"),
    ],
)
def test_labels_that_are_no_column_are_refused(tmp_path, labels, classes, words):
    source = scores_file(tmp_path / "a.npz", ["x", "y"], [[1, 0], [0, 1]], labels=labels, classes=classes)
    with pytest.raises(ConfigError, match=words):
        fuse_scores([source])


@pytest.mark.parametrize("weights", ["nan,1", "inf,1", "0,0", "-1,2"])
def test_weights_that_weigh_nothing_are_refused(tmp_path, weights):
    sources = [scores_file(tmp_path / f"{name}.npz", ["x", "y"], [[1, 0], [0, 1]]) for name in "ab"]
    with pytest.raises(ConfigError, match="finite and not negative, and one is positive"):
        fuse_scores(sources, weights=weights)


def test_files_of_different_widths_are_refused_and_one_file_twice_too(tmp_path):
    one = scores_file(tmp_path / "a.npz", ["x"], [[1, 0]], labels=[0])
    two = scores_file(tmp_path / "b.npz", ["x"], [[1, 0, 0]])
    with pytest.raises(ConfigError, match=r"b\.npz has 3 columns, .*a\.npz has 2"):
        fuse_scores([one, two])
    with pytest.raises(ConfigError, match="named twice"):
        fuse_scores([one, one])


def test_a_file_without_class_names_takes_those_of_the_others(tmp_path):
    one = scores_file(tmp_path / "a.npz", ["x", "y"], [[1, 0], [0, 1]], labels=[0, 1])
    two = scores_file(tmp_path / "b.npz", ["x", "y"], [[1, 0], [0, 1]], labels=["run", "sit"], classes=["run", "sit"])
    other = scores_file(tmp_path / "c.npz", ["x", "y"], [[1, 0], [0, 1]], labels=["sit", "sit"], classes=["run", "sit"])
    assert fuse_scores([one, two], out=tmp_path / "out.csv").rows[-1].main == 1.0
    assert (tmp_path / "out.csv").read_text().startswith("video,label,run,sit\nx,run,")
    with pytest.raises(ConfigError, match=r"'x' is 'run' in .*a\.npz and 'sit' in"):
        fuse_scores([one, other])


def test_arrays_of_one_name_are_told_apart_by_their_files(tmp_path):
    sources = [scores_file(tmp_path / f"{name}.npz", ["x", "y"], [[1, 0], [0, 1]], labels=[0, 1]) for name in "ab"]
    assert [row.title for row in fuse_scores(sources).rows] == [*sources, "fused"]


def test_videos_of_several_labels_are_judged_by_how_their_labels_rank(tmp_path):
    rng = np.random.default_rng(0)
    members = rng.random((40, 4)) < 0.4
    members[np.arange(40), rng.integers(4, size=40)] = True
    names, classes = [f"v{n}" for n in range(40)], list("abcd")
    halves = [rng.random((40, 4)) + 2 * members * (np.arange(4) % 2 == half) for half in (0, 1)]
    cells = [";".join(np.array(classes)[row]) for row in members]
    one = scores_file(tmp_path / "a.npz", names, halves[0], labels=cells, classes=classes)
    two = scores_file(tmp_path / "b.npz", names, halves[1], labels=members, classes=classes)
    found = fuse_scores([one, two], out=tmp_path / "out.npz")
    assert found.main == "lrap"
    assert found.rows[-1].main == pytest.approx(
        label_ranking_average_precision_score(members, sum(normalise(half, "relu-l1") for half in halves))
    )
    assert found.rows[-1].main > max(row.main for row in found.rows[:-1])
    assert fuse_scores([str(tmp_path / "out.npz")]).rows[0].main == pytest.approx(found.rows[-1].main)
    assert fuse_scores([one, two], weights="fit").rows[-1].main > 0.9


def test_weights_are_not_fitted_where_nothing_is_left_to_judge_them(tmp_path):
    with pytest.raises(ConfigError, match="needs two videos"):
        fuse_scores([scores_file(tmp_path / "a.npz", ["x"], [[1, 0]], labels=[0])], weights="fit")


def test_fitted_weights_find_the_stream_that_knows():
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=300)
    members = np.eye(4, dtype=bool)[truth]
    good, noise = rng.normal(size=(300, 4)) + 2 * members, rng.normal(size=(300, 4))
    weights = fit_weights(np.stack([good, noise]), members)
    assert weights[0] > 0.9
    assert weights.sum() == pytest.approx(1)
    same = fit_weights(np.stack([10 * good, noise]), members)
    assert same[0] / same[1] == pytest.approx(weights[0] / weights[1] / 10, rel=0.01)


def test_normalising_is_row_by_row():
    scores = np.array([[1.0, -1.0, 3.0], [-1.0, -2.0, -3.0]])
    np.testing.assert_allclose(normalise(scores, "relu-l1"), [[0.25, 0, 0.75], [0, 0, 0]])
    np.testing.assert_allclose(normalise(scores, "softmax").sum(1), 1)
    with pytest.raises(ConfigError, match="known: relu-l1"):
        normalise(scores, "l2")
