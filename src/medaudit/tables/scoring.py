"""Predictions with all that is read from them once: probabilities, calls, truths, outcomes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medaudit.core.errors import DataError
from medaudit.tables import confidence, tasks
from medaudit.tables.predictions import align

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from medaudit.core.arrays import BoolArray, Float64Array, IntArray
    from medaudit.tables.confidence import PredictiveDistributions
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import Condition, PredictionTable, Schema
    from medaudit.tables.tasks import base
    from medaudit.tables.tasks.base import Events

Names = npt.NDArray[np.str_]

NOTHING = "(none)"


@dataclass(frozen=True, eq=False)
class ScoredPredictions:
    """A prediction table with everything that audits read from it; every view is computed once.

    Shapes: n rows, k outputs.

    Args:
        table: predictions.
        points: frozen thresholds, one per output; without them labels cannot be called.
        averaged: outputs that macro means include, by number; if `None`, those that have positives
            and negatives in the table. A part of a sample takes those of the whole.

    Raises:
        DataError: the thresholds are of other outputs.
    """

    table: PredictionTable
    points: OperatingPoints | None = None
    averaged: tuple[int, ...] | None = None
    _confidence_scores: dict[str, Float64Array] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        if self.points is not None and self.points.classes != self.table.schema.classes:
            raise DataError(
                f"operating points are for {', '.join(self.points.classes)}, "
                f"predictions for {', '.join(self.table.schema.classes)}"
            )

    def __len__(self) -> int:
        return len(self.table)

    @property
    def schema(self) -> Schema:
        """Task, outputs and critical class."""
        return self.table.schema

    @property
    def classes(self) -> tuple[str, ...]:
        """Class or label names, k of them."""
        return self.schema.classes

    @property
    def condition(self) -> Condition:
        """What was done to the images."""
        return self.table.condition

    @property
    def targets(self) -> IntArray:
        """The truth as the task understands it."""
        return self.table.targets

    @cached_property
    def task(self) -> base.Task:
        """The table's task."""
        return tasks.get(self.schema.task)

    @cached_property
    def sample_ids(self) -> Names:
        """Ids in row order, (n,)."""
        return np.array(self.table.sample_ids)

    @cached_property
    def group_ids(self) -> Names:
        """Lesion or patient of every row, (n,)."""
        return self.table.group_ids

    @cached_property
    def member_probabilities(self) -> Float64Array:
        """Of every member by itself, (members, n, k)."""
        return self.task.member_probabilities(self.table.logits)

    @cached_property
    def probabilities(self) -> Float64Array:
        """Means over the members, (n, k)."""
        return self.task.probabilities(self.table.logits)

    @cached_property
    def predictive_distributions(self) -> PredictiveDistributions:
        """The distributions over outcomes that confidence scores read."""
        return confidence.PredictiveDistributions.of_logits(self.task, self.table.logits)

    @cached_property
    def thresholds(self) -> Float64Array:
        """Frozen thresholds, (k,)."""
        return np.array(self._frozen.thresholds)

    @cached_property
    def row_thresholds(self) -> Float64Array:
        """The same row by row, (n, k) where they are cross-fitted, else (1, k)."""
        return self._frozen.of_rows(self.table.rows)

    @property
    def _frozen(self) -> OperatingPoints:
        if self.points is None:
            raise ValueError("these predictions were scored without operating points")
        return self.points

    @cached_property
    def positives(self) -> BoolArray:
        """Truth per output, (n, k)."""
        return self.task.positives(self.targets, len(self.classes))

    @cached_property
    def decisions(self) -> BoolArray:
        """Predicted outputs, (n, k)."""
        thresholds = None if self.points is None else self.row_thresholds
        return self.task.decisions(self.probabilities, thresholds)

    @cached_property
    def above_threshold(self) -> BoolArray:
        """Outputs whose probability exceeds their frozen threshold, (n, k)."""
        return np.asarray(self.probabilities > self.row_thresholds)

    @cached_property
    def events(self) -> tuple[Events, ...]:
        """The stated probabilities whose reliability matters."""
        return self.task.events(self)

    @cached_property
    def strata(self) -> IntArray:
        """Classes of samples that weigh the same in class-balanced measures, (n,)."""
        return self.task.strata(self.targets)

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
        return tuple(name for k, name in enumerate(self.classes) if k not in kept)

    @cached_property
    def correct(self) -> BoolArray:
        """Whether no output is predicted wrongly, (n,)."""
        return np.asarray(self.risks() == 0)

    @cached_property
    def critical(self) -> BoolArray:
        """Whether the critical class is true; nowhere if the data set names none, (n,)."""
        return self._of_critical(self.positives)

    @cached_property
    def predicted_critical(self) -> BoolArray:
        """Whether the critical class is predicted, (n,)."""
        return self._of_critical(self.decisions)

    @cached_property
    def flagged(self) -> BoolArray:
        """Whether the critical class exceeds its frozen threshold, (n,)."""
        return self._of_critical(self.above_threshold)

    @cached_property
    def true_output(self) -> IntArray:
        """The true output, (n,).

        Where several are: the critical one, or else the most probable of those that are missed.
        """
        missed = self.positives & ~self.decisions
        best = leading(prefer(missed, self.positives), self.probabilities)
        if self.schema.critical_class is None:
            return best
        return np.where(self.critical, self.schema.critical_index, best)

    @cached_property
    def predicted_output(self) -> IntArray:
        """The predicted output, (n,); of several the most probable that is predicted wrongly."""
        wrong = self.decisions & ~self.positives
        return leading(prefer(wrong, self.decisions), self.probabilities)

    @cached_property
    def truth_names(self) -> Names:
        """All that is true, in words, (n,)."""
        return names(self.positives, self.classes)

    @cached_property
    def predicted_names(self) -> Names:
        """All that is predicted, in words, (n,)."""
        return names(self.decisions, self.classes)

    @cached_property
    def p_true(self) -> Float64Array:
        """Probability of the true output, (n,)."""
        return self.probabilities[np.arange(len(self)), self.true_output]

    def risks(self, false_negative_weight: float = 1.0) -> Float64Array:
        """Loss per sample in [0, 1], (n,); 0 where every output is predicted rightly."""
        return self.task.risks(
            self.positives, self.decisions, false_negative_weight=false_negative_weight
        )

    def confidence_score(self, name: str = "max_probability") -> Float64Array:
        """One of `CONFIDENCE_SCORES`, (n,), high means trust."""
        if name not in self._confidence_scores:
            self._confidence_scores[name] = confidence.get(name)(self.predictive_distributions)
        return self._confidence_scores[name]

    def at(self, points: OperatingPoints) -> ScoredPredictions:
        """The same predictions at these thresholds."""
        return self if self.points is points else replace(self, points=points)

    def part(
        self, mask: BoolArray, *, averaged: tuple[int, ...] | None = None
    ) -> ScoredPredictions:
        """Some of the rows, with the same outputs in macro means, or with these."""
        kept = self.in_means if averaged is None else averaged
        return ScoredPredictions(self.table.where(mask), self.points, averaged=kept)

    def rows_of(self, ids: Iterable[str]) -> IntArray:
        """Row numbers of samples, in the order of `ids`."""
        places = {name: row for row, name in enumerate(self.sample_ids.tolist())}
        return np.array([places[name] for name in ids], dtype=np.int64)

    def _of_critical(self, flags: BoolArray) -> BoolArray:
        if self.schema.critical_class is None:
            return np.zeros(len(flags), dtype=bool)
        return flags[:, self.schema.critical_index]


