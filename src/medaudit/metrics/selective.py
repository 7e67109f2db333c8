"""Selective prediction: what is gained by leaving the least confident cases to somebody else.

Cases are kept by falling confidence; coverage is the share that is kept. Equal confidences form one
block, and inside a block the order is that of the average over all orders: after j of its m cases,
j/m of its risk has been met. So results do not depend on the order of rows, and a case of weight 2
is the same as the case twice.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma

from medaudit.core.arrays import Float64Array
from medaudit.stats.weighting import (
    TieBlocks,
    Weights,
    by_chunks,
    checked_weights,
    paired,
    plain,
    ratio,
    tie_blocks,
)

# 0.07 · 100 is 7.000000000000001 in binary; without slack its ceiling would be 8.
ROUNDING_SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Risk-coverage curve, one entry for each number k = 1..n of cases that are kept.

    `selective_risk` is the mean risk of the kept; `generalised_risk` is the risk of the kept
    divided by all n; `threshold` is the confidence of the k-th case.
    """

    coverage: Float64Array
    selective_risk: Float64Array
    generalised_risk: Float64Array
    threshold: Float64Array


def risk_coverage(risk: ArrayLike, confidence: ArrayLike) -> RiskCoverage:
    """The curve whose means are `aurc` and `augrc`.

    Args:
        risk: (n,) loss of each case, in [0, 1] (0/1 for errors).
        confidence: (n,), higher means more trust; any scale.
    """
    losses, trust = _cases(risk, confidence)
    blocks = _blocks(losses, trust, everyone=True)
    kept = np.arange(1, len(losses) + 1)
    block = np.searchsorted(blocks.through, kept)
    before = np.r_[0.0, blocks.cumulative(blocks.masses(_ones(losses), losses))[0]]
    share = (kept - blocks.above[block]) / (blocks.through - blocks.above)[block]
    cumulative_risk = before[block] + share * (before[block + 1] - before[block])
    return RiskCoverage(
        coverage=kept / max(1, len(losses)),
        selective_risk=cumulative_risk / kept,
        generalised_risk=cumulative_risk / max(1, len(losses)),
        threshold=np.sort(trust)[::-1],
    )


def _cases(risk: ArrayLike, confidence: ArrayLike) -> tuple[Float64Array, Float64Array]:
    losses, trust = (array.astype(np.float64) for array in paired(risk, confidence))
    for name, array in (("risk", losses), ("confidence", trust)):
        if np.isnan(array).any():
            raise ValueError(f"{name}: expected numbers, got NaN in {np.isnan(array).sum()} places")
    return losses, trust


def _ones(samples: Float64Array) -> Weights:
    return np.ones((1, len(samples)), dtype=np.uint16)


def _blocks(losses: Float64Array, trust: Float64Array, *, everyone: bool) -> TieBlocks:
    """Blocks of all cases, or only those that hold a loss: the others add nothing to an area."""
    counted = np.ones(len(losses), dtype=bool)
    return tie_blocks(trust, foreground=counted if everyone else losses != 0, background=counted)


def weighted_aurc(risk: ArrayLike, confidence: ArrayLike, weights: ArrayLike) -> Float64Array:
    """Area under the risk-coverage curve in every replicate, shape (replicates,).

    mean over k of the mean risk of the k most confident cases; lower is better; in the range of the
    risks. A random confidence gives the mean risk. NaN where no weight is left.

    With H the harmonic numbers, a block of loss e and weight m that follows on weight S and ends at
    T = S + m adds e · (H_N − H_T + 1 − S/m · (H_T − H_S)) / N: no loop over k is needed.

    Args:
        risk: (n,) loss of each case, in [0, 1].
        confidence: (n,), higher means more trust; any scale.
        weights: (replicates, n), non-negative.

    Reference: Geifman et al. 2019, ICLR.
    """
    losses, trust = _cases(risk, confidence)
    checked = checked_weights(weights, len(losses))
    blocks = _blocks(losses, trust, everyone=False)
    table = _harmonic_table(checked)

    def compute(part: Weights) -> Float64Array:
        loss = blocks.masses(part, losses)
        above, through, total = blocks.ranks(part)
        after, start, end = (_harmonic(count, table) for count in (total, above, through))
        mass = through - above
        inside = 1 - above / np.where(mass > 0, mass, 1) * (end - start)
        return ratio(blocks.area(loss, after - end + inside), total[:, 0])

    return by_chunks(compute, checked)


def _harmonic_table(weights: Weights) -> Float64Array | None:
    """H_0 ... H_N for counts; fractional weights have no table."""
    if weights.dtype.kind == "f":
        return None
    largest = int(weights.sum(axis=1, dtype=np.int64).max(initial=0))
    return np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, largest + 1))])


def _harmonic(counts: NDArray[Any], table: Float64Array | None) -> Float64Array:
    """Harmonic numbers, continued to fractions by the digamma function."""
    if table is not None:
        return np.take(table, counts)
    return np.asarray(digamma(counts + 1.0) + np.euler_gamma)


def aurc(risk: ArrayLike, confidence: ArrayLike) -> float:
    """`weighted_aurc` of the sample itself."""
    return plain(weighted_aurc, risk, confidence)


def weighted_excess_aurc(
    risk: ArrayLike, confidence: ArrayLike, weights: ArrayLike
) -> Float64Array:
    """AURC minus the AURC of the ideal order, in which the same risks rise; 0 is perfect ranking.

    For errors with rate r the ideal is r + (1 − r) ln(1 − r) up to O(1/n), as in the reference;
    here it is computed, so that it is exact and holds for any risk.

    Reference: Geifman et al. 2019, ICLR.
    """
    losses, _ = _cases(risk, confidence)
    return weighted_aurc(risk, confidence, weights) - weighted_aurc(losses, -losses, weights)


