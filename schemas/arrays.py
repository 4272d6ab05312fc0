"""Types of arrays that many files speak of."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]  # of a dtype that only the file or the caller knows; where it matters, the docstring says it
