"""How good the model is on clean test images, class by class, at frozen thresholds."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from medaudit.core.errors import listed
from medaudit.core.findings import Findings, Scalar
from medaudit.core.params import Section
from medaudit.metrics import operating, ranking
from medaudit.stats import bootstrap as bootstrap_module
from medaudit.stats.bootstrap import Measure
from medaudit.stats.delong import auroc_interval, clustered_auroc_interval
from medaudit.tables import measures, operating_points

if TYPE_CHECKING:
    from medaudit.stats.bootstrap import Bootstrap
    from medaudit.stats.intervals import Estimate
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable
    from medaudit.tables.scoring import ScoredPredictions

HEADLINE = (
    "macro_auroc",
    "macro_auprc",
    "macro_f1",
    "balanced_accuracy",
    "accuracy",
    "exact_match",
    "macro_sensitivity",
    "critical_auroc",
    "critical_sensitivity",
    "critical_specificity",
    "critical_recall",
)
REPICKED = "critical_sensitivity_repicked_on_test"
CURVE_POINTS = 200

log = logging.getLogger(__name__)


class EvaluateParams(Section):
    """Operating points and scoring of the clean test role.

    Args:
        specificity: at which thresholds are frozen on the calibration role.
        assurance: one-sided Clopper-Pearson level at which that specificity is promised for new
            samples; `null` freezes the threshold that reaches it on the calibration sample.
    """

    section = "evaluate"
    specificity: float = Field(0.95, gt=0.5, lt=1)
    assurance: float | None = Field(None, gt=0.5, lt=1)


def freeze(calibration: PredictionTable, params: EvaluateParams) -> OperatingPoints:
    """Thresholds of all outputs, chosen on the calibration role."""
    return operating_points.choose(
        calibration, specificity=params.specificity, assurance=params.assurance
    )


def audit(
    test: ScoredPredictions, frozen: OperatingPoints, params: EvaluateParams, bootstrap: Bootstrap
) -> Findings:
    """Score the clean test role at the frozen thresholds.

    Args:
        test: clean predictions of the test role.
        frozen: thresholds from `freeze`.
        params: the specificity at which a threshold is picked anew for comparison.
        bootstrap: of the groups of the test role.
    """
    test = test.at(frozen)
    warn_of_absent(test)
    found = bootstrap.distribution((*measures.measures(test), *repicked(test, params)))
    estimates = {name: bootstrap.interval(each) for name, each in found.items()}
    metrics = pd.DataFrame(
        [{"metric": name, **bootstrap_module.columns(e)} for name, e in estimates.items()]
    )
    series = {
        "metrics": metrics,
        "per_class": per_class_table(test, bootstrap),
        "confusion": test.task.confusion(test),
        "roc": curve_table(test, "roc"),
        "precision_recall": curve_table(test, "precision_recall"),
        "threshold": threshold_table(test),
    }
    scalars: dict[str, Scalar] = {"n": len(test), "n_groups": bootstrap.n_groups}
    for name in (*HEADLINE, REPICKED):
        if name in estimates:
            scalars |= bootstrap_module.with_interval(name, estimates[name])
    return Findings(scalars | operating_scalars(test), series)


def warn_of_absent(test: ScoredPredictions) -> None:
    """Say which outputs have no metric because the test role lacks positives or negatives."""
    if test.left_out:
        log.warning(
            "test role: %s lack positives or negatives; their metrics are undefined, and macro "
            "means are over the other %d",
            listed(test.left_out, limit=20),
            len(test.in_means),
        )


def repicked(test: ScoredPredictions, params: EvaluateParams) -> tuple[Measure, ...]:
    """The critical sensitivity that papers quote, at a threshold picked on the test role itself."""
    if test.schema.critical_class is None:
        return ()
    k = test.schema.critical_index
    truth = test.positives[:, k]
    statistic = partial(
        operating.weighted_sensitivity_at_specificity,
        test.probabilities[:, k],
        truth,
        specificity=params.specificity,
    )
    return (Measure(REPICKED, statistic, 1, denominator=truth, interval_kind="proportion"),)


def operating_scalars(test: ScoredPredictions) -> dict[str, Scalar]:
    """What macro means cover, and the frozen threshold of the critical class."""
    scalars: dict[str, Scalar] = {"n_outputs_in_means": len(test.in_means)}
    if test.schema.critical_class is None:
        return scalars
    k = test.schema.critical_index
    return scalars | {
        "critical_threshold": float(test.thresholds[k]),
        "n_critical": int(test.positives[:, k].sum()),
    }


def per_class_table(test: ScoredPredictions, bootstrap: Bootstrap) -> pd.DataFrame:
    """One row per class and metric, with intervals, prevalence and threshold."""
    rows = []
    for k, name in enumerate(test.schema.classes):
        found = bootstrap.distribution(measures.per_output_measures(test, k))
        estimates = {metric: bootstrap.interval(each) for metric, each in found.items()}
        for metric, estimate in (estimates | delong(test, k, bootstrap)).items():
            rows.append(
                {
                    "class": name,
                    "metric": metric,
                    **bootstrap_module.columns(estimate),
                    "prevalence": float(test.positives[:, k].mean()),
                    "threshold": float(test.thresholds[k]),
                }
            )
    return pd.DataFrame(rows)


def delong(test: ScoredPredictions, k: int, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """DeLong's interval of the AUROC beside the bootstrap, of groups where these hold several."""
    scores, truth, level = test.probabilities[:, k], test.positives[:, k], bootstrap.params.level
    if bootstrap.n_groups < bootstrap.n:
        found = clustered_auroc_interval(scores, truth, test.group_ids, level=level)
        return {"auroc_clustered": found}
    found = auroc_interval(scores, truth, level=level)
    rarer = min(int(truth.sum()), int((~truth).sum()))
    return {"auroc_delong": replace(found, n_positive_groups=rarer)}


def curve_table(test: ScoredPredictions, kind: str) -> pd.DataFrame:
    """ROC or precision-recall points of every class that has both outcomes, thinned for charts."""
    parts = []
    for k, name in enumerate(test.schema.classes):
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
    axes = ["fpr", "tpr"] if kind == "roc" else ["recall", "precision"]
    empty = pd.DataFrame(columns=["class", *axes])
    return pd.concat(parts, ignore_index=True) if parts else empty


def threshold_table(test: ScoredPredictions) -> pd.DataFrame:
    """Sensitivity and specificity of the critical class over thresholds, long form.

    The column `frozen` is the threshold from calibration, the same in every row.
    """
    if test.schema.critical_class is None:
        return pd.DataFrame(columns=["threshold", "rate", "value", "frozen"])
    k = test.schema.critical_index
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
    return long.assign(frozen=float(test.thresholds[k]))


def thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most `CURVE_POINTS` rows, first and last kept."""
    if len(curve) <= CURVE_POINTS:
        return curve
    keep = np.unique(np.linspace(0, len(curve) - 1, CURVE_POINTS).round().astype(int))
    return curve.iloc[keep].reset_index(drop=True)
