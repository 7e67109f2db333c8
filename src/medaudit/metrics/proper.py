"""Proper scores: losses that are lowest on average for the true probabilities.

They measure calibration and discrimination together; the Brier decomposition tells them apart.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from medaudit.core.arrays import Float64Array
from medaudit.metrics.calibration import Binning, bin_columns, events, predictions
from medaudit.stats.weighting import plain, ratio, weighted_mean, weighted_sums

Value = TypeVar("Value", float, Float64Array)


def brier_losses(probabilities: ArrayLike, targets: ArrayLike) -> Float64Array:
    """Brier loss of every sample, Σ_k (p_k − y_k)² in [0, 2]."""
    table, labels = predictions(probabilities, targets)
    truth = np.zeros_like(table)
    truth[np.arange(len(labels)), labels] = 1.0
    return np.asarray(((table - truth) ** 2).sum(axis=1))


def weighted_brier_loss(
    probabilities: ArrayLike, targets: ArrayLike, weights: ArrayLike
) -> Float64Array:
    """Brier loss in every replicate: mean of Σ_k (p_k − y_k)², the sum form, in [0, 2].

    Lower is better. Twice the usual binary form at k = 2, and k times the form that averages over
    classes. NaN where no weight is left.

    Reference: Brier 1950, Mon. Weather Rev. 78:1-3.
    """
    return weighted_mean(brier_losses(probabilities, targets), weights)


def brier_loss(probabilities: ArrayLike, targets: ArrayLike) -> float:
    """`weighted_brier_loss` of the sample itself."""
    return plain(weighted_brier_loss, probabilities, targets)


def log_losses(probabilities: ArrayLike, targets: ArrayLike) -> Float64Array:
    """Negative log-likelihood of every sample in nats, −ln p_target.

    A probability below 2.2e-16 (the resolution of a double) counts as that, so one sample costs at
    most 36.04.
    """
    table, labels = predictions(probabilities, targets)
    return -np.log(np.maximum(table[np.arange(len(labels)), labels], np.finfo(np.float64).eps))


def weighted_log_loss(
    probabilities: ArrayLike, targets: ArrayLike, weights: ArrayLike
) -> Float64Array:
    """Mean negative log-likelihood in every replicate, in nats, in [0, 36.04]; clipped as there.

    Lower is better; ln k is the loss of the uniform guess. NaN where no weight is left.

    Reference: Good 1952, J. R. Stat. Soc. B 14:107-114.
    """
    return weighted_mean(log_losses(probabilities, targets), weights)


def log_loss(probabilities: ArrayLike, targets: ArrayLike) -> float:
    """`weighted_log_loss` of the sample itself."""
    return plain(weighted_log_loss, probabilities, targets)


def weighted_event_brier_loss(
    probability: ArrayLike, outcome: ArrayLike, weights: ArrayLike
) -> Float64Array:
    """Brier loss of one event in every replicate: mean of (p − y)², in [0, 1].

    Lower is better; half the sum form over "it happens" and "it does not". NaN where no weight is
    left.

    Reference: Brier 1950, Mon. Weather Rev. 78:1-3.
    """
    values, event = events(probability, outcome)
    return weighted_mean((values - event) ** 2, weights)


def event_brier_loss(probability: ArrayLike, outcome: ArrayLike) -> float:
    """`weighted_event_brier_loss` of the sample itself."""
    return plain(weighted_event_brier_loss, probability, outcome)


def weighted_brier_skill_score(
    probability: ArrayLike, outcome: ArrayLike, weights: ArrayLike
) -> Float64Array:
    """Brier skill of one event in every replicate, at most 1.

    1 − BS / (f (1 − f)): the share of the loss of always announcing the prevalence f that the
    forecast saves. Higher is better; 0 is the prevalence forecast, 1 is perfect, and there is no
    lower bound. The prevalence is that of the replicate. NaN where the event always happens or
    never does, and where no weight is left.

    Reference: Murphy 1973, J. Appl. Meteorol. 12:215-223; Wilks 2011, section 8.4.2.
    """
    values, event = events(probability, outcome)
    sums = weighted_sums(np.column_stack([(values - event) ** 2, event, 1 - event]), weights)
    loss, with_event, without = sums.T
    # n·BS over n·f·(1 − f), written so that a missing class is exactly 0.
    return 1 - ratio(loss * (with_event + without), with_event * without)


def brier_skill_score(probability: ArrayLike, outcome: ArrayLike) -> float:
    """`weighted_brier_skill_score` of the sample itself."""
    return plain(weighted_brier_skill_score, probability, outcome)


def weighted_multiclass_brier_skill_score(
    probabilities: ArrayLike, targets: ArrayLike, weights: ArrayLike
) -> Float64Array:
    """Brier skill over all classes in every replicate, at most 1.

    1 − BS / (1 − Σ_k f_k²) with the sum form of BS: the share of the loss of always announcing the
    class frequencies f_k that the forecast saves. Higher is better; 0 is that forecast, 1 is
    perfect, and there is no lower bound. The frequencies are those of the replicate. NaN where
    fewer than two classes have weight.

    Reference: Murphy 1973, J. Appl. Meteorol. 12:215-223.
    """
    table, labels = predictions(probabilities, targets)
    truth = np.eye(table.shape[1])[labels]
    sums = weighted_sums(np.column_stack([brier_losses(table, labels), truth]), weights)
    loss, counts = sums[:, 0], sums[:, 1:]
    total = counts.sum(axis=1)
    # n² (1 − Σ_k f_k²), written so that it is exactly 0 with one class.
    spread = (counts * (total[:, None] - counts)).sum(axis=1)
    return 1 - ratio(loss * total, spread)


def multiclass_brier_skill_score(probabilities: ArrayLike, targets: ArrayLike) -> float:
    """`weighted_multiclass_brier_skill_score` of the sample itself."""
    return plain(weighted_multiclass_brier_skill_score, probabilities, targets)


@dataclass(frozen=True, eq=False)
class BrierDecomposition(Generic[Value]):
    """Parts of the Brier loss of an event: see `weighted_brier_decomposition`."""

    reliability: Value
    resolution: Value
    uncertainty: Value
    within_bin_variance: Value
    within_bin_covariance: Value

    @property
    def brier_loss(self) -> Value:
        """The parts together: exactly the mean of (p − y)²."""
        murphy = self.reliability - self.resolution + self.uncertainty
        return murphy + self.within_bin_variance - self.within_bin_covariance


def weighted_brier_decomposition(
    probability: ArrayLike,
    outcome: ArrayLike,
    weights: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> BrierDecomposition[Float64Array]:
    """Brier loss of an event in five parts, in every replicate; each has shape (replicates,).

    With mean probability c_b and frequency f_b of bin b, and frequency f overall:
    reliability Σ_b (n_b/n) (c_b − f_b)², lower is better; resolution Σ_b (n_b/n) (f_b − f)², higher
    is better; uncertainty f (1 − f), a property of the data. They add up to the Brier loss of the
    binned forecast c_b (reliability − resolution + uncertainty). The forecast itself differs from
    it by within_bin_variance (1/n) Σ (p − c_b)² and within_bin_covariance
    (2/n) Σ (p − c_b)(y − f_b), so that

        Brier loss = reliability − resolution + uncertainty + variance − covariance

    holds exactly for any bins. Each is in [0, 1], but the covariance, which may be negative. NaN
    where no weight is left.

    Reference: Murphy 1973, J. Appl. Meteorol. 12:595-600; Stephenson, Coelho & Jolliffe 2008,
    Weather Forecast. 23:752-757.
    """
    values, event = events(probability, outcome)
    columns = bin_columns(values, n_bins=n_bins, binning=binning)
    binned = [columns, columns * values[:, None], columns * event[:, None]]
    totals = weighted_sums(np.column_stack([*binned, values**2, values * event]), weights)
    count, stated, seen = np.split(totals[:, :-2], 3, axis=1)
    n, filled = count.sum(axis=1), np.where(count > 0, count, 1.0)
    overall = ratio(seen.sum(axis=1), n)
    apart = seen / filled - np.where(np.isnan(overall), 0.0, overall)[:, None]
    return BrierDecomposition(
        reliability=ratio(((stated - seen) ** 2 / filled).sum(axis=1), n),
        resolution=ratio((count * apart**2).sum(axis=1), n),
        uncertainty=overall * (1 - overall),
        within_bin_variance=ratio(totals[:, -2] - (stated**2 / filled).sum(axis=1), n),
        within_bin_covariance=2 * ratio(totals[:, -1] - (stated * seen / filled).sum(axis=1), n),
    )


def brier_decomposition(
    probability: ArrayLike,
    outcome: ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "equal_width",
) -> BrierDecomposition[float]:
    """`weighted_brier_decomposition` of the sample itself."""
    weights = np.ones((1, len(np.asarray(probability))))
    parts = weighted_brier_decomposition(
        probability, outcome, weights, n_bins=n_bins, binning=binning
    )
    return BrierDecomposition(
        reliability=float(parts.reliability[0]),
        resolution=float(parts.resolution[0]),
        uncertainty=float(parts.uncertainty[0]),
        within_bin_variance=float(parts.within_bin_variance[0]),
        within_bin_covariance=float(parts.within_bin_covariance[0]),
    )
