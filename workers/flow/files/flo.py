"""Middlebury's `.flo` files: a tag, width, height, then u and v of every pixel, all little endian.

Format: Baker et al. 2011, "A database and evaluation methodology for optical flow", and the README of its flow code.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.disk.files import reading, write_bytes
from schemas.errors import StoreError

TAG = np.float32(202021.25)  # its four bytes read `PIEH`
_LARGEST_PX = 99_999


def write_flo(path: Path, flow: NDArray[np.float32]) -> None:
    """Write a field.

    Args:
        path: of the file.
        flow: float32 (2, H, W), to the right and down, in pixels.

    Raises:
        ResourceError: the file can not be written.
    """
    write_bytes(path, flo_bytes(flow))


def flo_bytes(flow: NDArray[np.float32]) -> bytes:
    """Return a field, float32 (2, H, W), as the bytes of a `.flo` file."""
    _, H, W = flow.shape
    head = TAG.astype("<f4").tobytes() + np.array([W, H], "<i4").tobytes()
    return bytes(head + np.ascontiguousarray(flow.transpose(1, 2, 0), "<f4").tobytes())


def read_flo(path: Path) -> NDArray[np.float32]:
    """Read a field.

    Returns:
        float32 (2, H, W), to the right and down, in pixels; Middlebury marks unknown flow by values above 1e9.

    Raises:
        StoreError: the file is not there, not a `.flo`, or cut short.
    """
    with reading(path):
        data = path.read_bytes()
    if len(data) < 12 or np.frombuffer(data, "<f4", 1)[0] != TAG:
        raise StoreError(f"{path} is not a .flo file: it does not begin with PIEH")
    W, H = (int(side) for side in np.frombuffer(data, "<i4", 2, 4))
    if not (0 < W <= _LARGEST_PX and 0 < H <= _LARGEST_PX) or len(data) != 12 + 8 * W * H:
        raise StoreError(f"{path}: {len(data)} bytes can not be a .flo of {W} x {H} pixels; it is cut short or damaged")
    pixels = np.frombuffer(data, "<f4", 2 * W * H, 12).reshape(H, W, 2)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
