"""Flow as pairs of grey images, as denseflow writes and mmaction2 reads them; and pictures in and out of files.

A displacement v in pixels becomes

    value = round(255 * (min(max(v, -bound), bound) + bound) / (2 * bound))

in double precision, halves to the even value: denseflow's `convertFlowToImage` with its `cvRound`. So -bound is 0,
bound is 255, and no motion, which is 127.5, is 128. Back it is `v = value * 2 * bound / 255 - bound`, right to half a
step, bound / 255; mmaction2 takes (value - 128) / 128 for the displacement over the bound.

The quality of a jpg is OpenCV's default, 95, which is what denseflow writes. A png holds the same values without loss:
two grey pictures, not denseflow's one coloured picture with a scale of its own, which mmaction2 can not read.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.disk.files import write_bytes
from schemas.errors import ConfigError, VideoTooLargeError

JPG_QUALITY = 95
LARGEST_JPG_PX = 65_500  # libjpeg's; OpenCV would give no bytes


def quantised(flow: NDArray[np.float32], bound_px: float) -> NDArray[np.uint8]:
    """Map displacements to 0..255 by the formula above; any shape."""
    clipped = np.clip(flow, -bound_px, bound_px).astype(np.float64)
    return np.rint(255 * (clipped + bound_px) / (2 * bound_px)).astype(np.uint8)


def displacements(values: NDArray[np.uint8], bound_px: float) -> NDArray[np.float32]:
    """Map 0..255 back to displacements; any shape."""
    return (values.astype(np.float64) * (2 * bound_px) / 255 - bound_px).astype(np.float32)


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture; the suffix tells the format.

    Args:
        path: of the file, `.jpg` or `.png`.
        picture: uint8 (H, W), or (H, W, 3) RGB.

    Raises:
        ResourceError: the file can not be written.
    """
    write_bytes(path, encoded(picture, path.suffix))


def encoded(picture: NDArray[np.uint8], suffix: str, quality: int = JPG_QUALITY) -> bytes:
    """Return a picture, uint8 (H, W) or (H, W, 3) RGB, as the bytes of a `.jpg` (of that quality) or `.png` file.

    Raises:
        VideoTooLargeError: no jpg has sides so long.
    """
    if suffix == ".jpg" and max(picture.shape[:2]) > LARGEST_JPG_PX:
        raise VideoTooLargeError(
            f"a picture of {picture.shape[1]} x {picture.shape[0]} px is no jpg, of which no side "
            f"is longer than {LARGEST_JPG_PX:,} px; write png, or ask for a smaller short side"
        )
    pixels = picture[..., ::-1] if picture.ndim == 3 else picture
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
    return bytes(cv2.imencode(suffix, np.ascontiguousarray(pixels), options)[1].tobytes())


def reduced(picture: NDArray[np.uint8], height_px: int) -> NDArray[np.uint8]:
    """Scale a picture down to a height by area averaging; one that is lower already stays as it is."""
    height, width = picture.shape[:2]
    if height <= height_px:
        return picture
    size = max(1, round(width * height_px / height)), height_px
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture as uint8 (H, W, 3) RGB.

    Raises:
        ConfigError: the file is not there, or is no picture.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise ConfigError(f"{path}: {error}") from error
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if picture is None:
        raise ConfigError(f"{path} is not a picture that can be read")
    return np.ascontiguousarray(picture[..., ::-1], np.uint8)


def grey_of(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the luma of BT.601 of a picture, uint8 (H, W, 3) RGB -> uint8 (H, W)."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
