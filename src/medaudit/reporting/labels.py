"""Names of measures, conditions and modes as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

METRICS: Mapping[str, str] = {
    "macro_auroc": "Macro AUROC",
    "macro_auprc": "Macro AUPRC",
    "macro_f1": "Macro F1",
    "macro_sensitivity": "Macro sensitivity, frozen thresholds",
    "macro_specificity": "Macro specificity, frozen thresholds",
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "exact_match": "Exact match (no label wrong)",
    "matthews_correlation": "Matthews correlation",
    "log_loss": "Log loss (NLL)",
    "brier_loss": "Brier loss",
    "brier_skill_score": "Brier skill score",
    "brier_reliability": "Brier reliability (0 is ideal)",
    "brier_resolution": "Brier resolution (higher is better)",
    "ece": "ECE",
    "ece_debiased": "ECE, debiased",
    "ece_smooth": "ECE, smooth",
    "mce": "Largest bin error (MCE)",
    "classwise_ece": "Class-wise ECE",
    "cox_slope": "Cox slope",
    "cox_intercept": "Cox intercept",
    "spiegelhalter_z": "Spiegelhalter z",
    "critical_auroc": "AUROC of {critical}",
    "critical_auprc": "AUPRC of {critical}",
    "critical_sensitivity": "Sensitivity of {critical}, frozen threshold",
    "critical_sensitivity_repicked_on_test": "Sensitivity of {critical}, picked on test",
    "critical_specificity": "Specificity of {critical}, frozen threshold",
    "critical_recall": "Recall of {critical}, as called",
    "mean_confidence": "Mean confidence",
    "majority_share": "Share called the most frequent",
    "auroc": "AUROC",
    "auroc_delong": "AUROC, DeLong interval",
    "auprc": "AUPRC",
    "f1": "F1",
    "ppv": "PPV, frozen threshold",
    "npv": "NPV, frozen threshold",
    "aurc": "AURC",
    "excess_aurc": "Excess AURC",
    "augrc": "AUGRC",
    "failure_augrc": "AUGRC of failures (0 or 1)",
    "balanced_aurc": "Class-balanced AURC",
    "risk": "Risk at full coverage",
    "risk_at_coverage": "Risk at coverage {coverage:g}",
    "coverage_at_risk": "Coverage at risk {risk:g}",
    "selective_risk": "Selective risk",
}
SHORT: Mapping[str, str] = {
    "macro_sensitivity": "Macro sensitivity",
    "macro_specificity": "Macro specificity",
    "exact_match": "Exact match",
    "critical_sensitivity": "Sensitivity of {critical}",
    "critical_specificity": "Specificity of {critical}",
    "critical_recall": "Recall of {critical}",
    "majority_share": "Most frequent called",
}
EVENTS: Mapping[str, str] = {"top_label": "called class", "mean": "mean"}
ROLES = ("train", "tune", "calibration", "test")


def words(name: str) -> str:
    """`gaussian_blur` as `gaussian blur`."""
    return name.replace("_", " ")


def metric(name: str, critical: str | None = None, *, coverage: float = 0, risk: float = 0) -> str:
    """A measure by its full name; `coverage` or `risk` is where it is read."""
    known = METRICS.get(name, words(name).capitalize())
    return known.format(critical=critical, coverage=coverage, risk=risk)


def event(name: str) -> str:
    """What a probability is about: the called class, or a label by its own name."""
    return EVENTS.get(name, name)


def short(name: str, critical: str | None) -> str:
    """A measure by a name that fits an axis."""
    return SHORT[name].format(critical=critical) if name in SHORT else metric(name, critical)


def condition(name: str) -> str:
    """`gaussian_blur-2` as `gaussian blur, severity 2`."""
    corruption, _, severity = name.rpartition("-")
    return f"{words(corruption)}, severity {severity}" if corruption else words(name)
