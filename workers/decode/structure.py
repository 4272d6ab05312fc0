"""Whether a file ends where its container says, found by walking from element to element without reading the pictures.

A header that promises more than FFmpeg finds may be right, and the file cut; or the missing part was never a picture:
frames that were dropped in AVI, a last picture that stands long in Matroska and FLV. The containers' own bytes tell.
"""

import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675  # the Matroska elements that are entered; all others are stepped over
_TAGS_OF_FLV = frozenset({8, 9, 18})  # sound, picture, script
_SCRIPT_BYTES = 65536  # FLV tells of itself in its first tag


def avi_chunks(path: str, stream: int) -> int:
    """Count the chunks of one stream of an AVI, the empty ones too, up to where the file ends or makes no sense."""
    number, count, at = b"%02d" % stream, 0, 0
    with Path(path).open("rb", buffering=0) as file:
        while len(head := _bytes_at(file, at, 12)) >= 8 and head[:4].isascii() and head[:4] != bytes(4):
            name, size = head[:4], int.from_bytes(head[4:8], "little")
            if name == b"RIFF" or (name == b"LIST" and head[8:] in (b"movi", b"rec ")):
                at += 12
                continue
            count += name[:2] == number and name[2:] != b"pc"  # a palette is none
            at += 8 + size + size % 2
    return count


def _matroska_is_whole(file: BinaryIO, size: int) -> bool:
    """Say whether every element up to the end of the segment is there; a segment without an end never is."""
    at, end = 0, None
    while end is None or at < end:
        name, name_bytes = _vint(_bytes_at(file, at, 4), keep_mark=True)
        length, length_bytes = _vint(_bytes_at(file, at + name_bytes, 8), keep_mark=False)
        if not name_bytes or not length_bytes:
            return False
        at += name_bytes + length_bytes
        unknown = length == (1 << 7 * length_bytes) - 1
        if name == _SEGMENT:
            end = at + length
        elif name != _CLUSTER:
            at += length
        if (unknown and name != _CLUSTER) or max(at, end or 0) > size:
            return False
    return at == end


def _vint(data: bytes, *, keep_mark: bool) -> tuple[int, int]:
    """Read a number of variable length (RFC 8794, section 4) and say how many bytes it takes; 0 bytes: it is none."""
    width = 9 - data[0].bit_length() if data else 9
    if width > len(data):
        return 0, 0
    number = int.from_bytes(data[:width], "big")
    return number if keep_mark else number & ((1 << 7 * width) - 1), width


def _flv_is_whole(file: BinaryIO, size: int) -> bool:
    """Say whether the tags fill the file and it is as long as it says; one that does not say may be cut at a tag."""
    script = _bytes_at(file, 0, _SCRIPT_BYTES)
    _, found, told = script.partition(b"filesize\0")  # a name of AMF, and the mark of a number
    if not found or len(told) < 8 or struct.unpack_from(">d", told)[0] != size:
        return False
    at = int.from_bytes(script[5:9], "big") + 4
    while at < size:
        head = _bytes_at(file, at, 4)
        if len(head) < 4 or head[0] & 31 not in _TAGS_OF_FLV:
            return False
        at += 11 + int.from_bytes(head[1:], "big") + 4
    return at == size


def _bytes_at(file: BinaryIO, at: int, count: int) -> bytes:
    return os.pread(file.fileno(), count, at)


_WALKS: Mapping[str, Callable[[BinaryIO, int], bool]] = MappingProxyType(
    {"matroska,webm": _matroska_is_whole, "flv": _flv_is_whole}
)


def is_whole(path: str, container: str) -> bool:
    """Say whether the file surely ends where its container, named as FFmpeg does, says."""
    if container not in _WALKS:
        return False
    with Path(path).open("rb", buffering=0) as file:
        return _WALKS[container](file, os.fstat(file.fileno()).st_size)
