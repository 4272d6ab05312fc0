"""Optical flow of arrays."""

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError
from schemas.options import OptionValue


def flow(
    grey: NDArray[np.uint8], method: str = "tvl1", *, device: str = "cpu", **options: OptionValue
) -> NDArray[np.float32]:
    """Compute optical flow between consecutive frames.

    Args:
        grey: uint8 (T, H, W), full range.
        method: a name of `FLOW_METHODS`: `tvl1`, `tvl1-opencv`, `dis`, `farneback`.
        device: `cpu` or `cuda`.
        options: of the method, e.g. `preset="fast"`.

    Returns:
        float32 (T - 1, 2, H, W), pixels per frame step: channel 0 to the right, channel 1 down.

    Raises:
        ConfigError: the array is of another shape or dtype, or a name or value is not legal.
    """
    from workers.flow import make_flow

    if grey.dtype != np.uint8 or grey.ndim != 3 or not len(grey):
        raise ConfigError(f"`grey` must be uint8 (T, H, W) with at least one frame, not {grey.dtype} {grey.shape}")
    return make_flow(method, device, **options)(np.ascontiguousarray(grey))
