"""Small pictures of a video: the frame in its middle, and how it moves there."""

import base64
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.config import ExtractSettings
from schemas.errors import InputError
from workers.decode import decode, probe, seconds
from workers.flow import FlowMethod
from workers.flow.files.drawing import flow_colours, flow_scale_px
from workers.flow.files.pictures import encoded, reduced

HEIGHT_PX = 168  # shown at half of it on fine screens
_QUALITY = 82


@dataclass(frozen=True, slots=True)
class Thumb:
    """Pictures of one moment.

    Attributes:
        frame: `data:` address of the frame; empty when there is none.
        flow: `data:` address of the coloured flow to the next frame; empty when there is none.
        pts_s: presentation time of the moment, in seconds.
        scale_px: the displacement of full colour, in px per frame of the picture that flow was computed on.
        trouble: why there are no pictures; empty when there are.
    """

    frame: str = ""
    flow: str = ""
    pts_s: float = 0.0
    scale_px: float = 0.0
    trouble: str = ""


def middle_moment(path: str, settings: ExtractSettings, flow: FlowMethod | None) -> Thumb:
    """Picture the middle one of a video's moments, decoded as the features were.

    Args:
        path: the video file.
        settings: of the extraction.
        flow: the flow method; None leaves flow out.

    Returns:
        the pictures; a video that is gone or broken gives `trouble` instead of an error, since a page can do without.
    """
    try:
        about, ticks, tick_s = probe(path)
        pts_s = seconds(ticks, tick_s)
        moments = settings.sampling.moments(pts_s)
        frame = min(int(moments[len(moments) // 2]), max(0, len(ticks) - 2))
        windows = list(
            decode(
                path,
                start=frame,
                stop=min(frame + 2, len(ticks)),
                seek_pts=int(ticks[frame]) if about.exact_pts else None,
                rgb_frames=np.array([frame]),
                grey=True,
                short_side=settings.short_side_px,
                upscale=settings.upscale,
                window_frames=2,
            )
        )
    except InputError as error:
        return Thumb(trouble=str(error))
    grey = np.concatenate([window.grey for window in windows])
    rgb = np.concatenate([window.rgb for window in windows])
    if flow is None or len(grey) < 2:
        return Thumb(picture(rgb[0]), pts_s=float(pts_s[frame]))
    field = flow(grey)[0]
    scale_px = flow_scale_px(field)
    return Thumb(picture(rgb[0]), picture(flow_colours(field, scale_px=scale_px)), float(pts_s[frame]), scale_px)


def picture(rgb: NDArray[np.uint8], height_px: int = HEIGHT_PX) -> str:
    """Turn uint8 (H, W, 3) RGB into a small JPEG at a `data:` address."""
    jpeg = encoded(reduced(rgb, height_px), ".jpg", _QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def png(rgb: NDArray[np.uint8]) -> str:
    """Turn uint8 (H, W, 3) RGB into a PNG at a `data:` address."""
    return "data:image/png;base64," + base64.b64encode(encoded(rgb, ".png")).decode()
