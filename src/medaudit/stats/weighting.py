"""Replicate weights: drawn by groups, multiplied in bounded memory; ratios and ties."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medaudit.core.arrays import BoolArray, Float64Array

Indices = NDArray[np.intp]

Weights = NDArray[Any]

# Sorted passes read each number once: temporaries of this size stay in the caches.
PASS_BYTES = 2**21


# Small ones stay in the caches and below the size from which BLAS hands work to other threads and,
# on a busy machine, waits for them longer than the work takes.
SMALL_ROWS = 32
SMALL_PRODUCT = 2**18


def plain(weighted: Callable[..., Float64Array], *samples: ArrayLike, **options: Any) -> float:
    """The metric of the sample itself: the weighted form with one replicate of weights 1."""
    arrays = [np.asarray(sample) for sample in samples]
    weights = np.ones((1, len(arrays[0])), dtype=np.uint16)
    return float(weighted(*arrays, weights, **options)[0])


def checked_weights(weights: ArrayLike, n: int) -> Weights:
    """Weights of shape (replicates, n), non-negative; anything else is a `ValueError`."""
    array = np.asarray(weights)
    if array.ndim != 2 or array.shape[1] != n:
        raise ValueError(f"weights: expected shape (replicates, {n}), got {array.shape}")
    if array.dtype.kind in "if" and array.size and not array.min() >= 0:
        raise ValueError("weights: expected non-negative numbers")
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def paired(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two one-dimensional arrays of one length; anything else is a `ValueError`."""
    a, b = np.asarray(first), np.asarray(second)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"expected two vectors of one length, got shapes {a.shape} and {b.shape}")
    return a, b


def scored(scores: ArrayLike, positives: ArrayLike) -> tuple[Float64Array, BoolArray]:
    """Scores as floats without NaN, and positives as a mask of the same length."""
    values, mask = paired(scores, positives)
    values = values.astype(np.float64)
    if np.isnan(values).any():
        raise ValueError(f"scores: expected numbers, got NaN in {np.isnan(values).sum()} places")
    return values, mask.astype(bool)


