"""Whether the model knows when it is wrong: which cases to defer, and what is left then."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from pydantic import Field, field_validator, model_validator

from medaudit.audits import intervals
from medaudit.findings import Findings, Scalar
from medaudit.metrics import selective
from medaudit.metrics.weighting import weighted_mean, weighted_ratio
from medaudit.params import Section, each_once
from medaudit.stats.proportions import wilson
from medaudit.tables import confidence, tasks
from medaudit.tables.tasks.base import Measure

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from medaudit.audits.intervals import IntervalParams
    from medaudit.stats.resample import Resamples
    from medaudit.tables.predictions import PredictionTable

CURVE_POINTS = 200
REPICKED = "threshold_repicked_on_test"
GRID = tuple(np.round(np.arange(0.5, 1.0001, 0.05), 2))


class SelectiveParams(Section):
    """Confidence scores to compare, and how many cases the model may keep."""

    section = "selective"
    scores: tuple[str, ...] = Field(tuple(confidence.CONFIDENCE_SCORES), min_length=1)
    primary: str = "max_probability"
    coverage: float = Field(0.8, gt=0, le=1)

    @field_validator("scores", "primary")
    @classmethod
    def _known(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for name in (value,) if isinstance(value, str) else value:
            confidence.get(name)
        return value if isinstance(value, str) else each_once(value)

    @model_validator(mode="after")
    def _primary_is_computed(self) -> Self:
        if self.primary not in self.scores:
            raise ValueError(
                f"expected primary to be one of scores ({', '.join(self.scores)}), "
                f"got {self.primary!r}"
            )
        return self


@dataclass(frozen=True)
class Deferrable:
    """One role's risk and confidence per sample, and truth and calls per output."""

    table: PredictionTable
    risk: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]
    positives: npt.NDArray[np.bool_]
    decisions: npt.NDArray[np.bool_]


def deferrable(table: PredictionTable, score: str) -> Deferrable:
    """Risk and confidence of every row of a table under one confidence score."""
    task = tasks.get(table.schema.task)
    stated = task.probabilities(table.logits)
    return Deferrable(
        table=table,
        risk=task.risks(stated, table.targets),
        confidence=confidence.get(score)(stated),
        positives=task.positives(table.targets, stated.shape[1]),
        decisions=task.decisions(stated),
    )


def audit(
    clean: PredictionTable, params: SelectiveParams, *, intervals_params: IntervalParams
) -> Findings:
    """Rank test cases by confidence; freeze the deferral threshold on the calibration role."""
    test_role, calibration_role = clean.role("test"), clean.role("calibration")
    resamples = intervals.resamples_of(test_role, intervals_params)
    level = intervals_params.level
    test = {name: deferrable(test_role, name) for name in params.scores}
    found = {name: intervals.replicate(measures(each), resamples) for name, each in test.items()}
    summary = pd.concat(
        [
            summary_table(each, found[params.primary], name, resamples, level=level)
            for name, each in found.items()
        ]
    ).reset_index(drop=True)
    curves = pd.concat([curve_table(each, name) for name, each in test.items()])
    thresholds = {
        name: selective.threshold_for_coverage(
            deferrable(calibration_role, name).confidence, coverage=params.coverage
        )
        for name in params.scores
    }
    deferral = pd.DataFrame(
        [deferral_row(test[name], name, thresholds[name], resamples, level) for name in test]
    )
    chosen = test[params.primary]
    series = {
        "summary": summary,
        "risk_coverage": curves.reset_index(drop=True),
        "deferral": deferral,
        "per_class": per_class_table(chosen, thresholds[params.primary]),
        "by_coverage": coverage_table(chosen),
    }
    return Findings(headline(summary, deferral, params, n=len(test_role)), series)


def measures(part: Deferrable) -> tuple[Measure, ...]:
    """AURC, excess AURC and AUGRC, all better when lower, and the risk at full coverage."""
    risk, score = part.risk, part.confidence

    return (
        Measure("aurc", partial(selective.weighted_aurc, risk, score), -1),
        Measure("excess_aurc", partial(selective.weighted_excess_aurc, risk, score), -1),
        Measure("augrc", partial(selective.weighted_augrc, risk, score), -1),
        Measure("risk", partial(weighted_mean, risk), -1),
    )


def summary_table(
    found: Mapping[str, intervals.Replicated],
    primary: Mapping[str, intervals.Replicated],
    name: str,
    resamples: Resamples,
    *,
    level: float,
) -> pd.DataFrame:
    """One row per measure of one confidence score, and its paired change against the primary."""
    rows = []
    for metric, each in found.items():
        change = intervals.paired(each, primary[metric], resamples, level=level)
        rows.append(
            {
                "score": name,
                "metric": metric,
                **intervals.columns(intervals.interval(each, resamples, level=level)),
                "delta": change.value,
                "delta_low": change.low,
                "delta_high": change.high,
            }
        )
    return pd.DataFrame(rows)


