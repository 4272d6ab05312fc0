"""The same file, wherever it lies."""

import hashlib
import os
import stat
from pathlib import Path

from schemas.errors import MachineError, VideoOpenError, is_machines

END_BYTES = 1 << 16


def fingerprint(path: str) -> str:
    """Return 16 hexadecimal digits over a file's size and its first and last 64 KiB.

    That is cheap for a file of any size, follows the file when it is moved or copied, and tells a file that is still
    being copied, was cut, or was replaced.

    Raises:
        VideoOpenError: the file can not be read.
        MachineError: the machine failed to read it.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):  # a pipe would be waited for
            raise VideoOpenError(f"{path}: not a file")
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(str(size).encode())
            digest.update(file.read(END_BYTES))
            file.seek(max(0, size - END_BYTES))
            digest.update(file.read(END_BYTES))
    except OSError as error:
        if is_machines(error):
            raise MachineError(f"{path}: reading fails: {error}") from error
        raise VideoOpenError(f"{path}: cannot be read: {error}") from error
    return digest.hexdigest()[:16]
