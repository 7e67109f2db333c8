"""Reliability of stated probabilities, event by event, with what noise alone would show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from medaudit.core.findings import Findings, Scalar, row_dicts
from medaudit.core.params import LARGEST_SEED, Section, each_once
from medaudit.metrics import calibration, calibration_curves, proper
from medaudit.stats import bootstrap as bootstrap_module
from medaudit.stats.bootstrap import Measure, mean_distribution, positives_and_negatives
from medaudit.stats.intervals import point
from medaudit.tables import calibrators, measures, tasks
from medaudit.tables.operating_points import FOLD, without_each_fold
from medaudit.tables.scoring import ScoredPredictions
from medaudit.tables.tasks.base import Events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike

    from medaudit.core.arrays import BoolArray, Float64Array
    from medaudit.metrics.calibration import Binning
    from medaudit.stats.bootstrap import Bootstrap, BootstrapDistribution
    from medaudit.stats.intervals import Statistic
    from medaudit.tables.calibrators import Calibrator, Calibrators
    from medaudit.tables.predictions import PredictionTable

MEAN = "mean"
ECE = "ece"
ERRORS = ("ece_debiased", "ece_smooth", "mce")
SWEEP = (5, 10, 15, 20, 30, 50, 100)
SWEEP_REPLICATES = 100


@dataclass(frozen=True, eq=False)
class Reliability:
    """The prevalence of each event, the measures of each event, and those of the whole."""

    prevalence: Mapping[str, float]
    events: Mapping[str, Mapping[str, BootstrapDistribution]]
    whole: Mapping[str, BootstrapDistribution]


def with_calibrator(test: ScoredPredictions, calibrator: Calibrator) -> ScoredPredictions:
    """The same predictions with calibrated logits; thresholds do not apply to these."""
    logits = calibrator.apply(test.table.logits)
    return ScoredPredictions(replace(test.table, logits=logits), averaged=test.in_means)


def one_versus_rest(scored: ScoredPredictions, *, binning: Binning) -> tuple[Events, ...]:
    """Every output as an event of its own."""
    return tuple(
        Events(name, scored.probabilities[:, k], scored.positives[:, k], binning=binning)
        for k, name in enumerate(scored.classes)
    )


def watched(scored: ScoredPredictions) -> tuple[Events, ...]:
    """The events of the task, and the critical class by itself."""
    own = {event.name for event in scored.events}
    critical = [
        event
        for event in one_versus_rest(scored, binning="equal_mass")
        if event.name == scored.schema.critical_class and event.name not in own
    ]
    return (*scored.events, *critical)


def replicate(scored: ScoredPredictions, bootstrap: Bootstrap, *, n_bins: int) -> Reliability:
    """Every measure of every event, and what is asked of the prediction as a whole."""
    events = {
        event.name: bootstrap.distribution(event_measures(event, n_bins=n_bins))
        for event in watched(scored)
    }
    own = [events[event.name] for event in scored.events]
    averaged = {name: mean_distribution([found[name] for found in own]) for name in (ECE, *ERRORS)}
    classwise = one_versus_rest(scored, binning="equal_width")
    others = (
        measures.ece_measure(classwise, n_bins=n_bins, name="classwise_ece"),
        *scored.task.losses(scored),
    )
    prevalence = {event.name: float(event.outcome.mean()) for event in watched(scored)}
    return Reliability(prevalence, events, averaged | bootstrap.distribution(others))


def error_estimators(n_bins: int) -> tuple[tuple[str, Callable[[Events], Statistic]], ...]:
    """Estimators of calibration error beside the binned one: name and statistic."""

    def debiased(event: Events) -> Statistic:
        return partial(
            calibration.weighted_debiased_ece,
            event.probability,
            event.outcome,
            n_bins=n_bins,
        )

    def smooth(event: Events) -> Statistic:
        return partial(calibration_curves.weighted_smooth_ece, event.probability, event.outcome)

    def largest(event: Events) -> Statistic:
        return partial(
            calibration.weighted_mce,
            event.probability,
            event.outcome,
            n_bins=n_bins,
            binning=event.binning,
        )

    statistics = (debiased, smooth, largest)
    return tuple(zip(ERRORS, statistics, strict=True))


def brier_skill(event: Events) -> Statistic:
    """Brier skill of one event against its prevalence."""
    return partial(proper.weighted_brier_skill_score, event.probability, event.outcome)


def event_measures(event: Events, *, n_bins: int) -> tuple[Measure, ...]:
    """All that is asked of one event; slope 1 and intercept 0 are ideal."""
    probability, outcome = event.probability, event.outcome
    cox = partial(calibration_curves.weighted_cox, probability, outcome)
    parts = partial(
        proper.weighted_brier_decomposition,
        probability,
        outcome,
        n_bins=n_bins,
        binning=event.binning,
    )
    sides = positives_and_negatives(outcome)
    line = partial(Measure, direction=0, denominator=outcome, required_outcomes=sides)
    return (
        measures.ece_measure([event], n_bins=n_bins),
        *(
            Measure(name, statistic(event), -1, interval_kind="nonnegative_error")
            for name, statistic in error_estimators(n_bins)
        ),
        Measure("brier_skill_score", brier_skill(event), 1, required_outcomes=sides),
        _raised_by_noise("brier_reliability", lambda w: parts(w).reliability, -1, sides),
        _raised_by_noise("brier_resolution", lambda w: parts(w).resolution, 1, sides),
        line("cox_slope", lambda w: cox(w).slope),
        line("cox_intercept", lambda w: cox(w).intercept),
        Measure(
            "spiegelhalter_z",
            partial(calibration_curves.weighted_spiegelhalter_z, probability, outcome),
            0,
        ),
    )


def _raised_by_noise(
    name: str, statistic: Statistic, direction: int, required: BoolArray
) -> Measure:
    """A part of the Brier loss in bins: of squares, so that noise raises it as it does an ECE."""
    return Measure(
        name,
        statistic,
        direction,
        required_outcomes=required,
        interval_kind="nonnegative_error",
    )


def event_table(found: Mapping[str, Reliability], bootstrap: Bootstrap) -> pd.DataFrame:
    """One row per calibrator, event and measure, with intervals and the event's prevalence."""
    rows = []
    for name, each in found.items():
        for event, values in each.events.items():
            rows += [
                {
                    "calibrator": name,
                    "event": event,
                    "metric": metric,
                    **bootstrap_module.columns(bootstrap.interval(value)),
                    "prevalence": each.prevalence[event],
                }
                for metric, value in values.items()
            ]
    return pd.DataFrame(rows)


