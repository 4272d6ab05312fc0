"""What every flow method promises; a new entry of FLOW_METHODS is held to it by its name alone."""

import inspect

import numpy as np
import pytest

from schemas.errors import ConfigError
from schemas.options import OptionValue
from workers.flow import FLOW_METHODS, FLOW_PRESETS, checked_options, make_flow

METHODS = list(FLOW_METHODS)


def texture(height, width, dx=0.0, dy=0.0):
    """Smooth uint8 (H, W) picture, moved to the right by dx and down by dy pixels."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = x - dx, y - dy
    waves = np.sin(x / 3.1 + 0.4 * np.cos(y / 5)) + np.sin(y / 2.7 + 0.3)
    waves += np.sin((x + y) / 6.3) + np.cos((x - y) / 4.9)
    return np.round(127.5 + 28 * waves).astype(np.uint8)


def moving(frames, height=48, width=56, dx=0.6, dy=0.3):
    return np.stack([texture(height, width, dx * t, dy * t) for t in range(frames)])


@pytest.mark.parametrize("name", METHODS)
def test_fields_are_float32_between_each_two_frames_and_finite(name):
    flow = make_flow(name)(moving(4))
    assert flow.dtype == np.float32
    assert flow.shape == (3, 2, 48, 56)
    assert np.isfinite(flow).all()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (17, 33), (8, 64), (31, 32)])
def test_small_and_odd_pictures_have_flow_of_their_size(name, size):
    flow = make_flow(name)(moving(3, *size))
    assert flow.shape == (2, 2, *size)
    assert np.isfinite(flow).all()


@pytest.mark.parametrize("name", METHODS)
def test_one_frame_has_no_fields(name):
    assert make_flow(name)(moving(1)).shape == (0, 2, 48, 56)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("picture", [texture(40, 40), np.zeros((40, 40), np.uint8), np.full((9, 33), 255, np.uint8)])
def test_a_still_picture_moves_nowhere(name, picture):
    assert not make_flow(name)(np.stack([picture] * 3)).any()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shift", [(1.5, 0.0), (0.0, -1.0), (-1.0, 0.5)])
def test_a_texture_moved_by_dx_dy_has_flow_dx_dy(name, shift):
    flow = make_flow(name)(moving(2, 96, 96, *shift))[0]
    inside = flow[:, 16:-16, 16:-16]
    assert np.median(inside[0]) == pytest.approx(shift[0], abs=0.2)
    assert np.median(inside[1]) == pytest.approx(shift[1], abs=0.2)


@pytest.mark.parametrize("name", METHODS)
def test_a_field_has_the_same_bits_whatever_was_computed_before(name):
    method, frames = make_flow(name), moving(3)
    first = method(frames)
    method(moving(2, 7, 5))
    method(moving(2, 90, 20))
    assert np.array_equal(method(frames), first)
    assert np.array_equal(make_flow(name)(frames), first)


@pytest.mark.parametrize("name", METHODS)
def test_a_field_has_the_same_bits_however_many_frames_come_at_once(name):
    frames = moving(6, dx=1.1)
    whole = make_flow(name)(frames)
    method = make_flow(name)
    assert np.array_equal(np.concatenate([method(frames[t : t + 2]) for t in range(5)]), whole)
    assert np.array_equal(np.concatenate([method(frames[:4]), method(frames[3:])]), whole)


@pytest.mark.parametrize("name", METHODS)
def test_frames_are_only_read(name):
    frames = moving(2)
    frames.flags.writeable = False
    before = frames.copy()
    make_flow(name)(frames)
    assert np.array_equal(frames, before)


@pytest.mark.parametrize("name", METHODS)
def test_every_default_can_be_said_aloud_and_every_preset_is_known(name):
    parameters = inspect.signature(FLOW_METHODS[name]).parameters.values()
    said = {one.name: one.default for one in parameters if one.name != "device" and one.kind is one.KEYWORD_ONLY}
    options = tuple((key, value) for key, value in said.items() if isinstance(value, OptionValue))
    assert checked_options(name, "cpu", options) == ()
    for preset in FLOW_PRESETS.get(name, ()):
        make_flow(name, preset=preset)
    assert set(FLOW_PRESETS) <= set(FLOW_METHODS)


def test_an_unknown_method_or_option_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown flow method 'tvl2'.*dis.*farneback"):
        make_flow("tvl2")
    with pytest.raises(ConfigError, match=r"unknown option of flow method 'dis' 'lambda'; known: preset"):
        make_flow("dis", **{"lambda": 3})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dis", {"preset": "best"}),
        ("dis", {"preset": 1}),
        ("farneback", {"window": 0}),
        ("farneback", {"scales": "many"}),
        ("farneback", {"scales": 2.5}),
        ("farneback", {"sigma": float("nan")}),
        ("farneback", {"scale_step": 1.0}),
        ("tvl1-opencv", {"tau": -1.0}),
        ("tvl1-opencv", {"scale_step": 1}),
        ("tvl1-opencv", {"warps": 1.5}),
        ("tvl1-opencv", {"epsilon": float("inf")}),
        ("tvl1-opencv", {"tau": "quick"}),
    ],
)
def test_an_option_out_of_range_is_refused_before_any_work(name, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        make_flow(name, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dis", {"preset": "ultrafast"}),
        ("farneback", {"window": 9, "sigma": 1}),
        ("tvl1-opencv", {"warps": 1, "tau": 0.2}),
    ],
)
def test_options_change_the_field(name, options):
    frames = moving(2, 64, 64, 2.3, 1.7)
    assert not np.array_equal(make_flow(name, **options)(frames), make_flow(name)(frames))


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("tvl1", {"preset": "balanced"}, {}),
        ("tvl1", {"preset": "fast", "warps": 2}, {"preset": "fast", "warps": 2}),
        ("dis", {"preset": "medium"}, {}),
        ("farneback", {}, {}),
    ],
)
def test_a_methods_own_default_said_aloud_is_the_same_setting(name, given, kept):
    assert checked_options(name, "cpu", tuple(given.items())) == tuple(kept.items())
