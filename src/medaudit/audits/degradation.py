"""What a whole corruption does: trend over severities, mean change, corruption error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.audits import intervals
from medaudit.errors import DataError, listed
from medaudit.metrics import robustness
from medaudit.stats.bootstrap import BootstrapDistribution, mean_distribution
from medaudit.stats.trend import kendall_tau
from medaudit.tables.conditions import Condition

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from medaudit.findings import Scalar
    from medaudit.stats.bootstrap import Bootstrap

ERROR = "balanced_accuracy"
MEAN = "mean"
BASELINE_COLUMNS = ("corruption", "severity", "metric", "value")


Distributions = Mapping[Condition, Mapping[str, BootstrapDistribution]]
"""Of every condition, clean first, the measures on the common resamples."""


def by_corruption(found: Distributions) -> dict[str, list[Condition]]:
    """Conditions of every corruption by rising severity, clean apart."""
    groups: dict[str, list[Condition]] = {}
    for each in sorted(found, key=lambda condition: condition.severity):
        if not each.is_clean:
            groups.setdefault(each.corruption, []).append(each)
    return groups


def trend_table(conditions: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Kendall's tau of each metric with severity, clean being severity 0.

    `n` severities can reach a p-value of 2/n! at best, which stands beside it.
    """
    rows = []
    for metric in metrics:
        part = conditions[conditions["metric"] == metric]
        clean = part[part["severity"] == 0]
        for name, curve in part[part["severity"] > 0].groupby("corruption", sort=False):
            whole = pd.concat([clean, curve])
            found = kendall_tau(whole["severity"], whole["value"])
            rows.append(
                {
                    "corruption": name,
                    "metric": metric,
                    "tau": found.tau,
                    "p_value": found.p_value,
                    "n_severities": len(whole),
                    "least_p_value": min(1.0, 2 / math.factorial(len(whole))),
                }
            )
    return pd.DataFrame(rows)


def mean_deltas(
    found: Distributions, metrics: Sequence[str], bootstrap: Bootstrap
) -> dict[str, Scalar]:
    """Mean change against clean over all conditions, paired, with its interval."""
    clean = found[Condition.clean()]
    stressed = [each for condition, each in found.items() if not condition.is_clean]
    scalars: dict[str, Scalar] = {}
    for metric in metrics if stressed else ():
        parts = [each[metric].minus(clean[metric]) for each in stressed]
        name = f"mean_{metric}_delta"
        estimate = bootstrap.interval(mean_distribution(parts))
        scalars |= intervals.with_interval(name, estimate)
    return scalars


def error_table(
    found: Distributions, bootstrap: Bootstrap, baseline: pd.DataFrame | None
) -> pd.DataFrame:
    """Balanced error of every corruption, and beside a baseline model BE and rBE, with intervals.

    The baseline enters as fixed numbers: its own uncertainty is not in the intervals.
    """
    clean = error(found[Condition.clean()])
    tables: dict[str, dict[str, BootstrapDistribution]] = {}
    for name, conditions in by_corruption(found).items():
        errors = [error(found[each]) for each in conditions]
        tables[name] = {"balanced_error": mean_distribution(errors)}
        if baseline is not None:
            tables[name] |= relative_errors(errors, clean, baseline_errors(baseline, conditions))
    rows = []
    for name, quantities in (tables | {MEAN: over_corruptions(list(tables.values()))}).items():
        for quantity, each in quantities.items():
            estimate = bootstrap.interval(each)
            rows.append({"corruption": name, "quantity": quantity, **intervals.columns(estimate)})
    return pd.DataFrame(rows)


def over_corruptions(
    found: Sequence[Mapping[str, BootstrapDistribution]],
) -> dict[str, BootstrapDistribution]:
    """The mean of every quantity over the corruptions: mCE of the corruption errors."""
    means: dict[str, BootstrapDistribution] = {}
    for quantity in found[0] if found else ():
        parts = [each[quantity] for each in found]
        values = np.array([part.value for part in parts])
        replicates = np.stack([part.replicates for part in parts], axis=-1)
        means[quantity] = replace(
            parts[0],
            value=float(robustness.mean_over_corruptions(values)),
            replicates=robustness.mean_over_corruptions(replicates),
        )
    return means


def error(measured: Mapping[str, BootstrapDistribution]) -> BootstrapDistribution:
    """1 minus balanced accuracy."""
    found = measured[ERROR]
    return replace(
        found,
        measure=replace(found.measure, name="balanced_error", direction=-1),
        value=float(robustness.balanced_error(found.value)),
        replicates=robustness.balanced_error(found.replicates),
    )


def relative_errors(
    errors: Sequence[BootstrapDistribution],
    clean: BootstrapDistribution,
    known: npt.NDArray[np.float64],
) -> dict[str, BootstrapDistribution]:
    """BE and rBE of one corruption.

    Args:
        errors: of this model, by rising severity.
        clean: of this model on clean images.
        known: of the baseline model, clean and then by rising severity.
    """
    values = np.array([each.value for each in errors])
    replicates = np.stack([each.replicates for each in errors], axis=-1)
    both = {"clean_error": clean.value, "reference_clean_error": known[0]}
    drawn = {"clean_error": clean.replicates, "reference_clean_error": known[0]}
    return {
        "corruption_error": replace(
            errors[0],
            value=float(robustness.corruption_error(values, known[1:])),
            replicates=robustness.corruption_error(replicates, known[1:]),
        ),
        "relative_corruption_error": replace(
            errors[0],
            value=float(robustness.relative_corruption_error(values, known[1:], **both)),
            replicates=robustness.relative_corruption_error(replicates, known[1:], **drawn),
        ),
    }


def baseline_errors(
    baseline: pd.DataFrame, conditions: Sequence[Condition]
) -> npt.NDArray[np.float64]:
    """Balanced errors of the baseline model: clean, then under these conditions."""
    missing = [name for name in BASELINE_COLUMNS if name not in baseline]
    if missing:
        raise DataError(
            f"stress.reference: expected the columns of plots/stress/conditions.csv, "
            f"without {listed(missing)}"
        )
    known = baseline[baseline["metric"] == ERROR].set_index(["corruption", "severity"])["value"]
    asked = [("clean", 0)] + [(each.corruption, each.severity) for each in conditions]
    absent = [f"{name}-{severity}" for name, severity in asked if (name, severity) not in known]
    if absent:
        raise DataError(
            f"stress.reference: no {ERROR} under {listed(absent)}; run the baseline model under "
            f"the same corruptions and severities"
        )
    return robustness.balanced_error([known[each] for each in asked])