def excess_aurc(risk: ArrayLike, confidence: ArrayLike) -> float:
    """`weighted_excess_aurc` of the sample itself."""
    return plain(weighted_excess_aurc, risk, confidence)


def weighted_augrc(risk: ArrayLike, confidence: ArrayLike, weights: ArrayLike) -> Float64Array:
    """Area under the generalised risk-coverage curve in every replicate, shape (replicates,).

    mean over k of (summed risk of the k most confident cases) / n: the average risk of an
    undetected failure. Lower is better; in [0, 1/2] for errors, up to O(1/n). NaN where no weight
    is left. For errors it is (1 − AUROC_f)·acc·(1 − acc) + (1 − acc)²/2 up to O(1/n), AUROC_f that
    of confidence for being right.

    Args:
        risk: (n,) loss of each case, in [0, 1].
        confidence: (n,), higher means more trust; any scale.
        weights: (replicates, n), non-negative.

    Reference: Traub et al. 2024, NeurIPS (arXiv:2407.01032).
    """
    losses, trust = _cases(risk, confidence)
    blocks = _blocks(losses, trust, everyone=False)

    def compute(part: Weights) -> Float64Array:
        loss = blocks.masses(part, losses)
        above, through, total = blocks.ranks(part)
        counted = total - through + 0.5 * (through - above + 1)
        n = total[:, 0].astype(np.float64)
        return ratio(blocks.area(loss, counted), n**2)

    return by_chunks(compute, checked_weights(weights, len(losses)))


def augrc(risk: ArrayLike, confidence: ArrayLike) -> float:
    """`weighted_augrc` of the sample itself."""
    return plain(weighted_augrc, risk, confidence)


def threshold_for_coverage(confidence: ArrayLike, *, coverage: float) -> float:
    """Highest threshold that keeps at least the given share: keep iff confidence >= threshold.

    The ⌈coverage · n⌉-th largest confidence; inf (nobody kept) for a coverage of 0; NaN without
    cases. It is chosen on the calibration role and then frozen.
    """
    _checked_coverage(coverage)
    falling = np.sort(np.asarray(confidence, dtype=np.float64))[::-1]
    if not len(falling) or np.isnan(falling[0]):
        return math.nan
    kept = math.ceil(coverage * len(falling) - ROUNDING_SLACK)
    return float(falling[kept - 1]) if kept > 0 else math.inf


def _checked_coverage(coverage: float) -> None:
    if not 0 <= coverage <= 1:
        raise ValueError(f"coverage: expected a number in [0, 1], got {coverage}")


def weighted_risk_at_coverage(
    risk: ArrayLike, confidence: ArrayLike, weights: ArrayLike, *, coverage: float
) -> Float64Array:
    """Mean risk of the cases kept by `threshold_for_coverage`, picked anew in every replicate.

    A block of ties is kept whole, as a threshold must, so somewhat more than `coverage` may be
    kept. NaN where nobody is kept.
    """
    _checked_coverage(coverage)
    losses, trust = _cases(risk, confidence)
    blocks = _blocks(losses, trust, everyone=True)

    def compute(part: Weights) -> Float64Array:
        risks, through, total = _selective_risks(blocks, losses, part)
        quota = np.ceil(coverage * total - ROUNDING_SLACK)
        last = (through < quota).sum(axis=1)
        reached = (quota[:, 0] > 0) & (last < through.shape[1])
        chosen = np.minimum(last, through.shape[1] - 1)
        return np.where(reached, risks[np.arange(len(part)), chosen], np.nan)

    return _defined_by_chunks(compute, checked_weights(weights, len(losses)))


def risk_at_coverage(risk: ArrayLike, confidence: ArrayLike, *, coverage: float) -> float:
    """`weighted_risk_at_coverage` of the sample itself."""
    return plain(weighted_risk_at_coverage, risk, confidence, coverage=coverage)


def weighted_coverage_at_risk(
    risk: ArrayLike, confidence: ArrayLike, weights: ArrayLike, *, max_risk: float
) -> Float64Array:
    """Largest coverage that a threshold can keep at a mean risk of at most `max_risk`, in [0, 1].

    0 where no threshold achieves it; NaN where no weight is left. Picked on the sample that is
    scored: optimistic.
    """
    losses, trust = _cases(risk, confidence)
    blocks = _blocks(losses, trust, everyone=True)

    def compute(part: Weights) -> Float64Array:
        risks, through, total = _selective_risks(blocks, losses, part)
        kept = np.where(risks <= max_risk + ROUNDING_SLACK, through, 0).max(axis=1)
        return ratio(kept, total[:, 0])

    return _defined_by_chunks(compute, checked_weights(weights, len(losses)))


def coverage_at_risk(risk: ArrayLike, confidence: ArrayLike, *, max_risk: float) -> float:
    """`weighted_coverage_at_risk` of the sample itself."""
    return plain(weighted_coverage_at_risk, risk, confidence, max_risk=max_risk)


def _selective_risks(
    blocks: TieBlocks, losses: Float64Array, weights: Weights
) -> tuple[Float64Array, NDArray[Any], NDArray[Any]]:
    """Mean risk of everybody through each block, the weight through it, and the weight in all."""
    cumulative_risk = blocks.cumulative(blocks.masses(weights, losses))
    _, through, total = blocks.ranks(weights)
    return ratio(cumulative_risk, through), through, total


def _defined_by_chunks(compute: Any, weights: Weights) -> Float64Array:
    """As `by_chunks`; NaN at once where there are no cases to take a maximum over."""
    if not weights.shape[1]:
        return np.full(len(weights), np.nan)
    return by_chunks(compute, weights)
