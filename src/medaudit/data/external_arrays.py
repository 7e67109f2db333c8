"""Predictions that are held in memory: arrays and data frames, checked and joined into tables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medaudit.core.errors import DataError, ParamsError, listed, lookup, quoted
from medaudit.data import external_tables
from medaudit.data.datasets import source_files
from medaudit.data.external_outputs import Kind, Outputs, check_outputs, refuse_odd_names
from medaudit.data.external_tables import MetadataColumns, Split, Truth, as_text
from medaudit.tables.predictions import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from medaudit.data.external_tables import Joined
    from medaudit.tables.predictions import Condition, PredictionTable

# How the arguments are called in messages, where files have their paths.
TARGETS, METADATA = Path("targets"), Path("metadata")
BINS = 4  # of number columns that are cut without being asked for
FEW_VALUES = 12  # numbers with no more values than this are cut value by value


@dataclass(frozen=True, eq=False)
class ArrayInputs:
    """Everything about samples that were predicted elsewhere. n samples, k outputs.

    Args:
        targets: class names or class numbers (n,), or 0 and 1 per label (n, k).
        outputs: (n, k), or (members, n, k); columns of a data frame are the classes.
        kind: what the outputs are.
        classes: names of the outputs, in the order of the columns of an array.
        critical: class that must not be missed.
        ids: sample ids (n,); by default the index of a data frame, or else row numbers.
        groups: patient or lesion of every sample (n,), or the column of `metadata` with them.
        metadata: columns to cut slices on, n rows.
        roles: `calibration` or `test` for every sample (n,), or the column of `metadata` with them.
        slices: columns of `metadata`; all of them if `None`.
        quantiles: number columns to cut at quantiles, and into how many bins.
        conditions: outputs of the same samples under corruptions or shifts, by name.
        split: how samples are divided without `roles`.
    """

    targets: Any
    outputs: Any
    kind: Kind
    classes: Sequence[str] | None = None
    critical: str | None = None
    ids: Any = None
    groups: Any = None
    metadata: Any = None
    roles: Any = None
    slices: Sequence[str] | None = None
    quantiles: Mapping[str, int] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    split: Split = field(default_factory=Split)


@dataclass(frozen=True, eq=False)
class ArrayTables:
    """What was read from arrays.

    Args:
        clean: predictions of all samples.
        conditions: of the test role under every condition.
        columns: where groups, roles and slices come from.
        quantiles: number columns that are cut at quantiles, and into how many bins.
        notes: what a reader of the results must know.
    """

    clean: PredictionTable
    conditions: list[PredictionTable]
    columns: MetadataColumns
    quantiles: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SampleIds:
    """The ids of the samples in the order of the arguments.

    Args:
        ids: (n,).
        index: labels of the rows, if the samples were named and not only numbered.
    """

    ids: npt.NDArray[np.str_]
    index: pd.Index | None

    def matched(self, values: Any, *, what: str) -> Any:
        """Rows in the order of the samples: by index where there is one, by position otherwise."""
        if self.index is None or not has_index(values) or values.index.equals(self.index):
            self._check_length(len(values), what=what)
            return values
        known = index_ids(values.index, what=what)
        place = {name: row for row, name in enumerate(known.tolist())}
        absent = [name for name in self.ids.tolist() if name not in place]
        if absent:
            raise DataError(
                f"{what}: its index lacks {len(absent)} of {len(self.ids)} samples: "
                f"{listed(absent)}; give the ids as index, or drop the index to match by position"
            )
        return values.iloc[[place[name] for name in self.ids.tolist()]]

    def _check_length(self, n: int, *, what: str) -> None:
        if n != len(self.ids):
            raise DataError(f"{what}: expected {len(self.ids)} rows, one per sample, got {n}")


def read_arrays(given: ArrayInputs) -> ArrayTables:
    """Check everything and join it.

    Raises:
        DataError: lengths that differ, numbers that are not finite, targets outside of the
            classes, repeated ids, groups in two roles.
        ParamsError: unknown columns, or a condition that is named twice.
    """
    names = output_names(given)
    samples = sample_ids(given)
    conditions = external_tables.by_condition(given.conditions)
    outputs = members(given.outputs, names, samples, what=given.kind)
    truth = truth_of(given, names, samples)
    known, columns, quantiles = metadata_of(given, samples)
    joined = external_tables.join(outputs[0], truth, columns, given.split, metadata=known)
    return ArrayTables(
        clean=table_of(outputs, joined, truth, kind=given.kind),
        conditions=[
            table_of(
                members(each, names, samples, what=f"conditions[{condition.name!r}]"),
                joined,
                truth,
                kind=given.kind,
                condition=condition,
            )
            for condition, each in conditions.items()
        ],
        columns=columns,
        quantiles=quantiles,
        notes=joined.notes,
    )


def table_of(
    outputs: Sequence[Outputs],
    joined: Joined,
    truth: Truth,
    *,
    kind: Kind,
    condition: Condition | None = None,
) -> PredictionTable:
    """The outputs of all members under one condition."""
    tables = [
        external_tables.prediction_table(each, joined, truth, kind=kind, condition=condition)
        for each in outputs
    ]
    return replace(tables[0], logits=np.concatenate([table.logits for table in tables]))


def has_index(values: Any) -> bool:
    """Whether rows have labels of their own and not just the numbers 0, 1, 2, ..."""
    if not isinstance(values, pd.DataFrame | pd.Series):
        return False
    return not values.index.equals(pd.RangeIndex(len(values)))


def index_ids(index: pd.Index, *, what: str) -> npt.NDArray[np.str_]:
    """Labels of rows as sample ids, each once."""
    labels = pd.Series(list(index), dtype=object).map(as_text)
    if labels.isna().any():
        rows = np.flatnonzero(labels.isna()).tolist()
        raise DataError(f"{what}: expected an id for every sample, got none in rows {listed(rows)}")
    refuse_odd_names(labels, what=what)
    repeated = labels[labels.duplicated()].unique().tolist()
    if repeated:
        raise DataError(
            f"{what}: expected every id once, got {len(repeated)} of them more than once: "
            f"{listed(repeated)}; remove the repeated rows"
        )
    return np.asarray(labels, dtype=np.str_)


def sample_ids(given: ArrayInputs) -> SampleIds:
    """The ids that were given, or the index of outputs or targets, or else row numbers."""
    if given.ids is not None:
        ids = index_ids(pd.Index(list(given.ids)), what="ids")
        own = has_index(given.ids)
        return SampleIds(ids, given.ids.index if own else pd.Index(list(given.ids)))
    for what, values in ((given.kind, given.outputs), (TARGETS.name, given.targets)):
        if has_index(values):
            return SampleIds(index_ids(values.index, what=f"index of {what}"), values.index)
    n = len(given.outputs) if np.ndim(given.outputs) < 3 else len(given.outputs[0])
    width = len(str(max(n - 1, 0)))
    return SampleIds(np.array([f"{row:0{width}}" for row in range(n)], dtype=np.str_), None)


def output_names(given: ArrayInputs) -> tuple[str, ...]:
    """Names of the outputs: as given, the columns of a frame, or their numbers."""
    if isinstance(given.outputs, pd.Series):
        found = [given.outputs.name if given.outputs.name is not None else "positive"]
    elif isinstance(given.outputs, pd.DataFrame):
        found = list(given.outputs.columns)
    elif isinstance(given.targets, pd.DataFrame):
        found = list(given.targets.columns)
    else:
        shape = np.shape(given.outputs)
        found = list(range(shape[-1])) if len(shape) > 1 else ["positive"]
    names = tuple(str(name) for name in (found if given.classes is None else given.classes))
    if given.critical is not None:
        lookup("critical class", given.critical, dict.fromkeys(names))
    return names


def members(values: Any, names: tuple[str, ...], samples: SampleIds, *, what: str) -> list[Outputs]:
    """Outputs of every member. A frame with ids as index may lack samples that are not needed."""
    path = Path(what)
    if samples.index is not None and has_index(values) and not values.index.equals(samples.index):
        ids = index_ids(values.index, what=f"index of {what}")
    else:
        ids = samples.ids
    table = numbers(_columns(values, names, what=what), what=what)
    table = table.reshape(-1, 1) if table.ndim == 1 else table
    stack = table if table.ndim == 3 else table[np.newaxis]
    if stack.ndim != 3 or stack.shape[1:] != (len(ids), len(names)) or not len(stack):
        raise DataError(
            f"{what}: expected shape ({len(ids)}, {len(names)}) or (members, {len(ids)}, "
            f"{len(names)}), a row per sample and a column per class, got {np.shape(values)}"
        )
    found = [Outputs(path, ids, names, each) for each in stack]
    for each in found:
        check_outputs(each)
    return found


def _columns(values: Any, names: tuple[str, ...], *, what: str) -> Any:
    """The columns of a frame in the order of the names."""
    if not isinstance(values, pd.DataFrame):
        return values
    frame = values.set_axis([str(column) for column in values.columns], axis=1)
    if set(frame.columns) != set(names) or len(frame.columns) != len(names):
        odd = sorted(set(frame.columns) ^ set(names)) or sorted(frame.columns)
        raise DataError(
            f"{what}: expected the columns {listed(names, limit=20)}, differs in {listed(odd)}"
        )
    return frame[list(names)]


def numbers(values: Any, *, what: str) -> npt.NDArray[np.float64]:
    """Anything like an array as floating point."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{what}: expected an array of numbers ({error})") from None