@dataclass(frozen=True, eq=False)
class Conditions:
    """The same samples clean and under every corruption or shift, in one order of rows.

    Args:
        clean: predictions of the clean images.
        corrupted: of the same samples under other conditions.
    """

    clean: ScoredPredictions
    corrupted: tuple[ScoredPredictions, ...] = ()

    @classmethod
    def aligned(cls, clean: ScoredPredictions, corrupted: Iterable[PredictionTable]) -> Conditions:
        """Tables in any order of rows, scored at the thresholds of the clean predictions.

        Raises:
            DataError: a table holds other samples than the clean one.
        """
        tables = (align(clean.table, table) for table in corrupted)
        return cls(clean, tuple(ScoredPredictions(table, clean.points) for table in tables))

    def at(self, points: OperatingPoints) -> Conditions:
        """The same predictions at these thresholds."""
        return Conditions(self.clean.at(points), tuple(each.at(points) for each in self.corrupted))

    def __iter__(self) -> Iterator[ScoredPredictions]:
        """Clean first."""
        return iter((self.clean, *self.corrupted))

    def under(self, condition: Condition) -> ScoredPredictions:
        """The predictions under one condition."""
        return next(each for each in self if each.condition == condition)


def names(flags: BoolArray, classes: Sequence[str]) -> Names:
    """Names of the flagged outputs of every row, joined by a plus sign, (n,)."""
    known = np.array(classes)
    return np.array([" + ".join(known[row]) or NOTHING for row in flags], dtype=np.str_)


def prefer(first: BoolArray, otherwise: BoolArray) -> BoolArray:
    """Row by row the first flags, or the others where the first are all unset."""
    return np.where(first.any(axis=1, keepdims=True), first, otherwise)


def leading(flags: BoolArray, probabilities: Float64Array) -> IntArray:
    """Per row the most probable flagged output, or the most probable where none is flagged."""
    eligible = flags | ~flags.any(axis=1, keepdims=True)
    return np.asarray(np.where(eligible, probabilities, -1).argmax(axis=1))
