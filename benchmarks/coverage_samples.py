"""Simulated test sets for `coverage.py`: groups, labels, and a model's probabilities, twice.

A case has one of three classes; the first is "the positive". For class k the model sees
x_k = 1.6·[label is k] + √0.6·(normal of the group) + √0.4·(normal of the case): rows of one group
share 60 % of the noise. Probabilities are the softmax of 1.2·(1.6·x_k + ½·ln prior_k): too sure,
and with a prior that is half undone, as after training on balanced batches. The shifted condition
shows the same model 85 % of the signal and noise of which 20 % of the variance is fresh.

lesions   group sizes of HAM10000; one label per group.
patients  geometric sizes from 1 with mean 3.6; labels mixed inside a group: each patient has class
          shares of his own, Dirichlet with a correlation of 0.3 between two labels of a patient.
single    every case is a group.

A row taken at random has the same distribution in all three, so the true values are the same.
"""

from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from medaudit.metrics import calibration, classification, operating, ranking, selective
from medaudit.stats.intervals import Statistic

LESIONS = np.repeat(np.arange(1, 7), [5514, 1423, 490, 34, 5, 4])
MEAN_PATIENT = 3.6
MEAN_SIZE = {"lesions": float(LESIONS.mean()), "patients": MEAN_PATIENT, "single": 1.0}

# One number, or one a replicate.
Value = TypeVar("Value", float, NDArray[np.float64])

SIGNAL, SHARED_NOISE, SHARPNESS, PRIOR_KEPT = 1.6, 0.6, 1.2, 0.5
SHIFTED_SIGNAL, FRESH_NOISE = 0.85, 0.2
LABEL_CORRELATION = 0.3
SPECIFICITY = 0.95

POPULATION_BLOCKS, POPULATION_ROWS = 20, 200_000


@dataclass(frozen=True)
class Design:
    """One cell of the simulation."""

    groups: str
    prevalence: float
    rows: int
    signal: float = SIGNAL

    @property
    def n_groups(self) -> int:
        return round(self.rows / MEAN_SIZE[self.groups])

    @property
    def prior(self) -> NDArray[np.float64]:
        return np.array([self.prevalence, *(share * (1 - self.prevalence) for share in (0.6, 0.4))])


@dataclass(frozen=True, eq=False)
class Sample:
    """A test set: who belongs together, the truth, and what the model says of both conditions."""

    groups: NDArray[np.intp]
    targets: NDArray[np.intp]
    clean: NDArray[np.float64]
    shifted: NDArray[np.float64]

    @property
    def positives(self) -> NDArray[np.bool_]:
        return np.asarray(self.targets == 0)

    @property
    def positive_groups(self) -> int:
        return self._groups_of(self.positives)

    def independent(self, metric: str) -> int:
        """Groups that a metric rests on: those of the rarest class that it needs, or all."""
        if metric in ("aurc", "ece_delta"):
            return self._groups_of(np.ones_like(self.positives))
        if metric == "macro_f1":
            return min(self._groups_of(self.targets == k) for k in range(3))
        return min(self.positive_groups, self._groups_of(~self.positives))

    def _groups_of(self, rows: NDArray[np.bool_]) -> int:
        return len(np.unique(self.groups[rows]))


def draw(design: Design, generator: np.random.Generator) -> Sample:
    """One test set of the design."""
    groups = np.repeat(np.arange(design.n_groups), _sizes(design, generator))
    targets = _labels(design, groups, generator)
    noise = _noise(groups, generator)
    seen = design.signal * np.eye(3)[targets]
    fresh = np.sqrt(1 - FRESH_NOISE) * noise + np.sqrt(FRESH_NOISE) * _noise(groups, generator)
    clean = _probabilities(seen + noise, design)
    return Sample(groups, targets, clean, _probabilities(SHIFTED_SIGNAL * seen + fresh, design))


def _sizes(design: Design, generator: np.random.Generator) -> NDArray[np.int64]:
    if design.groups == "lesions":
        return generator.choice(LESIONS, size=design.n_groups)
    if design.groups == "patients":
        return generator.geometric(1 / MEAN_PATIENT, size=design.n_groups)
    return np.ones(design.n_groups, dtype=np.int64)


