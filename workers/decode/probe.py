"""Learn the time line of a video without decoding it.

How a damaged file is told from a header that lies harmlessly (``Probe.damage``):

* The demuxer itself marked packets as cut or lost (``AV_PKT_FLAG_CORRUPT``: the file ended inside a packet, a
  transport stream lost one). That is damage, whatever the header says. The picture of a last packet that was cut is
  kept, its missing part concealed by the codec; with B-frames decoding ends before it, as frames shown earlier
  are made from it.
* The header counts frames (AVI, MP4) and more than ``HARMLESS_FRAMES`` of them are not in the file. Up to two
  are harmless: capture programs write the count before the last frames are flushed. What shows no frame but is in the
  file is not missing: packets that an edit list hides, samples that it leaves out, the empty chunks of an AVI with
  dropped frames, and the place holders that make the headers of every AVI of UT-Interaction promise two too many.
* The header tells a duration instead (Matroska's ``DURATION`` tag of the stream; the container's duration in
  Matroska and FLV when video is the only stream), the last frame ends earlier by more than three frames and by
  more than twice the longest time that a frame of this file stands, and the file does not end where the container
  says (``structure.py``). In a file that does, the last frame just stands long.
* MPEG-TS, MPEG-PS, GIF and raw streams promise nothing, and FFmpeg hides what ASF promises: a file of these that is
  cut between two packets can not be told from a whole one.
* A file whose packets are all there but hold rubbish is found by decoding only.
"""

import re
from array import array
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from schemas.errors import EmptyVideoError, InputError, MachineError, VideoOpenError
from schemas.plan import Probe
from schemas.words import counted
from workers.decode.avi_index import index_agrees
from workers.decode.structure import avi_chunks, is_whole
from workers.decode.units import Joints
from workers.decode.video import (
    AV_ERRORS,
    Decoder,
    Packet,
    check_readable,
    forget_frames,
    frame_rate,
    is_place_holder,
    machine_faults,
    open_video,
    orientation,
    read_packets,
    reason,
    timed_frames,
    times_are_in_coding_order,
)

#: A header that promises this many frames too many is taken for careless, not for a sign of damage.
HARMLESS_FRAMES = 2

_SHORT_FRAMES = 3
_NO_PTS = -(2**63)
_DURATION_TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
_STILL_OR_MOVING = frozenset({"gif", "apng"})
_TIMED_BY_HEADER = frozenset({"matroska,webm", "flv"})


