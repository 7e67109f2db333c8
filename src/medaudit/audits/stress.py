"""Every condition against clean: paired changes judged jointly, and trends over severities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from medaudit.audits import calibrate, corruption_errors
from medaudit.audits.condition_tests import (
    CHANGED,
    KEYS,
    OF,
    RANKING,
    TESTED,
    families,
    measured,
    rates,
    verdict_table,
)
from medaudit.core.errors import DataError, listed
from medaudit.core.findings import Findings, Scalar, row_dicts
from medaudit.core.params import Section
from medaudit.stats import bootstrap as bootstrap_module
from medaudit.stats.bootstrap import BootstrapDistribution, mean_distribution
from medaudit.stats.hypothesis_tests import kendall_tau
from medaudit.stats.intervals import caution
from medaudit.tables import measures
from medaudit.tables.predictions import Condition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medaudit.audits.corruption_errors import Distributions
    from medaudit.stats.bootstrap import Bootstrap
    from medaudit.stats.intervals import Difference
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.scoring import Conditions, ScoredPredictions

FLOOR_REPLICATES = 500
VERDICTS = ("worse", "better", "undecided", "within_margin")


class StressParams(Section):
    """Which corruptions and shifts are applied to the test images.

    Args:
        corruptions: names in `medaudit.pixels.corruptions.CORRUPTIONS`.
        severities: levels of each.
        margin: harm that would not matter, in the unit of the tested measures: a condition whose
            whole interval lies below it is `within_margin`.
        baseline_model: `conditions.csv` of the stress stage of another model on the same data,
            against which corruption errors are taken; none if `null`.
    """

    section = "stress"
    corruptions: tuple[str, ...] = Field(min_length=1)
    severities: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field((1, 2, 3), min_length=1)
    margin: float = Field(0.05, gt=0, lt=1)
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
    return FrozenStress(points, corruption_errors.read_baseline(params.baseline_model))


def audit(
    test: Conditions, frozen: FrozenStress, params: StressParams, bootstrap: Bootstrap
) -> Findings:
    """Compare every condition with clean on the same test samples, resamples and thresholds.

    Sensitivity and specificity at the frozen thresholds, macro AUROC and, of one class out of
    several, accuracy are tested for harm, each in one family over all conditions; all other
    changes have an interval of their own and no test.

    Args:
        test: predictions of the test role, clean and under every condition.
        frozen: thresholds and baseline from `freeze`.
        params: the conditions that were asked for, and the margin.
        bootstrap: of the groups of the test role.

    Raises:
        DataError: a condition that was not asked for.
    """
    refuse_unasked(test, params)
    test = test.at(frozen.points)
    found = {each.condition: bootstrap.distribution(measured(each)) for each in test}
    tests = verdict_table(families(test), bootstrap.params, margin=params.margin)
    conditions = with_tests(condition_table(found, bootstrap), tests)
    primary, pair = primary_measures(test.clean), rates(test.clean)
    series = {
        "conditions": conditions,
        "severity": severity_table(conditions, primary),
        "delta": delta_table(conditions, metric=RANKING),
        "delta_critical": delta_table(conditions, metric=pair[0]),
        "delta_specificity": delta_table(conditions, metric=pair[1]),
        "predicted": predicted_table(test),
        "ece_floor": floor_table(test, found, seed=bootstrap.params.seed),
        "trend": trend_table(conditions, primary),
        "corruption_errors": corruption_errors.error_table(found, bootstrap, frozen.baseline),
    }
    scalars = headline(conditions, n=len(test.clean)) | beside_each_other(conditions, pair)
    scalars |= mean_deltas(found, primary, bootstrap)
    floors = series["ece_floor"]
    stressed = floors[floors["severity"] > 0]
    scalars["n_ece_above_floor"] = int((stressed["ece"] > stressed["floor_p95"]).sum())
    return Findings(scalars, series)


def refuse_unasked(test: Conditions, params: StressParams) -> None:
    """Tables of a corruption that the parameters do not name belong to another run."""
    given = {each.condition.corruption for each in test.corrupted}
    odd = sorted(given - set(params.corruptions))
    if odd:
        raise DataError(
            f"stress.corruptions: expected predictions under {listed(params.corruptions)}, "
            f"got some under {listed(odd)}; name them, or leave these tables out"
        )


def primary_measures(test: ScoredPredictions) -> tuple[str, str, str]:
    """The measures of curves and means: ranking, sensitivity, specificity, each of the whole."""
    kind = "macro" if test.schema.critical_class is None else "critical"
    return RANKING, f"{kind}_sensitivity", f"{kind}_specificity"


def condition_table(found: Distributions, bootstrap: Bootstrap) -> pd.DataFrame:
    """Every measure of every condition, clean first, and its paired change against clean."""
    clean = found[Condition.clean()]
    rows = [
        row
        for condition, each in found.items()
        for row in condition_rows(condition, each, clean, bootstrap)
    ]
    return pd.DataFrame(rows)


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
        metric, _, output = name.partition(OF)
        # Noise alone raises these errors, and no resample knows by how much.
        unknown = each.measure.interval_kind == "nonnegative_error"
        rows.append(
            {
                "condition": condition.name,
                "corruption": condition.corruption,
                "severity": condition.severity,
                "metric": metric,
                "output": output,
                **bootstrap_module.columns(estimate),
                "direction": each.measure.direction,
                "delta": change.value,
                "delta_low": np.nan if unknown else change.low,
                "delta_high": np.nan if unknown else change.high,
                "interval": "" if unknown else "marginal",
                "change_caution": change_caution(condition, change),
            }
        )
    return rows


def change_caution(condition: Condition, change: Difference) -> str:
    """Why a change is to be read with care; clean against itself has none."""
    return "" if condition.is_clean else caution(change)


def with_tests(conditions: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """Beside every tested change what was decided, and its interval that agrees with that."""
    joined = conditions.merge(tests, on=list(KEYS), how="left", suffixes=("", "_tested"))
    tested = joined["verdict"].fillna("") != ""
    for name in CHANGED:
        joined[name] = joined[name].where(~tested, joined[f"{name}_tested"])
    joined["change_caution"] = joined["change_caution"].where(~tested, "")
    for name in ("adjustment", "family", "verdict"):
        joined[name] = joined[name].fillna("")
    return joined[[*conditions.columns, *TESTED]]


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
    """Condition minus clean for one measure, in the columns of the delta chart.

    Of a measure of every output, the output that falls most under each condition. `n` counts the
    rows that the measure is of: positives for a sensitivity, negatives for a specificity.
    """
    chosen = conditions[(conditions["metric"] == metric) & (conditions["severity"] > 0)]
    lowest = chosen.sort_values("delta", kind="stable").drop_duplicates("condition").sort_index()
    renamed = lowest.rename(columns={"delta_low": "lo", "delta_high": "hi"})
    renamed["n"] = renamed["n_positive"].fillna(renamed["n"]).astype(int)
    columns = ["corruption", "severity", "metric", "output", "delta", "lo", "hi"]
    return renamed[[*columns, "p_adjusted", "verdict", "n"]].reset_index(drop=True)


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


def trend_table(conditions: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Kendall's tau of each metric with severity, clean being severity 0.

    A description without a p-value: four severities in perfect order reach .083 at best.
    """
    rows = []
    for metric in metrics:
        part = conditions[conditions["metric"] == metric]
        clean = part[part["severity"] == 0]
        for name, curve in part[part["severity"] > 0].groupby("corruption", sort=False):
            whole = pd.concat([clean, curve])
            tau = kendall_tau(whole["severity"], whole["value"]).tau
            rows.append(
                {"corruption": name, "metric": metric, "tau": tau, "n_severities": len(whole)}
            )
    return pd.DataFrame(rows)


