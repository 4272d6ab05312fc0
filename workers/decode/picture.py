"""A decoded frame becomes an upright grey or RGB array of the asked size.

FFmpeg's swscale takes every frame straight from the codec's format and size to the asked ones. Decisions:

* Size: the short side becomes ``short_side``, the long side the nearest integer in proportion. Never larger than the
  video unless ``upscale``. Pixels are taken as square (the sample aspect ratio is ignored), as mmaction2 and
  denseflow do. Area averaging, so downscaling has no aliases; it agrees with OpenCV's INTER_AREA.
  A video that changes its size on the way keeps the first.
* RGB: by the matrix and range the stream declares (BT.601 where it declares none, as FFmpeg and OpenCV do).
* Grey: the luma of BT.601, 0..255, which is what OpenCV's BGR2GRAY makes of the RGB. A video of that matrix has it as
  its Y plane, and nothing else is read then; any other goes through RGB at the small size.
* Rotation and mirroring by the display matrix are applied.
* Interlaced frames: the top field alone is scaled up. Each frame depends on itself only, so seeking stays exact; at a
  short side of 256 nothing of a 576i or 1080i video is lost that the scaling would keep.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from schemas.errors import VideoTooLargeError
from workers.decode.video import Orientation, orientation

#: The largest picture that is held, in px: 4096 x 4096, twice a picture of 4K video. Flow around one moment takes some
#: 20 fields of 8 bytes a px, 3 GB at this size; a video that asks for more would end the process that tries.
LARGEST_PICTURE_PX = 2**24

_SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
# AVColorSpace numbers that swscale converts; a frame tagged with another is taken for untagged.
_KNOWN_MATRICES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})
_UNSPECIFIED = 2
# BT.601 in its two names, and no declaration, which is taken for it.
_LUMA_IS_GREY = frozenset({_UNSPECIFIED, 5, 6})


def output_size(width: int, height: int, *, short_side: int, upscale: bool) -> tuple[int, int]:
    """(width, height) after scaling: short side as asked, long side rounded to the nearest integer, halves up."""
    short = min(width, height)
    if short == short_side or (short < short_side and not upscale):
        return width, height
    long = (2 * max(width, height) * short_side + short) // (2 * short)
    return (short_side, long) if width <= height else (long, short_side)


def check_size(path: str, width: int, height: int, *, short_side: int, upscale: bool) -> None:
    """Check that pictures of a video are not too large once they are scaled.

    Raises:
        VideoTooLargeError: they have more than `LARGEST_PICTURE_PX` pixels.
    """
    wide, high = output_size(width, height, short_side=short_side, upscale=upscale)
    if wide * high > LARGEST_PICTURE_PX:
        raise VideoTooLargeError(
            f"{path}: its pictures of {width} x {height} px would be held as {wide} x {high} px; "
            f"at most {LARGEST_PICTURE_PX:,} px are held. Ask for a smaller short side"
        )


class SizeRule(NamedTuple):
    """What fixes the size of the output: the size the container tells, whatever frame a segment begins with."""

    stored_size: tuple[int, int]
    short_side: int
    upscale: bool


class Picture:
    """Scales and converts frames into upright arrays of one size."""

    def __init__(self, first: VideoFrame, scale: SizeRule) -> None:
        width, height = scale.stored_size if all(scale.stored_size) else (first.width, first.height)
        self._rotation, self._turned = first.rotation, orientation(first)
        upright = (height, width) if self._turned.transpose else (width, height)
        self.width, self.height = output_size(*upright, short_side=scale.short_side, upscale=scale.upscale)
        # One context each: changing what a context does makes it compute its filters anew.
        self._to_grey = VideoReformatter()
        self._to_rgb = VideoReformatter()
        self._fields: dict[tuple[str, int, int], Graph] = {}
        self._planar_of: VideoFrame | None = None
        self._planar_is: VideoFrame | None = None

    def grey(self, frame: VideoFrame, out: NDArray[np.uint8]) -> None:
        """Write the luma of ``frame`` into ``out``, uint8 (H, W)."""
        turn = self._turn(frame)
        if frame.colorspace in _LUMA_IS_GREY and not _is_coded_as_rgb(frame):
            # Told that both matrices are the same, swscale reads the Y plane alone.
            scaled = self._scale(self._to_grey, self._whole(frame), "gray8", turn, matrix=Colorspace.ITU601)
        else:
            scaled = self._scale(self._to_grey, self._planar(frame, turn), "gray8", turn, matrix=None)
        out[...] = _upright(_rows(scaled, 0), turn)

    def rgb(self, frame: VideoFrame, out: NDArray[np.uint8]) -> None:
        """Write ``frame`` into ``out``, uint8 (H, W, 3)."""
        turn = self._turn(frame)
        planar = self._planar(frame, turn)
        for channel, plane in enumerate((2, 0, 1)):
            out[..., channel] = _upright(_rows(planar, plane), turn)

    def _turn(self, frame: VideoFrame) -> Orientation:
        """Orientation of the frame; the matrix is read anew only when its angle changes (see ``orientation``)."""
        if frame.rotation != self._rotation:
            self._rotation, self._turned = frame.rotation, orientation(frame)
        return self._turned

    def _planar(self, frame: VideoFrame, turn: Orientation) -> VideoFrame:
        """The frame scaled to planar RGB, made once when asked for grey and RGB.

        This and a copy take half the time of swscale's packed RGB, and give the same bits.
        """
        if self._planar_of is not frame:
            whole = self._whole(frame)
            self._planar_of, self._planar_is = frame, self._scale(self._to_rgb, whole, "gbrp", turn, matrix=None)
        assert self._planar_is is not None
        return self._planar_is

    def _scale(
        self,
        reformatter: VideoReformatter,
        frame: VideoFrame,
        name: str,
        turn: Orientation,
        *,
        matrix: Colorspace | None,
    ) -> VideoFrame:
        width, height = (self.height, self.width) if turn.transpose else (self.width, self.height)
        # A Y plane of the right size needs no scaler; the flags would send it through one, for the same bits.
        flags = Interpolation.AREA if matrix and (frame.width, frame.height) == (width, height) else _SCALING
        return reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=name,
            interpolation=flags,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            threads=1,
        )

    def _whole(self, frame: VideoFrame) -> VideoFrame:
        """The frame itself, or the top field of an interlaced one."""
        if frame.colorspace not in _KNOWN_MATRICES:
            frame.colorspace = _UNSPECIFIED
        return self._top_field(frame) if frame.interlaced_frame and frame.height > 1 else frame

    def _top_field(self, frame: VideoFrame) -> VideoFrame:
        key = (frame.format.name, frame.width, frame.height)
        graph = self._fields.get(key)
        if graph is None:
            graph = self._fields[key] = _field_graph(*key)
        graph.vpush(frame)
        return graph.vpull()


def _field_graph(name: str, width: int, height: int) -> Graph:
    graph = Graph()
    pixels = VideoFormat(name, width, height)
    source = graph.add_buffer(width=width, height=height, format=pixels, time_base=Fraction(1, 1000))
    graph.link_nodes(source, graph.add("field", "type=top"), graph.add("buffersink")).configure()
    return graph


def _is_coded_as_rgb(frame: VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.has_palette


def _rows(frame: VideoFrame, plane: int) -> NDArray[np.uint8]:
    """View of a plane of bytes, (H, W), without the padding of its lines."""
    pixels = frame.planes[plane]
    data: NDArray[np.uint8] = np.frombuffer(memoryview(pixels), dtype=np.uint8)
    rows = data.reshape(-1, abs(pixels.line_size))[: frame.height, : frame.width]
    return rows[::-1] if pixels.line_size < 0 else rows


def _upright(rows: NDArray[np.uint8], turn: Orientation) -> NDArray[np.uint8]:
    if turn.transpose:
        rows = rows.T
    if turn.flip_rows:
        rows = rows[::-1]
    return rows[:, ::-1] if turn.flip_columns else rows
