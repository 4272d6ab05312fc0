"""Fusions: how the streams of a video, one vector each, become scores of classes.

Every fusion is made with the widths of its streams and works for one, two, three or more. It takes a list of (B, E_s)
and returns scores (B, C): their softmax (or sigmoid, when videos have several labels) are the probabilities. To add a
fusion, write a class and a line of `FUSIONS`; one contract test runs over that dict.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.learn.training.dropout import Dropout
from schemas.errors import ConfigError


class Classifier(nn.Sequential):
    """Dropout and a linear layer, or one hidden layer between (ReLU) when `hidden` is not 0."""

    def __init__(self, width: int, *, classes: int, hidden: int, dropout: float) -> None:
        layers: list[nn.Module] = [Dropout(dropout)]
        if hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), Dropout(dropout)]
        super().__init__(*layers, nn.Linear(hidden or width, classes))

    def start_at_zero(self) -> None:
        """Set the last layer to 0.

        For features that come as they are: with fewer videos than features most directions of the weights are never
        trained, and random weights there would stay as noise in every answer. A head that learns is better served by
        random weights, through which it has a gradient from the first step.
        """
        for parameter in self[-1].parameters():
            nn.init.zeros_(parameter)


class Fusion(nn.Module):
    """What all fusions share; each is made as `make_fusion` says, and leaves aside what it has no use for.

    Attributes:
        is_late: each stream has a classifier of its own in `classifiers`, so that streams trained alone can be put
            together.
    """

    is_late = False


class Concat(Fusion):
    """One classifier over all vectors side by side."""

    def __init__(self, *, widths: Sequence[int], classes: int, hidden: int, dropout: float, **_: bool) -> None:
        super().__init__()
        self.classifier = Classifier(sum(widths), classes=classes, hidden=hidden, dropout=dropout)

    def joined(self, vectors: Sequence[Tensor]) -> Tensor:
        """S times (B, E_s) -> (B, sum of E_s)."""
        return torch.cat(list(vectors), dim=1)

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """S times (B, E_s) -> (B, C)."""
        scores: Tensor = self.classifier(self.joined(vectors))
        return scores


class Average(Fusion):
    """One classifier over the mean of the vectors; when widths differ each is projected to the smallest first."""

    def __init__(self, *, widths: Sequence[int], classes: int, hidden: int, dropout: float, **_: bool) -> None:
        super().__init__()
        width = min(widths)
        same = len(set(widths)) == 1
        self.project = nn.ModuleList(nn.Identity() if same else nn.Linear(wide, width) for wide in widths)
        self.classifier = Classifier(width, classes=classes, hidden=hidden, dropout=dropout)

    def joined(self, vectors: Sequence[Tensor]) -> Tensor:
        """S times (B, E_s) -> (B, least E_s)."""
        return torch.stack([project(vector) for project, vector in zip(self.project, vectors, strict=True)]).mean(0)

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """S times (B, E_s) -> (B, C)."""
        scores: Tensor = self.classifier(self.joined(vectors))
        return scores


class Score(Fusion):
    """A classifier a stream; their probabilities are averaged with weights (late fusion: Simonyan and Zisserman 2014).

    The weights are not learnt with the rest: they are given (the classical choice is 1 : 1.5 for rgb and flow), or
    fitted afterwards on the validation part, and kept in the buffer `weights`, which sums to 1.
    """

    is_late = True
    weights: Tensor

    def __init__(self, *, widths: Sequence[int], classes: int, hidden: int, dropout: float, multilabel: bool) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(
            Classifier(width, classes=classes, hidden=hidden, dropout=dropout) for width in widths
        )
        self.multilabel = multilabel
        self.register_buffer("weights", torch.full((len(widths),), 1 / len(widths)))

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """S times (B, E_s) -> (B, C)."""
        each = torch.stack([classify(vector) for classify, vector in zip(self.classifiers, vectors, strict=True)])
        weight = self.weights.log().view(-1, 1, 1)
        if self.multilabel:  # log odds of the averaged probability, without leaving the logarithm
            yes = torch.logsumexp(weight + functional.logsigmoid(each), dim=0)
            no = torch.logsumexp(weight + functional.logsigmoid(-each), dim=0)
            return yes - no
        return torch.logsumexp(weight + functional.log_softmax(each, dim=2), dim=0)


class Gated(Fusion):
    """The streams' vectors, squashed and weighted by gates that see all (Arevalo et al. 2017, arXiv:1702.01992).

    h_s = tanh(W_s x_s); gates = softmax over streams of U [x_1 ... x_S], one for each of the `width` dims; the
    classifier sees the sum of gate times h.
    """

    def __init__(
        self, *, widths: Sequence[int], classes: int, hidden: int, dropout: float, width: int = 256, **_: bool
    ) -> None:
        super().__init__()
        self.drop = Dropout(dropout)
        self.squash = nn.ModuleList(nn.Linear(wide, width) for wide in widths)
        self.gate = nn.Linear(sum(widths), width * len(widths))
        self.classifier = Classifier(width, classes=classes, hidden=hidden, dropout=dropout)

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """S times (B, E_s) -> (B, C)."""
        dropped = [self.drop(vector) for vector in vectors]
        squashed = torch.stack([torch.tanh(squash(v)) for squash, v in zip(self.squash, dropped, strict=True)], dim=1)
        gate = torch.softmax(self.gate(torch.cat(dropped, dim=1)).view_as(squashed), dim=1)
        scores: Tensor = self.classifier((gate * squashed).sum(1))
        return scores


FUSIONS: dict[str, type[Fusion]] = {
    "concat": Concat,
    "average": Average,
    "score": Score,
    "gated": Gated,
}


def make_fusion(
    name: str, *, widths: Sequence[int], classes: int, hidden: int, dropout: float, multilabel: bool
) -> Fusion:
    """Make a fusion by name.

    Raises:
        ConfigError: the name is unknown.
    """
    if name not in FUSIONS:
        raise ConfigError(f"unknown fusion {name!r}; known: {', '.join(FUSIONS)}")
    make: Callable[..., Fusion] = FUSIONS[name]
    return make(widths=widths, classes=classes, hidden=hidden, dropout=dropout, multilabel=multilabel)
