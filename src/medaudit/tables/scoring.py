"""Measures of a prediction table: the same list for clean, corrupted and sliced samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from medaudit.errors import DataError
from medaudit.metrics import operating, ranking
from medaudit.metrics.weighting import weighted_mean, weighted_ratio
from medaudit.tables import tasks
from medaudit.tables.tasks.base import Bools, Floats, Measure

if TYPE_CHECKING:
    from collections.abc import Callable

    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable


@dataclass(frozen=True)
class Scored:
    """A prediction table with the probabilities, decisions and truths read from it once."""

    table: PredictionTable
    points: OperatingPoints

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
        return self.task.decisions(self.probabilities)

    @cached_property
    def confidence(self) -> Floats:
        """Stated probability of the task's main event, (n,)."""
        return self.task.events(self.probabilities, self.table.targets)[0].confidence


def measures(scored: Scored) -> tuple[Measure, ...]:
    """Every measure of a set of predictions, in the order in which reports show them."""
    own = scored.task.measures(scored.probabilities, scored.table.targets)
    return (*macro_measures(scored), *own, *critical_measures(scored), *drift_measures(scored))


def macro_measures(scored: Scored) -> tuple[Measure, ...]:
    """Unweighted means over outputs; NaN when any output is undefined in a replicate."""
    return (
        Measure("macro_auroc", _macro(scored, _auroc), 1),
        Measure("macro_auprc", _macro(scored, _auprc), 1),
        Measure("macro_f1", _macro(scored, _f1), 1),
        Measure("balanced_accuracy", _macro(scored, _recall), 1),
    )


def critical_measures(scored: Scored) -> tuple[Measure, ...]:
    """Measures of the critical class; sensitivity and specificity at the frozen threshold."""
    if scored.table.schema.critical_class is None:
        return ()
    k = scored.table.schema.critical_index
    n_positive = int(scored.positives[:, k].sum())
    n_negative = len(scored.table) - n_positive
    return (
        Measure("critical_auroc", _auroc(scored, k), 1, n_positive),
        Measure(
            "critical_sensitivity", frozen_sensitivity(scored, k), 1, n_positive, proportion=True
        ),
        Measure(
            "critical_specificity", frozen_specificity(scored, k), 1, n_negative, proportion=True
        ),
        Measure("critical_recall", _recall(scored, k), 1, n_positive, proportion=True),
    )


def drift_measures(scored: Scored) -> tuple[Measure, ...]:
    """What the model says without asking whether it is true; collapse shows here first."""
    majority = int(scored.positives.sum(axis=0).argmax())
    called = scored.decisions[:, majority].astype(np.float64)
    return (
        Measure("mean_confidence", partial(weighted_mean, scored.confidence), 0),
        Measure("majority_share", partial(weighted_mean, called), 0, proportion=True),
    )


def per_output_measures(scored: Scored, k: int) -> tuple[Measure, ...]:
    """One-versus-rest measures of output k."""
    n_positive = int(scored.positives[:, k].sum())
    return (
        Measure("auroc", _auroc(scored, k), 1, n_positive),
        Measure("auprc", _auprc(scored, k), 1, n_positive),
        Measure("f1", _f1(scored, k), 1, n_positive),
        Measure("recall", _recall(scored, k), 1, n_positive, proportion=True),
        Measure(
            "precision",
            _precision(scored, k),
            1,
            int(scored.decisions[:, k].sum()),
            proportion=True,
        ),
        Measure("sensitivity", frozen_sensitivity(scored, k), 1, n_positive, proportion=True),
        Measure(
            "specificity",
            frozen_specificity(scored, k),
            1,
            len(scored.table) - n_positive,
            proportion=True,
        ),
    )


def frozen_sensitivity(scored: Scored, k: int) -> Callable[[Floats], Floats]:
    """Sensitivity of output k at its frozen threshold."""
    return partial(
        operating.weighted_sensitivity,
        scored.probabilities[:, k],
        scored.positives[:, k],
        threshold=scored.points.thresholds[k],
    )


def frozen_specificity(scored: Scored, k: int) -> Callable[[Floats], Floats]:
    """Specificity of output k at its frozen threshold."""
    return partial(
        operating.weighted_specificity,
        scored.probabilities[:, k],
        scored.positives[:, k],
        threshold=scored.points.thresholds[k],
    )


def _auroc(scored: Scored, k: int) -> Callable[[Floats], Floats]:
    return partial(ranking.weighted_auroc, scored.probabilities[:, k], scored.positives[:, k])


def _auprc(scored: Scored, k: int) -> Callable[[Floats], Floats]:
    return partial(
        ranking.weighted_average_precision, scored.probabilities[:, k], scored.positives[:, k]
    )


def _recall(scored: Scored, k: int) -> Callable[[Floats], Floats]:
    truth, called = scored.positives[:, k], scored.decisions[:, k]
    return partial(weighted_ratio, truth & called, truth)


def _precision(scored: Scored, k: int) -> Callable[[Floats], Floats]:
    truth, called = scored.positives[:, k], scored.decisions[:, k]
    return partial(weighted_ratio, truth & called, called)


def _f1(scored: Scored, k: int) -> Callable[[Floats], Floats]:
    truth, called = scored.positives[:, k], scored.decisions[:, k]
    hits = (truth & called).astype(np.float64)
    either = (truth.astype(np.float64) + called) / 2

    def f1(weights: Floats) -> Floats:
        # A class that a replicate lacks has no F1, even where it was called.
        defined = weights @ truth.astype(np.float64) > 0
        return np.where(defined, weighted_ratio(hits, either, weights), np.nan)

    return f1


def _macro(
    scored: Scored, per_output: Callable[[Scored, int], Callable[[Floats], Floats]]
) -> Callable[[Floats], Floats]:
    parts = [per_output(scored, k) for k in range(scored.probabilities.shape[1])]

    def mean(weights: Floats) -> Floats:
        return np.asarray(np.mean([part(weights) for part in parts], axis=0))

    return mean
