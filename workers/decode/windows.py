"""A video file becomes windows of frames: grey and RGB, scaled, upright, each with its presentation time.

How pictures are scaled, coloured, turned and freed of fields stands in ``picture.py``; how a file may be entered in the
middle, in ``_sought``.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from functools import partial
from itertools import chain

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from schemas.errors import EmptyVideoError, InputError, MachineError, VideoDecodeError
from schemas.frames import FrameBatch
from schemas.words import counted
from workers.decode.avi_index import read_sought
from workers.decode.picture import Picture, SizeRule, check_size
from workers.decode.probe import HARMLESS_FRAMES
from workers.decode.units import unit_types
from workers.decode.video import (
    AV_ERRORS,
    Packet,
    check_readable,
    forget_frames,
    machine_faults,
    open_video,
    reason,
    seconds,
    timed_frames,
)

# Codecs for which every packet marked as keyframe is a clean entry: what is shown after it needs nothing before it.
_CLEAN_KEYFRAMES = frozenset(
    {
        "mpeg1video",
        "mpeg2video",
        "mpeg4",
        "h263",
        "vp8",
        "vp9",
        "av1",
        "ffv1",
        "flv1",
        "mjpeg",
        "msmpeg4v2",
        "msmpeg4v3",
        "wmv1",
        "wmv2",
    }
)
_SEEK_TRIES = 12


def decode(
    path: str,
    *,
    start: int,
    stop: int,
    seek_pts: int | None,
    rgb_frames: NDArray[np.int64],
    grey: bool,
    short_side: int,
    upscale: bool,
    window_frames: int,
    threads: int = 1,
    hand_on: int | None = None,
) -> Iterator[FrameBatch]:
    """Decode frames ``[start, stop)`` of a video in windows of at most ``window_frames`` consecutive frames.

    Args:
        path: the video file.
        start: first frame, counted in presentation order.
        stop: one past the last frame.
        seek_pts: time of frame ``start`` in stream ticks when ``probe`` said ``exact_pts``, else None. With it the
            file is entered at a keyframe where that gives the same frames bit by bit, and read from its beginning
            where it does not.
        rgb_frames: int64 (R,), the frames that are wanted as RGB too.
        grey: whether every frame is wanted as grey.
        short_side: of the frames given, in px.
        upscale: whether smaller videos are scaled up to it.
        window_frames: bound on the frames held at a time.
        threads: codec threads.
        hand_on: the file stays open, and the next call goes on there if it is for the same file and ``start`` is this
            frame; any other next call closes it.

    Yields:
        Windows in order, of memory that of one window and the codec's references.

    Raises:
        VideoOpenError, VideoTooLargeError: see ``open_video`` and ``check_size``.
        EmptyVideoError: the file has no frame that decodes.
        VideoDecodeError: an error in the middle, or the file ends more than ``HARMLESS_FRAMES`` before ``stop``; all
            good frames were yielded before. Missing one or two at the end is left to the caller.
        MachineError: the machine failed, or another number of frames decodes at a second look.
    """
    windows = partial(
        _decoded, path, start, stop, seek_pts, rgb_frames, grey, short_side, upscale, window_frames, threads, hand_on
    )
    frames = 0
    try:
        with machine_faults(path):
            try:
                for window in windows():
                    frames += len(window.frame)
                    yield window
            except InputError:
                _see_again(path, frames, windows())
                raise
            if frames < stop - start:
                _see_again(path, frames, windows())
    finally:
        forget_frames()


def _see_again(path: str, frames: int, windows: Iterator[FrameBatch]) -> None:
    """Decode a second time: FFmpeg hands a failed read on as a file that ends, but a bad file ends twice alike."""
    check_readable(path)
    again = 0
    with suppress(InputError):
        for window in windows:
            again += len(window.frame)
    if again != frames:
        raise MachineError(
            f"{path}: {counted(frames, 'frame')} at one look and {again} at the next: reading it fails now and then"
        )


def _decoded(
    path: str,
    start: int,
    stop: int,
    seek_pts: int | None,
    rgb_frames: NDArray[np.int64],
    grey: bool,
    short_side: int,
    upscale: bool,
    window_frames: int,
    threads: int,
    hand_on: int | None,
) -> Iterator[FrameBatch]:
    """Do the work of `decode`, in a function of its own so that its frames are gone when `decode` tidies up."""
    with ExitStack() as stack:
        source = _handed_on(path, start, stack) or _Source(path, stack, start=start, seek_pts=seek_pts, threads=threads)
        scale = SizeRule(source.stored_size, short_side, upscale)
        windows = _Windows(rgb_frames, grey=grey, scale=scale, time_base=source.time_base)
        index = start
        for ticks, frame in source.frames(start, stop, hand_on):
            if index == start:
                size = scale.stored_size if all(scale.stored_size) else (frame.width, frame.height)
                check_size(path, *size, short_side=short_side, upscale=upscale)
            try:
                windows.add(index, ticks, frame, room=min(window_frames, stop - index))
            except AV_ERRORS as error:
                source.failure = error
                break
            index += 1
            if windows.count == window_frames:
                yield windows.take()
        if windows.count:
            yield windows.take()
        source.check(index, stop)
        if hand_on is not None:
            _waiting.append((path, hand_on, source, stack.pop_all()))


# At most one file that was left open: its path, the frame from which it can go on, and what holds it open.
_waiting: "list[tuple[str, int, _Source, ExitStack]]" = []


def _handed_on(path: str, start: int, stack: ExitStack) -> "_Source | None":
    """The source that the decoding before left for this one, closed by ``stack``; any other is closed now."""
    while _waiting:
        left, begins, source, opened = _waiting.pop()
        if (left, begins) == (path, start):
            stack.push(opened)
            return source
        opened.close()
    return None


@contextmanager
def entries(path: str) -> Iterator[Callable[[int], int | None]]:
    """Tell where ``decode`` enters a file.

    Yields:
        a function of the time of a frame, in ticks: the time of the keyframe that is decoded first to come to it, or
        None when the file is read from its beginning. The file is opened when it is first asked.

    Raises:
        VideoOpenError: see ``open_video``.
        MachineError: the machine failed.
    """
    with machine_faults(path), ExitStack() as stack:
        opened: list[tuple[InputContainer, VideoStream]] = []

        def entry(target: int) -> int | None:
            if not opened:
                opened.append(stack.enter_context(open_video(path)))
            try:
                packets = _entry(*opened[0], target)
                return next(packets).pts if packets else None
            except AV_ERRORS:
                return None

        yield entry


class _Source:
    """The frames from ``start`` on, from a seek if it can be trusted, and how they ended."""

    def __init__(self, path: str, stack: ExitStack, *, start: int, seek_pts: int | None, threads: int) -> None:
        self.failure: Exception | None = None
        self._path = path
        self._passed = 0
        self._kept: deque[tuple[int, VideoFrame]] = deque()
        container, stream = stack.enter_context(open_video(path, threads=threads))
        self.stored_size = stream.codec_context.width, stream.codec_context.height
        sought = _sought(container, stream, seek_pts) if seek_pts is not None and start > 0 else None
        if sought is not None:
            self._passed = start
        elif seek_pts is not None and start > 0:
            stack.close()
            container, stream = stack.enter_context(open_video(path, threads=threads))
        self._frames = sought or timed_frames(container, stream)
        self.time_base = Fraction(stream.time_base or 1)

    def frames(self, start: int, stop: int, hand_on: int | None) -> Iterator[tuple[int, VideoFrame]]:
        """Frames ``[start, stop)`` with their ticks; an error ends them and is kept in ``failure``.

        Those from ``hand_on`` on are kept: the next one to come begins with them.
        """
        again, self._kept = self._kept, deque()
        index = self._passed - len(again)
        try:
            while index < stop:
                timed = again.popleft() if again else next(self._frames, None)
                if timed is None:
                    return
                index += 1
                self._passed = max(self._passed, index)
                if hand_on is not None and index > hand_on:
                    self._kept.append(timed)
                if index > start:
                    yield timed
        except AV_ERRORS as error:
            self.failure = error

    def check(self, index: int, stop: int) -> None:
        """Raise when the frames ended too early; ``index`` is one past the last frame given."""
        if self.failure is None and stop - min(index, self._passed) <= HARMLESS_FRAMES and self._passed:
            return
        why = "the file ends" if self.failure is None else reason(self.failure)
        if self._passed == 0:
            raise EmptyVideoError(f"{self._path}: no frame decodes: {why}")
        raise VideoDecodeError(
            f"{self._path}: {counted(stop, 'frame was', 'frames were')} planned, "
            f"{min(self._passed, index)} decode: {why}"
        ) from self.failure


def _sought(container: InputContainer, stream: VideoStream, target: int) -> Iterator[tuple[int, VideoFrame]] | None:
    """Enter the file at a keyframe; the frames from time ``target`` on, or None where that is not surely exact.

    Exact means: the bits, order and times that decoding from the beginning gives. What is shown after a keyframe
    must need nothing before it. The formats promise that for the codecs in ``_CLEAN_KEYFRAMES``, those of intra
    pictures only, IDR pictures of H.264 and IRAP pictures of HEVC. Pictures coded after the keyframe but shown before
    it (open GOP) may be broken, so the keyframe is one shown at or before the target. Other keyframes of H.264
    (recovery points) are entered one earlier, so that a whole GOP lies between the entry and the target. A codec
    that is not listed is decoded from the beginning; so is any file where the search does not arrive at the target.
    """
    try:
        packets = _entry(container, stream, target)
        if packets is None:
            return None
        frames = timed_frames(container, stream, packets)
        last: int | None = None
        for ticks, frame in frames:
            if frame.pts != ticks or frame.is_corrupt or (last is not None and ticks <= last) or ticks > target:
                return None
            if ticks == target:
                return chain([(ticks, frame)], frames)
            last = ticks
    except AV_ERRORS:
        return None
    return None


def _entry(container: InputContainer, stream: VideoStream, target: int) -> Iterator[Packet] | None:
    """Packets from a keyframe at which one may enter for ``target``, or None."""
    at, back, later = target, 0, None
    for _ in range(_SEEK_TRIES):
        container.seek(at, stream=stream)
        packets = read_sought(container, stream)
        key = next((packet for packet in packets if packet.is_keyframe), None)
        if key is None or key.pts is None or key.pts == later:
            return None
        if key.pts <= target:
            if _is_clean(stream, key) or later is not None:
                return chain([key], packets)
            if not _is_recovery_point(stream):
                return None
            later = key.pts
        else:  # the container's index goes by another time, or its search stops at any packet: look further back
            back = 2 * back or _ticks_per_second(stream)
        at = min(at, key.pts, key.pts if key.dts is None else key.dts) - 1 - back
    return None


def _ticks_per_second(stream: VideoStream) -> int:
    return max(1, round(1 / Fraction(stream.time_base or 1)))


def _is_clean(stream: VideoStream, key: Packet) -> bool:
    codec = stream.codec_context.codec
    if codec.canonical_name in _CLEAN_KEYFRAMES or codec.intra_only:
        return True
    clean = (5,) if codec.canonical_name == "h264" else range(16, 22)  # IDR of H.264, IRAP of HEVC
    return any(kind in clean for kind in unit_types(stream, key))


def _is_recovery_point(stream: VideoStream) -> bool:
    return stream.codec_context.codec.canonical_name == "h264"


class _Windows:
    """Collects frames into arrays of one window; the arrays are made when a window begins."""

    def __init__(self, rgb_frames: NDArray[np.int64], *, grey: bool, scale: SizeRule, time_base: Fraction) -> None:
        self.count = 0
        self._wanted = np.unique(np.asarray(rgb_frames, dtype=np.int64))
        self._grey = grey
        self._scale = scale
        self._time_base = time_base
        self._picture: Picture | None = None
        self._begin = 0

    def add(self, index: int, ticks: int, frame: VideoFrame, *, room: int) -> None:
        """Put the frame in; ``room`` is the length of the window that it would begin."""
        if self._picture is None:
            self._picture = Picture(frame, self._scale)
        if not self.count:
            self._open(index, room)
        if self._grey:
            self._picture.grey(frame, self._grey_rows[self.count])
        at = index - self._begin
        if self._is_wanted[at]:
            self._picture.rgb(frame, self._rgb_rows[int(self._is_wanted[:at].sum())])
        self._ticks[self.count] = ticks
        self.count += 1

    def _open(self, index: int, room: int) -> None:
        assert self._picture is not None
        size = self._picture.height, self._picture.width
        self._begin = index
        self._is_wanted = np.isin(np.arange(index, index + room), self._wanted)
        self._ticks = np.empty(room, dtype=np.int64)
        self._grey_rows = np.empty((room if self._grey else 0, *size), dtype=np.uint8)
        self._rgb_rows = np.empty((int(self._is_wanted.sum()), *size, 3), dtype=np.uint8)

    def take(self) -> FrameBatch:
        """The window as it stands; the next frame begins another one."""
        count, self.count = self.count, 0
        frame = np.arange(self._begin, self._begin + count, dtype=np.int64)
        rgb_frame = frame[self._is_wanted[:count]]
        return FrameBatch(
            frame=frame,
            pts_s=seconds(self._ticks[:count], self._time_base),
            grey=self._grey_rows[:count],
            rgb_frame=rgb_frame,
            rgb=self._rgb_rows[: len(rgb_frame)],
        )
