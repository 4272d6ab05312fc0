"""Which device a wish means."""

import logging
import sys
from pathlib import Path

_DEVICES = Path("/dev")
logger = logging.getLogger(__name__)


def resolve_device(wish: str) -> str:
    """Resolve `auto` by what this machine has; what a cluster has is its workers' business, so name it there."""
    if wish != "auto":
        return wish
    device = "cuda" if has_gpu() else "cpu"
    logger.info("`device` auto: %s", device)
    return device


def has_gpu() -> bool:
    """Tell whether torch can use a GPU; torch is asked, which takes a second, only where there may be one at all."""
    drivers = ("nvidia[0-9]*", "kfd", "dxg")  # NVIDIA's, AMD's, and that of a GPU of the Windows around a Linux
    if sys.platform == "linux" and not any(node for driver in drivers for node in _DEVICES.glob(driver)):
        return False
    import torch

    return torch.cuda.is_available()