def bin_table(scored: ScoredPredictions, *, n_bins: int) -> pd.DataFrame:
    """Reliability bins of every event, in the columns of the reliability chart."""
    parts = []
    for event in watched(scored):
        bins = calibration.reliability_bins(
            event.probability, event.outcome, n_bins=n_bins, binning=event.binning
        )
        parts.append(
            pd.DataFrame(
                {
                    "event": event.name,
                    "bin_lo": bins.lo,
                    "bin_hi": bins.hi,
                    "confidence": bins.mean_confidence,
                    "accuracy": bins.frequency,
                    "count": bins.count,
                }
            )
        )
    return pd.concat(parts)


def sweep_table(calibrated: Mapping[str, ScoredPredictions], *, seed: int) -> pd.DataFrame:
    """ECE over numbers of bins, beside its floor: an error that follows the floor is noise."""
    rows = []
    for name, each in calibrated.items():
        for n_bins in SWEEP:
            measure = measures.ece_measure(each.events, n_bins=n_bins)
            floor = noise(each.events, n_bins=n_bins, replicates=SWEEP_REPLICATES, seed=seed)
            rows.append(
                {
                    "calibrator": name,
                    "n_bins": n_bins,
                    "ece": point(measure.statistic, len(each)),
                    "floor_mean": float(floor.mean()),
                }
            )
    return pd.DataFrame(rows)


