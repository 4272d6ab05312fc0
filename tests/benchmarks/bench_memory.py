"""Peak memory of a worker against the length of the video: `python -m tests.benchmarks.bench_memory`.

Films of rising length are encoded, and each is extracted in a process of its own. Flat means: the longest takes about
what the second takes, of which it is many times the length (the first one's batches are not even full).
"""

import argparse
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WORKER = """
import resource, sys
from pathlib import Path
from pipeline.extract import Job, extract
from pipeline.find import find_videos
from pipeline.prepare import prepare
from schemas.config import ExtractSettings
from schemas.streams import Flow, Rgb
settings, weights = prepare(ExtractSettings(streams=(Rgb(), Flow(method="farneback"))))
job = Job(videos=find_videos(sys.argv[1]), settings=settings, weights=weights, out=Path(sys.argv[2]), inline=True,
          quiet=True)
summary = extract(job)
assert not summary.failed and not summary.partial
print(sum(r.rows for r in summary.made), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def film(path: Path, seconds: int) -> None:
    """Write a film of noise that pans, at 25 fps and 1280x720."""
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 255, (120, 200), dtype=np.uint8), np.ones((8, 8), np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for index in range(25 * seconds):
            x = index % 300
            frame = av.VideoFrame.from_ndarray(np.repeat(picture[:720, x:x + 1280, None], 3, axis=2), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, nargs="+", default=[5, 20, 80, 320])
    peaks = []
    print(f"{'film':>8} {'moments':>8} {'peak':>10}")
    for seconds in parser.parse_args().seconds:
        with tempfile.TemporaryDirectory() as folder:
            film(Path(folder, "film.mp4"), seconds)
            output = subprocess.run([sys.executable, "-c", WORKER, f"{folder}/film.mp4", f"{folder}/store"], check=True,
                                    capture_output=True, text=True).stdout
        rows, peak_kib = map(int, output.split()[-2:])
        assert rows == -(-25 * seconds // 8), "a moment every 8 frames"
        peaks.append(peak_kib / 1024)
        print(f"{seconds:>6} s {rows:>8} {peaks[-1]:>6.0f} MiB")
    print(f"longest over second: {peaks[-1] / peaks[1]:.3f} in memory at "
          f"{parser.parse_args().seconds[-1] / parser.parse_args().seconds[1]:.0f} times the length")


if __name__ == "__main__":
    main()
