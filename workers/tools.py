"""What a worker needs beside its tasks, made once per process: flow methods and networks."""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.config import ExtractSettings
from schemas.disk.shard import Origin
from schemas.errors import MachineError, is_machines
from schemas.software import versions
from schemas.streams import FlowMethodSettings, Stream
from workers.flow import FlowMethod, make_flow
from workers.networks.engine import Network, make_torch_repeatable
from workers.networks.found import SOFTWARE
from workers.streams import EXTRACTORS, Extractor

# Libraries whose version can change a bit of a feature.
_SOFTWARE = ("av", "numba", "numpy", "opencv-contrib-python-headless", "pillow", "vidu-pipe", *SOFTWARE)


@dataclass(frozen=True, slots=True)
class Tools:
    """Everything `make_shard` uses and does not change.

    Attributes:
        settings: of the extraction.
        origin: written into every shard.
        flow: the flow methods that some stream needs.
        streams: what makes each stream's features, by name.
    """

    settings: ExtractSettings
    origin: Origin
    flow: Mapping[FlowMethodSettings, FlowMethod]
    streams: Mapping[str, Extractor[Stream]]


def feature_software(device: str) -> dict[str, str]:
    """Return the versions of the libraries that can change a feature, and of Python; of a GPU, its arithmetic too."""
    return versions(_SOFTWARE) | ({"tf32": "off"} if device == "cuda" else {})


def feature_origin(settings: ExtractSettings) -> Origin:
    """Return what stores made here with these settings say of themselves."""
    return Origin("extract", settings.as_dict(), settings.digest, feature_software(settings.device))


def make_tools(settings: ExtractSettings, networks: Mapping[str, Network | None]) -> Tools:
    """Build flow methods and networks for this process, and make its arithmetic repeatable.

    Args:
        settings: of the extraction, prepared.
        networks: of each stream, the very ones that `settings` has the digests of; None where it has none.

    Raises:
        ResourceError: the device is not here, or a network is not that of the settings.
        MachineError: there is no memory for the networks.
    """
    if settings.device == "cuda":
        make_torch_repeatable("cuda")
    methods = {
        motion: make_flow(motion.method, settings.device, **dict(motion.options)) for motion in settings.needs.flow
    }
    try:
        streams = {
            stream.name: EXTRACTORS[stream.kind](stream, networks[stream.name], settings) for stream in settings.streams
        }
    except (MemoryError, RuntimeError) as error:
        if is_machines(error):
            raise MachineError(f"no memory for the networks on {settings.device}: {error}") from error
        raise
    return Tools(settings, feature_origin(settings), methods, streams)
