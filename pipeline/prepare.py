"""What a user asks for becomes settings and weights: everything that can be wrong is found here, before any work."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.devices import resolve_device
from schemas.config import DEFAULT_CROP, DEFAULT_FLOW_BOUND_PX, ExtractSettings, FlowSettings, Sampling, StreamSettings
from schemas.errors import ConfigError
from workers.backbones import DEFAULT_BACKBONE, State, make_backbone, read_weights, weights_digest
from workers.flow import make_flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a user asks for; the defaults are the program's.

    Attributes:
        sampling: which frames are moments.
        streams: names of the streams.
        short_side_px: of decoded frames.
        upscale: whether smaller frames are scaled up.
        flow: a name of `FLOW_METHODS`.
        flow_options: options of that method.
        flow_stack: L.
        flow_bound_px: see `FlowSettings`.
        rgb_backbone: a name of `BACKBONES`.
        flow_backbone: a name of `BACKBONES`.
        rgb_crop: a name of `CROPS`, see `StreamSettings`.
        flow_crop: likewise, of the flow stream.
        weights: file for the first stream's backbone, and for others on the same one; None: the published weights.
        flow_weights: file for the flow stream.
        device: `auto`, `cpu` or `cuda`.
        precision: `fp32` or `bf16`.
        feature_dtype: `float16` or `float32`.
    """

    sampling: Sampling = field(default_factory=lambda: Sampling(every=8))
    streams: tuple[str, ...] = ("rgb", "flow")
    short_side_px: int = 256
    upscale: bool = False
    flow: str = "tvl1"
    flow_options: tuple[tuple[str, Any], ...] = ()
    flow_stack: int = 10
    flow_bound_px: float = DEFAULT_FLOW_BOUND_PX
    rgb_backbone: str = DEFAULT_BACKBONE
    flow_backbone: str = DEFAULT_BACKBONE
    rgb_crop: str = DEFAULT_CROP["rgb"]
    flow_crop: str = DEFAULT_CROP["flow"]
    weights: Path | None = None
    flow_weights: Path | None = None
    device: str = "auto"
    precision: str = "fp32"
    feature_dtype: str = "float16"


def prepare(wishes: Wishes) -> tuple[ExtractSettings, dict[str, State]]:
    """Resolve names, find weights, choose the device.

    Returns:
        settings, and the state dict of each stream's network.

    Raises:
        ConfigError: a name or value is not legal, or weights do not fit their network.
        ResourceError: weights are not on this machine and can not be fetched.
    """
    device = resolve_device(wishes.device)
    streams: list[StreamSettings] = []
    weights: dict[str, State] = {}
    used: set[Path | None] = set()
    backbones = {name: wishes.flow_backbone if name == "flow" else wishes.rgb_backbone for name in wishes.streams}
    for name, backbone in backbones.items():
        file = wishes.weights if backbone == backbones[wishes.streams[0]] else None
        if name == "flow" and wishes.flow_weights:
            file = wishes.flow_weights
        used.add(file)
        weights[name] = _state(backbone, file, 3 if name == "rgb" else 2 * wishes.flow_stack)
        streams.append(StreamSettings(name=name, backbone=backbone, weights_sha256=weights_digest(weights[name]),
                                      crop=wishes.rgb_crop if name == "rgb" else wishes.flow_crop))
    for option, file in (("--weights", wishes.weights), ("--flow-weights", wishes.flow_weights)):
        if file is not None and file not in used:
            raise ConfigError(f"{option} {file} belongs to no network of this extraction: streams "
                              f"{', '.join(wishes.streams)} on {', '.join(stream.backbone for stream in streams)}")
    flow = None
    if "flow" in wishes.streams:
        make_flow(wishes.flow, device, **dict(wishes.flow_options))
        flow = FlowSettings(method=wishes.flow, options=wishes.flow_options, stack=wishes.flow_stack,
                            bound_px=wishes.flow_bound_px)
    settings = ExtractSettings(
        sampling=wishes.sampling, short_side_px=wishes.short_side_px, upscale=wishes.upscale, streams=tuple(streams),
        flow=flow, device=device, precision=wishes.precision, feature_dtype=wishes.feature_dtype)
    return settings, weights


def _state(name: str, file: Path | None, channels: int) -> State:
    backbone = make_backbone(name)
    state = backbone.pretrained() if file is None else read_weights(file)
    backbone.build(state, channels)  # weights of another network are an error now, not in the first worker
    return state


def wanted_streams(text: str) -> tuple[str, ...]:
    """`rgb,flow` -> ("rgb", "flow"), in the order of the schema.

    Raises:
        ConfigError: a name is not known, or none is given.
    """
    from schemas.config import STREAMS, known

    names = {known("stream", name.strip(), STREAMS) for name in text.split(",") if name.strip()}
    if not names:
        raise ConfigError(f"--streams needs one of {', '.join(STREAMS)}")
    return tuple(name for name in STREAMS if name in names)