def _labels(
    design: Design, groups: NDArray[np.intp], generator: np.random.Generator
) -> NDArray[np.intp]:
    if design.groups != "patients":
        return generator.choice(3, p=design.prior, size=design.n_groups)[groups]
    concentration = 1 / LABEL_CORRELATION - 1
    shares = generator.dirichlet(concentration * design.prior, size=design.n_groups)
    passed = np.cumsum(shares, axis=1)[groups, :2] < generator.random((len(groups), 1))
    return np.asarray(passed.sum(axis=1))


def _noise(groups: NDArray[np.intp], generator: np.random.Generator) -> NDArray[np.float64]:
    common = generator.normal(size=(groups[-1] + 1, 3))[groups]
    own = generator.normal(size=(len(groups), 3))
    return np.asarray(np.sqrt(SHARED_NOISE) * common + np.sqrt(1 - SHARED_NOISE) * own)


def _probabilities(seen: NDArray[np.float64], design: Design) -> NDArray[np.float64]:
    logits = SHARPNESS * (SIGNAL * seen + PRIOR_KEPT * np.log(design.prior))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def statistics(sample: Sample, *, threshold: float) -> dict[str, Statistic]:
    """What is measured of a test set; `ece` and `shifted_*` only enter differences."""
    score, positives = sample.clean[:, 0], sample.positives
    sure, right = sample.clean.max(axis=1), sample.clean.argmax(axis=1) == sample.targets
    return {
        "auroc": partial(ranking.weighted_auroc, score, positives),
        "average_precision": partial(ranking.weighted_average_precision, score, positives),
        "macro_f1": _macro_f1(sample),
        "sensitivity": partial(
            operating.weighted_sensitivity, score, positives, threshold=threshold
        ),
        "aurc": partial(selective.weighted_aurc, ~right, sure),
        "shifted_auroc": partial(ranking.weighted_auroc, sample.shifted[:, 0], positives),
        "ece": _ece(sample.clean, sample.targets),
        "shifted_ece": _ece(sample.shifted, sample.targets),
    }


def _macro_f1(sample: Sample) -> Statistic:
    predicted = sample.clean.argmax(axis=1)
    return lambda weights: classification.macro_f1(
        classification.weighted_confusion(predicted, sample.targets, weights, n_classes=3)
    )


def _ece(probabilities: NDArray[np.float64], targets: NDArray[np.intp]) -> Statistic:
    right = probabilities.argmax(axis=1) == targets
    return partial(calibration.weighted_ece, probabilities.max(axis=1), right)


@dataclass(frozen=True)
class Truth:
    """True values of all metrics at one prevalence, their Monte-Carlo errors, the threshold."""

    threshold: float
    metrics: dict[str, float]
    errors: dict[str, float]


def truth(prevalence: float, *, seed: int) -> Truth:
    """Means over 20 populations of 200,000 independent cases; errors are those of the means."""
    generator = np.random.default_rng([seed, round(1000 * prevalence)])
    design = Design("single", prevalence, POPULATION_ROWS)
    first = draw(design, generator)
    threshold = operating.threshold_at_specificity(
        first.clean[~first.positives, 0], specificity=SPECIFICITY
    )
    blocks = [points(draw(design, generator), threshold) for _ in range(POPULATION_BLOCKS)]
    columns = {name: np.array([block[name] for block in blocks]) for name in blocks[0]}
    return Truth(
        threshold=threshold,
        metrics={name: float(column.mean()) for name, column in columns.items()},
        errors={
            name: float(column.std(ddof=1) / np.sqrt(len(column)))
            for name, column in columns.items()
        },
    )


def points(sample: Sample, threshold: float) -> dict[str, float]:
    """Every metric of a sample itself, with the differences of conditions."""
    ones = np.ones((1, len(sample.targets)), dtype=np.uint16)
    found = {
        name: float(statistic(ones)[0])
        for name, statistic in statistics(sample, threshold=threshold).items()
    }
    return with_differences(found)


def with_differences(found: dict[str, Value]) -> dict[str, Value]:
    """`shifted_*` turned into differences, condition minus clean."""
    return {
        **{name: v for name, v in found.items() if name != "ece" and "shifted" not in name},
        "auroc_delta": found["shifted_auroc"] - found["auroc"],
        "ece_delta": found["shifted_ece"] - found["ece"],
    }
