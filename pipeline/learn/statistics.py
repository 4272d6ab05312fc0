"""How sure a number is: bootstrap intervals and paired tests that respect groups.

Videos of one recording are no independent witnesses, so what is drawn and what is permuted are whole groups; where
every video is a group by itself, that is the ordinary bootstrap over videos and the exact McNemar test.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
PERMUTATIONS = 20_000
EXACT_UNITS = 14  # up to 2 ** 14 sign patterns are all counted instead of sampled

Values = NDArray[np.float64]
Indices = NDArray[np.int64]


def unit_numbers(groups: Sequence[str]) -> Indices:
    """Number the groups of V videos: int64 (V,), 0 to G - 1."""
    _, units = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
    return units.astype(np.int64)


def bootstrap_mean(values: Values, units: Indices, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean of `values` (V,), drawing whole units.

    Efron 1979; for groups Field and Welsh 2007 (the cluster bootstrap).
    """
    total, size = np.bincount(units, values), np.bincount(units).astype(np.float64)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(total), size=(RESAMPLES, len(total)))
    means = total[drawn].sum(1) / size[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def sign_flip_p(differences: Values, units: Indices, *, seed: int = 0) -> float:
    """Return the two-sided p-value of the paired sign-flip test that `differences` (V,) have no direction.

    Each unit's summed difference keeps or changes its sign (Fisher's randomisation test). With 0/1 outcomes and one
    video a unit this is McNemar's exact test. All sign patterns are counted when few units differ, else they are
    sampled, the observed one included.
    """
    sums = np.bincount(units, differences)
    sums = sums[np.abs(sums) > 1e-12]
    if not len(sums):
        return 1.0
    observed = abs(sums.sum()) - 1e-9
    sizes = np.unique(np.abs(sums))
    if len(sizes) == 1:  # all differences of one size: the number of plus signs is binomial
        return _binomial_p(int((sums > 0).sum()), len(sums))
    if len(sums) <= EXACT_UNITS:
        patterns = np.arange(1 << len(sums))[:, None] >> np.arange(len(sums)) & 1
        return float((np.abs((1 - 2 * patterns) @ sums) >= observed).mean())
    rng = np.random.default_rng(seed)
    reached = sum(int((np.abs(rng.choice((-1.0, 1.0), size=(1000, len(sums))) @ sums) >= observed).sum())
                  for _ in range(PERMUTATIONS // 1000))
    return (reached + 1) / (PERMUTATIONS + 1)


def _binomial_p(wins: int, trials: int) -> float:
    """Two-sided probability of a fair coin (McNemar 1947, exact form)."""
    tail = sum(math.comb(trials, k) for k in range(min(wins, trials - wins) + 1))
    return float(min(1.0, 2 * tail / 2**trials))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm 1979)."""
    order = np.argsort(p_values)
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = highest
    return corrected
