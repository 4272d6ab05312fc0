"""Open a video file and learn its time line without decoding it.

``av`` is imported here and in ``workers/decode.py`` only. Nothing FFmpeg or PyAV raises leaves these two files
untyped.

How a damaged file is told from a header that lies harmlessly (``Probe.damage``):

* The demuxer itself marked packets as cut or lost (``AV_PKT_FLAG_CORRUPT``: the file ended inside a packet, a
  transport stream lost one). That is damage, whatever the header says.
* The header counts frames (AVI, MP4, GIF) and more than ``HARMLESS_FRAMES`` of them are not in the file. Up to two
  are harmless: capture programs write the count before the last frames are flushed (every AVI of UT-Interaction
  promises two too many). Packets an edit list hides are in the file, so they are not missing.
* The header tells a duration instead (Matroska's ``DURATION`` tag of the stream; the container's duration in
  Matroska, FLV and ASF when video is the only stream) and the last frame ends earlier by more than three frames and
  by more than a quarter of a second.
* MPEG-TS, MPEG-PS and raw streams promise nothing: a file cut between two packets can not be told from a whole one.
  A file whose packets are all there but hold rubbish is found by decoding only.
"""

import heapq
import os
import struct
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
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

from schemas.errors import EmptyVideoError, VideoOpenError
from schemas.plan import Probe

av.logging.set_level(None)

Packet: TypeAlias = "AnyPacket[VideoStream]"

#: Everything PyAV raises on a bad file: its own errors and the builtin ones they or their glue derive from.
AV_ERRORS = (
    av.error.FFmpegError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
)

#: A header that promises this many frames too many is taken for careless, not for a sign of damage.
HARMLESS_FRAMES = 2

_SHORT_S = 0.25
_SHORT_FRAMES = 3
_NO_PTS = -(2**63)
_IMAGE_FORMATS = frozenset({"image2", "ico", "tty", "bin", "xbin", "adf", "idf", "txd"})
_IMAGE_BRANDS = frozenset({"avif", "heic", "heix", "mif1"})
_STILL_OR_MOVING = frozenset({"gif", "apng"})
_TIMED_BY_HEADER = frozenset({"matroska,webm", "flv", "asf"})
_COVER = Disposition.attached_pic | Disposition.timed_thumbnails
# FFmpeg skips MPEG-4 pictures up to this size when they are place holders (MAX_NVOP_SIZE in mpeg4videodec.c).
_NVOP_BYTES = 19


def reason(error: BaseException) -> str:
    """Say in a few words what FFmpeg or PyAV complained about."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


@contextmanager
def open_video(path: str, *, threads: int = 1) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open ``path`` and its main video stream; always closes.

    The main stream is the first that is not cover art. The other streams are not read.

    Raises:
        VideoOpenError: not a file, not a video, an image, sound only, or a codec without decoder.
    """
    if not os.path.isfile(path):
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
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise VideoOpenError(f"{path}: holds no video stream, only {kinds}")
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
    what follows up to the next keyframe. After that an error is an error.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._stream = stream
        self._started = False
        self._waiting = False

    def send(self, packet: Packet) -> list[VideoFrame]:
        """Frames that come out when ``packet`` goes in; raises one of ``AV_ERRORS``."""
        if self._started:
            return self._stream.decode(packet)
        if self._waiting and not packet.is_keyframe:
            return []
        try:
            frames = self._stream.decode(packet)
        except AV_ERRORS:
            self._stream.codec_context.flush_buffers()
            self._waiting = True
            return []
        self._started = bool(frames)
        return frames

    def flush(self) -> list[VideoFrame]:
        """Frames still inside the codec at the end of the file."""
        return self._stream.decode(None)


class Clock:
    """Presentation time of every decoded frame in stream ticks, strictly increasing.

    It is the container's own time wherever the container has one. AVI has none: its chunks are numbered in coding
    order, so with B-frames a frame takes the smallest number not yet taken. A frame without any time (raw streams,
    some MPEG program streams) comes one frame duration after the one before it.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self.in_coding_order = times_are_in_coding_order(container, stream)
        rate = frame_rate(stream) or 25.0
        self._step = max(1, round(1 / (rate * float(stream.time_base or Fraction(1, 25)))))
        self._waiting: list[int] = []
        self._next = stream.start_time or 0
        self._last: int | None = None

    def sent(self, packet: Packet) -> None:
        """Tell of a packet that went to the codec."""
        if self.in_coding_order and packet.dts is not None:
            heapq.heappush(self._waiting, packet.dts)

    def time(self, frame: VideoFrame) -> int:
        """Ticks of the next frame in presentation order."""
        ticks = heapq.heappop(self._waiting) if self._waiting else frame.pts
        if ticks is None or (self._last is not None and ticks <= self._last):
            ticks = self._next
        self._last = ticks
        self._next = ticks + self._step
        return ticks


def times_are_in_coding_order(container: InputContainer, stream: VideoStream) -> bool:
    """Say whether the packets' times are those of decoding because the container has no others."""
    return container.format.name == "avi" and bool(stream.codec_context.has_b_frames)


