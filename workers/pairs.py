"""Windows of frames become flow fields of any pairs of frames, in order, with bounded memory."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.frames import FlowBatch, FrameBatch
from workers.pacing import FlowFunction, PacedFlow


class PairFlow:
    """Flow from frame s to frame s + step, for every s of a regular run; holds `step` frames and a window.

    Attributes:
        flow: counts fields and seconds.
    """

    def __init__(self, flow: FlowFunction, *, every: int, step: int) -> None:
        """Begin a video.

        Args:
            flow: the method.
            every: from one s to the next; the first is 0.
            step: from the first to the second frame of a pair.
        """
        self.flow = PacedFlow(flow)
        self._every = every
        self._step = step
        self._start = 0  # of the next pair
        self._pts_s: dict[int, float] = {}
        self._held: NDArray[np.uint8] | None = None

    def add(self, window: FrameBatch) -> Iterator[tuple[int, FlowBatch, NDArray[np.float64]]]:
        """Take a window; yield (frames processed, fields, times of their first frames) every half a second or sooner.

        The fields' `frame` are their first frames; the times are float64 (T,), in seconds.
        """
        grey, stop = window.grey, int(window.frame[-1]) + 1
        if self._held is not None:
            grey = np.concatenate([self._held, grey])
        first = stop - len(grey)
        self._pts_s |= dict(zip(window.frame.tolist(), window.pts_s.tolist(), strict=True))
        size, told = len(window.frame), 0
        while self._start + self._step < stop:
            ready = range(self._start, stop - self._step, self._every)[: self.flow.chunk]
            fields = self._fields(grey, [start - first for start in ready])
            self._start = ready[-1] + self._every
            done = min(size, max(told, ready[-1] + self._step + 1 - (stop - size)))
            yield done - told, FlowBatch(np.array(ready, np.int64), fields), np.array([self._pts_s[s] for s in ready])
            told = done
        self._held = grey[max(0, min(self._start, stop) - first) :].copy()
        self._pts_s = {frame: pts_s for frame, pts_s in self._pts_s.items() if frame >= self._start}
        yield size - told, FlowBatch(np.empty(0, np.int64), np.empty((0, 2, *grey.shape[1:]), np.float32)), np.empty(0)

    def _fields(self, grey: NDArray[np.uint8], starts: Sequence[int]) -> NDArray[np.float32]:
        """Pairs that continue one another go to the method in one call: it prepares each frame once."""
        chains: dict[int, list[int]] = {}
        for start in starts:
            chain = chains.pop(start, [])
            chains[start + self._step] = [*chain, start]
        fields = np.empty((len(starts), 2, *grey.shape[1:]), np.float32)
        where = {start: row for row, start in enumerate(starts)}
        for end, chain in chains.items():
            fields[[where[start] for start in chain]] = self.flow(grey[[*chain, end]])
        return fields
