"""TV-L1 on any torch device, batched over the pairs of a window.

The scheme is that of the numba engine, step by step, so both agree but for the last bits. On a CUDA device with Triton
the four kernels come from `tvl1_triton`; anywhere else they are the plain torch operations below.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from schemas.arrays import Array
from schemas.errors import ConfigError, ResourceError, is_machines
from workers.flow.tvl1.parameters import FAINT_SLOPE, TVL1
from workers.flow.tvl1.pyramid import Taps, grow_taps, level_sizes, shrink_taps
from workers.flow.tvl1.tables import tables

_BATCH_PIXELS = 256 * 256 * 340  # pairs of one batch, in pixels: keeps a large GPU busy in about 3 GiB of its memory
_BATCH_PAIRS = 4096  # six planes of each still fit the second dimension of a CUDA grid


@dataclass(frozen=True, slots=True)
class Kernels:
    """The four computations of the method over (B, planes, H, W) tensors.

    Attributes:
        resample: (planes (N, h, w), row taps, column taps) -> (N, H, W).
        linearise: (first (B, H, W), second (B, H, W), flow (B, 2, H, W), share, reach) -> data term (B, 4, H, W).
        sweep: (flow (B, 2, H, W), dual (B, 4, H, W), data, iterations, tau, sigma) -> (flow, dual).
        median_filter: (flow, side) -> flow.
    """

    resample: Callable[[Tensor, Taps, Taps], Tensor]
    linearise: Callable[[Tensor, Tensor, Tensor, float, float], Tensor]
    sweep: Callable[[Tensor, Tensor, Tensor, int, float, float], tuple[Tensor, Tensor]]
    median_filter: Callable[[Tensor, int], Tensor]


def checked_device(device: str) -> torch.device:
    """The torch device of a name.

    Raises:
        ConfigError: torch knows no such device.
        ResourceError: this machine has no such device.
    """
    try:
        named = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"tvl1: no device {device!r}; use cpu, cuda, cuda:1 or another torch device") from error
    try:
        torch.empty(1, device=named)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        if is_machines(error):
            raise
        raise ResourceError(
            f"tvl1: device {device!r} cannot be used on this machine ({error}); use device='cpu'"
        ) from error
    return named


def kernels_for(device: torch.device, name: str | None = None) -> Kernels:
    """Triton's kernels on CUDA where Triton is, else torch operations; `name` "torch" or "triton" insists."""
    if name == "triton" or (name is None and device.type == "cuda"):
        try:
            from workers.flow.tvl1 import triton_kernels as tvl1_triton
        except ImportError:
            if name == "triton":
                raise
        else:
            return Kernels(tvl1_triton.resample, tvl1_triton.linearise, tvl1_triton.sweep, tvl1_triton.median_filter)
    return Kernels(resample, linearise, sweep, median_filter)


