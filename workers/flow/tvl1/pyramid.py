"""Image pyramids as small weight tables, shared by every engine so that they agree by construction."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_PREFILTER = 0.7  # Gaussian sigma in output pixels of a step 1/2; keeps aliasing below the noise of 8-bit video


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """One axis of a resampling: output i = sum over k of weights[i, k] * input[starts[i] + k].

    Attributes:
        starts: (outputs,) int64, first input read; every tap lies inside the input.
        weights: (outputs, taps) float32, each row sums to one.
        size: Number of inputs.
    """

    starts: NDArray[np.int64]
    weights: NDArray[np.float32]
    size: int

    def dense(self) -> NDArray[np.float32]:
        """The same as an (outputs, inputs) matrix."""
        matrix = np.zeros((len(self.starts), self.size), np.float32)
        columns = self.starts[:, None] + np.arange(self.weights.shape[1])
        np.put_along_axis(matrix, columns, self.weights, axis=1)
        return matrix


def _taps(kernel: NDArray[np.float64], first: NDArray[np.int64], size: int) -> Taps:
    """Fold the taps that fall outside onto the edge pixels and normalise."""
    count = min(kernel.shape[1], size)
    starts = np.clip(first, 0, size - count)
    weights = np.zeros((len(starts), count))
    places = np.clip(first[:, None] + np.arange(kernel.shape[1]), 0, size - 1) - starts[:, None]
    for k in range(kernel.shape[1]):
        weights[np.arange(len(starts)), places[:, k]] += kernel[:, k]
    return Taps(starts, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32), size)


def _centres(size: int, outputs: int) -> NDArray[np.float64]:
    return (np.arange(outputs, dtype=np.float64) + 0.5) * (size / outputs) - 0.5


@lru_cache(maxsize=256)
def shrink_taps(size: int, outputs: int, step: float) -> Taps:
    """Gaussian smoothing and sampling from `size` to `outputs` pixels, for a pyramid of scale step `step`."""
    sigma = _PREFILTER * math.sqrt(1 / step**2 - 1)
    centres, radius = _centres(size, outputs), math.ceil(3 * sigma)
    first = np.floor(centres).astype(np.int64) - radius + 1
    offsets = first[:, None] + np.arange(2 * radius) - centres[:, None]
    return _taps(np.exp(-0.5 * (offsets / sigma) ** 2), first, size)


@lru_cache(maxsize=256)
def grow_taps(size: int, outputs: int) -> Taps:
    """Linear interpolation from `size` to `outputs` pixels, edges repeated."""
    centres = np.clip(_centres(size, outputs), 0, size - 1)
    first = np.floor(centres).astype(np.int64)
    part = centres - first
    return _taps(np.stack([1 - part, part], axis=1), first, size)


@lru_cache(maxsize=256)
def level_sizes(height: int, width: int, step: float, smallest: int) -> tuple[tuple[int, int], ...]:
    """(height, width) of every level, finest first; below the first the shorter side is at least `smallest` px."""
    sizes = [(height, width)]
    while True:
        factor = step ** len(sizes)
        shrunk = (round(height * factor), round(width * factor))
        if min(shrunk) < smallest:
            return tuple(sizes)
        sizes.append(shrunk)
