"""Measures with their clustered bootstrap intervals, computed once per condition and reused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field

from medaudit.params import Section
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

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medaudit.tables.predictions import PredictionTable
    from medaudit.tables.tasks.base import Measure

Floats = npt.NDArray[np.float64]


class IntervalParams(Section):
    """How uncertainty is measured: a bootstrap over groups, the same for every stage."""

    section = "intervals"
    replicates: int = Field(2000, ge=100, le=100_000)
    level: float = Field(0.95, gt=0.5, lt=1)
    seed: int = Field(20_240, ge=0)


@dataclass(frozen=True)
class Replicated:
    """A measure's value, its bootstrap replicates, and the samples that it rests on."""

    measure: Measure
    value: float
    replicates: Floats


def resamples_of(table: PredictionTable, params: IntervalParams) -> Resamples:
    """Resampled groups of a table; equal group ids in equal order give equal resamples."""
    return cluster_resamples(table.group_ids, replicates=params.replicates, seed=params.seed)


def replicate(measures: Iterable[Measure], resamples: Resamples) -> dict[str, Replicated]:
    """Evaluate every measure on the sample itself and on every resample."""
    return {
        measure.name: Replicated(
            measure,
            point(measure.statistic, resamples.n),
            measure.statistic(resamples.weights),
        )
        for measure in measures
    }


def interval(found: Replicated, resamples: Resamples, *, level: float) -> Estimate:
    """The value with its interval.

    A percentile interval; recentred for measures that noise can only raise; Wilson's for a share
    of 0 or 1, where every resample says the same.
    """
    estimate = estimate_from(
        found.value,
        found.replicates,
        n=resamples.n,
        n_groups=resamples.n_groups,
        level=level,
        n_positive=found.measure.n_positive,
    )
    if found.measure.biased:
        return recentred(estimate, found.replicates)
    if found.measure.proportion and estimate.low == estimate.high:
        return at_the_bound(estimate, level=level)
    return estimate


def at_the_bound(estimate: Estimate, *, level: float) -> Estimate:
    """Wilson's interval for a share of 0 or 1 of the cases that it rests on."""
    n = estimate.n if estimate.n_positive is None else estimate.n_positive
    ends = wilson(round(estimate.value * n), n, level=level)
    return replace(estimate, low=ends.low, high=ends.high, method=ends.method)


def paired(
    first: Replicated, second: Replicated, resamples: Resamples, *, level: float
) -> Difference:
    """First minus second on the same resamples."""
    return difference_from(
        first.value,
        second.value,
        first.replicates,
        second.replicates,
        n=resamples.n,
        n_groups=resamples.n_groups,
        level=level,
        n_positive=first.measure.n_positive,
    )


def columns(estimate: Estimate, prefix: str = "") -> dict[str, float | int | str | None]:
    """An estimate as the columns of a series: value, low, high and its counts."""
    return {
        f"{prefix}value": estimate.value,
        f"{prefix}low": estimate.low,
        f"{prefix}high": estimate.high,
        "n": estimate.n,
        "n_groups": estimate.n_groups,
        "n_positive": estimate.n_positive,
        "method": estimate.method,
        "undefined_share": estimate.undefined_share,
    }


def with_interval(name: str, estimate: Estimate) -> dict[str, float]:
    """An estimate as three headline scalars."""
    return {name: estimate.value, f"{name}_ci_low": estimate.low, f"{name}_ci_high": estimate.high}
