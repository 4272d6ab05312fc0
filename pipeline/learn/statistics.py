"""How sure a number is: bootstrap intervals and paired tests that respect groups.

Videos of one recording are no independent witnesses, so what is drawn and what is permuted are whole groups; where
every video is a group by itself, that is the ordinary bootstrap over videos and the exact McNemar test.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.words import counted

SIGNIFICANT = 0.05
RESAMPLES = 10_000
_DRAWN_AT_ONCE = 1 << 22  # units, to bound memory
PERMUTATIONS = 20_000
EXACT_UNITS = 14  # up to 2 ** 14 sign patterns are all counted instead of sampled

Values = NDArray[np.float64]
Indices = NDArray[np.int64]


def unit_numbers(groups: Sequence[str]) -> Indices:
    """Number the groups of V videos: int64 (V,), 0 to G - 1."""
    _, units = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
    return units.astype(np.int64)


def bootstrap_mean(values: Values, units: Indices, *, lowest: float = 0.0, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `values` (V,), all between `lowest` and 1, by drawing whole units.

    The percentile interval (Efron 1979) of the cluster bootstrap (Field and Welsh 2007), with two corrections without
    which it is too short where units are few: at 9 groups of 10 videos, 90 % right, it held the truth 85 times in 100.

    - Quantiles are those of Student's t with G - 1 degrees of freedom: the expanded percentile interval (Hesterberg
      2015, doi:10.1080/00031305.2015.1089789).
    - Two made-up units of one video each join those that are drawn, one of the lowest and one of the highest value (as
      Agresti and Caffo 2000, doi:10.1080/00031305.2000.10474560, add a success and a failure to each sample): else
      nothing is wrong in any draw where everything was right, and the interval of 100 % has no width. Over single
      videos it ends there near the rule of three: 3 / V below.

    `tests/pipeline/learn/test_statistics.py` simulates how often it holds the truth: 90 to 100 % of the time. With one
    unit nothing is known, and the interval is all there is.
    """
    from scipy.special import ndtr, stdtrit

    total, size = np.bincount(units, values), np.bincount(units).astype(np.float64)
    if len(total) < 2:
        return lowest, 1.0
    total, size = np.append(total, [lowest, 1.0]), np.append(size, [1.0, 1.0])
    rng = np.random.default_rng(seed)
    rows = max(1, _DRAWN_AT_ONCE // len(total))
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, rows):
        drawn = rng.integers(len(total), size=(min(rows, RESAMPLES - start), len(total)))
        means[start:start + rows] = total[drawn].sum(1) / size[drawn].sum(1)
    tail = float(ndtr(stdtrit(len(total) - 3, 0.025)))
    low, high = np.quantile(means, [tail, 1 - tail])
    return min(float(low), float(values.mean())), max(float(high), float(values.mean()))


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


def smallest_p(units: int, tests: int) -> float:
    """Return the smallest p that `sign_flip_p` over so many units can give, corrected for so many tests by Holm's rule.

    Of 2 ** G sign patterns two are as one-sided as can be.
    """
    return min(1.0, tests * 2.0 ** (1 - units))


def reach(units: int, unit: str, tests: int) -> str:
    """Say, where it is so, that the paired tests can not reach `SIGNIFICANT` with so few units; else empty."""
    smallest = smallest_p(units, tests)
    if smallest < SIGNIFICANT:
        return ""
    enough = next(more for more in itertools.count(units) if smallest_p(more, tests) < SIGNIFICANT)
    return (f"with {counted(units, unit)} p can not fall below {smallest:.2g}, whatever is found; "
            f"{counted(enough, unit)} are needed")


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
