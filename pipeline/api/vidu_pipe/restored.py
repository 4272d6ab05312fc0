"""What a call changes of the process that it runs in is as before when it returns: arithmetic, chance, environment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

# how the names begin of what jobs and training set, and of what Ray, OpenCV and scikit-learn set when imported
_OURS = ("CUBLAS_WORKSPACE_CONFIG", "RAY_", "PYTHONBREAKPOINT", "LD_LIBRARY_PATH", "KMP_")


@contextmanager
def left_as_found() -> Iterator[None]:
    """Put back torch's threads, its ways of computing, the state of its random numbers, and environment variables.

    The library computes with settings of its own, on which results depend; whoever calls it has others.
    """
    import torch

    threads, chance = torch.get_num_threads(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    switches = [(torch.utils.deterministic, "fill_uninitialized_memory"),
                *((torch.backends.cudnn, name) for name in ("benchmark", "deterministic", "allow_tf32")),
                (torch.backends.cuda.matmul, "allow_tf32")]
    before = [(place, name, getattr(place, name)) for place, name in switches]
    variables = _variables()
    try:
        yield
    finally:
        for name in _variables().keys() - variables.keys():
            del os.environ[name]
        os.environ.update(variables)
        for place, name, value in before:
            setattr(place, name, value)
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        torch.set_num_threads(threads)
        torch.set_rng_state(chance)
        if devices:
            torch.cuda.set_rng_state_all(devices)


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_OURS)}
