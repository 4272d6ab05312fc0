import numpy as np
import pytest

from schemas.frames import FeatureBatch, FlowBatch, FrameBatch, frozen


def window(**changes):
    parts = {
        "frame": np.arange(5, 8),
        "pts_s": np.arange(3) / 25,
        "grey": np.zeros((3, 4, 6), np.uint8),
        "rgb_frame": np.array([6]),
        "rgb": np.zeros((1, 4, 6, 3), np.uint8),
    }
    return FrameBatch(**parts | changes)


def test_arrays_are_read_only_once_they_travel():
    batch = window()
    for name in ("frame", "pts_s", "grey", "rgb_frame", "rgb"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(batch, name)[...] = 0


@pytest.mark.parametrize(
    "change",
    [
        {"frame": np.array([5, 7, 8])},
        {"frame": np.arange(3, dtype=np.int32)},
        {"pts_s": np.arange(4) / 25},
        {"grey": np.zeros((2, 4, 6), np.uint8)},
        {"grey": np.zeros((3, 4, 6), np.float32)},
        {"rgb": np.zeros((1, 4, 7, 3), np.uint8)},
        {"rgb": np.zeros((2, 4, 6, 3), np.uint8)},
        {"rgb_frame": np.array([6.0])},
    ],
)
def test_a_window_whose_parts_do_not_fit_is_not_made(change):
    with pytest.raises(ValueError, match=r"must be|must agree"):
        window(**change)


def test_a_window_may_come_without_grey():
    assert window(grey=np.zeros((0, 4, 6), np.uint8)).grey.shape == (0, 4, 6)


def test_flow_has_two_channels():
    with pytest.raises(ValueError, match=r"flow must be float32 \(2, 2, None, None\)"):
        FlowBatch(np.arange(2), np.zeros((2, 3, 4, 4), np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers_are_not_kept(bad):
    features = np.zeros((3, 4), np.float32)
    features[1, 2] = bad
    with pytest.raises(ValueError, match="rgb network gave NaN or infinity"):
        FeatureBatch("rgb", features)


def test_frozen_does_not_copy():
    array = np.zeros((2, 3))
    assert frozen(array, name="x", dtype="float64", shape=(2, None)) is array
