"""Flow fields of a video in one array file, written as they come: `.npy`, and HDF5 (a door to h5py beside shard.py).

    <id>.npy    float32 or float16 (N, 2, H, W)
    <id>.h5     /flow   float32 or float16 (N, 2, H, W), a chunk a field, each with its Fletcher-32 checksum
                /frame  int64 (N,), the pairs' first frames;  /pts_s  float64 (N,), when these are shown
                attrs: format, schema, settings (JSON), digest

Channel 0 is the displacement to the right and channel 1 down, in pixels.
"""

import json
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from schemas.flow_config import FlowFileSettings
from schemas.frames import FlowBatch

FLOW_FORMAT = "vidu-pipe flow"
FLOW_SCHEMA = 1


class NpyWriter:
    """Writes an array whose length is known at the end; holds nothing."""

    def __init__(self, path: Path, settings: FlowFileSettings) -> None:
        """Begin; the file appears with the first fields."""
        self._path = path
        self._dtype = np.dtype(settings.dtype)
        self._file: BinaryIO | None = None
        self._shape = (0, 2, 0, 0)

    def add(self, batch: FlowBatch, pts_s: NDArray[np.float64]) -> None:  # noqa: ARG002 - as H5Writer
        """Append fields."""
        if self._file is None:
            self._shape = (0, 2, *batch.flow.shape[2:])
            self._file = self._path.open("wb")
            self._header(self._file)
        self._shape = (self._shape[0] + len(batch.flow), *self._shape[1:])
        np.ascontiguousarray(batch.flow, self._dtype).tofile(self._file)

    def close(self) -> None:
        """Write the length that it became; numpy's header has room for it."""
        if self._file is not None:
            self._file.flush()
            self._file.seek(0)
            self._header(self._file)
            self._file.close()

    def _header(self, file: BinaryIO) -> None:
        descr = np.lib.format.dtype_to_descr(self._dtype)
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": self._shape})


class H5Writer:
    """Writes datasets that grow; holds one chunk."""

    def __init__(self, path: Path, settings: FlowFileSettings) -> None:
        """Begin; the file appears with the first fields."""
        self._path = path
        self._settings = settings
        self._file: h5py.File | None = None

    def add(self, batch: FlowBatch, pts_s: NDArray[np.float64]) -> None:
        """Append fields, with the presentation times float64 (N,) of their first frames."""
        if self._file is None:
            self._file = self._begin(batch.flow.shape[2:])
        for name, rows in (("flow", batch.flow), ("frame", batch.frame), ("pts_s", pts_s)):
            dataset = self._file[name]
            begin = len(dataset)
            dataset.resize(begin + len(rows), axis=0)
            dataset[begin:] = rows

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()

    def _begin(self, size: tuple[int, ...]) -> h5py.File:
        file = h5py.File(self._path, "w")
        file.attrs.update({"format": FLOW_FORMAT, "schema": FLOW_SCHEMA, "digest": self._settings.digest,
                           "settings": json.dumps(self._settings.as_dict(), sort_keys=True)})
        file.create_dataset("flow", (0, 2, *size), self._settings.dtype, maxshape=(None, 2, *size),
                            chunks=(1, 2, *size), fletcher32=True)
        file.create_dataset("frame", (0,), "int64", maxshape=(None,), chunks=(1024,))
        file.create_dataset("pts_s", (0,), "float64", maxshape=(None,), chunks=(1024,))
        return file
