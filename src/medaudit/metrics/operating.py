"""Operating points: a threshold chosen on one sample, and what it does on another.

The rule everywhere is "positive iff score > threshold". A threshold that is NaN, because there was
nothing to choose it on, makes every rate NaN.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr
from scipy.stats import betabinom

from medaudit.core.arrays import BoolArray, Float64Array
from medaudit.stats.weighting import (
    Indices,
    Weights,
    by_chunks,
    checked_weights,
    paired,
    plain,
    ratio,
    running_sums,
    scored,
    weighted_ratio,
)

# 0.07 · 100 is 7.000000000000001 in binary; without slack its ceiling would be 8.
ROUNDING_SLACK = 1e-9


def threshold_at_specificity(negative_scores: ArrayLike, *, specificity: float) -> float:
    """Smallest threshold whose specificity on these negatives is at least the one asked for.

    The ⌈specificity · n⌉-th smallest score; -inf (everybody positive) for a specificity of 0; NaN
    without negatives. It is chosen on the calibration role and then frozen.

    Args:
        negative_scores: (n,) scores of the negatives alone.
        specificity: in [0, 1].
    """
    _checked_share(specificity)
    ordered = np.sort(np.asarray(negative_scores, dtype=np.float64))
    if not len(ordered) or np.isnan(ordered[-1]):
        return math.nan
    rank = math.ceil(specificity * len(ordered) - ROUNDING_SLACK)
    return float(ordered[rank - 1]) if rank > 0 else -math.inf


def guaranteed_threshold_at_specificity(
    negative_scores: ArrayLike, *, specificity: float, confidence: float
) -> float:
    """Smallest threshold that has the specificity among all negatives with the given confidence.

    The k-th smallest score for the smallest k whose one-sided Clopper-Pearson bound on k of n is at
    least `specificity`; in other words P(Binomial(n, specificity) < k) >= confidence. Over repeated
    calibration samples the specificity on new negatives is then at least the one asked for in a
    share `confidence` of them, whatever the distribution of scores; ties can only raise it. The
    plain order statistic keeps its promise about every other time. It holds for independent cases
    like those of the calibration sample; with several images a patient, count one of each.

    inf (nobody positive) where no score can promise it: `negatives_needed` says how many would do.
    -inf for a specificity of 0; NaN without negatives, or if a score is NaN.

    Args:
        negative_scores: (n,) scores of the negatives alone.
        specificity: in [0, 1].
        confidence: in (0, 1).

    Reference: Wilks 1941, Ann. Math. Stat. 12:91-96; Clopper & Pearson 1934, Biometrika 26:404-413.
    """
    _checked_share(specificity)
    _checked_confidence(confidence)
    ordered = np.sort(np.asarray(negative_scores, dtype=np.float64))
    if not len(ordered) or np.isnan(ordered[-1]):
        return math.nan
    if specificity == 0:
        return -math.inf
    promised = bdtr(np.arange(len(ordered)), len(ordered), specificity)
    enough = np.flatnonzero(promised >= confidence - ROUNDING_SLACK)
    return float(ordered[enough[0]]) if len(enough) else math.inf


def negatives_needed(specificity: float, confidence: float) -> int:
    """Fewest negatives for which `guaranteed_threshold_at_specificity` is not inf.

    ⌈ln(1 − confidence) / ln(specificity)⌉: the highest of that many scores is the threshold. 59 for
    95 % with 95 % confidence. No number promises a specificity of 1: `ValueError`.
    """
    _checked_confidence(confidence)
    if not 0 <= specificity < 1:
        raise ValueError(f"specificity: expected a number in [0, 1), got {specificity}")
    if specificity == 0:
        return 1
    exact = math.log1p(-confidence) / math.log(specificity)
    return max(1, math.ceil(exact - ROUNDING_SLACK))


def weighted_sensitivity(
    scores: ArrayLike, positives: ArrayLike, weights: ArrayLike, *, threshold: float
) -> Float64Array:
    """Share of the positives above the threshold; NaN in replicates without positives."""
    flagged, truth = _flagged(scores, positives, threshold)
    return _share(flagged, truth, weights, threshold)


def weighted_specificity(
    scores: ArrayLike, positives: ArrayLike, weights: ArrayLike, *, threshold: float
) -> Float64Array:
    """Share of the negatives at or below the threshold; NaN in replicates without negatives."""
    flagged, truth = _flagged(scores, positives, threshold)
    return _share(~flagged, ~truth, weights, threshold)


def weighted_ppv(
    scores: ArrayLike, positives: ArrayLike, weights: ArrayLike, *, threshold: float
) -> Float64Array:
    """Positive predictive value: share of positives above the threshold; NaN if nobody is there.

    It holds for the prevalence of this sample only.
    """
    flagged, truth = _flagged(scores, positives, threshold)
    return _share(truth, flagged, weights, threshold)


def weighted_npv(
    scores: ArrayLike, positives: ArrayLike, weights: ArrayLike, *, threshold: float
) -> Float64Array:
    """Negative predictive value: share of negatives at or below the threshold; NaN if nobody is.

    It holds for the prevalence of this sample only.
    """
    flagged, truth = _flagged(scores, positives, threshold)
    return _share(~truth, ~flagged, weights, threshold)


def sensitivity(scores: ArrayLike, positives: ArrayLike, *, threshold: float) -> float:
    """`weighted_sensitivity` of the sample itself."""
    return plain(weighted_sensitivity, scores, positives, threshold=threshold)


def specificity(scores: ArrayLike, positives: ArrayLike, *, threshold: float) -> float:
    """`weighted_specificity` of the sample itself."""
    return plain(weighted_specificity, scores, positives, threshold=threshold)


def ppv(scores: ArrayLike, positives: ArrayLike, *, threshold: float) -> float:
    """`weighted_ppv` of the sample itself."""
    return plain(weighted_ppv, scores, positives, threshold=threshold)


def npv(scores: ArrayLike, positives: ArrayLike, *, threshold: float) -> float:
    """`weighted_npv` of the sample itself."""
    return plain(weighted_npv, scores, positives, threshold=threshold)


def _flagged(
    scores: ArrayLike, positives: ArrayLike, threshold: float
) -> tuple[BoolArray, BoolArray]:
    values, mask = scored(scores, positives)
    return values > threshold, mask


def _share(
    event: BoolArray, denominator: BoolArray, weights: ArrayLike, threshold: float
) -> Float64Array:
    if math.isnan(threshold):
        return np.full(len(checked_weights(weights, len(denominator))), np.nan)
    return weighted_ratio(event & denominator, denominator, weights)


def weighted_sensitivity_at_specificity(
    scores: ArrayLike, positives: ArrayLike, weights: ArrayLike, *, specificity: float
) -> Float64Array:
    """Highest sensitivity among thresholds whose specificity is at least the one asked for.

    The threshold is picked anew in every replicate, on the very sample that is scored: optimistic,
    and reported only beside the value at a frozen threshold. NaN in a replicate that lacks one of
    the classes.
    """
    _checked_share(specificity)
    values, mask = scored(scores, positives)
    checked = checked_weights(weights, len(values))
    positive, negative = (_ascending(values, group) for group in (mask, ~mask))
    # By how many negatives lie at or below the threshold: the positives at or below it.
    missed = np.r_[0, np.searchsorted(values[positive], values[negative], side="right")]

    def compute(part: Weights) -> Float64Array:
        true_negatives, false_negatives = (
            running_sums(part, rows) for rows in (negative, positive)
        )
        quota = np.ceil(specificity * true_negatives[:, -1] - ROUNDING_SLACK)
        n_needed = (true_negatives < quota[:, None]).sum(axis=1)
        missed_now = false_negatives[np.arange(len(part)), missed[n_needed]]
        sensitivity = 1 - ratio(missed_now, false_negatives[:, -1])
        return np.where(true_negatives[:, -1] > 0, sensitivity, np.nan)

    return by_chunks(compute, checked)


def sensitivity_at_specificity(
    scores: ArrayLike, positives: ArrayLike, *, specificity: float
) -> float:
    """`weighted_sensitivity_at_specificity` of the sample itself."""
    return plain(weighted_sensitivity_at_specificity, scores, positives, specificity=specificity)


def independent_cases(members: ArrayLike, group_ids: ArrayLike) -> float:
    """How many independent cases would tell a share as exactly as these grouped ones do.

    n / max(1, design effect), with the design effect Σ_g (m_g − p n_g)² / (n p (1 − p)) of groups
    of n_g cases, m_g of them members, p the share of members. n where every group is one case; the
    number of groups where all or none are members, which tells nothing of how groups differ; 0
    without cases.

    Args:
        members: (n,) booleans.
        group_ids: (n,) lesion or patient of every case.

    Reference: Kish 1965, Survey Sampling, section 8.2; Rao & Scott 1992, Biometrics 48:577-585.
    """
    counted, ids = paired(members, group_ids)
    n = len(counted)
    if not n:
        return 0.0
    _, group = np.unique(ids, return_inverse=True)
    share = float(counted.mean())
    if share in (0.0, 1.0):
        return float(group.max() + 1)
    excess = np.bincount(group, weights=counted - share)
    return float(n / max(1.0, (excess**2).sum() / (n * share * (1 - share))))


def expected_specificity(
    specificity: float, *, n_chosen: float, n_new: float, level: float = 0.95
) -> tuple[float, float]:
    """Range of the specificity on new negatives like those that a threshold was chosen on.

    A threshold at or above k of n negatives has a specificity among all of them that follows
    Beta(k, n + 1 − k) over repeated samples; the count on n' new ones is therefore beta-binomial.
    Its variance is about s (1 − s) (1/n + 1/n'): that of the sample that chose the threshold counts
    as much as that of the new one. Ends are quantiles at (1 ∓ level)/2, divided by n'; with ties
    the range is too wide. NaN without cases.

    Args:
        specificity: on the negatives that the threshold was chosen on, in [0, 1].
        n_chosen: how many these are; of grouped ones `independent_cases`.
        n_new: how many new ones there are, in the same way.
        level: share of new samples whose specificity lies in the range, at least.

    Reference: David & Nagaraja 2003, Order Statistics, section 7.2; Wilks 1941, Ann. Math. Stat.
    12:91-96.
    """
    _checked_share(specificity)
    _checked_confidence(level)
    new = round(n_new)
    if n_chosen <= 0 or new <= 0:
        return math.nan, math.nan
    above = (1 - specificity) * n_chosen + 1
    # Of a specificity of 0 the threshold lies below every negative: no case stays under it.
    law = betabinom(new, max(specificity * n_chosen, 1e-9), above)
    below = np.cumsum(law.pmf(np.arange(new + 1)))
    tail = (1 - level) / 2
    low, high = np.searchsorted(below, [tail, (1 - tail) * (1 - ROUNDING_SLACK)])
    return float(low / new), float(min(high, new) / new)


def ppv_at_prevalence(
    sensitivity: ArrayLike, specificity: ArrayLike, *, prevalence: float
) -> Float64Array:
    """Positive predictive value π·se / (π·se + (1 − π)(1 − sp)); NaN where nobody is flagged.

    Args:
        sensitivity: in [0, 1], of any shape.
        specificity: in [0, 1], of the same shape.
        prevalence: π, share of positives where the rates are to be used, in (0, 1).

    Reference: Altman & Bland 1994, BMJ 309:102.
    """
    found = _checked_prevalence(prevalence) * np.asarray(sensitivity, dtype=np.float64)
    return ratio(found, found + (1 - prevalence) * (1 - np.asarray(specificity, dtype=np.float64)))


def npv_at_prevalence(
    sensitivity: ArrayLike, specificity: ArrayLike, *, prevalence: float
) -> Float64Array:
    """Negative predictive value (1 − π)·sp / ((1 − π)·sp + π(1 − se)); NaN where all are flagged.

    As `ppv_at_prevalence`.
    """
    missed = _checked_prevalence(prevalence) * (1 - np.asarray(sensitivity, dtype=np.float64))
    spared = (1 - prevalence) * np.asarray(specificity, dtype=np.float64)
    return ratio(spared, spared + missed)


def weighted_threshold_at_specificity(
    negative_scores: ArrayLike, weights: ArrayLike, *, specificity: float
) -> Float64Array:
    """`threshold_at_specificity` of every replicate, (replicates,): a weighted order statistic.

    NaN in a replicate without negatives.

    Args:
        negative_scores: (n,) scores of the negatives alone.
        weights: (replicates, n) counts.
        specificity: in [0, 1].
    """
    _checked_share(specificity)
    scores = np.asarray(negative_scores, dtype=np.float64)
    checked = checked_weights(weights, len(scores))
    order = np.argsort(scores, kind="stable")
    candidates = np.r_[-math.inf, scores[order]]

    def compute(part: Weights) -> Float64Array:
        spared = running_sums(part, order)
        quota = np.ceil(specificity * spared[:, -1] - ROUNDING_SLACK)
        chosen = (spared < quota[:, None]).sum(axis=1)
        return np.where(spared[:, -1] > 0, candidates[chosen], np.nan)

    return by_chunks(compute, checked)


def weighted_share_above(
    scores: ArrayLike, members: ArrayLike, weights: ArrayLike, *, thresholds: ArrayLike
) -> Float64Array:
    """Weight of the members above a threshold of its own in every replicate, (replicates,).

    Divided by the weight of all samples; NaN without any, or where the threshold is NaN.

    Args:
        scores: (n,).
        members: (n,) booleans.
        weights: (replicates, n), non-negative.
        thresholds: (replicates,).
    """
    values, mask = scored(scores, members)
    checked, limits = checked_weights(weights, len(values)), np.asarray(thresholds, np.float64)
    order = _ascending(values, mask)
    places = np.searchsorted(values[order], limits, side="right")

    above = np.empty(len(checked))
    rows = max(1, 2**18 // max(1, len(values)))
    for start in range(0, len(checked), rows):
        here = slice(start, start + rows)
        below = running_sums(checked[here], order)
        above[here] = below[:, -1] - below[np.arange(len(below)), places[here]]
    share = ratio(above, checked.sum(axis=1, dtype=np.float64))
    return np.where(np.isnan(limits), np.nan, share)


def _checked_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"specificity: expected a number in [0, 1], got {share}")


def _ascending(values: Float64Array, members: BoolArray) -> Indices:
    """Row numbers of the members by rising value."""
    rows = np.flatnonzero(members)
    return rows[np.argsort(values[rows])]


def _checked_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number between 0 and 1, got {confidence}")


def _checked_prevalence(prevalence: float) -> float:
    if not 0 < prevalence < 1:
        raise ValueError(f"prevalence: expected a number between 0 and 1, got {prevalence}")
    return prevalence
