"""What public metrics take: lists, arrays, series or data frames; and the interval they give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from pydantic import ValidationError

from medaudit.core.errors import DataError, ParamsError, listed
from medaudit.stats.bootstrap import Bootstrap, IntervalParams, Measure, Method

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from medaudit.core.arrays import BoolArray, Float64Array
    from medaudit.stats.intervals import Estimate


class IntervalOptions(TypedDict, total=False):
    """How the interval is made; every public metric takes these keywords.

    Attributes:
        groups: patient or lesion of every sample, (n,); whole groups are resampled. Without it
            every sample counts as independent.
        level: nominal coverage, above 0.5 and below 1; 0.95 by default.
        replicates: resamples, at least 100; 2000 by default.
        seed: of the resamples.
        method: `adjusted` (default), `percentile` or `bca`.
    """

    groups: ArrayLike | None
    level: float
    replicates: int
    seed: int
    method: Method


def bootstrap_of(n: int, options: IntervalOptions) -> Bootstrap:
    """Resamples of n samples, in their groups."""
    asked: dict[str, Any] = dict(options)
    groups = asked.pop("groups", None)
    ids = np.arange(n) if groups is None else np.asarray(groups)
    if ids.shape != (n,):
        raise DataError(f"groups: expected {n} of them, one per sample, got shape {ids.shape}")
    try:
        # As words, like the groups of a table: equal groups give equal draws.
        return Bootstrap.of_groups(ids.astype(str), IntervalParams(**asked))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ParamsError(f"{name}: {first['msg']}, got {first['input']!r}") from None


def interval(measure: Measure, n: int, options: IntervalOptions) -> Estimate:
    """The value with its interval."""
    return bootstrap_of(n, options).interval(measure)


def vector(values: ArrayLike, *, what: str) -> Float64Array:
    """Numbers (n,) without NaN."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: expected numbers ({error})") from None
    if array.ndim != 1:
        raise DataError(f"{what}: expected one number per sample, (n,), got shape {array.shape}")
    _refuse_nan(np.isnan(array), what=what)
    return array


def flags(values: ArrayLike, *, what: str) -> BoolArray:
    """0 and 1, or false and true, of any shape."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        known = np.unique(array.astype(str)).tolist()
        raise DataError(f"{what}: expected 0 and 1, got {listed(known)}")
    return array.astype(bool)


def binary(targets: ArrayLike, scores: ArrayLike) -> tuple[BoolArray, Float64Array]:
    """Truth and scores of one event, (n,) each."""
    truth, values = flags(targets, what="targets"), vector(scores, what="scores")
    same_length(truth, values, what="scores")
    return truth, values


def same_length(first: NDArray[Any], second: NDArray[Any], *, what: str) -> None:
    """An error where two arrays are not of as many samples."""
    if first.shape[:1] != second.shape[:1] or first.ndim == 0:
        raise DataError(f"{what}: expected {len(first)} rows, one per target, got {len(second)}")


@dataclass(frozen=True, eq=False)
class Classes:
    """Numbers of the true and of the predicted classes, (n,) each, in a list of classes.

    Args:
        targets: (n,) below `n_classes`.
        predictions: (n,) below `n_classes`.
        names: of the classes.
    """

    targets: NDArray[np.int64]
    predictions: NDArray[np.int64]
    names: tuple[str, ...]

    @property
    def present(self) -> list[int]:
        """Classes that have targets."""
        return [int(k) for k in np.unique(self.targets)]

    @property
    def truth(self) -> BoolArray:
        """One column per class that has targets, (n, classes)."""
        return np.asarray(self.targets[:, None] == np.array(self.present)[None])


def classes_of(
    targets: ArrayLike, predictions: ArrayLike, classes: Sequence[object] | None
) -> Classes:
    """Names or numbers of classes; the list is that of all that occur, if none is given."""
    truth, called = np.asarray(targets), np.asarray(predictions)
    for what, array in (("targets", truth), ("predictions", called)):
        if array.ndim != 1:
            raise DataError(f"{what}: expected one class per sample, (n,), got {array.shape}")
    same_length(truth, called, what="predictions")
    words = [_words(truth, what="targets"), _words(called, what="predictions")]
    occurring = np.unique(np.concatenate(words)).tolist()
    names = tuple(occurring) if classes is None else tuple(str(name) for name in classes)
    return Classes(_places(words[0], names), _places(words[1], names), names)


def stated(
    targets: ArrayLike, probabilities: ArrayLike, classes: Sequence[object] | None
) -> tuple[NDArray[np.int64], Float64Array]:
    """Class numbers (n,) and the probabilities of all classes, (n, k).

    Classes are the columns of a data frame, or as given, or the numbers of the columns.
    """
    table = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(targets)
    if table.ndim != 2 or truth.ndim != 1:
        raise DataError(
            f"expected targets (n,) and probabilities (n, k), got {truth.shape} and {table.shape}"
        )
    same_length(truth, table, what="probabilities")
    _refuse_nan(np.asarray(np.isnan(table).any(axis=1)), what="probabilities")
    columns = getattr(probabilities, "columns", range(table.shape[1]))
    names = tuple(str(name) for name in (columns if classes is None else classes))
    if len(names) != table.shape[1]:
        raise DataError(f"classes: expected {table.shape[1]} of them, got {len(names)}")
    numbered = truth.dtype.kind in "biuf" and not any(name.isdecimal() for name in names)
    known = tuple(str(k) for k in range(len(names))) if numbered else names
    return _places(_words(truth, what="targets"), known), table


def event(
    targets: ArrayLike, probabilities: ArrayLike, classes: Sequence[object] | None = None
) -> tuple[BoolArray, Float64Array]:
    """Outcome and probability of an event, (n,) each; of classes (n, k) the most probable one."""
    if np.ndim(probabilities) == 1:
        return binary(targets, probabilities)
    truth, table = stated(targets, probabilities, classes)
    return np.asarray(table.argmax(axis=1) == truth), np.asarray(table.max(axis=1))


def _words(values: NDArray[Any], *, what: str) -> NDArray[np.str_]:
    """Classes as words: 1, 1.0, True and "1" are the same one."""
    cells = values.tolist()
    missing = np.array([cell is None or cell != cell for cell in cells], dtype=bool)
    _refuse_nan(missing, what=what)
    whole = (
        isinstance(cell, bool) or (isinstance(cell, float) and cell.is_integer()) for cell in cells
    )
    return np.array(
        [
            str(int(cell)) if number else str(cell)
            for cell, number in zip(cells, whole, strict=True)
        ],
        dtype=np.str_,
    )


def _places(words: NDArray[np.str_], names: Sequence[str]) -> NDArray[np.int64]:
    place = {name: k for k, name in enumerate(names)}
    unknown = sorted({word for word in words.tolist() if word not in place})
    if unknown:
        raise DataError(f"unknown classes {listed(unknown)}; known: {listed(names, limit=20)}")
    return np.array([place[word] for word in words.tolist()], dtype=np.int64)


def _refuse_nan(missing: BoolArray, *, what: str) -> None:
    if missing.any():
        rows = np.flatnonzero(missing).tolist()
        raise DataError(f"{what}: expected no missing values, got some in rows {listed(rows)}")
