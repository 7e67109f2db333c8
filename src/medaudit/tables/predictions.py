"""The prediction table, the one currency between models and audits, and its condition."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from medaudit.core.errors import DataError, listed
from medaudit.core.files import atomic, digest, plain_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from medaudit.core.arrays import BoolArray, Float32Array, IntArray


_DIGEST = b"medaudit.sha256"


def write_parquet(packed: pa.Table, path: Path, **settings: Any) -> None:
    """Write a parquet file, atomically, in which a single changed bit is noticed.

    Every page gets its checksum. These cover neither names and metadata nor where pages lie, so a
    digest of all that a reader gets stands in the metadata, too.
    """
    known = packed.schema.metadata or {}
    sealed = packed.replace_schema_metadata({**known, _DIGEST: _content_digest(packed)})
    with atomic(path) as part:
        pq.write_table(sealed, part, compression="zstd", write_page_checksum=True, **settings)


def read_parquet(path: Path, *, what: str, absent: str, mend: str) -> pa.Table:
    """The table in a parquet file of `write_parquet`, with the content that was written.

    Args:
        path: of the file.
        what: the file is, for people.
        absent: said where there is no such file.
        mend: what to do about a damaged one.
    """
    try:
        # Not by its path, since that of a folder or of a remote file would be understood, too; and
        # not as a file of Python, which Arrow's threads may still hold when an error has ended it.
        with pa.OSFile(str(plain_file(path))) as handle:
            packed = pq.read_table(handle, page_checksum_verification=True)
        held = (packed.schema.metadata or {}).get(_DIGEST)
        whole = held == _content_digest(packed)
    except FileNotFoundError:
        raise DataError(f"{path}: {absent}") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        # Damaged pages come as an OSError that no system call has given a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: not a readable {what}: {reason}; {mend}") from None
    if held is None:
        raise DataError(f"{path}: a parquet file, but not a {what} of medaudit; {mend}")
    if not whole:
        raise DataError(f"{path}: damaged: this is not the {what} that was written; {mend}")
    return packed


def _content_digest(packed: pa.Table) -> bytes:
    """SHA-256 over names, values and metadata, in hexadecimal."""
    known = packed.schema.metadata or {}
    kept = [[key.hex(), known[key].hex()] for key in sorted(known) if key != _DIGEST]
    head = json.dumps([packed.num_rows, packed.column_names, kept])
    columns = (part for column in packed.columns for part in _bytes(column.combine_chunks()))
    return digest(itertools.chain([head.encode()], columns)).encode()


def _bytes(column: pa.Array) -> Iterator[bytes | memoryview]:
    """A column as bytes that do not depend on how arrow lays it out."""
    if pa.types.is_fixed_size_list(column.type):
        yield str(column.type.list_size).encode()
        column = column.flatten()
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        values = column.fill_null(0).to_numpy(zero_copy_only=False)
        yield values.dtype.str.encode()
        yield np.packbits(column.is_null().to_numpy(zero_copy_only=False)).data
        yield np.ascontiguousarray(values).view(np.uint8).data
    else:
        yield json.dumps(column.to_pylist(), default=str).encode()


CLEAN = "clean"


@dataclass(frozen=True, order=True)
class Condition:
    """A corruption or shift by name with its severity 1..n; severity 0 is the clean image."""

    corruption: str
    severity: int

    def __post_init__(self) -> None:
        if self.severity < 0 or (self.severity == 0) != (self.corruption == CLEAN):
            raise ValueError(
                f"expected `clean` at severity 0 or a corruption at severity 1 and above, "
                f"got {self.corruption!r} at {self.severity}"
            )

    @classmethod
    def clean(cls) -> Condition:
        """The image as it is."""
        return cls(CLEAN, 0)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was done to the image."""
        return self.severity == 0

    @property
    def name(self) -> str:
        """`clean`, or for example `gaussian_blur-2`."""
        return CLEAN if self.is_clean else f"{self.corruption}-{self.severity}"

    @classmethod
    def parse(cls, name: str) -> Condition:
        """The inverse of `name`."""
        if name == CLEAN:
            return cls.clean()
        corruption, _, severity = name.rpartition("-")
        if not corruption or not severity.isdigit():
            raise ValueError(f"expected `clean` or `<corruption>-<severity>`, got {name!r}")
        return cls(corruption, int(severity))


