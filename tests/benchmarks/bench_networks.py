"""Pictures per second of CPU by engine and network, on one thread: torch, ONNX Runtime and OpenVINO.

    python -m tests.benchmarks.bench_networks                                     # real
    python -m tests.benchmarks.bench_networks --networks test_resnet --rounds 1   # small

Weights are random. All engines see the same rows; their features are compared with torch's before anything is timed.
Engines take turns, round by round, and what counts is each one's fastest round in seconds of CPU, so ratios hold on a
busy machine too. torch runs as it does for extraction (channels last); `bf16` is autocast of torch and the precision
hint of OpenVINO, and ONNX Runtime has none on CPUs. ONNX Runtime is left out where it is not installed.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.errors import ResourceError
from workers.networks.backbones import Backbone, make_backbone, weights_digest
from workers.networks.engine import BATCH, Infer, OpenVinoNetwork, TorchNetwork
from workers.networks.export import exported

NETWORKS = (
    "resnet50",
    "efficientnet_b0",
    "convnext_tiny",
    "vit_small_patch16_224",
    "mobilenetv3_large_100",
    "tf_efficientnet_lite0",
)
LARGEST_DIFFERENCE = 1e-4  # of fp32 features, or so much of the largest where all are small
LARGEST_BF16_SHARE = 0.1  # of the largest feature


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=7, help="the fastest of so many counts")
    options = parser.parse_args(arguments)
    print(f"{'network':<26} {'engine':<12} {'pictures/s':>10} {'x torch':>8} {'difference':>11} {'largest':>9}")
    for name in options.networks:
        compare(name, options.rounds)


def engines(backbone: Backbone) -> tuple[dict[str, Infer], tuple[int, ...]]:
    """Start a network with random weights in every engine; by engine, what runs it, and the shape of a row."""
    torch.manual_seed(0)
    own = backbone.preprocessing
    shape = 3, own.height, own.width
    state = backbone.skeleton().state_dict()
    network = exported(backbone.build(state, 3), shape, "", own)
    if network is None:
        raise SystemExit(f"{backbone.name} does not export")
    by_torch = TorchNetwork(weights_digest(state), own, backbone.name, 3, state)
    started = {"torch": by_torch.started("cpu", "fp32"), "openvino": network.started("cpu", "fp32")}
    if importlib.util.find_spec("onnxruntime"):
        started["onnxruntime"] = by_onnxruntime(network)
    try:
        started |= {"torch bf16": by_torch.started("cpu", "bf16"), "openvino bf16": network.started("cpu", "bf16")}
    except ResourceError as error:
        print(f"no bf16: {error}")
    return started, shape


def by_onnxruntime(network: OpenVinoNetwork) -> Infer:
    """The same graph in ONNX Runtime on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(network.graph, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]  # type: ignore[no-any-return]


def compare(name: str, rounds: int) -> None:
    """Check, time and print one network."""
    runs, shape = engines(make_backbone(name))
    batch = np.random.default_rng(0).normal(size=(BATCH["cpu"], *shape)).astype(np.float32)
    wanted = runs["torch"](batch)
    apart = {engine: float(np.abs(run(batch) - wanted).max()) for engine, run in runs.items()}
    largest = float(np.abs(wanted).max())
    for engine, difference in apart.items():
        limit = LARGEST_BF16_SHARE * largest if "bf16" in engine else LARGEST_DIFFERENCE * min(1.0, largest)
        if not difference <= limit:
            raise SystemExit(f"{name}: features of {engine} differ by {difference:.2g}")
    spent_s = fastest_s({engine: lambda run=run: run(batch) for engine, run in runs.items()}, rounds)
    for engine in sorted(runs, key=lambda one: spent_s[one], reverse=True):
        print(
            f"{name:<26} {engine:<13} {len(batch) / spent_s[engine]:>9.1f} "
            f"{spent_s['torch'] / spent_s[engine]:>8.2f} {apart[engine]:>11.2g} {largest:>9.2g}",
            flush=True,
        )


def fastest_s(works: dict[str, Callable[[], NDArray[np.float32]]], rounds: int) -> dict[str, float]:
    """Seconds of CPU of each one's fastest round; they take turns."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began = time.process_time()
            work()
            spent[name].append(time.process_time() - began)
    return {name: min(times) for name, times in spent.items()}


if __name__ == "__main__":
    main()
