"""Frames or flow in, features out, through any network; this file knows none by name.

Networks run on batches of one fixed size, the last one filled up with zeros, because the arithmetic of a convolution
depends on the batch's size: so a moment's features are the same bits wherever it lies in a shard.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from schemas.frames import FeatureBatch
from schemas.streams import REFERENCE_SHORT_SIDE_PX
from schemas.words import counted
from workers.networks.backbones import Preprocessing

BATCH = {"cpu": 8, "cuda": 64}
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_LARGEST_SURPLUS = 8  # a resized picture so many times as large as its crop is not made whole


def rgb_input(rgb: NDArray[np.uint8], preprocessing: Preprocessing, device: str) -> Tensor:
    """Prepare frames for a network: resize, clip, normalise, crop (borders get the mean colour).

    Args:
        rgb: uint8 (N, H, W, 3).
        preprocessing: of the network.
        device: where the result lies.

    Returns:
        float32 (N, 3, height, width).
    """
    pictures = torch.from_numpy(rgb.copy()).to(device).permute(0, 3, 1, 2)
    mean = torch.tensor(preprocessing.mean, device=device).view(1, 3, 1, 1) * 255
    std = torch.tensor(preprocessing.std, device=device).view(1, 3, 1, 1) * 255
    # a bicubic filter overshoots; pictures do not leave 0..255
    shown = _resized(pictures, preprocessing, preprocessing.interpolation).clamp_(0, 255)
    return _centred((shown - mean) / std, preprocessing)


def flow_input(stacks: NDArray[np.float32], preprocessing: Preprocessing, bound_px: float, device: str) -> Tensor:
    """Prepare stacks of flow fields for a network.

    The field's way (Simonyan & Zisserman 2014; Wang et al. 2016): displacements are clipped at the bound and mapped
    linearly so that zero is the middle of the network's range. The bound is a displacement relative to the picture: it
    scales with the frame's short side, because the network sees every picture at one size, so that the same motion
    gives the same input at every resolution. (It does not scale with the frame rate: times of variable-rate files
    jitter, and the jitter would become motion.)

    Args:
        stacks: float32 (N, 2L, H, W), pixels per frame step, channels u1 v1 u2 v2 ...
        preprocessing: of the network.
        bound_px: the bound for frames of short side `REFERENCE_SHORT_SIDE_PX`.
        device: where the result lies.

    Returns:
        float32 (N, 2L, height, width); the bound maps to half the range 0..1, divided by the mean of `std`.
    """
    bound = bound_px * min(stacks.shape[2:]) / REFERENCE_SHORT_SIDE_PX
    scale = 0.5 / bound / float(np.mean(preprocessing.std))
    fields = torch.from_numpy(stacks).to(device).clamp(-bound, bound).mul_(scale)
    # bilinear for any network: a field is no picture, and an overshoot would be a displacement that nobody measured
    return _centred(_resized(fields, preprocessing, "bilinear"), preprocessing)


def _resized(pictures: Tensor, preprocessing: Preprocessing, interpolation: str) -> Tensor:
    """(N, C, H, W) -> float32 (N, C, h, w): to input / crop_share, by the crop mode; sizes rounded as in timm.

    Of a picture that would become very long only the strip is made that the crop leaves.
    """
    H, W = pictures.shape[2:]
    share, mode = preprocessing.crop_share, preprocessing.crop_mode
    tall, wide = math.floor(preprocessing.height / share), math.floor(preprocessing.width / share)
    if mode == "squash":
        size = (tall, wide)
    elif mode == "center" and tall == wide:  # torchvision's Resize, which rounds down
        size = (tall, tall * W // H) if W >= H else (wide * H // W, wide)
    else:  # timm's ResizeKeepRatio
        ratio = (max if mode == "border" else min)(H / tall, W / wide)
        size = (max(1, round(H / ratio)), max(1, round(W / ratio)))
    if size[0] * size[1] > _LARGEST_SURPLUS * tall * wide:
        axis = 0 if size[0] > size[1] else 1
        seen = (preprocessing.height, preprocessing.width)[axis]
        pictures = _strip(pictures, axis + 2, size[axis], seen, cubic=interpolation == "bicubic")
        size = (seen, size[1]) if axis == 0 else (size[0], seen)
    if size == pictures.shape[2:]:
        return pictures.float()
    return interpolate(pictures.float(), size=size, mode="bicubic" if interpolation == "bicubic" else "bilinear",
                       antialias=True)


def _strip(pictures: Tensor, axis: int, size: int, seen: int, *, cubic: bool) -> Tensor:
    """Return the middle `seen` rows (axis 2) or columns (3) of pictures resized along that axis to `size`, float32.

    The same weights as `interpolate`'s, but nothing is computed that is not seen. A sum over one tap after the other,
    so that the bits depend neither on the number of pictures nor on the device's way to multiply matrices.
    """
    index, weights = _taps(pictures.shape[axis], size, round((size - seen) / 2), seen, cubic=cubic)
    shape = [-1 if dim == axis else 1 for dim in range(4)]
    total = torch.zeros((), device=pictures.device)
    for where, weight in zip(torch.from_numpy(index), torch.from_numpy(weights), strict=True):
        taps = pictures.index_select(axis, where.to(pictures.device))
        total = total + taps * weight.to(pictures.device).view(shape)
    return total


def _taps(have: int, size: int, first: int, seen: int, *, cubic: bool) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return inputs int64 and weights float32 (taps, seen) of the outputs from `first` on, resizing `have` to `size`.

    Keys's cubic with a = -1/2, or a triangle, widened by the scale when it shrinks: Pillow's filters, and torch's.
    """
    scale = have / size
    width = max(1.0, scale)
    reach = (2 if cubic else 1) * width
    centre = scale * (np.arange(first, first + seen) + 0.5)
    index = np.floor(centre - reach).astype(np.int64) + np.arange(math.ceil(2 * reach) + 2)[:, None]
    x = np.abs(index + 0.5 - centre) / width
    if cubic:
        near, far = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
        weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    else:
        weights = np.maximum(0, 1 - x)
    weights *= (index >= 0) & (index < have)
    return index.clip(0, have - 1), (weights / weights.sum(axis=0)).astype(np.float32)


