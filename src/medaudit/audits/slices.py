"""Where on the test set the model is worse: metadata columns and binned statistics."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.audits import slice_tests, slicing
from medaudit.audits.slice_measures import (
    FLOORS,
    OVER_OUTPUTS,
    Key,
    ece_floor,
    part_distributions,
    shared_outputs,
    undefined,
)
from medaudit.audits.slice_tests import SliceTests, shares_of
from medaudit.audits.slicing import (
    Slice,
    SliceEdges,
    SliceParams,
    absent_columns,
    slices,
    without,
)
from medaudit.core.findings import Findings, Scalar
from medaudit.stats import bootstrap as bootstrap_module
from medaudit.stats.intervals import caution

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medaudit.audits.slice_tests import Share
    from medaudit.core.arrays import BoolArray
    from medaudit.stats.bootstrap import (
        Bootstrap,
        BootstrapDistribution,
        IntervalParams,
        Measure,
    )
    from medaudit.stats.intervals import Estimate
    from medaudit.tables.scoring import ScoredPredictions

POSITIVE_BOUND = ("critical_auroc", "critical_auprc", "critical_f1", "critical_sensitivity")
RATES = ("sensitivity", "specificity")
VERDICTS = ("worse", "better", "within_margin", "undecided")
COLUMNS = (
    "column",
    "slice",
    "words",
    "metric",
    "output",
    "n_outputs",
    "value",
    "low",
    "high",
    "n",
    "n_groups",
    "n_positive",
    "n_positive_groups",
    "method",
    "undefined_share",
    "caution",
    *FLOORS,
    "direction",
    *slice_tests.COLUMNS,
    "change_caution",
)
PRIMARY_COLUMNS = (
    *("metric", "output", "column", "slice", "value", "low", "high"),
    *("n", "n_groups", "n_positive", "method", "caution"),
    *("gap", "gap_low", "gap_high", "p_adjusted", "family", "verdict"),
)
REFUSED_COLUMNS = ("column", "slice", "n", "n_positive", "reason")

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FrozenSlices:
    """What is known before the test role is looked at.

    Attributes:
        edges: of the bins of numeric columns.
        calibration: predictions whose positives may be counted in, or `None`.
    """

    edges: SliceEdges
    calibration: ScoredPredictions | None = None


def freeze(
    train_rows: pd.DataFrame, params: SliceParams, *, calibration: ScoredPredictions | None = None
) -> FrozenSlices:
    """Edges of bins at quantiles of the rows of the train role, and the cases to pool.

    Args:
        train_rows: rows of the train role.
        params: columns and bins.
        calibration: clean predictions of the calibration role at their frozen thresholds. Its
            positives count in tests of sensitivity, unless the thresholds promise something for
            new samples (`assurance`).
    """
    points = None if calibration is None else calibration.points
    plain = points is not None and points.assurance is None
    return FrozenSlices(slicing.edges(train_rows, params), calibration if plain else None)


def audit(
    test: ScoredPredictions, frozen: FrozenSlices, params: SliceParams, bootstrap: Bootstrap
) -> Findings:
    """Measure every slice of the test role and its gap to the rest of the test role.

    Gaps of tested measures are judged by permutation of groups, those of the confirmatory columns
    jointly (max-T) and all others by their false discovery rate; see `slice_tests`.

    Args:
        test: clean predictions of the test role at their frozen thresholds.
        frozen: from `freeze`.
        params: columns, bins, size limits, confirmatory columns, margin.
        bootstrap: of the groups of the test role.
    """
    absent = tuple(name for name in params.all_columns if name not in test.table.rows)
    tests, shares = slice_tests_of(test, frozen, params, bootstrap.params)
    if not tests.measured:
        log.warning("no slice is left to measure; plots/slice/refused.csv says why")
    found = slice_table(SliceComparison(test, shares, params, bootstrap), tests)
    named = list(slices(test.table.rows, frozen.edges, without(params, absent)))
    refused = refusal_table(test, named, params, shares=shares, absent=absent)
    series = {"slices": found, "refused": refused, "primary": primary_table(found)}
    scalars = headline(found, shares, n_slices=len(tests.measured), n_refused=len(refused))
    return Findings(scalars, series)


def slice_tests_of(
    test: ScoredPredictions, frozen: FrozenSlices, params: SliceParams, intervals: IntervalParams
) -> tuple[SliceTests, list[Share]]:
    """The slices that are large enough, ready to be tested, and the shares to test.

    Args:
        test: clean predictions of the test role at their frozen thresholds.
        frozen: from `freeze`.
        params: columns, bins, size limits, confirmatory columns, margin.
        intervals: level, number of permutations and seed.
    """
    rows = test.table.rows
    present = without(params, absent_columns(rows, params))
    named = slices(rows, frozen.edges, present)
    measured = [each for each in named if refusal(each.mask, params) is None]
    calibration = poolable(frozen.calibration, present)
    pooled = pooled_masks(measured, calibration, frozen, present)
    family = params.confirmatory or present.confirmed
    tests = SliceTests(measured, pooled, params, family, intervals)
    return tests, shares_of(test, calibration)


def poolable(
    calibration: ScoredPredictions | None, params: SliceParams
) -> ScoredPredictions | None:
    """The calibration role, if it has every column that is sliced."""
    if calibration is None or not {*params.all_columns} <= {*calibration.table.rows}:
        return None
    return calibration


def pooled_masks(
    measured: Sequence[Slice],
    calibration: ScoredPredictions | None,
    frozen: FrozenSlices,
    params: SliceParams,
) -> BoolArray:
    """Members of the measured slices in test and then calibration, (rows, slices)."""
    parts = [np.stack([each.mask for each in measured], axis=1)] if measured else []
    if parts and calibration is not None:
        rows = calibration.table.rows
        known = {each.label: each.mask for each in slices(rows, frozen.edges, params)}
        none = np.zeros(len(rows), dtype=bool)
        parts.append(np.stack([known.get(each.label, none) for each in measured], axis=1))
    return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=bool)


def refusal(mask: BoolArray, params: SliceParams) -> str | None:
    """Why a slice says nothing, or `None`."""
    size, share = int(mask.sum()), float(mask.mean())
    if size < params.min_size:
        return f"too small: {size} samples, at least {params.min_size} asked for"
    if share > params.max_share:
        return f"near-total: {share:.0%} of the test set, at most {params.max_share:.0%} allowed"
    return None


def refusal_table(
    test: ScoredPredictions,
    named: list[Slice],
    params: SliceParams,
    *,
    shares: Sequence[Share] = (),
    absent: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Columns, slices and measures that were left out, each with its reason."""
    rows = [refused_row(name, name, 0, None, "not in this data set") for name in absent]
    for each in named:
        positives = positives_in(test, each.mask)
        reason = refusal(each.mask, params)
        if reason is None and positives is not None and positives < params.min_positives:
            reason = (
                f"{positives} positives of the critical class, at least {params.min_positives} "
                f"asked for: no {' or '.join(POSITIVE_BOUND)}"
            )
        if reason is None and positives is None:
            reason = few_cases(shares, each.mask, params)
        if reason is not None:
            size = int(each.mask.sum())
            rows.append(refused_row(each.column, each.label, size, positives, reason))
    return pd.DataFrame(rows, columns=list(REFUSED_COLUMNS))


