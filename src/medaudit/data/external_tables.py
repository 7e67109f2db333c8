"""Truth and metadata of samples predicted elsewhere, joined by id into prediction tables."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd

from medaudit.core.errors import DataError, ParamsError, listed, quoted
from medaudit.data import splits
from medaudit.data.datasets import source_files
from medaudit.data.datasets.base import NO_GROUPS
from medaudit.data.external_outputs import (
    Kind,
    Outputs,
    column_of,
    ids_of,
    read_frame,
    refuse_odd_names,
    stored_logits,
)
from medaudit.tables import tasks
from medaudit.tables.operating_points import FOLD
from medaudit.tables.predictions import Condition, PredictionTable, Schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from medaudit.core.arrays import IntArray

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TruthColumns:
    """Where the truth stands in a table; exactly one of the three forms.

    Args:
        label: column with one class name per sample.
        labels: columns of 0 and 1, one per label.
        label_list: column that lists the labels of a sample.
        separator: between the labels in `label_list`.
        id_column: column of the sample ids; the first one if `None`.
    """

    label: str | None = None
    labels: tuple[str, ...] = ()
    label_list: str | None = None
    separator: str = "|"
    id_column: str | None = None

    def __post_init__(self) -> None:
        if not self.separator:
            raise ParamsError("--separator: expected what stands between labels, got nothing")
        given = [self.label is not None, bool(self.labels), self.label_list is not None]
        if sum(given) != 1:
            raise ParamsError(
                "say where the truth stands, in exactly one way: one column of class names, "
                "several columns of 0 and 1, or one column that lists labels"
            )

    @property
    def task(self) -> str:
        """One class name per sample excludes others; labels do not."""
        return "multiclass" if self.label is not None else "multilabel"


@dataclass(frozen=True, eq=False)
class Truth:
    """Schema, ids (n,) and targets as the task understands them."""

    path: Path
    schema: Schema
    ids: npt.NDArray[np.str_]
    targets: IntArray


def read_truth(
    path: Path, columns: TruthColumns, *, names: tuple[str, ...], critical: str | None
) -> Truth:
    """Read the truth of every sample for the outputs `names`.

    Raises:
        DataError: missing columns, unknown classes, cells that are not 0 or 1, repeated ids.
    """
    named = [name for name in (columns.label, columns.label_list) if name is not None]
    frame = read_frame(path, verbatim=named)
    frame.columns = frame.columns.map(str)
    frame = frame.astype(object).where(frame.notna(), None)
    id_name = column_of(frame, columns.id_column, path=path, what="sample ids")
    ids = ids_of(frame, id_name, path=path)
    rows = frame.assign(sample_id=ids).map(as_text)
    schema = Schema(columns.task, names, critical)
    if columns.label is not None:
        column = column_of(frame, columns.label, path=path, what="class names")
        targets = source_files.class_indices(rows, column, classes=names, path=path).to_numpy()
    elif columns.label_list is not None:
        column = column_of(frame, columns.label_list, path=path, what="lists of labels")
        targets = _listed_labels(rows, column, names, separator=columns.separator, path=path)
    else:
        targets = _flag_columns(rows, columns.labels, names, path=path)
    return Truth(path, schema, ids, targets.astype(np.int64))


def as_text(cell: object) -> object:
    """A cell as a text file would hold it: whole numbers without a point, NaN where empty."""
    if cell is None:
        return np.nan
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def _flag_columns(
    rows: pd.DataFrame, labels: tuple[str, ...], names: tuple[str, ...], *, path: Path
) -> IntArray:
    if set(labels) != set(names):
        odd = sorted(set(labels) ^ set(names))
        raise DataError(
            f"{path}: the predictions are for {listed(names, limit=20)}, and the labels asked for "
            f"differ from them in {listed(odd)}; name the same ones"
        )
    for name in names:
        column_of(rows, name, path=path, what="a label")
    found = {name: source_files.flags(rows, name, path=path) for name in names}
    for name, values in found.items():
        if values.isna().any():
            ids = rows.loc[values.isna(), "sample_id"].tolist()
            raise DataError(f"{path}: label `{name}` is empty or uncertain for {listed(ids)}")
    return np.column_stack([found[name].to_numpy() for name in names]).astype(np.int64)


def _listed_labels(
    rows: pd.DataFrame, column: str, names: tuple[str, ...], *, separator: str, path: Path
) -> IntArray:
    sets = [
        {part.strip() for part in str(cell).split(separator)} for cell in rows[column].fillna("")
    ]
    known = set().union(*sets) if sets else set()
    absent = [name for name in names if name not in known]
    note = f"{path}: column `{column}` never lists {listed(absent)}"
    if len(absent) == len(names):
        raise DataError(
            f"{note}; it lists {listed(sorted(known - {''}), limit=20)}; check the names of the "
            f"outputs, their prefix, and the separator {separator!r}"
        )
    if absent:
        log.warning("%s: no sample has them, and their metrics are undefined", note)
    return np.array([[name in found for name in names] for found in sets], dtype=np.int64)


ROLES = ("calibration", "test")
OWN_COLUMNS = ("sample_id", "group_id", "role", "target", FOLD)
FOLDS = 5
MOST_DIGITS = 6  # of a severity
SOURCE = "made elsewhere"


@dataclass(frozen=True)
class MetadataColumns:
    """What is known of the samples beside their truth, and in which columns.

    Args:
        path: the table, or `None`.
        id_column: column of the sample ids; the first one if `None`.
        group: column of the patient or lesion.
        role: column that says which samples are for calibration and which for the test.
        slices: columns to cut slices on.
    """

    path: Path | None = None
    id_column: str | None = None
    group: str | None = None
    role: str | None = None
    slices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """How samples are divided where no column says it: by group, at random but for the seed.

    Args:
        calibration: share of the samples that freezes thresholds. With 0 all samples are tested,
            each by what the other folds freeze.
        seed: of the order among equal groups.
    """

    calibration: float = 0.3
    seed: int = 1234

    def __post_init__(self) -> None:
        if not 0 <= self.calibration < 1:
            raise ParamsError(
                f"the share of calibration samples must lie between 0 and 1, got "
                f"{self.calibration:g}; 0 cross-fits thresholds over {FOLDS} folds"
            )
        if self.seed < 0:
            raise ParamsError(f"the seed must be 0 or more, got {self.seed}")


@dataclass(frozen=True, eq=False)
class Joined:
    """Everything about the samples but the outputs, in the order of the ids, and what to know."""

    rows: pd.DataFrame
    targets: IntArray
    notes: tuple[str, ...]


def join(
    outputs: Outputs,
    truth: Truth,
    columns: MetadataColumns,
    split: Split,
    *,
    metadata: pd.DataFrame | None = None,
) -> Joined:
    """Truth and metadata of the samples that have outputs.

    Args:
        outputs: of the clean samples.
        truth: of these samples, and maybe of others.
        columns: where groups, roles and slices stand.
        split: how samples are divided where no column says it.
        metadata: a row per output in their order; read from the file of `columns` if `None`.

    Raises:
        DataError: samples without truth or metadata, or groups in two roles.
    """
    taken = [name for name in columns.slices if name in OWN_COLUMNS]
    if taken:
        raise DataError(
            f"slice columns {listed(taken)} have names that medaudit gives itself; rename them in "
            f"the metadata"
        )
    places = _places(outputs.ids, truth.ids, path=truth.path, what="truth")
    unused = len(truth.ids) - len(places)
    if unused:
        log.info("%s: %d rows have no prediction and are not used", truth.path, unused)
    targets = truth.targets[places]
    rows = pd.DataFrame({"sample_id": outputs.ids.astype(object)})
    known = _metadata(outputs.ids, columns) if metadata is None else metadata
    notes = []
    if columns.group is None:
        log.warning("NO GROUPS: %s Name the column of the patient to mend it.", NO_GROUPS)
        notes.append(NO_GROUPS)
        rows["group_id"] = rows["sample_id"]
    else:
        rows["group_id"] = _present(known, columns.group, columns).astype(str)
    if columns.role is None and split.calibration == 0:
        rows["role"] = "test"
        rows[FOLD], note = _folds(rows, targets, truth, split)
    else:
        rows["role"], note = _roles(rows, known, targets, truth, columns, split)
    for name in columns.slices:
        rows[name] = source_files.typed(known, name)
    order = np.argsort(rows["sample_id"].to_numpy(dtype=np.str_), kind="stable")
    return Joined(rows.iloc[order].reset_index(drop=True), targets[order], (*notes, note))


def condition(name: str) -> Condition:
    """`gaussian_blur-2` is severity 2; a name without a number, such as a site, severity 1."""
    refuse_odd_names([name], what="conditions")
    stem, _, end = name.rpartition("-")
    if stem and end.isdecimal() and len(end) > MOST_DIGITS:
        raise ParamsError(
            f"conditions: expected a severity of at most {MOST_DIGITS} digits, got {quoted(name)}"
        )
    if stem and end.isdecimal() and int(end) > 0:
        name, severity = stem, int(end)
    else:
        severity = 1
    try:
        return Condition(name, severity)
    except ValueError as error:
        raise ParamsError(f"conditions: {error}") from None


def by_condition(named: Mapping[str, T]) -> dict[Condition, T]:
    """What was given under names of conditions; two names of one condition are refused."""
    found: dict[Condition, T] = {}
    for name, given in named.items():
        if condition(name) in found:
            raise ParamsError(
                f"conditions: {name!r} is {condition(name).name} once more; name every one once"
            )
        found[condition(name)] = given
    return found


def prediction_table(
    outputs: Outputs,
    joined: Joined,
    truth: Truth,
    *,
    kind: Kind,
    condition: Condition | None = None,
) -> PredictionTable:
    """The outputs of the joined samples under one condition.

    Raises:
        DataError: another list of samples or outputs than that of the clean predictions.
    """
    task = tasks.get(truth.schema.task)
    if set(outputs.names) != set(truth.schema.classes):
        odd = sorted(set(outputs.names) ^ set(truth.schema.classes))
        raise DataError(
            f"{outputs.path}: expected the outputs of the clean predictions, differs in "
            f"{listed(odd)}"
        )
    ids = joined.rows["sample_id"].to_numpy(dtype=np.str_)
    wanted = ids if condition is None else ids[(joined.rows["role"] == "test").to_numpy()]
    rows = _places(wanted, outputs.ids, path=outputs.path, what="prediction")
    columns = [outputs.names.index(name) for name in truth.schema.classes]
    logits = stored_logits(outputs, task, kind=kind)[:, rows][:, :, columns]
    chosen = np.isin(ids, wanted)
    return PredictionTable(
        schema=truth.schema,
        rows=joined.rows[chosen].reset_index(drop=True),
        targets=joined.targets[chosen],
        logits=logits,
        condition=condition or Condition.clean(),
        provenance={"predictor": SOURCE, "kind": kind, "file": outputs.path.name},
    )


def _places(
    wanted: npt.NDArray[np.str_], known: npt.NDArray[np.str_], *, path: Path, what: str
) -> IntArray:
    """Row number in `known` of every wanted id."""
    place = {name: row for row, name in enumerate(known.tolist())}
    absent = [name for name in wanted.tolist() if name not in place]
    if absent:
        example = str(known[0]) if len(known) else "none"
        raise DataError(
            f"{path}: no {what} for {len(absent)} of {len(wanted)} samples: {listed(absent)}; ids "
            f"must be the same in both files, for example {example!r}"
        )
    return np.array([place[name] for name in wanted.tolist()], dtype=np.int64)


def _metadata(ids: npt.NDArray[np.str_], columns: MetadataColumns) -> pd.DataFrame:
    wanted = [name for name in (columns.group, columns.role, *columns.slices) if name is not None]
    if columns.path is None:
        if wanted:
            raise DataError(
                f"columns {listed(wanted)} are asked for, but no metadata file is named"
            )
        return pd.DataFrame(index=range(len(ids)))
    frame = read_frame(columns.path)
    frame.columns = frame.columns.map(str)
    id_name = column_of(frame, columns.id_column, path=columns.path, what="sample ids")
    for name in wanted:
        column_of(frame, name, path=columns.path, what="metadata")
    known = ids_of(frame, id_name, path=columns.path)
    places = _places(ids, known, path=columns.path, what="metadata")
    return frame.iloc[places].reset_index(drop=True)


def _present(known: pd.DataFrame, column: str, columns: MetadataColumns) -> pd.Series[str]:
    if known[column].isna().any():
        rows = int(known[column].isna().sum())
        raise DataError(f"{columns.path}: column `{column}` is empty for {rows} samples; fill it")
    refuse_odd_names(map(str, known[column]), what=f"{columns.path}: column `{column}`")
    return known[column]


def _roles(
    rows: pd.DataFrame,
    known: pd.DataFrame,
    targets: IntArray,
    truth: Truth,
    columns: MetadataColumns,
    split: Split,
) -> tuple[npt.NDArray[np.str_], str]:
    if columns.role is not None:
        roles = _given_roles(rows, known, columns)
        return roles, f"Roles are those of the column `{columns.role}`."
    positives = tasks.get(truth.schema.task).positives(targets, len(truth.schema.classes))
    shares = {"calibration": split.calibration, "test": 1 - split.calibration}
    roles = splits.assign_roles(
        rows["group_id"].tolist(),
        positives,
        classes=truth.schema.classes,
        fractions=shares,
        seed=split.seed,
        scarce="allow",
    )
    note = (
        f"{split.calibration:.0%} of the samples, whole groups drawn at random (seed "
        f"{split.seed}), froze thresholds and calibrators; the others are the test role."
    )
    return roles, note


def _folds(
    rows: pd.DataFrame, targets: IntArray, truth: Truth, split: Split
) -> tuple[IntArray, str]:
    n_groups = rows["group_id"].nunique()
    if n_groups < FOLDS:
        raise DataError(
            f"{truth.path}: expected {FOLDS} groups or more for thresholds without a calibration "
            f"role, one for each fold, got {n_groups}"
        )
    names = [str(fold) for fold in range(FOLDS)]
    folds = splits.assign_roles(
        rows["group_id"].tolist(),
        tasks.get(truth.schema.task).positives(targets, len(truth.schema.classes)),
        classes=truth.schema.classes,
        fractions=dict.fromkeys(names, 1 / FOLDS),
        seed=split.seed,
        scarce="allow",
    )
    note = (
        f"No sample was set apart: thresholds, calibrators and the deferral rule are cross-fitted. "
        f"What judges each of {FOLDS} folds (whole groups, seed {split.seed}) was frozen on the "
        f"others, so all samples are the test role. The specificity over all folds is the one "
        f"asked for by construction; only the sensitivity at it is evidence."
    )
    return folds.astype(np.int64), note


def _given_roles(
    rows: pd.DataFrame, known: pd.DataFrame, columns: MetadataColumns
) -> npt.NDArray[np.str_]:
    words = _present(known, str(columns.role), columns).astype(str)
    roles = splits.roles_of(words, source=str(columns.path))
    if "calibration" not in set(roles):
        roles = roles.replace({"validation": "calibration"})
    splits.check_roles(rows.assign(role=roles))
    missing = [role for role in ROLES if role not in set(roles)]
    if missing:
        raise DataError(
            f"{columns.path}: column `{columns.role}` has no rows for {listed(missing)}; "
            f"thresholds are frozen on calibration (or val) rows and judged on test rows"
        )
    return np.asarray(roles, dtype=np.str_)
