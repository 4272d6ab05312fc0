"""What a run's model says of the videos of a store: of each as a whole, or moment by moment along it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.learn.data.dataset import Dataset, read_moments
from pipeline.learn.data.stores import Joined
from pipeline.learn.models.model import VideoClassifier
from pipeline.learn.training.train import scores_of
from schemas.disk.store import VideoRows

_BATCH = 256


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a model says of one video.

    Attributes:
        video: its id.
        path: of its file.
        outcome: `ok`, or `partial` when the file broke off and only what was before is judged.
        moments: how many it was judged by.
        probabilities: float32 (C,).
    """

    video: str
    path: str
    outcome: str
    moments: int
    probabilities: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Timeline:
    """What a model says along one video.

    Attributes:
        video: its id.
        frame: int64 (T,), frame index of every moment.
        pts_s: float64 (T,), presentation time of every moment.
        probabilities: float32 (T, C).
        window: moments that each row was judged by.
    """

    video: str
    frame: NDArray[np.int64]
    pts_s: NDArray[np.float64]
    probabilities: NDArray[np.float32]
    window: int


class Predictor:
    """A model with the features of some videos.

    Attributes:
        model: in evaluation mode, on its device.
    """

    def __init__(
        self, model: VideoClassifier, stores: Joined, videos: Sequence[VideoRows], device: torch.device
    ) -> None:
        """Read the features.

        Raises:
            StoreError: a shard can not be read.
            ConfigError: the stores lack a stream of the model.
        """
        self.model = model.to(device).eval()
        self._device = device
        self._stores = stores
        self._videos = videos
        self._data: Dataset = stores.read(videos, streams=list(self.model.settings.streams))

    def said(self) -> list[Judgement]:
        """Judge every video as a whole, in their order."""
        scores = scores_of(self.model, self._data, np.arange(len(self._videos)), self._device)
        each = self.model.probabilities(scores).numpy()
        return [
            Judgement(video.id, video.path, video.outcome, video.moments, probabilities)
            for video, probabilities in zip(self._videos, each, strict=True)
        ]

    def timeline(self, index: int, window: int) -> Timeline:
        """Judge one of the videos moment by moment; see `along`."""
        rows = slice(int(self._data.offsets[index]), int(self._data.offsets[index + 1]))
        features = {name: table[rows] for name, table in self._data.streams.items()}
        probabilities = along(self.model, features, window=window, device=self._device)
        frame, pts_s = read_moments(self._stores.first, [self._videos[index]])
        return Timeline(self._videos[index].id, frame, pts_s, probabilities, min(window, len(frame)))


@torch.inference_mode()
def along(
    model: VideoClassifier, features: Mapping[str, Tensor], *, window: int, device: torch.device
) -> NDArray[np.float32]:
    """Judge every moment of one video by a sliding window of moments around it.

    Each window goes through the whole model, temporal head included, as if it were a video. It is centred on its
    moment and pushed inwards at both ends, so that all windows are of one length; a video that is not longer than the
    window is judged as a whole at each of its moments.

    Args:
        model: in evaluation mode, on `device`.
        features: stream -> (T, D).
        window: moments in a window.
        device: where to compute.

    Returns:
        float32 (T, C) probabilities.
    """
    index = windows(len(next(iter(features.values()))), window)
    parts = []
    for chosen in torch.split(torch.from_numpy(index), _BATCH):
        batch = {name: features[name][chosen].to(device).float() for name in model.settings.streams}
        scores = model(batch, torch.ones(chosen.shape, dtype=torch.bool, device=device))
        parts.append(model.probabilities(scores).cpu())
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


def windows(moments: int, window: int) -> NDArray[np.int64]:
    """Return which moments each moment is judged by: int64 (T, min(window, T))."""
    length = min(window, moments)
    start = np.clip(np.arange(moments) - length // 2, 0, moments - length)
    return np.asarray(start[:, None] + np.arange(length), dtype=np.int64)