def timed_frames(
    container: InputContainer, stream: VideoStream, packets: Iterator[Packet] | None = None
) -> Iterator[tuple[int, VideoFrame]]:
    """Decode from where the container stands to its end: (ticks, frame) in presentation order.

    Raises one of ``AV_ERRORS``.
    """
    decoder, clock = Decoder(stream), Clock(container, stream)
    for packet in container.demux(stream) if packets is None else packets:
        if packet.size == 0:  # an empty chunk of AVI, or PyAV's own end mark: to a codec both mean "drain"
            continue
        clock.sent(packet)
        for frame in decoder.send(packet):
            yield clock.time(frame), frame
    for frame in decoder.flush():
        yield clock.time(frame), frame


class Orientation(NamedTuple):
    """How a stored picture becomes an upright one: transpose first, then flip."""

    transpose: bool
    flip_rows: bool
    flip_columns: bool


def orientation(frame: VideoFrame) -> Orientation:
    """Read the display matrix of a frame, reduced to quarter turns and mirrors (others do not occur in videos).

    The matrix maps stored (x, y) to shown (a x + c y, b x + d y); see libavutil/display.h.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Orientation(False, False, False)
    a, b, _, c, d = struct.unpack_from("=5i", bytes(cast("Buffer", matrix)))
    if abs(a) >= abs(b):
        return Orientation(False, d < 0, a < 0)
    return Orientation(True, b < 0, c < 0)


@dataclass(slots=True)
class _Scan:
    """What one pass over the packets found; ``pts`` and ``dts`` are of the shown packets in coding order."""

    pts: "array[int]" = field(default_factory=lambda: array("q"))
    dts: "array[int]" = field(default_factory=lambda: array("q"))
    packets: int = 0
    corrupt: int = 0
    last_duration: int = 0
    tiny: int = 0
    key_first: bool = False
    first: VideoFrame | None = None
    error: str = ""


def probe(path: str) -> tuple[Probe, NDArray[np.int64], Fraction]:
    """Read all packets of a video, decode only its first frame, and tell its time line.

    Returns:
        The probe; the presentation time of every frame in stream ticks, int64 (N,), increasing; the length of a tick
        in seconds. ``Probe.rotation`` is counterclockwise, in degrees. When ``Probe.exact_pts`` holds, the table is
        the container's own and ``decode`` can seek by it. Where packets do not tell frames (no time on them, pictures
        before the first keyframe), the frames are counted by decoding them.

    Raises:
        VideoOpenError: see ``open_video``; also a GIF or PNG of one picture.
        EmptyVideoError: no frame decodes.
    """
    with open_video(path) as (container, stream):
        scan = _scan(container, stream)
        if scan.first is None:
            raise EmptyVideoError(f"{path}: none of its {scan.packets} video packets decodes. {scan.error}".rstrip())
        if container.format.name in _STILL_OR_MOVING and len(scan.pts) == 1:
            raise VideoOpenError(f"{path}: is an image ({container.format.name} of one picture), not a video")
        table, exact = _timeline(scan, container, stream)
        damage = _damage(scan, container, stream)
        if table is None:
            table, broken = _count(path)
            damage = damage or broken
        return _describe(scan.first, stream, table, exact, damage, scan.last_duration), table, _tick(stream)


def _tick(stream: VideoStream) -> Fraction:
    return Fraction(stream.time_base or 1)


def _scan(container: InputContainer, stream: VideoStream) -> _Scan:
    scan, decoder = _Scan(), Decoder(stream)
    try:
        for packet in container.demux(stream):
            if packet.size:
                _take(scan, packet)
                if scan.first is None:
                    scan.first = next(iter(decoder.send(packet)), None)
        if scan.first is None:
            scan.first = next(iter(decoder.flush()), None)
    except AV_ERRORS as error:
        scan.error = reason(error)
    return scan


def _take(scan: _Scan, packet: Packet) -> None:
    if not scan.packets:
        scan.key_first = packet.is_keyframe
    scan.packets += 1
    scan.corrupt += packet.is_corrupt
    if packet.is_discard:
        return
    pts, dts = packet.pts, packet.dts
    scan.pts.append(_NO_PTS if pts is None else pts)
    scan.dts.append(_NO_PTS if dts is None else dts)
    scan.last_duration = packet.duration or scan.last_duration
    scan.tiny += packet.size <= _NVOP_BYTES


def _timeline(scan: _Scan, container: InputContainer, stream: VideoStream) -> tuple[NDArray[np.int64] | None, bool]:
    """Table of times and whether one can seek by it; no table where only decoding can tell."""
    assert scan.first is not None
    coding_order = times_are_in_coding_order(container, stream)
    times = np.array(scan.dts if coding_order else scan.pts, dtype=np.int64)
    if coding_order:
        times.sort()
        regular = bool(times[0] != _NO_PTS and (np.diff(times) > 0).all())
        return (times if regular else None), False
    first_key = times[0]
    times.sort()
    start = int(np.searchsorted(times, _NO_PTS if scan.first.pts is None else scan.first.pts))
    known = start < len(times) and times[0] != _NO_PTS and times[start] == scan.first.pts
    # Pictures shown before the keyframe that opens the file may or may not decode: unless all of them were dropped
    # (the first frame out is that keyframe), nobody knows how many come.
    settled = scan.key_first and (start == 0 or times[start] == first_key) and times[start % len(times)] >= first_key
    hollow = scan.tiny and stream.codec_context.codec.canonical_name == "mpeg4"
    if not (known and settled and (np.diff(times) > 0).all()) or hollow:
        return None, False
    return times[start:].copy(), not scan.error


def _count(path: str) -> tuple[NDArray[np.int64], str]:
    """Times of all frames, found by decoding them, and a sentence when that broke."""
    times: array[int] = array("q")
    with open_video(path) as (container, stream):
        try:
            times.extend(ticks for ticks, _ in timed_frames(container, stream))
        except AV_ERRORS as error:
            return np.array(times, dtype=np.int64), f"decoding breaks after {len(times)} frames: {reason(error)}"
    return np.array(times, dtype=np.int64), ""


def _damage(scan: _Scan, container: InputContainer, stream: VideoStream) -> str:
    """One sentence why the file is cut short, or nothing; the rule stands at the top of this file."""
    promised, found = stream.frames, scan.packets
    if promised - found > HARMLESS_FRAMES:
        return f"cut short: the header promises {promised} frames, {found} are there"
    if scan.corrupt:
        return f"{scan.corrupt} of {found} packets are cut or lost"
    if scan.error:
        return f"reading breaks after {found} packets: {scan.error}"
    promised_s = 0.0 if promised else _promised_s(container, stream)
    if promised_s and scan.pts and max(scan.pts) != _NO_PTS:
        start_s = (container.start_time or 0) / av.time_base
        end_s = float((max(scan.pts) + scan.last_duration) * _tick(stream)) - min(start_s, 0.0)
        if promised_s - end_s > max(_SHORT_S, _SHORT_FRAMES / (frame_rate(stream) or 25.0)):
            return f"cut short: the header promises {promised_s:.2f} s, the last frame ends at {end_s:.2f} s"
    return ""


def _promised_s(container: InputContainer, stream: VideoStream) -> float:
    """Where the header says that the last frame ends, 0 when it says nothing about this stream."""
    hours, *rest = stream.metadata.get("DURATION", "").split(":")
    if len(rest) == 2:
        return int(hours) * 3600 + int(rest[0]) * 60 + float(rest[1])
    alone = len(container.streams) == 1 and container.format.name in _TIMED_BY_HEADER
    return (container.duration or 0) / av.time_base if alone else 0.0


def _describe(
    first: VideoFrame, stream: VideoStream, table: NDArray[np.int64], exact: bool, damage: str, last: int
) -> Probe:
    turned = orientation(first)
    size = (first.height, first.width) if turned.transpose else (first.width, first.height)
    span = int(table[-1] - table[0]) + last if len(table) else 0
    return Probe(
        codec=stream.codec_context.codec.canonical_name,
        width=size[0],
        height=size[1],
        rotation=round(first.rotation) % 360,
        interlaced=first.interlaced_frame,
        fps=frame_rate(stream),
        duration_s=float(span * _tick(stream)),
        frames=len(table),
        promised_frames=stream.frames,
        damage=damage,
        exact_pts=exact,
    )
