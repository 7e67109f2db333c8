"""Reliability of stated probabilities, event by event, with what noise alone would show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.audits import intervals
from medaudit.metrics import (
    calibration,
    calibration_bias,
    logistic_calibration,
    proper,
    smooth_calibration,
)
from medaudit.stats.bootstrap import mean_distribution
from medaudit.stats.measure import Measure, positives_and_negatives
from medaudit.tables import scoring, tasks
from medaudit.tables.tasks.base import Answers, Events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from medaudit.metrics.events import Binning
    from medaudit.stats.bootstrap import Bootstrap, BootstrapDistribution
    from medaudit.stats.estimate import Statistic
    from medaudit.tables.calibrators import Calibrator
    from medaudit.tables.predictions import PredictionTable
    from medaudit.tables.tasks.base import Floats

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


def stated(test: PredictionTable, calibrator: Calibrator) -> Answers:
    """Calibrated probabilities and the truth."""
    task = tasks.get(test.schema.task)
    truth = task.positives(test.targets, len(test.schema.classes))
    return Answers(
        classes=test.schema.classes,
        probabilities=task.probabilities(calibrator.apply(test.logits)),
        targets=test.targets,
        averaged=tuple(np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0)).tolist()),
    )


def one_versus_rest(
    test: PredictionTable, answers: Answers, *, binning: Binning
) -> tuple[Events, ...]:
    """Every output as an event of its own."""
    truth = tasks.get(test.schema.task).positives(answers.targets, len(answers.classes))
    return tuple(
        Events(name, answers.probabilities[:, k], truth[:, k], binning=binning)
        for k, name in enumerate(answers.classes)
    )


def watched(test: PredictionTable, answers: Answers) -> tuple[Events, ...]:
    """The events of the task, and the critical class by itself."""
    own = tasks.get(test.schema.task).events(answers)
    names = {event.name for event in own}
    critical = [
        event
        for event in one_versus_rest(test, answers, binning="equal_mass")
        if event.name == test.schema.critical_class and event.name not in names
    ]
    return (*own, *critical)


def replicate(
    test: PredictionTable, answers: Answers, bootstrap: Bootstrap, *, n_bins: int
) -> Reliability:
    """Every measure of every event, and what is asked of the prediction as a whole."""
    events = {
        event.name: bootstrap.distribution(event_measures(event, n_bins=n_bins))
        for event in watched(test, answers)
    }
    task = tasks.get(test.schema.task)
    own = [events[event.name] for event in task.events(answers)]
    averaged = {name: mean_distribution([found[name] for found in own]) for name in (ECE, *ERRORS)}
    classwise = one_versus_rest(test, answers, binning="equal_width")
    others = (
        scoring.ece_measure(classwise, n_bins=n_bins, name="classwise_ece"),
        *task.losses(answers),
    )
    prevalence = {event.name: float(event.happened.mean()) for event in watched(test, answers)}
    return Reliability(prevalence, events, averaged | bootstrap.distribution(others))


def error_estimators(n_bins: int) -> tuple[tuple[str, Callable[[Events], Statistic]], ...]:
    """Estimators of calibration error beside the binned one: name and statistic."""

    def debiased(event: Events) -> Statistic:
        return partial(
            calibration_bias.weighted_debiased_ece,
            event.confidence,
            event.happened,
            n_bins=n_bins,
        )

    def smooth(event: Events) -> Statistic:
        return partial(smooth_calibration.weighted_smooth_ece, event.confidence, event.happened)

    def largest(event: Events) -> Statistic:
        return partial(
            calibration.weighted_mce,
            event.confidence,
            event.happened,
            n_bins=n_bins,
            binning=event.binning,
        )

    statistics = (debiased, smooth, largest)
    return tuple(zip(ERRORS, statistics, strict=True))


def brier_skill(event: Events) -> Statistic:
    """Brier skill of one event against its prevalence."""
    return partial(proper.weighted_brier_skill_score, event.confidence, event.happened)


def event_measures(event: Events, *, n_bins: int) -> tuple[Measure, ...]:
    """All that is asked of one event; slope 1 and intercept 0 are ideal."""
    stated, happened = event.confidence, event.happened
    cox = partial(logistic_calibration.weighted_cox, stated, happened)
    parts = partial(
        proper.weighted_brier_decomposition,
        stated,
        happened,
        n_bins=n_bins,
        binning=event.binning,
    )
    sides = positives_and_negatives(happened)
    return (
        scoring.ece_measure([event], n_bins=n_bins),
        *(
            Measure(name, statistic(event), -1, interval_kind="nonnegative_error")
            for name, statistic in error_estimators(n_bins)
        ),
        Measure("brier_skill_score", brier_skill(event), 1, required_outcomes=sides),
        Measure("brier_reliability", lambda w: parts(w).reliability, -1, required_outcomes=sides),
        Measure("brier_resolution", lambda w: parts(w).resolution, 1, required_outcomes=sides),
        Measure(
            "cox_slope", lambda w: cox(w).slope, 0, denominator=happened, required_outcomes=sides
        ),
        Measure(
            "cox_intercept",
            lambda w: cox(w).intercept,
            0,
            denominator=happened,
            required_outcomes=sides,
        ),
        Measure(
            "spiegelhalter_z",
            partial(logistic_calibration.weighted_spiegelhalter_z, stated, happened),
            0,
        ),
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
                    **intervals.columns(bootstrap.interval(value)),
                    "prevalence": each.prevalence[event],
                }
                for metric, value in values.items()
            ]
    return pd.DataFrame(rows)


def bin_table(test: PredictionTable, answers: Answers, *, n_bins: int) -> pd.DataFrame:
    """Reliability bins of every event, in the columns of the reliability chart."""
    parts = []
    for event in watched(test, answers):
        bins = calibration.reliability_bins(
            event.confidence, event.happened, n_bins=n_bins, binning=event.binning
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


def sweep_table(
    test: PredictionTable, answers: Mapping[str, Answers], *, seed: int
) -> pd.DataFrame:
    """ECE over numbers of bins, beside its floor: an error that follows the floor is noise."""
    rows = []
    for name, each in answers.items():
        events = tasks.get(test.schema.task).events(each)
        for n_bins in SWEEP:
            value = scoring.ece_measure(events, n_bins=n_bins).statistic(np.ones((1, len(test))))
            floor = noise(events, n_bins=n_bins, replicates=SWEEP_REPLICATES, seed=seed)
            rows.append(
                {
                    "calibrator": name,
                    "n_bins": n_bins,
                    "ece": float(value[0]),
                    "floor_mean": float(floor.mean()),
                }
            )
    return pd.DataFrame(rows)


def floor_table(
    test: PredictionTable, answers: Answers, *, n_bins: int, replicates: int, seed: int
) -> pd.DataFrame:
    """ECE that a perfectly calibrated model with the same confidences would show.

    One row per event of the task, and one for the mean over them.
    """
    events = tasks.get(test.schema.task).events(answers)
    drawn = noise(events, n_bins=n_bins, replicates=replicates, seed=seed)
    rows = [*zip([event.name for event in events], drawn, strict=True), (MEAN, drawn.mean(axis=0))]
    return pd.DataFrame(
        [
            {"event": name, "mean": float(values.mean()), "p95": float(np.quantile(values, 0.95))}
            for name, values in rows
        ]
    )


def noise(events: Sequence[Events], *, n_bins: int, replicates: int, seed: int) -> Floats:
    """ECE of every event when outcomes are drawn from the confidences, (events, replicates)."""
    return np.stack(
        [
            calibration_bias.ece_under_calibration(
                event.confidence,
                n_bins=n_bins,
                replicates=replicates,
                seed=seed + k,
                binning=event.binning,
            )
            for k, event in enumerate(events)
        ]
    )
