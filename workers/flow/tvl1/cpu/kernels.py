"""The hot kernels of TV-L1 on one CPU thread, in lanes of sixteen pixels: sweeps, warp and median.

`tvl1_layout` tells where everything lies in memory.
"""

from typing import Any

from workers.flow.tvl1.cpu.layout import MARGIN, PLANES, SPARE_ROWS, Flat, image_stride, kernel, repeat_edges
from workers.flow.tvl1.cpu.simd import (
    equal,
    floor,
    from_left,
    from_right,
    gather4,
    load,
    maximum,
    median_of_columns3,
    median_of_columns5,
    minimum,
    ramp,
    rsqrt,
    sorted_column3,
    sorted_column5,
    splat,
    sqrt,
    store,
)
from workers.flow.tvl1.parameters import FAINT_SLOPE

Lane = Any  # sixteen float32 values: `simd.Lanes`, a type of numba's and not of Python's


@kernel
def sweep_row(
    state: Flat, above: Flat, here: int, below: int, past: int, width: int, stride: int, tau: float, sigma: float
) -> None:
    """One primal-dual step of one row, in place.

    `past` is where `above` keeps the extrapolated p12 and p22 of the row above; this row's replace them.
    """
    step, ascent, one, two, left1, left2 = splat(tau), splat(sigma), splat(1.0), splat(2.0), splat(0.0), splat(0.0)
    u, v = load(state, here), load(state, here + stride)
    for x in range(0, width, 16):
        i = here + x
        next_u, next_v = load(state, i + 16), load(state, i + stride + 16)
        old11, old12 = load(state, i + 2 * stride), load(state, i + 3 * stride)
        old21, old22 = load(state, i + 4 * stride), load(state, i + 5 * stride)
        p11 = old11 + ascent * (from_right(u, next_u) - u)
        p12 = old12 + ascent * (load(state, below + x) - u)
        p21 = old21 + ascent * (from_right(v, next_v) - v)
        p22 = old22 + ascent * (load(state, below + stride + x) - v)
        scale1 = rsqrt(maximum(one, p11 * p11 + p12 * p12))
        scale2 = rsqrt(maximum(one, p21 * p21 + p22 * p22))
        p11, p12, p21, p22 = p11 * scale1, p12 * scale1, p21 * scale2, p22 * scale2
        store(state, i + 2 * stride, p11)
        store(state, i + 3 * stride, p12)
        store(state, i + 4 * stride, p21)
        store(state, i + 5 * stride, p22)
        q11, q12, q21, q22 = two * p11 - old11, two * p12 - old12, two * p21 - old21, two * p22 - old22
        u = u + step * (q11 - from_left(left1, q11) + q12 - load(above, past + x))
        v = v + step * (q21 - from_left(left2, q21) + q22 - load(above, past + stride + x))
        left1, left2 = q11, q21
        store(above, past + x, q12)
        store(above, past + stride + x, q22)
        gx, gy, bound = load(state, i + 6 * stride), load(state, i + 7 * stride), load(state, i + 9 * stride)
        rho = load(state, i + 8 * stride) + gx * u + gy * v
        move = maximum(splat(0.0) - bound, minimum(bound, rho))
        store(state, i, u - move * gx)
        store(state, i + stride, v - move * gy)
        u, v = next_u, next_v
    state[here + width] = state[here + width - 1]
    state[here + stride + width] = state[here + stride + width - 1]


