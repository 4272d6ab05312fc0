"""Windows of frames become complete moments: a colour frame and a stack of flow fields centred on it.

The stack of L fields around frame f are the fields f - L//2 ... f - L//2 + L - 1, clamped to those the video has
(Simonyan & Zisserman 2014, two-stream networks; the centred variant). Fields no stack asks for are not computed.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.frames import FlowBatch, FrameBatch
from workers.pacing import FlowFunction, PacedFlow


@dataclass(frozen=True, slots=True)
class Moments:
    """Complete moments, in order.

    Attributes:
        frame: frame indices.
        pts_s: presentation times in seconds.
        rgb: uint8 (H, W, 3) each; empty when no colour was decoded.
        stacks: float32 (2L, H, W) each, channels u1 v1 u2 v2 ...; empty without flow.
    """

    frame: list[int]
    pts_s: list[float]
    rgb: list[NDArray[np.uint8]]
    stacks: list[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    frame: int
    pts_s: float
    rgb: NDArray[np.uint8] | None
    size: tuple[int, int]


class MomentBuilder:
    """Turns the windows of one segment into its moments; holds no more than a stack and a window."""

    def __init__(self, frames: tuple[int, ...], stack: int, flow: FlowFunction | None) -> None:
        """Begin a segment.

        Args:
            frames: frame indices of the moments, never decreasing.
            stack: L.
            flow: uint8 (T, H, W) -> float32 (T-1, 2, H, W); None when no flow is wanted.
        """
        self._frames = deque(frames)
        self._stack = stack
        self._flow = PacedFlow(flow) if flow else None
        self._wanted = {field for frame in set(frames) for field in (*self._around(frame), frame - 1)}
        self._waiting: deque[_Waiting] = deque()
        self._fields: dict[int, NDArray[np.float32]] = {}
        self._fields_stop = 0  # one past the last field that can be had by now
        self._last_grey: NDArray[np.uint8] | None = None

    @property
    def flow_pairs(self) -> int:
        """Fields computed so far."""
        return self._flow.pairs if self._flow else 0

    @property
    def flow_s(self) -> float:
        """Seconds spent on them."""
        return self._flow.elapsed_s if self._flow else 0.0

    def add(self, window: FrameBatch) -> Iterator[tuple[int, Moments]]:
        """Take a window; yield (frames processed, moments that are complete now) every half a second or sooner."""
        self._queue(window)
        told, size = 0, len(window.frame)
        if self._flow is not None:
            for batch in self._computed(window):
                self._fields.update(zip(batch.frame.tolist(), batch.flow, strict=True))
                self._fields_stop = int(batch.frame[-1]) + 1
                frames = min(size, self._fields_stop - int(window.frame[0]))
                yield max(0, frames - told), self._complete()
                told = max(told, frames)
            self._fields_stop = int(window.frame[-1])
        yield size - told, self._complete()

    def finish(self) -> Moments:
        """Return the moments left where the video (or what of it decodes) ends: their stacks are clamped there."""
        return self._take(len(self._waiting))

    def _around(self, frame: int) -> range:
        first = frame - self._stack // 2
        return range(first, first + self._stack)

    def _queue(self, window: FrameBatch) -> None:
        first, colour = int(window.frame[0]), dict(zip(window.rgb_frame.tolist(), window.rgb, strict=True))
        while self._frames and self._frames[0] <= window.frame[-1]:
            frame = self._frames.popleft()
            rgb = colour.get(frame)
            size = window.grey.shape[1:] if self._flow else (0, 0)
            self._waiting.append(_Waiting(frame, float(window.pts_s[frame - first]), rgb, (size[0], size[1])))

    def _computed(self, window: FrameBatch) -> Iterator[FlowBatch]:
        assert self._flow is not None
        grey, first = window.grey, int(window.frame[0])
        if self._last_grey is not None:
            grey, first = np.concatenate([self._last_grey[None], grey]), first - 1
        self._last_grey = window.grey[-1].copy()
        stop = first + len(grey) - 1
        field = first
        while field < stop:
            run = field
            while run < stop and run in self._wanted and run - field < self._flow.chunk:
                run += 1
            if run > field:
                yield FlowBatch(np.arange(field, run), self._flow(grey[field - first:run - first + 1]))
            field = max(run, field + 1)

    def _complete(self) -> Moments:
        ready = 0
        for moment in self._waiting:
            if self._flow is not None and self._around(moment.frame).stop > self._fields_stop:
                break
            ready += 1
        return self._take(ready)

    def _take(self, count: int) -> Moments:
        done = [self._waiting.popleft() for _ in range(count)]
        stacks = [self._stacked(moment) for moment in done] if self._flow is not None else []
        if done and self._fields:
            following = self._waiting[0].frame if self._waiting else done[-1].frame
            oldest = min(self._around(following).start, max(self._fields))
            self._fields = {field: flow for field, flow in self._fields.items() if field >= oldest}
        return Moments([moment.frame for moment in done], [moment.pts_s for moment in done],
                       [moment.rgb for moment in done if moment.rgb is not None], stacks)

    def _stacked(self, moment: _Waiting) -> NDArray[np.float32]:
        if not self._fields:
            return np.zeros((2 * self._stack, *moment.size), np.float32)
        last = max(self._fields)
        fields = [self._fields[min(max(field, 0), last)] for field in self._around(moment.frame)]
        return np.concatenate(fields)
