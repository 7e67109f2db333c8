"""Truth and call of every test sample, clean and under every condition."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medaudit.tables.predictions import align
from medaudit.tables.scoring import Scored

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from medaudit.tables.conditions import Condition
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]

NOTHING = "(none)"


@dataclass(frozen=True)
class Judged:
    """Every row of one table with its truth, its call, and whether the call is right."""

    scored: Scored

    @property
    def condition(self) -> Condition:
        """What was done to the images."""
        return self.scored.table.condition

    @cached_property
    def critical(self) -> Bools:
        """Whether the critical class is true; nowhere if the data set names none, (n,)."""
        return self._of_critical(self.scored.positives)

    @cached_property
    def called_critical(self) -> Bools:
        """Whether the critical class is called, (n,)."""
        return self._of_critical(self.scored.decisions)

    @cached_property
    def flagged(self) -> Bools:
        """Whether the critical class exceeds its frozen threshold, (n,)."""
        thresholds = np.array(self.scored.points.thresholds)
        return self._of_critical(self.scored.probabilities > thresholds)

    @cached_property
    def right(self) -> Bools:
        """Whether nothing is wrong with the call, (n,)."""
        return np.asarray(self.scored.task.risks(self.scored.answers) == 0)

    @cached_property
    def truth(self) -> Ints:
        """The true output, (n,).

        Where several are: the critical one, or else the most probable of those that are missed.
        """
        missed = self.scored.positives & ~self.scored.decisions
        best = leading(prefer(missed, self.scored.positives), self.scored.probabilities)
        if self.scored.table.schema.critical_class is None:
            return best
        return np.where(self.critical, self.scored.table.schema.critical_index, best)

    @cached_property
    def called(self) -> Ints:
        """The called output, (n,); where several are, the most probable of those called wrongly."""
        wrong = self.scored.decisions & ~self.scored.positives
        return leading(prefer(wrong, self.scored.decisions), self.scored.probabilities)

    @cached_property
    def truth_names(self) -> Names:
        """All that is true, in words, (n,)."""
        return names(self.scored.positives, self.scored.table.schema.classes)

    @cached_property
    def called_names(self) -> Names:
        """All that is called, in words, (n,)."""
        return names(self.scored.decisions, self.scored.table.schema.classes)

    @cached_property
    def p_true(self) -> Floats:
        """Probability of the true output, (n,)."""
        return self.scored.probabilities[np.arange(len(self.truth)), self.truth]

    @property
    def confidence(self) -> Floats:
        """Probability of the most probable answer, (n,)."""
        return self.scored.confidence

    @cached_property
    def ids(self) -> npt.NDArray[np.str_]:
        """Sample ids, (n,)."""
        return np.array(self.scored.table.sample_ids)

    def rows_of(self, ids: Iterable[str]) -> Ints:
        """Row numbers of samples, in the order of `ids`."""
        places = {name: row for row, name in enumerate(self.ids.tolist())}
        return np.array([places[name] for name in ids], dtype=np.int64)

    def _of_critical(self, flags: Bools) -> Bools:
        if self.scored.table.schema.critical_class is None:
            return np.zeros(len(flags), dtype=bool)
        return flags[:, self.scored.table.schema.critical_index]


def names(flags: Bools, classes: Sequence[str]) -> Names:
    """Names of the flagged outputs of every row, joined by a plus sign, (n,)."""
    known = np.array(classes)
    return np.array([" + ".join(known[row]) or NOTHING for row in flags], dtype=np.str_)


def prefer(first: Bools, otherwise: Bools) -> Bools:
    """Row by row the first flags, or the others where the first are all unset."""
    return np.where(first.any(axis=1, keepdims=True), first, otherwise)


def leading(flags: Bools, probabilities: Floats) -> Ints:
    """Per row the most probable flagged output, or the most probable where none is flagged."""
    eligible = flags | ~flags.any(axis=1, keepdims=True)
    return np.asarray(np.where(eligible, probabilities, -1).argmax(axis=1))


def judge(
    clean: PredictionTable, corrupted: Sequence[PredictionTable], points: OperatingPoints
) -> tuple[Judged, tuple[Judged, ...]]:
    """The test role when clean and, in the same row order, under every condition."""
    test = clean.role("test")
    stressed = (align(test, table) for table in corrupted)
    return Judged(Scored(test, points)), tuple(Judged(Scored(t, points)) for t in stressed)
