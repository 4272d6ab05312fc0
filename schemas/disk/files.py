"""The one way a file is written, and the one meaning of what a file system says.

A file is made aside under a name that no other process will choose, made durable, and given its name in one step
(rename is atomic within a file system); whatever goes wrong, nothing is left and an older file stays. Whoever makes
files by a library makes them in memory, or hands the library the open file: a library's own way into a file may end
the process when the disk is full (HDF5 does), or hide the reason.
"""

import csv
import errno
import fcntl
import hashlib
import io
import os
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar

from schemas.errors import BusyError, ResourceError, StoreError

_WAYS_OUT = {
    errno.ENOSPC: "free space or choose another folder",
    errno.EDQUOT: "free space, ask for a larger quota, or choose another folder",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f), or choose another folder",
    errno.EROFS: "choose another folder",
    errno.EACCES: "change the permissions, or choose another folder",
    errno.EPERM: "change the permissions, or choose another folder",
    errno.EIO: "look after the disk, or the network to it, or choose another folder",
    errno.ENOLCK: "put it on a file system with locks",
}
Record = TypeVar("Record")
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


def is_refused(error: BaseException) -> bool:
    """Tell whether an error is the machine's, and not that of a file's content."""
    return isinstance(error, OSError) and error.errno in _WAYS_OUT


def refusal(error: OSError, path: Path, what: str = "write") -> ResourceError:
    """Return what to raise when the file system does not do what was asked: it names the path and the way out."""
    way_out = _WAYS_OUT.get(error.errno or 0, "choose another folder")
    return ResourceError(f"cannot {what} {path}: {error.strerror or error}; {way_out}, then run the same command again")


@contextmanager
def refusals(path: Path, what: str = "write") -> Iterator[None]:
    """Raise a ResourceError that names `path` for every OSError inside; wraps writing only."""
    try:
        yield
    except OSError as error:
        raise refusal(error, path, what) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Wrap the reading of a file that should be there, and be text where it is read as text.

    Raises:
        StoreError: it is not there, or is not text.
        ResourceError: the machine does not let us read it.
    """
    try:
        yield
    except _ABSENT as error:
        raise StoreError(f"{path}: {error.strerror}; it belongs there: restore it, or make the whole anew") from error
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    except OSError as error:
        raise refusal(error, path, "read") from error


def read_csv(path: Path, make: Callable[[dict[str, str]], Record]) -> list[Record]:
    """Make a record of every line of a CSV file of ours; names that are no UTF-8 keep their bytes.

    Raises:
        StoreError: it is not there, or `make` raises of a line; the message names the line.
        ResourceError: the machine does not let us read it.
    """
    with reading(path), path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        lines = csv.DictReader(file)
        try:
            return [make(row) for row in lines]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise StoreError(f"{path} is damaged: line {lines.line_num}: {error}") from error


def stays_inside(name: str) -> bool:
    """Tell whether a name out of a file, joined to a folder, lies in that folder."""
    pure = PurePosixPath(name)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and "\0" not in name


def is_there(path: Path) -> bool:
    """Tell whether there is such a file or folder.

    Raises:
        ResourceError: the machine does not let us look.
    """
    with refusals(path, "read"):
        return path.exists()


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they are there.

    Raises:
        ResourceError: the file system refused.
    """
    with refusals(path, "make"):
        path.mkdir(parents=True, exist_ok=True)


def temporary_beside(path: Path) -> Path:
    """Return a new name in the same folder, which no other process on any node will choose."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half written; whoever calls makes sure that no other writes there.

    Raises:
        ResourceError: the file system refused.
    """
    with refusals(folder, "remove what is left in"):
        for leftover in folder.glob(".*.tmp"):
            if not leftover.is_dir():
                leftover.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, folder: Path) -> Iterator[None]:
    """Hold `folder` for writing, by a lock on the file `path`; the kernel lets go when the owner dies, however it dies.

    Raises:
        BusyError: another process holds it; the message names that process.
        ResourceError: it can not be written at all.
    """
    with refusals(path):
        opened = path.open("a+b", buffering=0)  # nothing waits to be written when a full disk refuses
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().decode(errors="replace") or "another process"
            raise BusyError(f"{folder} is being written by {owner}; wait for it, or choose another `out`") from error
        except OSError as error:
            raise refusal(error, path, "lock") from error
        with refusals(path):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file, which gets its name, whole and durable, when the block ends well; else nothing is left.

    Raises:
        ResourceError: the file system refused.
    """
    temporary = temporary_beside(path)
    with refusals(path):
        try:
            with temporary.open("wb") as file:
                yield file
            commit(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def commit(made: Path, path: Path) -> None:
    """Make a finished file durable and give it its name in one step; a folder's files are its maker's business.

    Raises:
        OSError: the file system refused.
    """
    if not made.is_dir():
        _sync(made)
    made.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a file whole or not at all; raises as `writing`."""
    with writing(path) as file:
        file.write(data)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file, one line each, whole or not at all; names that are no UTF-8 keep their bytes."""
    with writing(path) as file:
        file.writelines((line + "\n").encode("utf-8", "surrogateescape") for line in lines)


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as the text of a CSV file."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV file whole or not at all; names that are no UTF-8 keep their bytes."""
    write_bytes(path, csv_text(rows).encode("utf-8", "surrogateescape"))


def file_digest(path: Path) -> tuple[str, int]:
    """Return sha256 and size in bytes of a file.

    Raises:
        OSError: it is not there, or can not be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size
