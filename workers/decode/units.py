"""What stands at the head of the units that an H.264 or HEVC picture is made of, read without decoding it."""

from collections.abc import Iterator

from av.packet import Packet
from av.video.stream import VideoStream

_RASL, _BLA, _IRAP, _NO_PICTURE = (8, 9), (16, 17, 18), range(16, 24), 32  # types of HEVC units
_SIZE_AT = {"h264": 4, "hevc": 21}
_END_OF_SEQUENCE = (b"\0\0\0\2\x48\1", b"\0\0\1\x48\1")  # of HEVC, after its length and after a start code


def unit_types(stream: VideoStream, packet: "Packet[VideoStream]") -> Iterator[int]:
    """Type of every NAL unit of an H.264 or HEVC packet; nothing of other codecs."""
    codec = stream.codec_context.codec.canonical_name
    if codec in _SIZE_AT:
        for head in _unit_heads(stream, packet, _SIZE_AT[codec]):
            yield head & 31 if codec == "h264" else head >> 1 & 63


def _unit_heads(stream: VideoStream, packet: "Packet[VideoStream]", size_at: int) -> Iterator[int]:
    """First byte of every unit.

    MP4 and Matroska write each unit's length before it, in as many bytes as byte ``size_at`` of the codec's
    configuration record says (ISO/IEC 14496-15); other containers write start codes.
    """
    data, config = bytes(packet), stream.codec_context.extradata or b""
    at = 0
    if len(config) > size_at and config[0] == 1:
        width = (config[size_at] & 3) + 1
        while at + width < len(data):
            yield data[at + width]
            at += width + int.from_bytes(data[at : at + width], "big")
        return
    while 0 <= (at := data.find(b"\0\0\1", at)) < len(data) - 3:
        at += 3
        yield data[at]


class Joints:
    """Follows an HEVC stream from packet to packet to where others were joined on (BLA pictures, ends of sequences).

    What is made from pictures on both sides of a joint (RASL) no decoder gives, by the standard. Of other codecs
    nothing is left out.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._stream = stream
        self._is_hevc = stream.codec_context.codec.canonical_name == "hevc"
        self._joined = self._ended = False

    def leave_out(self, packet: "Packet[VideoStream]") -> bool:
        """Say whether the picture of the next packet is left out."""
        if not self._is_hevc:
            return False
        kind = next((kind for kind in unit_types(self._stream, packet) if kind < _NO_PICTURE), _NO_PICTURE)
        if kind in _IRAP:
            self._joined = self._ended or kind in _BLA
        self._ended = bytes(memoryview(packet)[-6:]).endswith(_END_OF_SEQUENCE)
        return self._joined and kind in _RASL
