"""How each kind of stream is made: the pictures around moments become a network's input. One file a kind.

`EXTRACTORS` has one line for every kind of `schemas.streams.STREAMS`. An extractor without a network has the identity
for one (`torch.nn.Identity()`), no tensors, and makes the features themselves in `inputs`.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from schemas.config import ExtractSettings
from schemas.streams import Stream
from workers.moments import Pictures
from workers.networks.backbones import State
from workers.streams.flow import FlowExtractor
from workers.streams.rgb import RgbExtractor

S = TypeVar("S", bound=Stream)


class Extractor(Protocol[S]):
    """Makes the features of one stream; built once per process.

    Attributes:
        shape: of one row of the network's input.
        network: (B, *shape) -> (B, D), in inference mode on the extraction's device.
    """

    shape: tuple[int, ...]
    network: nn.Module

    def __init__(self, stream: S, state: State, settings: ExtractSettings) -> None:
        """Build the network.

        Args:
            stream: settings of the stream, prepared.
            state: the tensors that `prepared` found.
            settings: of the extraction: device and size of pictures.
        """
        ...

    @staticmethod
    def prepared(stream: S, device: str) -> tuple[S, State]:
        """Find what the stream needs on this machine, before any work.

        Returns:
            the stream with all digests filled in, and the tensors of its network (empty without one).

        Raises:
            ConfigError: a name or a value is not legal.
            ResourceError: weights are not on this machine and can not be fetched.
        """
        ...

    def inputs(self, pictures: Pictures, frames: Sequence[int]) -> Tensor:
        """Make the network's input of some moments, float32 (len(frames), *shape)."""
        ...


EXTRACTORS: dict[str, type[Extractor[Any]]] = {
    "rgb": RgbExtractor,
    "flow": FlowExtractor,
}


def prepared(stream: Stream, device: str) -> tuple[Stream, State]:
    """Prepare a stream of any kind; see `Extractor.prepared`."""
    found: tuple[Stream, State] = EXTRACTORS[stream.kind].prepared(stream, device)
    return found
