"""The frozen settings of an extraction: everything that decides a bit of a feature, and nothing else.

How many workers run, how they are retried or how progress is shown is not here, because it may not change a feature.
Two stores with the same digest hold comparable features.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError

STREAMS = ("rgb", "flow")
PRECISIONS = ("fp32", "bf16")
CROPS = ("network", "none")
# A frame keeps the crop its network was made with. Of flow, all is seen: who moves at the side of a picture is part of
# an action, and empty borders cost nothing (log loss of a linear classifier on UT-Interaction 0.85 instead of 0.96, on
# Weizmann and surveillance fights the same; for frames it was better on the first and worse on the other two).
DEFAULT_CROP = {"rgb": "network", "flow": "none"}
FEATURE_DTYPES = ("float16", "float32")
DEVICES = ("cpu", "cuda")
DEFAULT_FLOW_BOUND_PX = 20.0  # the field's value; how strongly a network sees a pixel of motion is `widened`'s business
_SAMPLING_RANGES = {"every": (1, 1e9), "fps": (1e-6, 1e6), "samples": (1, 1e6)}
REFERENCE_SHORT_SIDE_PX = 256  # `FlowSettings.bound_px` is given for frames of this short side


def known(what: str, value: str, legal: tuple[str, ...]) -> str:
    """Return `value` if it is one of `legal`.

    Raises:
        ConfigError: it is not; the message names the legal ones.
    """
    if value not in legal:
        raise ConfigError(f"unknown {what} {value!r}; known: {', '.join(legal)}")
    return value


def within(what: str, value: float, low: float, high: float) -> None:
    """Check a value.

    Raises:
        ConfigError: it is not between `low` and `high`, or not a number.
    """
    if not low <= value <= high:  # so written, NaN is refused too
        raise ConfigError(f"{what} must be between {low:g} and {high:g}, not {value:g}")


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
        chosen = {name: value for name, value in asdict(self).items() if value is not None}
        if len(chosen) != 1:
            raise ConfigError(f"choose exactly one of --every, --fps, --samples; chosen: {', '.join(chosen) or 'none'}")
        for name, value in chosen.items():
            within(f"--{name}", value, *_SAMPLING_RANGES[name])
        if self.fps is not None:
            object.__setattr__(self, "fps", float(self.fps))  # 5 and 5.0 are one setting, so one digest

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
class FlowSettings:
    """How motion is measured and shown to a network.

    Attributes:
        method: a name of `FLOW_METHODS`.
        options: options of that method, (name, value) pairs sorted by name.
        stack: L, the number of consecutive fields centred on a moment; the network sees 2L channels.
        bound_px: displacement that maps to the end of the network's input range, for frames of short side
            `REFERENCE_SHORT_SIDE_PX`; for other frames it scales with their short side.
    """

    method: str = "tvl1"
    options: tuple[tuple[str, Any], ...] = ()
    stack: int = 10
    bound_px: float = DEFAULT_FLOW_BOUND_PX

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ConfigError: a value is out of range.
        """
        within("--flow-stack", self.stack, 1, 1000)
        within("--flow-bound", self.bound_px, 1e-3, 1e6)
        object.__setattr__(self, "bound_px", float(self.bound_px))


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """The network of one stream.

    Attributes:
        name: `rgb` or `flow`.
        backbone: a name of `BACKBONES`.
        weights_sha256: digest of the network's tensors, so that the same name with other weights is another setting.
        crop: what of a picture the network sees: what its own preprocessing leaves (`network`), or all of it, resized
            to the network's input whatever its shape (`none`).
    """

    name: str
    backbone: str
    weights_sha256: str
    crop: str = "network"

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            ConfigError: one is not known.
        """
        known("stream", self.name, STREAMS)
        known("crop", self.crop, CROPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractSettings:
    """Everything that decides the features of a store.

    Attributes:
        sampling: which frames are moments.
        short_side_px: frames are scaled to this short side, for networks and flow alike.
        upscale: whether smaller frames are scaled up to it.
        streams: one network a stream, in the order of `STREAMS`.
        flow: how motion is measured; None without a flow stream.
        device: `cpu` or `cuda`; the two differ in the last bits.
        precision: `fp32` or `bf16` arithmetic inside the networks.
        feature_dtype: how features are stored.
    """

    kind: ClassVar[str] = "extract"
    sampling: Sampling = field(default_factory=lambda: Sampling(every=8))
    short_side_px: int = 256
    upscale: bool = False
    streams: tuple[StreamSettings, ...]
    flow: FlowSettings | None
    device: str = "cpu"
    precision: str = "fp32"
    feature_dtype: str = "float16"

    def __post_init__(self) -> None:
        """Check names and ranges.

        Raises:
            ConfigError: a name is unknown, a value out of range, or the streams do not fit.
        """
        within("--short-side", self.short_side_px, 8, 16384)
        known("device", self.device, DEVICES)
        known("precision", self.precision, PRECISIONS)
        known("feature dtype", self.feature_dtype, FEATURE_DTYPES)
        names = [stream.name for stream in self.streams]
        if not names or names != [name for name in STREAMS if name in names]:
            raise ConfigError(f"streams must be some of {', '.join(STREAMS)}, each once and in this order, not {names}")
        if ("flow" in names) != (self.flow is not None):
            raise ConfigError("flow settings belong to a flow stream, and only to one")

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that are the same exactly when every setting is the same."""
        return digest_of(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "ExtractSettings":
        """Rebuild settings from `as_dict`.

        Raises:
            ConfigError: keys or values are not those of this version.
        """
        try:
            flow = plain["flow"]
            return cls(**plain | {
                "sampling": Sampling(**plain["sampling"]),
                "streams": tuple(StreamSettings(**stream) for stream in plain["streams"]),
                "flow": flow and FlowSettings(**flow | {"options": tuple((k, v) for k, v in flow["options"])}),
            })
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"these are not settings of this version of vidu-pipe: {error!r}") from error

    def differences(self, other: "ExtractSettings") -> list[str]:
        """List the settings in which two extractions differ, one line each: `name: mine, theirs`."""
        return differences(self.as_dict(), other.as_dict())


def digest_of(plain: dict[str, Any]) -> str:
    """Return 16 hexadecimal digits that are the same exactly when all plain settings are."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def differences(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """List the plain settings that differ, one line each: `name: mine, theirs`."""
    mine, theirs = _flat(mine), _flat(theirs)
    return [f"{key}: {mine.get(key, 'absent')}, {theirs.get(key, 'absent')}"
            for key in sorted(mine | theirs) if mine.get(key) != theirs.get(key)]


def _flat(value: object, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; list items are keyed by their own name where they have one."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        items = {item.get("name", str(i)): item for i, item in enumerate(value)}.items()
    else:
        return {prefix: value}
    return {key: leaf for name, child in items for key, leaf in _flat(child, f"{prefix}.{name}".lstrip(".")).items()}
