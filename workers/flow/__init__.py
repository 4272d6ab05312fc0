"""Optical flow methods behind one contract.

A method is an object called with grey frames uint8 (T, H, W) of one video, T >= 1. It returns float32 (T-1, 2, H, W):
channel 0 is the displacement to the right and channel 1 downwards, in pixels per frame step; field `i` leads from frame
`i` to frame `i + 1`. A method is pure: the same two frames give the same field, bit for bit, whatever was computed
before and however many frames come in one call.
"""

import inspect
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.checks import known
from schemas.options import OptionValue
from schemas.streams import Options
from workers.flow.opencv import DIS_PRESETS, DISFlow, FarnebackFlow, OpenCVTVL1Flow
from workers.flow.tvl1.method import TVL1Flow
from workers.flow.tvl1.parameters import PRESETS


class FlowMethod(Protocol):
    """What every entry of `FLOW_METHODS` makes."""

    def __call__(self, grey: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the flow between consecutive frames, uint8 (T, H, W) -> float32 (T-1, 2, H, W)."""
        ...


FLOW_METHODS: dict[str, Callable[..., FlowMethod]] = {
    "tvl1": TVL1Flow,
    "tvl1-opencv": OpenCVTVL1Flow,
    "dis": DISFlow,
    "farneback": FarnebackFlow,
}
FLOW_PRESETS: dict[str, tuple[str, ...]] = {"tvl1": tuple(PRESETS), "dis": tuple(DIS_PRESETS)}


def make_flow(name: str, device: str = "cpu", **options: OptionValue) -> FlowMethod:
    """Make a flow method by name.

    Args:
        name: a key of `FLOW_METHODS`.
        device: where to compute, for methods that have the choice; the others use the CPU.
        options: keyword options of that method.

    Raises:
        ConfigError: the name or an option is not known, or a value is out of range.
    """
    method = FLOW_METHODS[known("flow method", name, tuple(FLOW_METHODS))]
    parameters = inspect.signature(method).parameters
    legal = tuple(option for option in parameters if option != "device")
    for option in options:
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            known(f"option of flow method {name!r}", option, legal)
    return method(device=device, **options) if "device" in parameters else method(**options)


def checked_options(name: str, device: str, options: Options) -> Options:
    """Check a method and its options by making it; leave out options that have the method's own default.

    Raises:
        ConfigError: see `make_flow`.
    """
    make_flow(name, device, **dict(options))
    parameters = inspect.signature(FLOW_METHODS[name]).parameters
    return tuple(
        (option, value) for option, value in options if option not in parameters or parameters[option].default != value
    )


def is_on_gpu(name: str) -> bool:
    """Tell whether a method of `FLOW_METHODS` has the choice of the device."""
    return "device" in inspect.signature(FLOW_METHODS[name]).parameters
