import itertools
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from schemas.errors import ConfigError, InputError
from tests.benchmarks.bench_tvl1 import endpoint_error, read_pairs
from workers.flow.tvl1.cpu.medians import COLUMN_SORT, MEDIAN_NETWORK, MEDIAN_PLACE
from workers.flow.tvl1.method import TVL1Flow
from workers.flow.tvl1.parameters import PRESETS, TVL1, parameters_of
from workers.flow.tvl1.pyramid import grow_taps, level_sizes, shrink_taps
from workers.flow.tvl1.torch_engine import flow_of as torch_flow_of

Array = NDArray[np.float32]
GOALS_PX = {"fast": 0.36, "balanced": 0.315, "accurate": 0.285}


def texture(height: int, width: int, seed: int = 0) -> Array:
    """Smooth random texture on the scale of 0 to 255."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 2.0)
    return (127 + 50 * noise / max(noise.std(), 1e-6)).clip(0, 255).astype(np.float32)


def moved(image: Array, dx: float, dy: float) -> Array:
    """The image with its content moved by (dx, dy) px."""
    return ndimage.shift(image, (dy, dx), order=3, mode="nearest")


def video(count: int = 4, height: int = 40, width: int = 56) -> NDArray[np.uint8]:
    """(T, H, W) frames that drift and carry noise."""
    base, rng = texture(height, width), np.random.default_rng(1)
    frames = [moved(base, 0.7 * k, -0.4 * k) + rng.normal(0, 2, base.shape) for k in range(count)]
    return np.stack(frames).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("dx", "dy"), [(1.0, 0.0), (0.0, -1.5), (2.3, 1.7), (-6.0, 4.0), (0.25, 0.1)])
def test_a_texture_moved_by_dx_dy_has_flow_dx_dy(preset: str, dx: float, dy: float) -> None:
    image = texture(96, 112)
    flow = TVL1Flow(preset)(np.stack([image, moved(image, dx, dy)]))[0]
    inner = flow[:, 12:-12, 12:-12]
    assert np.hypot(inner[0] - dx, inner[1] - dy).mean() < 0.05


def test_shape_and_dtype_follow_the_contract() -> None:
    flow = TVL1Flow()(video(4, 20, 30))
    assert flow.shape == (3, 2, 20, 30)
    assert flow.dtype == np.float32
    assert flow.flags.c_contiguous


def test_one_frame_has_no_flow() -> None:
    assert TVL1Flow()(video(1, 20, 30)).shape == (0, 2, 20, 30)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (8, 8), (33, 17), (64, 96)])
def test_a_frame_does_not_move_against_itself(preset: str, shape: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert not TVL1Flow(preset)(np.stack([frame, frame])).any()


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 2), (2, 1), (1, 40), (40, 1), (3, 3), (8, 8), (7, 15), (5, 16), (17, 33)]
)
def test_tiny_frames_have_finite_flow_no_longer_than_the_frame(shape: tuple[int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    flow = TVL1Flow()(frames)
    assert np.isfinite(flow).all()
    assert np.abs(flow[:, 0]).max() <= shape[1]
    assert np.abs(flow[:, 1]).max() <= shape[0]


@pytest.mark.parametrize("levels", [(0, 0), (255, 255), (100, 180), (7, 201)])
def test_constant_frames_have_no_flow(levels: tuple[int, int]) -> None:
    frames = np.stack([np.full((67, 90), level, np.uint8) for level in levels])
    assert not TVL1Flow()(frames).any()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 255.0, 65535.0])
def test_noise_of_any_contrast_has_finite_bounded_flow(scale: float) -> None:
    frames = (np.random.default_rng(0).uniform(-1, 1, (2, 48, 64)) * scale).astype(np.float32)
    flow = TVL1Flow("fast")(frames)
    assert np.isfinite(flow).all()
    assert np.abs(flow).max() <= 64


def test_a_wide_frame_is_as_good_as_a_narrow_one() -> None:
    image = texture(32, 3840)
    flow = TVL1Flow("fast", smallest_px=8)(np.stack([image, moved(image, 1.0, 0.5)]))[0]
    assert np.hypot(flow[0] - 1.0, flow[1] - 0.5)[6:-6, 6:-6].mean() < 0.05


def test_uint8_and_float32_of_the_same_greys_give_the_same_bits() -> None:
    frames = video()
    assert np.array_equal(TVL1Flow()(frames), TVL1Flow()(frames.astype(np.float32)))


def test_batching_never_changes_a_bit() -> None:
    frames, method = video(5), TVL1Flow()
    whole = method(frames)
    for start, stop in [(0, 2), (1, 3), (2, 5), (0, 4)]:
        assert np.array_equal(method(frames[start:stop]), whole[start : stop - 1])


def test_layout_in_memory_never_changes_a_bit() -> None:
    frames, method = video(), TVL1Flow()
    assert np.array_equal(method(np.asfortranarray(frames)), method(frames))
    assert np.array_equal(method(frames[::-1]), method(np.ascontiguousarray(frames[::-1])))


def test_no_state_survives_between_calls_of_other_sizes() -> None:
    frames, method = video(), TVL1Flow()
    before = method(frames)
    for others in (video(2, 70, 33), frames[::-1], np.zeros_like(frames)):
        method(others)
        assert np.array_equal(method(frames), before)


def test_threads_never_change_a_bit() -> None:
    frames, method = video(6), TVL1Flow()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(method, [frames] * 8))
    assert all(np.array_equal(result, results[0]) for result in results)


def test_a_wavefront_of_any_depth_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = video(2)
    whole = TVL1Flow()(frames)
    for cache_bytes in (1, 20_000, 60_000):
        monkeypatch.setattr("workers.flow.tvl1.cpu.engine._CACHE_BYTES", cache_bytes)
        monkeypatch.setattr("workers.flow.tvl1.cpu.engine._last", threading.local())
        assert np.array_equal(TVL1Flow()(frames), whole)


def test_the_input_is_left_alone() -> None:
    frames = video()
    copy = frames.copy()
    frames.flags.writeable = False
    TVL1Flow()(frames)
    assert np.array_equal(frames, copy)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9])
def test_greys_that_are_no_greys_are_refused(value: float) -> None:
    frames = video(2).astype(np.float32)
    frames[1, 3, 4] = value
    with pytest.raises(InputError):
        TVL1Flow()(frames)


@pytest.mark.parametrize(
    "frames", [np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 0, 4), np.uint8), np.zeros((2, 4, 4), np.float64)]
)
def test_frames_of_another_shape_or_dtype_are_refused(frames: NDArray[np.generic]) -> None:
    with pytest.raises(ConfigError):
        TVL1Flow()(frames)  # type: ignore[arg-type]


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="fast, balanced, accurate"):
        TVL1Flow("quick")


def test_an_unknown_option_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="lam, theta, tau, warps"):
        TVL1Flow(lambda_=0.1)


@pytest.mark.parametrize(
    "option",
    [
        {"lam": 0.0},
        {"lam": "much"},
        {"theta": -1.0},
        {"tau": float("nan")},
        {"warps": 0},
        {"iterations": 1.5},
        {"median": 4},
        {"scale_step": 1.0},
    ],
)
def test_values_out_of_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        TVL1Flow(**option)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="abacus"):
        TVL1Flow(device="abacus")


def test_options_change_the_flow() -> None:
    frames = video(2)
    usual = TVL1Flow()(frames)
    for option in (
        {"lam": 0.1},
        {"theta": 1.0},
        {"tau": 0.2},
        {"warps": 1},
        {"iterations": 3},
        {"scale_step": 0.5},
        {"median": 0},
    ):
        assert not np.array_equal(TVL1Flow(**option)(frames), usual), option
    assert not np.array_equal(TVL1Flow(median=3)(frames), TVL1Flow(median=0)(frames))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_error_on_real_pairs_stays_below_the_goal(preset: str, shared_data: Path) -> None:
    method = TVL1Flow(preset)
    errors = [endpoint_error(method(frames)[0], truth) for frames, truth in read_pairs(shared_data).values()]
    assert np.mean(errors) <= GOALS_PX[preset]


@pytest.mark.parametrize("side", COLUMN_SORT)
def test_the_median_networks_are_right_for_every_sorted_square(side: int) -> None:
    ones = np.array(list(itertools.product(range(side + 1), repeat=side))).T
    values = [ones[column] >= side - row for row in range(side) for column in range(side)]
    for low, high in MEDIAN_NETWORK[side]:
        values[low], values[high] = values[low] & values[high], values[low] | values[high]
    assert np.array_equal(values[MEDIAN_PLACE[side]], 2 * ones.sum(axis=0) > side * side)
    for column in itertools.product((0, 1), repeat=side):
        cells = list(column)
        for low, high in COLUMN_SORT[side]:
            cells[low], cells[high] = min(cells[low], cells[high]), max(cells[low], cells[high])
        assert cells == sorted(cells)


@pytest.mark.parametrize(("size", "outputs"), [(1, 1), (2, 1), (5, 4), (17, 14), (100, 50)])
def test_resampling_keeps_constants_and_the_middle_of_ramps(size: int, outputs: int) -> None:
    for taps, inputs, count in (
        (shrink_taps(size, outputs, 0.7), size, outputs),
        (grow_taps(outputs, size), outputs, size),
    ):
        matrix = taps.dense()
        assert matrix.shape == (count, inputs)
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(
            (matrix @ np.arange(inputs, dtype=np.float32)).mean(), (inputs - 1) / 2, atol=0.02 * inputs
        )


def test_levels_stop_before_the_shorter_side_gets_too_small() -> None:
    assert level_sizes(64, 100, 0.5, 16) == ((64, 100), (32, 50), (16, 25))
    assert level_sizes(3, 5, 0.5, 16) == ((3, 5),)


@pytest.mark.parametrize("shape", [(1, 1), (1, 12), (9, 7), (40, 56)])
@pytest.mark.parametrize("preset", PRESETS)
def test_torch_agrees_with_numba(preset: str, shape: tuple[int, int]) -> None:
    frames = video(3, *shape)
    difference = np.abs(torch_flow_of(frames, PRESETS[preset], "cpu") - TVL1Flow(preset)(frames))
    assert difference.mean() < 0.002


@pytest.mark.parametrize("median", [0, 3, 5])
def test_torch_knows_every_median(median: int) -> None:
    frames, parameters = video(2), parameters_of("fast", median=median)
    assert np.abs(torch_flow_of(frames, parameters, "cpu") - TVL1Flow("fast", median=median)(frames)).mean() < 0.002


def test_torch_agrees_with_numba_on_a_real_pair(shared_data: Path) -> None:
    frames, _ = read_pairs(shared_data)["RubberWhale"]
    crop = np.ascontiguousarray(frames[:, 60:220, 100:340])
    difference = torch_flow_of(crop, PRESETS["fast"], "cpu") - TVL1Flow("fast")(crop)
    assert np.hypot(*difference.swapaxes(0, 1)).mean() < 0.02


def test_torch_moves_nothing_between_equal_frames_and_batches_freely() -> None:
    frames = video(4)
    same = np.repeat(frames[:1], 3, axis=0)
    assert not torch_flow_of(same, PRESETS["fast"], "cpu").any()
    whole = torch_flow_of(frames, PRESETS["fast"], "cpu")
    assert np.array_equal(torch_flow_of(frames[1:3], PRESETS["fast"], "cpu"), whole[1:2])


_TRITON_SCRIPT = """
import numpy as np
import workers.flow.tvl1.triton_kernels as fused
from tests.workers.flow.test_tvl1 import video
from workers.flow.tvl1.parameters import TVL1
from workers.flow.tvl1.cpu.engine import flow_of
from workers.flow.tvl1.torch_engine import flow_of as torch_flow_of
fused.STEPS, fused.STRIP_WIDE, fused._LOWEST_STRIP = 3, 16, 4  # several strips even in a tiny picture
for median, shape, iterations in ((5, (9, 15), 4), (3, (6, 7), 1), (0, (1, 1), 1)):
    frames = video(3, *shape)
    parameters = TVL1(warps=1, iterations=iterations, scale_step=0.6, median=median, smallest_px=5)
    flow = torch_flow_of(frames, parameters, "cpu", kernels="triton")
    assert np.abs(flow - flow_of(frames, parameters)).mean() < 0.002, (median, shape)
    if median == 3:
        assert not torch_flow_of(frames[[0, 0]], parameters, "cpu", kernels="triton").any()
        assert np.array_equal(torch_flow_of(frames[1:], parameters, "cpu", kernels="triton"), flow[1:])
"""


def test_triton_kernels_agree_with_numba_in_the_interpreter() -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", _TRITON_SCRIPT], check=True, env=environment, cwd=Path(__file__).parents[3])


def test_parameters_stand_in_the_repr() -> None:
    assert "lam=0.1" in repr(TVL1Flow(lam=0.1))
    assert TVL1().scale_step == PRESETS["balanced"].scale_step
