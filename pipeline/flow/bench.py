"""How fast and how right every flow method is here: one thread, a pair with known motion, checked before timed."""

import os
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError, EmptyVideoError
from workers.decode import decode, probe
from workers.flow import FLOW_METHODS, FLOW_PRESETS, FlowMethod, is_on_gpu, make_flow

BASELINE = "tvl1-opencv"
REFERENCE = ("tvl1", "accurate")
SMALLEST_PX, LARGEST_PX = 32, 4096
_WAVES = 96
_VIDEO_FRAMES = 33
_LARGEST_CALL = {"cpu": 16, "cuda": 128}  # pairs a call, as extraction does it
_SANE = 0.5  # a method must leave less than this share of the error of no flow at all
_REFERENCE_SIDE_PX = 256  # the known motion is given for this short side


@dataclass(frozen=True, slots=True)
class KnownPair:
    """Two pictures whose flow is known.

    Attributes:
        grey: uint8 (2, H, W).
        flow: float32 (2, H, W), from the first to the second, in pixels.
    """

    grey: NDArray[np.uint8]
    flow: NDArray[np.float32]

    def error_px(self, flow: NDArray[np.float32]) -> float:
        """Return the mean endpoint error over the pixels that stay in the picture."""
        H, W = flow.shape[1:]
        row, column = np.mgrid[:H, :W]
        stays = (np.abs(column + self.flow[0] - (W - 1) / 2) <= (W - 1) / 2) & (
            np.abs(row + self.flow[1] - (H - 1) / 2) <= (H - 1) / 2
        )
        return float(np.hypot(*(flow - self.flow))[stays].mean())


@dataclass(frozen=True, slots=True)
class BenchRow:
    """What was found of one method.

    Attributes:
        name: of the method, with its preset.
        device: `cpu` or `cuda`.
        pairs_per_s: speed; None when the check failed.
        error_px: mean endpoint error on the known pair.
        apart_px: mean endpoint difference to the reference on the first pair of the video; None without a video.
    """

    name: str
    device: str
    pairs_per_s: float | None
    error_px: float
    apart_px: float | None


def known_pair(width: int, height: int) -> KnownPair:
    """Make a pair: a random texture, moved by a smooth motion that differs everywhere.

    The texture t is a sum of sines, so it is known between pixels too. With the motion w of every point of the second
    picture, the first is t(x) and the second t(y - w(y)); the flow u of the first solves u(x) = w(x + u(x)).

    Args:
        width: of the pictures, in pixels.
        height: of the pictures, in pixels.

    Raises:
        ConfigError: a side is out of range.
    """
    for side in (width, height):
        if not SMALLEST_PX <= side <= LARGEST_PX:
            raise ConfigError(f"`size` {width}x{height}: sides must be {SMALLEST_PX} to {LARGEST_PX} pixels")
    row, column = np.mgrid[:height, :width].astype(np.float64)
    here = np.stack([column, row])
    flow = np.zeros_like(here)
    for _ in range(30):  # w is a contraction of factor 0.1, or less
        flow = _motion(here + flow, width, height)
    pictures = _texture(here), _texture(here - _motion(here, width, height))
    grey = np.stack([np.clip(np.rint(127.5 + 42 * picture), 0, 255) for picture in pictures])
    return KnownPair(grey.astype(np.uint8), flow.astype(np.float32))


