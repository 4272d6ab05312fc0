"""Frames come out right, whole, in order and in time, from every codec, container and start."""

import errno
import gc
import os
import pickle
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.errors import (
    EmptyVideoError,
    InputError,
    MachineError,
    VideoDecodeError,
    VideoOpenError,
    VideoTooLargeError,
)
from schemas.frames import FrameBatch
from schemas.plan import Probe
from tests.videos import has_encoder, number_of, numbered_image, write_video
from workers.decode import decode, entries, output_size, probe, seconds
from workers.decode import video as video_module
from workers.decode import windows as decode_module
from workers.fingerprint import fingerprint

probe_module = sys.modules["workers.decode.probe"]  # the package gives its name to the function
FRAMES = 40


@dataclass(frozen=True)
class Make:
    """How one test file is written, and whether a seek in it is expected to hold."""

    codec: str
    options: Mapping[str, str] = field(default_factory=dict)
    pix_fmt: str = "yuv420p"
    width: int = 96
    height: int = 72
    seekable: bool = True


X264 = {"x264-params": "keyint=12:min-keyint=12:bframes=3:scenecut=0"}
X264_OPEN = {"x264-params": "keyint=12:min-keyint=12:bframes=3:scenecut=0:open-gop=1:ref=4:direct=temporal"}
X265_OPEN = {"x265-params": "keyint=12:min-keyint=12:bframes=4:open-gop=1:log-level=none"}
X265_RADL = {"x265-params": "keyint=12:min-keyint=12:bframes=4:open-gop=0:radl=2:log-level=none"}
VPX = {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "5"}
GOP_B = {"g": "12", "bf": "2"}
GOP = {"g": "12"}

MAKES = {
    "x264.mp4": Make("libx264", X264),
    "x264_open.mp4": Make("libx264", X264_OPEN),
    "x264_open.mkv": Make("libx264", X264_OPEN),
    "x264_open.ts": Make("libx264", X264_OPEN),
    "x264_refresh.mp4": Make("libx264", {"x264-params": "intra-refresh=1:keyint=12:bframes=0"}),
    "x264_interlaced.mp4": Make("libx264", {"x264-params": "keyint=12:bframes=3:interlaced=1"}),
    "x264_b.avi": Make("libx264", X264, seekable=False),
    "x264.mpg": Make("libx264", X264, seekable=False),
    "x264.h264": Make("libx264", X264, seekable=False),
    "x264.flv": Make("libx264", X264),
    "x265_open.mp4": Make("libx265", X265_OPEN),
    "x265_open.ts": Make("libx265", X265_OPEN),
    "x265_radl.mkv": Make("libx265", X265_RADL),
    "vp8.webm": Make("libvpx", VPX),
    "vp9.webm": Make("libvpx-vp9", VPX),
    "av1.mkv": Make("libsvtav1", {"g": "12", "preset": "12"}),
    "mpeg1.mpg": Make("mpeg1video", GOP_B),
    "mpeg2.ts": Make("mpeg2video", GOP_B),
    "mpeg2.mkv": Make("mpeg2video", GOP_B),
    "mpeg4.mp4": Make("mpeg4", GOP_B),
    "mpeg4_b.avi": Make("mpeg4", GOP_B, seekable=False),
    "mpeg4.avi": Make("mpeg4", GOP),
    "msmpeg4.avi": Make("msmpeg4", GOP),
    "wmv2.wmv": Make("wmv2", GOP),
    "flv1.flv": Make("flv", GOP),
    "mjpeg.avi": Make("mjpeg", pix_fmt="yuvj422p"),
    "ffv1.mkv": Make("ffv1", GOP),
    "prores.mov": Make("prores_ks", pix_fmt="yuv422p10le"),
    "raw.avi": Make("rawvideo", pix_fmt="bgr24"),
    "svq1.mov": Make("svq1", GOP, pix_fmt="yuv410p"),
    "animated.gif": Make("gif", pix_fmt="rgb8"),
}


