"""How sure a number is: bootstrap intervals and paired tests that respect groups.

Videos of one recording are no independent witnesses, so what is drawn and what is permuted are whole groups; where
every video is a group by itself, that is the ordinary bootstrap over videos and the exact McNemar test.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.words import counted

SIGNIFICANT = 0.05
USEFUL = 0.02  # of the main metric: a gain below is none that anyone would change a model for
COVERAGE = "in simulations it held the truth 93 to 100 times in 100"
RESAMPLES = 10_000
_DRAWN_AT_ONCE = 1 << 22  # units, to bound memory
PERMUTATIONS = 1 << 14  # sign patterns; those of 14 units or fewer are all counted, of more so many are sampled

Values = NDArray[np.float64]
Units = NDArray[np.int64]  # the number of each video's unit


def unit_numbers(groups: Sequence[str]) -> Units:
    """Number the groups of V videos: int64 (V,), 0 to G - 1."""
    _, units = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
    return units.astype(np.int64)


def bootstrap_mean(
    values: Values, units: Units, *, lowest: float = 0.0, together: int = 1, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `values` (V,), all between `lowest` and 1, by drawing whole units.

    The percentile interval (Efron 1979) of the cluster bootstrap (Field and Welsh 2007), with two corrections without
    which it is too short where units are few or hold many videos alike.

    - Quantiles are those of Student's t with G - 1 degrees of freedom: the expanded percentile interval (Hesterberg
      2015, doi:10.1080/00031305.2015.1089789).
    - Two made-up units join those that are drawn, one of the lowest and one of the highest value (as Agresti and Caffo
      2000, doi:10.1080/00031305.2000.10474560, add a success and a failure to each sample): else nothing is wrong in
      any draw where everything was right, and the interval of 100 % has no width. Each has half the size of the unit
      that a video is in on average, and is one video at least: single videos beside units of a hundred would vanish.

    `COVERAGE` says how often it holds the truth over 5 to 50 units of 1 to 100 videos, equal or not, alike with an
    intraclass correlation of 0 to .5: `python -m tests.benchmarks.bench_coverage`. With one unit nothing is known, and
    the interval is all there is.

    Args:
        values: (V,).
        units: int64 (V,), of `unit_numbers`.
        lowest: 0, or -1 for differences.
        together: how many intervals are to hold all at once, 95 times in 100 (Bonferroni).
        seed: of the draws.
    """
    from scipy.special import ndtr, stdtrit

    total, size = np.bincount(units, values), np.bincount(units).astype(np.float64)
    if len(total) < 2:
        return lowest, 1.0
    made_up = max(1.0, float((size**2).sum() / size.sum()) / 2)
    total, size = np.append(total, [lowest * made_up, made_up]), np.append(size, [made_up, made_up])
    rng = np.random.default_rng(seed)
    rows = max(1, _DRAWN_AT_ONCE // len(total))
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, rows):
        drawn = rng.integers(len(total), size=(min(rows, RESAMPLES - start), len(total)))
        means[start : start + rows] = total[drawn].sum(1) / size[drawn].sum(1)
    tail = float(ndtr(stdtrit(len(total) - 3, SIGNIFICANT / 2 / together)))
    low, high = np.quantile(means, [tail, 1 - tail])
    return min(float(low), float(values.mean())), max(float(high), float(values.mean()))


def sign_flip_p(differences: Values, units: Units, *, seed: int = 0) -> float:
    """Return the two-sided p-value of the paired sign-flip test that `differences` (V,) have no direction.

    Each unit's summed difference keeps or changes its sign (Fisher's randomisation test). With 0/1 outcomes and one
    video a unit this is McNemar's exact test. All sign patterns are counted when few units differ, else they are
    sampled, the observed one included.
    """
    from scipy.stats import binomtest, permutation_test

    sums = np.bincount(units, differences)
    sums = sums[np.abs(sums) > 1e-12]
    if not len(sums):
        return 1.0
    if np.ptp(np.abs(sums)) < 1e-9:  # the number of plus signs is binomial, so that nothing need be sampled
        return float(binomtest(int((sums > 0).sum()), len(sums)).pvalue)
    found = permutation_test(
        (sums,),
        lambda flipped, axis: flipped.sum(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=_DRAWN_AT_ONCE // len(sums) + 1,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def units_words(units: int, unit: str) -> str:
    """Say what is drawn and permuted: `24 groups`, or so many videos, and that no groups are known."""
    alone = ", each taken as independent, since none are known to belong together" if unit == "video" else ""
    return f"{counted(units, unit)}{alone}"


def interval_words(together: int) -> str:
    """Name an interval that holds together with others of its table."""
    return "95 % interval" if together == 1 else f"interval (95 % for {together} together)"


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
    return (
        f"with {counted(units, unit)} p can not fall below {smallest:.2g}, whatever is found; "
        f"{counted(enough, unit)} are needed"
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm 1979)."""
    order = np.argsort(p_values)
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = highest
    return corrected