def truth_of(given: ArrayInputs, names: tuple[str, ...], samples: SampleIds) -> Truth:
    """Targets as a task understands them: a class number per sample, or 0 and 1 per label."""
    cells = given.targets if isinstance(given.targets, pd.DataFrame | pd.Series) else None
    cells = pd.DataFrame(np.asarray(given.targets)) if cells is None else pd.DataFrame(cells)
    if not has_index(given.targets):
        cells = cells.reset_index(drop=True)
    cells = samples.matched(cells, what=TARGETS.name)
    labels = cells.shape[1] > 1 or len(names) == 1
    task = "multilabel" if labels else "multiclass"
    targets = (
        _flags(cells, names, samples, named=isinstance(given.targets, pd.DataFrame))
        if labels
        else _class_numbers(cells.iloc[:, 0], names, samples, named=given.classes is not None)
    )
    return Truth(TARGETS, Schema(task, names, given.critical), samples.ids, targets)


def _flags(
    cells: pd.DataFrame, names: tuple[str, ...], samples: SampleIds, *, named: bool
) -> npt.NDArray[np.int64]:
    if named and len(names) > 1:
        cells = _columns(cells, names, what=TARGETS.name)
    table = numbers(cells, what=TARGETS.name)
    if table.shape[1] != len(names):
        raise DataError(
            f"targets: expected a column of 0 and 1 for each of {listed(names, limit=20)}, or one "
            f"class per sample, got shape {table.shape}"
        )
    wrong = ~np.isin(table, (0.0, 1.0)).all(axis=1)
    if wrong.any():
        raise DataError(
            f"targets: expected 0 or 1 for every label, not so for "
            f"{listed(samples.ids[wrong].tolist())}"
        )
    return table.astype(np.int64)


