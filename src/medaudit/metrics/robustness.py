"""Errors under corruption, next to those of a reference model under the same corruptions.

Severities are the last axis of `errors`; any leading axes are kept, so that the paired replicates
of a bootstrap, or all corruptions at once, pass through. All values are lower-is-better. A ratio to
a reference says how a model compares with it, and is only as good as the reference: name the model
and the data that it was measured on.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from medaudit.core.arrays import Float64Array
from medaudit.stats.weighting import ratio

# One point of error. A reference that loses less to a corruption says nothing about it.
MIN_DEGRADATION = 0.01


def balanced_error(balanced_accuracy: ArrayLike) -> Float64Array:
    """1 − balanced accuracy, in [0, 1]; NaN where that is undefined.

    Reference: Di Salvo et al. 2024, arXiv:2406.17536 (MedMNIST-C).
    """
    return np.asarray(1.0 - np.asarray(balanced_accuracy, dtype=np.float64))


def corruption_error(errors: ArrayLike, reference_errors: ArrayLike) -> Float64Array:
    """Mean error over the severities, over that of a reference model: CE_c, or BE_c if balanced.

    Σ_s E_s / Σ_s E_s^ref, in [0, inf); 1 is the reference. NaN where the reference makes no error
    or an error is undefined.

    Args:
        errors: (..., severities).
        reference_errors: (..., severities), or (..., 1) where only a published mean is known.

    Reference: Hendrycks & Dietterich 2019, ICLR; Di Salvo et al. 2024, arXiv:2406.17536.
    """
    return ratio(_over_severities(errors), _over_severities(reference_errors))


def relative_corruption_error(
    errors: ArrayLike,
    reference_errors: ArrayLike,
    *,
    clean_error: ArrayLike,
    reference_clean_error: ArrayLike,
    min_degradation: float = MIN_DEGRADATION,
) -> Float64Array:
    """What the corruption adds to the clean error, over what it adds for a reference model: rBE_c.

    (mean_s E_s − E_clean) / (mean_s E_s^ref − E_clean^ref). 0 is no loss at all, 1 the loss of the
    reference; negative where the corruption helps. NaN where the reference loses less than
    `min_degradation`: the ratio explodes there, and turns its sign where the reference gains.

    Args:
        errors: (..., severities).
        reference_errors: (..., severities), or (..., 1) where only a published mean is known.
        clean_error: (...), of the model on the clean images.
        reference_clean_error: (...), of the reference on the clean images.
        min_degradation: smallest denominator that is divided by, above 0.

    Reference: Hendrycks & Dietterich 2019, ICLR; Di Salvo et al. 2024, arXiv:2406.17536.
    """
    if not min_degradation > 0:
        raise ValueError(f"min_degradation: expected a number above 0, got {min_degradation}")
    added = _over_severities(errors) - np.asarray(clean_error, dtype=np.float64)
    reference = _over_severities(reference_errors) - np.asarray(reference_clean_error)
    return ratio(added, np.where(reference < min_degradation, 0.0, reference))


def mean_over_corruptions(
    values: ArrayLike, *, corruptions: Sequence[int] | None = None
) -> Float64Array:
    """Unweighted mean over the last axis, for a fixed list of corruptions (all, if none is given).

    Of `corruption_error` it is mCE (BE), of `relative_corruption_error` relative mCE (rBE). NaN as
    soon as one of the corruptions is undefined: the caller names those that are compared.

    Args:
        values: (..., corruptions).
        corruptions: places on the last axis.
    """
    table = np.asarray(values, dtype=np.float64)
    chosen = table if corruptions is None else table[..., list(corruptions)]
    return ratio(chosen.sum(axis=-1), chosen.shape[-1])


def _over_severities(errors: ArrayLike) -> Float64Array:
    table = np.asarray(errors, dtype=np.float64)
    if table.ndim == 0:
        raise ValueError("errors: expected severities on the last axis, got a single number")
    return ratio(table.sum(axis=-1), table.shape[-1])
