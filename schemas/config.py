"""The frozen settings of an extraction: everything that decides a bit of a feature, and nothing else.

How many workers run, how they are retried or how progress is shown is not here, because it may not change a feature.
Two stores with the same digest hold comparable features.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from operator import or_
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from schemas.checks import known, within
from schemas.errors import ConfigError
from schemas.plain import Plain
from schemas.records import record_of
from schemas.streams import Flow, Needs, NetworkStream, Rgb, Stream

PRECISIONS = ("fp32", "bf16")
FEATURE_DTYPES = ("float16", "float32")
DEVICES = ("cpu", "cuda")
ANY_DEVICE = ("auto", *DEVICES)  # `auto` is resolved when an extraction is prepared, and never stored
_SAMPLING_RANGES = {"every": (1, 1e9), "fps": (1e-6, 1e6), "samples": (1, 1e6)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Which frames of a video are its moments; exactly one of the three ways is set.

    Attributes:
        every: every Nth frame, from the first.
        fps: the frame on screen at every 1/fps seconds of presentation time, from the first frame's time; a frame is
            taken once however high the rate.
        samples: T frames per video, the middles of T equal parts (Wang et al. 2016, TSN), repeated when the video has
            fewer than T frames, so that every video has exactly T moments.
    """

    every: int | None = None
    fps: float | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        """Check that exactly one way is chosen and that it is positive.

        Raises:
            ConfigError: otherwise.
        """
        chosen = self.as_dict()
        if len(chosen) != 1:
            raise ConfigError(
                "choose exactly one of `sampling.every`, `sampling.fps`, `sampling.samples`; chosen: "
                f"{', '.join(chosen) or 'none'}"
            )
        for name, value in chosen.items():
            within(f"`sampling.{name}`", value, *_SAMPLING_RANGES[name])
        if self.fps is not None:
            object.__setattr__(self, "fps", float(self.fps))  # 5 and 5.0 are one setting, so one digest

    def as_dict(self) -> Plain:
        """Return the way that is chosen, as plain JSON values."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def moments(self, pts_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Choose the moments of one video.

        Args:
            pts_s: float64 (N,), N >= 1, presentation times in presentation order.

        Returns:
            int64 (M,), M >= 1, frame indices that never decrease.
        """
        frames = len(pts_s)
        if self.every is not None:
            return np.arange(0, frames, self.every, dtype=np.int64)
        if self.samples is not None:
            # integer arithmetic: floor((k + 1/2) N / T) without a rounding error at any length
            return (2 * np.arange(self.samples, dtype=np.int64) + 1) * frames // (2 * self.samples)
        assert self.fps is not None
        # a frame is a moment when a point of the grid 0, 1/fps, 2/fps ... falls between its time and the next frame's:
        # work and memory by the frames, however fine the grid; a frame late by a rounding error is still in time
        beat = np.ceil((pts_s - pts_s[0]) * self.fps - 1e-6)
        after = np.append(beat[1:], np.floor((pts_s[-1] - pts_s[0]) * self.fps + 1e-6) + 1)
        return np.flatnonzero(beat < after)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractSettings:
    """Everything that decides the features of a store.

    The same value is what a user asks for and what a store records. `pipeline.jobs.prepare` fills in what depends on
    the machine: the device that `auto` means, and the digests of the weights.

    Attributes:
        sampling: which frames are moments.
        short_side_px: frames are scaled to this short side, for networks and flow alike.
        upscale: whether smaller frames are scaled up to it.
        device: `auto`, `cpu` or `cuda`; the last two differ in the last bits.
        precision: `fp32` or `bf16` arithmetic inside the networks.
        feature_dtype: how features are stored.
        streams: the columns of the store, each with a name of its own.
    """

    kind: ClassVar[str] = "extract"
    sampling: Sampling = field(default_factory=lambda: Sampling(every=8))
    short_side_px: int = 256
    upscale: bool = False
    device: str = "auto"
    precision: str = "fp32"
    feature_dtype: str = "float16"
    streams: tuple[Stream, ...] = field(default_factory=lambda: (Rgb(), Flow()))

    def __post_init__(self) -> None:
        """Check names and ranges.

        Raises:
            ConfigError: a name is unknown, a value out of range, or two streams have one name.
        """
        within("`short_side_px`", self.short_side_px, 8, 16384)
        known("`device`", self.device, ANY_DEVICE)
        known("`precision`", self.precision, PRECISIONS)
        known("`feature_dtype`", self.feature_dtype, FEATURE_DTYPES)
        names = [stream.name for stream in self.streams]
        if not names:
            raise ConfigError("an extraction needs at least one stream")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"two streams are called {twice[0]!r}; give each a `stream.name` of its own")

    @property
    def needs(self) -> Needs:
        """What all streams together look at around a moment."""
        return reduce(or_, (stream.needs() for stream in self.streams), Needs())

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that are the same exactly when every setting is the same."""
        return digest_of(self.as_dict())

    def only(self, names: tuple[str, ...]) -> "ExtractSettings":
        """Return the same without the streams that are not named."""
        return replace(self, streams=tuple(stream for stream in self.streams if stream.name in names))

    def on(self, device: str) -> "ExtractSettings":
        """Return the same on a device; on another one other engines run the networks."""
        if device == self.device:
            return self
        return replace(
            self,
            device=device,
            streams=tuple(
                replace(stream, engine="") if isinstance(stream, NetworkStream) else stream for stream in self.streams
            ),
        )

    def as_dict(self) -> Plain:
        """Return the settings as plain values, for JSON and TOML alike; what is empty is left out."""
        return {
            "sampling": self.sampling.as_dict(),
            "short_side_px": self.short_side_px,
            "upscale": self.upscale,
            "device": self.device,
            "precision": self.precision,
            "feature_dtype": self.feature_dtype,
            "stream": [stream.as_dict() for stream in self.streams],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, object]) -> "ExtractSettings":
        """Rebuild settings from `as_dict`; what is left out has its default.

        Raises:
            ConfigError: a field or a value is not known; the message names it.
        """
        values = dict(plain)
        streams = values.pop("stream", None)
        if "streams" in values:
            raise ConfigError("unknown field 'streams'; each stream is a table of its own: [[stream]] in TOML")
        sampling = values.pop("sampling", None)
        settings = record_of(cls, values, "")
        if sampling is not None:
            settings = replace(settings, sampling=record_of(Sampling, sampling, "sampling"))
        if streams is None:
            return settings
        if not isinstance(streams, list):
            raise ConfigError("the streams must be a list of tables: [[stream]] in TOML")
        return replace(
            settings,
            streams=tuple(Stream.from_dict(stream, f"stream[{place}]") for place, stream in enumerate(streams)),
        )

    def differences(self, other: "ExtractSettings") -> list[str]:
        """List the settings in which two extractions differ, one line each: `name: mine, theirs`."""
        return differences(self.as_dict(), other.as_dict())


def digest_of(plain: Plain) -> str:
    """Return 16 hexadecimal digits that are the same exactly when all plain settings are."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def differences(mine: Plain, theirs: Plain) -> list[str]:
    """List the plain settings that differ, one line each: `name: mine, theirs`."""
    mine, theirs = _flat(mine), _flat(theirs)
    return [
        f"{key}: {mine.get(key, 'absent')}, {theirs.get(key, 'absent')}"
        for key in sorted(mine | theirs)
        if mine.get(key) != theirs.get(key)
    ]


def _flat(value: object, prefix: str = "") -> Plain:
    """{"a": {"b": 1}} -> {"a.b": 1}; list items are keyed by their own name where they have one."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        items = {item.get("name", str(i)): item for i, item in enumerate(value)}.items()
    else:
        return {prefix: value}
    return {key: leaf for name, child in items for key, leaf in _flat(child, f"{prefix}.{name}".lstrip(".")).items()}
