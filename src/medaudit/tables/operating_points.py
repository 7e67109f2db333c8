"""Operating points: one threshold per output, chosen on calibration and then frozen."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from medaudit.core.errors import DataError, listed
from medaudit.core.files import read_json, write_json
from medaudit.core.frozen import Count, Finite, Share, parse_facts
from medaudit.metrics import operating
from medaudit.stats.weighting import cluster_resamples
from medaudit.tables import tasks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    from medaudit.core.arrays import BoolArray, Float64Array
    from medaudit.tables.predictions import PredictionTable

FORMAT = 4

FOLD = "cross_fit_fold"
"""Column of the rows that are judged by what all other folds froze; there is no calibration role
where it stands."""


@dataclass(frozen=True, eq=False)
class CalibrationScores:
    """The predictions that thresholds were chosen on; n samples, k outputs.

    Args:
        probabilities: (n, k).
        negatives: (n, k).
        group_ids: lesion or patient of every sample, (n,).
    """

    probabilities: Float64Array
    negatives: BoolArray
    group_ids: npt.NDArray[np.str_]

    @classmethod
    def of(cls, calibration: PredictionTable) -> CalibrationScores:
        """Of a prediction table."""
        task = tasks.get(calibration.schema.task)
        positives = task.positives(calibration.targets, len(calibration.schema.classes))
        return cls(task.probabilities(calibration.logits), ~positives, calibration.group_ids)

    def first_of_groups(self) -> CalibrationScores:
        """The first sample of every group alone."""
        _, first = np.unique(self.group_ids, return_index=True)
        rows = np.sort(first)
        return CalibrationScores(
            self.probabilities[rows], self.negatives[rows], self.group_ids[rows]
        )


@dataclass(frozen=True)
class OperatingPoints:
    """An output is called positive when its probability exceeds its threshold.

    Args:
        classes: outputs in order.
        thresholds: one per output; NaN where calibration held no negative. Of cross-fitted ones
            the mean over the folds, which judges no sample.
        specificity: the least specificity on calibration that each threshold was chosen for.
        n_negative: calibration negatives behind each threshold.
        assurance: one-sided Clopper-Pearson level, in (0, 1), at which the specificity is promised
            for new samples; `None` if it is only that of the calibration sample.
        n_negative_groups: groups of these negatives; empty where it was not counted.
        n_independent: how many independent negatives would be worth as much, given how alike those
            of a group are; empty where it was not counted.
        on_calibration: specificity on these negatives, at least the one asked for; more with an
            assurance, or with ties; empty where it was not counted.
        by_fold: thresholds of the samples of every fold, chosen on all other folds; empty unless
            they are cross-fitted.
        sample: the predictions that they were chosen on, while they are at hand; not stored.
    """

    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    specificity: float
    n_negative: tuple[int, ...]
    assurance: float | None = None
    n_negative_groups: tuple[int, ...] = ()
    n_independent: tuple[float, ...] = ()
    on_calibration: tuple[float, ...] = ()
    by_fold: tuple[tuple[float, ...], ...] = ()
    sample: CalibrationScores | None = field(default=None, compare=False, repr=False)

    @property
    def cross_fitted(self) -> bool:
        """Whether every sample is judged by thresholds that other samples chose."""
        return bool(self.by_fold)

    def of_rows(self, rows: pd.DataFrame) -> Float64Array:
        """Thresholds of rows, (n, k) where they are cross-fitted, else (1, k) for all of them.

        Raises:
            DataError: cross-fitted thresholds for rows that are in no fold.
        """
        if not self.cross_fitted:
            return np.array([self.thresholds])
        if FOLD not in rows:
            raise DataError(
                "these thresholds are cross-fitted, each for a part of the samples that it was "
                "made with; for other samples give a calibration role"
            )
        return np.asarray(np.array(self.by_fold)[rows[FOLD].to_numpy(dtype=np.int64)])

    def expected_specificity(
        self, k: int, *, n_new: float, level: float = 0.95
    ) -> tuple[float, float]:
        """Range of the specificity of output k on new negatives like those of calibration.

        NaN for cross-fitted thresholds: the specificity over all folds is the one asked for by
        construction, and tells nothing.

        Args:
            k: number of the output.
            n_new: independent negatives that it is realised on.
            level: share of new samples whose specificity lies in the range.
        """
        if self.cross_fitted:
            return np.nan, np.nan
        n = self.n_independent[k] if self.n_independent else float(self.n_negative[k])
        chosen = self.on_calibration[k] if self.on_calibration else self.specificity
        return operating.expected_specificity(chosen, n_chosen=n, n_new=n_new, level=level)

    def redrawn(self, *, replicates: int, seed: int) -> Float64Array:
        """Thresholds chosen anew on resamples of the calibration groups, (replicates, k).

        Raises:
            DataError: the calibration predictions are not at hand.
        """
        if self.sample is None:
            raise DataError(
                "evaluate.threshold_uncertainty: expected thresholds that were frozen on a "
                "calibration role in this run, got stored or cross-fitted ones; set it to false"
            )
        sample = self.sample if self.assurance is None else self.sample.first_of_groups()
        drawn = cluster_resamples(sample.group_ids, replicates=replicates, seed=seed)
        columns = []
        for k, least in enumerate(self.on_calibration):
            rows = sample.negatives[:, k]
            # With an assurance the rank is a fixed share of the negatives, above the one asked for.
            share = self.specificity if self.assurance is None else least
            columns.append(
                operating.weighted_threshold_at_specificity(
                    sample.probabilities[rows, k], drawn.weights[:, rows], specificity=share
                )
            )
        return np.column_stack(columns)


def choose(
    calibration: PredictionTable, *, specificity: float, assurance: float | None = None
) -> OperatingPoints:
    """Freeze, for every output, the smallest threshold that reaches `specificity`.

    With an `assurance` the first sample of every group alone is asked, since the promise holds for
    independent ones.

    Raises:
        DataError: too few negatives for the promise.
    """
    sample, classes = CalibrationScores.of(calibration), calibration.schema.classes
    if assurance is None:
        _refuse_certain(sample, classes)
        chosen = sample
        thresholds = tuple(
            operating.threshold_at_specificity(scores, specificity=specificity)
            for scores in _negative_scores(sample)
        )
    else:
        chosen = sample.first_of_groups()
        _refuse_too_few(chosen, classes, specificity=specificity, assurance=assurance)
        thresholds = tuple(
            operating.guaranteed_threshold_at_specificity(
                scores, specificity=specificity, confidence=assurance
            )
            for scores in _negative_scores(chosen)
        )
    spared = chosen.probabilities <= np.array(thresholds)
    return OperatingPoints(
        classes=classes,
        thresholds=thresholds,
        specificity=specificity,
        n_negative=tuple(int(count) for count in chosen.negatives.sum(axis=0)),
        assurance=assurance,
        n_negative_groups=tuple(
            len(np.unique(chosen.group_ids[rows])) for rows in chosen.negatives.T
        ),
        n_independent=tuple(
            operating.independent_cases(spared[rows, k], chosen.group_ids[rows])
            for k, rows in enumerate(chosen.negatives.T)
        ),
        on_calibration=tuple(
            float(spared[rows, k].mean()) if rows.any() else np.nan
            for k, rows in enumerate(chosen.negatives.T)
        ),
        sample=sample,
    )


def cross_fit(
    samples: PredictionTable, *, specificity: float, assurance: float | None = None
) -> OperatingPoints:
    """Thresholds of every fold, chosen on all others; the column `FOLD` says who is in which.

    Counts are those of the smallest calibration sample among them.
    """
    parts = [
        choose(others, specificity=specificity, assurance=assurance)
        for others in without_each_fold(samples)
    ]
    fewest = min(parts, key=lambda part: sum(part.n_negative))
    return replace(
        fewest,
        thresholds=tuple(np.mean([part.thresholds for part in parts], axis=0).tolist()),
        by_fold=tuple(part.thresholds for part in parts),
        sample=None,
    )


def without_each_fold(samples: PredictionTable) -> Iterator[PredictionTable]:
    """For fold 0, 1, ... all samples of the other folds."""
    folds = samples.rows[FOLD].to_numpy(dtype=np.int64)
    for fold in range(folds.max() + 1):
        yield samples.where(folds != fold)


def _negative_scores(sample: CalibrationScores) -> Iterator[Float64Array]:
    for k, rows in enumerate(sample.negatives.T):
        yield sample.probabilities[rows, k]


def _refuse_certain(sample: CalibrationScores, classes: tuple[str, ...]) -> None:
    certain = [name for k, name in enumerate(classes) if not sample.negatives[:, k].any()]
    if certain:
        raise DataError(
            f"calibration role: every sample has {listed(certain)}, so that no threshold can be "
            f"frozen for it; enlarge the role or leave the label out"
        )


def _refuse_too_few(
    single: CalibrationScores, classes: tuple[str, ...], *, specificity: float, assurance: float
) -> None:
    needed = operating.negatives_needed(specificity, assurance)
    counts = single.negatives.sum(axis=0)
    short = [f"{name} ({n})" for name, n in zip(classes, counts, strict=True) if n < needed]
    if short:
        raise DataError(
            f"a specificity of {specificity:g} can be promised with assurance {assurance:g} from "
            f"{needed} calibration groups without the class on; too few for {listed(short)}; "
            f"enlarge the calibration role or set evaluate.assurance to null"
        )


STORED = tuple(each.name for each in fields(OperatingPoints) if each.name != "sample")


def write(points: OperatingPoints, path: Path) -> None:
    """Write the points as JSON; an undefined threshold becomes `null`."""
    content: dict[str, Any] = {name: getattr(points, name) for name in STORED}
    content |= {
        "format": FORMAT,
        "thresholds": _known(points.thresholds),
        "on_calibration": _known(points.on_calibration),
        "by_fold": [_known(each) for each in points.by_fold],
    }
    write_json(path, content)


def _known(numbers: tuple[float, ...]) -> list[float | None]:
    return [number if np.isfinite(number) else None for number in numbers]


def read(path: Path) -> OperatingPoints:
    """Read the points that `write` wrote."""
    content = read_json(path, stage="evaluate")
    if content.get("format", FORMAT) != FORMAT:
        raise DataError(
            f"{path}: expected format {FORMAT}, got {content.get('format')!r}; "
            f"run the evaluate stage again"
        )
    stored = parse_facts(_Stored, content, path=path, stage="evaluate")
    n = len(stored.classes)
    needed = (stored.thresholds, stored.n_negative, *stored.by_fold)
    counted = (stored.n_negative_groups, stored.n_independent, stored.on_calibration)
    wrong = [len(each) for each in needed if len(each) != n]
    wrong += [len(each) for each in counted if len(each) not in (0, n)]
    if wrong:
        raise DataError(
            f"{path}: expected {n} thresholds and counts, one per class, got {listed(wrong)}; run "
            f"the evaluate stage again"
        )
    return stored.points()


class _Stored(BaseModel):
    """The file, number by number; a threshold is a probability."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[4]
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    thresholds: tuple[Share | None, ...]
    specificity: Share
    n_negative: tuple[Count, ...]
    assurance: Annotated[float, Field(gt=0, lt=1)] | None
    n_negative_groups: tuple[Count, ...]
    n_independent: tuple[Annotated[Finite, Field(ge=0)] | None, ...]
    on_calibration: tuple[Share | None, ...]
    by_fold: tuple[tuple[Share | None, ...], ...]

    def points(self) -> OperatingPoints:
        """The points, undefined numbers as NaN."""
        content = {name: getattr(self, name) for name in STORED}
        numbers = ("thresholds", "n_independent", "on_calibration")
        content |= {name: _numbers(content[name]) for name in numbers}
        return OperatingPoints(**content | {"by_fold": tuple(map(_numbers, self.by_fold))})


def _numbers(values: tuple[float | None, ...]) -> tuple[float, ...]:
    return tuple(np.nan if value is None else value for value in values)
