"""Frames per second of ``workers.decode`` against ``cv2.VideoCapture``, one core each, on the same 720p file.

    python -m tests.benchmarks.bench_decode [VIDEO ...]             # real
    python -m tests.benchmarks.bench_decode --frames 9 --rounds 1   # small

Both sides decode every frame, scale it to short side 256 with antialiasing and make grey of it; this program makes
RGB too, of every 8th frame (what an extraction asks for) or of every frame (what OpenCV does anyhow). Outputs are
compared before anything is timed. Without a VIDEO a textured 720p H.264 file is made.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.videos import write_video
from workers.decode import decode, probe

SHORT_SIDE = 256
Frames = tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]


def textured_video(path: Path, *, frames: int) -> Path:
    """A 720p file of 2.5 Mbit/s, as the web serves it, in which two layers of soft noise move apart."""
    rng = np.random.default_rng(0)
    layers = [
        cv2.GaussianBlur(rng.normal(size=(900, 1700, channels)), (0, 0), sigma) for sigma, channels in ((2, 1), (12, 3))
    ]
    scaled = [layer.reshape(900, 1700, -1) / layer.std() * 35 for layer in layers]
    images = []
    for k in range(frames):
        near, far = scaled[0][k : k + 720, 2 * k : 2 * k + 1280], scaled[1][90:810, 400 - k : 1680 - k]
        images.append(np.clip(128 + near * (far > 0) + far, 0, 255).astype(np.uint8))
    return write_video(path, codec="libx264", options={"b": "2500000"}, images=images)


def ours(path: str, frames: int, every: int) -> Frames:
    """Grey of every frame and RGB of every so many."""
    windows = decode(
        path,
        start=0,
        stop=frames,
        seek_pts=None,
        rgb_frames=np.arange(0, frames, every),
        grey=True,
        short_side=SHORT_SIDE,
        upscale=False,
        window_frames=64,
    )
    batches = list(windows)
    return [grey for batch in batches for grey in batch.grey], [rgb for batch in batches for rgb in batch.rgb]


def opencv(path: str, frames: int, every: int) -> Frames:
    """The same by VideoCapture, INTER_AREA and BGR2GRAY."""
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    greys: list[NDArray[np.uint8]] = []
    pictures: list[NDArray[np.uint8]] = []
    for k in range(frames):
        found, image = capture.read()
        if not found:
            break
        height, width = image.shape[:2]
        scale = min(1.0, SHORT_SIDE / min(height, width))
        size = int(width * scale + 0.5), int(height * scale + 0.5)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        greys.append(np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), dtype=np.uint8))
        if k % every == 0:
            pictures.append(np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), dtype=np.uint8))
    return greys, pictures


def check(mine: Frames, theirs: Frames) -> None:
    """Fail unless both sides give the same frames up to rounding."""
    for name, ours_, theirs_ in zip(("grey", "RGB"), mine, theirs, strict=True):
        if len(ours_) != len(theirs_):
            raise SystemExit(f"{name}: {len(ours_)} frames here, {len(theirs_)} by OpenCV")
        apart = max(float(np.abs(a.astype(int) - b).mean()) for a, b in zip(ours_, theirs_, strict=True))
        if apart > 2.0:
            raise SystemExit(f"{name}: the outputs are {apart:.2f} grey levels apart on average")
        print(f"  {name}: {len(ours_)} frames, at most {apart:.2f} levels apart on average")


def fastest_s(work: Callable[[], Frames], rounds: int) -> float:
    """Seconds of the fastest round."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def compare(path: str, rounds: int) -> None:
    """Check, time and print one file."""
    probed, *_ = probe(path)
    print(f"{path}: {probed.codec} {probed.width}x{probed.height}, {probed.frames} frames")
    for every in (8, 1):
        check(ours(path, probed.frames, every), opencv(path, probed.frames, every))
        theirs_s = fastest_s(lambda every=every: opencv(path, probed.frames, every), rounds)
        ours_s = fastest_s(lambda every=every: ours(path, probed.frames, every), rounds)
        print(
            f"  RGB of every {every}: {probed.frames / ours_s:.0f} frames/s, OpenCV {probed.frames / theirs_s:.0f} "
            f"frames/s: {theirs_s / ours_s:.2f} times as fast",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare on the given files, or on one made for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", metavar="VIDEO")
    parser.add_argument("--frames", type=int, default=120, help="of the file made without a VIDEO")
    parser.add_argument("--rounds", type=int, default=3, help="the fastest of so many counts")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "textured_720p.mp4"
        for path in options.videos or [str(textured_video(made, frames=options.frames))]:
            compare(path, options.rounds)


if __name__ == "__main__":
    main()
