"""The frozen settings of flow files: everything that decides a byte of them, and nothing else."""

import json
from dataclasses import asdict, dataclass
from typing import ClassVar

from schemas.checks import known, within
from schemas.config import DEVICES, FEATURE_DTYPES, ExtractSettings, digest_of
from schemas.errors import ConfigError
from schemas.plain import Plain
from schemas.streams import DEFAULT_FLOW_BOUND_PX, Options

IMAGE_FORMATS = ("jpg", "png")  # a picture a component; displacements become 8 bits
FOLDER_FORMATS = (*IMAGE_FORMATS, "flo")  # a folder a video
ARRAY_FORMATS = ("npy", "h5")  # a file a video
FLOW_FORMATS = (*FOLDER_FORMATS, *ARRAY_FORMATS)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFileSettings:
    """Everything that decides what `vidu-pipe flow` writes.

    Pair k leads from frame `k * every` to frame `k * every + step`, for as long as there is such a frame.

    Attributes:
        method: a name of `FLOW_METHODS`.
        options: options of that method, (name, value) pairs sorted by name.
        format: one of `FLOW_FORMATS`.
        bound_px: displacement that maps to the end of an image's range, in pixels of the frames that are written; None
            for formats that hold floats.
        dtype: of arrays; None for other formats.
        every: frames from the start of one pair to the start of the next.
        step: frames from the first to the second of a pair.
        rgb: whether frames are written too, every `every`th, as jpg.
        start_index: number of the first file in a folder.
        short_side_px: frames are scaled to this short side.
        upscale: whether smaller frames are scaled up to it.
        device: `cpu` or `cuda`; the two differ in the last bits.
    """

    kind: ClassVar[str] = "flow"
    method: str = "tvl1"
    options: Options = ()
    format: str = "jpg"
    bound_px: float | None = DEFAULT_FLOW_BOUND_PX
    dtype: str | None = None
    every: int = 1
    step: int = 1
    rgb: bool = False
    start_index: int = 1
    short_side_px: int = 256
    upscale: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Check names and ranges, and that options fit the format.

        Raises:
            ConfigError: a name is unknown, a value out of range, or an option means nothing for this format.
        """
        known("`format`", self.format, FLOW_FORMATS)
        known("`device`", self.device, DEVICES)
        within("`every`", self.every, 1, 1e9)
        within("`step`", self.step, 1, 1000)  # so many frames are held
        within("`start_index`", self.start_index, 0, 1e9)
        within("`short_side_px`", self.short_side_px, 8, 16384)
        self._belongs("`bound_px`", self.bound_px is not None, IMAGE_FORMATS)
        self._belongs("`dtype`", self.dtype is not None, ARRAY_FORMATS)
        if self.bound_px is not None:
            within("`bound_px`", self.bound_px, 1e-3, 1e6)
            object.__setattr__(self, "bound_px", float(self.bound_px))  # 20 and 20.0 are one setting, so one digest
        if self.dtype is not None:
            known("`dtype`", self.dtype, FEATURE_DTYPES)
        if self.rgb and self.format not in FOLDER_FORMATS:
            raise ConfigError(
                f"`rgb` writes frames beside the flow, into folders: use `format` "
                f"{', '.join(FOLDER_FORMATS)}, not {self.format}"
            )

    @classmethod
    def with_defaults(cls, **fields: object) -> "FlowFileSettings":
        """Return settings in which bound and dtype have defaults where the format has a use for them.

        Raises:
            ConfigError: as for the class itself.
        """
        name = fields.get("format", "jpg")
        given: Plain = {field: value for field, value in fields.items() if value is not None}
        defaults: Plain = {
            "bound_px": DEFAULT_FLOW_BOUND_PX if name in IMAGE_FORMATS else None,
            "dtype": "float32" if name in ARRAY_FORMATS else None,
        }
        return cls(**defaults | given)

    def _belongs(self, option: str, given: bool, formats: tuple[str, ...]) -> None:
        if given != (self.format in formats):
            raise ConfigError(
                f"{option} belongs to `format` {', '.join(formats)}, and only to these; the format is {self.format}"
            )

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that are the same exactly when every setting is the same."""
        return digest_of(self.as_dict())

    @property
    def step_mark(self) -> str:
        """What denseflow puts into names when the frames of a pair do not follow each other: `_p2`."""
        return f"_p{self.step}" if self.step > 1 else ""

    def starts(self, frames: int) -> range:
        """Return the first frame of every pair of a video of so many frames."""
        return range(0, max(0, frames - self.step), self.every)

    def as_dict(self) -> Plain:
        """Return the settings as plain JSON values."""
        plain: Plain = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, plain: Plain) -> "FlowFileSettings":
        """Rebuild settings from `as_dict`.

        Raises:
            ConfigError: keys or values are not those of this version.
        """
        try:
            return cls(**plain | {"options": tuple((name, value) for name, value in plain["options"])})
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"these are not settings of this version of vidu-pipe: {error!r}") from error


Settings = ExtractSettings | FlowFileSettings  # of any product
