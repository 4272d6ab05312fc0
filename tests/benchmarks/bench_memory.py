"""Peak memory of a worker against the length of the video.

    python -m tests.benchmarks.bench_memory --seconds 20 80 320        # real
    python -m tests.benchmarks.bench_memory --seconds 1 --size 64x48   # small

Films of rising length are encoded, and each is extracted in a process of its own. Flat means: the longest takes about
what the one before takes, of which it is many times the length (a few seconds do not even fill the batches).
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WORKER = """
import resource, sys
import vidu_pipe as vp
store = vp.extract(sys.argv[1], sys.argv[2], streams=[vp.Rgb(), vp.Flow(method="farneback")], inline=True, quiet=True)
assert not store.bad.failed and not store.bad.partial
print(sum(row["moments"] for row in store.table()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
PAN = 300  # px that the picture moves before it jumps back


def film(path: Path, seconds: int, width: int, height: int) -> None:
    """Write a film of noise that pans, at 25 fps."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (-(-height // 8), -(-(width + PAN) // 8)), dtype=np.uint8)
    picture = np.kron(coarse, np.ones((8, 8), np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(25 * seconds):
            x = index % PAN
            seen = np.repeat(picture[:height, x : x + width, None], 3, axis=2)
            frame = av.VideoFrame.from_ndarray(seen, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[5, 20, 80, 320])
    parser.add_argument("--size", default="1280x720", help="of the films, WIDTHxHEIGHT")
    options = parser.parse_args(arguments)
    width, height = map(int, options.size.split("x"))
    peaks = []
    print(f"{'film':>8} {'moments':>8} {'peak':>10}")
    for seconds in options.seconds:
        with tempfile.TemporaryDirectory() as folder:
            film(Path(folder, "film.mp4"), seconds, width, height)
            output = subprocess.run(
                [sys.executable, "-c", WORKER, f"{folder}/film.mp4", f"{folder}/store"],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        rows, peak_kib = map(int, output.split()[-2:])
        assert rows == -(-25 * seconds // 8), "a moment every 8 frames"
        peaks.append(peak_kib / 1024)
        print(f"{seconds:>6} s {rows:>8} {peaks[-1]:>6.0f} MiB", flush=True)
    for shorter, longer in itertools.pairwise(range(len(peaks))):
        print(
            f"{options.seconds[longer]} s over {options.seconds[shorter]} s: {peaks[longer] / peaks[shorter]:.3f} in "
            f"memory at {options.seconds[longer] / options.seconds[shorter]:.0f} times the length"
        )


if __name__ == "__main__":
    main()
