"""Moving textures, and jobs over them, for the tests of flow files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.jobs.job import Job
from pipeline.planning.find import find_videos
from schemas.flow_config import FlowFileSettings
from tests.videos import write_video

WIDTH, HEIGHT = 96, 72


def texture(dx: float, dy: float) -> NDArray[np.uint8]:
    """RGB image, uint8 (H, W, 3), of a fixed pattern that has moved by (dx, dy) pixels."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    x, y = x - dx, y - dy
    waves = np.sin(x / 3.1 + 0.4 * np.cos(y / 5)) + np.sin(y / 2.7 + 0.3)
    waves += np.sin((x + y) / 6.3) + np.cos((x - y) / 4.9)
    return np.repeat(np.rint(127.5 + 28 * waves).astype(np.uint8)[..., None], 3, axis=2)


def write_moving(path: Path, *, frames: int = 6, dx: float = 1.0, dy: float = 0.0) -> Path:
    """Write a video, nearly without loss, whose pattern moves by (dx, dy) pixels a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, images=[texture(k * dx, k * dy) for k in range(frames)], options={"crf": "4"})


def write_cut(path: Path, *, frames: int = 40) -> Path:
    """Write a video whose second half is gone."""
    write_video(path, images=[texture(k, 0) for k in range(frames)], codec="mpeg4", options={"g": "5", "qmax": "4"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    return path


def flow_job(
    videos: Path, out: Path, *, inline: bool = True, retry_failed: bool = False, workers: int = 1, **settings: object
) -> Job:
    """A quick job: DIS, no scaling."""
    chosen = {"method": "dis", "short_side_px": HEIGHT} | settings
    return Job(
        videos=find_videos(str(videos)),
        settings=FlowFileSettings(**chosen),
        networks={},
        out=out,
        shard_frames=1,
        inline=inline,
        retry_failed=retry_failed,
        workers=workers,
        quiet=True,
    )


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All outputs of a job, without its books."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".vidu-pipe" not in path.parts
    }
