"""Cutting a test set into slices: by the values of a column, or at quantiles of the train role."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field, field_validator, model_validator

from medaudit.audits.slice_words import bin_words, edge_texts, value_words
from medaudit.core.errors import DataError, listed
from medaudit.core.params import Section, each_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from medaudit.core.arrays import BoolArray, Float64Array

SLICE_METRICS = (
    "accuracy",
    "exact_match",
    "balanced_accuracy",
    "macro_auroc",
    "macro_auprc",
    "macro_f1",
    "macro_sensitivity",
    "macro_specificity",
    "micro_f1",
    "f1_at_half",
    "brier_loss",
    "ece",
    "critical_auroc",
    "critical_auprc",
    "critical_f1",
    "critical_sensitivity",
    "critical_specificity",
    "mean_confidence",
)
# Of masks, and what not every prediction table carries.
OPTIONAL = (
    "dataset",
    "lesion_area",
    "lesion_centre",
    "lesion_solidity",
    "lesion_contrast",
    "touches_border",
)
MOST_CONFIRMATORY = 3

log = logging.getLogger(__name__)


class SliceParams(Section):
    """Which slices are cut, and which are too small or too large to say anything.

    Columns of `OPTIONAL` may be named for data sets that lack them.

    Args:
        columns: a slice per value.
        quantiles: numeric columns, and into how many bins they are cut.
        crossed: pairs of these columns; a slice per value (or bin) of the one within each of the
            other.
        min_size: samples that a slice must have.
        min_positives: cases that a measure of positives must rest on.
        max_share: of the test role, above which a slice is the whole.
        confirmatory: up to three columns, named beforehand, whose slices are one family with a
            common error; the first three columns if empty. All others are explored.
        margin: difference to the rest that would not matter, as a share.
    """

    section = "slice"
    columns: tuple[str, ...] = ()
    quantiles: dict[str, Annotated[int, Field(ge=2, le=20)]] = Field(default_factory=dict)
    crossed: tuple[tuple[str, str], ...] = ()
    min_size: int = Field(30, ge=2, le=1_000_000)
    min_positives: int = Field(10, ge=1, le=1_000_000)
    max_share: float = Field(0.9, gt=0, le=1)
    confirmatory: tuple[str, ...] = Field((), max_length=MOST_CONFIRMATORY)
    margin: float = Field(0.1, gt=0, lt=1)

    @field_validator("columns", "confirmatory")
    @classmethod
    def _once(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        return each_once(columns)

    @model_validator(mode="after")
    def _known(self) -> SliceParams:
        unknown = [name for name in self.confirmatory if name not in self.all_columns]
        if unknown:
            raise ValueError(
                f"confirmatory: {listed(unknown)} stands neither under columns nor under quantiles"
            )
        return self

    @model_validator(mode="after")
    def _crossed(self) -> SliceParams:
        each_once(tuple(" and ".join(sorted(pair)) for pair in self.crossed))
        unknown = [name for pair in self.crossed for name in pair if name not in self.all_columns]
        if unknown:
            raise ValueError(
                f"crossed: {listed(unknown)} stands neither under columns nor under quantiles"
            )
        if any(first == second for first, second in self.crossed):
            raise ValueError("crossed: expected pairs of two different columns")
        return self

    @property
    def all_columns(self) -> tuple[str, ...]:
        """Columns cut by value and at quantiles, each once."""
        return tuple(dict.fromkeys([*self.columns, *self.quantiles]))

    @property
    def confirmed(self) -> tuple[str, ...]:
        """Columns of the confirmatory family: those named, or else the first three."""
        return self.confirmatory or self.all_columns[:MOST_CONFIRMATORY]

    def cutting(self, columns: Sequence[str], quantiles: Mapping[str, int]) -> SliceParams:
        """The parameters for other columns; what is confirmatory or crossed among them stays so."""
        known = {*columns, *quantiles}
        return self.model_copy(
            update={
                "columns": tuple(columns),
                "quantiles": dict(quantiles),
                "confirmatory": tuple(name for name in self.confirmatory if name in known),
                "crossed": tuple(pair for pair in self.crossed if set(pair) <= known),
            }
        )


@dataclass(frozen=True)
class Slice:
    """A named part of the test set.

    Args:
        column: that it is cut on; two, joined by `and`, where it is crossed.
        name: of the value or bin.
        mask: which rows belong to it, (n,).
        words: for people, for example `lowest-contrast quarter (0.05 to 0.08)`.
        parts: the two slices whose overlap it is, where it is crossed.
    """

    column: str
    name: str
    mask: BoolArray
    words: str = ""
    parts: tuple[Slice, ...] = ()

    @property
    def label(self) -> str:
        """For example `sex=female`, `age <=30`, `sex=female and age <=30`."""
        if self.parts:
            return " and ".join(part.label for part in self.parts)
        return (
            f"{self.column} {self.name}" if self.name[0] in "<>[(" else f"{self.column}={self.name}"
        )


def absent_columns(rows: pd.DataFrame, params: SliceParams) -> tuple[str, ...]:
    """Named columns that this data set lacks, where it may lack them."""
    absent = tuple(name for name in params.all_columns if name in OPTIONAL and name not in rows)
    for name in absent:
        log.warning("slice column %s is not in this data set; it is left out", name)
    return absent


def without(params: SliceParams, absent: tuple[str, ...]) -> SliceParams:
    """The parameters without these columns."""
    columns = tuple(name for name in params.columns if name not in absent)
    quantiles = {name: bins for name, bins in params.quantiles.items() if name not in absent}
    return params.cutting(columns, quantiles)


@dataclass(frozen=True)
class SliceEdges:
    """Where the bins of every numeric column begin and end.

    Args:
        inner: inner edges by column; none where all values are in one bin.
        even: columns whose bins hold about equally many of the train role, so that a bin of four
            is a quarter. Columns with many equal values are none.
    """

    inner: Mapping[str, Float64Array]
    even: frozenset[str] = frozenset()


def edges(train_rows: pd.DataFrame, params: SliceParams) -> SliceEdges:
    """Edges at the quantiles of the train role.

    Columns that the train role lacks have none; whether slices may lack them is said by `slices`.
    """
    known = {name: bins for name, bins in params.quantiles.items() if name in train_rows}
    inner = {name: inner_edges(train_rows[name], bins=bins) for name, bins in known.items()}
    even = {
        name
        for name, bins in known.items()
        if is_even(numbers(train_rows[name]), inner[name], bins=bins)
    }
    return SliceEdges(inner, frozenset(even))


def inner_edges(values: pd.Series[Any], *, bins: int) -> Float64Array:
    """Distinct quantiles between the first and the last bin, missing values left out."""
    known = numbers(values)
    known = known[~np.isnan(known)]
    if len(known) == 0:
        raise DataError(
            f"slice column {values.name!r} has no value in the train role to take edges from"
        )
    return np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))


UNEVEN = 0.2  # by which the share of a bin may differ from an equal one, in parts of it


def is_even(values: Float64Array, inner: Float64Array, *, bins: int) -> bool:
    """Whether as many bins as asked for hold about equally many values."""
    known = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(inner, known, side="left"), minlength=len(inner) + 1)
    off = np.abs(counts * bins / len(known) - 1)
    return len(counts) == bins and bool((off <= UNEVEN).all())


def slices(rows: pd.DataFrame, frozen: SliceEdges, params: SliceParams) -> Iterator[Slice]:
    """All slices that the parameters name, values in sorted order."""
    missing = [column for column in params.all_columns if column not in rows]
    if missing:
        raise DataError(
            f"params.yaml: slice columns {listed(missing)} are not in the predictions; "
            f"columns there: {listed(list(map(str, rows.columns)), limit=20)}"
        )
    for column in params.columns:
        yield from by_value(rows, column)
    for column in params.quantiles:
        yield from by_quantile(rows, column, frozen)
    for pair in params.cutting(params.columns, params.quantiles).crossed:
        first, second = (
            by_quantile(rows, name, frozen) if name in params.quantiles else by_value(rows, name)
            for name in pair
        )
        yield from crossed(list(first), list(second))


def crossed(first: Sequence[Slice], second: Sequence[Slice]) -> Iterator[Slice]:
    """Overlaps of the slices of two columns, without empty ones and those that are a slice already.

    What is too small is left to the caller, who says so.
    """
    for one, other in itertools.product(first, second):
        mask = one.mask & other.mask
        whole = any(np.array_equal(mask, part.mask) for part in (one, other))
        if not mask.any() or whole:
            continue
        yield Slice(
            f"{one.column} and {other.column}",
            f"{one.name} and {other.name}",
            mask,
            words=f"{one.words} and {other.words}",
            parts=(one, other),
        )


def by_value(rows: pd.DataFrame, column: str) -> Iterator[Slice]:
    """One slice per value; missing values are a slice of their own."""
    values = rows[column].astype("object").where(rows[column].notna(), "missing").astype(str)
    for name in sorted(values.unique()):
        yield Slice(column, name, (values == name).to_numpy(), words=value_words(column, name))


def by_quantile(rows: pd.DataFrame, column: str, frozen: SliceEdges) -> Iterator[Slice]:
    """Bins at the frozen edges; missing values apart."""
    if column not in frozen.inner:
        raise DataError(
            f"slice column {column!r} is not among the rows that edges are taken from; "
            f"columns with edges: {listed(list(frozen.inner))}"
        )
    values, inner = numbers(rows[column]), frozen.inner[column]
    place = np.searchsorted(inner, values, side="left")
    place[np.isnan(values)] = -1
    even = column in frozen.even
    for i, name in enumerate(bin_names(inner)):
        words = bin_words(column, values[place == i], inner, place=i, even=even)
        yield Slice(column, name, place == i, words=words)
    if (place == -1).any():
        yield Slice(column, "missing", place == -1, words=value_words(column, "missing"))


def numbers(values: pd.Series[Any]) -> Float64Array:
    """A column as float64, NaN where it is missing."""
    try:
        return np.asarray(pd.to_numeric(values), dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"params.yaml: slice.quantiles names {values.name!r}, which is not a number column; "
            f"put it under slice.columns"
        ) from None


def bin_names(inner: Float64Array) -> list[str]:
    """Names such as `<=30`, `(30, 50]`, `>50` for the bins between inner edges."""
    if not len(inner):
        return ["any"]
    edges = edge_texts(inner)
    middle = [f"({low}, {high}]" for low, high in itertools.pairwise(edges)]
    return [f"<={edges[0]}", *middle, f">{edges[-1]}"]
