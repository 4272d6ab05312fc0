"""Where learning computes, and torch made repeatable."""

import os

import torch

from schemas.errors import ResourceError


def prepare_torch(device: str, threads: int) -> torch.device:
    """Make torch deterministic and choose the device.

    Raises:
        ResourceError: `cuda` is asked for and not there.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    torch.use_deterministic_algorithms(True)
    # filling fresh memory with NaN is a debugging aid that costs time and changes no result
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    if device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("no CUDA device is available here; `device` cpu works everywhere")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
