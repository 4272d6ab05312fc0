r"""Turn the JHMDB joint sequences of one .npz into feature folders that `vidu-pipe import` reads.

    python -m examples.jhmdb_joints jhmdb_pose_split1.npz joints
    vidu-pipe import --from position=joints/position --from motion=joints/motion \
        --source "JHMDB joints" --labels joints/labels.csv --out joints/store
    vidu-pipe train-fusion --store joints/store --head lstm --head-option layers=2 --seeds 5

Each sequence (T, 15, 2) becomes two streams of 30 numbers a frame: the joints relative to their centre and in units of
their size, and how they moved since the frame before. Nothing else is done: no joint distances, no augmentation.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def position(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centre every frame on the mean of its joints; divide by the sequence's spread, so that size does not matter."""
    centred = joints - joints.mean(axis=1, keepdims=True)
    return np.asarray(centred / max(float(centred.std()), 1e-6), dtype=np.float32)


def motion(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """Displacement of every joint since the frame before, in units of the sequence's spread; 0 in the first frame."""
    spread = max(float((joints - joints.mean(axis=1, keepdims=True)).std()), 1e-6)
    return np.asarray(np.diff(joints, axis=0, prepend=joints[:1]) / spread, dtype=np.float32)


def main() -> None:
    """Write `position/`, `motion/` and `labels.csv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("npz", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    rows = [("path", "label", "split")]
    with np.load(arguments.npz, allow_pickle=False) as file:
        for split in ("train", "test"):
            stops = np.cumsum(file[f"{split}_len"])
            for number, joints in enumerate(np.split(file[f"{split}_pose"], stops[:-1])):
                label = str(file[f"{split}_label"][number])
                name = f"{label}/{split}_{number:03d}"
                for stream, make in (("position", position), ("motion", motion)):
                    path = arguments.out / stream / f"{name}.npy"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    np.save(path, make(joints))
                rows.append((name, label, split))
    with (arguments.out / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    main()
