"""Memory of the CPU engine of TV-L1, and the kernels that move planes between pyramid levels.

Memory is laid out for the cache, not for numpy. A *state* is one flat float32 array per pyramid level; a row of it
holds ten planes of `stride` values one behind the other:

    0 u   1 v   2 p11   3 p12   4 p21   5 p22   6 gx   7 gy   8 residual   9 bound

(the flow, the two dual vector fields, and the linearised data term divided by |grad I|). An *image* is a flat float32
array with two spare rows above and below and sixteen spare columns at each side that repeat the edge.
Spare columns of a state hold finite values that no pixel reads, except column `width` of u and v, which repeats the
last one so that the forward difference vanishes at the border.
"""
# mypy: disable-error-code="untyped-decorator"

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from workers.flow.tvl1.cpu.simd import gather4, load, splat, store

Flat = NDArray[np.float32]

PLANES = 10
MARGIN = 16
SPARE_ROWS = 2


def kernel(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - numba's dispatcher is untyped
    """Compile on first use, keep the code on disk if any folder can be written, release the GIL."""
    try:
        return numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # no writable cache folder: numba refuses when it decorates
        return numba.njit(nogil=True, error_model="numpy")(function)


@register_jitable
def state_stride(width: int) -> int:
    """Values per plane and row of a state: whole vectors, one to spare, and an odd number against cache conflicts."""
    vectors: int = (width + 15) // 16 + 1 | 1
    return vectors * 16


def state_size(height: int, width: int) -> int:
    """Values in a state; a few to spare because vectors read past the last row."""
    values: int = height * PLANES * state_stride(width) + 64
    return values


@register_jitable
def image_stride(width: int) -> int:
    """Values per row of an image with its margins."""
    return (width + 15) // 16 * 16 + 2 * MARGIN


@kernel
def repeat_edges(image: Flat, height: int, width: int) -> None:
    """Fill an image's margins with its nearest pixels."""
    pitch = image_stride(width)
    for y in range(SPARE_ROWS, height + SPARE_ROWS):
        row = y * pitch
        image[row : row + MARGIN] = image[row + MARGIN]
        image[row + MARGIN + width : row + pitch] = image[row + MARGIN + width - 1]
    for y in range(SPARE_ROWS):
        image[y * pitch : (y + 1) * pitch] = image[SPARE_ROWS * pitch : (SPARE_ROWS + 1) * pitch]
        last = (height + SPARE_ROWS + y) * pitch
        image[last : last + pitch] = image[last - (y + 1) * pitch : last - y * pitch]


@kernel
def stretch_rows(
    source: Flat,
    origin: int,
    pitch: int,
    height: int,
    planes: int,
    plane_pitch: int,
    starts: Flat,
    weights: Flat,
    width: int,
    target: Flat,
) -> None:
    """Resample every row of one or more planes that lie `plane_pitch` apart.

    target[plane, y, x] = sum over taps of weights[tap, x] * source[plane, y, starts[x] + tap], in rows of
    `starts.size`.
    """
    padded, top = starts.size, splat(0.0)
    for y in range(height):
        for x in range(0, width, 16):
            column = load(starts, x)
            for plane in range(planes):
                total, line = top, origin + y * pitch + plane * plane_pitch
                for tap in range(0, weights.size // padded, 4):
                    a, b, c, d = gather4(source, line + tap, 0, column, top)
                    i = tap * padded + x
                    total = total + load(weights, i) * a + load(weights, i + padded) * b
                    total = total + load(weights, i + 2 * padded) * c + load(weights, i + 3 * padded) * d
                store(target, (plane * height + y) * padded + x, total)


@kernel
def stretch_columns(
    source: Flat,
    origin: int,
    padded: int,
    starts: NDArray[np.int64],
    weights: Flat,
    height: int,
    width: int,
    target: Flat,
    corner: int,
    pitch: int,
    factor: float,
) -> None:
    """Resample every column: target[y] = factor * sum over taps of weights[y, tap] * source[starts[y] + tap]."""
    for y in range(height):
        for x in range(0, width, 16):
            total = splat(0.0)
            for tap in range(weights.shape[1]):
                total = total + splat(weights[y, tap]) * load(source, origin + (starts[y] + tap) * padded + x)
            store(target, corner + y * pitch + x, splat(factor) * total)


@kernel
def close_borders(state: Flat, height: int, width: int, stride: int) -> None:
    """Make the forward differences of u and v and the dual fields vanish across the right and lower border."""
    for y in range(height):
        here = y * PLANES * stride
        for plane in range(2):
            state[here + plane * stride + width] = state[here + plane * stride + width - 1]
            state[here + (2 + 2 * plane) * stride + width - 1] = 0
    last = (height - 1) * PLANES * stride
    state[last + 3 * stride : last + 4 * stride] = 0
    state[last + 5 * stride : last + 6 * stride] = 0
