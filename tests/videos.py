"""Writes small video files whose frame k shows the number k, and reads the number back."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from numpy.typing import NDArray

BITS_ACROSS, BITS_DOWN = 4, 3
DARK, BRIGHT = 60, 195


def has_encoder(name: str) -> bool:
    """Say whether this build of FFmpeg can write the codec."""
    try:
        return av.codec.Codec(name, "w").is_encoder
    except UnknownCodecError:
        return False


def numbered_image(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """RGB image, uint8 (H,W,3), of a 4 x 3 board: square i is bright where bit i of ``number`` is set.

    A faint coloured ripple that moves with the number gives encoders motion to predict.
    """
    row, column = np.arange(height) * BITS_DOWN // height, np.arange(width) * BITS_ACROSS // width
    bits = number >> (row[:, None] * BITS_ACROSS + column[None, :]) & 1
    board = np.where(bits, BRIGHT, DARK).astype(np.float64)[..., None]
    phase = (np.arange(width)[None, :, None] + np.arange(height)[:, None, None] - 3 * number) / 5 + np.arange(3)
    return np.asarray(board + 20 * np.sin(phase), dtype=np.uint8)


def number_of(image: NDArray[np.uint8]) -> int:
    """Read the number of a (scaled) frame, uint8 (H,W) or (H,W,3)."""
    luma = image if image.ndim == 2 else image.mean(axis=2)
    height, width = luma.shape
    number = 0
    for bit in range(BITS_DOWN * BITS_ACROSS):
        y, x = (
            (bit // BITS_ACROSS * 2 + 1) * height // (2 * BITS_DOWN),
            (bit % BITS_ACROSS * 2 + 1) * width // (2 * BITS_ACROSS),
        )
        square = luma[y - height // 12 : y + height // 12 + 1, x - width // 16 : x + width // 16 + 1]
        number |= int(square.mean() > (DARK + BRIGHT) / 2) << bit
    return number


def write_video(
    path: Path,
    *,
    frames: int = 30,
    width: int = 96,
    height: int = 72,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    fps: int = 25,
    options: Mapping[str, str] | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    rotation: int = 0,
    container_options: Mapping[str, str] | None = None,
    images: Sequence[NDArray[np.uint8]] | None = None,
) -> Path:
    """Write ``frames`` numbered frames (or the given RGB images) and return ``path``.

    ``pts`` are in ``time_base``, 1/fps when not given; ``rotation`` goes into the display matrix, counterclockwise.
    """
    shown = images if images is not None else [numbered_image(k, width, height) for k in range(frames)]
    tick = time_base or Fraction(1, fps)
    with av.open(str(path), "w", options=dict(container_options or {})) as container:
        stream = container.add_stream(codec, rate=fps, options=dict(options or {}))
        stream.height, stream.width = shown[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = tick
        stream.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        for k, image in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = (pts[k] if pts is not None else k), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
