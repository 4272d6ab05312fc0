"""How often a 95 % interval holds the truth.

    python -m tests.benchmarks.bench_coverage                                       # real
    python -m tests.benchmarks.bench_coverage --times 5 --cells 4 --resamples 50    # small

Videos are right or wrong in groups that are alike (beta-binomial), or two models differ on them (with a Dirichlet
distribution). Every cell is a number of groups, a size, equal or not, an intraclass correlation and a true mean; the
table shows how often the interval of `bootstrap_mean` holds that mean, and how wide it is.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.judging import statistics
from pipeline.learn.judging.statistics import bootstrap_mean

SHARES = ((0.5,), (0.7,), (0.9,), (0.97,))
DIFFERENCES = ((0.1, 0.05), (0.02, 0.01), (0.25, 0.15))  # only the one is right, only the other


@dataclass(frozen=True, slots=True)
class Cell:
    """One situation.

    Attributes:
        groups: how many.
        videos: of a group, at most.
        equal: all groups have so many; else 1 to so many, small ones more often.
        alike: intraclass correlation.
        shares: of videos that are right; or only one is right about, and only the other.
    """

    groups: int
    videos: int
    equal: bool
    alike: float
    shares: tuple[float, ...]

    @property
    def truth(self) -> float:
        """The mean that the interval is to hold."""
        return self.shares[0] - sum(self.shares[1:])

    def simulated(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return values and units of all videos, each (V,)."""
        sizes = np.full(self.groups, self.videos)
        if not self.equal:
            sizes = np.exp(rng.uniform(0, np.log(self.videos + 1), self.groups)).astype(np.int64)
        outcomes = np.array([1.0, -1.0] if len(self.shares) > 1 else [1.0])
        chances = np.array([*self.shares, 1 - sum(self.shares)])
        drawn = rng.dirichlet(chances * (1 / self.alike - 1), self.groups) if self.alike else [chances] * self.groups
        counts = [rng.multinomial(size, chance) for size, chance in zip(sizes, drawn, strict=True)]
        values = [np.repeat([*outcomes, 0.0], count) for count in counts]
        return np.concatenate(values), np.repeat(np.arange(self.groups), sizes)


def cells() -> list[Cell]:
    """Return all that are simulated."""
    shapes = [
        (groups, videos, equal)
        for groups, videos, equal in itertools.product((5, 9, 20, 50), (1, 3, 10, 30, 100), (True, False))
        if equal or videos > 3
    ]
    return [
        Cell(*shape, alike, shares)
        for shape, alike, shares in itertools.product(shapes, (0.0, 0.1, 0.2, 0.5), SHARES + DIFFERENCES)
        if alike == 0.0 or shape[1] > 1
    ]


def coverage(cell: Cell, times: int) -> tuple[float, float]:
    """Return the share of intervals that hold the truth, and their mean width."""
    rng, lowest = np.random.default_rng(0), 0.0 if len(cell.shares) == 1 else -1.0
    ends = np.array([bootstrap_mean(*cell.simulated(rng), lowest=lowest) for _ in range(times)])
    held = (ends[:, 0] <= cell.truth) & (cell.truth <= ends[:, 1])
    return float(held.mean()), float((ends[:, 1] - ends[:, 0]).mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, the worst cell first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=400, help="simulations a cell")
    parser.add_argument("--cells", type=int, default=200, help="only so many cells, drawn by chance; 0: all")
    parser.add_argument("--resamples", type=int, default=1500, help="of the bootstrap")
    asked = parser.parse_args(arguments)
    chosen = cells()
    if asked.cells:
        chosen = [chosen[place] for place in np.random.default_rng(0).permutation(len(chosen))[: asked.cells]]
    with mock.patch.object(statistics, "RESAMPLES", asked.resamples):
        found = sorted(
            (*coverage(cell, asked.times), cell.groups, cell.videos, cell.equal, cell.alike, cell.shares)
            for cell in chosen
        )
    print(f"{'held %':>7} {'width':>6} {'groups':>7} {'videos':>7} {'alike':>6}  shares")
    for held, width, groups, videos, equal, alike, shares in found:
        print(f"{100 * held:7.1f} {width:6.2f} {groups:7} {videos if equal else f'1-{videos}':>7} {alike:6}  {shares}")
    print(
        f"{len(found)} cells of {asked.times}: {100 * found[0][0]:.1f} to {100 * found[-1][0]:.1f} %, "
        f"mean {100 * np.mean([row[0] for row in found]):.1f} %"
    )


if __name__ == "__main__":
    main()