ROW_COLUMNS = ("sample_id", "group_id", "role")
_METADATA = b"medaudit"
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Schema:
    """What the columns of logits mean.

    Args:
        task: name of a task in `medaudit.tables.tasks.TASKS`.
        classes: class or label names, one per output.
        critical_class: the class that must not be missed, or `None`.
    """

    task: str
    classes: tuple[str, ...]
    critical_class: str | None = None

    def __post_init__(self) -> None:
        if self.critical_class is not None and self.critical_class not in self.classes:
            raise DataError(
                f"critical class {self.critical_class!r} is not one of {', '.join(self.classes)}"
            )

    @property
    def critical_index(self) -> int:
        """Column of the critical class; an error where none is named."""
        if self.critical_class is None:
            raise DataError("the data set names no critical class; set `critical_class`")
        return self.classes.index(self.critical_class)


@dataclass(frozen=True)
class PredictionTable:
    """Logits of one predictor under one condition, with everything that audits ask of a row.

    Args:
        schema: task and classes.
        rows: `sample_id`, `group_id`, `role` and any slice columns; n rows.
        targets: int64; what the task understands, class indices (n,) or 0/1 per label (n, k).
        logits: float32 (members, n, outputs); a member is one stochastic pass.
        embeddings: float32 (n, d) penultimate features, or `None`.
        condition: what was done to the images.
        provenance: predictor, engine, dtype and digest of the weights.

    Raises:
        DataError: on unequal lengths, repeated ids, numbers that are not finite, or targets
            out of range; the first offending ids are named.
    """

    schema: Schema
    rows: pd.DataFrame
    targets: IntArray
    logits: Float32Array
    embeddings: Float32Array | None = None
    condition: Condition = field(default_factory=Condition.clean)
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_shapes()
        self._check_ids()
        self._check_values()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sample_ids(self) -> list[str]:
        """Ids in row order."""
        return [str(sample_id) for sample_id in self.rows["sample_id"]]

    @property
    def group_ids(self) -> npt.NDArray[np.str_]:
        """Lesion or patient of every row."""
        return np.array([str(group_id) for group_id in self.rows["group_id"]])

    def role(self, name: str) -> PredictionTable:
        """The rows of one role; an error where there are none."""
        chosen = (self.rows["role"] == name).to_numpy()
        if not chosen.any():
            known = sorted(self.rows["role"].unique())
            raise DataError(f"no row has role {name!r}; roles here: {listed(known)}")
        return self.where(chosen)

    def where(self, chosen: BoolArray | IntArray) -> PredictionTable:
        """The rows that a mask or an index array chooses, in that order."""
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        return replace(
            self,
            rows=self.rows.iloc[chosen].reset_index(drop=True),
            targets=self.targets[chosen],
            logits=self.logits[:, chosen],
            embeddings=None if self.embeddings is None else self.embeddings[chosen],
        )

    def _check_shapes(self) -> None:
        missing = [column for column in ROW_COLUMNS if column not in self.rows]
        if missing:
            raise DataError(f"prediction table lacks the columns {listed(missing)}")
        n, k = len(self.rows), len(self.schema.classes)
        if self.logits.ndim != 3 or self.logits.shape[1:] != (n, k):
            raise DataError(
                f"expected logits of shape (members, {n}, {k}), got {self.logits.shape}"
            )
        if len(self.targets) != n:
            raise DataError(f"expected {n} targets, one per row, got {len(self.targets)}")
        if self.embeddings is not None and len(self.embeddings) != n:
            raise DataError(f"expected {n} embeddings, one per row, got {len(self.embeddings)}")

    def _check_ids(self) -> None:
        repeated = self._ids(self.rows["sample_id"].duplicated().to_numpy())
        if repeated:
            raise DataError(f"sample ids must be unique; repeated: {listed(repeated)}")

    def _check_values(self) -> None:
        broken = np.asarray(~np.isfinite(self.logits).all(axis=(0, 2)))
        if broken.any():
            raise DataError(f"logits must be finite; not so for {listed(self._ids(broken))}")
        wrong = impossible(self.targets, len(self.schema.classes))
        if wrong.any():
            raise DataError(
                f"expected class indices below {len(self.schema.classes)}, or 0 and 1 for each of "
                f"as many labels; not so for {listed(self._ids(wrong))}"
            )

    def _ids(self, chosen: BoolArray | np.bool_) -> list[str]:
        return [str(self.rows["sample_id"].iloc[i]) for i in np.flatnonzero(chosen)]


def impossible(targets: IntArray, n_outputs: int) -> BoolArray:
    """Samples whose target is neither a class index nor a row of 0 and 1 per output, (n,)."""
    if targets.ndim == 1:
        return np.asarray((targets < 0) | (targets >= n_outputs))
    if targets.shape[1:] != (n_outputs,):
        return np.ones(len(targets), dtype=bool)
    return np.asarray(((targets != 0) & (targets != 1)).any(axis=1))


