"""Metrics with intervals, and the pure array mathematics behind them.

`medaudit.metrics.<name>(targets, predictions, groups=...)` gives an `Estimate`: value, low, high,
n, n_groups, n_positive, method. See `IntervalOptions` for the keywords of all.

In the modules, a function `weighted_x(..., weights)` takes non-negative weights of shape
(replicates, n), usually the counts of a bootstrap, and returns one value a replicate. The plain
`x(...)` there is the same code with every weight 1. An undefined value is NaN, never 0.
"""

from medaudit.metrics.estimates import (
    accuracy,
    auroc,
    auroc_difference,
    average_precision,
    balanced_accuracy,
    f1,
    macro_auroc,
    macro_f1,
    matthews_correlation,
    npv,
    ppv,
    precision,
    prevalence_auroc,
    recall,
    sensitivity,
    sensitivity_at_specificity,
    specificity,
)
from medaudit.metrics.inputs import IntervalOptions
from medaudit.metrics.probability_estimates import (
    CalibrationLine,
    augrc,
    aurc,
    balanced_augrc,
    balanced_aurc,
    balanced_risk_at_coverage,
    brier_decomposition,
    brier_loss,
    brier_skill_score,
    classwise_ece,
    coverage_at_balanced_risk,
    coverage_at_risk,
    cox,
    debiased_ece,
    ece,
    ece_noise_floor,
    excess_aurc,
    log_loss,
    mce,
    risk_at_coverage,
    smooth_ece,
    spiegelhalter,
)
from medaudit.metrics.selective import risk_coverage
from medaudit.metrics.selective_balanced import balanced_risk_coverage
from medaudit.stats.intervals import Difference, Estimate

__all__ = [
    "CalibrationLine",
    "Difference",
    "Estimate",
    "IntervalOptions",
    "accuracy",
    "augrc",
    "aurc",
    "auroc",
    "auroc_difference",
    "average_precision",
    "balanced_accuracy",
    "balanced_augrc",
    "balanced_aurc",
    "balanced_risk_at_coverage",
    "balanced_risk_coverage",
    "brier_decomposition",
    "brier_loss",
    "brier_skill_score",
    "classwise_ece",
    "coverage_at_balanced_risk",
    "coverage_at_risk",
    "cox",
    "debiased_ece",
    "ece",
    "ece_noise_floor",
    "excess_aurc",
    "f1",
    "log_loss",
    "macro_auroc",
    "macro_f1",
    "matthews_correlation",
    "mce",
    "npv",
    "ppv",
    "precision",
    "prevalence_auroc",
    "recall",
    "risk_at_coverage",
    "risk_coverage",
    "sensitivity",
    "sensitivity_at_specificity",
    "smooth_ece",
    "specificity",
    "spiegelhalter",
]
