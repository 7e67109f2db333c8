"""Corruption errors: balanced error over severities, alone and relative to a baseline model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.core.errors import DataError, listed
from medaudit.core.findings import read_csv
from medaudit.metrics import classification
from medaudit.stats import bootstrap as bootstrap_module
from medaudit.stats.bootstrap import BootstrapDistribution, mean_distribution
from medaudit.tables.predictions import Condition

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medaudit.core.arrays import Float64Array
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
            rows.append(
                {"corruption": name, "quantity": quantity, **bootstrap_module.columns(estimate)}
            )
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
            value=float(classification.mean_over_corruptions(values)),
            replicates=classification.mean_over_corruptions(replicates),
        )
    return means


def error(measured: Mapping[str, BootstrapDistribution]) -> BootstrapDistribution:
    """1 minus balanced accuracy."""
    found = measured[ERROR]
    return replace(
        found,
        measure=replace(found.measure, name="balanced_error", direction=-1),
        value=float(classification.balanced_error(found.value)),
        replicates=classification.balanced_error(found.replicates),
    )


def relative_errors(
    errors: Sequence[BootstrapDistribution],
    clean: BootstrapDistribution,
    known: Float64Array,
) -> dict[str, BootstrapDistribution]:
    """BE and rBE of one corruption.

    Args:
        errors: of this model, by rising severity.
        clean: of this model on clean images.
        known: of the baseline model, clean and then by rising severity.
    """
    values = np.array([each.value for each in errors])
    replicates = np.stack([each.replicates for each in errors], axis=-1)
    of_value = {"clean_error": clean.value, "reference_clean_error": known[0]}
    of_replicates = {"clean_error": clean.replicates, "reference_clean_error": known[0]}
    return {
        "corruption_error": replace(
            errors[0],
            value=float(classification.corruption_error(values, known[1:])),
            replicates=classification.corruption_error(replicates, known[1:]),
        ),
        "relative_corruption_error": replace(
            errors[0],
            value=float(classification.relative_corruption_error(values, known[1:], **of_value)),
            replicates=classification.relative_corruption_error(
                replicates, known[1:], **of_replicates
            ),
        ),
    }


def baseline_errors(baseline: pd.DataFrame, conditions: Sequence[Condition]) -> Float64Array:
    """Balanced errors of the baseline model: clean, then under these conditions."""
    missing = [name for name in BASELINE_COLUMNS if name not in baseline]
    if missing:
        raise DataError(
            f"stress.baseline_model: expected the columns of plots/stress/conditions.csv, "
            f"without {listed(missing)}"
        )
    of_errors = baseline[baseline["metric"] == ERROR]
    values = pd.to_numeric(of_errors["value"], errors="coerce").astype(float)
    doubled = of_errors.duplicated(["corruption", "severity"])
    if doubled.any() or not values.between(0, 1).all():
        raise DataError(
            f"stress.baseline_model: expected one {ERROR} in [0, 1] for every condition, got "
            f"others in {int((doubled | ~values.between(0, 1)).sum())} rows; name the table that "
            f"the stress stage wrote"
        )
    known = of_errors.assign(value=values).set_index(["corruption", "severity"])["value"]
    asked = [("clean", 0)] + [(each.corruption, each.severity) for each in conditions]
    absent = [f"{name}-{severity}" for name, severity in asked if (name, severity) not in known]
    if absent:
        raise DataError(
            f"stress.baseline_model: no {ERROR} under {listed(absent)}; run the baseline model "
            f"under the same corruptions and severities"
        )
    return classification.balanced_error([known[each] for each in asked])


def read_baseline(path: Path | None) -> pd.DataFrame | None:
    """`conditions.csv` of the baseline model, if one is named."""
    if path is None:
        return None
    expected = "expected plots/stress/conditions.csv of another run"
    try:
        found = read_csv(path, mend="name another file")
        if len(found.columns):
            return found
        reason = f"{path}: empty"
    except DataError as error:
        reason = str(error)
    except OSError as error:
        reason = f"{path}: {(error.strerror or type(error).__name__).lower()}"
    raise DataError(f"stress.baseline_model is no readable table: {reason}; {expected}")
