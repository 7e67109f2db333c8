"""Public metrics of probabilities and of confidence with intervals.

Events are given as 0 and 1 with their probability, (n,); classes as names or column numbers (n,)
with the probabilities of all of them (n, k), where calibration is that of the most probable class.

Metrics of selective prediction take the loss of every sample in [0, 1] (0 and 1 for errors) and a
confidence, (n,) each, where higher means more trust. Lower is better but for coverages.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Unpack

import numpy as np

from medaudit.metrics import calibration, calibration_curves, proper, selective, selective_balanced
from medaudit.metrics.inputs import (
    IntervalOptions,
    binary,
    bootstrap_of,
    classes_of,
    event,
    interval,
    same_length,
    stated,
    vector,
)
from medaudit.stats.bootstrap import Measure, positives_and_negatives

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from numpy.typing import ArrayLike

    from medaudit.core.arrays import Float64Array
    from medaudit.metrics.calibration import Binning, Consistency, NoiseFloor
    from medaudit.metrics.calibration_curves import CalibrationTest
    from medaudit.metrics.proper import BrierDecomposition
    from medaudit.stats.bootstrap import IntervalKind
    from medaudit.stats.intervals import Estimate, Statistic


def log_loss(
    targets: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[object] | None = None,
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Mean of -ln of the probability of what is true, in nats; lower is better.

    Args:
        targets: 0 and 1 for one event, or classes as names or column numbers, (n,).
        probabilities: of the event (n,), or of all classes (n, k).
        classes: names of the columns; those of a data frame, or their numbers, by default.
        **options: see `IntervalOptions`.
    """
    truth, table = _distribution(targets, probabilities, classes)
    statistic = partial(proper.weighted_log_loss, table, truth)
    return interval(Measure("log_loss", statistic, -1), len(truth), options)


