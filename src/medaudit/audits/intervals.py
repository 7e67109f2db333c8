"""Measures with their clustered bootstrap intervals, computed once per condition and reused."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from medaudit.metrics.weighting import weighted_ratio
from medaudit.params import Section
from medaudit.stats.bca import bca_from
from medaudit.stats.estimate import (
    Difference,
    Estimate,
    difference_from,
    estimate_from,
    point,
    recentred,
)
from medaudit.stats.proportions import wilson
from medaudit.stats.resample import Resamples, cluster_resamples
from medaudit.stats.small_sample import expanded, on_logit_scale, resolved
from medaudit.tables.tasks.base import Measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import ArrayLike

    from medaudit.tables.predictions import PredictionTable

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# Below so many groups of positives, intervals cover less often than they promise
# (benchmarks/coverage.py).
FEW_POSITIVE_GROUPS = 25

Method = Literal["adjusted", "percentile", "bca"]


class IntervalParams(Section):
    """How uncertainty is measured: a bootstrap over groups, the same for every stage.

    Args:
        method: `adjusted` percentiles, which stay honest with few groups; plain `percentile`; or
            `bca`, where the measure is smooth.
        replicates: resamples of the groups.
        level: nominal coverage.
        seed: of the resamples.
    """

    section = "intervals"
    method: Method = "adjusted"
    replicates: int = Field(2000, ge=100, le=100_000)
    level: float = Field(0.95, gt=0.5, lt=1)
    seed: int = Field(20_240, ge=0)


@dataclass(frozen=True)
class Replicated:
    """A measure's value, its bootstrap replicates, and what they rest on.

    Args:
        measure: what was measured.
        value: on the sample itself.
        replicates: (replicates,).
        n_independent: groups that carry the value: those of the rarer outcome where it has two.
        n_positive_groups: groups that hold the cases of `measure.among`, where these are not all.
    """

    measure: Measure
    value: float
    replicates: Floats
    n_independent: int
    n_positive_groups: int | None = None


@dataclass(frozen=True, eq=False)
class Drawn(Resamples):
    """Resamples that know how intervals are read off them."""

    method: Method = "adjusted"

    def subset(self, rows: ArrayLike) -> Drawn:
        """The same draws seen by some rows."""
        part = super().subset(rows)
        return Drawn(part.weights, part.groups, self.method)


def resamples_of(table: PredictionTable, params: IntervalParams) -> Drawn:
    """Resampled groups of a table; equal group ids in equal order give equal resamples."""
    return drawn(table.group_ids, params)


def drawn(group_ids: ArrayLike, params: IntervalParams) -> Drawn:
    """Resampled groups."""
    found = cluster_resamples(group_ids, replicates=params.replicates, seed=params.seed)
    return Drawn(found.weights, found.groups, params.method)


def replicate(measures: Iterable[Measure], resamples: Resamples) -> dict[str, Replicated]:
    """Evaluate every measure on the sample itself and on every resample."""
    return {
        measure.name: Replicated(
            measure,
            point(measure.statistic, resamples.n),
            measure.statistic(resamples.weights),
            *groups_behind(measure, resamples),
        )
        for measure in measures
    }


def groups_behind(measure: Measure, resamples: Resamples) -> tuple[int, int | None]:
    """Groups that carry a measure, and groups of its cases where these are not all."""
    if measure.carriers is not None:
        rarest = min((n_groups(resamples, kind) for kind in measure.carriers.T), default=0)
        return rarest, rarest
    if measure.among is not None:
        count = n_groups(resamples, measure.among)
        return count, count
    return resamples.n_groups, None


def n_groups(resamples: Resamples, rows: Bools) -> int:
    """How many groups have one of these rows."""
    return len(np.unique(resamples.groups[rows]))


def interval(found: Replicated, resamples: Resamples, *, level: float) -> Estimate:
    """The value with its interval.

    Recentred for measures that noise can only raise; Wilson's for a share of 0 or 1, where every
    resample says the same. All others by the method of the resamples; see `IntervalParams`.
    """
    method = resamples.method if isinstance(resamples, Drawn) else "adjusted"
    estimate = estimate_from(
        found.value,
        found.replicates,
        n=resamples.n,
        n_groups=resamples.n_groups,
        level=level,
        n_positive=found.measure.n_positive,
    )
    estimate = replace(estimate, n_positive_groups=found.n_positive_groups)
    if found.measure.biased:
        return recentred(estimate, found.replicates)
    if found.measure.proportion and (estimate.low == estimate.high or estimate.value in (0, 1)):
        return at_the_bound(estimate, level=level)
    return METHODS[method](estimate, found, resamples, level)


def adjusted(
    estimate: Estimate, found: Replicated, _resamples: Resamples, level: float
) -> Estimate:
    """For few groups: expanded percentiles, or the logit scale for areas under ROC curves."""
    widen = on_logit_scale if found.measure.logit else expanded
    return widen(estimate, found.replicates, n_independent=found.n_independent, level=level)


def percentile(
    estimate: Estimate, _found: Replicated, _resamples: Resamples, _level: float
) -> Estimate:
    """Percentiles as they are."""
    return estimate


def bca(estimate: Estimate, found: Replicated, resamples: Resamples, level: float) -> Estimate:
    """Bias-corrected and accelerated, for measures that vary smoothly with the weights."""
    if not found.measure.smooth:
        return estimate
    moved = bca_from(found.measure.statistic, found.value, found.replicates, resamples, level=level)
    return replace(estimate, low=moved.low, high=moved.high, method=moved.method)


METHODS: dict[str, Callable[[Estimate, Replicated, Resamples, float], Estimate]] = {
    "adjusted": adjusted,
    "percentile": percentile,
    "bca": bca,
}


def at_the_bound(estimate: Estimate, *, level: float) -> Estimate:
    """Wilson's interval for a share of 0 or 1, with the groups that it rests on as the cases.

    Images of one group are no independent evidence.
    """
    n = estimate.n_groups if estimate.n_positive_groups is None else estimate.n_positive_groups
    ends = wilson(round(estimate.value * n), n, level=level)
    return replace(estimate, low=ends.low, high=ends.high, method=ends.method)


def share(
    members: Bools, resamples: Resamples, *, level: float, among: Bools | None = None
) -> Estimate:
    """Share of `members` in all samples, or in those of `among`."""
    under = np.ones_like(members) if among is None else among
    measure = Measure(
        "share", partial(weighted_ratio, members & under, under), 0, among, proportion=True
    )
    return interval(replicate([measure], resamples)["share"], resamples, level=level)


def averaged(parts: Sequence[Replicated]) -> Replicated:
    """The mean of several measures of one kind, replicate by replicate."""
    return replace(
        parts[0],
        value=float(np.mean([part.value for part in parts])),
        replicates=np.asarray(np.mean([part.replicates for part in parts], axis=0)),
        n_independent=min(part.n_independent for part in parts),
    )


def changed(after: Replicated, before: Replicated) -> Replicated:
    """First minus second, replicate by replicate."""
    return replace(
        after, value=after.value - before.value, replicates=after.replicates - before.replicates
    )


def paired(
    first: Replicated, second: Replicated, resamples: Resamples, *, level: float
) -> Difference:
    """First minus second on the same resamples, as wide as few groups ask for.

    Percentiles as they are where the resamples are not read in the `adjusted` way: a difference of
    two correlated values has no BCa interval here.
    """
    found = difference_from(
        first.value,
        second.value,
        first.replicates,
        second.replicates,
        n=resamples.n,
        n_groups=resamples.n_groups,
        level=level,
        n_positive=first.measure.n_positive,
    )
    changes = first.replicates - second.replicates
    n_independent = min(first.n_independent, second.n_independent)
    if isinstance(resamples, Drawn) and resamples.method != "adjusted":
        return found
    found = expanded(found, changes, n_independent=n_independent, level=level)
    return resolved(found, changes, n_independent=n_independent)


def columns(estimate: Estimate, prefix: str = "") -> dict[str, float | int | str | None]:
    """An estimate as the columns of a series: value, low, high and its counts."""
    return {
        f"{prefix}value": estimate.value,
        f"{prefix}low": estimate.low,
        f"{prefix}high": estimate.high,
        "n": estimate.n,
        "n_groups": estimate.n_groups,
        "n_positive": estimate.n_positive,
        "n_positive_groups": estimate.n_positive_groups,
        "method": estimate.method,
        "undefined_share": estimate.undefined_share,
        "caution": caution(estimate),
    }


def caution(estimate: Estimate) -> str:
    """Why an interval is to be read with care; empty where it is not."""
    if not math.isfinite(estimate.value):
        return "undefined"
    if estimate.n_positive_groups is not None and estimate.n_positive_groups < FEW_POSITIVE_GROUPS:
        return "few_positive_groups"
    return "undefined_replicates" if estimate.incomplete else ""


def with_interval(name: str, estimate: Estimate) -> dict[str, float]:
    """An estimate as three headline scalars."""
    return {name: estimate.value, f"{name}_ci_low": estimate.low, f"{name}_ci_high": estimate.high}
