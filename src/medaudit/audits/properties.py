"""Properties of images: metadata columns by value and statistics by quantile, in plain words."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.stats import rankdata

from medaudit.core.params import LARGEST_SEED, Section
from medaudit.stats.weighting import ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medaudit.core.arrays import BoolArray, Float64Array, IntArray

NOT_MEASURED = "not measured"
"""Verdict on what too few rows, or rows without embeddings, can say nothing about."""
CHANCE = 0.95  # probability with which chance stays below what is told beside an AUROC
NO_PROPERTIES = ("sample_id", "group_id", "role", "target")
MISSING = "missing"
PARTS = {2: "half", 3: "third", 4: "quarter", 5: "fifth"}
UNEVEN = 1.25  # a bin that holds so many times its part, because of ties, is no quarter
ORDINALS = ("second", "third", "fourth")


class DiscoveryParams(Section):
    """What is looked for without being named: slices, shortcuts, drift of roles, label issues.

    Args:
        exclude: columns that are no property of an image, such as one that follows from the label.
        bins: into how many a column of numbers is cut.
        max_values: a column with more different texts is left out.
        max_conditions: of a rule.
        alpha: how much the error of a rule counts, against its size.
        shrinkage: rows with the errors of their classes that are added to a rule or a cluster while
            slices are searched, since a few errors in a few rows say little; 0 is SliceLine as
            published.
        min_size: samples that a rule or a cluster must hold where it is found and where it is
            tested.
        max_overlap: share of rows (intersection over union) above which two rules are one.
        rules: at most so many of each kind of error go to the test role.
        clusters: of embeddings, of which at most `rules` of each kind of error go to the test role.
        components: principal components of embeddings that are kept.
        min_association: AUROC of a property for a class in training, from which it may be a
            shortcut.
        source: text column by which an association may break, such as the hospital; or `None`.
        folds: of cross-validation, by groups.
        permutations: of the roles of groups.
        listed: labels that are listed beside all that are flagged, the most suspect first.
        seed: of permutations, folds and clusters.
    """

    section = "discovery"
    exclude: tuple[str, ...] = ()
    bins: int = Field(4, ge=2, le=10)
    max_values: int = Field(20, ge=2, le=1000)
    max_conditions: int = Field(3, ge=1, le=3)
    alpha: float = Field(0.95, gt=0, le=1)
    shrinkage: float = Field(20, ge=0, le=1_000_000)
    min_size: int = Field(10, ge=2, le=1_000_000)
    max_overlap: float = Field(0.5, ge=0, le=1)
    rules: int = Field(5, ge=1, le=100)
    clusters: int = Field(12, ge=2, le=1000)
    components: int = Field(20, ge=1, le=1000)
    min_association: float = Field(0.55, ge=0.5, lt=1)
    source: str | None = None
    folds: int = Field(5, ge=2, le=100)
    permutations: int = Field(500, ge=19, le=100_000)
    listed: int = Field(100, ge=1, le=100_000)
    seed: int = Field(11, ge=0, le=LARGEST_SEED)


@dataclass(frozen=True, eq=False)
class Property:
    """A column with its frozen values or bins; every row has one of them by its code.

    Args:
        column: of the rows.
        names: of codes 0, 1, ...: texts, or bins in rising order; the last may be `MISSING`.
        edges: inner edges of the bins of a column of numbers; `None` for texts.
    """

    column: str
    names: tuple[str, ...]
    edges: Float64Array | None = None

    def codes(self, rows: pd.DataFrame) -> IntArray:
        """Code of every row, (n,); −1 for a text that was not there when values were frozen."""
        if self.edges is None:
            places = {name: code for code, name in enumerate(self.names)}
            return np.array([places.get(name, -1) for name in texts(rows[self.column])], np.int64)
        values = numbers(rows[self.column])
        found = np.searchsorted(self.edges, values, side="left")
        absent = self.names.index(MISSING) if MISSING in self.names else -1
        return np.where(np.isnan(values), absent, found).astype(np.int64)

    def words(self, code: int) -> str:
        """One value or bin as people say it: `dataset = rosendahl`, `age at most 40`."""
        joint = " " if self.edges is not None and self.names[code] != MISSING else " = "
        return f"{self.column}{joint}{self.names[code]}"


def properties(rows: pd.DataFrame, params: DiscoveryParams) -> tuple[Property, ...]:
    """The properties of rows, with values and edges of these rows.

    Columns of ids, of one value, and of too many texts are none.
    """
    left_out = {*NO_PROPERTIES, *params.exclude}
    found = (of_column(rows[name], params) for name in rows if name not in left_out)
    return tuple(each for each in found if each is not None)


def of_column(
    column: pd.Series[float] | pd.Series[str], params: DiscoveryParams
) -> Property | None:
    """A column as a property, or `None` where it tells rows not apart or all of them apart."""
    name, different = str(column.name), column.nunique(dropna=True)
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if is_number and different > params.bins:
        edges = inner_edges(numbers(column), params.bins)
        sizes = np.bincount(np.searchsorted(edges, numbers(column.dropna()), side="left"))
        even = sizes.max() <= UNEVEN * sizes.sum() / params.bins
        names = bin_words(edges, params.bins if even else 0)
        absent = (MISSING,) if column.isna().any() else ()
        return Property(name, (*names, *absent), edges) if len(names) > 1 else None
    values = sorted(set(texts(column)))
    return Property(name, tuple(values)) if 2 <= len(values) <= params.max_values else None


def inner_edges(values: Float64Array, bins: int) -> Float64Array:
    """Distinct quantiles between the first and the last bin, missing values left out."""
    known = values[~np.isnan(values)]
    found = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
    return np.asarray(found[found < known.max()])


def bin_words(edges: Float64Array, bins: int) -> list[str]:
    """Bins between inner edges in words: `at most 0.05 (lowest quarter)`, `0.05 to 0.08`, ...

    Without "quarter" where there are other than `bins` of them.
    """
    if not len(edges):
        return ["any"]
    ends = next(
        shown
        for digits in range(3, 18)
        if len(set(shown := [f"{edge:.{digits}g}" for edge in edges])) == len(edges)
    )
    ranges = [
        f"at most {ends[0]}",
        *(f"{low} to {high}" for low, high in itertools.pairwise(ends)),
        f"above {ends[-1]}",
    ]
    part = PARTS.get(bins)
    if part is None or len(ranges) != bins:
        return ranges
    places = ["lowest", *ORDINALS[: bins - 2], "highest"]
    return [f"{text} ({place} {part})" for text, place in zip(ranges, places, strict=True)]


def texts(column: pd.Series[float] | pd.Series[str]) -> list[str]:
    """A column as texts, `MISSING` where it is."""
    known = column.notna().to_numpy()
    return [str(value) if there else MISSING for value, there in zip(column, known, strict=True)]


def numbers(column: pd.Series[float] | pd.Series[str]) -> Float64Array:
    """A column as float64, NaN where it is missing or no number."""
    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class ConditionMatrix:
    """Which rows fulfil which simple conditions, a value or a bin of a property each.

    Args:
        holds: (n, c) booleans.
        owners: (c,) number of the property that each condition is of.
        codes: (c,) its code there.
    """

    holds: BoolArray
    owners: IntArray
    codes: IntArray


def condition_matrix(known: Sequence[Property], rows: pd.DataFrame) -> ConditionMatrix:
    """All conditions on rows, property by property."""
    pairs = [(i, code) for i, each in enumerate(known) for code in range(len(each.names))]
    found = [each.codes(rows) for each in known]
    holds = [found[i] == code for i, code in pairs]
    owners, codes = np.array(pairs, np.int64).reshape(-1, 2).T
    return ConditionMatrix(np.array(holds, bool).reshape(-1, len(rows)).T, owners, codes)


def feature_matrix(
    known: Sequence[Property], rows: pd.DataFrame
) -> tuple[Float64Array, tuple[str, ...]]:
    """Rows as standardised numbers for a linear model, (n, f), and the column that each is of.

    A column of numbers gives its values and their squares, so that a change of spread is seen too,
    and whether it is missing; a column of texts gives one indicator for each value.
    """
    blocks: list[Float64Array] = []
    names: list[str] = []
    for each in known:
        if each.edges is None:
            codes = each.codes(rows)
            block = (codes[:, None] == np.arange(len(each.names))).astype(np.float64)
        else:
            values = numbers(rows[each.column])
            absent = np.isnan(values)
            centred = standardised(np.where(absent, np.nanmean(values), values)[:, None])
            block = np.column_stack([centred, centred**2, absent])
        blocks.append(block)
        names += [each.column] * block.shape[1]
    joint = np.concatenate(blocks, axis=1) if blocks else np.zeros((len(rows), 0))
    return standardised(joint), tuple(names)


def standardised(values: Float64Array) -> Float64Array:
    """Columns with mean 0 and standard deviation 1; a constant column becomes 0."""
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    return np.asarray(np.where(spread > 1e-12, centred / np.where(spread > 0, spread, 1), 0.0))


def principal_components(
    values: Float64Array, params: DiscoveryParams, *, most: int, whiten: bool = False
) -> Any:
    """Principal components of embeddings (n, d), at most as many as there are; to be fitted."""
    from sklearn.decomposition import PCA

    found = min(most, *values.shape)
    return PCA(found, whiten=whiten, random_state=params.seed, svd_solver="randomized")


def column_aurocs(
    scores: Float64Array, truth: Float64Array | BoolArray, strata: IntArray
) -> Float64Array:
    """AUROC of every column over pairs of one stratum, (m,), by ranks (Mann-Whitney).

    Args:
        scores: (n, m).
        truth: (n, m) of 0 and 1.
        strata: (n,) only rows of one stratum are compared; all alike for the usual AUROC.
    """
    above, pairs = np.zeros(truth.shape[1]), np.zeros(truth.shape[1])
    for stratum in np.unique(strata):
        rows = strata == stratum
        positives = truth[rows].sum(axis=0)
        ranks = (rankdata(scores[rows], axis=0) * truth[rows]).sum(axis=0)
        above += ranks - positives * (positives + 1) / 2
        pairs += positives * (int(rows.sum()) - positives)
    return ratio(above, pairs)
