"""The motion stream: a stack of L flow fields centred on a moment, as 2L channels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.config import ExtractSettings
from schemas.streams import Flow, changed
from workers.flow import checked_options
from workers.moments import Pictures
from workers.networks.batches import flow_input
from workers.networks.engine import Network
from workers.networks.found import network_of
from workers.streams.pictures import PictureNetwork


class FlowExtractor(PictureNetwork):
    """See `Extractor`."""

    def __init__(self, stream: Flow, network: Network, settings: ExtractSettings) -> None:
        """See `Extractor`."""
        super().__init__(stream, network, settings, 2 * stream.stack)
        self._stream = stream

    @staticmethod
    def prepared(stream: Flow, device: str) -> tuple[Flow, Network]:
        """See `Extractor`; options that are the method's defaults are left out, so that they are one setting."""
        options = checked_options(stream.method, device, stream.options)
        found, network = network_of(stream, 2 * stream.stack, device)
        return changed(found, options=options), network

    def inputs(self, pictures: Pictures, frames: Sequence[int]) -> NDArray[np.float32]:
        """Clip, scale and resize each moment's stack; see `Extractor`."""
        stacks = [[frame + offset for offset in self._stream.around] for frame in frames]
        fields = sorted({field for stack in stacks for field in stack})  # stacks overlap, and each is resized once
        shown = flow_input(pictures.flow_at(self._stream.motion, fields), self.preprocessing, self._stream.bound_px)
        rows = np.searchsorted(fields, stacks)
        return shown[rows].reshape(len(frames), *self.shape)  # channels u1 v1 u2 v2 ...
