"""Flow fields of a video in one array file, written as they come: `.npy`, and HDF5 (a door to h5py beside shard.py).

    <id>.npy    float32 or float16 (N, 2, H, W)
    <id>.h5     /flow   float32 or float16 (N, 2, H, W), a chunk a field, each with its Fletcher-32 checksum
                /frame  int64 (N,), the pairs' first frames;  /pts_s  float64 (N,), when these are shown
                attrs: format, schema, settings (JSON), digest

Channel 0 is the displacement to the right and channel 1 down, in pixels.
"""

import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from schemas.flow_config import FlowFileSettings
from schemas.frames import FlowBatch

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

FLOW_FORMAT = "vidu-pipe flow"
FLOW_SCHEMA = 1


class NpyWriter:
    """Writes an array whose length is known at the end; holds nothing. Every OSError of the file system is raised."""

    def __init__(self, path: Path, settings: FlowFileSettings) -> None:
        """Begin; the file appears with the first fields."""
        self._path = path
        self._dtype = np.dtype(settings.dtype)
        self._file: BinaryIO | None = None
        self._shape = (0, 2, 0, 0)

    def add(self, batch: FlowBatch, _pts_s: NDArray[np.float64]) -> None:
        """Append fields; the format has no room for times."""
        if self._file is None:
            self._shape = (0, 2, *batch.flow.shape[2:])
            self._file = self._path.open("wb")
            self._header(self._file)
        self._shape = (self._shape[0] + len(batch.flow), *self._shape[1:])
        self._file.write(np.ascontiguousarray(batch.flow, self._dtype).data)  # `tofile` would not say what is wrong

    def close(self) -> None:
        """Write the length that it became; numpy's header has room for it."""
        if self._file is not None:
            with self._file as file:
                file.seek(0)
                self._header(file)

    def _header(self, file: BinaryIO) -> None:
        descr = np.lib.format.dtype_to_descr(self._dtype)
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": self._shape})


class H5Writer:
    """Writes datasets that grow; holds one chunk. Every OSError of the file system is raised."""

    def __init__(self, path: Path, settings: FlowFileSettings) -> None:
        """Begin; the file appears with the first fields."""
        self._path = path
        self._settings = settings
        self._disk: _Patient | None = None
        self._file: h5py.File | None = None

    def add(self, batch: FlowBatch, pts_s: NDArray[np.float64]) -> None:
        """Append fields, with the presentation times float64 (N,) of their first frames."""
        if self._file is None or self._disk is None:
            self._disk = _Patient(self._path)
            self._file = self._begin(self._disk, batch.flow.shape[2:])
        for row in zip(batch.flow, batch.frame, pts_s, strict=True):  # one by one: portions do not change a byte
            for name, value in zip(("flow", "frame", "pts_s"), row, strict=True):
                dataset = self._file[name]
                dataset.resize(len(dataset) + 1, axis=0)
                dataset[-1] = value
            self._disk.complain()

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None and self._disk is not None:
            self._file.close()
            self._disk.close()
            self._disk.complain()

    def _begin(self, disk: "_Patient", size: tuple[int, ...]) -> h5py.File:
        file = h5py.File(disk, "w")
        file.attrs.update(
            {
                "format": FLOW_FORMAT,
                "schema": FLOW_SCHEMA,
                "digest": self._settings.digest,
                "settings": json.dumps(self._settings.as_dict(), sort_keys=True),
            }
        )
        file.create_dataset(
            "flow",
            (0, 2, *size),
            self._settings.dtype,
            maxshape=(None, 2, *size),
            chunks=(1, 2, *size),
            fletcher32=True,
        )
        file.create_dataset("frame", (0,), "int64", maxshape=(None,), chunks=(1024,))
        file.create_dataset("pts_s", (0,), "float64", maxshape=(None,), chunks=(1024,))
        return file


class _Patient(io.RawIOBase):
    """A file that HDF5 never hears a complaint of: it ends the process when it can not write what it must to close.

    What the file system refuses, and all that follows, is kept in memory: whoever writes asks after each step, so that
    is no more than one window of fields.
    """

    def __init__(self, path: Path) -> None:
        """Make the file."""
        self._file = path.open("w+b", buffering=0)
        self._size = self._place = 0
        self._kept: list[tuple[int, bytes]] = []
        self._trouble: OSError | None = None

    def complain(self) -> None:
        """Raise what the file system said, if it refused anything."""
        if self._trouble is not None:
            raise self._trouble

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def write(self, data: "ReadableBuffer") -> int:
        left = whole = bytes(data)
        self._size = max(self._size, self._place + len(left))
        while left:
            done = self._kept_or_written(left)
            left, self._place = left[done:], self._place + done
        return len(whole)

    def _kept_or_written(self, data: bytes) -> int:
        if self._trouble is None:
            try:
                return os.pwrite(self._file.fileno(), data, self._place)
            except OSError as error:
                self._trouble = error
        self._kept.append((self._place, data))
        return len(data)

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        stop = self._place + len(view)
        found = os.pread(self._file.fileno(), len(view), self._place)
        view[:] = found.ljust(len(view), b"\0")
        for place, data in self._kept:
            first, last = max(place, self._place), min(place + len(data), stop)
            if first < last:
                view[first - self._place : last - self._place] = data[first - place : last - place]
        self._place = stop
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self._size = self._place if size is None else size
        try:
            self._file.truncate(self._size)
        except OSError as error:
            self._trouble = self._trouble or error
        return self._size

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
