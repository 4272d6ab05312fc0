"""Whole extraction against the naive stack and its own kernels.

    python -m tests.benchmarks.bench_extract --videos FOLDER             # real
    python -m tests.benchmarks.bench_extract --naive-frames 4 --inline   # small, on clips made for it

The naive stack is what scripts do: cv2.VideoCapture, cv2 resize, OpenCV's TV-L1 on every pair, one fp32 forward pass a
frame, one process. It runs on a part of the job (it is slow) and its speed is compared per frame. Both sides' features
are compared before anything is timed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.cli import cli
from schemas.disk.shard import open_shard
from schemas.disk.store import Store
from schemas.streams import DEFAULT_FLOW_BOUND_PX
from tests.flowing import write_moving
from workers.networks.backbones import DEFAULT_BACKBONE, make_backbone
from workers.networks.batches import flow_input, rgb_input

EVERY, STACK, BOUND_PX = 8, 10, DEFAULT_FLOW_BOUND_PX
SMALL_FRAMES = 7


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, help="a folder; default: two small clips made for it")
    parser.add_argument("--naive-frames", type=int, default=60, help="frames of the first video for the naive stack")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--inline", action="store_true", help="one worker, without Ray")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        videos = options.videos or small_clips(Path(folder) / "clips")
        first = min(path for path in videos.rglob("*") if path.suffix in (".avi", ".mp4"))
        agreement(first, Path(folder) / "agree")
        naive_s = naive_seconds_per_frame(first, options.naive_frames)
        engine = ["--inline"] if options.inline else ["--workers", str(options.workers)]
        whole(videos, Path(folder) / "store", engine, 1 if options.inline else options.workers, naive_s)


def small_clips(folder: Path) -> Path:
    """Make two clips of a texture that moves."""
    folder.mkdir()
    for name in ("a", "b"):
        write_moving(folder / f"{name}.mp4", frames=SMALL_FRAMES)
    return folder


def words(videos: Path, out: Path, *more: str) -> list[str]:
    """The command line of an extraction."""
    return ["extract", "--videos", str(videos), "--out", str(out), "--quiet", *more]


def agreement(video: Path, out: Path) -> None:
    """With the same flow method both sides must give nearly the same features."""
    cli.main(
        words(
            video,
            out,
            "--flow",
            "tvl1-opencv",
            "--feature-dtype",
            "float32",
            "--samples",
            "2",
            "--device",
            "cpu",
            "--inline",
        ),
        standalone_mode=False,
    )
    with open_shard(Store.open(out).shard_path("000000")) as shard:
        frames, _ = shard.moments()
        ours = {name: shard.features(name) for name in shard.dims}
    theirs = naive_features(video, int(frames.max()) + 8, set(frames.tolist()))
    for name, features in ours.items():
        a, b = features.ravel(), np.concatenate([theirs[name][frame] for frame in frames.tolist()])
        cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        print(f"features of {name}: cosine of ours and the naive stack's {cosine:.4f}")
        assert cosine > 0.97, "the two sides compute different things; times would mean nothing"
    shutil.rmtree(out)


def naive_frames(video: Path) -> Iterator[NDArray[np.uint8]]:
    """Decode with OpenCV and scale to short side 256, never up."""
    capture = cv2.VideoCapture(str(video))
    while True:
        good, frame = capture.read()
        if not good:
            return
        scale = min(1.0, 256 / min(frame.shape[:2]))
        yield cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else frame


Features = dict[str, dict[int, NDArray[np.float32]]]


def naive_features(video: Path, limit: int, moments: set[int] | None = None) -> Features:
    """Run the naive stack over the first frames of a video; features of `moments`, by default every EVERYth frame."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    backbone = make_backbone(DEFAULT_BACKBONE)
    state = backbone.pretrained()
    rgb_net, flow_net = backbone.build(state, 3), backbone.build(state, 2 * STACK)
    cropped, whole = backbone.preprocessing, backbone.preprocessing.uncropped()  # RGB's middle, and all of the flow
    method = cv2.optflow.DualTVL1OpticalFlow.create()
    frames = [frame for frame, _ in zip(naive_frames(video), range(limit), strict=False)]
    greys = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames]
    wanted = moments if moments is not None else set(range(0, len(frames), EVERY))
    fields: dict[int, NDArray[np.float32]] = {}
    features: Features = {"rgb": {}, "flow": {}}
    for frame in sorted(wanted):
        around = [min(max(f, 0), len(frames) - 2) for f in range(frame - STACK // 2, frame + STACK // 2)]
        for field in around:
            if field not in fields:
                fields[field] = method.calc(greys[field], greys[field + 1], None).transpose(2, 0, 1)
        stack = np.concatenate([fields[field] for field in around])[None]
        with torch.inference_mode():
            picture = np.ascontiguousarray(frames[frame][None, :, :, ::-1])
            rgb = rgb_net(torch.from_numpy(rgb_input(picture, cropped)))
            flow = flow_net(torch.from_numpy(flow_input(stack, whole, BOUND_PX)))
        features["rgb"][frame], features["flow"][frame] = rgb[0].numpy(), flow[0].numpy()
    return features


def naive_seconds_per_frame(video: Path, limit: int) -> float:
    """Time the naive stack on a part of one video."""
    began = time.perf_counter()
    naive_features(video, limit)
    return (time.perf_counter() - began) / limit


def whole(videos: Path, out: Path, engine: list[str], workers: int, naive_s: float) -> None:
    """Time a whole extraction, in a process of its own, beside its own kernels' seconds and the naive stack's."""
    program = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    began = time.perf_counter()
    subprocess.run([*program, *words(videos, out, *engine)], check=True, stdout=subprocess.DEVNULL)
    wall_s = time.perf_counter() - began
    store = Store.open(out)
    reports = [report for task in store.books.read_plan().shards if (report := store.books.report(task.shard))]
    frames = sum(segment.frames_decoded for report in reports for segment in report.segments)
    kernels_s = sum(sum(report.stages_s.values()) for report in reports)
    print(f"job: {frames} frames in {wall_s:.1f} s on {workers} workers: {frames / wall_s:.1f} frame/s")
    for stage in sorted({name for report in reports for name in report.stages_s}):
        print(f"  {stage:<13} {sum(report.stages_s.get(stage, 0) for report in reports):8.1f} s")
    print(f"overhead of start, plan, Ray and shards: {wall_s * workers / kernels_s - 1:.1%} of the kernels' time")
    print(
        f"naive stack: {1 / naive_s:.2f} frame/s; ratio {naive_s * frames / wall_s:.1f} on {workers} workers, "
        f"{naive_s * frames / kernels_s:.1f} a core"
    )


if __name__ == "__main__":
    main()
