"""How the flow files of one video are made; the second hub of the workers, beside process.py.

    decode ──▶ grey ──▶ flow of pairs ──▶ jpg, png, flo, npy or h5
       └─────▶ colour ──▶ jpg, on request

A video's output is made aside and put in its place in one step when it is whole. Memory does not grow with the video.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.disk.files import refusals
from schemas.disk.flow_arrays import H5Writer, NpyWriter
from schemas.disk.flow_store import FlowStore, remove_output
from schemas.errors import EmptyVideoError, ResourceError, VideoTooLargeError
from schemas.flow_config import FOLDER_FORMATS, FlowFileSettings
from schemas.frames import FlowBatch, FrameBatch
from schemas.plan import Segment, ShardReport, ShardTask, Video
from schemas.software import versions
from workers.decode import decode
from workers.flow import FlowMethod, make_flow
from workers.flow.files.flo import flo_bytes
from workers.flow.files.pictures import encoded, quantised
from workers.ledger import Ledger, Progress
from workers.pairs import PairFlow

WINDOW_FRAMES = {"cpu": 16, "cuda": 128}
# Libraries whose version can change a displacement or a byte of an image.
_SOFTWARE = ("av", "numba", "numpy", "opencv-contrib-python-headless", "torch", "vidu-pipe")


@dataclass(frozen=True, slots=True)
class FlowTools:
    """What a worker needs beside its tasks, made once per process."""

    settings: FlowFileSettings
    flow: FlowMethod


def flow_software() -> dict[str, str]:
    """Return the versions of the libraries that can change flow files, and of Python."""
    return versions(_SOFTWARE)


def make_flow_tools(settings: FlowFileSettings) -> FlowTools:
    """Build the flow method.

    Raises:
        ResourceError: the device is not here.
    """
    if settings.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ResourceError("this worker sees no GPU; give tasks one, or use `device` cpu")
    return FlowTools(settings, make_flow(settings.method, settings.device, **dict(settings.options)))


class Writer(Protocol):
    """Takes the fields of one video as they come; raises the OSErrors of the file system."""

    def add(self, batch: FlowBatch, pts_s: NDArray[np.float64]) -> None:
        """Write fields, with the presentation times of their first frames."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


class FolderWriter:
    """A file, or two, for each field; frames beside them."""

    def __init__(self, path: Path, settings: FlowFileSettings) -> None:
        """Make the folder."""
        path.mkdir()
        self._path = path
        self._settings = settings
        self._fields = self._frames = settings.start_index

    def add(self, batch: FlowBatch, _pts_s: NDArray[np.float64]) -> None:
        """Write fields; images and .flo files have no room for times."""
        settings, mark = self._settings, self._settings.step_mark
        for field in batch.flow:
            name = f"{mark}_{self._fields:05d}.{settings.format}"
            self._fields += 1
            if settings.bound_px is None:
                (self._path / f"flow{name}").write_bytes(flo_bytes(field))
                continue
            for axis, values in zip("xy", quantised(field, settings.bound_px), strict=True):
                (self._path / f"flow_{axis}{name}").write_bytes(encoded(values, f".{settings.format}"))

    def frames(self, rgb: NDArray[np.uint8]) -> None:
        """Write frames, uint8 (T, H, W, 3)."""
        for picture in rgb:
            (self._path / f"img_{self._frames:05d}.jpg").write_bytes(encoded(picture, ".jpg"))
            self._frames += 1

    def close(self) -> None:
        """Nothing is left to do."""


WRITERS: dict[str, Callable[[Path, FlowFileSettings], Writer]] = {
    **dict.fromkeys(FOLDER_FORMATS, FolderWriter),
    "npy": NpyWriter,
    "h5": H5Writer,
}


def make_flow_files(task: ShardTask, tools: FlowTools, store: FlowStore) -> Iterator[Progress | ShardReport]:
    """Make the flow files of a task's one video, and its report; they appear whole or not at all, the report last.

    Args:
        task: what to make.
        tools: settings and flow method.
        store: where to.

    Yields:
        Progress, and at the very end one ShardReport. A video that breaks off keeps the fields before; one without
        any field has no files.

    Raises:
        ResourceError: the disk is full, the GPU is gone.
    """
    ledger, made = Ledger(task), store.workplace(task.shard)
    video = task.videos[0]
    output = store.output(video.id)
    try:
        with refusals(output):
            writer = WRITERS[tools.settings.format](made, tools.settings)
        try:
            yield from ledger.watch(task.segments[0], _steps(task, tools, ledger, _Guarded(writer, output)))
        finally:
            with refusals(output):
                writer.close()
        with ledger.timed(0, "write"):
            if ledger.results[0].rows:
                sha256, size_bytes = store.put(made, video.id)
            else:
                remove_output(output)  # of an attempt before, on a file that was another then
                sha256, size_bytes = "", 0
    finally:
        remove_output(made)
    report = ledger.report(sha256=sha256, size_bytes=size_bytes)
    store.books.write_report(report)
    yield report


def rehearse_flow(task: ShardTask, tools: FlowTools) -> Iterator[Progress]:
    """Do all the work of `make_flow_files` but write nothing."""
    ledger = Ledger(task)
    for segment in task.segments:  # the one, or none
        yield from ledger.watch(segment, _steps(task, tools, ledger, None))


@dataclass(frozen=True, slots=True)
class _Guarded:
    """A writer whose troubles name the output, and only its own troubles do."""

    writer: Writer
    output: Path

    def frames(self, rgb: NDArray[np.uint8]) -> None:
        if isinstance(self.writer, FolderWriter):
            with self._named():
                self.writer.frames(rgb)

    def add(self, batch: FlowBatch, pts_s: NDArray[np.float64]) -> None:
        with self._named():
            self.writer.add(batch, pts_s)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            with refusals(self.output):
                yield
        except VideoTooLargeError as error:
            raise VideoTooLargeError(f"{self.output}: {error}") from error


def _steps(
    task: ShardTask,
    tools: FlowTools,
    ledger: Ledger,
    writer: _Guarded | None,
) -> Iterator[tuple[int, int]]:
    """Yield (frames processed, fields written); at damage write what is whole before it, then raise."""
    video = task.videos[0]
    pairs = PairFlow(tools.flow, every=tools.settings.every, step=tools.settings.step)
    windows = _windows(task.segments[0], video, tools.settings)
    written = 0
    try:
        while True:
            with ledger.timed(0, "decode"):
                window = next(windows, None)
            if window is None:
                break
            if writer is not None:
                with ledger.timed(0, "encode"):
                    writer.frames(window.rgb)
            for frames, batch, pts_s in pairs.add(window):
                if writer is not None and len(batch.flow):
                    with ledger.timed(0, "encode"):
                        writer.add(batch, pts_s)
                written += len(batch.flow)
                yield frames, len(batch.flow)
    finally:
        ledger.spent(0, "flow", pairs.flow.elapsed_s)
        ledger.flow_pairs += pairs.flow.pairs
    if not written:
        raise EmptyVideoError(f"{video.path}: too few frames decode for one flow field")


def _windows(segment: Segment, video: Video, settings: FlowFileSettings) -> Iterator[FrameBatch]:
    colour = range(0, segment.read_stop, settings.every) if settings.rgb else range(0)
    return decode(
        video.path,
        start=segment.read_start,
        stop=segment.read_stop,
        seek_pts=None,
        rgb_frames=np.array(colour, np.int64),
        grey=True,
        short_side=settings.short_side_px,
        upscale=settings.upscale,
        window_frames=WINDOW_FRAMES[settings.device],
    )
