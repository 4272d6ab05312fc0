"""An AVI numbers nothing: a picture's time is how many chunks of its stream come before it, empty ones too.

FFmpeg counts from where a seek lands. With sound beside the picture that may be before empty chunks (dropped frames),
which its index does not list; every later picture then gets a wrong number, and by that a wrong mark as keyframe. The
index knows the true number of every chunk that holds a picture, by its place in the file.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain

from av.container import InputContainer
from av.index import IndexEntry
from av.video.stream import VideoStream

from workers.decode.video import Packet, read_packets

_CHUNK_HEAD_BYTES = 8  # the index names where a chunk begins, a packet where its data do


def index_agrees(stream: VideoStream, places: Sequence[int], numbers: Sequence[int], keys: Sequence[int]) -> bool:
    """Say whether the index of an AVI, read to its end, tells the packets' numbers and keyframes as reading it did.

    `places`, `numbers` and `keys` are `pos` and `dts` of every packet and whether it was marked as keyframe.
    """
    read = {place: (number, key) for place, number, key in zip(places, numbers, keys, strict=True)}
    for entry in stream.index_entries:
        number, key = read.get(entry.pos + _CHUNK_HEAD_BYTES, (entry.timestamp, 1))
        if number != entry.timestamp or key < entry.is_keyframe:
            return False
    return True


def read_sought(container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    """Packets after a seek, of an AVI with the numbers of its index; none where the index does not know the first."""
    packets = read_packets(container, stream)
    first = next(packets, None) if container.format.name == "avi" else None
    if first is None:
        return packets
    entry = _entry_of(first, stream)
    if entry is None or first.dts is None:
        return iter(())
    every = chain([first], packets)
    return every if first.dts == entry.timestamp else _renumbered(every, stream, entry.timestamp - first.dts)


def _renumbered(packets: Iterator[Packet], stream: VideoStream, by: int) -> Iterator[Packet]:
    for packet in packets:
        entry = _entry_of(packet, stream)
        packet.is_keyframe = entry is not None and entry.is_keyframe
        packet.pts = packet.dts = None if packet.dts is None else packet.dts + by
        yield packet


def _entry_of(packet: Packet, stream: VideoStream) -> IndexEntry | None:
    place = -1 if packet.pos is None else packet.pos - _CHUNK_HEAD_BYTES
    entries = stream.index_entries
    at = bisect_left(entries, place, key=lambda entry: entry.pos)
    return entries[at] if at < len(entries) and entries[at].pos == place else None
