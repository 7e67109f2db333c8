"""What every kind of task must answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medaudit.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
    from medaudit.stats.bootstrap import Measure


class Predictions(Protocol):
    """What a task asks of predictions; `ScoredPredictions` has it all. n samples, k outputs."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class or label names, k of them."""

    @property
    def targets(self) -> IntArray:
        """As the task understands them."""

    @property
    def probabilities(self) -> Float64Array:
        """(n, k)."""

    @property
    def positives(self) -> BoolArray:
        """Truth per output, (n, k)."""

    @property
    def decisions(self) -> BoolArray:
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
    probability: Float64Array
    outcome: BoolArray
    binning: Literal["equal_width", "equal_mass"] = "equal_width"


class Task(Protocol):
    """Meaning of logits (members, n, outputs) and targets for one kind of task.

    `exclusive` tells whether exactly one output is true, so that probabilities add up to 1.
    """

    name: str
    exclusive: bool

    def probabilities(self, logits: FloatArray) -> Float64Array:
        """Mean over members of the probabilities, (n, outputs)."""

    def member_probabilities(self, logits: FloatArray) -> Float64Array:
        """Probabilities of every member by itself, (members, n, outputs)."""

    def logits(self, probabilities: Float64Array) -> Float64Array:
        """Logits (n, outputs) that `probabilities` turns into these probabilities."""

    def log_likelihoods(self, logits: FloatArray, targets: IntArray) -> Float64Array:
        """Natural log of the probability given to the truth, (n,)."""

    def positives(self, targets: IntArray, n_outputs: int) -> BoolArray:
        """Truth per output, (n, outputs)."""

    def decisions(self, probabilities: Float64Array, thresholds: Float64Array | None) -> BoolArray:
        """Which outputs are predicted, (n, outputs); thresholds (outputs,)."""

    def risks(
        self, positives: BoolArray, decisions: BoolArray, *, false_negative_weight: float = 1.0
    ) -> Float64Array:
        """Loss per sample in [0, 1], (n,), from truths and predictions (n, outputs)."""

    def predictive_distributions(self, probabilities: Float64Array) -> Float64Array:
        """The distributions that predictions are made of.

        (..., n, outputs) to (..., n, distributions, outcomes), so also member by member.
        """

    def strata(self, targets: IntArray) -> IntArray:
        """Classes of samples that weigh the same in class-balanced measures, (n,)."""

    def events(self, predictions: Predictions) -> tuple[Events, ...]:
        """The stated probabilities whose reliability matters."""

    def measures(self, predictions: Predictions) -> tuple[Measure, ...]:
        """Measures of this task beside those of single outputs, which all tasks share."""

    def losses(self, predictions: Predictions) -> tuple[Measure, ...]:
        """Proper scores: `log_loss` and `brier_loss`."""

    def confusion(self, predictions: Predictions) -> pd.DataFrame:
        """Long table: truth, predicted, count, rate (share of the truth's row)."""


# Logits are stored in single precision: the smallest normal number of it.
TINY = float(np.finfo(np.float32).tiny)


def pair_table(
    counts: npt.NDArray[np.integer],
    totals: npt.NDArray[np.integer],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
) -> pd.DataFrame:
    """Long table of a matrix of counts: truth, predicted, count, and rate = count / row total."""
    under = np.asarray(totals, dtype=np.float64)[:, None]
    rates = np.divide(counts, under, out=np.full(counts.shape, np.nan), where=under > 0)
    truth, called = np.indices(counts.shape).reshape(2, -1)
    return pd.DataFrame(
        {
            "truth": np.array(rows)[truth],
            "predicted": np.array(columns)[called],
            "count": counts.ravel(),
            "rate": rates.ravel(),
        }
    )
