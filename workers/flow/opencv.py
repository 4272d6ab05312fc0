"""OpenCV's flow methods, made pure.

They compute on one thread: a worker owns one core, and DIS gives other bits with other threads.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.checks import known
from schemas.errors import ConfigError

_SMALLEST_PX = 32  # below this side OpenCV's pyramids fail or read outside the image
DIS_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


def _per_pair(
    grey: NDArray[np.uint8],
    pair: Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Run `pair` on each two consecutive frames; images too small for OpenCV are continued by their border."""
    T, H, W = grey.shape
    bottom, right = max(0, _SMALLEST_PX - H), max(0, _SMALLEST_PX - W)
    padded = np.pad(grey, ((0, 0), (0, bottom), (0, right)), mode="edge") if bottom or right else grey
    flow = np.zeros((T - 1, 2, H, W), np.float32)
    with _one_thread():
        for i in range(T - 1):
            if not np.array_equal(padded[i], padded[i + 1]):  # a still picture moves nowhere; DIS is not sure of it
                flow[i] = pair(padded[i], padded[i + 1]).transpose(2, 0, 1)[:, :H, :W]
    return flow


@contextmanager
def _one_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _positive(kind: type, **values: float) -> None:
    """Refuse what is not a finite number above 0, or not a whole one where `kind` is int."""
    for name, value in values.items():
        number = isinstance(value, int if kind is int else (int, float)) and math.isfinite(value)
        if not number or value <= 0:
            raise ConfigError(f"flow option {name} must be a positive {kind.__name__}, not {value!r}")


class OpenCVTVL1Flow:
    """TV-L1 (Zach, Pock, Bischof 2007) as `cv2.optflow.DualTVL1OpticalFlow`, with its defaults.

    The OpenCV object lowers its own number of scales for good when it meets a small image, so a new object is made for
    every pair: nothing can be carried over.
    """

    def __init__(
        self,
        *,
        tau: float = 0.25,
        lambda_: float = 0.15,
        theta: float = 0.3,
        scales: int = 5,
        warps: int = 5,
        epsilon: float = 0.01,
        inner_iterations: int = 30,
        outer_iterations: int = 10,
        scale_step: float = 0.8,
    ) -> None:
        """Take OpenCV's parameters under their own names.

        Raises:
            ConfigError: a parameter is not positive, or `scale_step` is not below 1.
        """
        _positive(float, tau=tau, lambda_=lambda_, theta=theta, epsilon=epsilon, scale_step=scale_step)
        _positive(int, scales=scales, warps=warps, inner_iterations=inner_iterations, outer_iterations=outer_iterations)
        if scale_step >= 1:
            raise ConfigError(f"flow option scale_step must be below 1, not {scale_step!r}")
        self._make = partial(
            cv2.optflow.DualTVL1OpticalFlow.create,
            tau=tau,
            lambda_=lambda_,
            theta=theta,
            nscales=scales,
            warps=warps,
            epsilon=epsilon,
            innnerIterations=inner_iterations,
            outerIterations=outer_iterations,
            scaleStep=scale_step,
        )

    def __call__(self, grey: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the flow, uint8 (T, H, W) -> float32 (T-1, 2, H, W)."""
        return _per_pair(grey, lambda a, b: self._make().calc(a, b, None))


class DISFlow:
    """Dense inverse search (Kroeger, Timofte, Dai, Van Gool 2016)."""

    def __init__(self, *, preset: str = "medium") -> None:
        """Take one of `DIS_PRESETS`.

        Raises:
            ConfigError: the preset is not known.
        """
        self._preset = DIS_PRESETS[known("preset of dis", preset, tuple(DIS_PRESETS))]

    def __call__(self, grey: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the flow, uint8 (T, H, W) -> float32 (T-1, 2, H, W)."""
        return _per_pair(grey, lambda a, b: cv2.DISOpticalFlow.create(self._preset).calc(a, b, None))


class FarnebackFlow:
    """Polynomial expansion (Farneback 2003)."""

    def __init__(
        self,
        *,
        scale_step: float = 0.5,
        scales: int = 5,
        window: int = 15,
        iterations: int = 3,
        neighbours: int = 5,
        sigma: float = 1.2,
    ) -> None:
        """Take OpenCV's parameters.

        Raises:
            ConfigError: a parameter is not positive, or `scale_step` is not below 1.
        """
        _positive(float, scale_step=scale_step, sigma=sigma)
        _positive(int, scales=scales, window=window, iterations=iterations, neighbours=neighbours)
        if scale_step >= 1:
            raise ConfigError(f"flow option scale_step must be below 1, not {scale_step!r}")
        self._parameters = (scale_step, scales, window, iterations, neighbours, sigma, 0)

    def __call__(self, grey: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the flow, uint8 (T, H, W) -> float32 (T-1, 2, H, W)."""
        return _per_pair(grey, lambda a, b: cv2.calcOpticalFlowFarneback(a, b, None, *self._parameters))
