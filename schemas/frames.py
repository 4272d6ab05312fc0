"""Arrays that travel inside a worker: checked at birth, read-only afterwards."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.arrays import Array
from schemas.errors import ConfigError


def frozen(array: Array, *, name: str, dtype: str, shape: tuple[int | None, ...]) -> Array:
    """Check one array and make it read-only.

    Args:
        array: the array to check; it is not copied.
        name: what error messages call it.
        dtype: the only legal dtype.
        shape: the only legal shape; `None` stands for any length.

    Raises:
        ValueError: the array has another dtype or shape. This is a bug of the caller, never of a user.
    """
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if array.dtype != dtype or not fits:
        raise ValueError(f"{name} must be {dtype} {shape}, not {array.dtype} {array.shape}")
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """A window of consecutive decoded frames of one video.

    Attributes:
        frame: int64 (T,), frame indices in presentation order, each one more than the last.
        pts_s: float64 (T,), the container's presentation time of each frame.
        grey: uint8 (T, H, W) full-range luma, or (0, H, W) when only RGB was asked for.
        rgb_frame: int64 (R,), those of `frame` that also come in colour.
        rgb: uint8 (R, H, W, 3).
    """

    frame: NDArray[np.int64]
    pts_s: NDArray[np.float64]
    grey: NDArray[np.uint8]
    rgb_frame: NDArray[np.int64]
    rgb: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Check shapes and dtypes, and that grey and colour agree on the size."""
        T, R = len(self.frame), len(self.rgb_frame)
        frozen(self.frame, name="frame", dtype="int64", shape=(None,))
        frozen(self.pts_s, name="pts_s", dtype="float64", shape=(T,))
        frozen(self.grey, name="grey", dtype="uint8", shape=(T if len(self.grey) else 0, None, None))
        frozen(self.rgb_frame, name="rgb_frame", dtype="int64", shape=(None,))
        frozen(self.rgb, name="rgb", dtype="uint8", shape=(R, *self.grey.shape[1:], 3))
        if T > 1 and not (np.diff(self.frame) == 1).all():
            raise ValueError(f"frame indices of a window must be consecutive, not {self.frame.tolist()}")


@dataclass(frozen=True, slots=True)
class FlowBatch:
    """Consecutive optical flow fields of one video.

    Attributes:
        frame: int64 (T,); field `i` leads from frame `frame[i]` to the next.
        flow: float32 (T, 2, H, W), channel 0 to the right and channel 1 down, in pixels per frame step.
    """

    frame: NDArray[np.int64]
    flow: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check shapes and dtypes."""
        frozen(self.frame, name="frame", dtype="int64", shape=(None,))
        frozen(self.flow, name="flow", dtype="float32", shape=(len(self.frame), 2, None, None))


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """One stream's features of consecutive moments.

    Attributes:
        stream: the stream's name.
        features: float32 (N, D).
    """

    stream: str
    features: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check shape and dtype, and that every number is finite.

        Raises:
            ConfigError: a feature is NaN or infinite: network, weights and precision do not fit.
        """
        frozen(self.features, name=f"features of {self.stream}", dtype="float32", shape=(None, None))
        if not np.isfinite(self.features).all():
            raise ConfigError(f"the {self.stream} network gave NaN or infinity: check its weights and `precision`")

    def stored(self, dtype: str) -> Array:
        """Return the features (N, D) as they are stored.

        Raises:
            ConfigError: a number is too large for that dtype.
        """
        with np.errstate(over="ignore"):
            values: Array = self.features.astype(dtype)
        if not np.isfinite(values).all():
            largest = np.abs(self.features).max()
            raise ConfigError(
                f"features of {self.stream} reach {largest:g}, too large for {dtype}; use `feature_dtype` float32"
            )
        return values