def align(first: PredictionTable, second: PredictionTable) -> PredictionTable:
    """The second table in the row order of the first; both must hold the same ids."""
    a, b = first.sample_ids, second.sample_ids
    if a == b:
        return second
    odd = sorted(set(a) ^ set(b))
    if odd:
        raise DataError(
            f"tables `{first.condition.name}` and `{second.condition.name}` hold different "
            f"samples: {listed(odd)} stand in one only"
        )
    place = {sample_id: i for i, sample_id in enumerate(b)}
    return second.where(np.array([place[sample_id] for sample_id in a], dtype=np.int64))


def joined(first: PredictionTable, *others: PredictionTable) -> PredictionTable:
    """Rows of several tables one below the other, such as those of two roles.

    Columns that one of them lacks are left out, and embeddings where one has none.

    Raises:
        DataError: the tables are of different outputs, conditions or numbers of members.
    """
    tables = (first, *others)
    for each in others:
        ours, theirs = ((t.schema, t.condition, len(t.logits)) for t in (first, each))
        if ours != theirs:
            raise DataError(f"expected tables of one kind, got {ours} and {theirs}")
    columns = [name for name in first.rows if all(name in each.rows for each in others)]
    kept = [each.embeddings for each in tables if each.embeddings is not None]
    return replace(
        first,
        rows=pd.concat([each.rows[columns] for each in tables], ignore_index=True),
        targets=np.concatenate([each.targets for each in tables]),
        logits=np.concatenate([each.logits for each in tables], axis=1),
        embeddings=np.concatenate(kept) if len(kept) == len(tables) else None,
    )


def write(table: PredictionTable, path: Path) -> None:
    """Write one parquet file, atomically and byte-deterministically."""
    members, n, _ = table.logits.shape
    columns: dict[str, pa.Array] = {
        str(name): pa.Array.from_pandas(table.rows[name]) for name in table.rows.columns
    }
    targets = table.targets.reshape(n, -1)
    columns["target"] = _fixed_list(targets.astype(np.int64), pa.int64())
    columns["logits"] = _fixed_list(table.logits.transpose(1, 0, 2).reshape(n, -1), pa.float32())
    if table.embeddings is not None:
        columns["embedding"] = _fixed_list(table.embeddings.astype(np.float32), pa.float32())
    facts = {
        "schema": asdict(table.schema),
        "condition": table.condition.name,
        "members": members,
        "targets_ndim": table.targets.ndim,
        "provenance": dict(sorted(table.provenance.items())),
    }
    packed = pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(facts).encode()})
    write_parquet(packed, path, row_group_size=65536)


def read(path: Path) -> PredictionTable:
    """Read a table that `write` wrote."""
    packed = read_parquet(
        path,
        what="prediction table",
        absent="no such prediction table; run the stage that makes it",
        mend="run the stage that makes it again",
    )
    known = (packed.schema.metadata or {}).get(_METADATA)
    if known is None:
        raise DataError(f"{path}: a parquet file, but not a prediction table of medaudit")
    try:
        return _unpacked(packed, json.loads(known))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: damaged prediction table ({type(error).__name__}: {error}); "
            f"run the stage that makes it again"
        ) from None


def _unpacked(packed: pa.Table, facts: dict[str, Any]) -> PredictionTable:
    n, members = packed.num_rows, facts["members"]
    stored = facts["schema"]
    schema = Schema(stored["task"], tuple(stored["classes"]), stored["critical_class"])
    logits = _matrix(packed, "logits", np.float32).reshape(n, members, len(schema.classes))
    targets = _matrix(packed, "target", np.int64)
    own = {"target", "logits", "embedding"}
    return PredictionTable(
        schema=schema,
        rows=packed.drop_columns([c for c in packed.column_names if c in own]).to_pandas(),
        targets=targets[:, 0] if facts["targets_ndim"] == 1 else targets,
        logits=np.ascontiguousarray(logits.transpose(1, 0, 2)),
        embeddings=_matrix(packed, "embedding", np.float32)
        if "embedding" in packed.column_names
        else None,
        condition=Condition.parse(facts["condition"]),
        provenance=facts["provenance"],
    )


def _fixed_list(matrix: npt.NDArray[np.generic], kind: pa.DataType) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(matrix).ravel(), type=kind)
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def _matrix(packed: pa.Table, name: str, dtype: type[T]) -> npt.NDArray[T]:
    column = packed.column(name).combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=dtype).reshape(packed.num_rows, column.type.list_size)
