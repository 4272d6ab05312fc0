"""Arrays of which only the file or the caller knows the dtype, and the one way to write several."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.disk.files import writing

Array = NDArray[Any]  # where shape and dtype matter, a docstring says them


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays by name as one `.npz` file, whole or not at all."""
    values: dict[str, Any] = dict(arrays)  # numpy's types know a keyword beside the names of arrays
    with writing(path) as file:
        np.savez(file, **values)
