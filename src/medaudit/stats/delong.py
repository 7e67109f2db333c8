"""DeLong's variance of AUROCs, of single cases and of groups: no resampling."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import norm, rankdata, t

from medaudit.core.arrays import BoolArray, Float64Array
from medaudit.stats.few_groups import effective_number, partition, satterthwaite
from medaudit.stats.intervals import NO_INTERVAL, Difference, Estimate, positive

DELONG_LOGIT = "delong_logit"
DELONG = "delong"
CLUSTERED_LOGIT = "clustered_delong_logit_t"
CLUSTERED = "clustered_delong_t"


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
    low, high = _on_logit_scale(value, _reach(level) * error)
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


@dataclass(frozen=True, eq=False)
class GroupedPlacements:
    """Placements summed per group: what every group adds to the AUROCs of several models.

    Attributes:
        placed: of the single cases.
        positives: (models, groups), Σ (placement − AUROC) / n_positive over its positives.
        negatives: (models, groups), the same of its negatives.
        sizes: groups with a positive, groups with a negative, groups.
    """

    placed: Placements
    positives: Float64Array
    negatives: Float64Array
    sizes: tuple[int, int, int]

    @property
    def covariance(self) -> Float64Array:
        """(models, models) Obuchowski's; NaN with fewer than two groups of an outcome.

        DeLong's where every group is one case; else with the products of the two sums of a group
        that holds both outcomes.
        """
        if min(self.sizes) < 2:
            return np.full((len(self.positives),) * 2, np.nan)
        first, second, either = (size / (size - 1) for size in self.sizes)
        crossed = self.positives @ self.negatives.T
        return np.asarray(
            first * self.positives @ self.positives.T
            + second * self.negatives @ self.negatives.T
            + either * (crossed + crossed.T)
        )

    def degrees(self, weights: ArrayLike) -> float:
        """Of freedom of the variance of a combination of the models, by Satterthwaite.

        Over its two parts, positives and negatives; that some groups hold both is left out.
        """
        factors = np.asarray(weights, np.float64)
        parts = [((factors @ part) ** 2).sum() for part in (self.positives, self.negatives)]
        return satterthwaite(parts, [size - 1 for size in self.sizes[:2]])


def grouped_placements(
    scores: ArrayLike, positives: ArrayLike, group_ids: ArrayLike
) -> GroupedPlacements:
    """Placements of all cases, summed over the cases of a group.

    Args:
        scores: (n,) or (models, n), higher means more positive; any scale.
        positives: (n,) booleans; a group may hold both outcomes.
        group_ids: lesion or patient of every case, (n,).

    Reference: Obuchowski 1997, Biometrics 53:567-578.
    """
    placed, mask = placements(scores, positives), np.asarray(positives).astype(bool)
    _, groups = np.unique(np.asarray(group_ids), return_inverse=True)
    if groups.shape != mask.shape:
        raise ValueError(f"group_ids: expected shape {mask.shape}, got {groups.shape}")
    n_groups = int(groups.max(initial=-1)) + 1
    means = placed.aurocs[:, None]
    sums = [
        _summed((part - means) / max(1, part.shape[1]), groups[rows], n_groups)
        for part, rows in ((placed.positives, mask), (placed.negatives, ~mask))
    ]
    sizes = (len(np.unique(groups[mask])), len(np.unique(groups[~mask])), n_groups)
    return GroupedPlacements(placed, sums[0], sums[1], sizes)


def clustered_auroc_interval(
    scores: ArrayLike, positives: ArrayLike, group_ids: ArrayLike, *, level: float = 0.95
) -> Estimate:
    """AUROC A of one model where cases come in groups, with its interval on the logit scale.

    logit A ± t·s/(A(1 − A)), s² Obuchowski's variance, t of Satterthwaite's degrees of freedom. No
    interval (NaN, method "none") with fewer than two groups of an outcome, and where s is 0.

    Reference: Obuchowski 1997, Biometrics 53:567-578.
    """
    grouped = grouped_placements(np.asarray(scores)[np.newaxis], positives, group_ids)
    value, error = float(grouped.placed.aurocs[0]), math.sqrt(grouped.covariance[0, 0])
    return _grouped_estimate(grouped, value, error, grouped.degrees([1.0]), level)


def clustered_auroc_difference(
    first: ArrayLike,
    second: ArrayLike,
    positives: ArrayLike,
    group_ids: ArrayLike,
    *,
    level: float = 0.95,
) -> Difference:
    """AUROC of the first minus the second model on the same cases in groups, with a t-test.

    Neither interval nor p-value where the variance is 0, or an outcome has fewer than two groups.

    Reference: Obuchowski 1997, Biometrics 53:567-578.
    """
    grouped = grouped_placements(np.stack([first, second]), positives, group_ids)
    sign = np.array([1.0, -1.0])
    value = float(sign @ grouped.placed.aurocs)
    error = math.sqrt(max(0.0, float(sign @ grouped.covariance @ sign)))
    degrees = grouped.degrees(sign)
    known = error > 0
    reach = float(t.ppf((1 + _checked(level)) / 2, degrees)) * error if known else math.nan
    return Difference(
        value=value,
        low=value - reach,
        high=value + reach,
        n=grouped.placed.n,
        n_groups=grouped.sizes[2],
        n_positive=grouped.placed.positives.shape[1],
        n_positive_groups=min(grouped.sizes[:2]),
        n_deciding=effective_number(sign @ (grouped.positives + grouped.negatives)),
        method=CLUSTERED if known else NO_INTERVAL,
        undefined_share=0.0,
        p_value=positive(float(2 * t.sf(abs(value) / error, degrees))) if known else math.nan,
    )


def clustered_macro_auroc_interval(
    scores: ArrayLike, positives: ArrayLike, group_ids: ArrayLike, *, level: float = 0.95
) -> Estimate:
    """Mean over the columns of the AUROC of each, cases in groups, interval on the logit scale.

    The influences of a case on all AUROCs are added before they are squared, so that their
    correlations are in the variance: Σ over groups of U_g², each times G/(G − 1), where a group
    counts among the G groups of the rarest outcome that it holds. t has Satterthwaite's degrees of
    freedom over these parts.

    Args:
        scores: (n, k).
        positives: (n, k) booleans.
        group_ids: (n,).
        level: nominal coverage.
    """
    table, truth = np.asarray(scores, np.float64), np.asarray(positives).astype(bool)
    columns = [
        grouped_placements(table[:, k], truth[:, k], group_ids) for k in range(table.shape[1])
    ]
    value = float(np.mean([column.placed.aurocs[0] for column in columns]))
    influence = np.mean([(c.positives + c.negatives)[0] for c in columns], axis=0)
    _, groups = np.unique(np.asarray(group_ids), return_inverse=True)
    supports = [np.unique(groups[rows]) for rows in np.column_stack([truth, ~truth]).T]
    fewest = min(map(len, supports))
    if fewest < 2:
        return _grouped_estimate(columns[0], value, math.nan, math.nan, level)
    parts = partition(supports)
    sizes = np.array([len(part) for part in parts])
    variances = np.array([(influence[part] ** 2).sum() for part in parts]) * sizes / (sizes - 1)
    found = _grouped_estimate(
        columns[0],
        value,
        math.sqrt(variances.sum()),
        satterthwaite(variances, sizes - 1),
        level,
    )
    return replace(found, n_positive=None, n_positive_groups=fewest)


def _grouped_estimate(
    grouped: GroupedPlacements, value: float, error: float, degrees: float, level: float
) -> Estimate:
    reach = float(t.ppf((1 + _checked(level)) / 2, degrees)) * error
    low, high = _on_logit_scale(value, reach)
    return Estimate(
        value=value,
        low=low,
        high=high,
        n=grouped.placed.n,
        n_groups=grouped.sizes[2],
        n_positive=grouped.placed.positives.shape[1],
        n_positive_groups=min(grouped.sizes[:2]),
        method=NO_INTERVAL if math.isnan(low) else CLUSTERED_LOGIT,
        undefined_share=0.0,
    )


def _summed(part: Float64Array, groups: NDArray[np.intp], n_groups: int) -> Float64Array:
    """Sums over the cases of a group, (models, cases) to (models, groups)."""
    return np.stack([np.bincount(groups, weights=row, minlength=n_groups) for row in part])


def _on_logit_scale(value: float, reach: float) -> tuple[float, float]:
    """Ends at a distance of `reach` on the scale of the value; NaN where there is none."""
    if not (reach > 0 and 0 < value < 1):
        return math.nan, math.nan
    spread = reach / (value * (1 - value))
    return float(expit(logit(value) - spread)), float(expit(logit(value) + spread))


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
    return float(norm.ppf((1 + _checked(level)) / 2))


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    return level


def _p_value(value: float, error: float) -> float:
    return 1.0 if error == 0 else positive(float(2 * norm.sf(abs(value) / error)))
