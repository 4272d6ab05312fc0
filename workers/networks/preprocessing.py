"""How a network wants its pictures."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a network wants its pictures.

    Attributes:
        height: of the input, in pixels.
        width: of the input, in pixels.
        crop_share: the centre crop's share of the resized picture (timm's `crop_pct`).
        crop_mode: how a picture of another shape than the input's is fitted to it, by timm's names: `center` keeps its
            shape and loses what sticks out, `squash` changes its shape, `border` keeps its shape and adds borders.
        interpolation: `bilinear` or `bicubic`.
        mean: per colour, on a 0..1 scale.
        std: per colour, on a 0..1 scale.
    """

    height: int
    width: int
    crop_share: float
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_mode: str = "center"

    def uncropped(self) -> "Preprocessing":
        """Return the same with the whole picture resized to the input, its shape changed where it must be."""
        return replace(self, crop_share=1.0, crop_mode="squash")
