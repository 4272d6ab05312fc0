"""Files that are whole but odd: dropped frames, edit lists, pictures that stand long, are never shown, share a time."""

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.videos import has_encoder, number_of, numbered_image, write_video
from tests.workers.decode.test_decode import assert_same, count, joined, until_it_breaks, whole
from workers.decode import probe, seconds
from workers.decode import windows as decode_module

FPS, RATE_HZ = 25, 16000
DROPPED = [0, *(k + k // 5 + 1 for k in range(1, 60))]  # every sixth frame is missing


def write_avi(path: Path, pts: Sequence[int], *, sound_frames: int = 6) -> Path:
    """Write an AVI whose gaps in ``pts`` are empty chunks, with a chunk of sound before every ``sound_frames``."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=FPS, options={"g": "12"})
        video.width, video.height, video.pix_fmt, video.thread_count = 96, 72, "yuv420p", 1
        sound = container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        samples = RATE_HZ // FPS * sound_frames
        for k, ticks in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(numbered_image(k, 96, 72), format="rgb24")
            frame.pts, frame.time_base = ticks, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for at in range(pts[-1] // sound_frames + 1):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, samples), np.int16), format="s16", layout="mono")
            silence.sample_rate, silence.pts, silence.time_base = RATE_HZ, at * samples, Fraction(1, RATE_HZ)
            container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    return path


def without_empty_entries(data: bytes) -> bytes:
    """Strike the empty chunks from the index of an AVI, as some programs write it."""
    at = data.rindex(b"idx1")
    size = struct.unpack_from("<I", data, at + 4)[0]
    entries = [data[k : k + 16] for k in range(at + 8, at + 8 + size, 16)]
    kept = b"".join(entry for entry in entries if entry[12:] != bytes(4))
    return data[: at + 4] + struct.pack("<I", len(kept)) + kept


class TestDroppedFramesOfAnAvi:
    def test_every_seek_gives_the_frames_that_reading_from_the_beginning_gives(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_avi(tmp_path / "dropped.avi", DROPPED)
        entered = []
        sought = decode_module._sought
        monkeypatch.setattr(decode_module, "_sought", lambda *args: entered.append(sought(*args)) or entered[-1])
        probed, ticks, time_base = probe(str(path))
        full = whole(path, stop=60)
        assert probed.exact_pts
        assert ticks.tolist() == DROPPED
        np.testing.assert_array_equal(seconds(ticks, time_base), full["pts_s"])
        for start in range(1, 60):
            stop = min(start + 3, 60)
            part = whole(path, start=start, stop=stop, seek_pts=int(ticks[start]), rgb_frames=np.arange(0, 60, 3))
            assert_same(part, full)
            assert [number_of(grey) for grey in part["grey"]] == list(range(start, stop))
        assert None not in entered  # a seek that fell back would hide a wrong one

    def test_an_index_that_tells_other_numbers_is_not_sought_by(self, tmp_path: Path) -> None:
        path = write_avi(tmp_path / "struck.avi", DROPPED)
        path.write_bytes(without_empty_entries(path.read_bytes()))
        probed, ticks, time_base = probe(str(path))
        assert not probed.exact_pts
        np.testing.assert_array_equal(seconds(ticks, time_base), whole(path, stop=60)["pts_s"])


def with_long_last_picture(source: Path, target: Path, seconds_more: int) -> Path:
    """Copy a video so that its last picture stands some seconds longer."""
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        stream = read.streams.video[0]
        copy = write.add_stream_from_template(stream)
        packets = [packet for packet in read.demux(stream) if packet.size]
        last = max(packets, key=lambda packet: packet.pts or 0)
        last.duration = (last.duration or 0) + round(seconds_more / Fraction(stream.time_base or 1))
        for packet in packets:
            packet.stream = copy
            write.mux(packet)
    return target


def with_half_an_edit(data: bytes) -> bytes:
    """Make the edit list of an MP4 end in the middle of the video."""
    at = data.index(b"elst") + 4
    assert data[at : at + 8] == bytes(7) + b"\1"  # version 0, one edit
    ticks = struct.unpack_from(">I", data, at + 8)[0]
    return data[: at + 8] + struct.pack(">I", ticks // 2) + data[at + 12 :]


class TestWholeThoughOdd:
    """Nothing of these files is missing; the same files cut short are still told."""

    def cut(self, path: Path, share: float) -> str:
        path = path.rename(path.with_stem("cut"))
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        return probe(str(path))[0].damage

    def test_dropped_frames_of_an_avi_are_not_missing(self, tmp_path: Path) -> None:
        path = write_avi(tmp_path / "dropped.avi", DROPPED)
        probed, *_ = probe(str(path))
        assert (probed.frames, probed.damage) == (60, "")
        assert probed.promised_frames == DROPPED[-1] + 1
        assert "cut short" in self.cut(path, 0.5)

    def test_frames_dropped_at_the_end_are_not_missing(self, tmp_path: Path) -> None:
        path = write_avi(tmp_path / "tail.avi", [*range(30), 60])
        data = path.read_bytes()
        last = data.rindex(b"00dc", 0, data.rindex(b"idx1"))
        size = struct.unpack_from("<I", data, last + 4)[0]
        path.write_bytes(data[: last + 4] + bytes(4) + b"JUNK" + struct.pack("<I", size - 8) + data[last + 16 :])
        probed, *_ = probe(str(path))
        assert probed.promised_frames - probed.frames == 31
        assert probed.damage == ""

    def test_what_an_edit_list_leaves_out_is_not_missing(self, tmp_path: Path) -> None:
        path = write_video(
            tmp_path / "edit.mp4",
            frames=60,
            container_options={"movflags": "faststart"},
            options={"x264-params": "keyint=10:bframes=2"},
        )
        path.write_bytes(with_half_an_edit(path.read_bytes()))
        probed, ticks, time_base = probe(str(path))
        full = whole(path, stop=probed.frames)
        assert (probed.frames, probed.promised_frames, probed.damage) == (30, 60, "")
        assert [number_of(grey) for grey in full["grey"]] == list(range(30))
        np.testing.assert_array_equal(seconds(ticks, time_base), full["pts_s"])
        assert "cut short" in self.cut(path, 0.5)

    @pytest.mark.parametrize("name", ["long.mkv", "long.webm", "long.flv"])
    def test_a_last_picture_may_stand_long(self, tmp_path: Path, name: str) -> None:
        codec = "libvpx" if name.endswith("webm") else "libx264"
        if not has_encoder(codec):
            pytest.skip(f"this FFmpeg has no encoder {codec}")
        source = write_video(tmp_path / f"short{Path(name).suffix}", codec=codec, options={"g": "10"})
        path = with_long_last_picture(source, tmp_path / name, 20)
        probed, *_ = probe(str(path))
        assert (probed.frames, probed.damage) == (30, "")
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 6 // 10] + bytes(len(data) - len(data) * 6 // 10))
        assert probe(str(path))[0].damage  # all its bytes, but not all of its pictures
        path.write_bytes(data)
        assert "cut" in self.cut(path, 0.6)


BLA, CRA, TRAIL_N = 16, 21, 0  # types of HEVC units
UNIT_DELIMITER, END_OF_SEQUENCE = b"\0\0\0\3\x46\1\x50", b"\0\0\0\2\x48\1"


def rewritten(source: Path, target: Path, change: Callable[[int, int, bytes], bytes]) -> Path:
    """Copy an HEVC video, every picture as ``change`` makes it of its type, the next one's, and its bytes."""
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        copy = write.add_stream_from_template(read.streams.video[0])
        packets = [packet for packet in read.demux(video=0) if packet.size]
        units = [picture_unit(bytes(packet)) for packet in packets]
        kinds = [bytes(packet)[at + 4] >> 1 & 63 for packet, at in zip(packets, units, strict=True)]
        for packet, at, kind, following in zip(packets, units, kinds, [*kinds[1:], CRA], strict=True):
            data = bytes(packet)
            changed = av.Packet(data[:at] + change(kind, following, data[at:]))
            changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
            changed.duration, changed.is_keyframe, changed.stream = packet.duration, packet.is_keyframe, copy
            write.mux(changed)
    return target


def picture_unit(data: bytes) -> int:
    """Where the unit of the picture begins, after parameter sets and messages."""
    at = 0
    while data[at + 4] >> 1 & 63 > CRA:
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    return at


def joined_at_every_keyframe(kind: int, _: int, data: bytes) -> bytes:
    return data[:4] + bytes([BLA << 1]) + data[5:] if kind == CRA else data


def ended_before_every_keyframe(_: int, following: int, data: bytes) -> bytes:
    return data + END_OF_SEQUENCE if following == CRA else data


def ended_after_every_picture(_: int, __: int, data: bytes) -> bytes:
    return data + END_OF_SEQUENCE


@pytest.fixture(scope="module")
def hevc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not has_encoder("libx265"):
        pytest.skip("this FFmpeg has no encoder libx265")
    params = "keyint=12:min-keyint=12:bframes=4:open-gop=1:log-level=none"
    return write_video(
        tmp_path_factory.mktemp("hevc") / "whole.mp4", frames=60, codec="libx265", options={"x265-params": params}
    )


class TestPicturesThatNeverCome:
    """The codec takes them and gives nothing, without a word; later pictures keep their numbers and times."""

    @pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
    def test_pictures_left_out_at_a_joint_are_not_counted(self, hevc: Path, tmp_path: Path, suffix: str) -> None:
        path = rewritten(hevc, tmp_path / f"joined.{suffix}", joined_at_every_keyframe)
        numbers, pts_s = self.same_from_every_start(path)
        assert 40 < len(numbers) < 60
        np.testing.assert_allclose(pts_s - pts_s[0], numbers / FPS, atol=1e-3)

    def test_a_sequence_that_ends_is_a_joint_too(self, hevc: Path, tmp_path: Path) -> None:
        path = rewritten(hevc, tmp_path / "ended.mp4", ended_before_every_keyframe)
        numbers, pts_s = self.same_from_every_start(path)
        dropped = numbers < np.round(pts_s * FPS)  # the keyframe after it throws away what was not shown yet
        assert 40 < len(numbers) < 60
        np.testing.assert_array_equal(numbers[dropped], numbers[np.flatnonzero(dropped) - 1])
        np.testing.assert_allclose(pts_s[~dropped], numbers[~dropped] / FPS, atol=1e-3)

    def same_from_every_start(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The numbers and times of all frames, after making sure that seeks give the same and probing knew it."""
        probed, ticks, time_base = probe(str(path))
        full = whole(path, stop=probed.frames, rgb_frames=np.arange(60))
        assert (probed.exact_pts, probed.damage) == (True, "")
        np.testing.assert_array_equal(seconds(ticks, time_base), full["pts_s"])
        for start in range(1, probed.frames, 3):
            stop = min(start + 3, probed.frames)
            part = whole(path, start=start, stop=stop, seek_pts=int(ticks[start]), rgb_frames=np.arange(60))
            assert_same(part, full)
        return np.array([number_of(grey) for grey in full["grey"]]), np.asarray(full["pts_s"], np.float64)

    def test_pictures_that_come_too_late_are_not_counted_twice(self, hevc: Path, tmp_path: Path) -> None:
        path = rewritten(hevc, tmp_path / "ended.mp4", ended_after_every_picture)  # each is shown when it is decoded
        batches, _ = until_it_breaks(path, stop=2 * 60)
        assert 40 < count(batches) <= 60
        assert (np.diff(joined(batches)["pts_s"].astype(float)) > 0).all()

    def test_the_frame_before_stands_for_a_picture_that_is_swallowed(self, hevc: Path, tmp_path: Path) -> None:
        kinds: list[int] = []

        def swallowed(kind: int, _: int, data: bytes) -> bytes:
            kinds.append(kind)
            return UNIT_DELIMITER if kind == TRAIL_N and kinds.count(kind) % 4 == 1 else data

        path = rewritten(hevc, tmp_path / "swallowed.mp4", swallowed)
        numbers, pts_s = self.same_from_every_start(path)
        missing = numbers != np.arange(60)
        assert missing.sum() == -(-kinds.count(TRAIL_N) // 4)
        np.testing.assert_allclose(pts_s, np.arange(60) / FPS, atol=1e-3)
        np.testing.assert_array_equal(numbers[missing], numbers[np.flatnonzero(missing) - 1])


def retimed(source: Path, target: Path, time_ms: Callable[[int], int]) -> Path:
    """Copy a video without B-frames, with other times."""
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        copy = write.add_stream_from_template(read.streams.video[0])
        for k, packet in enumerate(packet for packet in read.demux(video=0) if packet.size):
            packet.pts = packet.dts = time_ms(k)
            packet.time_base, packet.stream = Fraction(1, 1000), copy
            write.mux(packet)
    return target


class TestSharedTimes:
    @pytest.mark.parametrize("together", [2, 3, 10, 30])
    def test_frames_after_those_that_share_a_time_keep_theirs(self, tmp_path: Path, together: int) -> None:
        source = write_video(tmp_path / "plain.mkv", frames=60, options={"x264-params": "bframes=0"})
        path = retimed(source, tmp_path / "shared.mkv", lambda k: k // together * together * 80)
        probed, ticks, time_base = probe(str(path))
        full = whole(path, stop=60)
        assert (probed.frames, probed.exact_pts) == (60, False)
        np.testing.assert_array_equal(seconds(ticks, time_base), full["pts_s"])
        np.testing.assert_array_equal(ticks[::together], np.arange(0, 60, together) * 80)
        assert (np.diff(ticks) > 0).all()

    def test_a_clock_that_begins_anew_goes_on_at_the_rate_of_the_frames(self, tmp_path: Path) -> None:
        parts = [write_video(tmp_path / f"{k}.ts", frames=50, options={"g": "10", "bf": "0"}) for k in (1, 2)]
        path = tmp_path / "twice.ts"
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        _, ticks, time_base = probe(str(path))
        pts_s = seconds(ticks, time_base)
        np.testing.assert_array_equal(pts_s, whole(path, stop=100)["pts_s"])
        np.testing.assert_allclose(np.diff(pts_s), 1 / FPS, atol=1e-3)

    def test_a_time_far_ahead_of_its_neighbours_is_told_alike_by_probing_and_decoding(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "ahead.flv", codec="flv")
        data = bytearray(path.read_bytes())
        at, tags = int.from_bytes(data[5:9], "big") + 4, 0
        while tags < 12:
            at += 11 + int.from_bytes(data[at + 1 : at + 4], "big") + 4
            tags += data[at] == 9
        data[at + 7] = 1  # the high byte of the time, 4.6 hours
        path.write_bytes(data)
        probed, ticks, time_base = probe(str(path))
        assert (probed.frames, probed.exact_pts) == (30, False)
        np.testing.assert_array_equal(seconds(ticks, time_base), whole(path, stop=30)["pts_s"])