def _class_numbers(
    cells: pd.Series, names: tuple[str, ...], samples: SampleIds, *, named: bool
) -> npt.NDArray[np.int64]:
    """Names of classes, or numbers from 0 where no class is called by a number."""
    texts = cells.astype(object).where(cells.notna(), None).map(as_text)
    coded = pd.api.types.is_numeric_dtype(cells) and not any(name.isdecimal() for name in names)
    if coded:
        texts = cells.astype(object).where(cells.notna(), None).map(_code)
    elif not named and all(name.isdecimal() for name in names) and not _numeric(texts):
        raise DataError(
            "targets: they are names, but nothing says which column is which class; give "
            "classes=[...] in the order of the columns, or a data frame with the classes as columns"
        )
    place = {str(k) if coded else name: k for k, name in enumerate(names)}
    found = texts.map(place)
    wrong = found.isna().to_numpy()
    if wrong.any():
        values = texts[wrong].fillna("(empty)").unique().tolist()
        known = f"0 to {len(names) - 1}" if coded else listed(names, limit=20)
        raise DataError(
            f"targets: unknown classes {listed(values)} in {listed(samples.ids[wrong].tolist())}; "
            f"known: {known}"
        )
    return np.asarray(found, dtype=np.int64)


def _code(cell: Any) -> object:
    return as_text(float(cell)) if cell is not None else np.nan


