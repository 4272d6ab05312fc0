"""The colour stream: a moment's own frame, as its network wants pictures."""

from collections.abc import Sequence

from torch import Tensor

from schemas.config import ExtractSettings
from schemas.streams import Rgb
from workers.moments import Pictures
from workers.networks.backbones import State
from workers.networks.batches import rgb_input
from workers.streams.pictures import PictureNetwork, with_published_or_own_weights

_CHANNELS = 3


class RgbExtractor(PictureNetwork):
    """See `Extractor`."""

    def __init__(self, stream: Rgb, state: State, settings: ExtractSettings) -> None:
        """See `Extractor`."""
        super().__init__(stream, state, settings, _CHANNELS)

    @staticmethod
    def prepared(stream: Rgb, _device: str) -> tuple[Rgb, State]:
        """See `Extractor`; colour is the same on every device."""
        return with_published_or_own_weights(stream, _CHANNELS)

    def inputs(self, pictures: Pictures, frames: Sequence[int]) -> Tensor:
        """Resize, normalise and crop each moment's frame; see `Extractor`."""
        return rgb_input(pictures.colour_at(frames), self.preprocessing, self.device)