def few_cases(shares: Sequence[Share], mask: BoolArray, params: SliceParams) -> str | None:
    """Which labels are left out of a slice for lack of cases, or `None`."""
    short = [
        f"{each.metric} of {each.output}"
        for each in shares
        if each.output and not each.rests_on(mask, params)
    ]
    if not short:
        return None
    return f"fewer than {params.min_positives} cases inside or outside: no {', '.join(short)}"


def refused_row(*values: object) -> dict[str, object]:
    """Values in the order of `REFUSED_COLUMNS`."""
    return dict(zip(REFUSED_COLUMNS, values, strict=True))


def positives_in(test: ScoredPredictions, mask: BoolArray) -> int | None:
    """Critical cases inside a slice."""
    if test.schema.critical_class is None:
        return None
    return int(test.positives[mask, test.schema.critical_index].sum())


@dataclass(frozen=True, eq=False)
class SliceComparison:
    """Compares slices of the test role with the rest of it, all on the same resamples."""

    test: ScoredPredictions
    shares: Sequence[Share]
    params: SliceParams
    bootstrap: Bootstrap
    done: dict[bytes, dict[Key, BootstrapDistribution]] = field(default_factory=dict)

    @cached_property
    def tested(self) -> set[str]:
        """Names of the measures that are tested."""
        return {share.metric for share in self.shares}

    def part(self, mask: BoolArray) -> dict[Key, BootstrapDistribution]:
        """The untested measures of a part, computed once: two values are each other's rest."""
        key = mask.tobytes()
        if key not in self.done:
            found = part_distributions(self.test, mask, self.params, self.bootstrap)
            self.done[key] = {
                name: each for name, each in found.items() if name[0] not in self.tested
            }
        return self.done[key]

    def extra_columns(self, mask: BoolArray) -> dict[str, dict[str, float]]:
        """Over how many outputs means run, and what the ECE reads by chance, by measure."""
        shared = shared_outputs(self.test, mask, min_positives=self.params.min_positives)
        floor = ece_floor(self.test.part(mask), seed=self.bootstrap.params.seed)
        return {name: {"n_outputs": float(len(shared))} for name in OVER_OUTPUTS} | {"ece": floor}

    def tested_rows(self, part: Slice) -> list[dict[str, object]]:
        """Values of the tested measures; a label with too few cases is left out."""
        inside = self.bootstrap.subset(part.mask)
        rows = []
        for share in self.shares:
            measure = share.measure(part.mask)
            if not share.rests_on(part.mask, self.params):
                if not share.metric.startswith("critical_"):
                    continue
                measure = replace(measure, statistic=undefined)
            rows.append(value_row(part, measure, inside.interval(measure), output=share.output))
        return rows

    def untested_rows(self, part: Slice) -> list[dict[str, object]]:
        """All other measures, and inside minus the rest with the bootstrap's interval."""
        inside, outside = self.part(part.mask), self.part(~part.mask)
        own, rest = (self.bootstrap.subset(mask) for mask in (part.mask, ~part.mask))
        extra = self.extra_columns(part.mask)
        rows = []
        for (name, output), each in inside.items():
            other, estimate = outside[name, output], own.interval(each)
            gap = self.bootstrap.paired(each, other)
            if constant(each) or constant(other):
                low, high = combined(estimate, rest.interval(other))
                gap = replace(gap, low=low, high=high)
            row = value_row(part, each.measure, estimate, output=output) | extra.get(name, {})
            rows.append(row | marginal(gap))
        return rows