def brier_loss(
    targets: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[object] | None = None,
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Mean squared error of the probabilities; lower is better.

    (p - y)² for one event, in [0, 1]; summed over the classes for (n, k), in [0, 2]. Arguments as
    in `log_loss`.
    """
    if np.ndim(probabilities) == 1:
        truth, values = binary(targets, probabilities)
        statistic: Statistic = partial(proper.weighted_event_brier_loss, values, truth)
        return interval(Measure("brier_loss", statistic, -1), len(truth), options)
    numbers, table = stated(targets, probabilities, classes)
    statistic = partial(proper.weighted_brier_loss, table, numbers)
    return interval(Measure("brier_loss", statistic, -1), len(numbers), options)


def brier_skill_score(
    targets: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[object] | None = None,
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """1 - Brier loss / that of always stating the prevalence; arguments as in `log_loss`."""
    name = "brier_skill_score"
    if np.ndim(probabilities) == 1:
        truth, values = binary(targets, probabilities)
        skill = partial(proper.weighted_brier_skill_score, values, truth)
        sides = positives_and_negatives(truth)
        return interval(Measure(name, skill, 1, required_outcomes=sides), len(truth), options)
    numbers, table = stated(targets, probabilities, classes)
    statistic = partial(proper.weighted_multiclass_brier_skill_score, table, numbers)
    return interval(Measure(name, statistic, 1), len(numbers), options)


def ece(
    targets: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[object] | None = None,
    n_bins: int = 15,
    binning: Binning = "equal_width",
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Expected calibration error of an event, or of the most probable class; lower is better.

    A value without an interval, as all errors of calibration: noise can only raise them, and no
    bootstrap interval covers. See `ece_consistency` for what noise alone would show.

    Args:
        targets: 0 and 1 for one event, or classes as names or column numbers, (n,).
        probabilities: of the event (n,), or of all classes (n, k).
        classes: names of the columns; those of a data frame, or their numbers, by default.
        n_bins: bins of the probability.
        binning: `equal_width`, or `equal_mass`.
        **options: see `IntervalOptions`.
    """
    outcome, values = event(targets, probabilities, classes)
    metric = partial(calibration.weighted_ece, n_bins=n_bins, binning=binning)
    return _error("ece", partial(metric, values, outcome), len(values), options)


def mce(
    targets: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[object] | None = None,
    n_bins: int = 15,
    binning: Binning = "equal_width",
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Largest calibration error of any bin; arguments as in `ece`."""
    outcome, values = event(targets, probabilities, classes)
    metric = partial(calibration.weighted_mce, n_bins=n_bins, binning=binning)
    return _error("mce", partial(metric, values, outcome), len(values), options)


def debiased_ece(
    targets: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[object] | None = None,
    n_bins: int = 15,
    binning: Binning = "equal_mass",
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Root of the squared calibration error without the part of noise; arguments as in `ece`."""
    outcome, values = event(targets, probabilities, classes)
    metric = partial(calibration.weighted_debiased_ece, n_bins=n_bins, binning=binning)
    return _error("debiased_ece", partial(metric, values, outcome), len(values), options)


def smooth_ece(
    targets: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[object] | None = None,
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Calibration error by kernel smoothing instead of bins; arguments as in `ece`."""
    outcome, values = event(targets, probabilities, classes)
    statistic = partial(calibration_curves.weighted_smooth_ece, values, outcome)
    return _error("smooth_ece", statistic, len(values), options)


def classwise_ece(
    targets: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[object] | None = None,
    n_bins: int = 15,
    binning: Binning = "equal_width",
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Mean over the classes of the ECE of each; targets (n,), probabilities (n, k), as in `ece`."""
    truth, table = stated(targets, probabilities, classes)
    metric = partial(calibration.weighted_classwise_ece, n_bins=n_bins, binning=binning)
    return _error("classwise_ece", partial(metric, table, truth), len(truth), options)


def ece_noise_floor(
    probabilities: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
    replicates: int = 500,
    seed: int = 20_240,
) -> NoiseFloor:
    """What ECE reads of perfectly calibrated probabilities: mean and 95th percentile.

    Args:
        probabilities: of the event (n,), or of all classes (n, k), of which the largest counts.
        n_bins: as in `ece`.
        binning: as in `ece`.
        replicates: draws of all outcomes.
        seed: of these draws.
    """
    table = np.asarray(probabilities, dtype=np.float64)
    values = vector(table.max(axis=1) if table.ndim == 2 else table, what="probabilities")
    return calibration.ece_noise_floor(
        values, n_bins=n_bins, replicates=replicates, seed=seed, binning=binning
    )


def ece_consistency(
    targets: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[object] | None = None,
    n_bins: int = 15,
    binning: Binning = "equal_width",
    groups: ArrayLike | None = None,
    replicates: int = 500,
    seed: int = 20_240,
) -> Consistency:
    """ECE, its noise floor, and the p-value that the probabilities are true.

    Args:
        targets: as in `ece`.
        probabilities: as in `ece`.
        classes: as in `ece`.
        n_bins: as in `ece`.
        binning: as in `ece`.
        groups: lesion or patient of every sample, (n,): their outcomes are then drawn together, the
            most dependence that there can be, for a cautious p-value. Independently by default.
        replicates: draws of all outcomes.
        seed: of these draws.
    """
    outcome, values = event(targets, probabilities, classes)
    return calibration.ece_consistency(
        values,
        outcome,
        n_bins=n_bins,
        replicates=replicates,
        seed=seed,
        binning=binning,
        groups=groups,
    )


@dataclass(frozen=True)
class CalibrationLine:
    """logit P(y = 1) = intercept + slope · logit p; ideal are 0 and 1."""

    intercept: Estimate
    slope: Estimate


def cox(
    targets: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[object] | None = None,
    **options: Unpack[IntervalOptions],
) -> CalibrationLine:
    """Cox's line through the log-odds of an event or of the most probable class.

    A slope below 1 is overconfidence. Arguments as in `ece`.
    """
    outcome, values = event(targets, probabilities, classes)
    line = partial(calibration_curves.weighted_cox, values, outcome)
    sides, bootstrap = positives_and_negatives(outcome), bootstrap_of(len(values), options)

    def part(name: str, statistic: Statistic) -> Estimate:
        return bootstrap.interval(
            Measure(name, statistic, 0, denominator=outcome, required_outcomes=sides)
        )

    return CalibrationLine(
        intercept=part("cox_intercept", lambda w: line(w).intercept),
        slope=part("cox_slope", lambda w: line(w).slope),
    )


def spiegelhalter(
    targets: ArrayLike, probabilities: ArrayLike, *, classes: Sequence[object] | None = None
) -> CalibrationTest:
    """Spiegelhalter's test that the probabilities are true; samples must be independent."""
    outcome, values = event(targets, probabilities, classes)
    return calibration_curves.spiegelhalter(values, outcome)


def brier_decomposition(
    targets: ArrayLike,
    probabilities: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> BrierDecomposition[float]:
    """Reliability, resolution, uncertainty of one event; targets 0 and 1, both (n,)."""
    truth, values = binary(targets, probabilities)
    return proper.brier_decomposition(values, truth, n_bins=n_bins, binning=binning)


def _error(name: str, statistic: Statistic, n: int, options: IntervalOptions) -> Estimate:
    """A calibration error, which noise can only raise: a value without an interval."""
    return interval(Measure(name, statistic, -1, interval_kind="nonnegative_error"), n, options)


def _distribution(
    targets: ArrayLike, probabilities: ArrayLike, classes: Sequence[object] | None
) -> tuple[npt.NDArray[np.int64], Float64Array]:
    """Class numbers and probabilities (n, k), of one event its two outcomes."""
    if np.ndim(probabilities) != 1:
        return stated(targets, probabilities, classes)
    truth, values = binary(targets, probabilities)
    return truth.astype(np.int64), np.column_stack([1 - values, values])


def aurc(risks: ArrayLike, confidence: ArrayLike, **options: Unpack[IntervalOptions]) -> Estimate:
    """Area under the risk-coverage curve."""
    return _estimate(selective.weighted_aurc, risks, confidence, options)


def excess_aurc(
    risks: ArrayLike, confidence: ArrayLike, **options: Unpack[IntervalOptions]
) -> Estimate:
    """AURC minus that of the ideal order."""
    return _estimate(selective.weighted_excess_aurc, risks, confidence, options)


def augrc(risks: ArrayLike, confidence: ArrayLike, **options: Unpack[IntervalOptions]) -> Estimate:
    """Area under the generalised risk-coverage curve: average risk of an undetected failure."""
    return _estimate(selective.weighted_augrc, risks, confidence, options)


def risk_at_coverage(
    risks: ArrayLike, confidence: ArrayLike, *, coverage: float, **options: Unpack[IntervalOptions]
) -> Estimate:
    """Mean risk of the most confident share `coverage`, in [0, 1]."""
    metric = partial(selective.weighted_risk_at_coverage, coverage=coverage)
    return _estimate(metric, risks, confidence, options)


def coverage_at_risk(
    risks: ArrayLike, confidence: ArrayLike, *, max_risk: float, **options: Unpack[IntervalOptions]
) -> Estimate:
    """Largest share that can be kept at a mean risk of at most `max_risk`; higher is better."""
    metric = partial(selective.weighted_coverage_at_risk, max_risk=max_risk)
    return _estimate(metric, risks, confidence, options)


def balanced_aurc(
    targets: ArrayLike,
    risks: ArrayLike,
    confidence: ArrayLike,
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """AURC where every class of the truth, (n,), weighs the same; no interval, take balanced AUGRC.

    It grows with n: among the few most confident cases a rare class is absent or right by chance.
    """
    metric = selective_balanced.weighted_balanced_aurc
    return _balanced(metric, targets, risks, confidence, options, kind="biased")


def balanced_augrc(
    targets: ArrayLike,
    risks: ArrayLike,
    confidence: ArrayLike,
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """AUGRC where every class of the truth, (n,), weighs the same."""
    metric = selective_balanced.weighted_balanced_augrc
    return _balanced(metric, targets, risks, confidence, options)


def balanced_risk_at_coverage(
    targets: ArrayLike,
    risks: ArrayLike,
    confidence: ArrayLike,
    *,
    coverage: float,
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Mean over the classes of the risk of the most confident share `coverage`, in [0, 1]."""
    metric = partial(selective_balanced.weighted_balanced_risk_at_coverage, coverage=coverage)
    return _balanced(metric, targets, risks, confidence, options)


def coverage_at_balanced_risk(
    targets: ArrayLike,
    risks: ArrayLike,
    confidence: ArrayLike,
    *,
    max_risk: float,
    **options: Unpack[IntervalOptions],
) -> Estimate:
    """Largest share that can be kept at a class-balanced risk of at most `max_risk`."""
    metric = partial(selective_balanced.weighted_coverage_at_balanced_risk, max_risk=max_risk)
    return _balanced(metric, targets, risks, confidence, options)


def _losses(risks: ArrayLike, confidence: ArrayLike) -> tuple[Float64Array, Float64Array]:
    losses, trust = vector(risks, what="risks"), vector(confidence, what="confidence")
    same_length(losses, trust, what="confidence")
    return losses, trust


def _estimate(
    metric: Callable[..., Float64Array],
    risks: ArrayLike,
    confidence: ArrayLike,
    options: IntervalOptions,
) -> Estimate:
    losses, trust = _losses(risks, confidence)
    return interval(Measure("risk", partial(metric, losses, trust), -1), len(losses), options)


def _balanced(
    metric: Callable[..., Float64Array],
    targets: ArrayLike,
    risks: ArrayLike,
    confidence: ArrayLike,
    options: IntervalOptions,
    *,
    kind: IntervalKind = "bounded",
) -> Estimate:
    losses, trust = _losses(risks, confidence)
    given = classes_of(targets, targets, None)
    same_length(given.targets, losses, what="risks")
    statistic = partial(metric, losses, trust, np.asarray(given.targets))
    measure = Measure("balanced", statistic, -1, required_outcomes=given.truth, interval_kind=kind)
    return interval(measure, len(losses), options)