def flow_of(grey: Array, parameters: TVL1, device: str, *, kernels: str | None = None) -> NDArray[np.float32]:
    """Flow (T - 1, 2, H, W) of (T, H, W) frames.

    Args:
        grey: uint8 or float32.
        parameters: The method.
        device: A torch device.
        kernels: "torch" or "triton" instead of the best for the device.
    """
    count, height, width = grey.shape
    target, batch = checked_device(device), max(1, min(_BATCH_PAIRS, _BATCH_PIXELS // (height * width)))
    engine = TorchEngine(parameters, height, width, kernels_for(target, kernels))
    flow = np.empty((count - 1, 2, height, width), np.float32)
    with torch.inference_mode():
        for start in range(0, count - 1, batch):
            window = np.ascontiguousarray(grey[start : start + batch + 1])
            frames = torch.tensor(window).to(target).float()
            flow[start : start + batch] = engine.flow(frames).cpu().numpy()
    return flow


class TorchEngine:
    """Flow between neighbouring frames of one size.

    Args:
        parameters: The method.
        height: Of every frame, in px.
        width: Of every frame, in px.
        kernels: What computes.
    """

    def __init__(self, parameters: TVL1, height: int, width: int, kernels: Kernels) -> None:
        self.parameters, self.kernels = parameters, kernels
        self.sizes = level_sizes(height, width, parameters.scale_step, parameters.smallest_px)

    def flow(self, frames: Tensor) -> Tensor:
        """Flow (T - 1, 2, H, W) of float32 frames (T, H, W)."""
        images = self._pyramid(frames)
        pairs, (height, width) = len(frames) - 1, self.sizes[-1]
        flow, dual = (frames.new_zeros(pairs, planes, height, width) for planes in (2, 4))
        for image in reversed(images):
            if image.shape[1:] != flow.shape[2:]:
                flow, dual = self._grow(flow, dual, *image.shape[1:])
            flow, dual = self._refine(image, flow, dual)
        reach_px = flow.new_tensor([frames.shape[2], frames.shape[1]]).view(1, 2, 1, 1)
        return torch.clamp(flow, -reach_px, reach_px)

    def _pyramid(self, frames: Tensor) -> list[Tensor]:
        images, step = [frames.contiguous()], self.parameters.scale_step
        for (high, wide), (height, width) in zip(self.sizes, self.sizes[1:], strict=False):
            images.append(
                self.kernels.resample(images[-1], shrink_taps(high, height, step), shrink_taps(wide, width, step))
            )
        return images

    def _grow(self, flow: Tensor, dual: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Carry the flow, in px of the finer level, and the dual fields to the next level."""
        pairs, _, high, wide = flow.shape
        planes = torch.cat([flow, dual], dim=1).flatten(0, 1)
        grown = self.kernels.resample(planes, grow_taps(high, height), grow_taps(wide, width))
        grown = grown.view(pairs, 6, height, width)
        grown[:, 0] *= width / wide
        grown[:, 1] *= height / high
        grown[:, 2::2, :, -1] = 0
        grown[:, 3::2, -1] = 0
        return grown[:, :2].contiguous(), grown[:, 2:].contiguous()

    def _refine(self, image: Tensor, flow: Tensor, dual: Tensor) -> tuple[Tensor, Tensor]:
        """All warps of one level."""
        p = self.parameters
        share, reach, sigma = p.tau / (p.theta + p.tau), p.lam * (p.theta + p.tau), 1 / (8 * p.tau)
        for _ in range(p.warps):
            data = self.kernels.linearise(image[:-1], image[1:], flow, share, reach)
            flow, dual = self.kernels.sweep(flow, dual, data, p.iterations, p.tau, sigma)
            if p.median:
                flow = self.kernels.median_filter(flow, p.median)
        return flow, dual


def resample(planes: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """Separable weighted sums: every row first, then every column."""
    for taps, axis in ((columns, 2), (rows, 1)):
        starts, weights = tables(taps, planes.device)
        shape = (1, -1, 1) if axis == 1 else (1, 1, -1)
        total = torch.zeros((), device=planes.device)
        for k in range(weights.shape[1]):
            total = total + planes.index_select(axis, starts + k) * weights[:, k].view(shape)
        planes = total
    return planes


def _cubic(t: Tensor) -> tuple[Tensor, ...]:
    """Catmull-Rom weights of four neighbours at the fraction t."""
    s = 1 - t
    w1, w2 = 1 + t * t * (1.5 * t - 2.5), 1 + s * s * (1.5 * s - 2.5)
    return -0.5 * t * s * s, w1, w2, -0.5 * s * t * t


def _cubic_slope(t: Tensor) -> tuple[Tensor, ...]:
    """Derivatives of the Catmull-Rom weights."""
    s = 1 - t
    d0, d3 = t * (2 - 1.5 * t) - 0.5, 0.5 - s * (2 - 1.5 * s)
    return d0, t * (4.5 * t - 5), s * (5 - 4.5 * s), d3


def _slope(image: Tensor, axis: int) -> Tensor:
    """The five-point derivative along the last (2) or the last but one (1) axis, edges repeated."""
    pad = (2, 2, 0, 0) if axis == 2 else (0, 0, 2, 2)
    padded, size = functional.pad(image[None], pad, mode="replicate")[0], image.shape[axis]
    far2, near2, near1, far1 = (padded.narrow(axis, k, size) for k in (0, 1, 3, 4))
    return (2 / 3) * (near1 - near2) - (1 / 12) * (far1 - far2)


def linearise(first: Tensor, second: Tensor, flow: Tensor, share: float, reach: float) -> Tensor:
    """The data term (gx, gy, residual, bound) around the flow; see the numba kernel of the same name."""
    height, width = first.shape[1:]
    u, v = flow.unbind(1)
    to_x = torch.arange(width, device=flow.device, dtype=flow.dtype) + u
    to_y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + v
    at_x, at_y = to_x.clamp(0, width - 1), to_y.clamp(0, height - 1)
    inside = ((at_x == to_x) & (at_y == to_y)).to(flow.dtype)
    column, row = at_x.floor(), at_y.floor()
    wx, dx, wy, dy = (weigh(at - low) for at, low in ((at_x, column), (at_y, row)) for weigh in (_cubic, _cubic_slope))
    value, slope_x, slope_y = (torch.zeros_like(u) for _ in range(3))
    for k in range(4):
        line_index = (row.long() + k - 1).clamp(0, height - 1) * width
        taps = []
        for j in range(4):
            index = line_index + (column.long() + j - 1).clamp(0, width - 1)
            taps.append(second.flatten(1).gather(1, index.flatten(1)).view_as(u))
        line = sum(w * tap for w, tap in zip(wx, taps, strict=True))
        value = value + wy[k] * line
        slope_y = slope_y + dy[k] * line
        slope_x = slope_x + wy[k] * sum(d * tap for d, tap in zip(dx, taps, strict=True))
    gx, gy = (inside * 0.5 * (s + _slope(first, axis)) for s, axis in ((slope_x, 2), (slope_y, 1)))
    square = gx * gx + gy * gy
    inverse = share**0.5 * (square + FAINT_SLOPE**2).rsqrt()
    bound = share**0.5 * reach * (square.sqrt() - FAINT_SLOPE).clamp(min=0)
    change = inside * (value - first) - gx * u - gy * v
    return torch.stack([gx * inverse, gy * inverse, change * inverse, bound], dim=1)


def sweep(flow: Tensor, dual: Tensor, data: Tensor, iterations: int, tau: float, sigma: float) -> tuple[Tensor, Tensor]:
    """Primal-dual steps; see the numba kernel of the same name."""
    slopes, residual, bound = data[:, :2], data[:, 2:3], data[:, 3:]
    dual = dual.view(len(dual), 2, 2, *dual.shape[2:])
    for _ in range(iterations):
        right = functional.pad(flow[..., 1:] - flow[..., :-1], (0, 1))
        below = functional.pad(flow[..., 1:, :] - flow[..., :-1, :], (0, 0, 0, 1))
        raised = dual + sigma * torch.stack([right, below], dim=2)
        raised = raised * raised.square().sum(dim=2, keepdim=True).clamp(min=1).rsqrt()
        ahead = 2 * raised - dual
        along, down = ahead.unbind(2)
        spread = (
            along - functional.pad(along[..., :-1], (1, 0)) + down - functional.pad(down[..., :-1, :], (0, 0, 1, 0))
        )
        flow = flow + tau * spread
        rho = residual + (slopes * flow).sum(dim=1, keepdim=True)
        flow = flow - slopes * torch.minimum(torch.maximum(rho, -bound), bound)
        dual = raised
    return flow, dual.flatten(1, 2)


def median_filter(flow: Tensor, side: int) -> Tensor:
    """Median of every square of `side` px, edges repeated."""
    height, width = flow.shape[2:]
    padded = functional.pad(flow, [side // 2] * 4, mode="replicate")
    windows = [padded[..., y : y + height, x : x + width] for y in range(side) for x in range(side)]
    return torch.stack(windows).median(dim=0).values
