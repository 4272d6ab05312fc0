import json

import av
import cv2
import numpy as np
import pytest

from pipeline.cli import main
from schemas.errors import ResourceError
from tests.flowing import texture, write_moving
from workers.decode import VideoWriter
from workers.flow.files.flo import read_flo
from workers.flow.files.pictures import write_picture


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command line and return (exit code, stdout, stderr)."""
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def command(*words):
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        return end.value.code, *capsys.readouterr()

    return command


@pytest.fixture
def pair(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for number, path in enumerate(paths):
        write_picture(path, texture(2 * number, 0))
    return paths


def test_a_pair_becomes_a_flo_and_a_drawing(run, pair, tmp_path):
    code, out, _ = run(
        "flow",
        "--pair",
        *pair,
        "--out",
        tmp_path / "x.flo",
        "--preview",
        tmp_path / "x.png",
        "--scale",
        "2.2",
        "--method",
        "dis",
        "--device",
        "cpu",
    )
    assert code == 0
    assert "mean length of the flow" in out
    right, down = np.median(read_flo(tmp_path / "x.flo")[:, 12:-12, 12:-12], axis=(1, 2))
    assert abs(right - 2) < 0.2
    assert abs(down) < 0.2
    picture = cv2.imread(str(tmp_path / "x.png"))[..., ::-1]
    assert picture.shape == (2 * 72, 3 * 2 * 96, 3)  # enlarged, so that the key is legible
    red, green, blue = np.median(picture[20:100, 2 * 2 * 96 + 20 : -60], axis=(0, 1))
    assert red > 200
    assert max(green, blue) < 90  # the wheel's red is to the right


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "x.png"], ".flo is written"),
        (["--preview", "x.mp4"], ".png is written"),
        ([], "--out"),
        (["--out", "x.flo", "--every", "2"], "--every means nothing"),
        (["--out", "x.flo", "--format", "png"], "--format"),
        (["--out", "x.flo", "--method", "magic"], "tvl1"),
    ],
)
def test_what_means_nothing_for_a_pair_is_refused(run, pair, words, said):
    code, _, err = run("flow", "--pair", *pair, "--device", "cpu", *words)
    assert code == 2
    assert said in err


@pytest.fixture
def names(tmp_path):
    """Ways to name a file: as it is, by a link, by a second name, by another way to its folder."""

    def of(path):
        (tmp_path / f"link{path.suffix}").symlink_to(path)
        (tmp_path / f"second{path.suffix}").hardlink_to(path)
        return [
            path,
            tmp_path / f"link{path.suffix}",
            tmp_path / f"second{path.suffix}",
            tmp_path / ".." / tmp_path.name / path.name,
        ]

    return of


def test_nothing_is_written_over_what_is_read(run, pair, tmp_path, names):
    video = write_moving(tmp_path / "a.mp4", frames=3)
    for words, path in ((("--videos", video), video), (("--pair", *pair), pair[1])):
        before = path.read_bytes()
        for name in names(path):
            code, _, err = run("flow", *words, "--preview", name, "--method", "dis", "--device", "cpu")
            assert (code, path.read_bytes()) == (2, before)
            assert "the very file that is read" in err


def test_a_drawing_that_breaks_off_leaves_what_was_there(run, tmp_path, monkeypatch):
    def full(*_):
        raise ResourceError("cannot write: the disk is full")

    video = write_moving(tmp_path / "a.mp4", frames=4)
    (tmp_path / "x.mp4").write_bytes(b"a good drawing")
    monkeypatch.setattr(VideoWriter, "add", full)
    code, _, err = run("flow", "--videos", video, "--preview", tmp_path / "x.mp4", "--method", "dis", "--device", "cpu")
    assert code == 1
    assert "the disk is full" in err
    assert (tmp_path / "x.mp4").read_bytes() == b"a good drawing"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "x.mp4"]


@pytest.mark.parametrize(("words", "name"), [(["--videos"], "x.mp4"), (["--videos"], "x.png"), (["--pair"], "x.png")])
def test_a_drawing_that_can_not_be_written_is_told_by_its_own_name(run, pair, tmp_path, words, name):
    inputs = pair if words == ["--pair"] else [write_moving(tmp_path / "a.mp4", frames=3)]
    path = tmp_path / "nowhere" / name
    code, _, err = run("flow", *words, *inputs, "--preview", path, "--method", "dis", "--device", "cpu")
    assert code == 1
    assert f"cannot write {path}: " in err


def test_pictures_of_two_sizes_are_no_pair(run, pair, tmp_path):
    write_picture(pair[1], texture(0, 0)[:-1])
    code, _, err = run("flow", "--pair", *pair, "--out", tmp_path / "x.flo", "--device", "cpu")
    assert code == 2
    assert "96 x 72" in err
    assert "96 x 71" in err


def test_a_video_is_drawn_beside_its_flow(run, tmp_path):
    path = write_moving(tmp_path / "a.mp4", frames=7, dx=2)
    for name in ("x.mp4", "x.png"):
        code, *_ = run(
            "flow", "--videos", path, "--preview", tmp_path / name, "--method", "dis", "--device", "cpu", "--scale", "4"
        )
        assert code == 0
    assert cv2.imread(str(tmp_path / "x.png")).shape == (144, 2 * 192, 3)
    with av.open(str(tmp_path / "x.mp4")) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert [round(time * 25, 3) for time, _ in frames] == list(range(6))
    right = frames[3][1][20:100, 192 + 20 : -60].astype(int)
    half_red = np.median(right, axis=(0, 1))
    assert half_red[0] > 220
    assert 100 < half_red[1] < 180  # half the scale is half the colour


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--videos DIR, or --pair"),
        (["--videos", "VIDEO"], "--out is missing"),
        (["--videos", "VIDEO", "--out", "x", "--scale", "2"], "--scale"),
        (["--videos", "VIDEO", "--out", "x", "--format", "h5", "--bound", "20"], "--bound"),
        (["--videos", "VIDEO", "--out", "x", "--dtype", "float16"], "--dtype"),
        (["--videos", "VIDEO", "--preview", "x.gif"], ".mp4 or .png"),
        (["--videos", "VIDEO", "--preview", "x.png", "--out", "x"], "--out means nothing"),
        (["--videos", "VIDEO", "--out", "x", "--flow-option", "preset"], "NAME=VALUE"),
        (["--videos", "VIDEO", "--out", "x", "--flow-option", "preset=quick"], "quick"),
        (["--videos", "nowhere", "--out", "x"], "nowhere"),
    ],
)
def test_a_command_that_can_not_be_carried_out_says_why(run, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    write_moving(tmp_path / "a.mp4")
    words = [str(tmp_path / "a.mp4") if word == "VIDEO" else word for word in words]
    code, _, err = run("flow", "--device", "cpu", *words)
    assert code == 2
    assert said in err
    assert not (tmp_path / "x").exists()


def test_a_folder_of_videos_is_written_told_and_looked_at(run, tmp_path):
    write_moving(tmp_path / "videos/a.mp4")
    (tmp_path / "videos/no.mp4").write_bytes(b"no")
    words = (
        "flow",
        "--videos",
        tmp_path / "videos",
        "--out",
        tmp_path / "out",
        "--method",
        "dis",
        "--device",
        "cpu",
        "--format",
        "npy",
        "--dtype",
        "float16",
        "--inline",
        "--log-json",
        tmp_path / "log.jsonl",
    )
    code, out, err = run(*words)
    assert code == 3
    assert "1 video made" in out
    assert "failed: no (VideoOpenError)" in err
    assert np.load(tmp_path / "out/a.npy").dtype == np.float16
    events = [json.loads(line)["event"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert events == ["start", "shard"]
    assert run("status", tmp_path / "out")[0] == 3
    assert run("verify", tmp_path / "out")[0] == 0
    assert run("inspect", tmp_path / "out")[0] == 2
    (tmp_path / "out/a.npy").unlink()
    code, out, _ = run("verify", tmp_path / "out")
    assert code == 1
    assert "a.npy" in out


def test_the_help_of_flow_tells_its_three_ways(run):
    code, out, _ = run("flow", "--help")
    assert code == 0
    assert all(f"vidu-pipe flow --{way}" in out for way in ("videos DIR", "videos FILE", "pair A.png"))
