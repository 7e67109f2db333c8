"""Measures of a prediction table: the same list for clean, corrupted and sliced samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from medaudit.errors import DataError
from medaudit.metrics import calibration, macro_ranking, operating, ranking, selective
from medaudit.metrics.weighting import ratio, weighted_mean, weighted_ratio, weighted_sums
from medaudit.stats.measure import Measure, positives_and_negatives
from medaudit.tables import confidence, tasks
from medaudit.tables.tasks.base import Answers, Bools, Floats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medaudit.stats.estimate import Statistic
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable
    from medaudit.tables.tasks.base import Events

ECE_BINS = 15


@dataclass(frozen=True)
class Scored:
    """A prediction table with the probabilities, decisions and truths read from it once.

    Args:
        table: predictions.
        points: frozen thresholds, one per output.
        averaged: outputs that macro means include, by number; if `None`, those that have positives
            and negatives in the table. A part of a sample takes those of the whole.
    """

    table: PredictionTable
    points: OperatingPoints
    averaged: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.points.classes != self.table.schema.classes:
            raise DataError(
                f"operating points are for {', '.join(self.points.classes)}, "
                f"predictions for {', '.join(self.table.schema.classes)}"
            )

    @cached_property
    def task(self) -> tasks.Task:
        """The table's task."""
        return tasks.get(self.table.schema.task)

    @cached_property
    def answers(self) -> Answers:
        """What the model said and what is true."""
        return Answers(
            classes=self.table.schema.classes,
            probabilities=self.probabilities,
            targets=self.table.targets,
            thresholds=np.array(self.points.thresholds),
            averaged=self.in_means,
        )

    @cached_property
    def probabilities(self) -> Floats:
        """(n, outputs)."""
        return self.task.probabilities(self.table.logits)

    @cached_property
    def positives(self) -> Bools:
        """Truth per output, (n, outputs)."""
        return self.task.positives(self.table.targets, len(self.table.schema.classes))

    @cached_property
    def decisions(self) -> Bools:
        """Called outputs, (n, outputs)."""
        return self.task.decisions(self.answers)

    @cached_property
    def in_means(self) -> tuple[int, ...]:
        """Numbers of the outputs that macro means include."""
        if self.averaged is not None:
            return self.averaged
        found = self.positives.any(axis=0) & ~self.positives.all(axis=0)
        return tuple(np.flatnonzero(found).tolist())

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of the outputs that macro means cannot include: they lack an outcome here."""
        kept = set(self.in_means)
        return tuple(name for k, name in enumerate(self.table.schema.classes) if k not in kept)

    @cached_property
    def confidence(self) -> Floats:
        """Probability that the model gives to its most probable answer, (n,)."""
        return confidence.max_probability(self.task.statements(self.probabilities))

    def part(self, mask: Bools) -> Scored:
        """Some of the rows, with the same outputs in macro means."""
        return Scored(self.table.where(mask), self.points, averaged=self.in_means)


def measures(scored: Scored) -> tuple[Measure, ...]:
    """Every measure of a set of predictions, in the order in which reports show them."""
    own = (*scored.task.measures(scored.answers), *scored.task.losses(scored.answers))
    ece = ece_measure(scored.task.events(scored.answers))
    return (
        *macro_measures(scored),
        *own,
        ece,
        augrc_measure(scored),
        *critical_measures(scored),
        *drift_measures(scored),
    )


def macro_measures(scored: Scored) -> tuple[Measure, ...]:
    """Unweighted means over outputs; NaN when any output is undefined in a replicate."""
    truth, called = (
        each[:, list(scored.in_means)] for each in (scored.positives, scored.decisions)
    )
    areas = partial(
        macro_ranking.weighted_macro_auroc,
        scored.probabilities,
        scored.positives,
        classes=scored.in_means,
    )
    flagged = (scored.probabilities > np.array(scored.points.thresholds))[:, list(scored.in_means)]
    return (
        Measure(
            "macro_auroc",
            areas,
            1,
            required_outcomes=positives_and_negatives(truth),
            interval_kind="auc",
        ),
        Measure(
            "macro_auprc",
            _macro(scored, _auprc),
            1,
            required_outcomes=positives_and_negatives(truth),
            interval_kind="smooth",
        ),
        Measure(
            "macro_f1", _mean_f1(truth, called), 1, required_outcomes=positives_and_negatives(truth)
        ),
        Measure(
            "macro_sensitivity", mean_share(flagged & truth, truth), 1, required_outcomes=truth
        ),
        Measure(
            "macro_specificity", mean_share(~flagged & ~truth, ~truth), 1, required_outcomes=~truth
        ),
    )


def ece_measure(events: Sequence[Events], *, n_bins: int = ECE_BINS, name: str = "ece") -> Measure:
    """Mean over the events of the expected calibration error of each."""
    parts = [
        partial(
            calibration.weighted_ece,
            event.confidence,
            event.happened,
            n_bins=n_bins,
            binning=event.binning,
        )
        for event in events
    ]
    return Measure(name, mean_of(parts), -1, interval_kind="nonnegative_error")


def augrc_measure(scored: Scored) -> Measure:
    """Average risk of an undetected failure of any kind, deferring by the largest probability."""
    failed = (scored.task.risks(scored.answers) > 0).astype(np.float64)
    statistic = partial(selective.weighted_augrc, failed, scored.confidence)
    return Measure("failure_augrc", statistic, -1)


def critical_measures(scored: Scored) -> tuple[Measure, ...]:
    """Measures of the critical class; sensitivity and specificity at the frozen threshold."""
    if scored.table.schema.critical_class is None:
        return ()
    k = scored.table.schema.critical_index
    wanted = ("auroc", "sensitivity", "specificity", "recall")
    found = {each.name: each for each in per_output_measures(scored, k)}
    return tuple(replace(found[name], name=f"critical_{name}") for name in wanted)


def drift_measures(scored: Scored) -> tuple[Measure, ...]:
    """What the model says without asking whether it is true; collapse shows here first."""
    majority = int(scored.positives.sum(axis=0).argmax())
    called = scored.decisions[:, majority].astype(np.float64)
    return (
        Measure("mean_confidence", partial(weighted_mean, scored.confidence), 0),
        Measure("majority_share", partial(weighted_mean, called), 0, interval_kind="proportion"),
    )


def per_output_measures(scored: Scored, k: int) -> tuple[Measure, ...]:
    """One-versus-rest measures of output k."""
    ill, called = scored.positives[:, k], scored.decisions[:, k]
    sides, flagged = (
        positives_and_negatives(ill),
        scored.probabilities[:, k] > scored.points.thresholds[k],
    )
    return (
        Measure(
            "auroc",
            _auroc(scored, k),
            1,
            denominator=ill,
            required_outcomes=sides,
            interval_kind="auc",
        ),
        Measure(
            "auprc",
            _auprc(scored, k),
            1,
            denominator=ill,
            required_outcomes=sides,
            interval_kind="smooth",
        ),
        Measure("f1", _f1(scored, k), 1, denominator=ill, required_outcomes=sides),
        Measure(
            "recall",
            partial(weighted_ratio, ill & called, ill),
            1,
            denominator=ill,
            interval_kind="proportion",
        ),
        Measure(
            "precision",
            partial(weighted_ratio, ill & called, called),
            1,
            denominator=called,
            interval_kind="proportion",
        ),
        Measure(
            "sensitivity",
            frozen_sensitivity(scored, k),
            1,
            denominator=ill,
            interval_kind="proportion",
        ),
        Measure(
            "specificity",
            frozen_specificity(scored, k),
            1,
            denominator=~ill,
            interval_kind="proportion",
        ),
        Measure(
            "ppv",
            _at(operating.weighted_ppv, scored, k),
            1,
            denominator=flagged,
            interval_kind="proportion",
        ),
        Measure(
            "npv",
            _at(operating.weighted_npv, scored, k),
            1,
            denominator=~flagged,
            interval_kind="proportion",
        ),
    )


def frozen_sensitivity(scored: Scored, k: int) -> Statistic:
    """Sensitivity of output k at its frozen threshold."""
    return _at(operating.weighted_sensitivity, scored, k)


def frozen_specificity(scored: Scored, k: int) -> Statistic:
    """Specificity of output k at its frozen threshold."""
    return _at(operating.weighted_specificity, scored, k)


def _at(rate: Callable[..., Floats], scored: Scored, k: int) -> Statistic:
    return partial(
        rate,
        scored.probabilities[:, k],
        scored.positives[:, k],
        threshold=scored.points.thresholds[k],
    )


def mean_of(parts: Sequence[Statistic]) -> Statistic:
    """The unweighted mean of several statistics; undefined where one of them is, or none given."""

    def mean(weights: Floats) -> Floats:
        if not parts:
            return np.full(len(weights), np.nan)
        return np.asarray(np.mean([part(weights) for part in parts], axis=0))

    return mean


def mean_share(members: Bools, denominator: Bools) -> Statistic:
    """Mean over columns of the share of `members` in `denominator`, both (n, k)."""
    table = np.column_stack([members, denominator]).astype(np.float64)

    def mean(weights: Floats) -> Floats:
        hits, cases = np.split(weighted_sums(table, weights), 2, axis=1)
        return _mean(ratio(hits, cases))

    return mean


def _mean(per_output: Floats) -> Floats:
    """Mean over the columns, undefined where one is, or where there are none."""
    return ratio(per_output.sum(axis=1), per_output.shape[1])


def _auroc(scored: Scored, k: int) -> Statistic:
    return partial(ranking.weighted_auroc, scored.probabilities[:, k], scored.positives[:, k])


def _auprc(scored: Scored, k: int) -> Statistic:
    return partial(
        ranking.weighted_average_precision, scored.probabilities[:, k], scored.positives[:, k]
    )


def _f1(scored: Scored, k: int) -> Statistic:
    return _mean_f1(scored.positives[:, [k]], scored.decisions[:, [k]])


def _mean_f1(truth: Bools, called: Bools) -> Statistic:
    """Mean over columns of F1 = hits / mean of truth and calls."""
    table = np.column_stack([truth & called, truth, called]).astype(np.float64)

    def mean(weights: Floats) -> Floats:
        hits, cases, calls = np.split(weighted_sums(table, weights), 3, axis=1)
        # A class that a replicate lacks has no F1, even where it was called.
        return _mean(ratio(2 * hits, np.where(cases > 0, cases + calls, 0.0)))

    return mean


def _macro(scored: Scored, per_output: Callable[[Scored, int], Statistic]) -> Statistic:
    return mean_of([per_output(scored, k) for k in scored.in_means])
