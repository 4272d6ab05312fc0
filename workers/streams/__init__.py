"""How each kind of stream is made: the pictures around moments become a network's input. One file a kind.

`EXTRACTORS` has one line for every kind of `schemas.streams.STREAMS`. An extractor without a network prepares None,
makes the features themselves in `inputs`, and has for `network` a function that returns its batch as it is.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.config import ExtractSettings
from schemas.streams import Stream
from workers.moments import Pictures
from workers.networks.engine import Infer, Network
from workers.streams.flow import FlowExtractor
from workers.streams.rgb import RgbExtractor

S = TypeVar("S", bound=Stream)


class Extractor(Protocol[S]):
    """Makes the features of one stream; built once per process.

    Attributes:
        shape: of one row of the network's input.
        network: float32 (B, *shape) -> float32 (B, D), on the extraction's device.
    """

    shape: tuple[int, ...]
    network: Infer

    def __init__(self, stream: S, network: Network | None, settings: ExtractSettings) -> None:
        """Start the network.

        Args:
            stream: settings of the stream, prepared.
            network: what `prepared` found.
            settings: of the extraction: device, precision and size of pictures.
        """
        ...

    @staticmethod
    def prepared(stream: S, device: str) -> tuple[S, Network | None]:
        """Find what the stream needs on this machine, before any work.

        Returns:
            the stream with all digests filled in, and its network (None without one).

        Raises:
            ConfigError: a name or a value is not legal.
            ResourceError: weights are not on this machine and can not be fetched.
        """
        ...

    def inputs(self, pictures: Pictures, frames: Sequence[int]) -> NDArray[np.float32]:
        """Make the network's input of some moments, float32 (len(frames), *shape)."""
        ...


EXTRACTORS: dict[str, type[Extractor[Any]]] = {
    "rgb": RgbExtractor,
    "flow": FlowExtractor,
}


def prepared(stream: Stream, device: str) -> tuple[Stream, Network | None]:
    """Prepare a stream of any kind; see `Extractor.prepared`."""
    found: tuple[Stream, Network | None] = EXTRACTORS[stream.kind].prepared(stream, device)
    return found
