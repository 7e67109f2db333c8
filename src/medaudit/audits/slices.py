"""Where on the test set the model is worse: metadata columns and binned statistics."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.audits import slicing
from medaudit.audits.slice_measures import (
    FLOORS,
    OVER_OUTPUTS,
    Key,
    ece_floor,
    part_distributions,
    shared_outputs,
    slice_measures,
)
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
from medaudit.stats.hypothesis_tests import gap_p_value, holm, permuted_masks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medaudit.core.arrays import BoolArray
    from medaudit.stats.bootstrap import Bootstrap, BootstrapDistribution, Measure
    from medaudit.stats.intervals import Difference
    from medaudit.tables.scoring import ScoredPredictions

OVERALL = ("accuracy", "exact_match")
POSITIVE_BOUND = ("critical_auroc", "critical_auprc", "critical_f1", "critical_sensitivity")
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
    "gap",
    "gap_low",
    "gap_high",
    "p_value",
    "direction",
)
PRIMARY_COLUMNS = ("column", "slice", "value", "lo", "hi", "n", "n_positive", "gap", "p_holm")
REFUSED_COLUMNS = ("column", "slice", "n", "n_positive", "reason")

log = logging.getLogger(__name__)


def freeze(train_rows: pd.DataFrame, params: SliceParams) -> SliceEdges:
    """Edges of the bins of numeric columns, at quantiles of the rows of the train role."""
    return slicing.edges(train_rows, params)


def audit(
    test: ScoredPredictions, frozen: SliceEdges, params: SliceParams, bootstrap: Bootstrap
) -> Findings:
    """Measure every slice of the test role and its gap to the rest of the test role.

    Args:
        test: clean predictions of the test role at their frozen thresholds.
        frozen: edges from `freeze`.
        params: columns, bins and size limits.
        bootstrap: of the groups of the test role.
    """
    absent = absent_columns(test.table.rows, params)
    params = without(params, absent)
    named = list(slices(test.table.rows, frozen, params))
    measured = [each for each in named if refusal(each.mask, params) is None]
    comparison = SliceComparison(test, params, bootstrap)
    rows = [row for each in measured for row in slice_rows(comparison, each)]
    if not measured:
        log.warning("no slice is left to measure; plots/slice/refused.csv says why")
    found = adjusted(pd.DataFrame(rows, columns=list(COLUMNS)))
    refused = refusal_table(test, named, params, absent=absent)
    series = {"slices": found, "refused": refused, "primary": primary_table(found, params.primary)}
    scalars = headline(
        found, primary=params.primary, n_slices=len(measured), n_refused=len(refused)
    )
    return Findings(scalars, series)


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
        if reason is not None:
            size = int(each.mask.sum())
            rows.append(refused_row(each.column, each.label, size, positives, reason))
    return pd.DataFrame(rows, columns=list(REFUSED_COLUMNS))


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
    params: SliceParams
    bootstrap: Bootstrap
    done: dict[bytes, dict[Key, BootstrapDistribution]] = field(default_factory=dict)

    @cached_property
    def whole(self) -> dict[str, Measure]:
        """Measures of the whole role, for permutation."""
        return {each.name: each for each in slice_measures(self.test)}

    def part(self, mask: BoolArray) -> dict[Key, BootstrapDistribution]:
        """The measures of a part, computed once: two values of a column are each other's rest."""
        key = mask.tobytes()
        if key not in self.done:
            self.done[key] = part_distributions(self.test, mask, self.params, self.bootstrap)
        return self.done[key]

    def extra_columns(self, mask: BoolArray) -> dict[str, dict[str, float]]:
        """Over how many outputs means run, and what the ECE reads by chance, by measure."""
        shared = shared_outputs(self.test, mask, min_positives=self.params.min_positives)
        floor = ece_floor(self.test.part(mask), seed=self.bootstrap.params.seed)
        return {name: {"n_outputs": float(len(shared))} for name in OVER_OUTPUTS} | {"ece": floor}

    def p_value(
        self, part: Slice, gap: Difference, sides: Sequence[BootstrapDistribution]
    ) -> float:
        """P-value of a gap, for measures that are tested.

        That of the bootstrap, as the interval beside it; but where every resample of the slice or
        of the rest says the same, as in a slice without errors, a bootstrap knows no chance, and
        membership is permuted between groups instead.
        """
        name = sides[0].measure.name
        if name not in (self.params.tested or (self.params.primary, *OVERALL)):
            return math.nan
        if all(np.nanstd(side.replicates) > 0 for side in sides):
            return gap.p_value
        masks = permuted_masks(
            part.mask,
            self.test.group_ids,
            replicates=self.bootstrap.params.replicates,
            seed=self.bootstrap.params.seed,
        )
        return gap_p_value(self.whole[name].statistic, part.mask, masks)


