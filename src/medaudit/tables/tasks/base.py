"""What every kind of task must answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

    from medaudit.stats.estimate import Statistic

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Measure:
    """A named quantity of a set of predictions, as a function of sample weights.

    Args:
        name: snake_case, as it stands in `metrics/`.
        statistic: weights (replicates, n) to values (replicates,).
        direction: 1 higher is better, -1 lower is better, 0 neither.
        n_positive: the cases that the value rests on, where that differs from n.
        biased: noise can only raise it, so its bootstrap interval needs recentring.
        proportion: a share of `n_positive` (or n) cases, so 0 and 1 have a Wilson interval.
    """

    name: str
    statistic: Statistic
    direction: int
    n_positive: int | None = None
    biased: bool = False
    proportion: bool = False


@dataclass(frozen=True)
class Events:
    """Probabilities that were stated and whether the thing happened, for reliability.

    Args:
        name: what is predicted, for example `top_label`.
        confidence: stated probability, (n,) in [0, 1].
        happened: (n,) bool.
    """

    name: str
    confidence: Floats
    happened: Bools


class Task(Protocol):
    """Meaning of logits (members, n, outputs) and targets for one kind of task."""

    name: str

    def probabilities(self, logits: npt.NDArray[np.floating]) -> Floats:
        """Mean over members of the probabilities, (n, outputs)."""

    def log_likelihoods(
        self, logits: npt.NDArray[np.floating], targets: npt.NDArray[np.int64]
    ) -> Floats:
        """Natural log of the probability given to the truth, (n,)."""

    def positives(self, targets: npt.NDArray[np.int64], n_outputs: int) -> Bools:
        """Truth per output, (n, outputs)."""

    def decisions(self, probabilities: Floats) -> Bools:
        """Which outputs are called, (n, outputs)."""

    def risks(self, probabilities: Floats, targets: npt.NDArray[np.int64]) -> Floats:
        """Loss per sample in [0, 1], (n,)."""

    def events(self, probabilities: Floats, targets: npt.NDArray[np.int64]) -> tuple[Events, ...]:
        """The probability statements whose reliability matters, main one first."""

    def measures(
        self, probabilities: Floats, targets: npt.NDArray[np.int64]
    ) -> tuple[Measure, ...]:
        """Measures of this task beside the one-versus-rest ones that all tasks share."""

    def confusion(
        self,
        probabilities: Floats,
        targets: npt.NDArray[np.int64],
        classes: tuple[str, ...],
    ) -> pd.DataFrame:
        """Long table: truth, predicted, count, rate (share of the truth's row)."""
