"""A walk through the library, cell by cell; open it as a notebook, or run it: `python -m examples.walkthrough FOLDER`.

FOLDER holds one folder of videos a label, for example what `python -m examples.demo_videos FOLDER` makes.
"""

import logging
import sys
import tempfile
from pathlib import Path

import numpy as np

import vidu_pipe as vp

logging.basicConfig(level=logging.INFO, format="%(message)s")
videos = Path(sys.argv[1])
work = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp(prefix="walkthrough-"))

# %% Features: what each moment shows, and how it moves. Run this cell again: what is done is not done twice.
store = vp.extract(videos, work / "features", samples=2, streams=[vp.Rgb(), vp.Flow(options={"preset": "fast"})])
logging.info("%r", store)

# %% One row a video: its label, its moments, and what became of it.
for row in store.table()[:3]:
    logging.info("%s: label %r, %d moments, %s", row["id"], row["label"], row["moments"], row["outcome"])

# %% The features of one video. Row i of every stream is the same moment.
video = store[next(iter(store))]
logging.info("%s: rgb %s, flow %s", video.id, video.rgb.shape, video.flow.shape)
logging.info("moments at %s s", np.round(video.pts_s, 2).tolist())

# %% Classifiers over every stream alone and over both. Each video is judged by a model that has not seen it.
run = vp.train(store, work / "run", folds=3, fusions=["concat", "average"], quiet=True)
for one in run.results.rows:
    logging.info("%-8s %5.1f %% (%.1f to %.1f)", one.name, 100 * one.metrics["top1"], 100 * one.low, 100 * one.high)
logging.info("%s", run.results.verdict)

# %% What the model says of a video.
said = vp.predict(
    run, video_files := sorted(path for path in videos.rglob("*") if path.is_file())[:1], inline=True, quiet=True
)
best = int(said.said[0].probabilities.argmax())
logging.info("%s shows %s", video_files[0].name, said.classes[best])

# %% Optical flow of arrays, without a store: a texture that moves by one pixel to the right.
noise = np.random.default_rng(0).integers(0, 256, (64, 96)).astype(np.uint8)
texture = np.uint8(np.mean([np.roll(noise, (i, j), (0, 1)) for i in range(5) for j in range(5)], axis=0))
field = vp.flow(np.stack([texture, np.roll(texture, 1, axis=1)]))
logging.info("motion of the middle: %.2f px to the right, %.2f px down", *field[0, :, 16:-16, 16:-16].mean((1, 2)))

# %% The whole run as one page that needs no network.
logging.info("report: %s", vp.report(run))
