"""The colour stream: a moment's own frame, as its network wants pictures."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.config import ExtractSettings
from schemas.streams import Rgb
from workers.moments import Pictures
from workers.networks.batches import rgb_input
from workers.networks.engine import Network
from workers.networks.found import network_of
from workers.streams.pictures import PictureNetwork

_CHANNELS = 3


class RgbExtractor(PictureNetwork):
    """See `Extractor`."""

    def __init__(self, stream: Rgb, network: Network, settings: ExtractSettings) -> None:
        """See `Extractor`."""
        super().__init__(stream, network, settings, _CHANNELS)

    @staticmethod
    def prepared(stream: Rgb, device: str) -> tuple[Rgb, Network]:
        """See `Extractor`."""
        return network_of(stream, _CHANNELS, device)

    def inputs(self, pictures: Pictures, frames: Sequence[int]) -> NDArray[np.float32]:
        """Resize, normalise and crop each moment's frame; see `Extractor`."""
        return rgb_input(pictures.colour_at(frames), self.preprocessing)
