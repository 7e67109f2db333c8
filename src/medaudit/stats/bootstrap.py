"""One cluster bootstrap for every number of a sample: measures, intervals, paired differences."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from medaudit.core.params import LARGEST_SEED, Section
from medaudit.stats import few_groups
from medaudit.stats.bca import bca_from
from medaudit.stats.intervals import (
    Difference,
    Estimate,
    Statistic,
    caution,
    difference_from,
    estimate_from,
    expanded,
    on_logit_scale,
    point,
    resolved,
    wilson,
    without_interval,
)
from medaudit.stats.weighting import Resamples, cluster_resamples, weighted_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import ArrayLike

    from medaudit.core.arrays import BoolArray, Float64Array
    from medaudit.stats.weighting import Indices

# auc                an area under a ROC curve: smooth in the weights, its error is skewed near 1.
# smooth             varies smoothly with the weights, so that a jackknife of it makes sense; in
#                    [0, 1], where it is Wilson's interval at 0 and 1.
# proportion         a share of the cases in `denominator`: at 0 and 1 it has a Wilson interval.
# bounded            a mean of shares, or of numbers in [0, 1]: at 0 and 1 as a proportion.
# nonnegative_error  noise can only raise it, so no interval of it covers: value alone.
# biased             its expectation moves with the size of the sample: value alone.
# general            none of these.
IntervalKind = Literal[
    "auc", "smooth", "proportion", "bounded", "nonnegative_error", "biased", "general"
]
VALUE_ALONE: tuple[IntervalKind, ...] = ("nonnegative_error", "biased")
IN_UNIT: tuple[IntervalKind, ...] = ("auc", "smooth", "proportion", "bounded")


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
            needs, such as the positives, and the negatives, of every output. Of a measure with a
            denominator the rarest limits it; of a mean over outcomes each by its share of the
            variance (Satterthwaite).
        members: the samples that a share counts, (n,); `None` of other measures.
    """

    name: str
    statistic: Statistic
    direction: int
    _: KW_ONLY
    denominator: BoolArray | None = None
    interval_kind: IntervalKind = "general"
    required_outcomes: BoolArray | None = None
    members: BoolArray | None = None

    @property
    def n_positive(self) -> int | None:
        """How many samples the value rests on, where these are not all."""
        return None if self.denominator is None else int(self.denominator.sum())

    @property
    def share(self) -> tuple[BoolArray | None, BoolArray | None]:
        """What a share counts, and among which samples."""
        return self.members, self.denominator


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


def share_measure(
    name: str, members: BoolArray, denominator: BoolArray, direction: int = 1
) -> Measure:
    """Share of `members` in `denominator`, (n,) booleans each, as a measure."""
    return Measure(
        name,
        share_of(members, denominator),
        direction,
        denominator=denominator,
        interval_kind="proportion",
        members=members,
    )


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
    seed: int = Field(20_240, ge=0, le=LARGEST_SEED)


@dataclass(frozen=True, eq=False)
class BootstrapDistribution:
    """A measure's value, its bootstrap replicates, and what they rest on.

    Attributes:
        measure: what was measured.
        value: on the sample itself.
        replicates: (replicates,); NaN where the measure is undefined.
        supports: numbers of the groups behind each part of it: of its rarest outcome where it has a
            denominator, of every outcome of a mean, of all groups else.
        n_positive_groups: groups that hold its rarest outcome, where they are not all.
    """

    measure: Measure
    value: float
    replicates: Float64Array
    supports: tuple[Indices, ...]
    n_positive_groups: int | None = None

    @property
    def n_independent(self) -> int:
        """Groups of the part that has the fewest."""
        return min((len(groups) for groups in self.supports), default=0)

    def minus(self, other: BootstrapDistribution) -> BootstrapDistribution:
        """This minus the other, replicate by replicate; a change has no interval kind of its own.

        For the interval and the p-value of one difference take `Bootstrap.paired`.
        """
        kind = self.measure.interval_kind
        return replace(
            self,
            measure=replace(
                self.measure, interval_kind=kind if kind in VALUE_ALONE else "general", members=None
            ),
            value=self.value - other.value,
            replicates=self.replicates - other.replicates,
            supports=_distinct((*self.supports, *other.supports)),
            n_positive_groups=_fewest(self, other),
        )


def mean_distribution(parts: Sequence[BootstrapDistribution]) -> BootstrapDistribution:
    """The mean of several measures, replicate by replicate; it rests on all that they rest on."""
    return replace(
        parts[0],
        measure=replace(parts[0].measure, members=None),
        value=float(np.mean([part.value for part in parts])),
        replicates=np.asarray(np.mean([part.replicates for part in parts], axis=0)),
        supports=_distinct([groups for part in parts for groups in part.supports]),
        n_positive_groups=_fewest(*parts),
    )


def _distinct(supports: Iterable[Indices]) -> tuple[Indices, ...]:
    return tuple({groups.tobytes(): groups for groups in supports}.values())


