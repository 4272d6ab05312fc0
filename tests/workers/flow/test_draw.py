"""The colour wheel against what Baker et al. 2011 say of it, not against its own code."""

import colorsys

import numpy as np
import pytest

from workers.flow.files.drawing import colour_wheel, draw_flow, flow_colours, flow_scale_px, wheel_picture


def uniform(u, v, size=8):
    return np.stack([np.full((size, size), u, np.float32), np.full((size, size), v, np.float32)])


def colour_of(u, v, scale_px=1.0):
    return flow_colours(uniform(u, v), scale_px=scale_px)[0, 0].tolist()


def test_no_motion_is_white():
    assert colour_of(0, 0) == [255, 255, 255]


@pytest.mark.parametrize(
    ("u", "v", "hue"),
    [
        # position on the 55-step wheel is (atan2(-v, -u) / pi + 1) / 2 * 54; hues are linear between the six pure ones
        (1, 0, 0.0),  # right: step 0, red
        (0, 1, 60 * 13.5 / 15),  # down: step 13.5 of the 15 from red to yellow
        (-1, 0, 180 + 60 * 2 / 11),  # left: step 27, two of the 11 from cyan to blue
        (0, -1, 240 + 60 * 4.5 / 13),  # up: step 40.5, four and a half of the 13 from blue to magenta
    ],
)
def test_each_direction_has_the_hue_of_the_published_wheel(u, v, hue):
    red, green, blue = (value / 255 for value in colour_of(u, v))
    got, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    assert 360 * got == pytest.approx(hue, abs=3)
    assert saturation == pytest.approx(1, abs=0.01)
    assert value == pytest.approx(1, abs=0.01)


def test_the_wheel_has_55_colours_and_meets_every_pure_hue_where_the_paper_says():
    wheel = colour_wheel()
    assert wheel.shape == (55, 3)
    assert wheel[[0, 15, 21, 25, 36, 49]].tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]]


def test_half_the_scale_has_half_the_saturation():
    assert colour_of(2, 0, scale_px=4) == [255, 128, 128]


def test_the_scale_is_in_pixels():
    assert colour_of(3, 4, scale_px=5) == colour_of(0.6, 0.8, scale_px=1)


def test_what_exceeds_the_scale_is_darkened_and_not_wrapped():
    assert colour_of(9, 0, scale_px=4) == [191, 0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.7e9])
def test_unknown_flow_is_black(bad):
    assert colour_of(bad, 0) == [0, 0, 0]


def test_the_scale_is_the_first_round_number_that_nearly_no_pixel_exceeds():
    assert flow_scale_px(uniform(3, 4)) == 5
    assert flow_scale_px(uniform(3.01, 4)) == 10
    assert flow_scale_px(uniform(0.012, 0)) == 0.1
    assert flow_scale_px(uniform(0.15, 0)) == 0.2
    field = uniform(1, 0, size=100)
    field[0, 0, :90] = 500  # nine in a thousand
    assert flow_scale_px(field) == 1
    assert flow_scale_px(uniform(0, 0)) == 0.1
    assert flow_scale_px(uniform(np.nan, 0)) == 0.1


def test_the_key_is_a_disc_that_is_white_in_the_middle_and_red_at_its_right_rim():
    wheel = wheel_picture(101, ground=7)
    assert wheel[50, 50].tolist() == [255, 255, 255]
    assert wheel[50, 100].tolist() == [255, 0, 0]
    assert wheel[0, 0].tolist() == [7, 7, 7]


def test_a_drawn_field_carries_its_key_in_the_corner_and_nothing_elsewhere():
    flow = uniform(2, 0, size=128)
    picture = draw_flow(flow, scale_px=4)
    plain = flow_colours(flow, scale_px=4)
    assert (picture[:64] == plain[:64]).all()
    assert (picture[:, :64] == plain[:, :64]).all()
    assert (picture[-40:, -40:] != plain[-40:, -40:]).any()
    assert (draw_flow(uniform(2, 0, size=40), scale_px=4) == flow_colours(uniform(2, 0, size=40), scale_px=4)).all()
