"""Pictures become a video file, each shown at its own time."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from schemas.disk.files import commit, refusals, temporary_beside
from schemas.errors import ResourceError
from workers.decode.video import AV_ERRORS, reason

_TICK = Fraction(1, 90_000)
_CODECS = ("libx264", "mpeg4")  # the first that this FFmpeg has


class VideoWriter:
    """Writes an MP4; use as a context manager. Odd sides lose a pixel, because the codec's colours come in pairs.

    The film is made aside and takes the place of a file of its name when it is whole; else nothing is left of it.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        """Say where to and about how fast."""
        self._path, self._aside = path, temporary_beside(path)
        self._rate = Fraction(fps or 25).limit_denominator(1001)
        self._stream: VideoStream | None = None
        try:
            self._container = av.open(f"file:{self._aside}", "w", format="mp4")
        except AV_ERRORS as error:
            raise ResourceError(f"cannot write {path}: {reason(error)}") from error

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def add(self, picture: NDArray[np.uint8], pts_s: float) -> None:
        """Append a picture, uint8 (H, W, 3) RGB, all of one size, shown from `pts_s` on; times increase.

        Raises:
            ResourceError: the file can not be written.
        """
        H, W = (side - side % 2 for side in picture.shape[:2])
        try:
            if self._stream is None:
                self._stream = self._begin(H, W)
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture[:H, :W]), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = round(pts_s / _TICK), _TICK
            self._container.mux(self._stream.encode(frame))
        except AV_ERRORS as error:
            raise ResourceError(f"cannot write {self._path}: {reason(error)}") from error

    def _begin(self, H: int, W: int) -> VideoStream:
        codec = next(name for name in _CODECS if name in av.codecs_available)
        options = {"crf": "18", "preset": "veryfast"} if codec == "libx264" else {"qmax": "4"}
        stream = cast("VideoStream", self._container.add_stream(codec, rate=self._rate, options=options))
        stream.height, stream.width, stream.pix_fmt = H, W, "yuv420p"
        stream.codec_context.time_base = _TICK
        return stream

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file.

        Raises:
            ResourceError: it can not be written.
        """
        try:
            self._close(whole=kind is None)
        finally:
            self._aside.unlink(missing_ok=True)

    def _close(self, *, whole: bool) -> None:
        try:
            if whole and self._stream is not None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
        except AV_ERRORS as error:
            if whole:
                raise ResourceError(f"cannot write {self._path}: {reason(error)}") from error
        if whole:
            with refusals(self._path):
                commit(self._aside, self._path)
