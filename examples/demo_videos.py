"""Generate a small labelled set of real video files: `python -m examples.demo_videos FOLDER`.

A label has two halves, e.g. `moss_rotating`. What the surface is made of is said by colour alone and how it moves by
motion alone: the brightness of every clip is drawn from one and the same family of random textures, so flow, which sees
brightness only, can not know the material; a single frame of a texture at a random angle, place and scale does not tell
how it moves. So neither stream can solve the labels, and the two together can.
"""

import argparse
import itertools
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

MATERIALS = {"brick": (108, 150), "moss": (112, 112)}  # mean chroma U, V
MOTIONS = ("sliding", "rotating", "zooming")
CODECS = (("libx264", ".mp4"), ("mpeg4", ".avi"), ("libvpx-vp9", ".webm"), ("mjpeg", ".mov"))
# x264's macroblock tree comes out otherwise in every run
OPTIONS = {"libx264": {"x264-params": "mbtree=0"}, "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"}}
WIDTH, HEIGHT, FRAMES, FPS = 192, 144, 40, 25
logger = logging.getLogger(__name__)


def texture(rng: np.random.Generator, size: int = 512) -> NDArray[np.float32]:
    """Return noise of equal energy in every octave, (size, size) in 0..1, seamless at its borders."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]) * size
    band = (frequency >= 4) & (frequency <= 64)
    spectrum = np.where(band, 1 / np.maximum(frequency, 1), 0) * np.exp(2j * np.pi * rng.random(frequency.shape))
    noise = np.fft.irfft2(spectrum, (size, size))
    return np.clip(0.5 + noise / (5 * noise.std()), 0, 1).astype(np.float32)


def views(motion: str, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """Yield the affine map (2, 3) from picture to texture of every frame; start, direction and speed are random."""
    angle, scale, place = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(-0.3, 0.3)), rng.uniform(0, 512, 2)
    heading, sign, speed = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1]), rng.uniform(0.8, 1.2)
    for step in np.arange(FRAMES) - FRAMES / 2:
        a, s, p = angle, scale, place
        if motion == "sliding":
            p = place + 2.5 * speed * step * np.array([np.cos(heading), np.sin(heading)])
        elif motion == "rotating":
            a = angle + sign * 0.035 * speed * step
        else:
            s = scale * np.exp(sign * 0.015 * speed * step)
        turn = s * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        yield np.column_stack([turn, p - turn @ [WIDTH / 2, HEIGHT / 2]])


def clip(material: str, motion: str, rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of one clip, yuv420p as PyAV takes it: uint8 (HEIGHT * 3 / 2, WIDTH)."""
    brightness, tint = texture(rng), texture(rng)
    u, v = MATERIALS[material]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for view in views(motion, rng):
        luma, chroma = (
            cv2.warpAffine(surface, view, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_WRAP)
            for surface in (brightness, tint)
        )
        half = cv2.resize(chroma, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA) - 0.5
        planes = [luma * 180 + 35, half * 30 + u, half * 30 + v]
        yield np.concatenate([plane.round().astype(np.uint8).reshape(-1, WIDTH) for plane in planes])


def write(path: Path, codec: str, frames: Iterator[NDArray[np.uint8]]) -> None:
    """Encode frames into a video file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 1_000_000
        stream.options = OPTIONS.get(codec, {})
        for index, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_set(folder: Path, *, per_label: int) -> None:
    """Write the set, one folder a label; files that are there already are left as they are."""
    for number, (material, motion) in enumerate(itertools.product(MATERIALS, MOTIONS)):
        label = folder / f"{material}_{motion}"
        label.mkdir(parents=True, exist_ok=True)
        for take in range(per_label):
            codec, suffix = CODECS[take % len(CODECS)]
            path = label / f"take_{take:02d}{suffix}"
            if not path.exists():
                temporary = path.with_name(f"unfinished_{path.name}")
                write(temporary, codec, clip(material, motion, np.random.default_rng([number, take])))
                temporary.replace(path)
    logger.info("%d labels, %d clips each, in %s", number + 1, per_label, folder)


def main() -> None:
    """Write the set that the command line asks for."""
    parser = argparse.ArgumentParser(description="Generate a small labelled set of real video files.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-label", type=int, default=12)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    write_set(arguments.folder, per_label=arguments.per_label)


if __name__ == "__main__":
    main()
