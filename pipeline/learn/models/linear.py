"""A linear classifier over one vector a video, fitted to the end: logistic regression by L-BFGS (scikit-learn).

Gradient descent for a fixed number of steps leaves a linear classifier of few features far from its minimum, however
long it takes for many. This one has no learning rate and no epochs; the only choice, how strong it is held towards 0,
is made by the log loss on videos that it was not fitted to: the strongest hold that is within a standard error of the
best (Breiman et al. 1984; Hastie et al. 2009, section 7.10).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, log_softmax

from schemas.arrays import Array

STRENGTHS: tuple[float, ...] = tuple(10.0 ** (half / 2) for half in range(-2, 11))
"""Tried for C * D, the loosest last: with standardised features the size of scores then does not depend on D."""
PATIENCE = 2  # looser ones that were worse, after which none is tried when there is nothing left to fit
UNTRIED = 10.0  # where nothing can be held out
MOST_STEPS = 1000
_UNSEEN = 10.0  # a class without a video is held this much (log odds) less likely than the least likely one

LinearWeights = tuple[NDArray[np.float64], NDArray[np.float64]]
Cut = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Linear:
    """A fitted classifier: scores are `x @ weight.T + bias`, their softmax (sigmoid: several labels) probabilities.

    Attributes:
        weight: float64 (C, D).
        bias: float64 (C,).
        strength: the inverse of how strong it is held towards 0: scikit-learn's C times D.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    strength: float

    def scores(self, x: Array) -> NDArray[np.float64]:
        """(V, D) -> (V, C)."""
        scores: NDArray[np.float64] = x @ self.weight.T + self.bias
        return scores


def fit_linear(
    x: Array,
    members: NDArray[np.bool_],
    train: NDArray[np.int64],
    cuts: Sequence[Cut],
    *,
    multilabel: bool,
    balanced: bool,
    threads: int = 1,
) -> Linear:
    """Choose the strength on `cuts`, then fit `train` with it.

    Args:
        x: standardised features (V, D).
        members: bool (V, C).
        train: places of the videos to fit.
        cuts: (places to fit, places to judge on), one a cut; none: the strength is `UNTRIED`.
        multilabel: each class is a yes or no by itself.
        balanced: rare classes count as much as common ones.
        threads: of its matrix products; more than there are free cores make it many times slower.
    """
    import sklearn.linear_model  # noqa: F401 - its libraries have to be there when their threads are limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        return _fit(x, members, train, cuts, make=_Several if multilabel else _One, balanced=balanced)


def _fit(
    x: Array,
    members: NDArray[np.bool_],
    train: NDArray[np.int64],
    cuts: Sequence[Cut],
    *,
    make: type["_One | _Several"],
    balanced: bool,
) -> Linear:
    basis = _basis(x[train])
    x = (x if basis is None else x @ basis) / x.shape[1] ** 0.5
    known = [(fit, judge[~(members[judge] & ~members[fit].any(0)).any(1)]) for fit, judge in cuts]
    strength = _chosen(
        [
            (make(x[fit], members[fit], balanced=balanced), x[judge], members[judge])
            for fit, judge in known
            if make.possible(members[fit]) and len(judge)
        ]
    )
    weight, bias = make(x[train], members[train], balanced=balanced).fitted(strength)
    dim = weight.shape[1] if basis is None else len(basis)
    return Linear((weight if basis is None else weight @ basis.T) / dim**0.5, bias, strength)


def _basis(x: Array) -> Array | None:
    """Return an orthonormal basis (D, V) of the videos, where they are fewer than features.

    The best weights are sums of the videos, so the fit within the basis is the same one with V numbers a class.
    """
    return np.linalg.qr(x.T)[0] if len(x) < x.shape[1] else None


