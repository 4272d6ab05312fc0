import time

import cv2
import numpy as np
import pytest

from pipeline.cli import main
from pipeline.flow.bench import KnownPair, bench_flow, known_pair, pairs_per_s, variants, video_frames
from schemas.errors import ConfigError, EmptyVideoError
from tests.flowing import write_moving
from workers.flow import FLOW_METHODS, FLOW_PRESETS, is_on_gpu


@pytest.fixture(scope="module")
def pair():
    return known_pair(128, 96)


def test_the_second_picture_taken_along_the_flow_is_the_first(pair):
    H, W = pair.flow.shape[1:]
    row, column = np.mgrid[:H, :W].astype(np.float32)
    back = cv2.remap(pair.grey[1].astype(np.float32), column + pair.flow[0], row + pair.flow[1], cv2.INTER_CUBIC)
    inside = np.s_[8:-8, 8:-8]
    assert np.abs(back - pair.grey[0])[inside].mean() < 1
    assert np.abs(pair.grey[1].astype(float) - pair.grey[0])[inside].mean() > 5


def test_the_motion_differs_everywhere_but_smoothly(pair):
    assert np.hypot(*pair.flow).std() > 0.3
    assert max(np.abs(np.diff(pair.flow, axis=axis)).max() for axis in (1, 2)) < 0.1
    assert known_pair(256, 192).flow.max() > 1.5 * pair.flow.max()


def test_the_error_counts_only_what_stays_in_the_picture():
    flow = np.zeros((2, 4, 5), np.float32)
    flow[0] = 1
    known = KnownPair(np.zeros((2, 4, 5), np.uint8), flow)
    wrong = flow.copy()
    wrong[0, :, 0] = 1.5
    assert known.error_px(wrong) == pytest.approx(0.5 / 4)
    wrong[0, :, -1] = 9  # where the motion leaves the picture
    assert known.error_px(wrong) == pytest.approx((0.5 + 0) / 4)


def test_every_method_and_preset_is_measured_the_baseline_first():
    found = list(variants(("cpu", "cuda")))
    assert found[0] == ("tvl1-opencv", "", "cpu")
    assert {method for method, *_ in found} == set(FLOW_METHODS)
    assert {(method, preset) for method, preset, _ in found if preset} == {
        (method, preset) for method, presets in FLOW_PRESETS.items() for preset in presets
    }
    assert {(method, preset) for method, preset, device in found if device == "cuda"} == {
        (method, preset) for method in FLOW_METHODS if is_on_gpu(method) for preset in FLOW_PRESETS.get(method, ("",))
    }


def test_every_method_is_sane_and_has_a_speed(pair):
    rows = list(bench_flow(pair, None, seconds=0.01, devices=("cpu",)))
    assert len(rows) == len(list(variants(("cpu",))))
    for row in rows:
        assert row.error_px < 1, row.name
        assert row.pairs_per_s, row.name
        assert row.apart_px is None


def test_a_method_that_finds_nothing_is_not_timed(pair, monkeypatch):
    monkeypatch.setitem(FLOW_METHODS, "dis", lambda preset: lambda grey: np.zeros((len(grey) - 1, 2, 96, 128)))
    rows = {row.name: row for row in bench_flow(pair, None, seconds=0.001, devices=("cpu",))}
    assert rows["dis fast"].pairs_per_s is None
    assert rows["farneback"].pairs_per_s


def test_a_slow_method_computes_one_pair(pair):
    calls = []

    def slow(grey):
        calls.append(len(grey))
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
        return np.zeros((len(grey) - 1, 2, 96, 128), np.float32)

    assert 0 < pairs_per_s(slow, pair.grey, 0.001, "cpu") < 60
    assert calls == [2]


def test_on_a_video_the_difference_to_accurate_is_told(pair, tmp_path):
    frames = video_frames(str(write_moving(tmp_path / "a.mp4", frames=50)), 72)
    assert frames.shape == (33, 72, 96)
    rows = {row.name: row for row in bench_flow(pair, frames, seconds=0.001, devices=("cpu",))}
    assert rows["tvl1 accurate"].apart_px == 0
    assert 0 < rows["tvl1 fast"].apart_px < 1
    with pytest.raises(EmptyVideoError, match="2 frames"):
        video_frames(str(write_moving(tmp_path / "b.mp4", frames=1)), 72)


def test_the_command_prints_the_table(capsys):
    with pytest.raises(SystemExit) as end:
        main(["bench", "flow", "--size", "96x64", "--seconds", "0.001"])
    assert end.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split() == ["method", "device", "pairs/s", "x", "OpenCV", "TV-L1", "AEE", "px"]
    assert [line.split()[0] for line in lines[4:5]] == ["tvl1-opencv"]
    assert float(lines[4].split()[3]) == 1


@pytest.mark.parametrize("size", ["big", "8x8", "99999x256"])
def test_a_size_that_can_not_be_is_refused(size, capsys):
    with pytest.raises(SystemExit) as end:
        main(["bench", "flow", "--size", size])
    assert end.value.code == 2
    assert size in capsys.readouterr().err
    with pytest.raises(ConfigError):
        known_pair(8, 8)
