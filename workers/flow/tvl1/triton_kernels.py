"""The four kernels of TV-L1 in Triton; same names, arguments and arithmetic as the torch operations of `torch_engine`.

The sweep is where the time goes. It is the wavefront of the numba kernel turned into registers: a program is one warp
that walks down a strip of columns, takes every row through `STEPS` primal-dual steps, one row behind each other, and
writes it. Nothing goes through shared memory and no barrier is needed: neighbours in a row exchange values by shuffles,
and global memory is touched once per `STEPS` steps. Strips overlap their neighbours by `STEPS` pixels all around.
"""
# Triton compiles these functions from their source and knows neither annotations nor starred tuples:
# ruff: noqa: ANN001, ANN202, RUF005, RET505
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"

import torch
import triton
import triton.language as tl
from torch import Tensor

from workers.flow.tvl1.cpu.medians import COLUMN_SORT, MEDIAN_NETWORK, MEDIAN_PLACE
from workers.flow.tvl1.parameters import FAINT_SLOPE
from workers.flow.tvl1.pyramid import Taps
from workers.flow.tvl1.tables import tables

STEPS = 5  # more lose too many columns to the halo and spill registers, fewer touch memory too often
STRIP_WIDE = 64  # two columns a thread
_LOWEST_STRIP = 16
_PROGRAMS = 2048  # strips get shorter until there are so many: four for each of an H100's 528 schedulers
_BLOCK = 256


def _network(side: int) -> tuple[tuple[int, int], ...]:
    """All exchanges from `side` x `side` unsorted values to their median."""
    columns = ((side * low + column, side * high + column) for column in range(side) for low, high in COLUMN_SORT[side])
    return (*columns, *MEDIAN_NETWORK[side])


_NETWORK = {side: _network(side) for side in COLUMN_SORT}