def _fewest(*parts: BootstrapDistribution) -> int | None:
    known = [part.n_positive_groups for part in parts if part.n_positive_groups is not None]
    return min(known, default=None)


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
        supports = self._supports(measure)
        everyone = measure.required_outcomes is None and measure.denominator is None
        return BootstrapDistribution(
            measure=measure,
            value=point(measure.statistic, self.n),
            replicates=measure.statistic(self.resamples.weights),
            supports=supports,
            n_positive_groups=None if everyone else min(map(len, supports), default=0),
        )

    def distribution(self, measures: Iterable[Measure]) -> dict[str, BootstrapDistribution]:
        """The joint distribution of measures, by name: replicate i is one resample of all."""
        return {measure.name: self.replicate(measure) for measure in measures}

    def interval(self, measure: Measure | BootstrapDistribution) -> Estimate:
        """The value with its interval.

        None for kinds in `VALUE_ALONE`; Wilson's where a measure in [0, 1] is 0 or 1 and where all
        resamples of a share agree; none where those of another measure do, which is no certainty.
        All others by the method of the parameters; see `IntervalParams`.
        """
        found = self._replicated(measure)
        kind, estimate = found.measure.interval_kind, self._percentiles(found)
        if kind in VALUE_ALONE:
            return without_interval(estimate)
        if few_groups.constant(found.replicates):
            return self._of_one_value(estimate, kind)
        made = METHODS[self.params.method](self, estimate, found)
        return self._of_one_value(estimate, kind) if few_groups.pointlike(made) else made

    def _of_one_value(self, estimate: Estimate, kind: IntervalKind) -> Estimate:
        """Where resamples agree: Wilson's interval at a bound and of shares, or none."""
        at_the_bound = kind in IN_UNIT and estimate.value in (0, 1)
        known = at_the_bound or kind == "proportion"
        return self._of_groups(estimate) if known else without_interval(estimate)

    def paired(
        self, first: Measure | BootstrapDistribution, second: Measure | BootstrapDistribution
    ) -> Difference:
        """First minus second on the same resamples, as wide as few groups ask for.

        Two shares of the same cases that differ in few groups are compared by the signs of these.
        Another difference that all resamples agree on has no interval, but of a measure with
        itself. Percentiles as they are where the method is not `adjusted`: a difference of two
        correlated values has no BCa interval here.
        """
        one, other = self._replicated(first), self._replicated(second)
        change = one.minus(other)
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
        found = replace(found, n_positive_groups=change.n_positive_groups)
        if first is second:
            return found
        if change.measure.interval_kind in VALUE_ALONE:
            return without_interval(found)
        changes = few_groups.contributions(one.measure.share, other.measure.share, self.resamples)
        if changes is not None and math.isfinite(found.low):
            return self._of_shares(replace(found, of_shares=True), change, changes)
        return self._widened(found, change, moderated=one.measure.interval_kind in IN_UNIT)

    def _of_shares(
        self, found: Difference, change: BootstrapDistribution, changes: Float64Array
    ) -> Difference:
        widened = self._widened(found, change, moderated=True)
        count = np.count_nonzero(changes)
        if count >= few_groups.FEW_CHANGES or (count and self.params.method != "adjusted"):
            return widened
        n_groups, level = change.n_independent, self.params.level
        return few_groups.few_changes(widened, changes, n_groups=n_groups, level=level)

    def _widened(
        self, found: Difference, change: BootstrapDistribution, *, moderated: bool
    ) -> Difference:
        if few_groups.constant(change.replicates):
            p_value = 1.0 if abs(found.value) <= few_groups.ROUNDING_SLACK else math.nan
            return replace(without_interval(found), p_value=p_value)
        if self.params.method != "adjusted":
            return found
        reach = asdict(self.spread(change, moderated=moderated))
        deciding = few_groups.deciding(change.replicates, self.resamples)
        found = replace(found, n_deciding=deciding)
        found = expanded(found, change.replicates, level=self.params.level, **reach)
        found = resolved(found, change.replicates, **reach)
        return without_interval(found) if few_groups.pointlike(found) else found

    def spread(self, found: BootstrapDistribution, *, moderated: bool = False) -> few_groups.Spread:
        """Degrees of freedom of the variance of replicates; see `few_groups.spread`."""
        return few_groups.spread(
            found.supports, found.replicates, self.resamples, moderated=moderated
        )

    def share(self, members: BoolArray, *, denominator: BoolArray | None = None) -> Estimate:
        """Share of `members` in all samples, or in those of `denominator`, with its interval."""
        everyone = np.ones_like(members)
        measure = share_measure("share", members, everyone if denominator is None else denominator)
        return self.interval(replace(measure, denominator=denominator))

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

    def _supports(self, measure: Measure) -> tuple[Indices, ...]:
        """Groups behind a measure, as `BootstrapDistribution.supports` has them."""
        if measure.required_outcomes is not None:
            sets = _distinct(self._groups_of(rows) for rows in measure.required_outcomes.T)
            mean = measure.denominator is None
            return sets if mean or not sets else (min(sets, key=len),)
        everyone = np.ones(self.n, dtype=bool)
        return (self._groups_of(everyone if measure.denominator is None else measure.denominator),)

    def _groups_of(self, rows: BoolArray) -> Indices:
        return np.unique(self.resamples.groups[rows])


def adjusted(bootstrap: Bootstrap, plain: Estimate, found: BootstrapDistribution) -> Estimate:
    """For few groups: expanded percentiles, or the logit scale for areas under ROC curves."""
    widen = on_logit_scale if found.measure.interval_kind == "auc" else expanded
    reach = asdict(bootstrap.spread(found, moderated=found.measure.interval_kind in IN_UNIT))
    made = widen(plain, found.replicates, level=bootstrap.params.level, **reach)
    return replace(made, n_deciding=few_groups.deciding(found.replicates, bootstrap.resamples))


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


def with_interval(name: str, estimate: Estimate) -> dict[str, float]:
    """An estimate as three headline scalars."""
    return {name: estimate.value, f"{name}_ci_low": estimate.low, f"{name}_ci_high": estimate.high}