def floor_table(
    scored: ScoredPredictions, *, n_bins: int, replicates: int, seed: int
) -> pd.DataFrame:
    """ECE beside that of a perfectly calibrated model with the same probabilities.

    One row per event of the task, and one for the mean over them. `p_value` is the share of
    calibrated outcomes with an ECE at least as large, where outcomes are drawn independently;
    `p_value_grouped` where those of a group are drawn together, the most dependence there can be.
    Events are drawn independently of each other.
    """
    observed = [
        point(measures.ece_measure([event], n_bins=n_bins).statistic, len(scored))
        for event in scored.events
    ]
    drawing = partial(noise, scored.events, n_bins=n_bins, replicates=replicates, seed=seed)
    alone, together = (
        _with_mean(observed, drawing(groups=groups)) for groups in (None, scored.group_ids)
    )
    names = [*(event.name for event in scored.events), MEAN]
    return pd.DataFrame(
        [
            {
                "event": name,
                "ece": one.ece,
                "mean": one.floor.mean,
                "p95": one.floor.p95,
                "p_value": one.p_value,
                "p_value_grouped": other.p_value,
            }
            for name, one, other in zip(names, alone, together, strict=True)
        ]
    )


def _with_mean(observed: Sequence[float], drawn: Float64Array) -> list[calibration.Consistency]:
    """Consistency of every event, and of the mean over them."""
    values, draws = [*observed, float(np.mean(observed))], [*drawn, drawn.mean(axis=0)]
    return [calibration.consistency(*each) for each in zip(values, draws, strict=True)]


def noise(
    events: Sequence[Events],
    *,
    n_bins: int,
    replicates: int,
    seed: int,
    groups: ArrayLike | None = None,
) -> Float64Array:
    """ECE of every event when outcomes are drawn from the probabilities, (events, replicates)."""
    return np.stack(
        [
            calibration.ece_under_calibration(
                event.probability,
                n_bins=n_bins,
                replicates=replicates,
                seed=seed + k,
                binning=event.binning,
                groups=groups,
            )
            for k, event in enumerate(events)
        ]
    )


BASELINE = "identity"
REPORTED = ("ece", "ece_smooth", "classwise_ece", "brier_loss", "brier_skill_score", "log_loss")
COMPARED = "log_loss"


class CalibrateParams(Section):
    """Calibrators to fit and how reliability is binned."""

    section = "calibrate"
    methods: tuple[str, ...] = Field((BASELINE, "temperature"), min_length=1)
    bins: int = Field(15, ge=2, le=100)
    floor_replicates: int = Field(500, ge=50, le=100_000)
    seed: int = Field(11, ge=0, le=LARGEST_SEED)

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in methods if name not in calibrators.CALIBRATORS]
        if unknown or BASELINE not in methods:
            known = ", ".join(calibrators.CALIBRATORS)
            raise ValueError(f"expected `{BASELINE}` and others of {known}")
        return each_once(methods)


def freeze(calibration: PredictionTable, params: CalibrateParams) -> Calibrators:
    """Fit every calibrator on the calibration role.

    Where its rows are in folds instead, that of every fold is fitted on the others.
    """
    if FOLD in calibration.rows:
        parts = [_fitted(others, params) for others in without_each_fold(calibration)]
        folds = calibration.rows[FOLD].to_numpy(dtype=np.int64)
        return {
            name: calibrators.CrossFitted(folds, tuple(part[name] for part in parts))
            for name in params.methods
        }
    return _fitted(calibration, params)


def _fitted(calibration: PredictionTable, params: CalibrateParams) -> Calibrators:
    task, schema = tasks.get(calibration.schema.task), calibration.schema
    return {
        name: calibrators.fit(
            name, task, calibration.logits, calibration.targets, classes=schema.classes
        )
        for name in params.methods
    }