@kernel
def sweep(
    state: Flat, above: Flat, height: int, width: int, stride: int, iterations: int, tau: float, sigma: float
) -> None:
    """`iterations` primal-dual steps over a whole level, as a wavefront.

    Step k may treat row y as soon as step k - 1 has left row y + 1, so the steps run one row behind each other
    and a row passes through many steps while it lies in the cache. The result is that of whole sweeps.
    """
    row = PLANES * stride
    depth = max(1, min(iterations, above.size // (2 * stride)))
    done = 0
    while done < iterations:
        lanes = min(depth, iterations - done)
        above[: lanes * 2 * stride] = 0
        for front in range(height + lanes - 1):
            for k in range(max(0, front - height + 1), min(lanes, front + 1)):
                y = front - k
                here = y * row
                below = here + row if y + 1 < height else here
                sweep_row(state, above, here, below, k * 2 * stride, width, stride, tau, sigma)
        done += lanes


@kernel
def _slope(image: Flat, i: int, step: int) -> Lane:
    """The five-point derivative (1, -8, 0, 8, -1) / 12 along a direction."""
    near = load(image, i + step) - load(image, i - step)
    far = load(image, i + 2 * step) - load(image, i - 2 * step)
    return splat(2.0 / 3.0) * near - splat(1.0 / 12.0) * far


@kernel
def _cubic(t: Lane) -> tuple[Lane, Lane, Lane, Lane]:
    """Catmull-Rom weights of four neighbours at the fraction t."""
    s, half = splat(1.0) - t, splat(-0.5)
    w1 = splat(1.0) + t * t * (splat(1.5) * t - splat(2.5))
    w2 = splat(1.0) + s * s * (splat(1.5) * s - splat(2.5))
    return half * t * s * s, w1, w2, half * s * t * t


@kernel
def _cubic_slope(t: Lane) -> tuple[Lane, Lane, Lane, Lane]:
    """Derivatives of the Catmull-Rom weights."""
    s = splat(1.0) - t
    d0 = t * (splat(2.0) - splat(1.5) * t) - splat(0.5)
    d3 = splat(0.5) - s * (splat(2.0) - splat(1.5) * s)
    return d0, t * (splat(4.5) * t - splat(5.0)), s * (splat(5.0) - splat(4.5) * s), d3


@kernel
def _weigh(weights: tuple[Lane, ...], values: tuple[Lane, ...]) -> Lane:
    """Weighted sum of four lanes."""
    return weights[0] * values[0] + weights[1] * values[1] + weights[2] * values[2] + weights[3] * values[3]


@kernel
def linearise(
    state: Flat, first: Flat, second: Flat, height: int, width: int, stride: int, share: float, reach: float
) -> None:
    """Warp the second image by the flow and write the data term around it: planes 6 to 9 of the state.

    The gradient is the mean of the first image's and the warped one's. A primal step has to move by `share`, tau /
    (theta + tau), of residual times gradient and to treat the residual as linear beyond `reach`, lambda (theta + tau),
    times the gradient's length; writing everything times the root of `share` saves it a product. Pixels that the flow
    carries out of the picture get no data term.
    """
    pitch = image_stride(width)
    corner = SPARE_ROWS * pitch + MARGIN
    right, bottom, zero, faint = splat(width - 1.0), splat(height - 1.0), splat(0.0), splat(FAINT_SLOPE)
    half, root = splat(0.5), sqrt(splat(share))
    for y in range(height):
        here, pixel = y * PLANES * stride, corner + y * pitch
        for x in range(0, width, 16):
            u, v = load(state, here + x), load(state, here + stride + x)
            to_x, to_y = ramp() + splat(x) + u, splat(y) + v
            at_x, at_y = maximum(zero, minimum(right, to_x)), maximum(zero, minimum(bottom, to_y))
            inside = equal(at_x, to_x) * equal(at_y, to_y)
            column, row = floor(at_x), floor(at_y)
            wx, dx, wy = _cubic(at_x - column), _cubic_slope(at_x - column), _cubic(at_y - row)
            rows = (
                gather4(second, corner - pitch - 1, pitch, column, row),
                gather4(second, corner - 1, pitch, column, row),
                gather4(second, corner + pitch - 1, pitch, column, row),
                gather4(second, corner + 2 * pitch - 1, pitch, column, row),
            )
            lines = (_weigh(wx, rows[0]), _weigh(wx, rows[1]), _weigh(wx, rows[2]), _weigh(wx, rows[3]))
            slopes = (_weigh(dx, rows[0]), _weigh(dx, rows[1]), _weigh(dx, rows[2]), _weigh(dx, rows[3]))
            value, slope_x, slope_y = _weigh(wy, lines), _weigh(wy, slopes), _weigh(_cubic_slope(at_y - row), lines)
            gx = inside * half * (slope_x + _slope(first, pixel + x, 1))
            gy = inside * half * (slope_y + _slope(first, pixel + x, pitch))
            square = gx * gx + gy * gy
            inverse = root * rsqrt(square + faint * faint)
            change = inside * (value - load(first, pixel + x)) - gx * u - gy * v
            store(state, here + 6 * stride + x, gx * inverse)
            store(state, here + 7 * stride + x, gy * inverse)
            store(state, here + 8 * stride + x, change * inverse)
            store(state, here + 9 * stride + x, root * splat(reach) * maximum(zero, sqrt(square) - faint))


@kernel
def _median_row(
    image: Flat, source: int, pitch: int, columns: Flat, state: Flat, target: int, width: int, side: int
) -> None:
    """One row of the median filter; `columns` keeps the sorted columns that neighbouring windows share."""
    for x in range(-16, width + 16, 16):
        if side == 3:
            low, middle, high = sorted_column3(image, source + x, pitch)
            store(columns, x + 16, low)
            store(columns, x + 16 + pitch, middle)
            store(columns, x + 16 + 2 * pitch, high)
        else:
            first, low, middle, high, last = sorted_column5(image, source + x, pitch)
            store(columns, x + 16, first)
            store(columns, x + 16 + pitch, low)
            store(columns, x + 16 + 2 * pitch, middle)
            store(columns, x + 16 + 3 * pitch, high)
            store(columns, x + 16 + 4 * pitch, last)
    for x in range(0, width, 16):
        if side == 3:
            store(state, target + x, median_of_columns3(columns, x + 16, pitch))
        else:
            store(state, target + x, median_of_columns5(columns, x + 16, pitch))
    state[target + width] = state[target + width - 1]


@kernel
def median_filter(state: Flat, image: Flat, columns: Flat, height: int, width: int, stride: int, side: int) -> None:
    """Replace u and v by the median of their 3 x 3 or 5 x 5 surroundings, edges repeated."""
    pitch = image_stride(width)
    corner = SPARE_ROWS * pitch + MARGIN
    for plane in range(2):
        for y in range(height):
            source, target = (y * PLANES + plane) * stride, corner + y * pitch
            for x in range(0, width, 16):
                store(image, target + x, load(state, source + x))
        repeat_edges(image, height, width)
        for y in range(height):
            target = (y * PLANES + plane) * stride
            _median_row(image, corner + y * pitch, pitch, columns, state, target, width, side)
