"""What runs a network: OpenVINO on a CPU; torch on a GPU, and on a CPU where a network has no other way.

The one door to both. A network travels from the driver to the workers as a value that knows how to start itself there.
On one thread OpenVINO is 1.2 to 3 times as fast as torch, and it folds and fuses what torch keeps apart; with bf16 it
is 4 to 9 times as fast as torch with fp32 (tests/benchmarks/bench_networks.py has the figures of it and ONNX Runtime).

Nothing heavy is imported before a network starts, and of torch nothing at all where OpenVINO runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ResourceError
from workers.networks.preprocessing import Preprocessing

if TYPE_CHECKING:
    from workers.networks.backbones import State

# Rows of a batch: of fixed size, because the arithmetic of a convolution depends on it, so that a row's features are
# the same bits whatever lies beside it. On one core four are as fast as eight, and fewer are made for nothing.
BATCH = {"cpu": 4, "cuda": 64}
Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # (B, *shape) -> (B, D)
_ONE_THREAD = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
_PRECISION = {"fp32": "f32", "bf16": "bf16"}


class Network(Protocol):
    """A network as it travels: all that a worker needs to run it and to make its input.

    Attributes:
        engine: one of `schemas.streams.ENGINES`.
        weights_sha256: digest of the tensors it was made of.
        preprocessing: how it wants its pictures.
    """

    engine: ClassVar[str]

    @property
    def weights_sha256(self) -> str:
        """Digest of the tensors it was made of."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """How it wants its pictures."""
        ...

    def started(self, device: str, precision: str) -> Infer:
        """Make it ready in this process.

        Args:
            device: `cpu` or `cuda`.
            precision: `fp32`, or `bf16` for the network's inner arithmetic.

        Returns:
            a function of float32 (BATCH[device], *shape) that gives float32 (BATCH[device], D).

        Raises:
            ResourceError: this machine can not run it.
        """
        ...


@dataclass(frozen=True, slots=True)
class OpenVinoNetwork:
    """A network as a graph that OpenVINO runs on a CPU.

    Attributes:
        weights_sha256: see `Network`.
        preprocessing: see `Network`.
        graph: ONNX, with its weights; its input is float32 (BATCH["cpu"], *shape).
    """

    engine: ClassVar[str] = "openvino"
    weights_sha256: str
    preprocessing: Preprocessing
    graph: bytes

    def started(self, device: str, precision: str) -> Infer:
        """See `Network`; on a CPU that computes no bf16 there is none: OpenVINO would take fp32 and not say so."""
        import openvino

        core = openvino.Core()
        if device != "cpu":
            raise ResourceError(f"a network made for openvino runs on the CPU, not on {device}")
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ResourceError("the CPU of this machine computes no bf16; use `precision` fp32")
        wishes = {**_ONE_THREAD, "INFERENCE_PRECISION_HINT": _PRECISION[precision]}
        request = core.compile_model(core.read_model(self.graph), "CPU", wishes).create_infer_request()

        def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
            features: NDArray[np.float32] = request.infer({0: batch})[0]
            return features

        return run


@dataclass(frozen=True, slots=True, eq=False)
class TorchNetwork:
    """A network that torch runs, on a GPU or a CPU.

    Attributes:
        weights_sha256: see `Network`.
        preprocessing: see `Network`.
        backbone: a name of `BACKBONES`.
        channels: of its input.
        state: its tensors.
    """

    engine: ClassVar[str] = "torch"
    weights_sha256: str
    preprocessing: Preprocessing
    backbone: str
    channels: int
    state: "State"

    def started(self, device: str, precision: str) -> Infer:
        """See `Network`."""
        import torch

        from workers.networks.backbones import make_backbone, weights_digest

        make_torch_repeatable(device)
        if weights_digest(self.state) != self.weights_sha256:
            raise ResourceError(f"the weights of {self.backbone} are not those that were found at first")
        layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
        network = make_backbone(self.backbone).build(self.state, self.channels).to(device)

        @torch.inference_mode()
        def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
            rows = torch.from_numpy(batch).to(device)
            rows = rows.contiguous(memory_format=layouts.get(rows.dim(), torch.contiguous_format))
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                features: Any = network(rows)
            result: NDArray[np.float32] = features.float().cpu().numpy()
            return result

        return run


def make_torch_repeatable(device: str) -> None:
    """Make torch's arithmetic repeatable in this process.

    Raises:
        ResourceError: the device is not here.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("this worker sees no GPU; give tasks one, or use `device` cpu")
    if device == "cpu":
        torch.set_num_threads(1)  # one core a task; and sums have one order
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False  # torch's default, though it rounds factors to 10 bits: fp32 is fp32 here
    torch.backends.cuda.matmul.allow_tf32 = False
