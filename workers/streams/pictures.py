"""What streams have in common whose network sees pictures: the backbone, its weights and its preprocessing."""

from pathlib import Path
from typing import TypeVar

import torch

from schemas.config import ExtractSettings
from schemas.errors import ConfigError, ResourceError
from schemas.streams import NetworkStream, changed
from workers.networks.backbones import State, make_backbone, read_weights, weights_digest
from workers.networks.folding import folded

S = TypeVar("S", bound=NetworkStream)


def with_published_or_own_weights(stream: S, channels: int) -> tuple[S, State]:
    """Find a stream's weights, check that they fit its network, and fill in their digest.

    Args:
        stream: with a file of weights, or without: then the published ones are taken.
        channels: of the network's input.

    Raises:
        ConfigError: the backbone is not known, the weights do not fit it, or they are not those that the stream names.
        ResourceError: weights are not on this machine and can not be fetched.
    """
    backbone = make_backbone(stream.backbone)
    state = read_weights(Path(stream.weights)) if stream.weights else backbone.pretrained()
    backbone.build(state, channels)  # weights of another network are an error now, not in the first worker
    digest = weights_digest(state)
    if stream.weights_sha256 not in ("", digest):
        place = f"in {stream.weights}" if stream.weights else "here"
        raise ConfigError(f"stream {stream.name} was made with weights of {stream.backbone} of digest "
                          f"{stream.weights_sha256}; those found {place} have {digest}. Give the file it was made "
                          "with: `weights`")
    return changed(stream, weights="", weights_sha256=digest), state


class PictureNetwork:
    """A backbone that sees pictures; the base of the extractors of pictures.

    Attributes:
        preprocessing: how the network wants its pictures.
        shape: (C, height, width) of one row.
        network: (B, C, height, width) -> (B, D), in inference mode on the extraction's device.
        device: where.
    """

    def __init__(self, stream: NetworkStream, state: State, settings: ExtractSettings, channels: int) -> None:
        """Build the network.

        Raises:
            ResourceError: the weights are not those of the settings.
        """
        if weights_digest(state) != stream.weights_sha256:
            raise ResourceError(f"the weights of stream {stream.name} are not the ones this store is made with")
        backbone = make_backbone(stream.backbone)
        network = backbone.build(state, channels).to(memory_format=torch.channels_last)
        self.preprocessing = backbone.preprocessing.uncropped() if stream.crop == "none" else backbone.preprocessing
        self.shape: tuple[int, ...] = channels, self.preprocessing.height, self.preprocessing.width
        example = torch.randn((1, *self.shape), generator=torch.Generator().manual_seed(0))
        self.network = folded(network, example).to(settings.device)
        self.device = settings.device
