"""Files that are whole but odd: dropped frames, edit lists, pictures that stand long, are never shown, share a time."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.videos import number_of, numbered_image
from tests.workers.test_decode import assert_same, whole
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
