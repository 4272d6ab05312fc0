"""The library, as someone uses it who has read its docstrings and nothing else."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import vidu_pipe as vp
from schemas.streams import Flow, Rgb


@pytest.fixture(scope="module")
def streams(world):
    return [
        Rgb("test_resnet", weights=str(world.weights)),
        Flow("test_resnet", weights=str(world.weights), method="farneback", stack=4),
    ]


@pytest.fixture(scope="module")
def store(world, streams, tmp_path_factory):
    return vp.extract(
        world.folder,
        tmp_path_factory.mktemp("library") / "features",
        streams=streams,
        every=8,
        short_side_px=32,
        device="cpu",
        inline=True,
        quiet=True,
    )


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    return vp.train(
        store,
        tmp_path_factory.mktemp("library") / "run",
        head="mean",
        fusions=["concat"],
        folds=2,
        epochs=2,
        quiet=True,
    )


def test_a_store_is_a_mapping_of_videos_to_aligned_arrays(store):
    assert len(store) == 6
    assert store.streams == {"rgb": 96, "flow": 96}
    video = store["class0/v0"]
    assert "class0/v0" in store
    assert next(iter(store)) == video.id == "class0/v0"
    assert video.rgb.shape == video.flow.shape == (3, 96)
    assert video["rgb"] is video.rgb
    assert video.frame.tolist() == [0, 8, 16]
    assert video.pts_s == pytest.approx([0, 0.32, 0.64], abs=1e-6)
    with pytest.raises(KeyError, match=r"class0/v9.*nearest: class0/v"):
        store["class0/v9"]
    with pytest.raises(AttributeError, match="no stream 'sound'; there are rgb, flow"):
        video.sound  # noqa: B018 - asking is what is tested


def test_a_store_that_is_opened_is_the_store_that_was_made(store):
    again = vp.open_store(store.path)
    assert again.settings == store.settings
    assert again.table() == store.table()
    assert np.array_equal(again["class1/v1"].flow, store["class1/v1"].flow)
    assert again.summary is None
    assert not store.summary.lost


def test_the_table_has_a_row_for_every_video_and_says_what_became_of_it(world, streams, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "videos" / "good.avi").write_bytes((world.folder / "class1" / "v1.avi").read_bytes())
    made = vp.extract(
        tmp_path / "videos",
        tmp_path / "out",
        streams=streams[:1],
        short_side_px=32,
        device="cpu",
        inline=True,
        quiet=True,
    )
    rows = {row["id"]: row for row in made.table()}
    assert rows["good"]["outcome"] == "ok"
    assert rows["good"]["moments"] == 3
    assert rows["bad"]["outcome"] == "failed"
    assert "VideoOpenError" in rows["bad"]["reason"]
    assert [one.id for one in made.bad.failed] == ["bad"]


def test_single_files_are_named_below_the_folder_that_holds_them(world, streams, tmp_path):
    files = [world.folder / "class0" / "v0.mp4", world.folder / "class1" / "v1.avi"]
    made = vp.extract(
        files, tmp_path / "out", streams=streams[:1], short_side_px=32, device="cpu", inline=True, quiet=True
    )
    assert list(made) == ["class0/v0", "class1/v1"]
    with pytest.raises(vp.ConfigError, match="`videos` is an empty list"):
        vp.extract([], tmp_path / "none")


def test_a_run_is_trained_judged_compared_and_reported(store, run, tmp_path):
    assert {row.name for row in run.results.rows} == {"rgb", "flow", "concat"}
    assert vp.evaluate(run, part="all").videos == 6
    comparison = vp.compare([run, f"{run.root}:rgb"])
    assert comparison.videos == 6
    page = vp.report(run, tmp_path / "page.html")
    assert "<svg" in page.read_text()


def test_a_run_says_what_new_videos_show(world, run):
    said = vp.predict(run, world.folder / "class0", weights={"": world.weights}, inline=True, quiet=True)
    assert [one.video for one in said.said] == ["v0", "v2", "v4"]
    assert said.said[0].probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_options_that_are_not_known_are_answered_with_the_known_ones(store, tmp_path):
    with pytest.raises(vp.ConfigError, match=r"unknown option 'epoch'; known: .*epochs"):
        vp.train(store, tmp_path / "run", epoch=3)
    with pytest.raises(vp.ConfigError, match=r"unknown option 'worker'; known: .*workers"):
        vp.extract(".", tmp_path / "out", worker=3)
    with pytest.raises(vp.ConfigError, match="exclude each other"):
        vp.train(store, tmp_path / "run", folds=3, leave_one_group_out=True)


def test_flow_of_arrays_is_that_of_the_method():
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 3, (48, 1))
    fields = vp.flow(np.stack([ramp, ramp]), "farneback")
    assert fields.shape == (1, 2, 48, 64)
    assert np.abs(fields).max() < 0.1
    with pytest.raises(vp.ConfigError, match=r"`grey` must be uint8 \(T, H, W\)"):
        vp.flow(ramp)


def test_flow_files_are_written_as_the_command_writes_them(world, tmp_path):
    summary = vp.flow_files(
        world.folder / "class0" / "v0.mp4",
        tmp_path / "flow",
        method="farneback",
        format="npy",
        short_side_px=32,
        inline=True,
        quiet=True,
    )
    assert len(summary.made) == 1
    assert (tmp_path / "flow" / "v0.npy").exists()


def test_notebooks_see_tables_and_names_are_escaped(store, run):
    assert "<table>" in store._repr_html_()
    assert "6 videos, rgb 96, flow 96" in repr(store)
    assert "<table" in run._repr_html_()


def test_it_works_outside_the_main_thread(world, streams, tmp_path):
    found = []

    def work():
        found.append(
            vp.extract(
                world.folder / "class0",
                tmp_path / "out",
                streams=streams[:1],
                short_side_px=32,
                device="cpu",
                inline=True,
                quiet=True,
            )
        )

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(found[0]) == 3


SCRIPT = """
import signal, sys
before = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
import vidu_pipe
assert not {"torch", "ray", "h5py", "cv2", "av", "numpy"} & set(sys.modules), sorted(sys.modules)
assert before == {sign: signal.getsignal(sign) for sign in before}
for name in vidu_pipe.__all__:
    assert getattr(vidu_pipe, name) is not None, name
assert set(vidu_pipe.__all__) <= set(dir(vidu_pipe))
assert "ray" not in sys.modules
try:
    vidu_pipe.nothing
except AttributeError as error:
    print(error)
"""


def test_importing_it_imports_nothing_heavy_and_changes_nothing():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.stdout == "module 'vidu_pipe' has no attribute 'nothing'\n", done.stderr
