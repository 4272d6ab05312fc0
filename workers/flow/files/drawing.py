"""Optical flow as a picture: the colour says where to, its strength how far.

The wheel is that of the Middlebury evaluation (Baker et al. 2011, "A database and evaluation methodology for optical
flow", IJCV 92:1): red is to the right, yellow down, cyan-blue left, violet up; white does not move, and what moves
further than the scale is darkened.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

# The wheel runs through six pure hues; so many steps lead from each to the next. They follow the eye's power to tell
# hues apart, which is why they differ.
_HUES = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]], np.float32)
_STEPS = (15, 6, 4, 11, 13, 6)
BEYOND = 0.75  # what is left of the colour's brightness where the flow is longer than the scale
UNKNOWN_PX = 1e9  # ground truth marks pixels without known flow by numbers above it
_SMALLEST_SCALE_PX = 0.1


def colour_wheel() -> NDArray[np.float32]:
    """Return the wheel's colours, float32 (55, 3) RGB on a 0..1 scale, the first one for motion to the right."""
    following = np.roll(_HUES, -1, axis=0)
    parts = [
        hue + (after - hue) * np.arange(steps, dtype=np.float32)[:, None] / steps
        for hue, after, steps in zip(_HUES, following, _STEPS, strict=True)
    ]
    return np.concatenate(parts)


def flow_colours(flow: NDArray[np.float32], *, scale_px: float) -> NDArray[np.uint8]:
    """Colour a flow field.

    Args:
        flow: float32 (2, H, W), to the right and down, in pixels per frame step.
        scale_px: the displacement that gets the full colour, in pixels.

    Returns:
        uint8 (H, W, 3) RGB; unknown flow (NaN, or beyond `UNKNOWN_PX`) is black.
    """
    unknown = ~(np.abs(flow) < UNKNOWN_PX).all(axis=0)
    right, down = np.where(unknown, np.float32(0), flow) / np.float32(scale_px)
    length = np.hypot(right, down)[..., None]
    wheel = colour_wheel()
    place = (np.arctan2(-down, -right) / np.pi + 1) / 2 * (len(wheel) - 1)
    before = np.floor(place).astype(np.intp)
    share = (place - before)[..., None]
    colour = (1 - share) * wheel[before] + share * wheel[(before + 1) % len(wheel)]
    colour = np.where(length <= 1, 1 - length * (1 - colour), BEYOND * colour)
    colour[unknown] = 0
    return np.asarray(np.floor(255 * colour + 0.5), dtype=np.uint8)


def flow_scale_px(flow: NDArray[np.float32], *, share: float = 0.99) -> float:
    """Choose a scale: the first of 0.1, 0.2, 0.5, 1, 2, 5, ... px that at least `share` of the pixels do not exceed."""
    known = flow[:, (np.abs(flow) < UNKNOWN_PX).all(axis=0)]
    longest = float(np.quantile(np.hypot(*known), share)) if known.size else 0.0
    step = 10.0 ** math.floor(math.log10(max(longest, _SMALLEST_SCALE_PX)))
    fitting = [round(factor * step, 6) for factor in (1, 2, 5, 10) if factor * step >= longest - 1e-6]
    return max(_SMALLEST_SCALE_PX, fitting[0])


def wheel_picture(size_px: int, *, ground: int = 255) -> NDArray[np.uint8]:
    """Draw the key to the colours: a disc whose rim is the full scale, uint8 (size_px, size_px, 3) RGB."""
    axis = np.linspace(-1, 1, size_px, dtype=np.float32)
    field = np.stack(np.meshgrid(axis, axis))
    disc = flow_colours(field, scale_px=1)
    disc[np.hypot(*field) > 1] = ground
    return disc


def draw_flow(flow: NDArray[np.float32], *, scale_px: float | None = None) -> NDArray[np.uint8]:
    """Colour a flow field and put the key with its scale in px into the lower right corner.

    Args:
        flow: float32 (2, H, W), in pixels per frame step.
        scale_px: the displacement that gets the full colour; None chooses by `flow_scale_px`.

    Returns:
        uint8 (H, W, 3) RGB. A field too small for a legible key (short side below 96 px) goes without.
    """
    scale_px = flow_scale_px(flow) if scale_px is None else scale_px
    picture = flow_colours(flow, scale_px=scale_px)
    short = min(picture.shape[:2])
    if short < 96:
        return picture
    size, text = max(32, short // 5), f"{scale_px:g} px"
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size / 110, 1)
    box = np.full((size + height + 12, max(size, width) + 8, 3), 255, np.uint8)
    left = (box.shape[1] - size) // 2
    box[4 : 4 + size, left : left + size] = wheel_picture(size)
    cv2.putText(
        box,
        text,
        ((box.shape[1] - width) // 2, box.shape[0] - 5),
        cv2.FONT_HERSHEY_SIMPLEX,
        size / 110,
        (0, 0, 0),
        1,
        cv2.LINE_AA,
    )
    rows, columns = min(box.shape[0], picture.shape[0]), min(box.shape[1], picture.shape[1])
    picture[-rows:, -columns:] = box[:rows, :columns]
    return picture