def mean_deltas(
    found: Distributions, metrics: Sequence[str], bootstrap: Bootstrap
) -> dict[str, Scalar]:
    """Mean change against clean over all conditions, paired, with its own interval, no test."""
    clean = found[Condition.clean()]
    stressed = [each for condition, each in found.items() if not condition.is_clean]
    scalars: dict[str, Scalar] = {}
    for metric in metrics if stressed else ():
        parts = [each[metric].minus(clean[metric]) for each in stressed]
        name = f"mean_{metric}_delta"
        estimate = bootstrap.interval(mean_distribution(parts))
        scalars |= bootstrap_module.with_interval(name, estimate)
    return scalars


def headline(conditions: pd.DataFrame, *, n: int) -> dict[str, Scalar]:
    """Per tested measure its worst condition, and of how many conditions what is shown."""
    scalars: dict[str, Scalar] = {
        "n": n,
        "n_conditions": int(conditions["condition"].nunique()) - 1,
    }
    for metric, worst in worst_conditions(conditions).items():
        name = f"worst_{metric}"
        scalars |= {
            f"{name}_condition": str(worst["condition"]),
            f"{name}_verdict": str(worst["verdict"]),
            **level_and_change(name, worst, level=f"{name}_value"),
        }
        if worst["output"]:
            scalars[f"{name}_output"] = str(worst["output"])
        verdicts = conditions.loc[conditions["metric"] == metric, "verdict"].tolist()
        scalars |= {f"n_{metric}_{each}": verdicts.count(each) for each in VERDICTS}
    return scalars


def worst_conditions(conditions: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The row of every tested measure in which it falls most."""
    tested = conditions[conditions["verdict"] != ""].sort_values("delta", kind="stable")
    return {str(row["metric"]): row for row in row_dicts(tested.drop_duplicates("metric"))}


def beside_each_other(conditions: pd.DataFrame, pair: tuple[str, str]) -> dict[str, Scalar]:
    """Under the worst condition of sensitivity its specificity, and the other way round.

    `false_alarms_per_100`: of 100 cases without the class.
    """
    rows = conditions.set_index(list(KEYS))
    worst = worst_conditions(conditions)
    scalars: dict[str, Scalar] = {}
    for metric, other in (pair, pair[::-1]):
        if metric not in worst:
            continue
        condition, output = worst[metric]["condition"], worst[metric]["output"]
        there = row_dicts(rows.loc[[(condition, other, output)]])[0]
        specificity = worst[metric] if metric == pair[1] else there
        name, beside = f"worst_{metric}", other.removeprefix("critical_")
        scalars |= level_and_change(f"{name}_{beside}", there, level=f"{name}_{beside}")
        alarms, low, high = (100 * (1 - specificity[end]) for end in ("value", "high", "low"))
        scalars |= with_ends(f"{name}_false_alarms_per_100", alarms, low, high)
    return scalars


def level_and_change(name: str, row: Mapping[str, Any], *, level: str) -> dict[str, Scalar]:
    """Of one condition the measure itself and its change against clean, both with their ends."""
    return {
        **with_ends(level, row["value"], row["low"], row["high"]),
        **with_ends(f"{name}_delta", row["delta"], row["delta_low"], row["delta_high"]),
    }


def with_ends(name: str, value: float, low: float, high: float) -> dict[str, Scalar]:
    """A number of a table as three headline scalars."""
    return {name: float(value), f"{name}_ci_low": float(low), f"{name}_ci_high": float(high)}
