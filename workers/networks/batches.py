"""Frames or flow in, features out, through any network; this file knows none by name.

Networks run on batches of one fixed size, the last one filled up with zeros, because the arithmetic of a convolution
depends on the batch's size: so a moment's features are the same bits wherever it lies in a shard.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.frames import FeatureBatch
from schemas.streams import REFERENCE_SHORT_SIDE_PX
from schemas.words import counted
from workers.networks.engine import BATCH, Infer
from workers.networks.preprocessing import Preprocessing

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def rgb_input(rgb: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Prepare frames for a network: resize, crop, normalise (borders get the mean colour).

    By Pillow, as timm and torchvision do it and as networks were trained: the resized picture is 8-bit again.

    Args:
        rgb: uint8 (N, H, W, 3).
        preprocessing: of the network.

    Returns:
        float32 (N, 3, height, width).
    """
    mean, std = np.array(preprocessing.mean, np.float32), np.array(preprocessing.std, np.float32)
    shown = np.zeros((len(rgb), 3, preprocessing.height, preprocessing.width), np.float32)
    for row, picture in zip(shown, rgb, strict=True):
        place, seen = _seen(picture, preprocessing, preprocessing.interpolation)
        row[(slice(None), *place)] = ((seen.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)
    return shown


def flow_input(fields: NDArray[np.float32], preprocessing: Preprocessing, bound_px: float) -> NDArray[np.float32]:
    """Prepare flow fields for a network.

    The field's way (Simonyan & Zisserman 2014; Wang et al. 2016): displacements are clipped at the bound and mapped
    linearly so that zero is the middle of the network's range. The bound is a displacement relative to the picture: it
    scales with the frame's short side, because the network sees every picture at one size, so that the same motion
    gives the same input at every resolution. (It does not scale with the frame rate: times of variable-rate files
    jitter, and the jitter would become motion.)

    Args:
        fields: float32 (N, C, H, W), pixels per frame step, each channel a component of a field.
        preprocessing: of the network.
        bound_px: the bound for frames of short side `REFERENCE_SHORT_SIDE_PX`.

    Returns:
        float32 (N, C, height, width); the bound maps to half the range 0..1, divided by the mean of `std`.
    """
    bound = bound_px * min(fields.shape[2:]) / REFERENCE_SHORT_SIDE_PX
    clipped = fields.clip(-bound, bound) * np.float32(0.5 / bound / float(np.mean(preprocessing.std)))
    shown = np.zeros((*fields.shape[:2], preprocessing.height, preprocessing.width), np.float32)
    for n, c in np.ndindex(fields.shape[:2]):
        # bilinear for any network: a field is no picture, and an overshoot would be a displacement that nobody measured
        place, seen = _seen(clipped[n, c], preprocessing, "bilinear")
        shown[(n, c, *place)] = seen
    return shown


@dataclass(frozen=True, slots=True)
class _Axis:
    """How one axis of a picture is fitted to the network's input: resized, of which the middle is seen.

    Attributes:
        have: pixels of the picture.
        size: pixels of the whole resized picture.
        want: pixels of the network's input.
    """

    have: int
    size: int
    want: int

    @property
    def seen(self) -> int:
        """How many resized pixels are seen."""
        return min(self.size, self.want)

    @property
    def place(self) -> slice:
        """Where they lie in the input; rounded as in timm."""
        first = (self.want - self.seen) // 2
        return slice(first, first + self.seen)

    @property
    def box(self) -> tuple[float, float]:
        """The part of the picture they are made of, in its pixels; rounded as in timm."""
        first = max(0, round((self.size - self.want) / 2))
        scale = self.have / self.size
        return first * scale, min(self.have, (first + self.seen) * scale)


def _seen(
    picture: NDArray[Any],
    preprocessing: Preprocessing,
    interpolation: str,
) -> tuple[tuple[slice, slice], NDArray[Any]]:
    """Resize a picture (H, W, ...) and crop it; of the resized picture nothing is made that is not seen.

    Returns:
        where in the network's input the result belongs, and the result.
    """
    down, across = _axes(picture.shape[0], picture.shape[1], preprocessing)
    (top, bottom), (left, right) = down.box, across.box
    seen = Image.fromarray(picture).resize(
        (across.seen, down.seen), _FILTERS[interpolation], box=(left, top, right, bottom)
    )
    return (down.place, across.place), np.asarray(seen)


def _axes(H: int, W: int, preprocessing: Preprocessing) -> tuple[_Axis, _Axis]:
    """Resize to input / crop_share, by the crop mode; sizes rounded as in timm."""
    share, mode = preprocessing.crop_share, preprocessing.crop_mode
    tall, wide = math.floor(preprocessing.height / share), math.floor(preprocessing.width / share)
    if mode == "squash":
        size = (tall, wide)
    elif mode == "center" and tall == wide:  # torchvision's Resize, which rounds down
        size = (tall, tall * W // H) if W >= H else (wide * H // W, wide)
    else:  # timm's ResizeKeepRatio
        ratio = (max if mode == "border" else min)(H / tall, W / wide)
        size = (max(1, round(H / ratio)), max(1, round(W / ratio)))
    return _Axis(H, size[0], preprocessing.height), _Axis(W, size[1], preprocessing.width)


@dataclass(frozen=True, slots=True)
class StreamNetwork:
    """A network ready to run, with all it needs to know.

    Attributes:
        stream: the stream it serves.
        network: float32 (BATCH[device], *shape) -> float32 (BATCH[device], D).
        shape: of one row of its input.
        device: `cpu` or `cuda`.
    """

    stream: str
    network: Infer
    shape: tuple[int, ...]
    device: str

    def run(self, rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Run one batch of at most `BATCH[device]` rows of `shape`; return float32 (len(rows), D)."""
        batch = np.zeros((BATCH[self.device], *self.shape), np.float32)
        for slot, row in zip(batch, rows, strict=False):
            slot[...] = row
        return self.network(batch)[: len(rows)]


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
        self._waiting: list[tuple[int, NDArray[np.float32]]] = []
        self._done: list[NDArray[np.float32]] = []

    def push(self, inputs: NDArray[np.float32], owner: int) -> None:
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
