"""Where on the test set the model is worse: metadata columns and binned statistics."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, field_validator

from medaudit.audits import intervals
from medaudit.errors import DataError, listed
from medaudit.findings import Findings, Scalar
from medaudit.params import Section, each_once
from medaudit.stats.multiplicity import holm
from medaudit.stats.permutation import gap_p_value, permuted_masks
from medaudit.tables import scoring
from medaudit.tables.scoring import Scored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medaudit.audits.intervals import IntervalParams
    from medaudit.stats.resample import Resamples
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable
    from medaudit.tables.tasks.base import Measure

Bools = npt.NDArray[np.bool_]

SLICE_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "macro_auroc",
    "critical_auroc",
    "critical_sensitivity",
    "critical_specificity",
    "mean_confidence",
)
POSITIVE_BOUND = ("critical_auroc", "critical_sensitivity")
OPTIONAL = ("dataset", "lesion_area")
COLUMNS = (
    "column",
    "slice",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "n_groups",
    "n_positive",
    "method",
    "undefined_share",
    "gap",
    "gap_low",
    "gap_high",
    "p_value",
    "direction",
)
PRIMARY_COLUMNS = ("column", "slice", "value", "lo", "hi", "n", "n_positive", "gap", "p_holm")
REFUSED_COLUMNS = ("column", "slice", "n", "n_positive", "reason")

log = logging.getLogger(__name__)


class SliceParams(Section):
    """Which slices are cut, and which are too small or too large to say anything.

    Columns of `OPTIONAL` may be named for data sets that lack them.
    """

    section = "slice"
    columns: tuple[str, ...] = ()
    quantiles: dict[str, Annotated[int, Field(ge=2, le=20)]] = Field(default_factory=dict)
    min_size: int = Field(30, ge=2)
    min_positives: int = Field(10, ge=1)
    max_share: float = Field(0.9, gt=0, le=1)
    primary: str = "critical_sensitivity"

    @field_validator("columns")
    @classmethod
    def _once(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        return each_once(columns)

    @field_validator("primary")
    @classmethod
    def _known(cls, primary: str) -> str:
        if primary not in SLICE_METRICS:
            raise ValueError(f"expected one of {', '.join(SLICE_METRICS)}")
        return primary


@dataclass(frozen=True)
class Slice:
    """A named part of the test set."""

    column: str
    name: str
    mask: Bools

    @property
    def label(self) -> str:
        """For example `sex = female`."""
        return (
            f"{self.column} {self.name}" if self.name[0] in "<>[(" else f"{self.column}={self.name}"
        )


def audit(
    clean: PredictionTable,
    points: OperatingPoints,
    reference: pd.DataFrame,
    params: SliceParams,
    *,
    intervals_params: IntervalParams,
) -> Findings:
    """Measure every slice of the test role and its gap to the rest of the test role.

    Args:
        clean: predictions of the clean images, role `test` used.
        points: thresholds frozen on the calibration role.
        reference: rows of the train role; quantile edges come from here.
        params: columns, bins and size limits.
        intervals_params: replicates, level and seed of the bootstrap.
    """
    test = Scored(clean.role("test"), points)
    absent = absent_columns(test.table.rows, params)
    params = without(params, absent)
    resamples = intervals.resamples_of(test.table, intervals_params)
    cut = list(slices(test.table.rows, reference, params))
    kept = [each for each in cut if refusal(each.mask, params) is None]
    rows = [
        row for each in kept for row in slice_rows(test, each, params, resamples, intervals_params)
    ]
    if not kept:
        log.warning("no slice is left to measure; plots/slice/refused.csv says why")
    found = adjusted(pd.DataFrame(rows, columns=list(COLUMNS)))
    refused = refusal_table(test, cut, params, absent=absent)
    series = {"slices": found, "refused": refused, "primary": primary_table(found, params.primary)}
    scalars = headline(found, primary=params.primary, n_slices=len(kept), n_refused=len(refused))
    return Findings(scalars, series)


def absent_columns(rows: pd.DataFrame, params: SliceParams) -> tuple[str, ...]:
    """Named columns that this data set lacks, where it may lack them."""
    wanted = dict.fromkeys([*params.columns, *params.quantiles])
    absent = tuple(name for name in wanted if name in OPTIONAL and name not in rows)
    for name in absent:
        log.warning("slice column %s is not in this data set; it is left out", name)
    return absent


def without(params: SliceParams, absent: tuple[str, ...]) -> SliceParams:
    """The parameters without these columns."""
    columns = tuple(name for name in params.columns if name not in absent)
    quantiles = {name: bins for name, bins in params.quantiles.items() if name not in absent}
    return params.model_copy(update={"columns": columns, "quantiles": quantiles})


def slices(rows: pd.DataFrame, reference: pd.DataFrame, params: SliceParams) -> Iterator[Slice]:
    """All slices that the parameters name, values in sorted order."""
    wanted = [*params.columns, *params.quantiles]
    missing = [column for column in wanted if column not in rows]
    if missing:
        raise DataError(
            f"params.yaml: slice columns {listed(missing)} are not in the predictions; "
            f"columns there: {listed(list(map(str, rows.columns)), limit=20)}"
        )
    for column in params.columns:
        yield from by_value(rows, column)
    for column, bins in params.quantiles.items():
        yield from by_quantile(rows, reference, column, bins=bins)


def by_value(rows: pd.DataFrame, column: str) -> Iterator[Slice]:
    """One slice per value; missing values are a slice of their own."""
    values = rows[column].astype("object").where(rows[column].notna(), "missing").astype(str)
    for name in sorted(values.unique()):
        yield Slice(column, name, (values == name).to_numpy())


def by_quantile(
    rows: pd.DataFrame, reference: pd.DataFrame, column: str, *, bins: int
) -> Iterator[Slice]:
    """Bins with edges at the quantiles of the train role; missing values apart."""
    values, known = numbers(rows[column]), numbers(reference[column])
    known = known[~np.isnan(known)]
    if len(known) == 0:
        raise DataError(
            f"slice column {column!r} has no value in the train role to take edges from"
        )
    inner = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))
    place = np.searchsorted(inner, values, side="left")
    place[np.isnan(values)] = -1
    for i, name in enumerate(bin_names(inner)):
        yield Slice(column, name, place == i)
    if (place == -1).any():
        yield Slice(column, "missing", place == -1)


def numbers(values: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """A column as float64, NaN where it is missing."""
    try:
        return np.asarray(pd.to_numeric(values), dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"params.yaml: slice.quantiles names {values.name!r}, which is not a number column; "
            f"put it under slice.columns"
        ) from None


def bin_names(inner: npt.NDArray[np.float64]) -> list[str]:
    """Names such as `<=30`, `(30, 50]`, `>50` for the bins between inner edges."""
    edges = [f"{edge:.3g}" for edge in inner]
    if not edges:
        return ["any"]
    middle = [f"({low}, {high}]" for low, high in itertools.pairwise(edges)]
    return [f"<={edges[0]}", *middle, f">{edges[-1]}"]


def refusal(mask: Bools, params: SliceParams) -> str | None:
    """Why a slice says nothing, or `None`."""
    size, share = int(mask.sum()), float(mask.mean())
    if size < params.min_size:
        return f"too small: {size} samples, at least {params.min_size} asked for"
    if share > params.max_share:
        return f"near-total: {share:.0%} of the test set, at most {params.max_share:.0%} allowed"
    return None


def refusal_table(
    test: Scored, cut: list[Slice], params: SliceParams, *, absent: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Columns, slices and measures that were left out, each with its reason."""
    rows = [refused_row(name, name, 0, None, "not in this data set") for name in absent]
    for each in cut:
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


