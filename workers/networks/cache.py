"""Where networks that were made ready are kept, so that the next job need not make them again.

Nothing but speed depends on it: a file that is damaged is as if it were not there, a folder that can not be written
is done without, and all of it may be removed at any time. Files are written whole or not at all, and what has one name
has one content, so any number of processes may share the folder.
"""

import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from schemas.disk.files import refusals, write_bytes
from schemas.errors import ResourceError

_DIGEST_BYTES = 32
logger = logging.getLogger(__name__)


def kept(name: str) -> bytes | None:
    """Return what is kept under a name; None when nothing is, or no more what was."""
    for folder in _folders():
        try:
            content = (folder / name).read_bytes() if _is_trusted(folder) else b""
        except OSError:
            continue
        digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(payload).digest() == digest:
            return payload
        logger.info("%s is damaged and will be made again", folder / name)
    return None


def keep(name: str, payload: bytes) -> None:
    """Keep something under a name, in the first folder that takes it; not at all where none does."""
    for folder in _folders():
        try:
            with refusals(folder, "make"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                trusted = _is_trusted(folder)
            if trusted:
                write_bytes(folder / name, hashlib.sha256(payload).digest() + payload)
                return
        except ResourceError as error:
            logger.info("not kept for the next job: %s", error)


def _folders() -> Iterator[Path]:
    """The folder that the environment names, or the user's cache; then a temporary one."""
    chosen = os.environ.get("VIDU_PIPE_CACHE")
    if chosen:
        yield Path(chosen)
    else:
        with suppress(RuntimeError):  # there are users without a home
            yield _caches() / "vidu-pipe"
    yield _aside()


def _caches() -> Path:
    """Where programs keep what can be made again, by the XDG base directory specification."""
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return chosen if chosen.is_absolute() else Path("~/.cache").expanduser()


def _aside() -> Path:
    return Path(tempfile.gettempdir()) / f"vidu-pipe-{os.getuid()}"


def _is_trusted(folder: Path) -> bool:
    """Tell whether nobody else put the files there: anybody may have made a folder of that name among temporary files.

    Raises:
        OSError: there is no such folder.
    """
    found = folder.lstat()
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return own or folder != _aside()
