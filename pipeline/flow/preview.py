"""Flow to look at: frames on the left, the flow in the colours of Middlebury's wheel on the right.

The key in the lower right corner says how many pixels a full colour stands for; over a video it stays the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError, EmptyVideoError
from workers.decode import VideoWriter, decode, probe, seconds
from workers.flow import FlowMethod
from workers.flow.files.drawing import draw_flow, flow_scale_px
from workers.flow.files.pictures import write_picture
from workers.pairs import PairFlow

SUFFIXES = (".mp4", ".png")
_SAMPLES = 8  # fields that choose the scale of a video
_LEGIBLE_PX = 96  # smaller pictures are enlarged to this short side, so that the key is drawn
_WINDOW_FRAMES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a video is drawn.

    Attributes:
        flow: the method.
        scale_px: displacement of the full colour; None chooses it.
        short_side_px: of the frames.
        upscale: whether smaller frames are scaled up to it.
    """

    flow: FlowMethod
    scale_px: float | None = None
    short_side_px: int = 256
    upscale: bool = False


def checked_suffix(path: Path) -> Path:
    """Return a path that a preview can be written to.

    Raises:
        ConfigError: its suffix is another.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"`preview` {path}: choose a name that ends in {' or '.join(SUFFIXES)}")
    return path


def refuse_input(path: Path, *inputs: Path) -> None:
    """Check that a file to be written is none of those that are read.

    Raises:
        ConfigError: it is, under whatever name.
    """
    for one in inputs:
        if path.exists() and one.exists() and path.samefile(one):
            raise ConfigError(f"{path} is the very file that is read, and would be lost; choose another name to write")


def beside(
    picture: NDArray[np.uint8],
    flow: NDArray[np.float32],
    scale_px: float | None,
    *more: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Draw a frame uint8 (H, W, 3), any more frames, and its flow float32 (2, H, W), side by side."""
    times = -(-_LEGIBLE_PX // min(picture.shape[:2]))
    frames = [image.repeat(times, 0).repeat(times, 1) for image in (picture, *more)]
    scale_px = flow_scale_px(flow) if scale_px is None else scale_px
    return np.hstack([*frames, draw_flow(flow.repeat(times, 1).repeat(times, 2), scale_px=scale_px)])


def preview_video(video: str, path: Path, look: Look) -> None:
    """Draw a video: all of it into an `.mp4`, its middle pair into a `.png`.

    Raises:
        InputError: the video is bad.
        ConfigError: the suffix is another, or the preview would take the video's place.
        ResourceError: the preview can not be written.
    """
    checked_suffix(path)
    refuse_input(path, Path(video))
    facts, ticks, time_base = probe(video)
    if len(ticks) < 2:
        raise EmptyVideoError(f"{video}: flow needs 2 frames, it has {len(ticks)}")
    if path.suffix.lower() == ".png":
        middle = len(ticks) // 2 - 1
        grey, rgb = _pair(video, middle, look)
        write_picture(path, beside(rgb, look.flow(grey)[0], look.scale_px))
        return
    scale_px = look.scale_px or _scale_px(video, len(ticks), look)
    begin_s = float(seconds(ticks[:1], time_base)[0])
    with VideoWriter(path, fps=facts.fps) as writer:
        for pts_s, rgb, flow in _fields(video, len(ticks), look):
            writer.add(beside(rgb, flow, scale_px), pts_s - begin_s)


def _pair(video: str, frame: int, look: Look) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return two frames as grey (2, H, W) and the first in colour (H, W, 3)."""
    window = next(
        decode(
            video,
            start=frame,
            stop=frame + 2,
            seek_pts=None,
            rgb_frames=np.array([frame]),
            grey=True,
            short_side=look.short_side_px,
            upscale=look.upscale,
            window_frames=2,
        )
    )
    if len(window.grey) < 2:
        raise EmptyVideoError(f"{video}: it ends at frame {frame}")
    return window.grey, window.rgb[0]


def _scale_px(video: str, frames: int, look: Look) -> float:
    """Choose one scale by fields spread over the video."""
    starts = set(np.linspace(0, frames - 2, min(_SAMPLES, frames - 1)).astype(int).tolist())
    fields, last = [], None
    for window in decode(
        video,
        start=0,
        stop=frames,
        seek_pts=None,
        rgb_frames=np.empty(0, np.int64),
        grey=True,
        short_side=look.short_side_px,
        upscale=look.upscale,
        window_frames=_WINDOW_FRAMES,
    ):
        grey = window.grey if last is None else np.concatenate([last[None], window.grey])
        first = int(window.frame[-1]) + 1 - len(grey)
        fields += [look.flow(grey[at : at + 2])[0] for at in range(len(grey) - 1) if first + at in starts]
        last = window.grey[-1].copy()
    return flow_scale_px(np.concatenate(fields, axis=1))


def _fields(video: str, frames: int, look: Look) -> Iterator[tuple[float, NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield (time, frame in colour, flow to the next frame)."""
    pairs = PairFlow(look.flow, every=1, step=1)
    colours: dict[int, NDArray[np.uint8]] = {}
    for window in decode(
        video,
        start=0,
        stop=frames,
        seek_pts=None,
        rgb_frames=np.arange(frames),
        grey=True,
        short_side=look.short_side_px,
        upscale=look.upscale,
        window_frames=_WINDOW_FRAMES,
    ):
        colours |= dict(zip(window.rgb_frame.tolist(), window.rgb, strict=True))
        for _, batch, times in pairs.add(window):
            for frame, flow, pts_s in zip(batch.frame.tolist(), batch.flow, times.tolist(), strict=True):
                yield pts_s, colours.pop(frame), flow
