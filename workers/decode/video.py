"""Open a video file and take its frames one after the other, each with its time.

Nothing that FFmpeg or PyAV raises leaves `probe` and `decode`, which stand on this file, untyped.
"""

import gc
import heapq
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

import av
import numpy as np
from av.buffer import Buffer
from av.container import InputContainer
from av.packet import Packet as AnyPacket
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from schemas.errors import MachineError, VideoOpenError, is_machines
from workers.decode.units import Joints

av.logging.set_level(None)

Packet: TypeAlias = "AnyPacket[VideoStream]"

#: Everything PyAV raises on a bad file: its own errors, and those of its glue. A MemoryError or OSError that is not
#: FFmpeg's own word is the machine's fault and passes.
AV_ERRORS = (av.error.FFmpegError, EOFError, ValueError)

_IMAGE_FORMATS = frozenset({"image2", "ico", "tty", "bin", "xbin", "adf", "idf", "txd"})
_IMAGE_BRANDS = frozenset({"avif", "heic", "heix", "mif1"})
_COVER = Disposition.attached_pic | Disposition.timed_thumbnails
_TRUSTING = frozenset({"mpeg4", "h263", "flv1", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2"})
# FFmpeg skips MPEG-4 pictures up to this size when they are place holders (MAX_NVOP_SIZE in mpeg4videodec.c).
_NVOP_BYTES = 19
_CROWD = 16  # when more frames than this share a time, it is none


def reason(error: BaseException) -> str:
    """Say in a few words what FFmpeg or PyAV complained about."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


@contextmanager
def machine_faults(path: str) -> Iterator[None]:
    """Say of which file it is that the machine failed.

    Raises:
        MachineError: memory ran out, or reading failed.
    """
    try:
        yield
    except (MemoryError, OSError) as error:
        raise MachineError(f"{path}: the machine failed at decoding it: {reason(error)}") from error


def check_readable(path: str) -> None:
    """Read a file from its beginning to its end: FFmpeg takes a read that fails for the end of the file.

    Raises:
        OSError: the machine can not read it now.
    """
    try:
        with Path(path).open("rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
    except OSError as error:
        if is_machines(error):
            raise


def forget_frames() -> None:
    """Free the frames whose display matrix was read; call it when nothing holds them any more.

    PyAV ties such a frame into a reference cycle, and the frame holds the codec's whole picture pool, megabytes each.
    Python's collector counts objects, not megabytes, and would come by long after the memory is gone. The young
    generations, where these frames are, take well under a millisecond.
    """
    gc.collect(1)


@contextmanager
def open_video(path: str, *, threads: int = 1) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open ``path`` and its main video stream; always closes.

    The main stream is the first that is not cover art. The other streams are not read.

    Raises:
        VideoOpenError: not a file, not a video, an image, sound only, or a codec without decoder.
    """
    if not Path(path).is_file():
        raise VideoOpenError(f"{path}: no such file (or not a regular one)")
    try:
        # With the protocol named, a colon in the path can not be taken for one.
        container = av.open(f"file:{path}", metadata_errors="replace")
    except AV_ERRORS as error:
        raise VideoOpenError(f"{path}: can not be opened as a video: {reason(error)}") from error
    with container:
        try:
            stream = _main_stream(container, path)
            context = stream.codec_context
            context.thread_count = threads
            context.thread_type = "AUTO" if threads > 1 else "SLICE"
            context.open(strict=False)
        except AV_ERRORS as error:
            if isinstance(error, VideoOpenError):
                raise
            raise VideoOpenError(f"{path}: its video stream can not be decoded: {reason(error)}") from error
        yield container, stream


def _main_stream(container: InputContainer, path: str) -> VideoStream:
    name = container.format.name
    if name.endswith("_pipe") or name in _IMAGE_FORMATS or container.metadata.get("major_brand") in _IMAGE_BRANDS:
        raise VideoOpenError(f"{path}: is an image ({name}), not a video")
    videos = [stream for stream in container.streams.video if not stream.disposition & _COVER]
    if not videos:
        kinds = ", ".join(sorted({stream.type for stream in container.streams}))
        raise VideoOpenError(f"{path}: holds no video stream, {f'only {kinds}' if kinds else 'nor any other'}")
    stream = videos[0]
    if stream.codec_context is None:
        raise VideoOpenError(f"{path}: this FFmpeg has no decoder for the codec of its video stream")
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    return stream


def seconds(ticks: NDArray[np.int64], time_base: Fraction) -> NDArray[np.float64]:
    """Turn stream ticks into seconds, the same way everywhere."""
    return np.asarray(ticks * float(time_base.numerator) / float(time_base.denominator), dtype=np.float64)


def frame_rate(stream: VideoStream) -> float:
    """Average frames per second of the stream as far as the container tells, else 0."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else 0.0


class Decoder:
    """Feeds packets to the codec of a stream.

    A recording may start anywhere: until the first frame has come out, a packet that fails is dropped together with
    what follows up to the next keyframe. After that an error is an error. Codecs that would predict from nothing
    (``_TRUSTING``) are not shown anything before the first keyframe; the others know by themselves.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._stream = stream
        self._started = False
        self._waiting = stream.codec_context.codec.canonical_name in _TRUSTING

    def send(self, packet: Packet) -> list[VideoFrame]:
        """Frames that come out when ``packet`` goes in; raises one of ``AV_ERRORS``."""
        if self._started:
            return self._stream.decode(packet)
        if self._waiting and not packet.is_keyframe:
            return []
        try:
            frames = self._stream.decode(packet)
        except AV_ERRORS as error:
            if isinstance(error, MemoryError | OSError):  # perhaps the machine's: dropped, it would shift all frames
                raise
            self._stream.codec_context.flush_buffers()
            self._waiting = True
            return []
        self._waiting = False
        self._started = bool(frames)
        return frames

    def flush(self) -> list[VideoFrame]:
        """Frames still inside the codec at the end of the file."""
        return self._stream.decode(None)


class Clock:
    """Presentation time of every decoded frame in stream ticks, strictly increasing.

    It is the container's own time wherever the container has one. AVI has none: its chunks are numbered in coding
    order, so with B-frames a frame takes the smallest number not yet taken. A frame without any time (raw streams,
    some MPEG program streams) comes one frame duration after the one before it, and so does one whose time lies more
    than a second back. One that shares its time comes a tick later, so that the frames after it keep theirs.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self.in_coding_order = times_are_in_coding_order(container, stream)
        self._stream, self._joints = stream, Joints(stream)
        rate = frame_rate(stream) or 25.0
        self._step = max(1, round(1 / (rate * float(stream.time_base or Fraction(1, 25)))))
        self._waiting: list[int] = []
        self._due: list[int] = []
        self._missed: set[int] = set()
        self._second = round(1 / Fraction(stream.time_base or 1))
        self._next = stream.start_time or 0
        self._last: int | None = None
        self._own: int | None = None
        self._crowd = 0

    def sent(self, packet: Packet) -> None:
        """Tell of a packet that went to the codec."""
        if self.in_coding_order and packet.dts is not None:
            heapq.heappush(self._waiting, packet.dts)
        hidden = packet.is_discard or is_place_holder(self._stream, packet) or self._joints.leave_out(packet)
        if not (self.in_coding_order or hidden or packet.pts is None):
            heapq.heappush(self._due, packet.pts)

    def missed(self, frame: VideoFrame) -> Iterator[int]:
        """Ticks of pictures that were to come between the last frame and this one, and that the codec dropped."""
        while frame.pts is not None and self._due and self._due[0] <= frame.pts:
            ticks = heapq.heappop(self._due)
            if self._last is not None and self._last < ticks < frame.pts:
                self._last = ticks
                self._missed.add(ticks)
                yield ticks

    def is_late(self, frame: VideoFrame) -> bool:
        """Say whether another stood for the frame, which came after all."""
        if frame.pts not in self._missed:
            return False
        self._missed.remove(frame.pts)  # a clock that began anew may come to this time again
        return True

    def time(self, frame: VideoFrame) -> int:
        """Ticks of the next frame in presentation order."""
        own = heapq.heappop(self._waiting) if self._waiting else frame.pts
        ticks = self._next if own is None else self._after_the_last(own)
        self._last = ticks
        self._next = ticks + self._step
        return ticks

    def _after_the_last(self, own: int) -> int:
        """A frame's own time, or the next best where that is taken."""
        self._crowd = self._crowd + 1 if self._own is not None and own <= self._own else 0
        self._own = own
        if self._last is None or own > self._last:
            return own
        shared = self._crowd < _CROWD and self._last - own <= self._second
        return self._last + 1 if shared else self._next


def is_place_holder(stream: VideoStream, packet: Packet) -> bool:
    """Say whether an MPEG-4 packet makes no frame of its own, or stands for one packed with another."""
    return packet.size <= _NVOP_BYTES and stream.codec_context.codec.canonical_name == "mpeg4"


def times_are_in_coding_order(container: InputContainer, stream: VideoStream) -> bool:
    """Say whether the packets' times are those of decoding because the container has no others."""
    return container.format.name == "avi" and bool(stream.codec_context.has_b_frames)


def read_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    """Packets of the stream that hold anything, from where the container stands to its end."""
    try:
        for packet in container.demux(stream):
            if packet.size:  # an empty chunk of AVI and PyAV's own end mark both mean "drain" to a codec
                yield packet
    except IndexError:
        # At the end PyAV also marks the end of streams that a damaged transport stream announced on the way, and
        # does not find them in its list. All packets were read by then.
        return


def _up_to_cut(packets: Iterator[Packet], stream: VideoStream) -> Iterator[Packet]:
    """The packets but for a last one that the end of the file cut, where frames shown before it are made from it.

    Raises EOFError in its place: what the codec still holds may be made from it too. A demuxer that cuts packets anew
    puts the mark on the one before.
    """
    held: Packet | None = None
    marked = False
    for packet in packets:
        if held is not None:
            yield held
            marked = held.is_corrupt
        held = packet
    if held is not None and (held.is_corrupt or marked) and stream.codec_context.has_b_frames:
        raise EOFError("the file ends inside a picture")
    if held is not None:
        yield held


def timed_frames(
    container: InputContainer, stream: VideoStream, packets: Iterator[Packet] | None = None
) -> Iterator[tuple[int, VideoFrame]]:
    """Decode from where the container stands to its end: (ticks, frame) in presentation order.

    Where the codec took a picture and never gave it, the frame before it stands for it, as it does on a screen: else
    all later frames would count as earlier ones. What comes before the first frame is not missed, nor what is left out
    where streams were joined (``units.py``).

    Raises one of ``AV_ERRORS``.
    """
    clock = Clock(container, stream)
    shown: VideoFrame | None = None
    for frame in _frames(stream, clock, packets or read_packets(container, stream)):
        if clock.is_late(frame):
            continue
        for ticks in clock.missed(frame):
            assert shown is not None
            yield ticks, shown
        yield clock.time(frame), frame
        shown = frame


def _frames(stream: VideoStream, clock: Clock, packets: Iterator[Packet]) -> Iterator[VideoFrame]:
    decoder = Decoder(stream)
    for packet in _up_to_cut(packets, stream):
        clock.sent(packet)
        yield from decoder.send(packet)
    yield from decoder.flush()


class Orientation(NamedTuple):
    """How a stored picture becomes an upright one: transpose first, then flip."""

    transpose: bool
    flip_rows: bool
    flip_columns: bool


def orientation(frame: VideoFrame) -> Orientation:
    """Read the display matrix of a frame, reduced to quarter turns and mirrors (others do not occur in videos).

    The matrix maps stored (x, y) to shown (a x + c y, b x + d y); see libavutil/display.h. Not for every frame: PyAV
    ties a frame whose side data were read into a reference cycle, so that its pixels stay until the next collection.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Orientation(False, False, False)
    a, b, _, c, d = struct.unpack_from("=5i", bytes(cast("Buffer", matrix)))
    if abs(a) >= abs(b):
        return Orientation(False, d < 0, a < 0)
    return Orientation(True, b < 0, c < 0)
