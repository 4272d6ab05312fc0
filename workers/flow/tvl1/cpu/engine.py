"""TV-L1 on one CPU thread: levels, warps and memory around its kernels."""

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.flow.tvl1.cpu import kernels, layout
from workers.flow.tvl1.parameters import TVL1
from workers.flow.tvl1.pyramid import Taps, grow_taps, level_sizes, shrink_taps

Image = NDArray[np.float32]

_LINE_BYTES = 64
_CACHE_BYTES = 1024 * 1024  # a usual second-level cache: the rows of a wavefront should stay in it
_KEPT_PIXELS = 1 << 20  # engines of larger frames give their memory back after the call
_CARRIED = ("u", "v", "p11", "p12", "p21", "p22")  # planes that go from level to level, in the order of a state


_last = threading.local()


def _zeros(count: int) -> Image:
    """A flat zero array that starts on a cache line: a vector across two lines costs two loads."""
    raw = np.zeros(count + _LINE_BYTES // 4, np.float32)
    start = -raw.ctypes.data % _LINE_BYTES // 4
    return raw[start : start + count]


@dataclass(frozen=True, slots=True)
class _Across:
    """Horizontal taps as the kernels want them: (taps, padded width) flat, a multiple of four taps, zeros beyond."""

    starts: Image
    weights: Image

    @staticmethod
    def of(taps: Taps) -> "_Across":
        outputs, count = taps.weights.shape
        padded = (outputs + 15) // 16 * 16
        starts = np.zeros(padded, np.float32)
        starts[:outputs] = taps.starts
        weights = np.zeros(((count + 3) // 4 * 4, padded), np.float32)
        weights[:count, :outputs] = taps.weights.T
        return _Across(starts, weights.ravel())


class _Level:
    """Size and tables of one pyramid level."""

    def __init__(self, height: int, width: int, step: float, finer: "_Level | None") -> None:
        self.height, self.width = height, width
        self.stride, self.pitch = layout.state_stride(width), layout.image_stride(width)
        self.corner = layout.SPARE_ROWS * self.pitch + layout.MARGIN
        if finer is not None:
            self.down = shrink_taps(finer.height, height, step)
            self.down_across = _Across.of(shrink_taps(finer.width, width, step))
            self.up = grow_taps(height, finer.height)
            self.up_across = _Across.of(grow_taps(width, finer.width))

    def blank(self) -> Image:
        """A zero image with margins."""
        return _zeros((self.height + 2 * layout.SPARE_ROWS) * self.pitch)


class _Scratch:
    """Working memory that all levels share: what is large enough for the finest is for the others."""

    def __init__(self, levels: list[_Level], iterations: int) -> None:
        finest = levels[0]
        self.image = finest.blank()
        self.columns = _zeros(5 * finest.pitch)
        self.states = [_zeros(layout.state_size(level.height, level.width)) for level in levels[:2]]  # take turns
        row_bytes = self.image.itemsize * layout.PLANES * finest.stride
        self.above = _zeros(max(1, min(iterations, _CACHE_BYTES // row_bytes)) * 2 * finest.stride)
        coarser = levels[min(1, len(levels) - 1)]
        self.stretched = _zeros(max(finest.height * coarser.pitch, len(_CARRIED) * coarser.height * finest.pitch))


def flow_of(grey: NDArray[np.uint8] | Image, parameters: TVL1) -> Image:
    """Flow (T - 1, 2, H, W) of (T, H, W) frames on the calling thread."""
    count, height, width = grey.shape
    engine = _engine(parameters, height, width)
    flow = np.empty((count - 1, 2, height, width), np.float32)
    first, second = engine.pyramids
    engine.fill(first, grey[0])
    for index in range(1, count):
        engine.fill(second, grey[index])
        found = engine.flow(first, second)
        for plane, reach_px in enumerate((width, height)):  # where nothing can be seen the flow may run away
            np.clip(found[plane], -reach_px, reach_px, out=flow[index - 1, plane])
        first, second = second, first
    return flow


def _engine(parameters: TVL1, height: int, width: int) -> "NumbaEngine":
    """This thread's last engine if it fits: fresh memory costs a call for one pair a fifth of its time.

    Only memory is kept. No value in it is read before it is written, so nothing of one call reaches the next.
    """
    key = (parameters, height, width)
    if getattr(_last, "key", None) == key:
        kept: NumbaEngine = _last.engine
        return kept
    engine = NumbaEngine(parameters, height, width)
    if height * width <= _KEPT_PIXELS:
        _last.key, _last.engine = key, engine
    return engine


class NumbaEngine:
    """Flow between the frames of one window size; holds scratch memory, so one thread at a time.

    Args:
        parameters: The method.
        height: Of every frame, in px.
        width: Of every frame, in px.
    """

    def __init__(self, parameters: TVL1, height: int, width: int) -> None:
        self.parameters = parameters
        self.levels: list[_Level] = []
        for size in level_sizes(height, width, parameters.scale_step, parameters.smallest_px):
            self.levels.append(_Level(*size, parameters.scale_step, self.levels[-1] if self.levels else None))
        self.scratch = _Scratch(self.levels, parameters.iterations)
        self.pyramids = tuple([level.blank() for level in self.levels] for _ in range(2))

    def fill(self, images: list[Image], frame: NDArray[np.uint8] | Image) -> None:
        """Write every level of one (H, W) frame, finest first, as images with margins."""
        finest = self.levels[0]
        rows = images[0].reshape(-1, finest.pitch)[layout.SPARE_ROWS : -layout.SPARE_ROWS]
        rows[:, layout.MARGIN : layout.MARGIN + finest.width] = frame
        layout.repeat_edges(images[0], finest.height, finest.width)
        for index, (finer, level) in enumerate(zip(self.levels, self.levels[1:], strict=False)):
            _shrink(images[index], finer, level, images[index + 1], self.scratch.stretched)

    def flow(self, first: list[Image], second: list[Image]) -> Image:
        """Flow (2, H, W) from one frame's pyramid to another's; a view that the next call overwrites."""
        states = self.scratch.states
        for index in reversed(range(len(self.levels))):
            level, state = self.levels[index], states[index % 2]
            if index + 1 == len(self.levels):
                state[:] = 0
            else:
                _grow(self.levels[index + 1], states[1 - index % 2], level, state, self.scratch.stretched)
            self._refine(level, state, first[index], second[index])
        return _read_flow(self.levels[0], states[0])

    def _refine(self, level: _Level, state: Image, first: Image, second: Image) -> None:
        """All warps of one level."""
        p, f32, scratch = self.parameters, np.float32, self.scratch
        height, width, stride = level.height, level.width, level.stride
        reach, share, ascent = f32(p.lam * (p.theta + p.tau)), f32(p.tau / (p.theta + p.tau)), f32(1 / (8 * p.tau))
        for _ in range(p.warps):
            kernels.linearise(state, first, second, height, width, stride, share, reach)
            kernels.sweep(state, scratch.above, height, width, stride, p.iterations, f32(p.tau), ascent)
            if p.median:
                kernels.median_filter(state, scratch.image, scratch.columns, height, width, stride, p.median)


def _shrink(image: Image, finer: _Level, level: _Level, target: Image, stretched: Image) -> None:
    """One pyramid step: every row first, then every column."""
    across, down = level.down_across, level.down
    layout.stretch_rows(
        image, finer.corner, finer.pitch, finer.height, 1, 0, across.starts, across.weights, level.width, stretched
    )
    layout.stretch_columns(
        stretched, 0, across.starts.size, down.starts, down.weights, level.height, level.width,
        target, level.corner, level.pitch, np.float32(1),
    )  # fmt: skip
    layout.repeat_edges(target, level.height, level.width)


def _grow(coarser: _Level, source: Image, level: _Level, state: Image, stretched: Image) -> None:
    """Carry the flow, in px of the finer level, and the dual fields to the next level."""
    across, up = coarser.up_across, coarser.up
    layout.stretch_rows(
        source, 0, layout.PLANES * coarser.stride, coarser.height, len(_CARRIED), coarser.stride,
        across.starts, across.weights, level.width, stretched,
    )  # fmt: skip
    factors = {"u": level.width / coarser.width, "v": level.height / coarser.height}
    for plane, name in enumerate(_CARRIED):
        layout.stretch_columns(
            stretched, plane * coarser.height * across.starts.size, across.starts.size, up.starts, up.weights,
            level.height, level.width,
            state, plane * level.stride, layout.PLANES * level.stride, np.float32(factors.get(name, 1)),
        )  # fmt: skip
    layout.close_borders(state, level.height, level.width, level.stride)


def _read_flow(level: _Level, state: Image) -> Image:
    planes = state[: level.height * layout.PLANES * level.stride].reshape(level.height, layout.PLANES, level.stride)
    return planes[:, :2, : level.width].transpose(1, 0, 2)