def value_row(
    part: Slice, measure: Measure, estimate: Estimate, *, output: str
) -> dict[str, object]:
    """One measure inside a slice."""
    return {
        "column": part.column,
        "slice": part.label,
        "words": part.words,
        "metric": measure.name,
        "output": output,
        **bootstrap_module.columns(estimate),
        "direction": measure.direction,
    }


def marginal(gap: Estimate) -> dict[str, object]:
    """An untested gap with its own interval, and why that is to be read with care."""
    return {
        "gap": gap.value,
        "gap_low": gap.low,
        "gap_high": gap.high,
        "interval": "marginal",
        "change_caution": caution(gap),
    }


def slice_table(comparison: SliceComparison, tests: SliceTests) -> pd.DataFrame:
    """One row per slice, measure and output: inside the slice, and inside minus the rest."""
    values = [
        {"place": place, **row}
        for place, part in enumerate(tests.measured)
        for row in (*comparison.tested_rows(part), *comparison.untested_rows(part))
    ]
    keys = ["place", "metric", "output"]
    gaps = ["gap", "gap_low", "gap_high", "interval"]
    found = pd.DataFrame(values, columns=[*keys, *(c for c in COLUMNS if c not in keys)])
    judged = found[keys].merge(tests.table(comparison.shares), how="left", on=keys)
    for name in slice_tests.COLUMNS:
        kept = found[name] if name in gaps else None
        found[name] = (
            judged[name] if kept is None else judged[name].where(judged["family"].notna(), kept)
        )
    words = ["interval", "adjustment", "family", "verdict", "change_caution"]
    found[words] = found[words].fillna("")
    return found[list(COLUMNS)]


def constant(found: BootstrapDistribution) -> bool:
    """Whether every resample says the same, as in a part without errors."""
    return bool(np.nanstd(found.replicates) == 0) if np.isfinite(found.value) else False