@pytest.fixture(scope="session")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Every file of ``MAKES`` that this FFmpeg can write. x265 and SVT-AV1 print; the test run does not show it."""
    folder = tmp_path_factory.mktemp("numbered")
    os.environ["SVT_LOG"] = "0"
    yield {
        name: write_video(
            folder / name,
            frames=FRAMES,
            codec=make.codec,
            options=make.options,
            pix_fmt=make.pix_fmt,
            width=make.width,
            height=make.height,
        )
        for name, make in MAKES.items()
        if has_encoder(make.codec)
    }
    shutil.rmtree(folder)


@pytest.fixture(params=MAKES)
def made(request: pytest.FixtureRequest, numbered: dict[str, Path]) -> tuple[str, Path]:
    """One file of ``MAKES`` at a time."""
    name = str(request.param)
    if name not in numbered:
        pytest.skip(f"this FFmpeg has no encoder {MAKES[name].codec}")
    return name, numbered[name]


def windows(
    path: Path | str,
    *,
    start: int = 0,
    stop: int = FRAMES,
    seek_pts: int | None = None,
    rgb_frames: NDArray[np.int64] | None = None,
    grey: bool = True,
    short_side: int = 48,
    upscale: bool = False,
    window_frames: int = 16,
    threads: int = 1,
    hand_on: int | None = None,
) -> Iterator[FrameBatch]:
    return decode(
        str(path),
        start=start,
        stop=stop,
        seek_pts=seek_pts,
        rgb_frames=np.arange(0, stop, 3) if rgb_frames is None else rgb_frames,
        grey=grey,
        short_side=short_side,
        upscale=upscale,
        window_frames=window_frames,
        threads=threads,
        hand_on=hand_on,
    )


def joined(batches: list[FrameBatch]) -> dict[str, NDArray[np.generic]]:
    names = ("frame", "pts_s", "grey", "rgb_frame", "rgb")
    return {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in names}


def whole(path: Path | str, **options: object) -> dict[str, NDArray[np.generic]]:
    return joined(list(windows(path, **options)))  # type: ignore[arg-type]


def until_it_breaks(path: Path | str, **options: object) -> tuple[list[FrameBatch], InputError | None]:
    batches: list[FrameBatch] = []
    try:
        batches.extend(windows(path, **options))  # type: ignore[arg-type]
    except InputError as error:
        return batches, error
    return batches, None


def count(batches: list[FrameBatch]) -> int:
    return sum(len(batch.frame) for batch in batches)


def assert_same(part: dict[str, NDArray[np.generic]], full: dict[str, NDArray[np.generic]]) -> None:
    first, stop = int(part["frame"][0]), int(part["frame"][-1]) + 1
    for name in ("frame", "pts_s", "grey"):
        np.testing.assert_array_equal(part[name], full[name][first:stop])
    wanted = np.isin(full["rgb_frame"], part["frame"])
    np.testing.assert_array_equal(part["rgb_frame"], full["rgb_frame"][wanted])
    np.testing.assert_array_equal(part["rgb"], full["rgb"][wanted])


class TestEveryCodec:
    def test_frame_k_shows_the_number_k(self, made: tuple[str, Path]) -> None:
        full = whole(made[1])
        assert [number_of(grey) for grey in full["grey"]] == list(range(FRAMES))
        assert [number_of(rgb) for rgb in full["rgb"]] == list(range(0, FRAMES, 3))

    def test_the_probed_times_are_those_of_the_decoded_frames(self, made: tuple[str, Path]) -> None:
        probed, ticks, time_base = probe(str(made[1]))
        full = whole(made[1])
        assert (probed.frames, probed.damage) == (FRAMES, "")
        assert ticks.dtype == np.int64
        np.testing.assert_array_equal(seconds(ticks, time_base), full["pts_s"])
        np.testing.assert_allclose(np.diff(full["pts_s"]), 1 / 25, atol=1.1e-3)
        assert probed.duration_s == pytest.approx(FRAMES / 25, abs=0.05)
        assert probed.exact_pts or not MAKES[made[0]].seekable

    def test_a_seek_gives_the_same_bits_from_every_start(
        self, made: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name, path = made
        entered = []
        sought = decode_module._sought

        def spy(*args: object) -> object:
            found = sought(*args)  # type: ignore[arg-type]
            entered.append(found is not None)
            return found

        monkeypatch.setattr(decode_module, "_sought", spy)
        full = whole(path)
        probed, ticks, _ = probe(str(path))
        for start in range(FRAMES):
            known = int(ticks[start]) if probed.exact_pts else None
            stop = min(start + 5, FRAMES)
            assert_same(whole(path, start=start, stop=stop, seek_pts=known, rgb_frames=np.arange(0, FRAMES, 3)), full)
        if probed.exact_pts and MAKES[name].codec not in ("svq1", "gif"):
            assert sum(entered) > FRAMES / 2  # else the seeks that fell back would have hidden the others

    def test_two_codec_threads_give_the_same_bits(self, made: tuple[str, Path]) -> None:
        assert_same(whole(made[1], threads=2), whole(made[1]))


class TestWindows:
    @given(start=st.integers(0, FRAMES - 1), length=st.integers(1, FRAMES), window=st.integers(1, FRAMES + 5))
    @settings(deadline=None, max_examples=25)
    def test_windows_of_any_size_tile_the_frames(
        self, numbered: dict[str, Path], start: int, length: int, window: int
    ) -> None:
        stop = min(start + length, FRAMES)
        wanted = np.array([start, start + 2, FRAMES + 7])
        batches = list(windows(numbered["mpeg4.mp4"], start=start, stop=stop, window_frames=window, rgb_frames=wanted))
        assert [len(batch.frame) for batch in batches[:-1]] == [window] * (len(batches) - 1)
        assert 1 <= len(batches[-1].frame) <= window
        joint = joined(batches)
        assert joint["frame"].tolist() == list(range(start, stop))
        assert [number_of(grey) for grey in joint["grey"]] == list(range(start, stop))
        assert joint["rgb_frame"].tolist() == [k for k in (start, start + 2) if k < stop]
        assert [number_of(rgb) for rgb in joint["rgb"]] == joint["rgb_frame"].tolist()

    def test_frames_nobody_wants_cost_no_array(self, numbered: dict[str, Path]) -> None:
        batch = next(windows(numbered["x264.mp4"], grey=False, rgb_frames=np.array([3])))
        assert batch.grey.shape == (0, 48, 64)
        assert batch.rgb.shape == (1, 48, 64, 3)
        assert batch.frame.tolist() == list(range(16))

    def test_windows_do_not_share_memory(self, numbered: dict[str, Path]) -> None:
        first, second = list(windows(numbered["x264.mp4"], stop=2, window_frames=1))
        assert not np.shares_memory(first.grey, second.grey)

    def test_two_runs_give_the_same_bits(self, numbered: dict[str, Path]) -> None:
        assert_same(whole(numbered["x265_open.mp4"]), whole(numbered["x265_open.mp4"]))

    def test_a_segment_goes_on_where_the_one_before_ended(
        self, numbered: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = numbered["x264.h264"]
        full, came = whole(path), list[int]()
        time = video_module.Clock.time
        monkeypatch.setattr(video_module.Clock, "time", lambda *of: came.append(1) or time(*of))
        open_files = len(list(Path("/proc/self/fd").iterdir()))
        cuts = [(0, 12, 9), (9, 12, 12), (12, 20, 25), (25, 26, 26), (26, FRAMES, None)]  # overlaps, neighbours, a gap
        for start, stop, hand_on in cuts:
            part = whole(path, start=start, stop=stop, hand_on=hand_on, rgb_frames=full["rgb_frame"])
            assert_same(part, full)
            assert len(part["frame"]) == stop - start
        assert len(came) == FRAMES
        whole(path, start=0, stop=12, hand_on=12)
        whole(numbered["mpeg4.mp4"], start=12, stop=20)  # another file: the one left open is closed
        assert_same(whole(path, start=12, stop=20, rgb_frames=full["rgb_frame"]), full)
        assert len(list(Path("/proc/self/fd").iterdir())) == open_files

    @pytest.mark.parametrize("name", ["svq1.mov", "x264_open.mkv", "mpeg4.avi"])
    def test_where_a_file_is_entered_is_known_beforehand(self, numbered: dict[str, Path], name: str) -> None:
        _, ticks, _ = probe(str(numbered[name]))
        with entries(str(numbered[name])) as entry:
            entered = [entry(int(tick)) for tick in ticks]
        if name == "svq1.mov":
            assert set(entered) == {None}
        else:
            assert all(key <= tick < key + 25 * ticks[1] for key, tick in zip(entered, ticks, strict=True))

    def test_a_wrong_seek_time_falls_back_to_the_beginning(self, numbered: dict[str, Path]) -> None:
        path = numbered["x264.mp4"]
        assert_same(whole(path, start=20, stop=25, seek_pts=123_456_789), whole(path))
        assert_same(whole(path, start=20, stop=25, seek_pts=7), whole(path))
        assert_same(whole(path, start=20, stop=25, seek_pts=-5), whole(path))


class TestTime:
    def test_variable_rate_and_start_are_kept(self, tmp_path: Path) -> None:
        pts = [500, 510, 530, 531, 600, 1000, 1001, 1500]
        path = write_video(
            tmp_path / "vfr.mkv", frames=8, pts=pts, time_base=Fraction(1, 1000), options={"x264-params": "bframes=0"}
        )
        probed, ticks, time_base = probe(str(path))
        assert probed.exact_pts
        np.testing.assert_allclose(seconds(ticks, time_base), np.array(pts) / 1000)
        np.testing.assert_array_equal(whole(path, stop=8)["pts_s"], seconds(ticks, time_base))

    def test_a_recording_that_starts_in_the_middle_counts_the_frames_that_decode(
        self, numbered: dict[str, Path], tmp_path: Path
    ) -> None:
        for name in ("x264_open.mkv", "x265_open.mp4", "mpeg2.mkv", "mpeg4.mp4"):
            for skip in (9, 12, 13, 15):
                path = tmp_path / f"{skip}_{name}"
                drop_packets(numbered[name], path, skip)
                probed, ticks, time_base = probe(str(path))
                full = whole(path, stop=probed.frames)
                numbers = [number_of(grey) for grey in full["grey"]]
                assert numbers == list(range(FRAMES - len(numbers), FRAMES))
                np.testing.assert_array_equal(seconds(ticks, time_base), full["pts_s"])
                part = whole(path, start=5, stop=9, seek_pts=int(ticks[5]) if probed.exact_pts else None)
                assert [number_of(grey) for grey in part["grey"]] == numbers[5:9]


def cut_avi(folder: Path) -> Path:
    """An AVI that ends in the middle."""
    path = write_video(folder / "cut.avi", frames=FRAMES, width=320, height=240, codec="mpeg4")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    return path


def drop_packets(source: Path, target: Path, count: int) -> None:
    """Copy a file without its first packets."""
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        stream = read.streams.video[0]
        copy = write.add_stream_from_template(stream)
        for index, packet in enumerate(packet for packet in read.demux(stream) if packet.size):
            if index >= count:
                packet.stream = copy
                write.mux(packet)


class TestPicture:
    @pytest.mark.parametrize(
        ("size", "short_side", "upscale", "out"),
        [
            ((1280, 720), 256, False, (455, 256)),
            ((720, 1280), 256, False, (256, 455)),
            ((340, 256), 256, False, (340, 256)),
            ((320, 240), 256, False, (320, 240)),
            ((320, 240), 256, True, (341, 256)),
            ((1, 1), 256, False, (1, 1)),
            ((1, 1), 4, True, (4, 4)),
            ((33, 17), 8, False, (16, 8)),
            ((256, 256), 256, True, (256, 256)),
        ],
    )
    def test_the_short_side_is_met_and_the_long_one_rounded(
        self, size: tuple[int, int], short_side: int, upscale: bool, out: tuple[int, int]
    ) -> None:
        assert output_size(*size, short_side=short_side, upscale=upscale) == out

    @pytest.mark.parametrize("rotation", [90, 180, 270])
    def test_the_display_matrix_is_applied(self, tmp_path: Path, rotation: int) -> None:
        image = np.zeros((64, 96, 3), np.uint8)
        image[:32, :48] = 220, 40, 40  # red where the stored picture has its top left
        path = write_video(tmp_path / "turned.mp4", images=[image] * 3, rotation=rotation)
        probed, *_ = probe(str(path))
        full = whole(path, stop=3, short_side=64)
        upright = np.rot90(image, rotation // 90)
        assert (probed.rotation, probed.width, probed.height) == (rotation, upright.shape[1], upright.shape[0])
        assert full["grey"].shape[1:] == upright.shape[:2]
        assert np.abs(full["rgb"][0].astype(int) - upright).mean() < 6

    @pytest.mark.parametrize(
        ("codec", "name", "pix_fmt"),
        [
            ("libx264", "a.mp4", "yuv422p"),
            ("libx264", "a.mp4", "yuv444p"),
            ("libx264", "a.mp4", "yuvj420p"),
            ("libx264", "a.mp4", "yuv420p10le"),
            ("libx264", "a.mp4", "gray"),
            ("ffv1", "a.mkv", "gray"),
            ("ffv1", "a.mkv", "bgra"),
            ("ffv1", "a.mkv", "yuv410p"),
            ("libx264rgb", "a.mp4", "bgr24"),
            ("png", "a.mov", "rgb24"),
            ("rawvideo", "a.avi", "yuyv422"),
        ],
    )
    def test_every_pixel_format_gives_the_colours_that_went_in(
        self, tmp_path: Path, codec: str, name: str, pix_fmt: str
    ) -> None:
        image = np.zeros((48, 64, 3), np.uint8)
        image[:, :32], image[:, 32:] = (200, 60, 90), (40, 120, 230)
        path = write_video(tmp_path / name, images=[image] * 2, codec=codec, pix_fmt=pix_fmt)
        full = whole(path, stop=2)
        luma = image @ np.array([0.299, 0.587, 0.114])
        expected = np.repeat(luma[..., None], 3, axis=2) if pix_fmt == "gray" else image
        assert np.abs(full["rgb"][0].astype(int) - expected).mean() < 4
        assert np.abs(full["grey"][0] - luma).mean() < 4

    @pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 2), (33, 17), (97, 71), (3, 50)])
    def test_odd_and_tiny_sizes_decode(self, tmp_path: Path, width: int, height: int) -> None:
        images = [np.full((height, width, 3), 50 + 60 * k, np.uint8) for k in range(3)]
        path = write_video(tmp_path / "odd.mp4", images=images, pix_fmt="yuv444p")
        full = whole(path, stop=3, short_side=256)
        assert full["grey"].shape == (3, height, width)
        assert np.abs(full["grey"].mean(axis=(1, 2)) - [50, 110, 170]).max() < 4
        assert whole(path, stop=3, short_side=8, upscale=True)["grey"].shape[1:].count(8) >= 1

    def test_pictures_larger_than_any_that_are_held_are_refused_before_the_first_is_made(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "long.mkv", images=[np.zeros((2, 4096, 3), np.uint8)] * 3, codec="ffv1")
        assert whole(path, stop=3, short_side=90, upscale=True)["grey"].shape == (3, 90, 184320)
        with pytest.raises(VideoTooLargeError, match="186368 x 91 px; at most 16,777,216"):
            next(windows(path, stop=3, short_side=91, upscale=True))

    @pytest.mark.parametrize("frames", [1, 2])
    def test_videos_of_one_and_two_frames_decode(self, tmp_path: Path, frames: int) -> None:
        path = write_video(tmp_path / "short.mp4", frames=frames)
        assert probe(str(path))[0].frames == frames
        assert [number_of(grey) for grey in whole(path, stop=frames)["grey"]] == list(range(frames))

    def test_interlaced_frames_lose_their_combs(self, tmp_path: Path) -> None:
        image = np.full((96, 96, 3), 40, np.uint8)
        image[1::2] = 200  # the two fields were seen at different moments
        path = write_video(tmp_path / "fields.mp4", images=[image] * 3, options={"x264-params": "interlaced=1:qp=1"})
        assert probe(str(path))[0].interlaced
        grey = whole(path, stop=3, short_side=96)["grey"]
        assert np.abs(grey.astype(int) - 40).max() < 8

    def test_a_size_that_changes_on_the_way_keeps_the_first(self, tmp_path: Path) -> None:
        parts = [
            write_video(tmp_path / f"{width}.h264", frames=10, width=width, height=width * 3 // 4).read_bytes()
            for width in (96, 128)
        ]
        path = tmp_path / "sizes.h264"
        path.write_bytes(b"".join(parts))
        full = whole(path, stop=20)
        assert full["grey"].shape == (20, 48, 64)
        assert [number_of(grey) for grey in full["grey"]] == 2 * list(range(10))


class TestRejected:
    def test_what_is_no_video_says_so(self, tmp_path: Path) -> None:
        sound = tmp_path / "sound.mp4"
        with av.open(str(sound), "w") as container:
            stream = container.add_stream("aac", rate=16000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        text = tmp_path / "text.mp4"
        text.write_text("no video at all\n" * 40)
        prose = tmp_path / "prose.txt"
        prose.write_text("no video at all\n" * 40)
        empty = tmp_path / "empty.mp4"
        empty.touch()
        with pytest.raises(VideoOpenError, match="no video stream, only audio"):
            probe(str(sound))
        for path in (sound, text, prose, empty, tmp_path, tmp_path / "missing.mp4"):
            with pytest.raises(VideoOpenError, match=path.name):
                probe(str(path))
            with pytest.raises(VideoOpenError, match=path.name):
                next(windows(path))

    @pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tiff", "gif", "ico"])
    def test_an_image_is_not_a_video(self, tmp_path: Path, suffix: str) -> None:
        image = pytest.importorskip("PIL.Image", reason="Pillow writes the images")
        path = tmp_path / f"still.{suffix}"
        image.fromarray(numbered_image(5, 64, 48)).save(path)
        with pytest.raises(VideoOpenError, match="image"):
            probe(str(path))

    def test_cover_art_of_a_song_is_not_a_video(self, tmp_path: Path) -> None:
        path = tmp_path / "song.mp4"
        with av.open(str(path), "w") as container:
            song = container.add_stream("aac", rate=16000)
            cover = container.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate = 16000
            container.mux(song.encode(sound))
            picture = av.VideoFrame.from_ndarray(numbered_image(1, 64, 48), format="rgb24")
            container.mux(cover.encode(picture.reformat(format="yuvj420p")))
            container.mux(cover.encode(None))
            container.mux(song.encode(None))
        with pytest.raises(VideoOpenError, match="no video stream"):
            probe(str(path))

    def test_names_with_colons_spaces_and_percents_open(self, tmp_path: Path) -> None:
        source = write_video(tmp_path / "plain.mp4", frames=3)
        for name in ("http:odd.mp4", "per%03dcent.mp4", "späce and 'quote'.mp4", "-dash.mp4"):
            path = tmp_path / name
            path.write_bytes(source.read_bytes())
            assert probe(str(path))[0].frames == 3

    def test_errors_pickle(self) -> None:
        with pytest.raises(VideoOpenError) as caught:
            probe("/nowhere/at/all.mp4")
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    def test_ffmpeg_prints_nothing(
        self, numbered: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        data = bytearray(numbered["x264.mp4"].read_bytes())
        data[len(data) // 3 : len(data) // 2] = os.urandom(len(data) // 2 - len(data) // 3)
        path = tmp_path / "noise.mp4"
        path.write_bytes(data)
        until_it_breaks(path)
        assert capfd.readouterr() == ("", "")


class TestDamage:
    @pytest.mark.parametrize("name", ["mpeg4.avi", "x264_open.mkv", "mpeg4_b.avi", "vp9.webm", "mpeg2.mkv", "flv1.flv"])
    def test_frames_before_a_cut_are_those_of_the_whole_file_and_the_cut_is_told(
        self, numbered: dict[str, Path], tmp_path: Path, name: str
    ) -> None:
        if name not in numbered:
            pytest.skip("encoder missing")
        full = whole(numbered[name])["grey"]
        data = numbered[name].read_bytes()
        path = tmp_path / name
        told = 0
        for cut in np.linspace(1, len(data) - 1, 25).astype(int):
            path.write_bytes(data[:cut])
            try:
                probed, *_ = probe(str(path))
            except InputError:
                until_it_breaks(path)
                continue
            batches, error = until_it_breaks(path)
            grey = np.concatenate([batch.grey for batch in batches]) if batches else full[:0]
            # The very last picture may be cut itself; its missing part is concealed.
            np.testing.assert_array_equal(grey[:-1], full[: max(0, len(grey) - 1)])
            if len(grey) < FRAMES - 8:
                told += 1
                assert probed.damage
                assert probed.frames < FRAMES
                assert error is not None
        assert told > 5

    def test_a_file_cut_in_the_middle_names_planned_and_decoded_frames(self, tmp_path: Path) -> None:
        path = cut_avi(tmp_path)
        batches, error = until_it_breaks(path)
        assert isinstance(error, VideoDecodeError)
        for part in (str(path), f"{FRAMES} frames", f"{count(batches)} decode"):
            assert part in str(error)

    def test_one_or_two_frames_less_than_planned_are_harmless(self, numbered: dict[str, Path]) -> None:
        for name in ("x264.mp4", "mpeg4.avi"):
            assert count(list(windows(numbered[name], stop=FRAMES + 2))) == FRAMES
            batches, error = until_it_breaks(numbered[name], stop=FRAMES + 3)
            assert count(batches) == FRAMES
            assert isinstance(error, VideoDecodeError)

    @pytest.mark.parametrize(
        "name", ["x264.mp4", "x264_open.ts", "mpeg4.avi", "vp9.webm", "mpeg2.mkv", "x265_open.mp4"]
    )
    def test_rubbish_in_a_file_never_escapes_untyped(
        self, numbered: dict[str, Path], tmp_path: Path, name: str
    ) -> None:
        if name not in numbered:
            pytest.skip("encoder missing")
        original = numbered[name].read_bytes()
        path = tmp_path / name
        for seed in range(25):
            rng = np.random.default_rng(seed)
            data = bytearray(original)
            for at in rng.integers(0, len(data), 1 + seed):
                data[at] = rng.integers(256)
            if seed % 3 == 0:
                at = int(rng.integers(0, len(data) - 200))
                data[at : at + 200] = bytes(200)
            path.write_bytes(data)
            batches, _ = until_it_breaks(path)
            assert count(batches) <= FRAMES
            try:
                probed, ticks, _ = probe(str(path))
            except InputError:
                continue
            if probed.exact_pts and probed.frames > 20:
                until_it_breaks(path, start=20, stop=probed.frames, seek_pts=int(ticks[20]))

    def test_a_file_of_no_packets_holds_no_pictures(self, tmp_path: Path) -> None:
        path = tmp_path / "hollow.avi"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height = 64, 48
            container.start_encoding()
        with pytest.raises(EmptyVideoError, match=r"hollow\.avi: holds no pictures\."):
            probe(str(path))

    def test_a_file_without_a_frame_is_empty(self, numbered: dict[str, Path], tmp_path: Path) -> None:
        path = tmp_path / "hollow.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height = 64, 48
            container.start_encoding()
        for reader in (lambda: probe(str(path)), lambda: next(windows(path))):
            with pytest.raises(InputError):
                reader()
        rubbish = tmp_path / "rubbish.mp4"
        data = bytearray(numbered["x264.mp4"].read_bytes())
        body = data.index(b"mdat") + 4
        data[body : body + 3000] = bytes(3000)
        rubbish.write_bytes(data[:])
        batches, error = until_it_breaks(rubbish)
        assert isinstance(error, EmptyVideoError | VideoDecodeError) or count(batches) < FRAMES


Fault = tuple[Any, ...]  # an error's class and its arguments: an error made once would keep the frames it passed


def once(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, error: Fault, *, call: int = 1, times: int = 1
) -> None:
    """Make a function raise at its ``call``-th call, and at ``times`` calls in all."""
    function, calls = getattr(owner, name), 0

    def failing(*args: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if call <= calls < call + times:
            raise error[0](*error[1:])
        return function(*args, **options)

    monkeypatch.setattr(owner, name, failing)


class TestMachine:
    """What the machine does to a good file is never said of the file."""

    @pytest.mark.parametrize(
        ("owner", "name", "call"),
        [
            (video_module.av, "open", 1),
            (video_module.Decoder, "send", 1),
            (video_module.Decoder, "send", 25),
            (video_module.Decoder, "flush", 1),
            (video_module.Clock, "sent", 30),
            (decode_module.Picture, "grey", 20),
            (decode_module.Picture, "rgb", 3),
        ],
    )
    @pytest.mark.parametrize(
        "error",
        [
            (MemoryError,),
            (OSError, errno.EIO, "Input/output error"),
            (av.error.MemoryError, errno.ENOMEM, "Cannot allocate memory"),
            (av.error.OSError, errno.EIO, "Input/output error"),
            (av.error.InvalidDataError, 1, "Invalid data found"),
        ],
    )
    def test_a_fault_that_comes_once_is_the_machines(
        self,
        numbered: dict[str, Path],
        monkeypatch: pytest.MonkeyPatch,
        owner: object,
        name: str,
        call: int,
        error: Fault,
    ) -> None:
        once(monkeypatch, owner, name, error, call=call)
        with pytest.raises(MachineError, match=r"mpeg4\.mp4"):
            list(windows(numbered["mpeg4.mp4"]))
        assert count(list(windows(numbered["mpeg4.mp4"]))) == FRAMES

    def test_a_first_packet_is_not_dropped_for_lack_of_memory(
        self, numbered: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with av.open(str(numbered["mpeg4.mp4"])) as container:
            decoder = video_module.Decoder(container.streams.video[0])
            packet = next(container.demux(video=0))
            monkeypatch.setattr(decoder, "_stream", FailingStream(container.streams.video[0]))
            with pytest.raises(MemoryError):
                decoder.send(packet)

    @pytest.mark.parametrize("name", ["mpeg4.mp4", "x264.h264"])
    @pytest.mark.parametrize("error", [(MemoryError,), (av.error.OSError, errno.EIO, "Input/output error")])
    def test_a_probe_that_meets_one_raises(
        self, numbered: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str, error: Fault
    ) -> None:
        once(monkeypatch, probe_module, "_take", error, call=20)
        with pytest.raises(MachineError, match=re.escape(name)):
            probe(str(numbered[name]))
        assert probe(str(numbered[name]))[0].damage == ""

    def test_memory_that_stays_short_is_the_machines_too(
        self, numbered: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        once(monkeypatch, decode_module.Picture, "grey", (MemoryError,), call=20, times=10**6)
        with pytest.raises(MachineError):
            list(windows(numbered["mpeg4.mp4"]))

    def test_a_disk_that_can_not_be_read_is_not_a_file_that_ends(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = cut_avi(tmp_path)
        list(windows(path, stop=10))
        monkeypatch.setattr(Path, "open", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EIO, "bad sector")))
        with pytest.raises(MachineError, match="bad sector"):
            until_it_breaks(path)
        with pytest.raises(MachineError, match="bad sector"):
            fingerprint(str(path))

    def test_what_is_wrong_twice_is_the_files(self, tmp_path: Path) -> None:
        _, error = until_it_breaks(cut_avi(tmp_path))
        assert isinstance(error, VideoDecodeError)


class FailingStream:
    """A stream whose codec has no memory."""

    def __init__(self, stream: object) -> None:
        self.codec_context = stream.codec_context  # type: ignore[attr-defined]

    def decode(self, packet: object) -> None:
        raise av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory")


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class TestResources:
    def test_files_are_closed_however_the_reading_ends(self, numbered: dict[str, Path], tmp_path: Path) -> None:
        cut = cut_avi(tmp_path)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            reader = windows(numbered["mpeg4.mp4"])
            next(reader)
            reader.close()  # type: ignore[attr-defined]
            list(windows(numbered["mpeg4.mp4"], start=30, seek_pts=30 * 512))
            until_it_breaks(cut)
            probe(str(cut))
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    def test_no_frame_outlives_its_reading(self, numbered: dict[str, Path]) -> None:
        gc.collect()
        path = next(iter(numbered.values()))
        probe(str(path))
        list(windows(path))
        assert [thing for thing in gc.get_objects() if type(thing) is av.VideoFrame] == []

    def test_no_frame_outlives_its_turn(self, tmp_path: Path) -> None:
        few = [numbered_image(k, 640, 480) for k in range(5)]
        path = write_video(tmp_path / "long.avi", images=few * 60, codec="mpeg4")
        gc.collect()
        gc.disable()  # frames caught in reference cycles would wait for a collection
        try:
            before, most = resident_mib(), 0.0
            for _ in windows(path, stop=300, window_frames=10):
                most = max(most, resident_mib())
        finally:
            gc.enable()
        assert most - before < 40  # all frames together are 130

    def test_memory_does_not_grow_over_a_thousand_decodes(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "small.avi", frames=8, width=320, height=240, codec="mpeg4")

        def repeat(times: int) -> None:
            for _ in range(times):
                list(windows(path, stop=8))
                probe(str(path))

        repeat(200)
        before = resident_mib()
        repeat(1000)
        assert resident_mib() - before < 16


def reference(path: Path, width: int, height: int) -> NDArray[np.float64]:
    """First frame: full-size RGB by swscale's best chroma, then area averaged by hand."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        flags = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        full = frame.to_ndarray(format="rgb24", interpolation=flags).astype(np.float64)
    return averaged(averaged(full, height).swapaxes(0, 1), width).swapaxes(0, 1)