@dataclass(slots=True)
class _Scan:
    """What one pass over the packets found; the arrays are of the shown packets in coding order."""

    pts: "array[int]" = field(default_factory=lambda: array("q"))
    dts: "array[int]" = field(default_factory=lambda: array("q"))
    pos: "array[int]" = field(default_factory=lambda: array("q"))
    key: "array[int]" = field(default_factory=lambda: array("b"))
    packets: int = 0
    corrupt: int = 0
    last_duration: int = 0
    place_holders: int = 0
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
        MachineError: the machine failed, or a trouble was there at one look and not at the next.
    """
    try:
        with machine_faults(path):
            return _confirmed(path)
    finally:
        forget_frames()


def _confirmed(path: str) -> tuple[Probe, NDArray[np.int64], Fraction]:
    try:
        probed = _probed(path)
    except InputError as error:
        _see_again(path, str(error))
        raise
    if probed[0].damage:
        _see_again(path, probed[0].damage)
    return probed


def _see_again(path: str, trouble: str) -> None:
    """Look a second time: FFmpeg hands a failed read on as an odd file, but an odd file is odd twice."""
    check_readable(path)
    try:
        again = _probed(path)[0].damage
    except InputError as error:
        again = str(error)
    if again != trouble:
        raise MachineError(
            f"{path}: one look says {trouble!r}, the next {again or 'that it is whole'!r}: "
            "reading it fails now and then"
        )


def _probed(path: str) -> tuple[Probe, NDArray[np.int64], Fraction]:
    with open_video(path) as (container, stream):
        scan = _scan(container, stream)
        if scan.first is None:
            seen = (
                f"not one of {counted(scan.packets, 'video packet')} decodes" if scan.packets else "holds no pictures"
            )
            raise EmptyVideoError(f"{path}: {seen}. {scan.error}".rstrip())
        if container.format.name in _STILL_OR_MOVING and len(scan.pts) == 1:
            raise VideoOpenError(f"{path}: is an image ({container.format.name} of one picture), not a video")
        table, exact = _timeline(scan, container, stream)
        damage = _damage(path, scan, container, stream)
        if table is None:
            table, broken = _count(path)
            damage = damage or broken
        return _describe(scan, stream, table, exact=exact, damage=damage), table, _tick(stream)


def _tick(stream: VideoStream) -> Fraction:
    return Fraction(stream.time_base or 1)


def _scan(container: InputContainer, stream: VideoStream) -> _Scan:
    scan, decoder, joints = _Scan(), Decoder(stream), Joints(stream)
    try:
        for packet in read_packets(container, stream):
            _take(scan, packet, stream, joints)
            if scan.first is None:
                scan.first = next(iter(decoder.send(packet)), None)
        if scan.first is None:
            scan.first = next(iter(decoder.flush()), None)
    except AV_ERRORS as error:
        scan.error = reason(error)
    return scan


def _take(scan: _Scan, packet: Packet, stream: VideoStream, joints: Joints) -> None:
    if not scan.packets:
        scan.key_first = packet.is_keyframe
    scan.packets += 1
    scan.corrupt += packet.is_corrupt
    if joints.leave_out(packet) or packet.is_discard:
        return
    pts, dts = packet.pts, packet.dts
    scan.pts.append(_NO_PTS if pts is None else pts)
    scan.dts.append(_NO_PTS if dts is None else dts)
    scan.pos.append(-1 if packet.pos is None else packet.pos)
    scan.key.append(packet.is_keyframe)
    scan.last_duration = packet.duration or scan.last_duration
    scan.place_holders += is_place_holder(stream, packet)


def _timeline(scan: _Scan, container: InputContainer, stream: VideoStream) -> tuple[NDArray[np.int64] | None, bool]:
    """Table of times and whether one can seek by it; no table where only decoding can tell."""
    assert scan.first is not None
    if scan.place_holders:
        return None, False
    coding_order = times_are_in_coding_order(container, stream)
    times = np.sort(np.array(scan.dts if coding_order else scan.pts, dtype=np.int64))
    decoding = np.array(scan.dts, dtype=np.int64)
    decoding = decoding[decoding != _NO_PTS]
    if times[0] == _NO_PTS or (np.diff(times) <= 0).any() or (np.diff(decoding) <= 0).any():
        return None, False
    if coding_order:
        return times, False
    # Pictures shown before the keyframe that opens the file may or may not decode: unless there are none, or all of
    # them were dropped (the first frame out is that keyframe), nobody knows how many come.
    start = int(np.searchsorted(times, _NO_PTS if scan.first.pts is None else scan.first.pts))
    if not scan.key_first or start == len(times) or not times[start] == scan.first.pts == scan.pts[0]:
        return None, False
    sure = not scan.error and (container.format.name != "avi" or index_agrees(stream, scan.pos, scan.dts, scan.key))
    return times[start:].copy(), sure


def _count(path: str) -> tuple[NDArray[np.int64], str]:
    """Times of all frames, found by decoding them, and a sentence when that broke."""
    times: array[int] = array("q")
    with open_video(path) as (container, stream):
        try:
            times.extend(ticks for ticks, _ in timed_frames(container, stream))
        except AV_ERRORS as error:
            why = f"decoding breaks after {counted(len(times), 'frame')}: {reason(error)}"
            return np.array(times, dtype=np.int64), why
    return np.array(times, dtype=np.int64), ""


def _damage(path: str, scan: _Scan, container: InputContainer, stream: VideoStream) -> str:
    """One sentence why the file is cut short, or nothing; the rule stands at the top of this file."""
    promised, found = stream.frames, scan.packets
    if promised - found > HARMLESS_FRAMES:
        promised, found = _counted_again(path, found, container, stream)
    if promised - found > HARMLESS_FRAMES:
        return f"cut short: the header promises {counted(promised, 'frame')}, {found} are there"
    if scan.corrupt:
        return f"{scan.corrupt} of {counted(found, 'packet')} cut or lost"
    if scan.error:
        return f"reading breaks after {counted(found, 'packet')}: {scan.error}"
    return "" if promised else _shortness(path, scan, container, stream)


def _counted_again(path: str, found: int, container: InputContainer, stream: VideoStream) -> tuple[int, int]:
    """Frames promised and found, when what an edit list leaves out and what an AVI dropped are taken for what they are.

    FFmpeg's index of an MP4 holds the samples that are to be read, whether or not the file still has them.
    """
    if container.format.name.startswith("mov,"):
        return min(stream.frames, len(stream.index_entries)), found
    if container.format.name == "avi":
        return stream.frames, max(found, avi_chunks(path, stream.index))
    return stream.frames, found


def _shortness(path: str, scan: _Scan, container: InputContainer, stream: VideoStream) -> str:
    """The sentence for a file whose header promises a duration that its frames do not reach."""
    times = np.sort(np.array(scan.pts, dtype=np.int64))
    promised_s, told_for_stream = _promised_s(container, stream)
    if not promised_s or times[0] == _NO_PTS or not (told_for_stream or len(times) > 1):
        return ""
    # A last frame may stand longer than the container says, by no more than frames of this file do.
    longest_s = float(int(np.diff(times).max(initial=0)) * _tick(stream))
    still_s = max(_SHORT_FRAMES / (frame_rate(stream) or 25.0), 2 * longest_s)
    early_s = min((container.start_time or 0) / av.time_base, 0.0)
    end_s = float((int(times[-1]) + scan.last_duration) * _tick(stream)) - early_s
    if promised_s - end_s <= still_s or is_whole(path, container.format.name):
        return ""
    return f"cut short: the header promises {promised_s:.2f} s, the last frame ends at {end_s:.2f} s"


def _promised_s(container: InputContainer, stream: VideoStream) -> tuple[float, bool]:
    """Where the header says that the last frame ends (0: nowhere), and whether it says so of this very stream."""
    tag = _DURATION_TAG.fullmatch(stream.metadata.get("DURATION", ""))
    if tag:
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]), True
    alone = len(container.streams) == 1 and container.format.name in _TIMED_BY_HEADER
    return ((container.duration or 0) / av.time_base if alone else 0.0), False


def _describe(scan: _Scan, stream: VideoStream, table: NDArray[np.int64], *, exact: bool, damage: str) -> Probe:
    first = scan.first
    assert first is not None
    turned = orientation(first)
    size = (first.height, first.width) if turned.transpose else (first.width, first.height)
    span = int(table[-1] - table[0]) + scan.last_duration if len(table) else 0
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