def combined(inside: Estimate, outside: Estimate) -> tuple[float, float]:
    """Interval of a difference of two independent values from that of each.

    For a part without errors, of which a bootstrap knows no chance.

    Reference: Newcombe 1998, Stat. Med. 17:873-890 (method 10).
    """
    gap = inside.value - outside.value
    below = np.hypot(inside.value - inside.low, outside.high - outside.value)
    above = np.hypot(inside.high - inside.value, outside.value - outside.low)
    return float(gap - below), float(gap + above)


def primary_table(found: pd.DataFrame) -> pd.DataFrame:
    """Sensitivity and specificity of every slice, in the columns of the slice chart.

    Those of the critical class, or else their means over labels.
    """
    names = [f"{of}_{rate}" for of in ("critical", "macro") for rate in RATES]
    critical = found["metric"].isin(names[: len(RATES)]).any()
    primary = names[: len(RATES)] if critical else names[len(RATES) :]
    chosen = found[found["metric"].isin(primary)].dropna(subset=["value"])
    ordered = chosen.sort_values("metric", kind="stable", key=lambda m: m.map(primary.index))
    return ordered[list(PRIMARY_COLUMNS)].reset_index(drop=True)


def primaries(shares: Sequence[Share]) -> list[str]:
    """Names of the tested measures."""
    return list(dict.fromkeys(share.metric for share in shares))


def headline(
    found: pd.DataFrame, shares: Sequence[Share], *, n_slices: int, n_refused: int
) -> dict[str, Scalar]:
    """Of every tested measure the worst confirmatory slice, and how many have which verdict.

    The worst slice is that of the largest harm after shrinkage: the smallest value of many is low
    by chance as well. Its interval is simultaneous, so that having been chosen does it no harm. `n`
    is what the value rests on, `gap_n` what the gap does.
    """
    scalars: dict[str, Scalar] = {"n_slices": n_slices, "n_refused": n_refused}
    for metric in primaries(shares):
        rows = found[found["metric"] == metric]
        scalars |= verdict_counts(metric, rows)
        confirmed = rows[rows["family"] == "confirmatory"].reset_index(drop=True)
        if len(confirmed):
            scalars |= worst_slice(metric, confirmed)
    return scalars


def verdict_counts(metric: str, rows: pd.DataFrame) -> dict[str, Scalar]:
    """Verdicts on the confirmatory slices; of the exploratory ones those that are worse."""
    confirmed = rows[rows["family"] == "confirmatory"]["verdict"]
    explored = rows[rows["family"] == "exploratory"]["verdict"]
    counts = {f"n_{metric}_{each}": int((confirmed == each).sum()) for each in VERDICTS}
    return {
        **counts,
        f"n_{metric}_confirmatory": len(confirmed),
        f"n_{metric}_exploratory": len(explored),
        f"n_{metric}_exploratory_worse": int((explored == "worse").sum()),
        f"n_{metric}_undefined": int((rows["family"] == "").sum()),
    }


def worst_slice(metric: str, confirmed: pd.DataFrame) -> dict[str, Scalar]:
    """The slice of the lowest shrunk gap: value and gap with their intervals, and the verdict."""
    worst = confirmed.iloc[int(confirmed["shrunk"].argmin())]
    prefix, of = f"worst_{metric}", worst["output"]
    base = worst["n"] if pd.isna(worst["n_positive"]) else worst["n_positive"]
    cases = worst["gap_n_positive"]
    scalars: dict[str, Scalar] = {
        f"{prefix}_slice": str(worst["slice"]),
        **({f"{prefix}_output": str(of)} if of and not metric.startswith("critical_") else {}),
        prefix: float(worst["value"]),
        f"{prefix}_ci_low": float(worst["low"]),
        f"{prefix}_ci_high": float(worst["high"]),
        f"{prefix}_n": int(base),
        f"{prefix}_gap": float(worst["gap"]),
        f"{prefix}_gap_ci_low": float(worst["gap_low"]),
        f"{prefix}_gap_ci_high": float(worst["gap_high"]),
        f"{prefix}_gap_n": int(cases),
        f"{prefix}_gap_shrunk": float(worst["shrunk"]),
        f"{prefix}_gap_shrunk_ci_low": float(worst["shrunk_low"]),
        f"{prefix}_gap_shrunk_ci_high": float(worst["shrunk_high"]),
        f"{prefix}_minimal_detectable": float(worst["minimal_detectable"]),
        f"{prefix}_verdict": str(worst["verdict"]),
    }
    return scalars
