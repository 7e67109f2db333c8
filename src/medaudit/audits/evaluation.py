"""How good the model is on clean test images, class by class, at frozen thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from medaudit.audits import intervals
from medaudit.findings import Findings, Scalar
from medaudit.metrics import operating, ranking
from medaudit.params import Section
from medaudit.tables import scoring
from medaudit.tables.scoring import Scored

if TYPE_CHECKING:
    from medaudit.audits.intervals import IntervalParams
    from medaudit.stats.resample import Resamples
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable

HEADLINE = (
    "macro_auroc",
    "macro_auprc",
    "macro_f1",
    "balanced_accuracy",
    "accuracy",
    "matthews_correlation",
    "critical_auroc",
)
WITH_INTERVAL = ("macro_auroc", "macro_f1", "critical_sensitivity")
CURVE_POINTS = 200


class EvaluateParams(Section):
    """Operating points and scoring of the clean test role."""

    section = "evaluate"
    specificity: float = Field(0.95, gt=0.5, lt=1)


def audit(
    clean: PredictionTable, points: OperatingPoints, *, intervals_params: IntervalParams
) -> Findings:
    """Score the test role of clean predictions.

    Args:
        clean: predictions that include the role `test`.
        points: thresholds frozen on the calibration role.
        intervals_params: replicates, level and seed of the bootstrap.
    """
    test = Scored(clean.role("test"), points)
    resamples = intervals.resamples_of(test.table, intervals_params)
    level = intervals_params.level
    found = intervals.replicate(scoring.measures(test), resamples)
    estimates = {
        name: intervals.interval(each, resamples, level=level) for name, each in found.items()
    }
    metrics = pd.DataFrame(
        [{"metric": name, **intervals.columns(e)} for name, e in estimates.items()]
    )
    series = {
        "metrics": metrics,
        "per_class": per_class_table(test, resamples, level=level),
        "confusion": test.task.confusion(
            test.probabilities, test.table.targets, test.table.schema.classes
        ),
        "roc": curve_table(test, "roc"),
        "precision_recall": curve_table(test, "precision_recall"),
        "threshold": threshold_table(test),
    }
    scalars: dict[str, Scalar] = {"n": len(test.table), "n_groups": resamples.n_groups}
    for name in HEADLINE:
        if name in estimates:
            scalars[name] = estimates[name].value
    for name in WITH_INTERVAL:
        if name in estimates:
            scalars |= intervals.with_interval(name, estimates[name])
    return Findings(scalars | critical_scalars(test, found), series)


def critical_scalars(test: Scored, found: dict[str, intervals.Replicated]) -> dict[str, Scalar]:
    """The operating point of the critical class and what it realises on test."""
    if test.table.schema.critical_class is None:
        return {}
    k = test.table.schema.critical_index
    repicked = operating.sensitivity_at_specificity(
        test.probabilities[:, k], test.positives[:, k], specificity=test.points.specificity
    )
    return {
        "critical_threshold": test.points.thresholds[k],
        "critical_specificity": found["critical_specificity"].value,
        "critical_sensitivity_repicked_on_test": repicked,
        "critical_recall": found["critical_recall"].value,
        "n_critical": int(test.positives[:, k].sum()),
    }


def per_class_table(test: Scored, resamples: Resamples, *, level: float) -> pd.DataFrame:
    """One row per class and metric, with intervals."""
    rows = []
    for k, name in enumerate(test.table.schema.classes):
        found = intervals.replicate(scoring.per_output_measures(test, k), resamples)
        for metric, each in found.items():
            estimate = intervals.interval(each, resamples, level=level)
            rows.append(
                {
                    "class": name,
                    "metric": metric,
                    **intervals.columns(estimate),
                    "threshold": test.points.thresholds[k],
                }
            )
    return pd.DataFrame(rows)


def curve_table(test: Scored, kind: str) -> pd.DataFrame:
    """ROC or precision-recall points of every class that has both outcomes, thinned for charts."""
    parts = []
    for k, name in enumerate(test.table.schema.classes):
        scores, truth = test.probabilities[:, k], test.positives[:, k]
        if truth.all() or not truth.any():
            continue
        if kind == "roc":
            curve = ranking.roc_curve(scores, truth)
            part = pd.DataFrame({"class": name, "fpr": curve.fpr, "tpr": curve.tpr})
        else:
            pr = ranking.precision_recall_curve(scores, truth)
            part = pd.DataFrame({"class": name, "recall": pr.recall, "precision": pr.precision})
        parts.append(thinned(part))
    return pd.concat(parts, ignore_index=True)


def threshold_table(test: Scored) -> pd.DataFrame:
    """Sensitivity and specificity of the critical class over thresholds, long form.

    The column `frozen` is the threshold from calibration, the same in every row.
    """
    if test.table.schema.critical_class is None:
        return pd.DataFrame(columns=["threshold", "rate", "value", "frozen"])
    k = test.table.schema.critical_index
    rates = ranking.rates_by_threshold(test.probabilities[:, k], test.positives[:, k])
    wide = pd.DataFrame(
        {
            "threshold": rates.thresholds,
            "sensitivity": rates.sensitivity,
            "specificity": rates.specificity,
        }
    )
    finite = wide[np.isfinite(wide["threshold"])]
    long = thinned(finite).melt("threshold", var_name="rate", value_name="value")
    return long.assign(frozen=test.points.thresholds[k])


def thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most `CURVE_POINTS` rows, first and last kept."""
    if len(curve) <= CURVE_POINTS:
        return curve
    keep = np.unique(np.linspace(0, len(curve) - 1, CURVE_POINTS).round().astype(int))
    return curve.iloc[keep].reset_index(drop=True)
