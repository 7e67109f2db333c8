"""How the model changes under corruptions and shifts, with nothing re-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from medaudit.audits import degradation, intervals, reliability
from medaudit.errors import DataError, listed
from medaudit.findings import Findings, Scalar
from medaudit.params import Section
from medaudit.stats.multiplicity import holm
from medaudit.tables import measures
from medaudit.tables.conditions import Condition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medaudit.audits.degradation import Distributions
    from medaudit.stats.bootstrap import Bootstrap, BootstrapDistribution
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.scoring import Conditions, ScoredPredictions

FLOOR_REPLICATES = 500
RANKING, OVERALL_SENSITIVITY = "macro_auroc", "macro_sensitivity"


class StressParams(Section):
    """Which corruptions and shifts are applied to the test images.

    Args:
        corruptions: names in `medaudit.pixels.corruptions.CORRUPTIONS`.
        severities: levels of each.
        reference: `conditions.csv` of the stress stage of another model on the same data, the
            baseline against which corruption errors are taken; none if `null`.
    """

    section = "stress"
    corruptions: tuple[str, ...] = Field(min_length=1)
    severities: tuple[int, ...] = Field((1, 2, 3), min_length=1)
    reference: Path | None = None


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
    if params.reference is None:
        return None
    try:
        return pd.read_csv(params.reference)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(
            f"stress.reference: {params.reference} is no readable table "
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
        "trend": degradation.trend_table(conditions, primary),
        "corruption_errors": degradation.error_table(found, bootstrap, frozen.baseline),
    }
    means = degradation.mean_deltas(found, primary, bootstrap)
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
                **intervals.columns(estimate),
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
        floor = reliability.noise(
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
        worst = deltas.loc[deltas["delta"].idxmin()]
        scalars |= {
            f"worst_{metric}_condition": str(worst["condition"]),
            f"worst_{metric}_delta": float(worst["delta"]),
            f"worst_{metric}_delta_ci_low": float(worst["delta_low"]),
            f"worst_{metric}_delta_ci_high": float(worst["delta_high"]),
            f"n_{metric}_significant": int((deltas["p_holm"] < 0.05).sum()),
        }
    return scalars