class _One:
    """Videos of one label each; looser fits begin where the last one ended."""

    def __init__(self, x: Array, members: NDArray[np.bool_], *, balanced: bool) -> None:
        from sklearn.linear_model import LogisticRegression

        self._x, self._labels, self._classes = x, members.argmax(1), members.shape[1]
        self._model = LogisticRegression(
            max_iter=MOST_STEPS, warm_start=True, class_weight="balanced" if balanced else None
        )

    @staticmethod
    def possible(members: NDArray[np.bool_]) -> bool:
        """Whether there are two classes to tell apart."""
        return int(members.any(0).sum()) > 1

    def fitted(self, strength: float) -> LinearWeights:
        """Return weight (C, D) and bias (C,)."""
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the last steps of very loose fits change no answer
            self._model.set_params(C=strength).fit(self._x, self._labels)
        coef, intercept = self._model.coef_, self._model.intercept_
        if len(coef) == 1:  # two classes are told apart by the log odds of the second
            coef, intercept = np.concatenate([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
        weight = np.zeros((self._classes, coef.shape[1]))
        bias = np.full(self._classes, intercept.min() - _UNSEEN)
        weight[self._model.classes_], bias[self._model.classes_] = coef, intercept
        return weight, bias

    def learnt(self, weights: LinearWeights) -> bool:
        """Whether it is right about all videos that it was fitted to."""
        weight, bias = weights
        return bool(((self._x @ weight.T + bias).argmax(1) == self._labels).all())

    @staticmethod
    def loss(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the log loss of every video's label, (V,)."""
        return np.asarray(-log_softmax(scores, axis=1)[members])


class _Several:
    """Videos of several labels: each class apart."""

    def __init__(self, x: Array, members: NDArray[np.bool_], *, balanced: bool) -> None:
        self._x, self._members, self._share = x, members, members.mean(0)
        self._each = [
            _One(x, np.stack([~column, column], axis=1), balanced=balanced) if 0 < column.mean() < 1 else None
            for column in members.T
        ]

    @staticmethod
    def possible(members: NDArray[np.bool_]) -> bool:
        """Whether some class has videos with and without it."""
        share = members.mean(0)
        return bool(((share > 0) & (share < 1)).any())

    def fitted(self, strength: float) -> LinearWeights:
        """Return weight (C, D) and bias (C,)."""
        weight = np.zeros((len(self._each), self._x.shape[1]))
        bias = np.where(self._share > 0, _UNSEEN, -_UNSEEN)  # of classes that all videos have, or none
        for place, one in enumerate(self._each):
            if one is not None:
                (no, yes), (against, in_favour) = one.fitted(strength)
                weight[place], bias[place] = yes - no, in_favour - against
        return weight, bias

    def learnt(self, weights: LinearWeights) -> bool:
        """Whether it is right about all labels of all videos that it was fitted to."""
        weight, bias = weights
        return bool((((self._x @ weight.T + bias) > 0) == self._members).all())

    @staticmethod
    def loss(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the log loss of every video, the mean over all classes, (V,)."""
        return np.asarray(-log_expit(np.where(members, scores, -scores)).mean(1))


def _chosen(cuts: Sequence[tuple[_One | _Several, Array, NDArray[np.bool_]]]) -> float:
    """Return the least strength whose mean loss is within a standard error of the best one's."""
    if not cuts:
        return UNTRIED
    losses: list[NDArray[np.float64]] = []
    for strength in STRENGTHS:
        fits = [(fit, fit.fitted(strength), x, members) for fit, x, members in cuts]
        losses.append(
            np.concatenate([fit.loss(x @ weight.T + bias, members) for fit, (weight, bias), x, members in fits])
        )
        best = int(np.argmin([each.mean() for each in losses]))
        if len(losses) - 1 - best >= PATIENCE and all(fit.learnt(weights) for fit, weights, _, _ in fits):
            break
    worse = np.stack(losses) - losses[best]  # (strengths, videos): paired, so that hard videos do not count
    within = worse.mean(1) <= worse.std(1) / worse.shape[1] ** 0.5
    return STRENGTHS[int(np.flatnonzero(within)[0])]
