"""One cluster bootstrap for every number of a sample: measures, intervals, paired differences."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from medaudit.core.params import Section
from medaudit.stats.bca import bca_from
from medaudit.stats.intervals import (
    Difference,
    Estimate,
    Statistic,
    difference_from,
    estimate_from,
    expanded,
    on_logit_scale,
    point,
    recentred,
    resolved,
    wilson,
)
from medaudit.stats.weighting import Resamples, cluster_resamples, weighted_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import ArrayLike

    from medaudit.core.arrays import BoolArray, Float64Array

# auc                an area under a ROC curve: smooth in the weights, its error is skewed near 1.
# smooth             varies smoothly with the weights, so that a jackknife of it makes sense.
# proportion         a share of the cases in `denominator`: at 0 and 1 it has a Wilson interval.
# nonnegative_error  noise can only raise it, so its bootstrap interval is recentred.
# general            none of these.
IntervalKind = Literal["auc", "smooth", "proportion", "nonnegative_error", "general"]


@dataclass(frozen=True, eq=False)
class Measure:
    """A named quantity of a set of predictions, as a function of sample weights.

    Args:
        name: snake_case, as it stands in `metrics/`.
        statistic: weights (replicates, n) to values (replicates,); NaN where undefined.
        direction: 1 higher is better, -1 lower is better, 0 neither.
        denominator: the samples that the value rests on, (n,); all of them if `None`.
        interval_kind: what is known of its sampling error; see `IntervalKind`.
        required_outcomes: (n, m) booleans, each column the samples of one outcome that the measure
            needs, such as the positives, and the negatives, of every output. The rarest limits it.
    """

    name: str
    statistic: Statistic
    direction: int
    _: KW_ONLY
    denominator: BoolArray | None = None
    interval_kind: IntervalKind = "general"
    required_outcomes: BoolArray | None = None

    @property
    def n_positive(self) -> int | None:
        """How many samples the value rests on, where these are not all."""
        return None if self.denominator is None else int(self.denominator.sum())


def positives_and_negatives(truth: BoolArray) -> BoolArray:
    """Required outcomes of a measure that needs both, (n,) or (n, k) to (n, 2 k)."""
    columns = truth.reshape(len(truth), -1)
    return np.column_stack([columns, ~columns])


def share_of(members: BoolArray, denominator: BoolArray) -> Statistic:
    """Σ w·member / Σ w·denominator as a statistic; NaN in a replicate without any of these cases.

    Args:
        members: (n,) booleans; those outside of `denominator` do not count.
        denominator: (n,) booleans.
    """
    return partial(weighted_ratio, members & denominator, denominator)


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


@dataclass(frozen=True, eq=False)
class BootstrapDistribution:
    """A measure's value, its bootstrap replicates, and what they rest on.

    Args:
        measure: what was measured.
        value: on the sample itself.
        replicates: (replicates,); NaN where the measure is undefined.
        n_independent: groups that limit the value: those of the rarest required outcome, or those
            of the denominator.
        n_positive_groups: groups that hold these cases, where they are not all.
    """

    measure: Measure
    value: float
    replicates: Float64Array
    n_independent: int
    n_positive_groups: int | None = None

    def minus(self, other: BootstrapDistribution) -> BootstrapDistribution:
        """This minus the other, replicate by replicate; a change has no interval kind of its own.

        For the interval and the p-value of one difference take `Bootstrap.paired`.
        """
        return replace(
            self,
            measure=replace(self.measure, interval_kind="general"),
            value=self.value - other.value,
            replicates=self.replicates - other.replicates,
        )


def mean_distribution(parts: Sequence[BootstrapDistribution]) -> BootstrapDistribution:
    """The mean of several measures of one kind, replicate by replicate.

    It rests on as few groups as the part that rests on the fewest.
    """
    return replace(
        parts[0],
        value=float(np.mean([part.value for part in parts])),
        replicates=np.asarray(np.mean([part.replicates for part in parts], axis=0)),
        n_independent=min(part.n_independent for part in parts),
    )


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Resampled groups of a sample, and how intervals are read off them.

    The draws are made once, and every measure sees the same ones: differences are paired, and the
    replicates of a family of measures are joint.

    Args:
        resamples: counts of every row in every replicate.
        params: method, number of replicates, level, seed.
    """

    resamples: Resamples
    params: IntervalParams

    @classmethod
    def of_groups(cls, group_ids: ArrayLike, params: IntervalParams) -> Bootstrap:
        """Draw groups with replacement; equal ids in equal order give equal draws.

        Args:
            group_ids: lesion or patient of every row, (n,).
            params: method, number of replicates, level, seed.
        """
        drawn = cluster_resamples(group_ids, replicates=params.replicates, seed=params.seed)
        return cls(drawn, params)

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.resamples.n

    @property
    def n_groups(self) -> int:
        """Number of groups that have a row here."""
        return self.resamples.n_groups

    def subset(self, rows: ArrayLike) -> Bootstrap:
        """The same draws seen by some rows (a mask or row numbers): still paired."""
        return replace(self, resamples=self.resamples.subset(rows))

    def replicate(self, measure: Measure) -> BootstrapDistribution:
        """Evaluate a measure on the sample itself and on every resample."""
        n_independent, n_positive_groups = self._groups_behind(measure)
        return BootstrapDistribution(
            measure=measure,
            value=point(measure.statistic, self.n),
            replicates=measure.statistic(self.resamples.weights),
            n_independent=n_independent,
            n_positive_groups=n_positive_groups,
        )

    def distribution(self, measures: Iterable[Measure]) -> dict[str, BootstrapDistribution]:
        """The joint distribution of measures, by name: replicate i is one resample of all."""
        return {measure.name: self.replicate(measure) for measure in measures}

    def interval(self, measure: Measure | BootstrapDistribution) -> Estimate:
        """The value with its interval.

        Recentred for errors that noise can only raise; Wilson's for a share of 0 or 1, where every
        resample says the same. All others by the method of the parameters; see `IntervalParams`.
        """
        found = self._replicated(measure)
        kind, estimate = found.measure.interval_kind, self._percentiles(found)
        if kind == "nonnegative_error":
            return recentred(estimate, found.replicates)
        at_the_bound = estimate.low == estimate.high or estimate.value in (0, 1)
        if kind == "proportion" and at_the_bound:
            return self._of_groups(estimate)
        return METHODS[self.params.method](self, estimate, found)

    def paired(
        self, first: Measure | BootstrapDistribution, second: Measure | BootstrapDistribution
    ) -> Difference:
        """First minus second on the same resamples, as wide as few groups ask for.

        Percentiles as they are where the method is not `adjusted`: a difference of two correlated
        values has no BCa interval here.
        """
        one, other = self._replicated(first), self._replicated(second)
        found = difference_from(
            one.value,
            other.value,
            one.replicates,
            other.replicates,
            n=self.n,
            n_groups=self.n_groups,
            level=self.params.level,
            n_positive=one.measure.n_positive,
        )
        if self.params.method != "adjusted":
            return found
        changes = one.replicates - other.replicates
        fewest = min(one.n_independent, other.n_independent)
        found = expanded(found, changes, n_independent=fewest, level=self.params.level)
        return resolved(found, changes, n_independent=fewest)

    def share(self, members: BoolArray, *, denominator: BoolArray | None = None) -> Estimate:
        """Share of `members` in all samples, or in those of `denominator`, with its interval."""
        under = np.ones_like(members) if denominator is None else denominator
        statistic = share_of(members, under)
        measure = Measure(
            "share", statistic, 0, denominator=denominator, interval_kind="proportion"
        )
        return self.interval(measure)

    def _replicated(self, measure: Measure | BootstrapDistribution) -> BootstrapDistribution:
        return self.replicate(measure) if isinstance(measure, Measure) else measure

    def _percentiles(self, found: BootstrapDistribution) -> Estimate:
        estimate = estimate_from(
            found.value,
            found.replicates,
            n=self.n,
            n_groups=self.n_groups,
            level=self.params.level,
            n_positive=found.measure.n_positive,
        )
        return replace(estimate, n_positive_groups=found.n_positive_groups)

    def _of_groups(self, estimate: Estimate) -> Estimate:
        """Wilson's interval with groups as the cases: images of one are no independent evidence."""
        n = estimate.n_groups if estimate.n_positive_groups is None else estimate.n_positive_groups
        ends = wilson(round(estimate.value * n), n, level=self.params.level)
        return replace(estimate, low=ends.low, high=ends.high, method=ends.method)

    def _groups_behind(self, measure: Measure) -> tuple[int, int | None]:
        """Groups that limit a measure, and groups of its cases where these are not all."""
        if measure.required_outcomes is not None:
            counts = (self._n_groups_of(rows) for rows in measure.required_outcomes.T)
            rarest = min(counts, default=0)
            return rarest, rarest
        if measure.denominator is not None:
            count = self._n_groups_of(measure.denominator)
            return count, count
        return self.n_groups, None

    def _n_groups_of(self, rows: BoolArray) -> int:
        return len(np.unique(self.resamples.groups[rows]))


