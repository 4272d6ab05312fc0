"""A flow method, timed, and asked for few fields at a time when it is slow, so that progress is seen."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FlowFunction = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
_CHUNK_S = 0.5
_LARGEST_CHUNK = 128


class PacedFlow:
    """Calls a flow method and learns how fast it is.

    Attributes:
        pairs: fields computed so far.
        elapsed_s: seconds spent on them.
        chunk: how many fields to ask for next; by the flow's contract that never changes a field.
    """

    def __init__(self, flow: FlowFunction) -> None:
        """Begin with one field."""
        self.pairs = 0
        self.elapsed_s = 0.0
        self.chunk = 1
        self._flow = flow

    def __call__(self, grey: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute fields, uint8 (T, H, W) -> float32 (T-1, 2, H, W)."""
        began = time.perf_counter()
        fields = self._flow(grey)
        elapsed_s = time.perf_counter() - began
        self.elapsed_s += elapsed_s
        self.pairs += len(fields)
        self.chunk = int(np.clip(_CHUNK_S * len(fields) / elapsed_s, 1, _LARGEST_CHUNK))
        return fields
