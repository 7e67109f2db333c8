"""Every condition against clean: paired changes, trends over severities, corruption errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from medaudit.audits import calibrate
from medaudit.core.errors import DataError, listed
from medaudit.core.findings import Findings, Scalar
from medaudit.core.params import Section
from medaudit.metrics import classification
from medaudit.stats import bootstrap as bootstrap_module
from medaudit.stats.bootstrap import BootstrapDistribution, mean_distribution
from medaudit.stats.hypothesis_tests import holm, kendall_tau
from medaudit.tables import measures
from medaudit.tables.predictions import Condition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medaudit.core.arrays import Float64Array
    from medaudit.stats.bootstrap import Bootstrap
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.scoring import Conditions, ScoredPredictions

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
        scalars |= bootstrap_module.with_interval(name, estimate)
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
    known = baseline[baseline["metric"] == ERROR].set_index(["corruption", "severity"])["value"]
    asked = [("clean", 0)] + [(each.corruption, each.severity) for each in conditions]
    absent = [f"{name}-{severity}" for name, severity in asked if (name, severity) not in known]
    if absent:
        raise DataError(
            f"stress.baseline_model: no {ERROR} under {listed(absent)}; run the baseline model "
            f"under the same corruptions and severities"
        )
    return classification.balanced_error([known[each] for each in asked])


FLOOR_REPLICATES = 500
RANKING, OVERALL_SENSITIVITY = "macro_auroc", "macro_sensitivity"


class StressParams(Section):
    """Which corruptions and shifts are applied to the test images.

    Args:
        corruptions: names in `medaudit.pixels.corruptions.CORRUPTIONS`.
        severities: levels of each.
        baseline_model: `conditions.csv` of the stress stage of another model on the same data,
            against which corruption errors are taken; none if `null`.
    """

    section = "stress"
    corruptions: tuple[str, ...] = Field(min_length=1)
    severities: tuple[int, ...] = Field((1, 2, 3), min_length=1)
    baseline_model: Path | None = None


@dataclass(frozen=True, eq=False)
class FrozenStress:
    """What conditions are scored with.

    Args:
        points: thresholds frozen on clean calibration images.
        baseline: `conditions.csv` of another model, for corruption errors relative to it.
    """

    points: OperatingPoints
    baseline: pd.DataFrame | None = None


def freeze(points: OperatingPoints, params: StressParams) -> FrozenStress:
    """Thresholds as they are, and the numbers of the baseline model if one is named."""
    return FrozenStress(points, read_baseline(params))


def read_baseline(params: StressParams) -> pd.DataFrame | None:
    """The table of the baseline model, if one is named."""
    if params.baseline_model is None:
        return None
    try:
        return pd.read_csv(params.baseline_model)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(
            f"stress.baseline_model: {params.baseline_model} is no readable table "
            f"({type(error).__name__}); expected plots/stress/conditions.csv of another run"
        ) from None


def audit(
    test: Conditions, frozen: FrozenStress, params: StressParams, bootstrap: Bootstrap
) -> Findings:
    """Compare every condition with clean on the same test samples, resamples and thresholds.

    Args:
        test: predictions of the test role, clean and under every condition.
        frozen: thresholds and baseline from `freeze`.
        params: the conditions that were asked for.
        bootstrap: of the groups of the test role.

    Raises:
        DataError: a condition that was not asked for.
    """
    refuse_unasked(test, params)
    test = test.at(frozen.points)
    found = {each.condition: bootstrap.distribution(measures.measures(each)) for each in test}
    conditions = condition_table(found, bootstrap)
    primary = primary_measures(test.clean)
    series = {
        "conditions": conditions,
        "severity": severity_table(conditions, primary),
        "delta": delta_table(conditions, metric=primary[0]),
        "delta_critical": delta_table(conditions, metric=primary[1]),
        "predicted": predicted_table(test),
        "ece_floor": floor_table(test, found, seed=bootstrap.params.seed),
        "trend": trend_table(conditions, primary),
        "corruption_errors": error_table(found, bootstrap, frozen.baseline),
    }
    means = mean_deltas(found, primary, bootstrap)
    scalars = headline(conditions, primary, n=len(test.clean)) | means
    floors = series["ece_floor"]
    stressed = floors[floors["severity"] > 0]
    scalars["n_ece_above_floor"] = int((stressed["ece"] > stressed["floor_p95"]).sum())
    return Findings(scalars, series)


def primary_measures(test: ScoredPredictions) -> tuple[str, str]:
    """The measures of the headline: ranking, and sensitivity at the frozen thresholds."""
    named = test.schema.critical_class is not None
    return RANKING, "critical_sensitivity" if named else OVERALL_SENSITIVITY


def refuse_unasked(test: Conditions, params: StressParams) -> None:
    """Tables of a corruption that the parameters do not name belong to another run."""
    given = {each.condition.corruption for each in test.corrupted}
    odd = sorted(given - set(params.corruptions))
    if odd:
        raise DataError(
            f"stress.corruptions: expected predictions under {listed(params.corruptions)}, "
            f"got some under {listed(odd)}; name them, or leave these tables out"
        )


def condition_table(found: Distributions, bootstrap: Bootstrap) -> pd.DataFrame:
    """Every measure of every condition, clean first, and its paired change against clean."""
    clean = found[Condition.clean()]
    rows = [
        row
        for condition, each in found.items()
        for row in condition_rows(condition, each, clean, bootstrap)
    ]
    return adjusted(pd.DataFrame(rows))


def condition_rows(
    condition: Condition,
    measured: Mapping[str, BootstrapDistribution],
    clean: Mapping[str, BootstrapDistribution],
    bootstrap: Bootstrap,
) -> list[dict[str, object]]:
    """One row per measure of one condition: value and paired delta, both with intervals."""
    rows: list[dict[str, object]] = []
    for name, each in measured.items():
        estimate = bootstrap.interval(each)
        change = bootstrap.paired(each, clean[name])
        rows.append(
            {
                "condition": condition.name,
                "corruption": condition.corruption,
                "severity": condition.severity,
                "metric": name,
                **bootstrap_module.columns(estimate),
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


def severity_table(conditions: pd.DataFrame, primary: Sequence[str]) -> pd.DataFrame:
    """Curves over severity that start at the clean value, for the primary measures."""
    wanted = conditions[conditions["metric"].isin(primary)]
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
    columns = ["corruption", "severity", "metric", "delta", "lo", "hi", "p_holm", "n"]
    return renamed[columns].reset_index(drop=True)


def predicted_table(test: Conditions) -> pd.DataFrame:
    """Share of test samples for which each class is predicted under each condition."""
    rows = [
        {"condition": scored.condition.name, "class": name, "share": share}
        for scored in test
        for name, share in zip(scored.classes, scored.decisions.mean(axis=0), strict=True)
    ]
    return pd.DataFrame(rows)


def floor_table(test: Conditions, found: Distributions, *, seed: int) -> pd.DataFrame:
    """ECE of every condition beside what a perfectly calibrated model would show there."""
    rows = []
    for each in test:
        condition = each.condition
        floor = calibrate.noise(
            each.events,
            n_bins=measures.ECE_BINS,
            replicates=FLOOR_REPLICATES,
            seed=seed,
        ).mean(axis=0)
        rows.append(
            {
                "condition": condition.name,
                "corruption": condition.corruption,
                "severity": condition.severity,
                "ece": found[condition]["ece"].value,
                "floor_mean": float(floor.mean()),
                "floor_p95": float(np.quantile(floor, 0.95)),
            }
        )
    return pd.DataFrame(rows)


def headline(conditions: pd.DataFrame, primary: Sequence[str], *, n: int) -> dict[str, Scalar]:
    """Worst condition per primary measure."""
    scalars: dict[str, Scalar] = {
        "n": n,
        "n_conditions": int(conditions["condition"].nunique()) - 1,
    }
    for metric in primary:
        every = conditions[(conditions["metric"] == metric) & (conditions["severity"] > 0)]
        deltas = every.dropna(subset=["delta", "delta_low"])
        if deltas.empty:
            continue
        worst = deltas.iloc[int(deltas["delta"].argmin())]
        scalars |= {
            f"worst_{metric}_condition": str(worst["condition"]),
            f"worst_{metric}_delta": float(worst["delta"]),
            f"worst_{metric}_delta_ci_low": float(worst["delta_low"]),
            f"worst_{metric}_delta_ci_high": float(worst["delta_high"]),
            f"n_{metric}_significant": int((deltas["p_holm"] < 0.05).sum()),
        }
    return scalars
