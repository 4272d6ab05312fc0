"""A video classifier: per stream a standardisation and a head, then a fusion. Built from settings, kept sans pickle."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.learn.models.fusion import Average, Classifier, Concat, make_fusion
from pipeline.learn.models.heads import Head, make_head
from pipeline.learn.settings import ModelSettings
from schemas.disk.files import reading, write_bytes
from schemas.errors import ConfigError, StoreError

SMALLEST_STD = 1e-4  # of its stream's typical one: a feature that changes less in training counts as not changing


class Branch(nn.Module):
    """One stream: features are standardised with the numbers of the training part, then go through the head.

    Attributes:
        head: the temporal head.
        mean: buffer (D,).
        std: buffer (D,).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, head: Head, dim: int) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def standardise(self, mean: Tensor, std: Tensor) -> None:
        """Set mean and standard deviation, both (D,), of the training part.

        A feature that never changed is divided by what is typical of its stream instead of being blown up. All is
        relative, so that the unit of the features does not matter.
        """
        changing = std[std > 0]
        typical = changing.median() if len(changing) else std.new_ones(())  # not a mean: units may differ by feature
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std < SMALLEST_STD * typical, typical, std))

    def standardised(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D): (x - mean) / std, in one pass over x."""
        scale = self.std.reciprocal()
        return torch.addcmul(-self.mean * scale, x, scale)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, E)."""
        vector: Tensor = self.head(self.standardised(x), mask)
        return vector


class VideoClassifier(nn.Module):
    """The whole model.

    Attributes:
        settings: what it was built from.
        branches: one a stream, in the order of `settings.streams`.
        fusion: joins them and scores the classes.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        heads = {
            name: make_head(settings.head, dim=dim, **settings.head_options) for name, dim in settings.streams.items()
        }
        self.branches = nn.ModuleDict({name: Branch(head, settings.streams[name]) for name, head in heads.items()})
        self.fusion = make_fusion(
            settings.fusion,
            widths=[head.width for head in heads.values()],
            classes=settings.classes,
            hidden=settings.hidden,
            dropout=settings.dropout,
            multilabel=settings.multilabel,
        )

        if self.pools:
            for module in self.fusion.modules():
                if isinstance(module, Classifier):
                    module.start_at_zero()

    @property
    def pools(self) -> bool:
        """Whether the heads have nothing to learn, so that data may be pooled before training."""
        return all(self.branch(name).head.pools for name in self.branches)

    @property
    def layer(self) -> nn.Linear | None:
        """The linear layer that is all there is to train, which can be fitted to the end; None where there is more."""
        if not isinstance(self.fusion, Concat | Average):
            return None
        last = self.fusion.classifier[-1]
        assert isinstance(last, nn.Linear)
        return last if self.trainable() == sum(parameter.numel() for parameter in last.parameters()) else None

    @property
    def learning_rate(self) -> float:
        """The learning rate that suits its heads."""
        return min(self.branch(name).head.learning_rate for name in self.branches)

    def branch(self, stream: str) -> Branch:
        """Return the branch of a stream."""
        branch = self.branches[stream]
        assert isinstance(branch, Branch)
        return branch

    def seen(self, features: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """Return what `layer` sees of a batch: (B, E)."""
        assert isinstance(self.fusion, Concat | Average)
        return self.fusion.joined([branch(features[name], mask) for name, branch in self.branches.items()])

    def forward(self, features: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """Score a batch.

        Args:
            features: stream name -> float32 (B, T, D).
            mask: bool (B, T), True at the moments that exist, which come first.

        Returns:
            (B, C), before softmax or sigmoid.
        """
        scores: Tensor = self.fusion([branch(features[name], mask) for name, branch in self.branches.items()])
        return scores

    def probabilities(self, scores: Tensor) -> Tensor:
        """Turn scores (B, C) into probabilities."""
        return scores.sigmoid() if self.settings.multilabel else scores.softmax(1)

    def trainable(self) -> int:
        """Count the numbers that training changes."""
        return sum(parameter.numel() for parameter in self.parameters())


def join_late(settings: ModelSettings, singles: Mapping[str, VideoClassifier]) -> VideoClassifier:
    """Put streams that were trained alone together under a late fusion; nothing is trained anew.

    Args:
        settings: of the joined model, with a late fusion.
        singles: stream name -> model of that stream alone, of the same head.
    """
    joined = VideoClassifier(settings)
    if not joined.fusion.is_late:
        raise ConfigError(f"fusion {settings.fusion!r} can not be put together from single streams")
    for index, name in enumerate(settings.streams):
        single = singles[name]
        joined.branches[name].load_state_dict(single.branches[name].state_dict())
        classifier = joined.fusion.get_submodule(f"classifiers.{index}")
        classifier.load_state_dict(single.fusion.get_submodule("classifier").state_dict())
    return joined


def save_model(model: VideoClassifier, path: Path) -> None:
    """Write the model's tensors, standardisation included, as safetensors; whole or not at all.

    Raises:
        ResourceError: the file can not be written.
    """
    from safetensors.torch import save

    # the library's own way into a file makes one that nobody else may read
    write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}))


def load_model(settings: ModelSettings, path: Path) -> VideoClassifier:
    """Build a model and fill it, ready for evaluation.

    Raises:
        StoreError: the file is missing, damaged, or does not fit the settings.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    model = VideoClassifier(settings)
    with reading(path):
        data = path.read_bytes()
    try:
        model.load_state_dict(load(data))
    except (SafetensorError, RuntimeError) as error:
        raise StoreError(f"{path} does not hold this run's model: {error}") from error
    return model.eval()
