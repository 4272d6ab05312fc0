"""Flow between two pictures: a `.flo` file, a drawing, or both."""

from pathlib import Path

import numpy as np

from pipeline.flow.preview import beside, refuse_input
from schemas.errors import ConfigError
from workers.flow import FlowMethod
from workers.flow.files.flo import write_flo
from workers.flow.files.pictures import grey_of, read_picture, write_picture


def flow_of_pair(
    first: Path,
    second: Path,
    method: FlowMethod,
    *,
    out: Path | None,
    preview: Path | None,
    scale_px: float | None,
) -> float:
    """Compute the flow from one picture to another and write what is asked for.

    Returns:
        the mean length of the flow, in pixels.

    Raises:
        ConfigError: a picture can not be read or would be written over, their sizes differ, or a suffix is not `.flo`
            or `.png`.
        ResourceError: a file can not be written.
    """
    for path, suffix in ((out, ".flo"), (preview, ".png")):
        if path is not None and path.suffix.lower() != suffix:
            raise ConfigError(f"{path}: of a pair of pictures {suffix} is written here; choose such a name")
        if path is not None:
            refuse_input(path, first, second)
    pictures = [read_picture(path) for path in (first, second)]
    sizes = [f"{picture.shape[1]} x {picture.shape[0]}" for picture in pictures]
    if sizes[0] != sizes[1]:
        raise ConfigError(f"`pair`: {first} has {sizes[0]} pixels, {second} has {sizes[1]}; they must be of one size")
    flow = method(np.stack([grey_of(picture) for picture in pictures]))[0]
    if out is not None:
        write_flo(out, flow)
    if preview is not None:
        write_picture(preview, beside(pictures[0], flow, scale_px, pictures[1]))
    return float(np.hypot(*flow).mean())
