"""Networks of torch become graphs for an engine made for CPUs; the slow way, gone once per network and machine."""

import logging
import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from schemas.errors import is_machines
from workers.networks.engine import BATCH, OpenVinoNetwork
from workers.networks.preprocessing import Preprocessing

TOLERANCE = 1e-4  # of the largest feature; engines differ by 1e-5 of it at most
logger = logging.getLogger(__name__)


@torch.inference_mode()
def exported(
    network: nn.Module, shape: tuple[int, ...], weights_sha256: str, preprocessing: Preprocessing
) -> OpenVinoNetwork | None:
    """Export a network, and compare what both engines make of the same random rows.

    Args:
        network: in inference mode, on the CPU.
        shape: of one row of its input.
        weights_sha256: digest of its tensors.
        preprocessing: how it wants its pictures.

    Returns:
        the network; None where it does not export, or does not give the same features.
    """
    example = torch.randn((BATCH["cpu"], *shape), generator=torch.Generator().manual_seed(0))
    try:
        made = OpenVinoNetwork(weights_sha256, preprocessing, _graph(network, example))
        apart = _apart(network(example).numpy(), made.started("cpu", "fp32")(example.numpy()))
    except Exception as error:
        if is_machines(error):
            raise
        # exporters meet what they do not know in as many ways as there are
        logger.info("torch runs this network, because it does not export: %s", str(error).strip().partition("\n")[0])
        return None
    if not apart < TOLERANCE:
        logger.info("torch runs this network, because its exported features would differ by %.2g", apart)
        return None
    return made


def _graph(network: nn.Module, example: torch.Tensor) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own ways; what counts is compared
        program = torch.onnx.export(network, (example,), dynamo=True, verbose=False)
    assert program is not None
    graph: bytes = program.model_proto.SerializeToString()
    return graph


def _apart(wanted: NDArray[np.float32], given: NDArray[np.float32]) -> float:
    return float(np.abs(given - wanted).max() / np.abs(wanted).max().clip(1e-30))
