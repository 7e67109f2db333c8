"""Measures of a prediction table: the same list for clean, corrupted and sliced samples."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from medaudit.metrics import calibration, ranking, selective
from medaudit.stats.bootstrap import Measure, positives_and_negatives, share_measure, share_of
from medaudit.stats.weighting import by_chunks, ratio, weighted_mean, weighted_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medaudit.core.arrays import BoolArray, Float64Array
    from medaudit.stats.bootstrap import IntervalKind
    from medaudit.stats.intervals import Statistic
    from medaudit.tables.scoring import ScoredPredictions
    from medaudit.tables.tasks.base import Events

ECE_BINS = 15
HALF = 0.5
PAIR_BYTES = 2**26  # of weights that are repeated for every output at once


def measures(scored: ScoredPredictions) -> tuple[Measure, ...]:
    """Every measure of a set of predictions, in the order in which reports show them."""
    own = (*scored.task.measures(scored), *scored.task.losses(scored))
    ece = ece_measure(scored.events)
    return (
        *macro_measures(scored),
        *own,
        ece,
        augrc_measure(scored),
        *critical_measures(scored),
        *drift_measures(scored),
    )


def macro_measures(scored: ScoredPredictions) -> tuple[Measure, ...]:
    """Unweighted means over outputs; NaN when any output is undefined in a replicate."""
    kept = list(scored.in_means)
    truth, predicted = scored.positives[:, kept], scored.decisions[:, kept]
    flagged, both = scored.above_threshold[:, kept], positives_and_negatives(truth)
    areas = partial(
        ranking.weighted_macro_auroc,
        scored.probabilities,
        scored.positives,
        classes=scored.in_means,
    )
    sensitivity = mean_share(flagged & truth, truth)
    specificity = mean_share(~flagged & ~truth, ~truth)
    return (
        Measure("macro_auroc", areas, 1, required_outcomes=both, interval_kind="auc"),
        Measure(
            "macro_auprc",
            _macro(scored, _auprc),
            1,
            required_outcomes=both,
            interval_kind="smooth",
        ),
        _mean_measure("macro_f1", _mean_f1(truth, predicted), both),
        _mean_measure("macro_sensitivity", sensitivity, truth),
        _mean_measure("macro_specificity", specificity, ~truth),
    )


def _mean_measure(name: str, statistic: Statistic, required: BoolArray) -> Measure:
    """A mean over outputs of shares, or of F1, of which each outcome in the columns has a part."""
    return Measure(name, statistic, 1, required_outcomes=required, interval_kind="bounded")


def ece_measure(events: Sequence[Events], *, n_bins: int = ECE_BINS, name: str = "ece") -> Measure:
    """Mean over the events of the expected calibration error of each."""
    parts = [
        partial(
            calibration.weighted_ece,
            event.probability,
            event.outcome,
            n_bins=n_bins,
            binning=event.binning,
        )
        for event in events
    ]
    return Measure(name, mean_of(parts), -1, interval_kind="nonnegative_error")


def augrc_measure(scored: ScoredPredictions) -> Measure:
    """Average risk of an undetected failure of any kind, deferring by the largest probability."""
    failed = (scored.risks() > 0).astype(np.float64)
    statistic = partial(selective.weighted_augrc, failed, scored.confidence_score())
    return Measure("failure_augrc", statistic, -1)


def critical_measures(scored: ScoredPredictions) -> tuple[Measure, ...]:
    """Measures of the critical class; sensitivity and specificity at the frozen threshold."""
    if scored.schema.critical_class is None:
        return ()
    k = scored.schema.critical_index
    wanted = ("auroc", "auprc", "f1", "sensitivity", "specificity", "recall")
    found = {each.name: each for each in per_output_measures(scored, k)}
    return tuple(replace(found[name], name=f"critical_{name}") for name in wanted)


def micro_measures(scored: ScoredPredictions) -> tuple[Measure, ...]:
    """F1 over all pairs of a sample and an output, and macro F1 of labels above 0.5.

    `micro_f1` = 2 hits / (positives + calls), pooled over outputs, of the calls that `decisions`
    makes; in [0, 1], NaN where nothing is true and nothing called. Where exactly one class is true
    and one is called it equals accuracy. Frequent outputs rule it.

    `f1_at_half`, of tasks whose outputs do not exclude each other: mean over outputs of
    2 hits / (positives + calls) with calls above a probability of 0.5, as papers quote it; in
    [0, 1], NaN where an output of the mean has no positives. It measures calibration as much as
    discrimination; `macro_f1` takes the frozen thresholds.

    Reference: Opitz & Burst 2019, arXiv 1911.03347.
    """
    kept = list(scored.in_means)
    micro = Measure("micro_f1", _pooled_f1(scored.positives, scored.decisions), 1)
    if scored.task.exclusive:
        return (micro,)
    truth, called = scored.positives[:, kept], scored.probabilities[:, kept] > HALF
    return (micro, Measure("f1_at_half", _mean_f1(truth, called), 1, required_outcomes=truth))


def micro_areas(scored: ScoredPredictions) -> tuple[Measure, ...]:
    """AUROC and AUPRC over all pairs of a sample and an output, ranked together.

    `micro_auroc` = P(s⁺ > s⁻) + ½ P(s⁺ = s⁻) over all true and all untrue pairs; `micro_auprc` is
    the average precision of the same list. Both in [0, 1]; NaN without a true (AUROC: or an
    untrue) pair. Ranks of different outputs are compared, so a model looks good that knows no
    more than which outputs are frequent: never a headline. Dear to compute: every weight counts
    once for each output.

    Reference: scikit-learn's `average="micro"`.
    """
    truth = scored.positives
    both = np.column_stack([truth.any(axis=1), (~truth).any(axis=1)])
    return (
        Measure(
            "micro_auroc",
            _over_pairs(ranking.weighted_auroc, scored.probabilities, truth),
            1,
            required_outcomes=both,
            interval_kind="auc",
        ),
        Measure(
            "micro_auprc",
            _over_pairs(ranking.weighted_average_precision, scored.probabilities, truth),
            1,
            required_outcomes=both,
            interval_kind="smooth",
        ),
    )


def drift_measures(scored: ScoredPredictions) -> tuple[Measure, ...]:
    """What the model says without asking whether it is true; collapse shows here first."""
    majority = int(scored.positives.sum(axis=0).argmax())
    predicted = scored.decisions[:, majority].astype(np.float64)
    return (
        Measure("mean_confidence", partial(weighted_mean, scored.confidence_score()), 0),
        Measure("majority_share", partial(weighted_mean, predicted), 0, interval_kind="proportion"),
    )


def per_output_measures(scored: ScoredPredictions, k: int) -> tuple[Measure, ...]:
    """One-versus-rest measures of output k."""
    truth, predicted = scored.positives[:, k], scored.decisions[:, k]
    flagged, hits = scored.above_threshold[:, k], truth & predicted
    return (
        _ranking("auroc", _auroc(scored, k), truth, interval_kind="auc"),
        _ranking("auprc", _auprc(scored, k), truth, interval_kind="smooth"),
        _ranking("f1", _f1(scored, k), truth, interval_kind="bounded"),
        share_measure("recall", hits, truth),
        share_measure("precision", hits, predicted),
        _rate("sensitivity", frozen_sensitivity(scored, k), flagged & truth, truth),
        _rate("specificity", frozen_specificity(scored, k), ~flagged & ~truth, ~truth),
        _rate("ppv", _at(scored, k, truth, flagged), flagged & truth, flagged),
        _npv(scored, k, ~flagged & ~truth, ~flagged),
    )


def _ranking(
    name: str, statistic: Statistic, truth: BoolArray, *, interval_kind: IntervalKind
) -> Measure:
    """A measure that rests on the positives and needs negatives as well."""
    return Measure(
        name,
        statistic,
        1,
        denominator=truth,
        required_outcomes=positives_and_negatives(truth),
        interval_kind=interval_kind,
    )


def _rate(name: str, statistic: Statistic, members: BoolArray, denominator: BoolArray) -> Measure:
    """A share at a frozen threshold, undefined where there is none."""
    return replace(share_measure(name, members, denominator), statistic=statistic)


def _npv(scored: ScoredPredictions, k: int, members: BoolArray, denominator: BoolArray) -> Measure:
    """It errs by the positives that are missed, so that it rests on these too, rare as they are."""
    found = _rate("npv", _at(scored, k, ~scored.positives[:, k], denominator), members, denominator)
    required = np.column_stack([denominator, scored.positives[:, k]])
    return replace(found, required_outcomes=required)


def frozen_sensitivity(scored: ScoredPredictions, k: int) -> Statistic:
    """Sensitivity of output k at its frozen threshold."""
    return _at(scored, k, scored.above_threshold[:, k], scored.positives[:, k])


def frozen_specificity(scored: ScoredPredictions, k: int) -> Statistic:
    """Specificity of output k at its frozen threshold."""
    return _at(scored, k, ~scored.above_threshold[:, k], ~scored.positives[:, k])


def _at(scored: ScoredPredictions, k: int, members: BoolArray, denominator: BoolArray) -> Statistic:
    """Share of the members; undefined where no threshold could be chosen."""
    if np.isnan(scored.thresholds[k]):
        return lambda weights: np.full(len(weights), np.nan)
    return share_of(members, denominator)


def mean_of(parts: Sequence[Statistic]) -> Statistic:
    """The unweighted mean of several statistics; undefined where one of them is, or none given."""

    def mean(weights: Float64Array) -> Float64Array:
        if not parts:
            return np.full(len(weights), np.nan)
        return np.asarray(np.mean([part(weights) for part in parts], axis=0))

    return mean


def mean_share(members: BoolArray, denominator: BoolArray) -> Statistic:
    """Mean over columns of the share of `members` in `denominator`, both (n, k)."""
    table = np.column_stack([members, denominator]).astype(np.float64)

    def mean(weights: Float64Array) -> Float64Array:
        hits, cases = np.split(weighted_sums(table, weights), 2, axis=1)
        return _mean(ratio(hits, cases))

    return mean


def _mean(per_output: Float64Array) -> Float64Array:
    """Mean over the columns, undefined where one is, or where there are none."""
    return ratio(per_output.sum(axis=1), per_output.shape[1])


def _auroc(scored: ScoredPredictions, k: int) -> Statistic:
    return partial(ranking.weighted_auroc, scored.probabilities[:, k], scored.positives[:, k])


def _auprc(scored: ScoredPredictions, k: int) -> Statistic:
    return partial(
        ranking.weighted_average_precision, scored.probabilities[:, k], scored.positives[:, k]
    )


def _f1(scored: ScoredPredictions, k: int) -> Statistic:
    return _mean_f1(scored.positives[:, [k]], scored.decisions[:, [k]])


def _mean_f1(truth: BoolArray, predicted: BoolArray) -> Statistic:
    """Mean over columns of F1 = hits / mean of truth and calls."""
    table = np.column_stack([truth & predicted, truth, predicted]).astype(np.float64)

    def mean(weights: Float64Array) -> Float64Array:
        hits, cases, calls = np.split(weighted_sums(table, weights), 3, axis=1)
        # A class that a replicate lacks has no F1, even where it was predicted.
        return _mean(ratio(2 * hits, np.where(cases > 0, cases + calls, 0.0)))

    return mean


def _pooled_f1(truth: BoolArray, predicted: BoolArray) -> Statistic:
    """2 hits / (positives + calls) over all columns together."""
    hits = (truth & predicted).sum(axis=1)
    table = np.column_stack([2 * hits, truth.sum(axis=1) + predicted.sum(axis=1)])

    def pooled(weights: Float64Array) -> Float64Array:
        sums = weighted_sums(table.astype(np.float64), weights)
        return ratio(sums[:, 0], sums[:, 1])

    return pooled


def _over_pairs(
    rank: Callable[..., Float64Array], stated: Float64Array, truth: BoolArray
) -> Statistic:
    """A ranking of all entries of (n, k) tables, each with the weight of its row."""

    def pooled(weights: Float64Array) -> Float64Array:
        def compute(part: Float64Array) -> Float64Array:
            return rank(stated.ravel(), truth.ravel(), np.repeat(part, stated.shape[1], axis=1))

        return by_chunks(compute, weights, size=PAIR_BYTES // stated.shape[1])

    return pooled


def _macro(
    scored: ScoredPredictions, per_output: Callable[[ScoredPredictions, int], Statistic]
) -> Statistic:
    return mean_of([per_output(scored, k) for k in scored.in_means])
