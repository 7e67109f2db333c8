"""What every kind of task must answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

    from medaudit.stats.measure import Measure

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model said of n samples, and what is true.

    Args:
        classes: class or label names, k of them.
        probabilities: (n, k).
        targets: as the task understands them.
        thresholds: frozen operating points, (k,); `None` where nothing is called.
        averaged: outputs that means over outputs include, by number; all of them if `None`. An
            output that lacks positives or negatives makes such a mean undefined.
    """

    classes: tuple[str, ...]
    probabilities: Floats
    targets: Ints
    thresholds: Floats | None = None
    averaged: tuple[int, ...] | None = None

    @property
    def in_means(self) -> list[int]:
        """The outputs that means over outputs include."""
        everyone = range(len(self.classes))
        return list(everyone if self.averaged is None else self.averaged)


@dataclass(frozen=True, eq=False)
class Events:
    """Probabilities that were stated and whether the thing happened, for reliability.

    Args:
        name: what is predicted: `top_label`, or the name of a label.
        confidence: stated probability, (n,) in [0, 1].
        happened: (n,) bool.
        binning: how its reliability is binned. Confidences that crowd at one end, as those of a
            rare label do, want bins of equal mass.
    """

    name: str
    confidence: Floats
    happened: Bools
    binning: Literal["equal_width", "equal_mass"] = "equal_width"


class Task(Protocol):
    """Meaning of logits (members, n, outputs) and targets for one kind of task.

    `exclusive` tells whether exactly one output is true, so that probabilities add up to 1.
    """

    name: str
    exclusive: bool

    def probabilities(self, logits: npt.NDArray[np.floating]) -> Floats:
        """Mean over members of the probabilities, (n, outputs)."""

    def logits(self, probabilities: Floats) -> Floats:
        """Logits (n, outputs) that `probabilities` turns into these probabilities."""

    def log_likelihoods(self, logits: npt.NDArray[np.floating], targets: Ints) -> Floats:
        """Natural log of the probability given to the truth, (n,)."""

    def positives(self, targets: Ints, n_outputs: int) -> Bools:
        """Truth per output, (n, outputs)."""

    def decisions(self, answers: Answers) -> Bools:
        """Which outputs are called, (n, outputs)."""

    def risks(self, answers: Answers, *, false_negative_weight: float = 1.0) -> Floats:
        """Loss per sample in [0, 1], (n,); 0 where every output is called rightly."""

    def statements(self, probabilities: Floats) -> Floats:
        """The distributions that a prediction is made of, (n, statements, outcomes)."""

    def strata(self, answers: Answers) -> Ints:
        """Classes of samples that weigh the same in class-balanced measures, (n,)."""

    def events(self, answers: Answers) -> tuple[Events, ...]:
        """The probability statements whose reliability matters."""

    def measures(self, answers: Answers) -> tuple[Measure, ...]:
        """Measures of this task beside those of single outputs, which all tasks share."""

    def losses(self, answers: Answers) -> tuple[Measure, ...]:
        """Proper scores: `log_loss` and `brier_loss`."""

    def confusion(self, answers: Answers) -> pd.DataFrame:
        """Long table: truth, predicted, count, rate (share of the truth's row)."""
