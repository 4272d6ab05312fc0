"""How good predictions are. Counting is scikit-learn's; what it lacks or warns about is here.

Members are bool (V, C): the labels of each video. Probabilities are (V, C). All results are fractions, 0 to 1.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.runs.records import ClassResult

CALIBRATION_BINS = 15
HALF = 0.5  # the threshold of a class that nothing tells more of

Members = NDArray[np.bool_]
Probabilities = NDArray[np.floating[Any]]
Thresholds = float | NDArray[np.float64]


def hits(members: Members, probabilities: Probabilities, top: int = 1) -> NDArray[np.float64]:
    """Tell for every video whether one of the `top` classes said is a label of it: 0 or 1, (V,).

    Classes of equal probability are ranked by their position.
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return np.asarray(np.take_along_axis(members, best, axis=1).any(axis=1), dtype=np.float64)


def ranking_precision(members: Members, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the label ranking average precision of every video (Tsoumakas et al. 2010, section 7.2), (V,).

    Of each label of the video: the share of labels among the classes ranked as high; the mean of that. It is what
    videos of several labels are compared by, since it belongs to a video and so can be drawn and permuted.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    true = np.take_along_axis(members, order, axis=1)
    precision = np.cumsum(true, axis=1) / np.arange(1, members.shape[1] + 1)
    return np.asarray((precision * true).sum(1) / true.sum(1), dtype=np.float64)


def mean_average_precision(members: Members, probabilities: Probabilities) -> float:
    """Return the mean over classes of average precision, of the classes that have a video."""
    from sklearn.metrics import average_precision_score

    present = np.flatnonzero(members.any(0))
    return float(np.mean([average_precision_score(members[:, c], probabilities[:, c]) for c in present]))


def calibration_error(members: Members, probabilities: Probabilities) -> float:
    """Return the expected calibration error of the first class said (Guo et al. 2017, arXiv:1706.04599, equation 3).

    Videos are binned by the probability of the first class, `CALIBRATION_BINS` bins of equal width; the error is the
    mean over videos of how far a bin's accuracy is from its mean probability.
    """
    sure = probabilities.max(1)
    right = hits(members, probabilities)
    bins = np.minimum((sure * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gap = np.zeros(CALIBRATION_BINS)
    np.add.at(gap, bins, right - sure)
    return float(np.abs(gap).sum() / len(sure))


def log_loss(members: Members, probabilities: Probabilities, *, multilabel: bool) -> float:
    """Return the mean cross entropy: of the label, or with several labels over all classes."""
    bounded = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    if multilabel:
        return float(-np.where(members, np.log(bounded), np.log1p(-bounded)).mean())
    return float(-np.log(bounded[members]).mean())


def fit_thresholds(members: Members, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the probability above which each class is said so that its F1 is best, (C,), half-way between two seen.

    F1 asks for a lower one the rarer a class is (Lipton et al. 2014, arXiv:1402.1892). One half where all videos have a
    class, or none.
    """
    from sklearn.metrics import precision_recall_curve

    found = np.full(members.shape[1], HALF)
    for c in np.flatnonzero(members.any(0) & ~members.all(0)):
        precision, recall, tried = precision_recall_curve(members[:, c], probabilities[:, c])
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        best = int(f1[:-1].argmax())
        found[c] = (tried[best] + (tried[best - 1] if best else 0.0)) / 2
    return found


def out_of_fold_thresholds(
    members: Members, probabilities: Probabilities, folds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return for every video the thresholds fitted on the videos of all other folds, (V, C)."""
    found = np.full(members.shape, HALF)
    for fold in np.unique(folds):
        others = folds != fold
        if others.any():
            found[~others] = fit_thresholds(members[others], probabilities[others])
    return found


def class_table(
    members: Members,
    probabilities: Probabilities,
    names: tuple[str, ...],
    *,
    multilabel: bool,
    thresholds: Thresholds = HALF,
) -> tuple[ClassResult, ...]:
    """Return support, precision, recall and average precision of every class."""
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support

    said = said_members(probabilities, multilabel=multilabel, thresholds=thresholds)
    precision, recall, _, support = precision_recall_fscore_support(members, said, average=None, zero_division=0)
    return tuple(
        ClassResult(
            name,
            int(support[c]),
            float(precision[c]),
            float(recall[c]),
            float(average_precision_score(members[:, c], probabilities[:, c])) if support[c] else 0.0,
        )
        for c, name in enumerate(names)
    )


def said_members(probabilities: Probabilities, thresholds: Thresholds = HALF, *, multilabel: bool) -> Members:
    """Return the classes that are said, bool (V, C): the first, or with several labels those above their threshold."""
    if multilabel:
        above: Members = probabilities > thresholds
        return above
    said = np.zeros(probabilities.shape, dtype=np.bool_)
    said[np.arange(len(said)), probabilities.argmax(1)] = True
    return said


def confusion(members: Members, probabilities: Probabilities) -> tuple[tuple[int, ...], ...]:
    """Return how often each class (row) was said to be each class (column); for videos of one label."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(members.argmax(1), probabilities.argmax(1), labels=np.arange(members.shape[1]))
    return tuple(tuple(int(count) for count in row) for row in counts)


def judge(
    members: Members, probabilities: Probabilities, thresholds: Thresholds = HALF, *, multilabel: bool
) -> dict[str, float]:
    """Return top1, top5, map, ece, loss and mean_class; with several labels lrap, f1_macro and f1_micro for the last.

    `mean_class` is the mean over the classes that have a video of their recall; F1 is that of what the thresholds say,
    as the mean over such classes, and over all labels together.
    """
    present = members.any(0)
    said = said_members(probabilities, multilabel=multilabel, thresholds=thresholds)
    right, total = (said & members).sum(0), members.sum(0)
    if multilabel:
        f1 = 2 * right[present] / (said.sum(0) + total)[present]
        own = {
            "lrap": float(ranking_precision(members, probabilities).mean()),
            "f1_macro": float(f1.mean()),
            "f1_micro": float(2 * right.sum() / (said.sum() + total.sum())),
        }
    else:
        own = {"mean_class": float((right[present] / total[present]).mean())}
    return own | {
        "top1": float(hits(members, probabilities).mean()),
        "top5": float(hits(members, probabilities, top=5).mean()),
        "map": mean_average_precision(members, probabilities),
        "ece": calibration_error(members, probabilities),
        "loss": log_loss(members, probabilities, multilabel=multilabel),
    }
