"""Temporal heads: what makes one vector of a video's moments.

Every head takes features `x` (B, T, D) and a `mask` (B, T), True at the moments that exist; existing moments come first
and every video has at least one. What `x` holds beyond the mask, NaN included, changes nothing. To add a head, write a
class and a line of `HEADS`; one contract test runs over that dict.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.learn.training.dropout import Dropout
from schemas.checks import known
from schemas.errors import ConfigError
from schemas.options import typed


class Head(nn.Module):
    """What all heads share.

    Attributes:
        width: E, the length of the vector a video becomes.
        pools: the head has nothing to learn, leaves a single moment as it is, and does not mind whether features are
            standardised before or after it: training applies it once, to the whole data set.
        learning_rate: AdamW's highest where the user gives none. Found by cross-validation on three real action sets
            and joint sequences: below a head that learns nothing smaller steps did better, since a linear classifier
            of wide features over few videos overfits soonest.
    """

    width: int
    pools = False
    learning_rate = 1e-3


class Mean(Head):
    """The mean of the moments."""

    pools = True
    learning_rate = 3e-4

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.width = dim

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, D)."""
        kept = x.masked_fill(~mask.unsqueeze(2), 0)
        return kept.sum(1) / mask.sum(1, keepdim=True)


class Max(Head):
    """The largest value of each feature over the moments."""

    pools = True
    learning_rate = 3e-4

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.width = dim

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, D)."""
        return x.masked_fill(~mask.unsqueeze(2), -torch.inf).amax(1)


class _Scorer(nn.Module):
    """One number a moment: w' tanh(V x), the additive attention of Bahdanau et al. 2015 (arXiv:1409.0473)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        if hidden < 1:
            raise ConfigError(f"attention has at least 1 hidden unit, not {hidden}")
        self.inner = nn.Linear(dim, hidden)
        self.outer = nn.Linear(hidden, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, T), minus infinity beyond the mask."""
        score: Tensor = self.outer(torch.tanh(self.inner(x))).squeeze(2)
        return score.masked_fill(~mask, -torch.inf)


class Attention(Head):
    """Soft attention: a learnt weighted mean of the moments.

    Weights are softmax over time of w' tanh(V x): Bahdanau et al. 2015 (arXiv:1409.0473), as a pool over instances
    Ilse et al. 2018 (arXiv:1802.04712, equation 8).
    """

    def __init__(self, *, dim: int, hidden: int = 64) -> None:
        super().__init__()
        self.width = dim
        self.score = _Scorer(dim, hidden)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, D)."""
        x = x.masked_fill(~mask.unsqueeze(2), 0)
        weight = torch.softmax(self.score(x, mask), dim=1)
        return torch.einsum("bt,btd->bd", weight, x)


class HardAttention(Head):
    """Hard attention: the mean of the k moments that score best, and of no other.

    Which moments these are has no gradient, so the backward pass takes the softmax in their place (straight-through
    estimate: Bengio et al. 2013, arXiv:1308.3432). While training, Gumbel noise on the scores makes the choice a sample
    without replacement (Gumbel top-k: Kool et al. 2019, arXiv:1903.06059; straight-through Gumbel softmax: Jang et al.
    2017, arXiv:1611.01144); in evaluation the k best are taken. A video of fewer than k moments gives all it has.
    """

    def __init__(self, *, dim: int, hidden: int = 64, k: int = 4) -> None:
        super().__init__()
        if k < 1:
            raise ConfigError(f"hard attention selects at least 1 moment, not {k}")
        self.width = dim
        self.k = k
        self.score = _Scorer(dim, hidden)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, D)."""
        x = x.masked_fill(~mask.unsqueeze(2), 0)
        score = self.score(x, mask)
        if self.training:
            # one draw a video, in float32 on the score's device; exponential noise has no zero to take the log of
            noise = -torch.empty_like(score).exponential_().log()
            score = (score + noise).masked_fill(~mask, -torch.inf)
        soft = torch.softmax(score, dim=1)
        best = score.topk(min(self.k, x.shape[1]), dim=1).indices
        hard = torch.zeros_like(soft).scatter(1, best, 1.0).masked_fill(~mask, 0)
        hard = hard / hard.sum(1, keepdim=True)
        weight = hard + soft - soft.detach()
        return torch.einsum("bt,btd->bd", weight, x)


class _Recurrent(Head):
    """The last hidden state of a recurrent network: of its last layer, in each direction after that direction's end.

    Each direction of each layer is a plain network of torch over the padded batch. Forward in time, padding comes after
    all that matters; backward in time, each video is turned round within its own length first, so that it does as well.
    That gives what packed sequences give, at twice their speed on CPUs, whose fast kernels do not know packing.

    Features are thinned by dropout and, where they are wider than `project`, projected to it: a video is one example
    for a thousand weights a unit otherwise. The gate that keeps the state starts open, at sigmoid(`KEEP`) = 0.88: at
    torch's start of 0.5 a moment is forgotten a few moments later, and few videos do not teach otherwise (the forget
    gate's bias: Gers et al. 2000; Jozefowicz et al. 2015, section 2.2). With both, an LSTM over flow rose from 81 to
    93 % on Weizmann and from 50 to 80 % on UT-Interaction, groups left out.
    """

    KEEP = 2.0
    cell: type[nn.LSTM] | type[nn.GRU]

    def __init__(
        self,
        *,
        dim: int,
        hidden: int = 128,
        layers: int = 1,
        both_ways: bool = True,
        project: int = 128,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if hidden < 1 or layers < 1:
            raise ConfigError(f"a recurrent head has at least 1 unit and 1 layer, not {hidden} and {layers}")
        if project < 0 or not 0 <= dropout <= 0.95:
            raise ConfigError(
                f"a recurrent head projects to 0 (not at all) or more dims, with dropout from 0 to 0.95, "
                f"not {project} and {dropout:g}"
            )
        directions = 2 if both_ways else 1
        self.width = hidden * directions
        self.dropout = Dropout(dropout)  # of the features, and between layers
        self.project = nn.Linear(dim, project) if 0 < project < dim else nn.Identity()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                self._net(min(dim, project or dim) if layer == 0 else self.width, hidden) for _ in range(directions)
            )
            for layer in range(layers)
        )

    def _net(self, dim: int, hidden: int) -> nn.LSTM | nn.GRU:
        net = self.cell(dim, hidden, batch_first=True)
        bias, other = net.get_parameter("bias_ih_l0"), net.get_parameter("bias_hh_l0")  # torch has two; they add up
        nn.init.zeros_(bias)
        nn.init.zeros_(other)
        nn.init.constant_(bias[hidden : 2 * hidden], self.KEEP)  # of torch's gates i f g o, and r z n
        return net

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, E)."""
        x = self.project(self.dropout(x.masked_fill(~mask.unsqueeze(2), 0)))
        length = mask.sum(1, keepdim=True)
        steps = torch.arange(x.shape[1], device=x.device)
        turned = torch.where(steps < length, length - 1 - steps, steps)  # (B, T), its own inverse
        outputs: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            x = self.dropout(x) if number else x
            assert isinstance(layer, nn.ModuleList)
            outputs = [net(_taken(x, turned) if backward else x)[0] for backward, net in enumerate(layer)]
            x = torch.cat([_taken(y, turned) if backward else y for backward, y in enumerate(outputs)], dim=2)
        return torch.cat([_taken(y, length - 1).squeeze(1) for y in outputs], dim=1)