def positives_in(test: Scored, mask: Bools) -> int | None:
    """Critical cases inside a slice."""
    if test.table.schema.critical_class is None:
        return None
    return int(test.positives[mask, test.table.schema.critical_index].sum())


def slice_rows(
    test: Scored,
    part: Slice,
    params: SliceParams,
    resamples: Resamples,
    intervals_params: IntervalParams,
) -> list[dict[str, object]]:
    """One row per measure: inside the slice, and inside minus the rest, both with intervals.

    The p-value of the gap is from a permutation of slice membership between groups: a bootstrap of
    a slice in which all or none are right says nothing about chance.
    """
    level = intervals_params.level
    inside = replicated(test, part.mask, params, resamples)
    outside = replicated(test, ~part.mask, params, resamples)
    whole = {each.name: each for each in slice_measures(test)}
    masks = permuted_masks(
        part.mask,
        test.table.group_ids,
        replicates=intervals_params.replicates,
        seed=intervals_params.seed,
    )
    rows: list[dict[str, object]] = []
    for name, each in inside.items():
        estimate = intervals.interval(each, resamples.subset(part.mask), level=level)
        gap = intervals.paired(each, outside[name], resamples, level=level)
        defined = np.isfinite(gap.value) and np.isfinite(gap.low)
        rows.append(
            {
                "column": part.column,
                "slice": part.label,
                "metric": name,
                **intervals.columns(estimate),
                "gap": gap.value,
                "gap_low": gap.low,
                "gap_high": gap.high,
                "p_value": gap_p_value(whole[name].statistic, part.mask, masks)
                if defined
                else np.nan,
                "direction": each.measure.direction,
            }
        )
    return rows


def slice_measures(scored: Scored) -> list[Measure]:
    """The measures that are reported for slices."""
    return [each for each in scoring.measures(scored) if each.name in SLICE_METRICS]


def replicated(
    test: Scored, mask: Bools, params: SliceParams, resamples: Resamples
) -> dict[str, intervals.Replicated]:
    """The slice measures of the masked samples on the resamples of the whole test role.

    A measure that rests on fewer cases than asked for is undefined.
    """
    part = Scored(test.table.where(mask), test.points)
    found = [
        each
        if each.n_positive is None or each.n_positive >= params.min_positives
        else replace(each, statistic=undefined)
        for each in slice_measures(part)
    ]
    return intervals.replicate(found, resamples.subset(mask))


def undefined(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A statistic that is never defined."""
    return np.full(len(weights), np.nan)


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
    """The worst slice by gap for the primary measure and for accuracy; n is what it rests on."""
    scalars: dict[str, Scalar] = {"n_slices": n_slices, "n_refused": n_refused}
    for metric in dict.fromkeys((primary, "accuracy")):
        chosen = found[found["metric"] == metric].dropna(subset=["gap"])
        if chosen.empty:
            continue
        worst = chosen.loc[(chosen["gap"] * chosen["direction"]).idxmin()]
        base = np.float64(worst["n_positive"])
        scalars |= {
            f"worst_{metric}_slice": str(worst["slice"]),
            f"worst_{metric}": float(worst["value"]),
            f"worst_{metric}_gap": float(worst["gap"]),
            f"worst_{metric}_gap_ci_low": float(worst["gap_low"]),
            f"worst_{metric}_gap_ci_high": float(worst["gap_high"]),
            f"worst_{metric}_n": int(base if np.isfinite(base) else worst["n"]),
            f"n_{metric}_undefined": int((found["metric"] == metric).sum()) - len(chosen),
            f"n_{metric}_significant": int((chosen["p_holm"] < 0.05).sum()),
        }
    return scalars