def _centred(pictures: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(N, C, h, w) -> (N, C, height, width): the centre, rounded as in timm, with a border of 0 where it is small."""
    missing = [max(0, want - have) for want, have in
               zip((preprocessing.height, preprocessing.width), pictures.shape[2:], strict=True)]
    if any(missing):
        tall, wide = missing
        pictures = pad(pictures, (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2))
    top, left = (round((have - want) / 2) for want, have in
                 zip((preprocessing.height, preprocessing.width), pictures.shape[2:], strict=True))
    return pictures[:, :, top:top + preprocessing.height, left:left + preprocessing.width]


@dataclass(frozen=True, slots=True)
class StreamNetwork:
    """A network ready to run, with all it needs to know.

    Attributes:
        stream: the stream it serves.
        network: (B, *shape) -> (B, D), in inference mode on `device`.
        shape: of one row of its input.
        device: `cpu` or `cuda`.
        precision: `fp32`, or `bf16` for the network's inner arithmetic.
    """

    stream: str
    network: nn.Module
    shape: tuple[int, ...]
    device: str
    precision: str

    @torch.inference_mode()
    def run(self, rows: list[Tensor]) -> NDArray[np.float32]:
        """Run one batch of at most `BATCH[device]` rows of `shape`; return float32 (len(rows), D)."""
        batch = torch.zeros((BATCH[self.device], *self.shape), device=self.device)
        if batch.dim() in _CHANNELS_LAST:
            batch = batch.contiguous(memory_format=_CHANNELS_LAST[batch.dim()])
        for slot, row in zip(batch, rows, strict=False):
            slot.copy_(row)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            features = self.network(batch)
        result: NDArray[np.float32] = features[:len(rows)].float().cpu().numpy()
        return result


class StreamFeatures:
    """Collects the inputs of one stream over a whole shard and runs the network whenever a batch is full."""

    def __init__(self, network: StreamNetwork, spent: Callable[[int, str, float], None]) -> None:
        """Begin a shard.

        Args:
            network: of the stream.
            spent: told (owner, stream, seconds) for every row's share of the network's time.
        """
        self.network = network
        self._spent = spent
        self._waiting: list[tuple[int, Tensor]] = []
        self._done: list[NDArray[np.float32]] = []

    def push(self, inputs: Tensor, owner: int) -> None:
        """Add rows (N, *shape), which belong to segment `owner`."""
        self._waiting.extend((owner, row) for row in inputs)
        while len(self._waiting) >= BATCH[self.network.device]:
            self._run()

    def finish(self, rows: int) -> FeatureBatch:
        """Run what is left and return all rows, in the order they were pushed.

        Args:
            rows: how many there must be.

        Raises:
            ValueError: there are more or fewer; a bug.
        """
        if self._waiting:
            self._run()
        features = self._done or [self.network.run([])]
        batch = FeatureBatch(self.network.stream, np.concatenate(features))
        if len(batch.features) != rows:
            raise ValueError(f"{counted(len(batch.features), 'row')} of {batch.stream} for {counted(rows, 'moment')}")
        return batch

    def _run(self) -> None:
        began, size = time.perf_counter(), BATCH[self.network.device]
        batch, self._waiting = self._waiting[:size], self._waiting[size:]
        self._done.append(self.network.run([row for _, row in batch]))
        share_s = (time.perf_counter() - began) / len(batch)
        for owner, _ in batch:
            self._spent(owner, self.network.stream, share_s)
