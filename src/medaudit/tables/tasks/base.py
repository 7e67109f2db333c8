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


class Predictions(Protocol):
    """What a task asks of predictions; `ScoredPredictions` has it all. n samples, k outputs."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class or label names, k of them."""

    @property
    def targets(self) -> Ints:
        """As the task understands them."""

    @property
    def probabilities(self) -> Floats:
        """(n, k)."""

    @property
    def positives(self) -> Bools:
        """Truth per output, (n, k)."""

    @property
    def decisions(self) -> Bools:
        """Predicted outputs, (n, k)."""

    @property
    def in_means(self) -> tuple[int, ...]:
        """Outputs that means over outputs include, by number.

        An output that lacks positives or negatives makes such a mean undefined.
        """


@dataclass(frozen=True, eq=False)
class Events:
    """Stated probabilities and outcomes, for reliability.

    Args:
        name: what is predicted: `top_label`, or the name of a label.
        probability: stated, (n,) in [0, 1].
        outcome: whether it came true, (n,).
        binning: how its reliability is binned. Probabilities that crowd at one end, as those of a
            rare label do, want bins of equal mass.
    """

    name: str
    probability: Floats
    outcome: Bools
    binning: Literal["equal_width", "equal_mass"] = "equal_width"


class Task(Protocol):
    """Meaning of logits (members, n, outputs) and targets for one kind of task.

    `exclusive` tells whether exactly one output is true, so that probabilities add up to 1.
    """

    name: str
    exclusive: bool

    def probabilities(self, logits: npt.NDArray[np.floating]) -> Floats:
        """Mean over members of the probabilities, (n, outputs)."""

    def member_probabilities(self, logits: npt.NDArray[np.floating]) -> Floats:
        """Probabilities of every member by itself, (members, n, outputs)."""

    def logits(self, probabilities: Floats) -> Floats:
        """Logits (n, outputs) that `probabilities` turns into these probabilities."""

    def log_likelihoods(self, logits: npt.NDArray[np.floating], targets: Ints) -> Floats:
        """Natural log of the probability given to the truth, (n,)."""

    def positives(self, targets: Ints, n_outputs: int) -> Bools:
        """Truth per output, (n, outputs)."""

    def decisions(self, probabilities: Floats, thresholds: Floats | None) -> Bools:
        """Which outputs are predicted, (n, outputs); thresholds (outputs,)."""

    def risks(
        self, positives: Bools, decisions: Bools, *, false_negative_weight: float = 1.0
    ) -> Floats:
        """Loss per sample in [0, 1], (n,), from truths and predictions (n, outputs)."""

    def predictive_distributions(self, probabilities: Floats) -> Floats:
        """The distributions that predictions are made of.

        (..., n, outputs) to (..., n, distributions, outcomes), so also member by member.
        """

    def strata(self, targets: Ints) -> Ints:
        """Classes of samples that weigh the same in class-balanced measures, (n,)."""

    def events(self, predictions: Predictions) -> tuple[Events, ...]:
        """The stated probabilities whose reliability matters."""

    def measures(self, predictions: Predictions) -> tuple[Measure, ...]:
        """Measures of this task beside those of single outputs, which all tasks share."""

    def losses(self, predictions: Predictions) -> tuple[Measure, ...]:
        """Proper scores: `log_loss` and `brier_loss`."""

    def confusion(self, predictions: Predictions) -> pd.DataFrame:
        """Long table: truth, predicted, count, rate (share of the truth's row)."""
