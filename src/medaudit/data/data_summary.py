"""The account of a data set: exclusions, counts, missing values, duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.core.findings import Findings
from medaudit.core.privacy import joined
from medaudit.tables.manifest import COLUMNS, ROLES, targets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medaudit.core.arrays import BoolArray
    from medaudit.tables.predictions import Schema

LEDGER_COLUMNS = ("step", "reason", "rows_in", "rows_out", "left_out", "example_ids")
_EXAMPLES = 5


@dataclass(frozen=True)
class Entry:
    """One step that rows went through."""

    step: str
    reason: str
    rows_in: int
    rows_out: int
    example_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ledger:
    """Entries in the order in which they happened."""

    entries: tuple[Entry, ...] = ()

    def add(
        self, step: str, reason: str, *, rows_in: int, rows_out: int, ids: Sequence[str] = ()
    ) -> Ledger:
        """A ledger with one more entry; a few of the `ids` concerned are kept as examples."""
        examples = tuple(sorted(ids)[:_EXAMPLES])
        return Ledger((*self.entries, Entry(step, reason, rows_in, rows_out, examples)))

    def table(self) -> pd.DataFrame:
        """`step`, `reason`, `rows_in`, `rows_out`, `left_out`, `example_ids` (space-separated)."""
        rows = [
            (
                e.step,
                e.reason,
                e.rows_in,
                e.rows_out,
                e.rows_in - e.rows_out,
                joined(e.example_ids),
            )
            for e in self.entries
        ]
        return pd.DataFrame(rows, columns=list(LEDGER_COLUMNS))


UNKNOWN = "unknown"


def positives(rows: pd.DataFrame, schema: Schema) -> BoolArray:
    """Truth per row and class, (n, k); targets are class indices, or one 0/1 column per class."""
    found = targets(rows)
    if found.ndim == 1:
        found = found[:, np.newaxis] == np.arange(len(schema.classes))
    return found.astype(bool)


def account_for_roles(manifest: pd.DataFrame, ledger: Ledger) -> Ledger:
    """The ledger with one entry per role, so that it ends at the test set."""
    for role in ROLES:
        count = int((manifest["role"] == role).sum())
        ledger = ledger.add(
            f"role {role}", "in another role", rows_in=len(manifest), rows_out=count
        )
    return ledger


def class_count_table(manifest: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """`class`, `role`, `images`, `groups`; an image of several classes counts for each."""
    truth = positives(manifest, schema)
    rows = []
    for k, name in enumerate(schema.classes):
        for role in ROLES:
            chosen = manifest[truth[:, k] & (manifest["role"] == role).to_numpy()]
            rows.append((name, role, len(chosen), chosen["group_id"].nunique()))
    return pd.DataFrame(rows, columns=["class", "role", "images", "groups"])


def without_positives(manifest: pd.DataFrame, schema: Schema) -> list[str]:
    """What is missing, as `Hernia in calibration`: classes without an image in a role."""
    counts = class_count_table(manifest, schema)
    empty = counts[counts["images"] == 0]
    roles = empty.groupby("class", sort=False)["role"].agg(", ".join)
    return [f"{name} in {where}" for name, where in roles.items()]


def missing_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """`column`, `missing` (empty), `unknown` (the word): counts of values that are not known."""
    columns = [name for name in manifest if name not in COLUMNS]
    rows = [
        (name, int(manifest[name].isna().sum()), int((manifest[name] == UNKNOWN).sum()))
        for name in columns
    ]
    return pd.DataFrame(rows, columns=["column", "missing", "unknown"])


def audit(
    manifest: pd.DataFrame, schema: Schema, *, duplicates: pd.DataFrame, ledger: Ledger
) -> Findings:
    """Headline counts of the prepared data, and the tables behind them."""
    counts, missing = class_count_table(manifest, schema), missing_table(manifest)
    read = ledger.entries[0]
    scalars = {
        **_sizes(manifest),
        "imbalance_ratio": _imbalance(counts),
        "n_missing_values": int(missing["missing"].sum()),
        "n_unknown_values": int(missing["unknown"].sum()),
        "n_duplicate_pairs": len(duplicates),
        "n_duplicate_pairs_across_groups": int(duplicates["across_groups"].sum()),
        "n_duplicate_pairs_labels_differ": int(duplicates["labels_differ"].sum()),
        "n_duplicate_pairs_across_roles": int(duplicates["across_roles"].sum()),
        "n_images_without_row": read.rows_in - read.rows_out,
        "n_rows_left_out": read.rows_out - len(manifest),
    }
    series = {
        "class_counts": counts,
        "missing": missing,
        "ledger": ledger.table(),
        "duplicates": duplicates.assign(
            pair=[*map(joined, zip(duplicates["first"], duplicates["second"], strict=True))]
        ),
    }
    return Findings(scalars, series)


def _sizes(manifest: pd.DataFrame) -> Mapping[str, int]:
    per_role = manifest["role"].value_counts()
    groups = manifest["group_id"].value_counts()
    return {
        "n_images": len(manifest),
        "n_groups": len(groups),
        "n_images_largest_group": int(groups.iloc[0]),
        **{f"n_{role}": int(per_role.get(role, 0)) for role in ROLES},
    }


def _imbalance(counts: pd.DataFrame) -> float:
    per_class = counts.groupby("class")["images"].sum()
    return float(per_class.max() / per_class.min()) if per_class.min() else float("nan")
