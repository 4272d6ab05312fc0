from fractions import Fraction

import numpy as np
import pytest

from schemas.errors import ConfigError, ResourceError
from workers.flow.files.pictures import displacements, grey_of, quantised, read_picture, write_picture


@pytest.mark.parametrize("bound", [0.5, 15.0, 20.0, 32.0])
def test_no_motion_is_128_and_the_bound_is_the_end(bound):
    values = quantised(np.array([0, -bound, bound, -1e6, 1e6], np.float32), bound)
    assert values.tolist() == [128, 0, 255, 0, 255]


@pytest.mark.parametrize("bound", [15, 20])
def test_values_are_those_of_exact_arithmetic_rounded_with_halves_to_even(bound):
    flow = np.concatenate(
        [
            np.random.default_rng(0).uniform(-bound - 1, bound + 1, 500),
            [(2 * k + 1) * bound / 255 - bound for k in range(255)],
        ]
    ).astype(np.float32)
    exact = [round(255 * (Fraction(min(max(float(v), -bound), bound)) + bound) / (2 * bound)) for v in flow]
    assert quantised(flow, float(bound)).tolist() == exact


def test_a_half_goes_to_the_even_value():
    # a bound of 127.5 makes the value v + 127.5, exactly
    assert quantised(np.array([-127, -126, -1, 0, 1, 2], np.float32), 127.5).tolist() == [0, 2, 126, 128, 128, 130]


def test_displacements_come_back_to_half_a_step():
    flow = np.random.default_rng(1).uniform(-20, 20, (2, 30, 40)).astype(np.float32)
    assert np.abs(displacements(quantised(flow, 20.0), 20.0) - flow).max() <= 20 / 255 + 1e-5


def test_a_png_comes_back_bit_for_bit_and_a_jpg_nearly(tmp_path):
    y, x = np.mgrid[:40, :60]
    picture = np.stack([4 * x, 6 * y, 128 + x - y], axis=2).astype(np.uint8)
    write_picture(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), picture)
    write_picture(tmp_path / "a.jpg", picture)
    assert np.abs(read_picture(tmp_path / "a.jpg").astype(int) - picture).mean() < 3
    write_picture(tmp_path / "grey.png", picture[..., 0])
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png"), np.repeat(picture[..., :1], 3, axis=2))


def test_grey_weighs_the_colours_as_bt601():
    colours = np.eye(3, dtype=np.uint8)[None] * 255
    assert grey_of(np.ascontiguousarray(colours)).tolist() == [[76, 150, 29]]


def test_files_that_are_no_pictures_are_named(tmp_path):
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "empty.png").touch()
    for name in ("text.png", "empty.png", "none.png"):
        with pytest.raises(ConfigError, match=name):
            read_picture(tmp_path / name)
    with pytest.raises(ResourceError, match="nowhere"):
        write_picture(tmp_path / "nowhere" / "a.png", np.zeros((4, 4), np.uint8))
