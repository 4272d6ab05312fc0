"""Formats of files of features.

To add one, write how it is written and read in a file like `parquet_files.py`, and a line of `FORMATS`; contract tests
run over that dict. Its name is the files' suffix, and what is read has the names, shapes, dtypes and bits of what was
written.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.exchange.parquet_files import parquet_library, read_parquet, write_parquet
from schemas.arrays import Array, write_npz
from schemas.disk.files import write_bytes


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How the arrays of a video become a file, and come back.

    Attributes:
        words: what such a file is called.
        write: makes a file of arrays (T,) or (T, D) by name, whole or not at all (`schemas/disk/files.py`).
        read: gives the arrays of an open file by name, or the one array that has no name; it leaves the file open.
            Of a file that is damaged or something else it raises what `UNREADABLE` lists.
        one_array: a file holds one array without a name, so every stream has a folder of its own.
        ready: raises ResourceError where a library that it needs is not installed.
    """

    words: str
    write: Callable[[Path, Mapping[str, Array]], None]
    read: Callable[[BinaryIO], Array | dict[str, Array]]
    one_array: bool = False
    ready: Callable[[], object] = lambda: None


def _write_npy(path: Path, arrays: Mapping[str, Array]) -> None:
    (values,) = arrays.values()
    held = io.BytesIO()  # into a file numpy writes by a way that does not say why it can not
    np.save(held, values)
    write_bytes(path, held.getbuffer())


def _read_numpy(file: BinaryIO) -> Array | dict[str, Array]:
    loaded = np.load(file, allow_pickle=False)
    return loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}


FORMATS: dict[str, FileFormat] = {
    "npy": FileFormat("NumPy", _write_npy, _read_numpy, one_array=True),
    "npz": FileFormat("NumPy", write_npz, _read_numpy),
    "parquet": FileFormat("Parquet", write_parquet, read_parquet, ready=parquet_library),
}
