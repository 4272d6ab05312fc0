"""TV-L1 optical flow: what the method is, and the callable that picks an engine.

Between two grey images the flow u minimises, after Zach, Pock and Bischof (2007), "A duality based approach for
realtime TV-L1 optical flow",

    E(u, v) = |grad u1| + |grad u2| + |u - v|^2 / (2 theta) + lambda |rho(v)|,   summed over the pixels,

where rho(v) = I1(x + u0) + grad I . (v - u0) - I0 is the brightness change linearised around the last flow u0. Coarse
levels of a pyramid come first; on each, `warps` times: warp, take `iterations` steps, filter by a median. Two things
come from Wedel, Pock, Zach, Bischof and Cremers (2009), "An improved algorithm for TV-L1 optical flow": the median
against outliers and the gradient as the mean of both images' gradients. Sanchez, Meinhardt-Llopis and Facciolo (2013),
"TV-L1 optical flow estimation", IPOL 3, is the open description that values of the parameters can be compared with.

Two things differ from those papers. v is eliminated: for a step of length tau, the exact minimum over u and v together
is the same thresholding as theirs with theta + tau in place of theta, of which the share tau / (theta + tau) is taken.
And the rest is minimised by the primal-dual steps of Chambolle and Pock (2011), "A first-order primal-dual algorithm
for convex problems with applications to imaging", extrapolated in the dual variable and with tau sigma = 1/8, instead
of Zach's fixed-point steps. They need a third of the iterations, and neither a division nor a second pass over the
image. The dual fields survive a warp and are carried to the next level.
"""

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from schemas.arrays import Array
from schemas.errors import ConfigError, InputError
from schemas.options import OptionValue
from workers.flow.tvl1.parameters import parameters_of

_LARGEST_GREY = 65535.0  # beyond 16 bits squares of gradients lose their meaning in float32


class TVL1Flow:
    """Flow between neighbouring frames; a pure function of the frames, safe to call from many threads.

    Args:
        preset: One of `tvl1_parameters.PRESETS`.
        device: "cpu" runs the numba engine on the calling thread; anything else is a torch device such as "cuda".
        **overrides: Fields of `TVL1` that replace the preset's.

    Raises:
        ConfigError: unknown preset, option or device, or a value out of range.
    """

    def __init__(
        self,
        preset: str = "balanced",
        device: str = "cpu",
        **overrides: OptionValue,
    ) -> None:
        self.preset = preset
        self.device = device
        self.parameters = parameters_of(preset, **overrides)
        if device != "cpu":
            from workers.flow.tvl1.torch_engine import checked_device

            checked_device(device)

    def __call__(self, grey: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Flow of every frame to the next.

        Args:
            grey: (T, H, W) uint8, or float32 on the scale of 0 to 255.

        Returns:
            (T - 1, 2, H, W) float32 in px per frame step; channel 0 to the right, channel 1 down;
            never longer than the frame is wide or high.

        Raises:
            ConfigError: wrong shape or dtype.
            InputError: NaN, infinite or absurdly large values.
        """
        _check(grey)
        if len(grey) < 2:
            return np.zeros((0, 2, *grey.shape[1:]), np.float32)
        if self.device == "cpu":
            from workers.flow.tvl1.cpu.engine import flow_of

            return flow_of(grey, self.parameters)
        from workers.flow.tvl1.torch_engine import flow_of as flow_on_device

        return flow_on_device(grey, self.parameters, self.device)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in asdict(self.parameters).items())
        return f"TVL1Flow(preset={self.preset!r}, device={self.device!r}, {options})"


def _check(grey: Array) -> None:
    if grey.ndim != 3 or 0 in grey.shape:
        raise ConfigError(f"tvl1: frames must be (T, H, W) with no empty axis, not {grey.shape}")
    if grey.dtype == np.uint8:
        return
    if grey.dtype != np.float32:
        raise ConfigError(f"tvl1: frames must be uint8 or float32, not {grey.dtype}")
    if not np.isfinite(grey).all():
        raise InputError("tvl1: the frames contain NaN or infinite values")
    if np.abs(grey).max() > _LARGEST_GREY:
        raise InputError(f"tvl1: grey values must lie within {_LARGEST_GREY:g}; scale the frames to 0..255")
