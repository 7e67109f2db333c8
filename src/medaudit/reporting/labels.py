"""Names of measures, conditions and modes as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

METRICS: Mapping[str, str] = {
    "macro_auroc": "Macro AUROC",
    "macro_auprc": "Macro AUPRC",
    "macro_f1": "Macro F1",
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "matthews_correlation": "Matthews correlation",
    "log_loss": "Log loss (NLL)",
    "brier_loss": "Brier loss",
    "ece": "ECE",
    "classwise_ece": "Class-wise ECE",
    "critical_auroc": "AUROC of {critical}",
    "critical_auprc": "AUPRC of {critical}",
    "critical_sensitivity": "Sensitivity of {critical}, frozen threshold",
    "critical_specificity": "Specificity of {critical}, frozen threshold",
    "critical_recall": "Recall of {critical}, most probable class",
    "mean_confidence": "Mean confidence",
    "majority_share": "Share called the majority class",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "aurc": "AURC",
    "excess_aurc": "Excess AURC",
    "augrc": "AUGRC",
    "risk": "Risk at full coverage",
    "selective_risk": "Selective risk",
}
SHORT: Mapping[str, str] = {
    "critical_sensitivity": "Sensitivity of {critical}",
    "critical_specificity": "Specificity of {critical}",
    "critical_recall": "Recall of {critical}",
    "majority_share": "Majority share",
}
ROLES = ("train", "tune", "calibration", "test")


def words(name: str) -> str:
    """`gaussian_blur` as `gaussian blur`."""
    return name.replace("_", " ")


def metric(name: str, critical: str | None) -> str:
    """A measure by its full name."""
    return METRICS.get(name, words(name).capitalize()).format(critical=critical)


def short(name: str, critical: str | None) -> str:
    """A measure by a name that fits an axis."""
    return SHORT[name].format(critical=critical) if name in SHORT else metric(name, critical)


def condition(name: str) -> str:
    """`gaussian_blur-2` as `gaussian blur, severity 2`."""
    corruption, _, severity = name.rpartition("-")
    return f"{words(corruption)}, severity {severity}" if corruption else words(name)
