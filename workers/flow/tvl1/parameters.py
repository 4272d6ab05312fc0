"""The parameters of TV-L1, in the papers' words, and their presets; what they do stands in `tvl1`."""

from dataclasses import asdict, dataclass, fields

from schemas.errors import ConfigError
from schemas.options import OptionValue

FAINT_SLOPE = 0.01  # grey values per px that a gradient must exceed: below it is rounding of the pyramid, not contrast


@dataclass(frozen=True, slots=True)
class TVL1:
    """Parameters of the method, in the papers' words.

    Attributes:
        lam: lambda, weight of brightness constancy against smoothness, for grey values of 0 to 255. Smaller is
            smoother.
        theta: Tightness of the coupling of u and v; the data term is quadratic below lambda * theta * |grad I|^2, else
            linear.
        tau: Length of the primal step. Changes the path, not the minimum.
        warps: Linearisations per level.
        iterations: Primal-dual steps per warp.
        scale_step: Size of a level over that of the next finer one.
        median: Side of the median filter after each warp, in px: 3, 5, or 0 for none.
        smallest_px: Levels stop before the shorter side falls below this.
    """

    lam: float = 0.25
    theta: float = 0.2
    tau: float = 0.7
    warps: int = 3
    iterations: int = 15
    scale_step: float = 0.8
    median: int = 5
    smallest_px: int = 16

    def __post_init__(self) -> None:
        for name, low, high in (("lam", 1e-6, 100), ("theta", 0, 100), ("tau", 1e-6, 100), ("scale_step", 0.1, 0.95)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ConfigError(f"tvl1: {name}={value!r} must be a number from {low:g} to {high:g}")
        for name in ("warps", "iterations", "smallest_px"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"tvl1: {name}={value!r} must be a whole number of at least 1")
        if self.median not in (0, 3, 5):
            raise ConfigError(f"tvl1: median={self.median!r} must be 0, 3 or 5")


PRESETS: dict[str, TVL1] = {
    "fast": TVL1(warps=2, scale_step=0.5),
    "balanced": TVL1(),
    "accurate": TVL1(warps=6, iterations=20, tau=0.4),
}


def parameters_of(preset: str = "balanced", **overrides: OptionValue) -> TVL1:
    """Parameters of a preset with some of them asdictd.

    Raises:
        ConfigError: unknown preset or option, or a value out of range.
    """
    if preset not in PRESETS:
        raise ConfigError(f"tvl1: no preset {preset!r}; choose one of {', '.join(PRESETS)}")
    known = [field.name for field in fields(TVL1)]
    for name in overrides:
        if name not in known:
            raise ConfigError(f"tvl1: no option {name!r}; choose from {', '.join(known)}")
    return TVL1(**asdict(PRESETS[preset]) | overrides)
