"""Bootstrap resamples of groups, as counts: one set of them serves every statistic of a sample."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Draws held at once; memory beyond the counts themselves stays at a few of these.
DRAWS_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class Resamples:
    """How often each row enters each replicate, and which rows belong together.

    Attributes:
        weights: (replicates, n) counts, uint16.
        groups: (n,) group numbers from 0.
    """

    weights: NDArray[np.uint16]
    groups: NDArray[np.intp]

    @property
    def replicates(self) -> int:
        """Number of replicates."""
        return len(self.weights)

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.groups)

    @cached_property
    def n_groups(self) -> int:
        """Number of groups that have a row here."""
        return len(np.unique(self.groups))

    def subset(self, rows: ArrayLike) -> "Resamples":
        """The same draws seen by some rows (a mask or row numbers): a slice, still paired."""
        chosen: NDArray[Any] = np.asarray(rows)
        return Resamples(self.weights[:, chosen], self.groups[chosen])


def cluster_resamples(group_ids: ArrayLike, *, replicates: int, seed: int) -> Resamples:
    """Draw groups with replacement; all rows of a drawn group enter as often as it was drawn.

    As many groups are drawn as there are, so the number of rows varies between replicates. Unique
    ids make it the ordinary bootstrap of independent rows. Equal ids, number of replicates and seed
    give equal counts, whatever the order of rows.

    Reference: Davison & Hinkley 1997, section 3.8; Field & Welsh 2007, JRSS-B 69:369-390.
    """
    names, groups = np.unique(np.asarray(group_ids), return_inverse=True)
    counts = _counts(len(names), replicates, np.random.default_rng(seed))
    return Resamples(np.take(counts, groups, axis=1), groups)


def _counts(n_groups: int, replicates: int, generator: np.random.Generator) -> NDArray[np.uint16]:
    """(replicates, n_groups) counts of `n_groups` draws with replacement."""
    counts = np.zeros((replicates, n_groups), dtype=np.uint16)
    rows = max(1, DRAWS_AT_ONCE // max(1, n_groups))
    for start in range(0, replicates if n_groups else 0, rows):
        part = counts[start : start + rows]
        draws = generator.integers(0, n_groups, size=part.shape)
        draws += n_groups * np.arange(len(part))[:, None]
        part[:] = np.bincount(draws.ravel(), minlength=part.size).reshape(part.shape)
    return counts