def _numeric(texts: pd.Series) -> bool:
    return bool(texts.dropna().map(lambda text: str(text).isdecimal()).any())


def metadata_of(
    given: ArrayInputs, samples: SampleIds
) -> tuple[pd.DataFrame, MetadataColumns, dict[str, int]]:
    """A row per sample with group, role and slice columns; which they are; and bins."""
    frame = pd.DataFrame(index=range(len(samples.ids)))
    if given.metadata is not None:
        frame = samples.matched(pd.DataFrame(given.metadata), what=METADATA.name)
        frame = frame.reset_index(drop=True).set_axis([str(c) for c in frame.columns], axis=1)
    frame = frame.astype(object).where(frame.notna(), None).map(as_text)
    frame, group = _with_column(frame, given.groups, "groups", samples)
    frame, role = _with_column(frame, given.roles, "roles", samples)
    if given.slices is None:
        others = [str(name) for name in frame if name not in (group, role)]
        wanted, bins = others, {**_usual_bins(frame[others]), **given.quantiles}
    else:
        wanted, bins = [str(name) for name in given.slices], dict(given.quantiles)
    slices = tuple(dict.fromkeys((*wanted, *bins)))
    absent = [name for name in slices if name not in frame]
    if absent:
        raise ParamsError(
            f"metadata: no columns {listed(absent)} to cut slices on; columns there: "
            f"{listed(list(frame.columns), limit=20)}"
        )
    for name in slices:
        refuse_odd_names(
            frame[name].fillna("").astype(str), what=f"metadata: column {quoted(name)}"
        )
    return frame, MetadataColumns(METADATA, None, group, role, slices), bins


def _with_column(
    frame: pd.DataFrame, given: Any, argument: str, samples: SampleIds
) -> tuple[pd.DataFrame, str | None]:
    """The frame with the groups or roles, and the name of their column."""
    if given is None:
        return frame, None
    if isinstance(given, str):
        if given not in frame:
            raise ParamsError(
                f"{argument}: no column {given!r} in metadata; columns there: "
                f"{listed(list(frame.columns), limit=20)}"
            )
        return frame, given
    values = given if isinstance(given, pd.Series) else pd.Series(list(given), dtype=object)
    matched = samples.matched(values, what=argument)
    name = argument.removesuffix("s")
    if name in frame:
        raise ParamsError(
            f"{argument}: metadata has a column {name!r} too; say {argument}={name!r} to take it, "
            f"or rename it"
        )
    cells = matched.astype(object).where(matched.notna(), None).map(as_text)
    return frame.assign(**{name: cells.to_numpy()}), name


def _usual_bins(frame: pd.DataFrame) -> dict[str, int]:
    """Number columns of many values, to be cut into quantiles."""
    numeric = [
        name
        for name in map(str, frame.columns)
        if pd.api.types.is_numeric_dtype(source_files.typed(frame, name))
        and frame[name].nunique() > FEW_VALUES
    ]
    return dict.fromkeys(numeric, BINS)