def slice_rows(comparison: SliceComparison, part: Slice) -> list[dict[str, object]]:
    """One row per measure: inside the slice, and inside minus the rest, both with intervals."""
    inside, outside = comparison.part(part.mask), comparison.part(~part.mask)
    inside_bootstrap = comparison.bootstrap.subset(part.mask)
    rows: list[dict[str, object]] = []
    extra = comparison.extra_columns(part.mask)
    for (name, output), each in inside.items():
        estimate = inside_bootstrap.interval(each)
        gap = comparison.bootstrap.paired(each, outside[name, output])
        defined = np.isfinite(gap.value) and np.isfinite(gap.low)
        rows.append(
            {
                "column": part.column,
                "slice": part.label,
                "words": part.words,
                "metric": name,
                "output": output,
                **extra.get(name, {}),
                **bootstrap_module.columns(estimate),
                "gap": gap.value,
                "gap_low": gap.low,
                "gap_high": gap.high,
                "p_value": comparison.p_value(part, gap, (each, outside[name, output]))
                if defined
                else np.nan,
                "direction": each.measure.direction,
            }
        )
    return rows


def adjusted(found: pd.DataFrame) -> pd.DataFrame:
    """Add `p_holm` within each metric and the size of that family."""
    if found.empty:
        return found.assign(p_holm=[], n_family=[])
    families = found.groupby("metric")["p_value"]
    return found.assign(
        p_holm=families.transform(lambda p: holm(p.to_numpy())),
        n_family=families.transform("count"),
    )


def primary_table(found: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The primary measure of every slice, in the columns of the slice chart."""
    chosen = found[found["metric"] == metric]
    if chosen.empty:
        return pd.DataFrame(columns=list(PRIMARY_COLUMNS))
    renamed = chosen.dropna(subset=["value"]).rename(columns={"low": "lo", "high": "hi"})
    return renamed[list(PRIMARY_COLUMNS)].reset_index(drop=True)


def headline(
    found: pd.DataFrame, *, primary: str, n_slices: int, n_refused: int
) -> dict[str, Scalar]:
    """The worst slice by gap for the primary measure and overall; n is what it rests on."""
    scalars: dict[str, Scalar] = {"n_slices": n_slices, "n_refused": n_refused}
    for metric in dict.fromkeys((primary, *OVERALL)):
        chosen = found[found["metric"] == metric].dropna(subset=["gap", "gap_low"])
        if chosen.empty:
            continue
        worst = chosen.iloc[int((chosen["gap"] * chosen["direction"]).argmin())]
        base = np.float64(worst["n_positive"])
        scalars |= {
            f"worst_{metric}_slice": str(worst["slice"]),
            f"worst_{metric}": float(worst["value"]),
            f"worst_{metric}_ci_low": float(worst["low"]),
            f"worst_{metric}_ci_high": float(worst["high"]),
            f"worst_{metric}_gap": float(worst["gap"]),
            f"worst_{metric}_gap_ci_low": float(worst["gap_low"]),
            f"worst_{metric}_gap_ci_high": float(worst["gap_high"]),
            f"worst_{metric}_n": int(base if np.isfinite(base) else worst["n"]),
            f"n_{metric}_undefined": int((found["metric"] == metric).sum()) - len(chosen),
            f"n_{metric}_significant": int((chosen["p_holm"] < 0.05).sum()),
        }
    return scalars
