"""Windows of frames become complete moments: each with all the pictures around it that some stream looks at.

Only what is needed is held, and only flow fields that some stream looks at are computed. Which stream looks at what is
said by its `Needs`; this file knows no stream by name.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.arrays import Array
from schemas.frames import FlowBatch, FrameBatch
from schemas.plan import Segment
from schemas.streams import FlowMethodSettings, Needs, Offsets
from workers.pacing import FlowFunction, PacedFlow

Held = dict[int, Array]  # pictures by frame index, in ascending order


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures around some moments, each asked for by its frame index.

    Where a video (or what of it decodes) ends, the nearest picture stands for those that are not there.

    Attributes:
        grey: uint8 (H, W) by frame.
        colour: uint8 (H, W, 3) by frame.
        flow: by method, float32 (2, H, W) by the field's first frame.
        size: (H, W).
    """

    grey: Held
    colour: Held
    flow: Mapping[FlowMethodSettings, Held]
    size: tuple[int, int]

    def grey_at(self, frames: Iterable[int]) -> NDArray[np.uint8]:
        """Return frames in grey, uint8 (T, H, W)."""
        return np.stack(_nearest(self.grey, frames))

    def colour_at(self, frames: Iterable[int]) -> NDArray[np.uint8]:
        """Return frames in colour, uint8 (T, H, W, 3)."""
        return np.stack(_nearest(self.colour, frames))

    def flow_at(self, method: FlowMethodSettings, frames: Sequence[int]) -> NDArray[np.float32]:
        """Return flow fields, float32 (T, 2, H, W); where not even one is there, nothing moves."""
        held = self.flow[method]
        if not held:
            return np.zeros((len(frames), 2, *self.size), np.float32)
        return np.stack(_nearest(held, frames))


def _nearest(held: Held, frames: Iterable[int]) -> list[Array]:
    """The picture of each frame; else the last one before it; else the first there is."""
    keys = list(held)
    return [held[frame] if frame in held else held[keys[max(0, bisect_right(keys, frame) - 1)]] for frame in frames]


@dataclass(frozen=True, slots=True)
class Moments:
    """Complete moments, in order.

    Attributes:
        frame: frame indices.
        pts_s: presentation times in seconds.
        pictures: what streams look at around them.
    """

    frame: list[int]
    pts_s: list[float]
    pictures: Pictures


def wanted(segment: Segment, offsets: Offsets, *, last: int) -> set[int]:
    """Return the frames that lie at some offset of some moment of a segment, clamped to 0 ... `last`."""
    return {min(max(frame + offset, 0), last) for frame in set(segment.frames) for offset in offsets}


class _Motion:
    """The fields of one flow method over one segment."""

    def __init__(self, flow: FlowFunction, wanted: set[int]) -> None:
        self.flow = PacedFlow(flow)
        self.fields: Held = {}
        self.stop = 0  # one past the last field that can be had by now
        self._wanted = wanted

    def add(self, grey: NDArray[np.uint8], first: int) -> Iterator[int]:
        """Take consecutive frames, of which the first was the last one of the call before.

        Yields:
            one past the last field that can be had, after every half a second or sooner.
        """
        stop = first + len(grey) - 1
        field = first
        while field < stop:
            run = field
            while run < stop and run in self._wanted and run - field < self.flow.chunk:
                run += 1
            if run > field:
                batch = FlowBatch(np.arange(field, run), self.flow(grey[field - first : run - first + 1]))
                self.fields.update(zip(range(field, run), batch.flow, strict=True))
                self.stop = run
                yield run
            field = max(run, field + 1)
        self.stop = stop


