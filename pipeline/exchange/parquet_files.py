"""Features of a video as Apache Parquet: a row a moment, a list of numbers a stream."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from schemas.arrays import Array
from schemas.disk.files import writing
from schemas.errors import ResourceError


def parquet_library() -> tuple[Any, Any]:
    """Import pyarrow and its parquet.

    Raises:
        ResourceError: it is not installed.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise ResourceError(
            "parquet needs the library pyarrow: pip install 'vidu-pipe[parquet]'; npz and npy need nothing"
        ) from error
    return arrow, parquet


def write_parquet(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays (T,) or (T, D) by name, whole or not at all."""
    arrow, parquet = parquet_library()
    columns = {
        name: arrow.array(list(values)) if values.ndim == 2 else arrow.array(values) for name, values in arrays.items()
    }
    with writing(path) as file:
        parquet.write_table(arrow.table(columns), file)


def read_parquet(file: BinaryIO) -> dict[str, Array]:
    """Read arrays by name.

    Raises:
        ValueError: a column is no table, since its lists differ in length.
    """
    arrow, parquet = parquet_library()
    table = parquet.ParquetFile(file).read()
    arrays: dict[str, Array] = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if arrow.types.is_list(column.type) or arrow.types.is_fixed_size_list(column.type):
            if column.null_count or len(set(column.value_lengths().to_pylist())) > 1:
                raise ValueError(f"the lists of {name!r} are not all of one length")
            arrays[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
        else:
            arrays[name] = column.to_numpy(zero_copy_only=False)
    return arrays