def by_chunks(
    compute: Callable[[Weights], Float64Array], weights: Weights, *, size: int = PASS_BYTES
) -> Float64Array:
    """Apply `compute` to a few replicates at a time, so that memory does not grow with them all.

    `size` is what one temporary with a number for every sample may take, in bytes.
    """
    rows = max(1, size // (8 * max(1, weights.shape[1])))
    starts = range(0, max(1, len(weights)), rows)
    return np.concatenate([compute(weights[start : start + rows]) for start in starts])


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> Float64Array:
    """Element-wise quotient, NaN where the denominator is 0."""
    over, under = np.asarray(numerator), np.asarray(denominator)
    quotient = np.full(np.broadcast_shapes(over.shape, under.shape), np.nan)
    np.divide(over, under, out=quotient, where=under != 0)
    return quotient


def weighted_sums(table: Float64Array, weights: ArrayLike) -> Float64Array:
    """Sums of the columns of `table` (n, m) under every replicate: (replicates, m)."""
    checked = checked_weights(weights, len(table))
    size = 8 * SMALL_ROWS * max(1, len(table))
    return by_chunks(lambda part: _product(part, table), checked, size=size)


def _product(weights: Weights, table: Float64Array) -> Float64Array:
    """`weights @ table`, a few samples at a time."""
    sums = np.zeros((len(weights), table.shape[1]))
    samples = max(1, SMALL_PRODUCT // (SMALL_ROWS * max(1, table.shape[1])))
    for start in range(0, len(table), samples):
        here = slice(start, start + samples)
        sums += weights[:, here].astype(np.float64) @ table[here]
    return sums


def weighted_ratio(
    numerator: ArrayLike, denominator: ArrayLike, weights: ArrayLike
) -> Float64Array:
    """Σ w·numerator / Σ w·denominator in every replicate; NaN where the lower sum is 0."""
    over, under = paired(numerator, denominator)
    sums = weighted_sums(np.column_stack([over, under]).astype(np.float64), weights)
    return ratio(sums[:, 0], sums[:, 1])


def weighted_mean(values: ArrayLike, weights: ArrayLike) -> Float64Array:
    """Mean of per-sample values in every replicate; NaN where no weight is left."""
    array = np.asarray(values, dtype=np.float64)
    return weighted_ratio(array, np.ones_like(array), weights)


@dataclass(frozen=True, eq=False)
class TieBlocks:
    """Foreground samples in blocks of equal score, and where each block stands in the background.

    Blocks run from the highest score to the lowest. `above` and `through` count the background
    samples that score higher than a block, and at least as high.
    """

    foreground: Indices  # sample numbers by descending score
    block: Indices  # the block of each of them
    lasts: Indices  # where each block ends in `foreground`
    background: Indices  # sample numbers by descending score
    above: Indices
    through: Indices

    def masses(self, weights: Weights, values: Float64Array | None = None) -> Float64Array:
        """w·value of every foreground sample, (replicates, foreground); values are 1 if not given.

        They stay apart: adding up the short runs of equal scores is dear.
        """
        mass = np.take(weights, self.foreground, axis=1).astype(np.float64)
        if values is not None:
            mass *= values[self.foreground]
        return mass

    def area(self, masses: Float64Array, heights: Float64Array) -> Float64Array:
        """Σ mass · height of its block, (replicates,), for heights (replicates, blocks)."""
        tied = len(self.lasts) < len(self.foreground)
        steps = np.take(heights, self.block, axis=1) if tied else heights
        return np.asarray(np.einsum("bp,bp->b", masses, steps))

    def cumulative(self, masses: Float64Array) -> Float64Array:
        """Σ mass through every block, (replicates, blocks)."""
        return np.take(np.cumsum(masses, axis=1), self.lasts, axis=1)

    def ranks(self, weights: Weights) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Background weight above every block, through every block, and in all (one column).

        Integer weights give integers.
        """
        running = running_sums(weights, self.background)
        above, through = (np.take(running, at, axis=1) for at in (self.above, self.through))
        return above, through, running[:, -1:]


def running_sums(weights: Weights, order: Indices) -> NDArray[Any]:
    """Sums of the first 0, 1, ... weights in this order, (replicates, len(order) + 1)."""
    sums = np.zeros((len(weights), len(order) + 1), dtype=_sum_kind(weights))
    np.cumsum(np.take(weights, order, axis=1), axis=1, dtype=sums.dtype, out=sums[:, 1:])
    return sums


def _sum_kind(weights: Weights) -> type[np.float64] | type[np.int64] | type[np.int32]:
    """The narrowest kind in which sums of a row, and of two such sums, are exact."""
    if weights.dtype.kind == "f":
        return np.float64
    largest = 2 * int(weights.max(initial=0)) * weights.shape[1]
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64


def tie_blocks(scores: Float64Array, *, foreground: BoolArray, background: BoolArray) -> TieBlocks:
    """Sort once what every replicate shares."""
    front, back = (_descending(scores, mask) for mask in (foreground, background))
    falling = -scores[front]
    begins = np.diff(falling, prepend=np.nan) != 0
    heads, rear = falling[begins], -scores[back]
    return TieBlocks(
        foreground=front,
        block=np.cumsum(begins) - 1,
        lasts=np.flatnonzero(np.diff(falling, append=np.nan) != 0),
        background=back,
        above=np.searchsorted(rear, heads, side="left"),
        through=np.searchsorted(rear, heads, side="right"),
    )


def _descending(scores: Float64Array, mask: BoolArray) -> Indices:
    members = np.flatnonzero(mask)
    return members[np.argsort(-scores[members], kind="stable")]


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

    @cached_property
    def _group_draws(self) -> tuple[NDArray[np.intp], Float64Array]:
        """Numbers of the groups, and how often each was drawn, (replicates, groups)."""
        numbers, firsts = np.unique(self.groups, return_index=True)
        return numbers, self.weights[:, firsts].astype(np.float64)

    def influences(self, replicates: ArrayLike) -> Float64Array:
        """What each group adds to a statistic, from replicates of it; by group number.

        U_g = cov(draws of g, statistic) over the defined replicates: the infinitesimal jackknife
        without evaluating the statistic again. Σ U² is its variance plus noise of B replicates, of
        which every group has var(statistic) / B. 0 for numbers that have no row here.

        Reference: Efron 2014, JASA 109:991-1007; Wager, Hastie & Efron 2014, JMLR 15:1625-1651.
        """
        values = np.asarray(replicates, dtype=np.float64)
        defined = np.isfinite(values)
        numbers, draws = self._group_draws
        found = np.zeros(numbers.max(initial=-1) + 1)
        if defined.any():
            centred = np.where(defined, values, 0.0)
            centred[defined] -= centred[defined].mean()
            found[numbers] = centred @ draws / defined.sum()
        return found

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
