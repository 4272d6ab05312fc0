"""What a person sees of a running extraction: a bar on a terminal, plain lines elsewhere, JSON lines on request."""

import json
import logging
import sys
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from tqdm.auto import tqdm

from pipeline.jobs.engine import Died, Done, Event, Lost, Told
from schemas.disk.files import refusals
from schemas.errors import ConfigError
from schemas.plan import ShardReport, ShardTask
from schemas.words import counted

_LINE_EVERY_S = 10.0
_TELLING_S = 5.0  # of work, before its speed says anything about the rest
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} frames [{elapsed}{postfix}]"
_NOTEBOOK = any("notebook" in kind.__module__ for kind in tqdm.__mro__)
logger = logging.getLogger(__name__)


class Pace:
    """How fast work goes, from its first word on: that processes take time to start says nothing of the rest."""

    def __init__(self, total: int) -> None:
        """Begin to wait for the first word of `total` frames of work."""
        self._total = total
        self._first: tuple[float, int] | None = None
        self._last = (0.0, 0)

    def follow(self, frames: int, now_s: float) -> None:
        """Take note that so many frames are done by now."""
        self._last = now_s, frames
        if self._first is None and frames:
            self._first = self._last

    @property
    def frames_per_s(self) -> float | None:
        """The speed, once there is enough work behind it to mean something."""
        if self._first is None:
            return None
        elapsed_s, frames = (last - first for last, first in zip(self._last, self._first, strict=True))
        return frames / elapsed_s if frames > 0 and elapsed_s >= _TELLING_S else None

    def __str__(self) -> str:
        """Say speed and time left; only that work starts or goes on, where nobody can know them yet."""
        if not self._last[1]:
            return "starting"
        speed = self.frames_per_s
        if speed is None:
            return "under way"
        return f"{speed:.1f} frame/s, {tqdm.format_interval((self._total - self._last[1]) / speed)} left"


class Display:
    """Follows the events of an extraction; use as a context manager."""

    def __init__(self, tasks: list[ShardTask], name: str = "extract", *, quiet: bool, log_json: Path | None) -> None:
        """Begin.

        Args:
            tasks: shards to make.
            name: of the work, before the bar.
            quiet: show neither bar nor lines; warnings are still shown.
            log_json: file that gets one JSON object a line, appended.

        Raises:
            ConfigError: `log_json` can not be written.
        """
        self._segments_left: dict[str, int] = defaultdict(int)
        for segment in (segment for task in tasks for segment in task.segments):
            self._segments_left[segment.video] += 1
        self._videos = len(self._segments_left)
        self._videos_done = 0
        self._failed: set[str] = set()
        self._frames_total = sum(task.work_frames for task in tasks)
        self._told: dict[str, int] = defaultdict(int)  # frames told of shards that are not done yet
        self._frames_done = 0
        self._pace = Pace(self._frames_total)
        self._spoke = time.monotonic()
        self._lines = not quiet and not _NOTEBOOK and not sys.stderr.isatty()
        self._bar = tqdm(
            total=self._frames_total,
            unit_scale=True,
            dynamic_ncols=True,
            bar_format=_BAR,
            disable=quiet or self._lines,
            desc=name,
            mininterval=0.2,
        )
        self._log_json = log_json
        try:
            self._json: BinaryIO | None = log_json.open("ab", buffering=0) if log_json else None
        except OSError as error:
            raise ConfigError(f"`log_json` {log_json}: {error}") from error

    def __enter__(self) -> "Display":
        """Begin to follow."""
        self.log("start", frames=self._frames_total, videos=self._videos)
        return self

    def __exit__(self, *_: object) -> None:
        """Close bar and file."""
        self._bar.close()
        if self._json:
            self._json.close()

    def follow(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Told):
            self._told[event.task.shard] += event.progress.frames
        elif isinstance(event, Done):
            self._done(event.report)
        elif isinstance(event, Died):
            self._told.pop(event.task.shard, None)
            self._say(logging.WARNING, f"shard {event.task.shard}: its worker failed ({event.why}); it begins again")
            self.log("died", shard=event.task.shard, why=event.why)
        elif isinstance(event, Lost):
            self._told.pop(event.task.shard, None)
            self.log("lost", shard=event.task.shard, why=event.why, trace=event.trace)
        self._move()

    def log(self, what: str, **values: object) -> None:
        """Write one JSON line, if there is a file for it."""
        if self._json and self._log_json:
            with refusals(self._log_json):
                self._json.write((json.dumps({"event": what, "time": time.time()} | values) + "\n").encode())

    def _done(self, report: ShardReport) -> None:
        self._told.pop(report.shard, None)
        for segment in report.segments:
            self._frames_done += segment.frames_planned
            self._segments_left[segment.video] -= 1
            self._videos_done += self._segments_left[segment.video] == 0
            if segment.outcome != "ok":
                self._failed.add(segment.video)
                self._say(logging.WARNING, f"{segment.outcome}: {segment.message}")
        self.log("shard", **asdict(report))

    def _say(self, level: int, text: str) -> None:
        with self._bar.external_write_mode():  # a line above the bar, where there is one
            logger.log(level, text)

    def _move(self) -> None:
        frames = self._frames_done + sum(self._told.values())
        now_s = time.monotonic()
        self._pace.follow(frames, now_s)
        bad = f", {len(self._failed)} bad" if self._failed else ""
        state = f"{self._videos_done}/{counted(self._videos, 'video')}{bad}, {self._pace}"
        if self._lines and now_s - self._spoke > _LINE_EVERY_S:
            self._spoke = now_s
            logger.info("%d of %s, %s", frames, counted(self._frames_total, "frame"), state)
        elif not self._bar.disable:
            self._bar.set_postfix_str(state, refresh=False)
            self._bar.update(frames - self._bar.n)