def _motion(place: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """Some translation, rotation, zoom and a slow wave: up to about 8 px at short side 256."""
    size = min(width, height) / _REFERENCE_SIDE_PX
    x, y = (place[0] - width / 2) / size, (place[1] - height / 2) / size
    wave = 1.5 * np.sin(2 * np.pi * x / 200) * np.cos(2 * np.pi * y / 170)
    right = 2.3 - 0.015 * y + 0.01 * x + wave
    down = -1.4 + 0.015 * x + 0.01 * y + wave
    return np.stack([right, down]) * size


def _texture(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """A random picture of mean 0 and deviation 1 whose coarse features are stronger than its fine ones."""
    random = np.random.default_rng(0)
    period_px = np.exp(random.uniform(np.log(5), np.log(80), _WAVES))
    angle, phase = random.uniform(0, 2 * np.pi, (2, _WAVES))
    strength = np.sqrt(period_px) / np.sqrt((period_px / 2).sum())
    total = np.zeros(place.shape[1:])
    for T, a, p, s in zip(period_px, angle, phase, strength, strict=True):
        total += s * np.sin(2 * np.pi / T * (np.cos(a) * place[0] + np.sin(a) * place[1]) + p)
    return total


def video_frames(path: str, short_side_px: int) -> NDArray[np.uint8]:
    """Decode frames from the middle of a video, uint8 (T, H, W), T >= 2.

    Raises:
        InputError: the video is bad, or has one frame only.
    """
    _, ticks, _ = probe(path)
    start = max(0, (len(ticks) - _VIDEO_FRAMES) // 2)
    stop = min(len(ticks), start + _VIDEO_FRAMES)
    windows = decode(
        path,
        start=start,
        stop=stop,
        seek_pts=None,
        rgb_frames=np.empty(0, np.int64),
        grey=True,
        short_side=short_side_px,
        upscale=False,
        window_frames=_VIDEO_FRAMES,
    )
    grey = next(windows).grey
    if len(grey) < 2:
        raise EmptyVideoError(f"{path}: flow needs 2 frames, it has {len(grey)}")
    return grey


def variants(devices: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Yield (method, preset, device) of all that can be measured, the baseline first; preset is empty without any."""
    yield BASELINE, "", "cpu"
    for method in FLOW_METHODS:
        for device in devices if is_on_gpu(method) else ("cpu",):
            for preset in FLOW_PRESETS.get(method, ("",)):
                if method != BASELINE:
                    yield method, preset, device


def bench_flow(
    pair: KnownPair,
    video: NDArray[np.uint8] | None,
    *,
    seconds: float,
    devices: tuple[str, ...],
) -> Iterator[BenchRow]:
    """Check and time every method, the baseline first.

    Args:
        pair: on which errors are measured, and times when there is no video.
        video: uint8 (T, H, W), on which times are measured when it is given.
        seconds: to spend on each method's time; a slower method computes one pair.
        devices: of `cpu`, `cuda`.
    """
    frames = pair.grey if video is None else video
    reference = None if video is None else make_flow(REFERENCE[0], preset=REFERENCE[1])(video[:2])[0]
    for name, preset, device in variants(devices):
        method = make_flow(name, device, **({"preset": preset} if preset else {}))
        error_px = _checked_px(method, pair)
        sane = error_px < _SANE * pair.error_px(np.zeros_like(pair.flow))
        apart_px = None if reference is None else float(np.hypot(*(method(frames[:2])[0] - reference)).mean())
        rate = pairs_per_s(method, frames, seconds, device) if sane else None
        yield BenchRow(f"{name} {preset}".strip(), device, rate, error_px, apart_px)


def _checked_px(method: FlowMethod, pair: KnownPair) -> float:
    flow = method(pair.grey)
    whole = flow.shape == (1, *pair.flow.shape) and bool(np.isfinite(flow).all())
    return pair.error_px(flow[0]) if whole else float("inf")


def pairs_per_s(method: FlowMethod, frames: NDArray[np.uint8], seconds: float, device: str) -> float:
    """Measure a method: calls of growing length until the time is spent; the median of their speeds.

    On the CPU the process's own time counts, so that what else runs on the machine matters little.

    Args:
        method: what to measure; warmed up.
        frames: uint8 (T, H, W), T >= 2, gone through to and fro.
        seconds: to spend.
        device: `cpu` or `cuda`.
    """
    to_and_fro = np.concatenate([frames, frames[-2:0:-1]])
    clock = time.perf_counter if device == "cuda" else time.process_time
    begun, pairs, rates = time.perf_counter(), 1, list[float]()
    while not rates or time.perf_counter() - begun < seconds:
        stack = to_and_fro[np.arange(pairs + 1) % len(to_and_fro)]
        began = clock()
        method(stack)
        elapsed_s = max(clock() - began, 1e-6)
        rates.append(pairs / elapsed_s)
        pairs = int(np.clip(seconds / 8 * pairs / elapsed_s, 1, min(_LARGEST_CALL[device], 2 * pairs)))
    return statistics.median(rates[len(rates) // 2 :])  # the first ones were short, or warmed something up


def processor() -> str:
    """Return the name of this machine's processor and the number of its cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{named[0] if named else platform.processor() or platform.machine()}, {os.cpu_count()} cores"
