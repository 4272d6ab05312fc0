"""What streams have in common whose network sees pictures: the network and its preprocessing."""

from schemas.config import ExtractSettings
from schemas.errors import ResourceError
from schemas.streams import NetworkStream
from workers.networks.engine import Network


class PictureNetwork:
    """A backbone that sees pictures; the base of the extractors of pictures.

    Attributes:
        preprocessing: how the network wants its pictures.
        shape: (C, height, width) of one row.
        network: float32 (B, C, height, width) -> float32 (B, D), on the extraction's device.
    """

    def __init__(self, stream: NetworkStream, network: Network, settings: ExtractSettings, channels: int) -> None:
        """Start the network.

        Raises:
            ResourceError: the network is not that of the settings, or does not run here.
        """
        if (network.weights_sha256, network.engine) != (stream.weights_sha256, stream.engine):
            raise ResourceError(f"the network of stream {stream.name} is not the one this store is made with")
        own = network.preprocessing
        self.preprocessing = own.uncropped() if stream.crop == "none" else own
        self.shape: tuple[int, ...] = channels, own.height, own.width
        self.network = network.started(settings.device, settings.precision)
