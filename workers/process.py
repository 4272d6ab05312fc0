"""How one shard is made: the page to read first.

    decode ──▶ grey ──▶ flow ──┐
       └─────▶ colour ─────────┴─▶ complete moments ──▶ streams ──▶ networks ──▶ shard

The hub of the workers: it alone knows decoder, moments, streams and shard layout. What goes wrong with a video becomes
a row of the report (ledger.py); whatever else goes wrong is raised.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from schemas.disk.shard import SegmentRows, ShardContent, write_shard
from schemas.disk.store import Store
from schemas.errors import InputError
from schemas.frames import FrameBatch
from schemas.plan import Segment, ShardReport, ShardTask, Video
from workers.decode import decode
from workers.ledger import Ledger, Progress
from workers.moments import MomentBuilder, Moments
from workers.networks.batches import StreamFeatures, StreamNetwork
from workers.tools import Tools

__all__ = ["Progress", "make_shard", "rehearse"]
WINDOW_FRAMES = {"cpu": 16, "cuda": 128}


def make_shard(task: ShardTask, tools: Tools, store: Store) -> Iterator[Progress | ShardReport]:
    """Make one shard and its report in a store; they appear whole or not at all, the report last.

    Args:
        task: what to make.
        tools: settings, flow methods and streams.
        store: where to.

    Yields:
        Progress, and at the very end one ShardReport.

    Raises:
        ResourceError: the disk is full, the GPU is gone.
    """
    shard = _Shard(task, tools)
    for number, segment in enumerate(task.segments):
        yield from shard.add(number, segment)
    content = shard.finish()
    with shard.ledger.timed(0, "write"):
        sha256, size_bytes = write_shard(store.shard_path(task.shard), content)
    report = shard.ledger.report(sha256=sha256, size_bytes=size_bytes)
    store.books.write_report(report)
    yield report


def rehearse(task: ShardTask, tools: Tools) -> Iterator[Progress]:
    """Do all the work of `make_shard` but write nothing."""
    shard = _Shard(task, tools)
    for number, segment in enumerate(task.segments):
        yield from shard.add(number, segment)
    shard.finish()


@dataclass
class _Shard:
    """The rows of a shard as they come."""

    task: ShardTask
    tools: Tools
    frame: list[int] = field(default_factory=list)
    pts_s: list[float] = field(default_factory=list)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.task)
        self.videos = {video.id: video for video in self.task.videos}
        # told to the ledger, not to the shard: a cycle would keep every finished shard in memory, because the
        # decoder's frequent young collections move it to the generation that is hardly ever looked at
        spent = partial(_network_spent, self.ledger)
        settings = self.tools.settings
        self.streams = {
            name: StreamFeatures(StreamNetwork(name, extractor.network, extractor.shape, settings.device), spent)
            for name, extractor in self.tools.streams.items()
        }

    def add(self, number: int, segment: Segment) -> Iterator[Progress]:
        """Process one segment; an InputError ends it and keeps the moments before."""
        return self.ledger.watch(segment, self._steps(number, segment))

    def _steps(self, number: int, segment: Segment) -> Iterator[tuple[int, int]]:
        for decoded, moments in self._moments(number, segment, self.videos[segment.video]):
            self._push(number, moments)
            yield decoded, len(moments.frame)

    def _moments(self, number: int, segment: Segment, video: Video) -> Iterator[tuple[int, Moments]]:
        """Yield (frames processed, complete moments); at damage yield what is whole before it, then raise."""
        builder = MomentBuilder(segment, self.tools.settings.needs, self.tools.flow)
        windows, broken = self._windows(segment, video, builder.colour_frames), None
        while broken is None:
            try:
                with self.ledger.timed(number, "decode"):
                    window = next(windows, None)
            except InputError as error:
                broken, window = error, None
            if window is None:
                break
            yield from builder.add(window)
        yield 0, builder.finish()
        self.ledger.spent(number, "flow", builder.flow_s)
        self.ledger.flow_pairs += builder.flow_pairs
        if broken is not None:
            try:
                raise broken
            finally:
                del broken  # an error whose traceback holds this frame may not be held by it: a cycle, as above

    def _windows(self, segment: Segment, video: Video, colour: NDArray[np.int64]) -> Iterator[FrameBatch]:
        settings = self.tools.settings
        return decode(
            video.path,
            start=segment.read_start,
            stop=segment.read_stop,
            seek_pts=segment.seek_pts,
            rgb_frames=colour,
            grey=settings.needs.grey_frames,
            short_side=settings.short_side_px,
            upscale=settings.upscale,
            window_frames=WINDOW_FRAMES[settings.device],
            hand_on=segment.hand_on,
        )

    def _push(self, number: int, moments: Moments) -> None:
        """Give complete moments to the networks, every stream the same ones."""
        if not moments.frame:
            return
        self.frame += moments.frame
        self.pts_s += moments.pts_s
        for name, features in self.streams.items():
            with self.ledger.timed(number, f"{name}-input"):
                inputs = self.tools.streams[name].inputs(moments.pictures, moments.frame)
            features.push(inputs, number)

    def finish(self) -> ShardContent:
        """Run the last batches and lay the tables out."""
        settings = self.tools.settings
        index = {video: row for row, video in enumerate(self.videos)}
        segments, row = [], 0
        for segment, result in zip(self.task.segments, self.ledger.results, strict=True):
            segments.append(
                SegmentRows(
                    index[segment.video],
                    segment.start,
                    segment.start + result.rows,
                    row,
                    row + result.rows,
                    result.outcome,
                )
            )
            row += result.rows
        streams = {name: features.finish(row).stored(settings.feature_dtype) for name, features in self.streams.items()}
        return ShardContent(
            self.task.shard,
            self.tools.origin,
            self.task.videos,
            tuple(segments),
            np.array(self.frame, np.int64),
            np.array(self.pts_s, np.float64),
            streams,
        )


def _network_spent(ledger: Ledger, number: int, stream: str, elapsed_s: float) -> None:
    ledger.spent(number, f"{stream}-network", elapsed_s)