def _taken(x: Tensor, steps: Tensor) -> Tensor:
    """(B, T, D) at steps (B, S) -> (B, S, D)."""
    return x.gather(1, steps.unsqueeze(2).expand(-1, -1, x.shape[2]))


class LSTM(_Recurrent):
    """The last hidden state of an LSTM (Hochreiter and Schmidhuber 1997; both ways: Graves and Schmidhuber 2005)."""

    cell = nn.LSTM


class GRU(_Recurrent):
    """The last hidden state of a GRU (Cho et al. 2014, arXiv:1406.1078)."""

    cell = nn.GRU


class NetVLAD(Head):
    """How the moments differ from K learnt centres: Arandjelovic et al. 2016 (arXiv:1511.07247).

    V_k = sum over t of a_k(x_t) (x_t - c_k), a = softmax(W x + b); each V_k is scaled to length 1
    (intra-normalisation), then the whole. Features are first projected to `project` dims, since V has K times as
    many. The length of the result is sqrt(E), not 1, so that its entries are of the size that a classifier's initial
    weights are made for.
    """

    def __init__(self, *, dim: int, clusters: int = 8, project: int = 128) -> None:
        super().__init__()
        if clusters < 1 or project < 1:
            raise ConfigError(f"NetVLAD has at least 1 centre of 1 dim, not {clusters} of {project}")
        self.width = clusters * project
        self.project = nn.Linear(dim, project)
        self.assign = nn.Linear(project, clusters)
        self.centres = nn.Parameter(torch.randn(clusters, project) / project**0.5)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, K * project)."""
        x = self.project(x.masked_fill(~mask.unsqueeze(2), 0))
        weight = torch.softmax(self.assign(x), dim=2).masked_fill(~mask.unsqueeze(2), 0)
        # the sum of residuals without making all (B, T, K, D) of them
        vlad = torch.einsum("btk,btd->bkd", weight, x) - weight.sum(1).unsqueeze(2) * self.centres
        flat: Tensor = functional.normalize(functional.normalize(vlad, dim=2).flatten(1), dim=1)
        return flat.mul(self.width**0.5)


HEADS: dict[str, type[Head]] = {
    "mean": Mean,
    "max": Max,
    "attention": Attention,
    "hard_attention": HardAttention,
    "lstm": LSTM,
    "gru": GRU,
    "netvlad": NetVLAD,
}


def make_head(name: str, *, dim: int, **options: object) -> Head:
    """Make a head by name.

    Raises:
        ConfigError: the name or an option is unknown, or a value is out of range.
    """
    checked = head_options(name, options)
    make: Callable[..., Head] = HEADS[name]
    return make(dim=dim, **checked)


def head_options(name: str, given: Mapping[str, object]) -> dict[str, Any]:
    """Check options of a head by its signature; a text is read as the type that it says.

    Raises:
        ConfigError: the name or an option is unknown, or a text is not of its type.
    """
    legal = _legal(known("head", name, tuple(HEADS)))
    for option in given:
        if option not in legal:
            raise ConfigError(
                f"`head_options`: head {name!r} takes no option {option!r}; its options, with their "
                f"defaults: {', '.join(told_options(name)) or 'none'}"
            )
    return {
        option: typed(f"`head_options` {option}", value, legal[option].annotation) if isinstance(value, str) else value
        for option, value in given.items()
    }


def told_options(head: str) -> list[str]:
    """Return what a head of `HEADS` can be told, as `NAME=DEFAULT`."""
    return [f"{name}={_told(kind.default)}" for name, kind in _legal(head).items()]


def _legal(head: str) -> dict[str, inspect.Parameter]:
    return {name: kind for name, kind in inspect.signature(HEADS[head]).parameters.items() if name != "dim"}


def _told(default: object) -> str:
    return ("yes" if default else "no") if isinstance(default, bool) else str(default)
