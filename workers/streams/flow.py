"""The motion stream: a stack of L flow fields centred on a moment, as 2L channels."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from schemas.config import ExtractSettings
from schemas.streams import Flow, changed
from workers.flow import checked_options
from workers.moments import Pictures
from workers.networks.backbones import State
from workers.networks.batches import flow_input
from workers.streams.pictures import PictureNetwork, with_published_or_own_weights


class FlowExtractor(PictureNetwork):
    """See `Extractor`."""

    def __init__(self, stream: Flow, state: State, settings: ExtractSettings) -> None:
        """See `Extractor`."""
        super().__init__(stream, state, settings, 2 * stream.stack)
        self._stream = stream

    @staticmethod
    def prepared(stream: Flow, device: str) -> tuple[Flow, State]:
        """See `Extractor`; options that are the method's defaults are left out, so that they are one setting."""
        options = checked_options(stream.method, device, stream.options)
        found, state = with_published_or_own_weights(stream, 2 * stream.stack)
        return changed(found, options=options), state

    def inputs(self, pictures: Pictures, frames: Sequence[int]) -> Tensor:
        """Clip, scale and resize each moment's stack; see `Extractor`."""
        motion, around = self._stream.motion, self._stream.around
        stacks = [pictures.flow_at(motion, [frame + offset for offset in around]) for frame in frames]
        shown = np.stack([stack.reshape(-1, *stack.shape[2:]) for stack in stacks])  # channels u1 v1 u2 v2 ...
        return flow_input(shown, self.preprocessing, self._stream.bound_px, self.device)