def adjusted(bootstrap: Bootstrap, plain: Estimate, found: BootstrapDistribution) -> Estimate:
    """For few groups: expanded percentiles, or the logit scale for areas under ROC curves."""
    widen = on_logit_scale if found.measure.interval_kind == "auc" else expanded
    level = bootstrap.params.level
    return widen(plain, found.replicates, n_independent=found.n_independent, level=level)


def percentile(_bootstrap: Bootstrap, plain: Estimate, _found: BootstrapDistribution) -> Estimate:
    """Percentiles as they are."""
    return plain


def bca(bootstrap: Bootstrap, plain: Estimate, found: BootstrapDistribution) -> Estimate:
    """Bias-corrected and accelerated, for measures that vary smoothly with the weights."""
    if found.measure.interval_kind not in ("auc", "smooth"):
        return plain
    moved = bca_from(
        found.measure.statistic,
        found.value,
        found.replicates,
        bootstrap.resamples,
        level=bootstrap.params.level,
    )
    return replace(plain, low=moved.low, high=moved.high, method=moved.method)


METHODS: dict[Method, Callable[[Bootstrap, Estimate, BootstrapDistribution], Estimate]] = {
    "adjusted": adjusted,
    "percentile": percentile,
    "bca": bca,
}


# Below so many groups of positives, intervals cover less often than they promise
# (benchmarks/coverage.py).
FEW_POSITIVE_GROUPS = 25


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
