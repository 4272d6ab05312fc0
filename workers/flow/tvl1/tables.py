"""Tables of the pyramid's resampling on a torch device, made once: for torch operations and Triton's kernels."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from workers.flow.tvl1.pyramid import Taps


@lru_cache(maxsize=256)
def tables(taps: Taps, device: torch.device) -> tuple[Tensor, Tensor]:
    """First inputs (outputs,) int32 and weights (outputs, taps) float32 of a resampling, on the device."""
    return torch.from_numpy(taps.starts.astype(np.int32)).to(device), torch.from_numpy(taps.weights).to(device)
