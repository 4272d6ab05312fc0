"""Which device a wish means."""

import logging

logger = logging.getLogger(__name__)


def resolve_device(wish: str) -> str:
    """Resolve `auto` by what this machine has; what a cluster has is its workers' business, so name it there."""
    if wish != "auto":
        return wish
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    logger.info("`device` auto: %s", device)
    return device