def averaged(rows: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Area average along the first axis."""
    edges = np.linspace(0, len(rows), count + 1)
    total = np.concatenate([np.zeros_like(rows[:1]), np.cumsum(rows, axis=0)])
    low = np.minimum(edges.astype(int), len(rows) - 1)
    sums = total[low] + (edges - low)[:, None, None] * rows[low]
    return np.diff(sums, axis=0) / (len(rows) / count)


# What every odd file among the clips deserves: "whole", "damaged" (frames decoded), "open" or "empty".
ODD_CLIPS: dict[str, tuple[str, int]] = {
    "decord/corrupted.mp4": ("breaks", 28),
    "derived/demo_faststart_truncated_60pct.mp4": ("breaks", 165),
    "derived/v_BaseballPitch_truncated_50pct.avi": ("cut", 49),
    "derived/demo_truncated_70pct.mp4": ("open", 0),
    "derived/nasa_truncated_60pct.mp4": ("open", 0),
    "derived/not_a_video.mp4": ("open", 0),
    "derived/zero_length.mp4": ("open", 0),
    "io/gs-16b-2c-44100hz.mp4": ("open", 0),
    "small/FlashVideo.flv": ("open", 0),
    "small/Mpeg4.mp4": ("open", 0),
    "small/mp4-with-audio.mp4": ("open", 0),
    "small/AudioVideoInterleave.avi": ("empty", 0),
    "small/WindowsMediaVideo.wmv": ("empty", 0),
}


def clips(shared_data: Path) -> dict[str, int]:
    """Every clip with the number of frames that the manifest says decode."""
    rows = [line.split("\t") for line in (shared_data / "MANIFEST.tsv").read_text().splitlines()]
    column = {name: index for index, name in enumerate(rows[0])}
    return {
        row[0].removeprefix("clips/"): int(row[column["frames_pyav"]] or 0)
        for row in rows[1:]
        if row[0].startswith("clips/")
    }


class TestRealClips:
    def test_every_clip_has_the_outcome_that_it_deserves(self, shared_data: Path) -> None:
        wrong = {}
        for name, frames in clips(shared_data).items():
            path = shared_data / "clips" / name
            kind, decoded = ODD_CLIPS.get(name, ("whole", frames))
            got = outcome(path)
            if got != (kind, decoded):
                wrong[name] = got, (kind, decoded)
        assert not wrong

    def test_decoding_and_demuxing_agree_on_every_clip(self, shared_data: Path) -> None:
        for name, frames in clips(shared_data).items():
            if name in ODD_CLIPS:
                continue
            path = shared_data / "clips" / name
            probed, ticks, time_base = probe(str(path))
            full = whole(path, stop=frames, short_side=32)
            np.testing.assert_array_equal(seconds(ticks, time_base), full["pts_s"], err_msg=name)
            for start in {frames // 3, frames // 2, frames - 1} - {0}:
                known = int(ticks[start]) if probed.exact_pts else None
                stop = min(start + 4, frames)
                assert_same(whole(path, start=start, stop=stop, seek_pts=known, short_side=32), full)

    @pytest.mark.parametrize(
        "name",
        [
            "C3D/v_BaseballPitch_g01_c01.avi",
            "decord/flipping_a_pancake.mkv",
            "derived/baseball_interlaced.mpg",
            "derived/demo_vfr.mkv",
            "opencv_extra/big_buck_bunny.wmv",
            "torchcodec/discard_first_keyframe.mp4",
            "torchcodec/h265_video.mp4",
            "torchcodec/testsrc2_vp8.webm",
        ],
    )
    def test_the_frames_are_those_of_plain_decoding_wherever_one_begins(self, shared_data: Path, name: str) -> None:
        path = shared_data / "clips" / name
        with av.open(str(path)) as container:
            plain = [frame.pts for frame in container.decode(video=0)]
        _, ticks, time_base = probe(str(path))
        full = whole(path, stop=len(plain), short_side=32)
        assert ticks.tolist() == plain
        np.testing.assert_array_equal(seconds(ticks, time_base), full["pts_s"])
        for start in np.random.default_rng(0).integers(1, len(plain), 8).tolist():
            stop = min(start + 3, len(plain))
            assert_same(whole(path, start=start, stop=stop, seek_pts=int(ticks[start]), short_side=32), full)

    def test_headers_that_promise_two_frames_too_many_are_not_damage(self, shared_data: Path) -> None:
        for path in sorted((shared_data / "actions" / "ut_interaction").rglob("*.avi"))[::12]:
            probed, *_ = probe(str(path))
            assert probed.promised_frames - probed.frames == 2
            assert not probed.damage
            assert len(whole(path, stop=probed.frames, short_side=32)["frame"]) == probed.frames

    @pytest.mark.parametrize(
        "name",
        [
            "torchcodec/bt709_full_range.mp4",
            "torchcodec/h264_10bits.mp4",
            "torchcodec/testsrc2_vp8.webm",
            "torchcodec/av1_video.mkv",
            "mmaction2/demo.mp4",
            "opencv_extra/huffyuv.avi",
            "flowty/rubber-whale.mp4",
        ],
    )
    def test_scaled_colours_and_grey_agree_with_an_area_average(self, shared_data: Path, name: str) -> None:
        path = shared_data / "clips" / name
        full = whole(path, stop=1, short_side=96)
        height, width = full["grey"].shape[1:]
        expected = reference(path, width, height)
        assert np.abs(full["rgb"][0] - expected).mean() < 1.5
        assert np.abs(full["grey"][0] - expected @ np.array([0.299, 0.587, 0.114])).mean() < 1.0

    def test_rotated_clips_stand_upright(self, shared_data: Path) -> None:
        for name, rotation, size in (
            ("torchcodec/nasa_13013_rotated.mp4", 90, (270, 480)),
            ("decord/video_90.mov", 270, (320, 568)),
            ("moviepy/fire2.mp4", 180, (1280, 720)),
        ):
            probed, *_ = probe(str(shared_data / "clips" / name))
            assert (probed.rotation, (probed.width, probed.height)) == (rotation, size)


def outcome(path: Path) -> tuple[str, int]:
    """Probe and decode as an extraction would."""
    try:
        probed, *_ = probe(str(path))
    except VideoOpenError:
        return "open", 0
    except EmptyVideoError:
        return "empty", 0
    batches, error = until_it_breaks(path, stop=probed.frames, grey=False, rgb_frames=np.arange(0))
    decoded = count(batches)
    assert isinstance(probed, Probe)
    assert [batch.frame[0] for batch in batches] == list(range(0, decoded, 16))
    if error is not None:
        assert isinstance(error, VideoDecodeError)
        return "breaks", decoded
    assert decoded == probed.frames
    return ("cut" if probed.damage else "whole"), decoded
