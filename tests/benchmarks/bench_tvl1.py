"""TV-L1 against OpenCV's on one core: error on pairs with ground truth, ratio of speeds in one run, speed on real
video.

    python -m tests.benchmarks.bench_tvl1 ../shared/data                       # real
    python -m tests.benchmarks.bench_tvl1 --pairs 1 --size 64x48 --repeats 1   # small

Needs a folder of real data: Middlebury's pairs in `flow/middlebury`, a film in `clips/mmaction2`. Prints markdown.
Everything runs on one thread; outputs are checked before anything is timed.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.flow.tvl1.method import TVL1Flow
from workers.flow.tvl1.parameters import PRESETS
from workers.flow.tvl1.pyramid import level_sizes

Array = NDArray[np.float32]
Grey = NDArray[np.uint8]

PAIRS = ("Grove2", "Hydrangea", "RubberWhale", "Urban3")
_UNKNOWN = 1e9


def read_flo(path: Path) -> Array:
    """A Middlebury .flo file as (2, H, W)."""
    raw = path.read_bytes()
    width, height = np.frombuffer(raw, np.int32, 2, 4)
    return np.frombuffer(raw, np.float32, 2 * width * height, 12).reshape(height, width, 2).transpose(2, 0, 1)


def read_pairs(data: Path) -> dict[str, tuple[Grey, Array]]:
    """Frames (2, H, W) and true flow (2, H, W) by name."""
    folder = data / "flow" / "middlebury"
    pairs = {}
    for name in PAIRS:
        frames = [cv2.imread(str(folder / name / f"frame1{k}.png"), cv2.IMREAD_GRAYSCALE) for k in (0, 1)]
        pairs[name] = (np.stack(frames), read_flo(folder / name / "flow10.flo"))
    return pairs


def middle(pair: tuple[Grey, Array], width: int, height: int) -> tuple[Grey, Array]:
    """The middle of a pair and of its truth."""
    top, left = ((have - want) // 2 for have, want in zip(pair[0].shape[1:], (height, width), strict=True))
    frames, truth = (array[:, top : top + height, left : left + width] for array in pair)
    return np.ascontiguousarray(frames), truth


def read_clip(path: Path, *, count: int, width: int, height: int) -> Grey:
    """The first `count` frames of a video, resized to (count, height, width)."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while len(frames) < count:
        more, frame = capture.read()
        if not more:
            break
        frames.append(
            cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (width, height), interpolation=cv2.INTER_AREA)
        )
    return np.stack(frames)


def endpoint_error(flow: Array, truth: Array) -> float:
    """Mean endpoint error in px over the pixels whose truth is known."""
    known = (np.abs(truth) < _UNKNOWN).all(axis=0)
    return float(np.hypot(*(flow - truth))[known].mean())


def seconds(call: Callable[[], object], repeats: int) -> float:
    """The shortest of several runs, in CPU time of this process, which other users of the machine disturb least."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def pixel_iterations(method: TVL1Flow, height: int, width: int) -> int:
    """Primal-dual steps times pixels that one pair takes."""
    p = method.parameters
    return p.warps * p.iterations * sum(h * w for h, w in level_sizes(height, width, p.scale_step, p.smallest_px))


def opencv_flow(frames: Grey) -> Array:
    """OpenCV's DualTVL1 with its defaults, as (2, H, W)."""
    flow = cv2.optflow.DualTVL1OpticalFlow_create().calc(frames[0], frames[1], None)
    return np.ascontiguousarray(flow.transpose(2, 0, 1))


def print_accuracy(pairs: dict[str, tuple[Grey, Array]], repeats: int) -> None:
    """The table of errors and of speed against OpenCV's defaults."""
    print(f"| method | {' | '.join(pairs)} | mean AEE, px | ms/pair | times OpenCV | M pixel-iterations/s |")
    print("|---|" + "---|" * (len(pairs) + 4))
    errors = [endpoint_error(opencv_flow(frames), truth) for frames, truth in pairs.values()]
    slow = float(np.mean([seconds(lambda f=frames: opencv_flow(f), 1) for frames, _ in pairs.values()]))
    _print_row("OpenCV DualTVL1, defaults", errors, slow, slow, "")
    for preset in PRESETS:
        method = TVL1Flow(preset)
        errors = [endpoint_error(method(frames)[0], truth) for frames, truth in pairs.values()]
        times = [seconds(lambda f=frames, m=method: m(f), repeats) for frames, _ in pairs.values()]
        work = [pixel_iterations(method, *frames.shape[1:]) for frames, _ in pairs.values()]
        _print_row(preset, errors, float(np.mean(times)), slow, f"{sum(work) / sum(times) / 1e6:.0f}")


def _print_row(name: str, errors: list[float], time_s: float, slow_s: float, rate: str) -> None:
    cells = [f"{error:.3f}" for error in [*errors, float(np.mean(errors))]]
    print(f"| {name} | {' | '.join(cells)} | {time_s * 1e3:.1f} | {slow_s / time_s:.0f} | {rate} |", flush=True)


def print_video(clip: Grey, repeats: int) -> None:
    """Speed on neighbouring frames of real video and how far each preset is from `accurate` there."""
    best = TVL1Flow("accurate")(clip)
    moves_px = np.hypot(*best.swapaxes(0, 1)).mean()
    print(f"\n{clip.shape[2]}x{clip.shape[1]} real video, {len(clip)} frames, mean |flow| {moves_px:.2f} px")
    print("| method | pairs/s | mean distance to accurate, px |\n|---|---|---|")
    for preset in PRESETS:
        method = TVL1Flow(preset)
        distance = np.hypot(*(method(clip) - best).swapaxes(0, 1)).mean()
        rate = (len(clip) - 1) / seconds(lambda m=method: m(clip), repeats)
        print(f"| {preset} | {rate:.1f} | {distance:.3f} |", flush=True)
    slow = seconds(lambda: opencv_flow(clip[:2]), 1)
    print(f"| OpenCV DualTVL1, defaults | {1 / slow:.2f} | |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=len(PAIRS), help="how many of them")
    parser.add_argument("--size", help="WIDTHxHEIGHT: the middle of the pairs, and the film made as small")
    options = parser.parse_args(arguments)
    size = tuple(map(int, options.size.split("x"))) if options.size else None
    cv2.setNumThreads(1)
    start = time.perf_counter()
    texture = np.random.default_rng(0).integers(0, 256, (1, 64, 64), np.uint8)
    if TVL1Flow()(np.repeat(texture, 2, axis=0)).any():
        sys.exit("the flow of a frame to itself is not zero")
    print(f"first call (compiles, or reads the compiled code from disk): {time.perf_counter() - start:.1f} s\n")
    pairs = dict(list(read_pairs(options.data).items())[: options.pairs])
    print_accuracy({name: middle(pair, *size) for name, pair in pairs.items()} if size else pairs, options.repeats)
    width, height = size or (340, 256)
    clip = read_clip(options.data / "clips" / "mmaction2" / "demo.mp4", count=33, width=width, height=height)
    print_video(clip, options.repeats)


if __name__ == "__main__":
    main()