@triton.jit
def _resample(
    source, target, row_starts, row_weights, column_starts, column_weights, high, wide, height, width,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    plane = tl.program_id(1).to(tl.int64)
    here = place < height * width
    y, x = place // width, place % width
    top, left = tl.load(row_starts + y, here, 0), tl.load(column_starts + x, here, 0)
    total = tl.zeros((BLOCK,), tl.float32)
    for j in tl.static_range(ROWS):
        line = tl.zeros((BLOCK,), tl.float32)
        for k in tl.static_range(COLUMNS):
            weight = tl.load(column_weights + x * COLUMNS + k, here, 0.0)
            line += weight * tl.load(source + plane * high * wide + (top + j) * wide + left + k, here, 0.0)
        total += line * tl.load(row_weights + y * ROWS + j, here, 0.0)
    tl.store(target + plane * height * width + place, total, here)


def resample(planes: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """Separable weighted sums of (N, h, w) planes."""
    count, high, wide = planes.shape
    height, width = len(rows.starts), len(columns.starts)
    target = planes.new_empty(count, height, width)
    _resample[(triton.cdiv(height * width, _BLOCK), count)](
        planes, target, *tables(rows, planes.device), *tables(columns, planes.device), high, wide, height, width,
        ROWS=rows.weights.shape[1], COLUMNS=columns.weights.shape[1], BLOCK=_BLOCK, enable_fp_fusion=True,
    )  # fmt: skip
    return target


@triton.jit
def _cubic(t):
    s = 1 - t
    w1, w2 = 1 + t * t * (1.5 * t - 2.5), 1 + s * s * (1.5 * s - 2.5)
    return -0.5 * t * s * s, w1, w2, -0.5 * s * t * t


@triton.jit
def _cubic_slope(t):
    s = 1 - t
    d0, d3 = t * (2 - 1.5 * t) - 0.5, 0.5 - s * (2 - 1.5 * s)
    return d0, t * (4.5 * t - 5), s * (5 - 4.5 * s), d3


@triton.jit
def _line(row, column, width, weights, slopes, here):
    """Value and derivative of one row of four neighbours."""
    value, slope = weights[0] * 0, weights[0] * 0
    for k in tl.static_range(4):
        tap = tl.load(row + tl.minimum(tl.maximum(column + (k - 1), 0), width - 1), here, 0.0)
        value += weights[k] * tap
        slope += slopes[k] * tap
    return value, slope


@triton.jit
def _slope(image, place, step, index, size, here):
    """The five-point derivative along an axis, edges repeated."""
    near = tl.load(image + place + (tl.minimum(index + 1, size - 1) - index) * step, here, 0.0)
    near -= tl.load(image + place + (tl.maximum(index - 1, 0) - index) * step, here, 0.0)
    far = tl.load(image + place + (tl.minimum(index + 2, size - 1) - index) * step, here, 0.0)
    far -= tl.load(image + place + (tl.maximum(index - 2, 0) - index) * step, here, 0.0)
    return near * (2.0 / 3.0) - far * (1.0 / 12.0)


@triton.jit
def _linearise(first, second, flow, data, height, width, root, reach, faint, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    pair, size = tl.program_id(1).to(tl.int64), height * width
    here = place < size
    y, x = place // width, place % width
    first, second, flow, data = (
        first + pair * size,
        second + pair * size,
        flow + pair * size * 2,
        data + pair * size * 4,
    )
    u, v = tl.load(flow + place, here, 0.0), tl.load(flow + size + place, here, 0.0)
    to_x, to_y = x + u, y + v
    at_x = tl.minimum(tl.maximum(to_x, 0.0), width - 1.0)
    at_y = tl.minimum(tl.maximum(to_y, 0.0), height - 1.0)
    inside = ((at_x == to_x) & (at_y == to_y)).to(tl.float32)
    column, row = tl.floor(at_x).to(tl.int32), tl.floor(at_y).to(tl.int32)
    wx, dx, wy, dy = _cubic(at_x - column), _cubic_slope(at_x - column), _cubic(at_y - row), _cubic_slope(at_y - row)
    value, slope_x, slope_y = u * 0, u * 0, u * 0
    for k in tl.static_range(4):
        start = second + tl.minimum(tl.maximum(row + (k - 1), 0), height - 1) * width
        line, slope = _line(start, column, width, wx, dx, here)
        value += wy[k] * line
        slope_y += dy[k] * line
        slope_x += wy[k] * slope
    gx = inside * 0.5 * (slope_x + _slope(first, place, 1, x, width, here))
    gy = inside * 0.5 * (slope_y + _slope(first, place, width, y, height, here))
    square = gx * gx + gy * gy
    inverse = root / tl.sqrt(square + faint * faint)
    change = inside * (value - tl.load(first + place, here, 0.0)) - gx * u - gy * v
    tl.store(data + place, gx * inverse, here)
    tl.store(data + size + place, gy * inverse, here)
    tl.store(data + 2 * size + place, change * inverse, here)
    tl.store(data + 3 * size + place, root * reach * tl.maximum(tl.sqrt(square) - faint, 0.0), here)


def linearise(first: Tensor, second: Tensor, flow: Tensor, share: float, reach: float) -> Tensor:
    """The data term (gx, gy, residual, bound) around the flow; see the numba kernel of the same name."""
    pairs, height, width = first.shape
    data = flow.new_empty(pairs, 4, height, width)
    _linearise[(triton.cdiv(height * width, _BLOCK), pairs)](
        first, second, flow, data, height, width, share**0.5, reach, FAINT_SLOPE, BLOCK=_BLOCK, enable_fp_fusion=True
    )
    return data


@triton.jit
def _raise(old_x, old_y, slope_x, slope_y):
    """Gradient ascent of a dual vector and its projection onto the unit disc."""
    x, y = old_x + slope_x, old_y + slope_y
    scale = tl.rsqrt(tl.maximum(x * x + y * y, 1.0))
    return x * scale, y * scale


@triton.jit
def _read(tensor, place, size, here, PLANES: tl.constexpr):
    """One row of every plane; zeros outside the picture."""
    row = ()
    for plane in tl.static_range(PLANES):
        row = row + (tl.load(tensor + plane * size + place, here, 0.0),)
    return row


@triton.jit
def _zeros(x, COUNT: tl.constexpr):
    row = ()
    for _ in tl.static_range(COUNT):
        row = row + (x * 0.0,)
    return row


@triton.jit
def _step(row, below, above, along, down, inner, tau, to_right, to_left):
    """One primal-dual step of one row of the ten planes; also the row's extrapolated p12 and p22."""
    u, v, p11, p12, p21, p22, gx, gy, residual, bound = row
    n11, n12 = _raise(p11, p12, along * (tl.gather(u, to_right, 0) - u), down * (below[0] - u))
    n21, n22 = _raise(p21, p22, along * (tl.gather(v, to_right, 0) - v), down * (below[1] - v))
    q11, q12, q21, q22 = 2 * n11 - p11, 2 * n12 - p12, 2 * n21 - p21, 2 * n22 - p22
    u += tau * (q11 - inner * tl.gather(q11, to_left, 0) + q12 - above[0])
    v += tau * (q21 - inner * tl.gather(q21, to_left, 0) + q22 - above[1])
    move = tl.maximum(-bound, tl.minimum(bound, residual + gx * u + gy * v))
    return (u - move * gx, v - move * gy, n11, n12, n21, n22, gx, gy, residual, bound), (q12, q22)


@triton.jit
def _sweep(
    flow, dual, data, new_flow, new_dual, height, width, strips, high, tau, sigma,
    STEPS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    tile, pair, size = tl.program_id(0), tl.program_id(1).to(tl.int64), height * width
    lanes = tl.arange(0, WIDE)
    x, top = tile % strips * (WIDE - 2 * STEPS) - STEPS + lanes, tile // strips * high
    bottom = tl.minimum(top + high, height)
    to_right, to_left = tl.minimum(lanes + 1, WIDE - 1), tl.maximum(lanes - 1, 0)
    along, inner = tl.where(x < width - 1, sigma, 0.0), (x > 0).to(tl.float32)
    here = (x >= 0) & (x < width)
    keep = here & (lanes >= STEPS) & (lanes < WIDE - STEPS)
    flow, dual, data = flow + pair * size * 2, dual + pair * size * 4, data + pair * size * 4
    new_flow, new_dual = new_flow + pair * size * 2, new_dual + pair * size * 4
    waiting, above = (), ()  # per step: the ten planes of its next row, and the extrapolated duals of its last one
    for _ in tl.static_range(STEPS):
        waiting, above = waiting + (_zeros(x, 10),), above + (_zeros(x, 2),)
    for front in range(top - STEPS - 1, bottom + STEPS - 1):  # step k treats row front - k
        next_row, place = front + 1, (front + 1) * width + x
        seen = here & ((next_row + x * 0) >= 0) & ((next_row + x * 0) < height)
        fresh = (
            _read(flow, place, size, seen, 2) + _read(dual, place, size, seen, 4) + _read(data, place, size, seen, 4)
        )
        now_waiting, now_above = (fresh,), ()
        for k in tl.static_range(STEPS):
            y = front - k
            down = tl.where(y < height - 1, sigma, 0.0)
            result, ahead = _step(waiting[k], now_waiting[k], above[k], along, down, inner, tau, to_right, to_left)
            shown = tl.where(y >= 0, 1.0, 0.0)
            now_above = now_above + ((ahead[0] * shown, ahead[1] * shown),)
            now_waiting = now_waiting + (result,)
        done, y = now_waiting[STEPS], front - STEPS + 1
        waiting, above = now_waiting[:STEPS], now_above
        wanted, place = keep & ((y + x * 0) >= top) & ((y + x * 0) < bottom), y * width + x
        for plane in tl.static_range(2):
            tl.store(new_flow + plane * size + place, done[plane], wanted)
        for plane in tl.static_range(4):
            tl.store(new_dual + plane * size + place, done[plane + 2], wanted)


def sweep(flow: Tensor, dual: Tensor, data: Tensor, iterations: int, tau: float, sigma: float) -> tuple[Tensor, Tensor]:
    """Primal-dual steps; see the numba kernel of the same name."""
    pairs, _, height, width = flow.shape
    spare = torch.empty_like(flow), torch.empty_like(dual)
    done = 0
    while done < iterations:
        steps = min(STEPS, iterations - done)
        strips = triton.cdiv(width, STRIP_WIDE - 2 * steps)
        parts = max(1, _PROGRAMS // (pairs * strips))
        high = max(_LOWEST_STRIP, triton.cdiv(height, parts))
        _sweep[(strips * triton.cdiv(height, high), pairs)](
            flow, dual, data, *spare, height, width, strips, high, tau, sigma,
            STEPS=steps, WIDE=STRIP_WIDE, num_warps=1, enable_fp_fusion=True,
        )  # fmt: skip
        (flow, dual), spare = spare, (flow, dual)
        done += steps
    return flow, dual


@triton.jit
def _exchange(values, LOW: tl.constexpr, HIGH: tl.constexpr):
    low, high = tl.minimum(values[LOW], values[HIGH]), tl.maximum(values[LOW], values[HIGH])
    if LOW < HIGH:
        return values[:LOW] + (low,) + values[LOW + 1 : HIGH] + (high,) + values[HIGH + 1 :]
    else:
        return values[:HIGH] + (high,) + values[HIGH + 1 : LOW] + (low,) + values[LOW + 1 :]


@triton.jit
def _median(
    source, target, height, width, SIDE: tl.constexpr, PLACE: tl.constexpr, NETWORK: tl.constexpr, BLOCK: tl.constexpr
):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    plane = tl.program_id(1).to(tl.int64) * height * width
    here = place < height * width
    y, x = place // width, place % width
    values = ()
    for j in tl.static_range(SIDE):
        line = source + plane + tl.minimum(tl.maximum(y + (j - SIDE // 2), 0), height - 1) * width
        for k in tl.static_range(SIDE):
            column = tl.minimum(tl.maximum(x + (k - SIDE // 2), 0), width - 1)
            values = values + (tl.load(line + column, here, 0.0),)
    for k in tl.static_range(len(NETWORK)):
        values = _exchange(values, NETWORK[k][0], NETWORK[k][1])
    tl.store(target + plane + place, values[PLACE], here)


def median_filter(flow: Tensor, side: int) -> Tensor:
    """Median of every square of `side` px, edges repeated."""
    height, width = flow.shape[2:]
    target = torch.empty_like(flow)
    _median[(triton.cdiv(height * width, _BLOCK), flow.shape[0] * flow.shape[1])](
        flow, target, height, width,
        SIDE=side, PLACE=MEDIAN_PLACE[side], NETWORK=_NETWORK[side], BLOCK=_BLOCK, enable_fp_fusion=True,
    )  # fmt: skip
    return target