def curve_table(part: Deferrable, name: str) -> pd.DataFrame:
    """Risk-coverage curve, thinned for the chart."""
    curve = selective.risk_coverage(part.risk, part.confidence)
    frame = pd.DataFrame(
        {
            "method": name,
            "coverage": curve.coverage,
            "risk": curve.selective_risk,
            "generalised_risk": curve.generalised_risk,
        }
    )
    keep = np.unique(np.linspace(0, len(frame) - 1, CURVE_POINTS).round().astype(int))
    return frame.iloc[keep]


def kept_measures(part: Deferrable, threshold: float) -> tuple[Measure, ...]:
    """Coverage, selective risk and critical recall among the kept, as functions of weights."""
    kept = (part.confidence >= threshold).astype(np.float64)
    everyone, n_kept = np.ones_like(kept), int(kept.sum())
    found = [
        Measure("coverage", partial(weighted_ratio, kept, everyone), 0, proportion=True),
        Measure("selective_risk", partial(weighted_ratio, kept * part.risk, kept), -1, n_kept),
    ]
    if part.table.schema.critical_class is None:
        return tuple(found)
    k = part.table.schema.critical_index
    truth = part.positives[:, k].astype(np.float64)
    hits = truth * part.decisions[:, k]
    return (
        *found,
        Measure("critical_recall", partial(weighted_ratio, hits, truth), 1),
        Measure("critical_recall_kept", partial(weighted_ratio, kept * hits, kept * truth), 1),
        Measure("critical_deferred_share", partial(weighted_ratio, (1 - kept) * truth, truth), 0),
        Measure("critical_missed_share", partial(weighted_ratio, kept * (truth - hits), truth), -1),
    )


def deferral_row(
    part: Deferrable, name: str, threshold: float, resamples: Resamples, level: float
) -> dict[str, object]:
    """What the frozen threshold realises on test, each number with its interval."""
    found = intervals.replicate(kept_measures(part, threshold), resamples)
    row: dict[str, object] = {"score": name, "threshold": threshold, "n": len(part.table)}
    for metric, each in found.items():
        estimate = intervals.interval(each, resamples, level=level)
        row |= {metric: estimate.value, f"{metric}_low": estimate.low}
        row |= {f"{metric}_high": estimate.high}
    if part.table.schema.critical_class is not None:
        row["n_critical"] = int(part.positives[:, part.table.schema.critical_index].sum())
    return row


def per_class_table(part: Deferrable, threshold: float) -> pd.DataFrame:
    """Deferral rate and recall among the kept for every class.

    Wilson's intervals, which take images as independent: classes of a dozen lesions have too few
    groups for a bootstrap. `method` says so.
    """
    kept = part.confidence >= threshold
    rows = []
    for k, name in enumerate(part.table.schema.classes):
        truth = part.positives[:, k]
        hits = truth & part.decisions[:, k]
        row: dict[str, object] = {"class": name, "n": int(truth.sum())}
        shares = {
            "deferred": (int((truth & ~kept).sum()), int(truth.sum())),
            "recall": (int(hits.sum()), int(truth.sum())),
            "recall_kept": (int((hits & kept).sum()), int((truth & kept).sum())),
        }
        for share, (successes, total) in shares.items():
            found = wilson(successes, total)
            row |= {share: found.value, f"{share}_low": found.low, f"{share}_high": found.high}
        rows.append(row | {"method": "wilson"})
    return pd.DataFrame(rows)


def coverage_table(part: Deferrable) -> pd.DataFrame:
    """Risk and critical recall among the most confident share of test, over coverages.

    Thresholds are picked on test (`method`) to draw a curve; deferral is judged at the frozen one.
    """
    rows = []
    for coverage in GRID:
        threshold = selective.threshold_for_coverage(part.confidence, coverage=float(coverage))
        ones = np.ones((1, len(part.table)))
        values = {m.name: float(m.statistic(ones)[0]) for m in kept_measures(part, threshold)}
        rows.append({"asked": float(coverage), **values, "n": len(part.table), "method": REPICKED})
    return pd.DataFrame(rows)


def headline(
    summary: pd.DataFrame, deferral: pd.DataFrame, params: SelectiveParams, *, n: int
) -> dict[str, Scalar]:
    """Areas of the primary score with intervals, and the frozen deferral on test."""
    scalars: dict[str, Scalar] = {"n": n, "coverage_asked": params.coverage}
    areas = summary[summary["score"] == params.primary].set_index("metric")
    for metric in ("risk", "aurc", "excess_aurc", "augrc"):
        scalars[metric] = float(areas.loc[metric, "value"])
    scalars |= {f"aurc_ci_{end}": float(areas.loc["aurc", end]) for end in ("low", "high")}
    row = deferral[deferral["score"] == params.primary].iloc[0].to_dict()
    wanted = (
        "threshold",
        "coverage",
        "selective_risk",
        "critical_recall",
        "critical_recall_kept",
        "critical_deferred_share",
        "critical_missed_share",
    )
    return scalars | {name: float(row[name]) for name in wanted if name in row}