def audit(
    test: ScoredPredictions, frozen: Calibrators, params: CalibrateParams, bootstrap: Bootstrap
) -> Findings:
    """Reliability and proper scores of the test role under every fitted calibrator.

    Args:
        test: clean predictions of the test role, uncalibrated.
        frozen: calibrators from `freeze`.
        params: bins and replicates of the noise floor.
        bootstrap: of the groups of the test role.
    """
    calibrated = {name: with_calibrator(test, each) for name, each in frozen.items()}
    found = {
        name: replicate(each, bootstrap, n_bins=params.bins) for name, each in calibrated.items()
    }
    floors = pd.concat(
        [
            floor_table(
                each,
                n_bins=params.bins,
                replicates=params.floor_replicates,
                seed=params.seed,
            ).assign(calibrator=name)
            for name, each in calibrated.items()
        ],
        ignore_index=True,
    )
    whole = {name: each.whole for name, each in found.items()}
    summary = summary_table(whole, bootstrap)
    series = {
        "summary": summary,
        "events": event_table(found, bootstrap),
        "reliability": pd.concat(
            [
                bin_table(each, n_bins=params.bins).assign(stage=name)
                for name, each in calibrated.items()
            ],
            ignore_index=True,
        ),
        "bins": sweep_table(calibrated, seed=params.seed),
        "noise_floor": floors,
        "fitted": fitted_table(frozen),
    }
    scalars = headline(summary, floors) | fitted_scalars(frozen)
    return Findings({"n": len(test)} | scalars, series)


def summary_table(
    found: Mapping[str, Mapping[str, BootstrapDistribution]], bootstrap: Bootstrap
) -> pd.DataFrame:
    """One row per calibrator and measure: value, and paired change against identity."""
    rows = []
    for name, values in found.items():
        for metric, each in values.items():
            estimate = bootstrap.interval(each)
            change = bootstrap.paired(each, found[BASELINE][metric])
            rows.append(
                {
                    "calibrator": name,
                    "metric": metric,
                    **bootstrap_module.columns(estimate),
                    "delta": change.value,
                    "delta_low": change.low,
                    "delta_high": change.high,
                    "p_value": np.nan if name == BASELINE else change.p_value,
                }
            )
    return pd.DataFrame(rows)


def headline(summary: pd.DataFrame, floors: pd.DataFrame) -> dict[str, Scalar]:
    """ECE with its floor and the proper scores of every calibrator, with intervals."""
    scalars: dict[str, Scalar] = {}
    for row in row_dicts(summary[summary["metric"].isin(REPORTED)]):
        name = f"{row['calibrator']}_{row['metric']}"
        scalars |= _ends(name, *(row[key] for key in ("value", "low", "high")))
        if row["metric"] == COMPARED and row["calibrator"] != BASELINE:
            change = (row[key] for key in ("delta", "delta_low", "delta_high"))
            scalars |= _ends(f"{name}_delta", *change)
    for row in row_dicts(floors[floors["event"] == MEAN]):
        scalars[f"{row['calibrator']}_ece_floor_mean"] = float(row["mean"])
        scalars[f"{row['calibrator']}_ece_floor_p95"] = float(row["p95"])
        scalars[f"{row['calibrator']}_ece_consistency_p"] = float(row["p_value"])
    return scalars


def _ends(name: str, value: float, low: float, high: float) -> dict[str, Scalar]:
    return {name: float(value), f"{name}_ci_low": float(low), f"{name}_ci_high": float(high)}


def fitted_scalars(fitted: Mapping[str, Calibrator]) -> dict[str, Scalar]:
    """The temperature, where one was fitted."""
    facts = {key: value for each in fitted.values() for key, value in each.facts().items()}
    return {"temperature": facts["temperature"]} if "temperature" in facts else {}


def fitted_table(fitted: Mapping[str, Calibrator]) -> pd.DataFrame:
    """Every fitted number: calibrator, number, value."""
    rows = [
        {"calibrator": name, "number": number, "value": value}
        for name, each in fitted.items()
        for number, value in each.facts().items()
    ]
    return pd.DataFrame(rows, columns=["calibrator", "number", "value"])
