"""The account of rows from the raw files to the roles: nothing is left out in silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = ("step", "reason", "rows_in", "rows_out", "left_out", "example_ids")
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
                " ".join(e.example_ids),
            )
            for e in self.entries
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))
