"""DeLong's variance of AUROCs: intervals and paired tests of independent cases, no resampling."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from medaudit.core.arrays import BoolArray, Float64Array
from medaudit.stats.intervals import NO_INTERVAL, Difference, Estimate

DELONG_LOGIT = "delong_logit"
DELONG = "delong"


@dataclass(frozen=True, eq=False)
class Placements:
    """How each case of one class stands among the other class, for several models.

    Attributes:
        positives: (models, n_positive), share of the negatives that a positive outranks.
        negatives: (models, n_negative), share of the positives that outrank a negative.
    """

    positives: Float64Array
    negatives: Float64Array

    @property
    def n(self) -> int:
        """Number of cases."""
        return int(self.positives.shape[1] + self.negatives.shape[1])

    @cached_property
    def aurocs(self) -> Float64Array:
        """(models,) AUROCs: means of the placements; NaN where a class is absent."""
        if not (self.positives.shape[1] and self.negatives.shape[1]):
            return np.full(len(self.positives), np.nan)
        return np.asarray(self.positives.mean(axis=1))

    @cached_property
    def covariance(self) -> Float64Array:
        """(models, models) S₁₀/n_positive + S₀₁/n_negative; NaN with fewer than two of a class."""
        models = len(self.positives)
        total = np.zeros((models, models))
        for part in (self.positives, self.negatives):
            total += _covariance_of_mean(part)
        return total

    def difference(self) -> "Placements":
        """First model minus second: its `aurocs` and `covariance` are those of the difference."""
        return Placements(
            self.positives[:1] - self.positives[1:2], self.negatives[:1] - self.negatives[1:2]
        )


def placements(
    scores: ArrayLike, positives: ArrayLike, *, group_ids: ArrayLike | None = None
) -> Placements:
    """Placements of all cases, by midranks: O(n log n) a model, ties count half.

    Args:
        scores: (n,) or (models, n), higher means more positive; any scale.
        positives: (n,) booleans.
        group_ids: (n,); if given they must be unique, since cases are taken as independent.

    Reference: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837-845; Sun & Xu 2014, IEEE
    Signal Process. Lett. 21:1389-1393 (the form by midranks).
    """
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    mask = np.asarray(positives).astype(bool)
    if table.ndim != 2 or mask.shape != table.shape[1:]:
        raise ValueError(
            f"expected scores (models, n) and positives (n,), got {table.shape} and {mask.shape}"
        )
    if np.isnan(table).any():
        raise ValueError(f"scores: expected numbers, got NaN in {np.isnan(table).sum()} places")
    if group_ids is not None:
        _require_single(np.asarray(group_ids), len(mask))
    return _placed(table, mask)


def auroc_interval(
    scores: ArrayLike,
    positives: ArrayLike,
    *,
    level: float = 0.95,
    group_ids: ArrayLike | None = None,
) -> Estimate:
    """AUROC A of one model with its interval on the logit scale.

    logit A ± z·s/(A(1 − A)), s² DeLong's variance, turned back: it stays inside (0, 1) and leans
    away from the nearer end, where A ± z·s would pass 1. No interval (NaN, method "none") with
    fewer than two cases of a class, and where s is 0, as at an AUROC of exactly 0 or 1: there the
    variance is not estimated, it is unknown.

    Reference: Kottas, Kuss & Zapf 2014, BMC Med. Res. Methodol. 14:26 (the "LT" interval); Sun & Xu
    2014 (variance).
    """
    placed = placements(np.asarray(scores)[np.newaxis], positives, group_ids=group_ids)
    value, error = _first(placed)
    reach = _reach(level)
    low = high = math.nan
    if error > 0 and 0 < value < 1:
        centre, spread = logit(value), reach * error / (value * (1 - value))
        low, high = (float(expit(end)) for end in (centre - spread, centre + spread))
    return Estimate(
        value=value,
        low=low,
        high=high,
        n=placed.n,
        n_groups=placed.n,
        n_positive=placed.positives.shape[1],
        method=NO_INTERVAL if math.isnan(low) else DELONG_LOGIT,
        undefined_share=0.0,
    )


def auroc_difference(
    first: ArrayLike,
    second: ArrayLike,
    positives: ArrayLike,
    *,
    level: float = 0.95,
    group_ids: ArrayLike | None = None,
) -> Difference:
    """AUROC of the first minus the second model on the same cases, with z-test and interval.

    z = (A₁ − A₂)/s with s² = V₁₁ + V₂₂ − 2V₁₂; the interval is A₁ − A₂ ± 1.96·s at 95 %. Two
    models that rank alike have difference 0, interval [0, 0] and p = 1. Another difference with
    s = 0 has neither interval nor p-value, and so have fewer than two cases of a class.

    Reference: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837-845.
    """
    both = placements(np.stack([first, second]), positives, group_ids=group_ids)
    value, error = _first(both.difference())
    known = error > 0 or (error == 0 and value == 0)
    reach = _reach(level) * error if known else math.nan
    return Difference(
        value=value,
        low=value - reach,
        high=value + reach,
        n=both.n,
        n_groups=both.n,
        n_positive=both.positives.shape[1],
        method=DELONG if known else NO_INTERVAL,
        undefined_share=0.0,
        p_value=_p_value(value, error) if known else math.nan,
    )


def _require_single(group_ids: NDArray[np.generic], n: int) -> None:
    if group_ids.shape != (n,):
        raise ValueError(f"group_ids: expected shape ({n},), got {group_ids.shape}")
    names, counts = np.unique(group_ids, return_counts=True)
    repeated = names[counts > 1]
    if len(repeated):
        raise ValueError(
            f"group_ids: DeLong takes cases as independent, but {len(repeated)} groups hold more "
            f"than one case ({', '.join(map(str, repeated[:3]))}); use the bootstrap over groups"
        )


def _placed(table: Float64Array, mask: BoolArray) -> Placements:
    positives, negatives = table[:, mask], table[:, ~mask]
    ranks = rankdata(table, axis=1)
    outranked = ranks[:, mask] - rankdata(positives, axis=1)
    outranking = positives.shape[1] - (ranks[:, ~mask] - rankdata(negatives, axis=1))
    return Placements(
        outranked / max(1, negatives.shape[1]), outranking / max(1, positives.shape[1])
    )


def _covariance_of_mean(part: Float64Array) -> Float64Array:
    """Covariance of the means of the rows of (models, cases)."""
    models, cases = part.shape
    if cases < 2:
        return np.full((models, models), np.nan)
    centred = part - part.mean(axis=1, keepdims=True)
    return np.asarray(centred @ centred.T / (cases * (cases - 1)))


def _first(placed: Placements) -> tuple[float, float]:
    """AUROC and standard error of the first model."""
    return float(placed.aurocs[0]), math.sqrt(placed.covariance[0, 0])


def _reach(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    return float(norm.ppf((1 + level) / 2))


def _p_value(value: float, error: float) -> float:
    return 1.0 if error == 0 else float(2 * norm.sf(abs(value) / error))
