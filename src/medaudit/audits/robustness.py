"""How the model changes under corruptions and shifts, with nothing re-tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from medaudit.audits import intervals
from medaudit.findings import Findings, Scalar
from medaudit.params import Section
from medaudit.stats.multiplicity import holm
from medaudit.tables import scoring
from medaudit.tables.predictions import align
from medaudit.tables.scoring import Scored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medaudit.audits.intervals import IntervalParams
    from medaudit.stats.resample import Resamples
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable

PRIMARY = ("macro_auroc", "critical_sensitivity")


class StressParams(Section):
    """Which corruptions and shifts are applied to the test images."""

    section = "stress"
    corruptions: tuple[str, ...] = Field(min_length=1)
    severities: tuple[int, ...] = Field((1, 2, 3), min_length=1)


def audit(
    clean: PredictionTable,
    corrupted: Sequence[PredictionTable],
    points: OperatingPoints,
    *,
    intervals_params: IntervalParams,
) -> Findings:
    """Compare every condition with clean on the same test samples, resamples and thresholds.

    Args:
        clean: predictions of the clean images, role `test` used.
        corrupted: one table per condition, holding the same test samples.
        points: thresholds frozen on clean calibration images.
        intervals_params: replicates, level and seed of the bootstrap.
    """
    test = Scored(clean.role("test"), points)
    resamples = intervals.resamples_of(test.table, intervals_params)
    baseline = intervals.replicate(scoring.measures(test), resamples)
    tables = [test, *(Scored(align(test.table, table), points) for table in corrupted)]
    rows = []
    for scored in tables:
        is_clean = scored.table.condition.is_clean
        found = baseline if is_clean else intervals.replicate(scoring.measures(scored), resamples)
        rows += condition_rows(scored, found, baseline, resamples, level=intervals_params.level)
    conditions = adjusted(pd.DataFrame(rows))
    series = {
        "conditions": conditions,
        "severity": severity_table(conditions),
        "delta": delta_table(conditions, metric=PRIMARY[0]),
        "delta_critical": delta_table(conditions, metric=PRIMARY[1]),
        "predicted": predicted_table(tables),
    }
    return Findings(headline(conditions, n=len(test.table)), series)


def condition_rows(
    scored: Scored,
    found: Mapping[str, intervals.Replicated],
    baseline: Mapping[str, intervals.Replicated],
    resamples: Resamples,
    *,
    level: float,
) -> list[dict[str, object]]:
    """One row per measure of one condition: value and paired delta, both with intervals."""
    rows: list[dict[str, object]] = []
    condition = scored.table.condition
    for name, each in found.items():
        estimate = intervals.interval(each, resamples, level=level)
        change = intervals.paired(each, baseline[name], resamples, level=level)
        rows.append(
            {
                "condition": condition.name,
                "corruption": condition.corruption,
                "severity": condition.severity,
                "metric": name,
                **intervals.columns(estimate),
                "delta": change.value,
                "delta_low": change.low,
                "delta_high": change.high,
                "p_value": np.nan if condition.is_clean else change.p_value,
            }
        )
    return rows


def adjusted(conditions: pd.DataFrame) -> pd.DataFrame:
    """Add `p_holm`: p-values corrected within each metric over its family of conditions."""
    corrected = conditions.groupby("metric")["p_value"].transform(lambda p: holm(p.to_numpy()))
    return conditions.assign(p_holm=corrected)


def severity_table(conditions: pd.DataFrame) -> pd.DataFrame:
    """Curves over severity that start at the clean value, for the primary measures."""
    wanted = conditions[conditions["metric"].isin(PRIMARY)]
    columns = ["metric", "corruption", "severity", "value", "low", "high"]
    clean = wanted[wanted["severity"] == 0]
    names = [name for name in wanted["corruption"].unique() if name != "clean"]
    starts = [clean.assign(corruption=name) for name in names]
    curves = pd.concat([*starts, wanted[wanted["severity"] > 0]])[columns]
    return curves.sort_values(["metric", "corruption", "severity"], ignore_index=True)


def delta_table(conditions: pd.DataFrame, *, metric: str) -> pd.DataFrame:
    """Condition minus clean for one measure, in the columns of the delta chart."""
    chosen = conditions[(conditions["metric"] == metric) & (conditions["severity"] > 0)]
    renamed = chosen.rename(columns={"delta_low": "lo", "delta_high": "hi"})
    return renamed[["corruption", "severity", "delta", "lo", "hi", "p_holm", "n"]].reset_index(
        drop=True
    )


def predicted_table(tables: Sequence[Scored]) -> pd.DataFrame:
    """Share of test samples called each class under each condition."""
    rows = [
        {"condition": scored.table.condition.name, "class": name, "share": share}
        for scored in tables
        for name, share in zip(
            scored.table.schema.classes, scored.decisions.mean(axis=0), strict=True
        )
    ]
    return pd.DataFrame(rows)


def headline(conditions: pd.DataFrame, *, n: int) -> dict[str, Scalar]:
    """Worst condition per primary measure, and the mean delta of every corruption."""
    scalars: dict[str, Scalar] = {
        "n": n,
        "n_conditions": int(conditions["condition"].nunique()) - 1,
    }
    for metric in PRIMARY:
        every = conditions[(conditions["metric"] == metric) & (conditions["severity"] > 0)]
        deltas = every.dropna(subset=["delta"])
        if deltas.empty:
            continue
        worst = deltas.loc[deltas["delta"].idxmin()]
        scalars |= {
            f"worst_{metric}_condition": str(worst["condition"]),
            f"worst_{metric}_delta": float(worst["delta"]),
            f"worst_{metric}_delta_ci_low": float(worst["delta_low"]),
            f"worst_{metric}_delta_ci_high": float(worst["delta_high"]),
            f"mean_{metric}_delta": float(every["delta"].mean(skipna=False)),
            f"n_{metric}_significant": int((deltas["p_holm"] < 0.05).sum()),
        }
    return scalars
