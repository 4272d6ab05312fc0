"""What stands at the head of the units that an H.264 or HEVC picture is made of, read without decoding it."""

from collections.abc import Iterator

from av.packet import Packet
from av.video.stream import VideoStream

_LEFT_OUT = frozenset({8, 9})  # RASL pictures of HEVC: shown before a keyframe, made from what comes before it too
_BROKEN_LINK = frozenset({16, 17, 18})  # BLA pictures of HEVC: keyframes at which another stream was joined on
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


def is_left_out_at_joints(stream: VideoStream, packet: "Packet[VideoStream]") -> bool:
    """Say whether a decoder leaves the picture out, by the standard, where the stream was joined just before it."""
    return _is_hevc(stream) and not _LEFT_OUT.isdisjoint(unit_types(stream, packet))


def is_joint(stream: VideoStream, packet: "Packet[VideoStream]") -> bool:
    """Say whether another stream was joined on at this picture or after it: pictures that follow may be left out."""
    if not _is_hevc(stream):
        return False
    joined = packet.is_keyframe and not _BROKEN_LINK.isdisjoint(unit_types(stream, packet))
    return joined or bytes(memoryview(packet)[-6:]).endswith(_END_OF_SEQUENCE)


def _is_hevc(stream: VideoStream) -> bool:
    return stream.codec_context.codec.canonical_name == "hevc"