class MomentBuilder:
    """Turns the windows of one segment into its moments; holds what its streams reach and a window."""

    def __init__(self, segment: Segment, needs: Needs, methods: Mapping[FlowMethodSettings, FlowFunction]) -> None:
        """Begin a segment.

        Args:
            segment: whose moments are built.
            needs: what all streams together look at.
            methods: by their settings, uint8 (T, H, W) -> float32 (T-1, 2, H, W).
        """
        last = segment.read_stop - 1
        self._needs = needs
        self._frames = deque(segment.frames)
        self._grey_wanted = wanted(segment, needs.grey, last=last)
        self._colour_wanted = wanted(segment, needs.colour, last=last)
        self._motions = {
            method: _Motion(methods[method], wanted(segment, offsets, last=max(0, last - 1)))
            for method, offsets in needs.flow.items()
        }
        self._waiting: deque[tuple[int, float]] = deque()
        self._grey: Held = {}
        self._colour: Held = {}
        self._stop = 0  # one past the last frame seen
        self._size = (0, 0)
        self._last_grey: NDArray[np.uint8] | None = None

    @property
    def colour_frames(self) -> NDArray[np.int64]:
        """The frames that the decoder has to give in colour, int64 (R,)."""
        return np.array(sorted(self._colour_wanted), np.int64)

    @property
    def flow_pairs(self) -> int:
        """Fields computed so far."""
        return sum(motion.flow.pairs for motion in self._motions.values())

    @property
    def flow_s(self) -> float:
        """Seconds spent on them."""
        return sum(motion.flow.elapsed_s for motion in self._motions.values())

    def add(self, window: FrameBatch) -> Iterator[tuple[int, Moments]]:
        """Take a window; yield (frames processed, moments that are complete now) every half a second or sooner."""
        self._queue(window)
        told, size, first = 0, len(window.frame), int(window.frame[0])
        grey, grey_first = self._joined(window)
        for place, motion in enumerate(self._motions.values(), 1):
            for stop in motion.add(grey, grey_first):
                frames = min(size, stop - first) if place == len(self._motions) else 0
                yield max(0, frames - told), self._complete()
                told = max(told, frames)
        yield size - told, self._complete()

    def finish(self) -> Moments:
        """Return the moments left where the video (or what of it decodes) ends."""
        return self._take(len(self._waiting))

    def _queue(self, window: FrameBatch) -> None:
        first = int(window.frame[0])
        self._stop = int(window.frame[-1]) + 1
        self._size = window.grey.shape[1], window.grey.shape[2]
        self._colour.update(zip(window.rgb_frame.tolist(), window.rgb, strict=True))
        self._grey.update(
            (frame, window.grey[frame - first]) for frame in window.frame.tolist() if frame in self._grey_wanted
        )
        while self._frames and self._frames[0] < self._stop:
            frame = self._frames.popleft()
            self._waiting.append((frame, float(window.pts_s[frame - first])))

    def _joined(self, window: FrameBatch) -> tuple[NDArray[np.uint8], int]:
        """The window's grey frames behind the last one of the window before, and the index of the first."""
        grey, first = window.grey, int(window.frame[0])
        if not self._motions:
            return grey, first
        if self._last_grey is not None:
            grey, first = np.concatenate([self._last_grey[None], grey]), first - 1
        self._last_grey = window.grey[-1].copy()
        return grey, first

    def _complete(self) -> Moments:
        ready = 0
        for frame, _ in self._waiting:
            if not self._is_complete(frame):
                break
            ready += 1
        return self._take(ready)

    def _is_complete(self, frame: int) -> bool:
        furthest = max((*self._needs.grey, *self._needs.colour), default=0)
        return frame + furthest < self._stop and all(
            frame + max(offsets) < self._motions[method].stop for method, offsets in self._needs.flow.items()
        )

    def _take(self, count: int) -> Moments:
        done = [self._waiting.popleft() for _ in range(count)]
        pictures = Pictures(
            dict(self._grey),
            dict(self._colour),
            {method: dict(motion.fields) for method, motion in self._motions.items()},
            self._size,
        )
        if done:
            following = self._waiting[0][0] if self._waiting else done[-1][0]
            _forget(self._grey, following, self._needs.grey)
            _forget(self._colour, following, self._needs.colour)
            for method, offsets in self._needs.flow.items():
                _forget(self._motions[method].fields, following, offsets)
        return Moments([frame for frame, _ in done], [pts_s for _, pts_s in done], pictures)


def _forget(held: Held, following: int, offsets: Offsets) -> None:
    """Drop pictures that no later moment looks at; the last one is kept, for the end of the video."""
    if held:
        oldest = min(following + min(offsets), max(held))
        for frame in [frame for frame in held if frame < oldest]:
            del held[frame]
