"""What a worker needs beside its tasks, made once per process: the flow method and the networks."""

from dataclasses import dataclass

import torch

from schemas.config import ExtractSettings, StreamSettings
from schemas.errors import MachineError, ResourceError, is_machines
from schemas.shard import Origin
from schemas.software import versions
from workers.backbones import State, make_backbone, weights_digest
from workers.features import StreamNetwork
from workers.flow import FlowMethod, make_flow
from workers.folding import folded

# Libraries whose version can change a bit of a feature.
_SOFTWARE = ("av", "numba", "numpy", "opencv-contrib-python-headless", "timm", "torch", "torchvision", "vidu-pipe")


@dataclass(frozen=True, slots=True)
class Tools:
    """Everything `make_shard` uses and does not change.

    Attributes:
        settings: of the extraction.
        origin: written into every shard.
        flow: the flow method, or None without a flow stream.
        networks: one a stream.
    """

    settings: ExtractSettings
    origin: Origin
    flow: FlowMethod | None
    networks: tuple[StreamNetwork, ...]


def software(device: str) -> dict[str, str]:
    """Return the versions of the libraries that can change a feature, and of Python; of a GPU, its arithmetic too."""
    return versions(_SOFTWARE) | ({"tf32": "off"} if device == "cuda" else {})


def origin_of(settings: ExtractSettings) -> Origin:
    """Return what stores made here with these settings say of themselves."""
    return Origin("extract", settings.as_dict(), settings.digest, software(settings.device))


def make_tools(settings: ExtractSettings, weights: dict[str, State]) -> Tools:
    """Build flow method and networks for this process, and make its arithmetic repeatable.

    Args:
        settings: of the extraction.
        weights: state dict by stream, the very tensors that `settings` has the digests of.

    Raises:
        ResourceError: the device is not here, or the weights are not those of the settings.
        MachineError: there is no memory for the networks.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("this worker sees no GPU; give tasks one, or use --device cpu")
    if settings.device == "cpu":
        torch.set_num_threads(1)  # one core a task; and sums have one order
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False  # torch's default, though it rounds factors to 10 bits: fp32 is fp32 here
    torch.backends.cuda.matmul.allow_tf32 = False
    flow = settings.flow
    method = make_flow(flow.method, settings.device, **dict(flow.options)) if flow else None
    try:
        networks = tuple(_network(settings, stream, weights[stream.name]) for stream in settings.streams)
    except (MemoryError, RuntimeError) as error:
        if is_machines(error):
            raise MachineError(f"no memory for the networks on {settings.device}: {error}") from error
        raise
    return Tools(settings, origin_of(settings), method, networks)


def _network(settings: ExtractSettings, stream: StreamSettings, state: State) -> StreamNetwork:
    if weights_digest(state) != stream.weights_sha256:
        raise ResourceError(f"the weights of stream {stream.name} are not the ones this store is made with")
    backbone = make_backbone(stream.backbone)
    channels = 3 if stream.name == "rgb" or settings.flow is None else 2 * settings.flow.stack
    network = backbone.build(state, channels).to(memory_format=torch.channels_last)
    preprocessing = backbone.preprocessing.uncropped() if stream.crop == "none" else backbone.preprocessing
    shape = (1, channels, preprocessing.height, preprocessing.width)
    network = folded(network, torch.randn(shape, generator=torch.Generator().manual_seed(0))).to(settings.device)
    return StreamNetwork(stream.name, network, channels, preprocessing, settings.device, settings.precision)
