"""What a call changes of the process that it runs in is as before when it returns: arithmetic, chance, environment."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# how the names begin of what jobs and training set, and of what Ray, OpenCV and scikit-learn set when imported
_OURS = ("CUBLAS_WORKSPACE_CONFIG", "RAY_", "PYTHONBREAKPOINT", "LD_LIBRARY_PATH", "KMP_")


@contextmanager
def left_as_found(*, torch_needed: bool = False) -> Iterator[None]:
    """Put back torch's threads, its ways of computing, the state of its random numbers, and environment variables.

    The library computes with settings of its own, on which results depend; whoever calls it has others.

    Args:
        torch_needed: the call computes with torch for sure. Others may do without: torch is not imported for them, and
            if they import it after all, it is left as it is when new.
    """
    if torch_needed:
        import torch  # noqa: F401 - so that it is there to be looked at
    state = _TorchState() if "torch" in sys.modules else None
    variables = _variables()
    try:
        yield
    finally:
        for name in _variables().keys() - variables.keys():
            del os.environ[name]
        os.environ.update(variables)
        if state is not None:
            state.restore()
        elif "torch" in sys.modules:
            _as_new()


class _TorchState:
    """What the library changes of torch."""

    def __init__(self) -> None:
        import torch

        self._threads, self._chance = torch.get_num_threads(), torch.get_rng_state()
        self._devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        self._strict = torch.are_deterministic_algorithms_enabled()
        self._warns = torch.is_deterministic_algorithms_warn_only_enabled()
        self._before = [(place, name, getattr(place, name)) for place, name, _ in _switches()]

    def restore(self) -> None:
        """Put everything back."""
        import torch

        for place, name, value in self._before:
            setattr(place, name, value)
        torch.use_deterministic_algorithms(self._strict, warn_only=self._warns)
        torch.set_num_threads(self._threads)
        torch.set_rng_state(self._chance)
        if self._devices:
            torch.cuda.set_rng_state_all(self._devices)


def _switches() -> list[tuple[object, str, bool]]:
    """Where a switch lies, its name, and how it stands in a torch that is new."""
    import torch

    return [
        (torch.utils.deterministic, "fill_uninitialized_memory", True),
        (torch.backends.cudnn, "benchmark", False),
        (torch.backends.cudnn, "deterministic", False),
        (torch.backends.cudnn, "allow_tf32", True),
        (torch.backends.cuda.matmul, "allow_tf32", False),
    ]


def _as_new() -> None:
    """Set torch as it is when it was just imported."""
    import torch

    for place, name, value in _switches():
        setattr(place, name, value)
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(len(os.sched_getaffinity(0)))


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_OURS)}
