"""What a whole corruption does: trend over severities, mean change, corruption error."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.audits import intervals
from medaudit.errors import DataError, listed
from medaudit.metrics import robustness
from medaudit.stats.bootstrap import mean_distribution
from medaudit.stats.trend import kendall_tau

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from medaudit.findings import Scalar
    from medaudit.stats.bootstrap import Bootstrap, BootstrapDistribution
    from medaudit.tables.scoring import Scored

ERROR = "balanced_accuracy"
MEAN = "mean"
REFERENCE_COLUMNS = ("corruption", "severity", "metric", "value")


@dataclass(frozen=True, eq=False)
class Tested:
    """One condition with all its measures on the common resamples."""

    scored: Scored
    found: Mapping[str, BootstrapDistribution]

    @property
    def is_clean(self) -> bool:
        """Whether nothing was done to the images."""
        return self.scored.table.condition.is_clean


def by_corruption(tested: Sequence[Tested]) -> dict[str, list[Tested]]:
    """Conditions of every corruption by rising severity, clean apart."""
    found: dict[str, list[Tested]] = {}
    stressed = [each for each in tested if not each.is_clean]
    for each in sorted(stressed, key=lambda t: t.scored.table.condition.severity):
        found.setdefault(each.scored.table.condition.corruption, []).append(each)
    return found


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
    tested: Sequence[Tested], metrics: Sequence[str], bootstrap: Bootstrap
) -> dict[str, Scalar]:
    """Mean change against clean over all conditions, paired, with its interval."""
    (clean,) = (each.found for each in tested if each.is_clean)
    stressed = [each.found for each in tested if not each.is_clean]
    scalars: dict[str, Scalar] = {}
    for metric in metrics if stressed else ():
        parts = [found[metric].minus(clean[metric]) for found in stressed]
        name = f"mean_{metric}_delta"
        estimate = bootstrap.interval(mean_distribution(parts))
        scalars |= intervals.with_interval(name, estimate)
    return scalars


def error_table(
    tested: Sequence[Tested],
    bootstrap: Bootstrap,
    reference: pd.DataFrame | None,
) -> pd.DataFrame:
    """Balanced error of every corruption, and beside a reference model BE and rBE, with intervals.

    The reference enters as fixed numbers: its own uncertainty is not in the intervals.
    """
    (clean,) = (each for each in tested if each.is_clean)
    found: dict[str, dict[str, BootstrapDistribution]] = {}
    for name, conditions in by_corruption(tested).items():
        errors = [error(each) for each in conditions]
        found[name] = {"balanced_error": mean_distribution(errors)}
        if reference is not None:
            found[name] |= relative_errors(errors, error(clean), reference, conditions)
    rows = []
    for name, quantities in (found | {MEAN: over_corruptions(list(found.values()))}).items():
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


def error(tested: Tested) -> BootstrapDistribution:
    """1 minus balanced accuracy."""
    found = tested.found[ERROR]
    return replace(
        found,
        measure=replace(found.measure, name="balanced_error", direction=-1),
        value=float(robustness.balanced_error(found.value)),
        replicates=robustness.balanced_error(found.replicates),
    )


def relative_errors(
    errors: Sequence[BootstrapDistribution],
    clean: BootstrapDistribution,
    reference: pd.DataFrame,
    conditions: Sequence[Tested],
) -> dict[str, BootstrapDistribution]:
    """BE and rBE of one corruption."""
    known = reference_errors(reference, conditions)
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


def reference_errors(
    reference: pd.DataFrame, conditions: Sequence[Tested]
) -> npt.NDArray[np.float64]:
    """Balanced errors of the reference model: clean, then under these conditions."""
    missing = [name for name in REFERENCE_COLUMNS if name not in reference]
    if missing:
        raise DataError(
            f"stress.reference: expected the columns of plots/stress/conditions.csv, "
            f"without {listed(missing)}"
        )
    known = reference[reference["metric"] == ERROR].set_index(["corruption", "severity"])["value"]
    asked = [("clean", 0)] + [
        (c.corruption, c.severity) for c in (each.scored.table.condition for each in conditions)
    ]
    absent = [f"{name}-{severity}" for name, severity in asked if (name, severity) not in known]
    if absent:
        raise DataError(
            f"stress.reference: no {ERROR} under {listed(absent)}; run the reference model under "
            f"the same corruptions and severities"
        )
    return robustness.balanced_error([known[each] for each in asked])
