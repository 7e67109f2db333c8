"""Planted, found? Injected failures beside the audits, for a data set that brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medaudit.audits import planted
from medaudit.core import findings
from medaudit.core.findings import row_dicts
from medaudit.core.layout import PLANTED
from medaudit.report.blocks import Block, text
from medaudit.report.blocks import section as part
from medaudit.report.blocks import table as listing
from medaudit.report.formatting import count, counted, p_equals, plain, signed, words

if TYPE_CHECKING:
    from medaudit.report.blocks import Context
    from medaudit.report.results import Results

NOTHING = pd.DataFrame(columns=[*planted.COLUMNS])


def table(results: Results) -> pd.DataFrame:
    """A row per audit of every plant and per unplanted call; empty where nothing was planted."""
    if not results.complete or not (results.root / PLANTED).exists():
        return NOTHING
    # Plants name samples, which plots/ may not; what counts them is told as it is released.
    whole = {
        stage: {
            name: findings.read_table(stage, name, root=results.root) if _of_samples(name) else told
            for name, told in tables.items()
        }
        for stage, tables in results.series.items()
    }
    world = planted.read_world(results.root, whole, results.params)
    return NOTHING if world is None else planted.compare(world)


def _of_samples(name: str) -> bool:
    return name in ("duplicates", "label_issues")


def section(context: Context) -> Block | None:
    """What was injected and who found it, and what was called beyond that."""
    found = table(context.results)
    if found.empty:
        return None
    calls = found["outcome"] == "unplanted"
    return part(
        "Planted, found?",
        text(summary(found)),
        _plants(found[~calls]),
        *([_calls(found[calls])] if calls.any() else ()),
    )


def summary(found: pd.DataFrame) -> str:
    """How many plants were found whole, in part or not, and how many calls were not planted."""
    n = planted.counts(found)
    missed = found.loc[found["outcome"].isin(["missed", "not measured"]), "plant"].unique()
    rest = f" Not by all: {', '.join(words(str(name)) for name in missed)}." if len(missed) else ""
    calls = counted(n["n_unplanted"], "slice was", "slices were")
    unexplained = n["n_unplanted_unexplained"]
    return (
        f"The data set holds injected failures (planted.json). "
        f"{n['n_planted_found']} of {n['n_planted']} were found by every audit that should find "
        f"them.{rest} {calls} called worse without being planted there; in "
        f"{n['n_unplanted'] - unexplained} a plant is more frequent than in the rest, "
        f"{unexplained} {'stays' if unexplained == 1 else 'stay'} unexplained."
    )


def _plants(rows: pd.DataFrame) -> Block:
    cells = [
        (_once(rows, i), _expected(row), str(row["outcome"]), _evidence(row))
        for i, row in enumerate(row_dicts(rows))
    ]
    return listing(
        "What was planted, which audit must find it where, and what it says",
        ("plant", "expected", "found", "evidence"),
        cells,
        align="llll",
        widths=(1.5, 3.6, 0.8, 4.6),
    )


def _once(rows: pd.DataFrame, place: int) -> str:
    """The name of a plant in the first of its rows."""
    names = [str(name) for name in rows["plant"]]
    return "" if place and names[place] == names[place - 1] else words(names[place])


def _calls(rows: pd.DataFrame) -> Block:
    cells = [
        (
            _place(row),
            _evidence(row, more=False),
            _text(row["evidence"]) or "no plant is more frequent there",
        )
        for row in row_dicts(rows)
    ]
    return listing(
        "Called worse without being planted there, and the plants inside",
        ("slice", "gap", "plants inside"),
        cells,
        align="lll",
        widths=(3.3, 3.2, 4.0),
    )


def _expected(row: dict[str, Any]) -> str:
    """The audit, and the row of it that was asked."""
    place = _place(row)
    series = str(row["audit"]).partition("/")[2].replace("_", " ")
    return f"{series}: {place}" if place else series


def _place(row: dict[str, Any]) -> str:
    """The row that was asked and its measure; empty where there is none."""
    measure, place = _text(row["measure"]), _text(row["row"])
    known = measure.removeprefix("critical_").replace("_", " ")
    return f"{place}, {known}" if measure and place else place


def _evidence(row: dict[str, Any], *, more: bool = True) -> str:
    """The estimate, its p-value and what it rests on, then the rest in words."""
    p = float(row["p_value"])
    parts = [
        _number(row),
        p_equals(p) if np.isfinite(p) else "",
        f"n={count(row['n'])}" if np.isfinite(float(row["n"])) else "",
    ]
    said = ", ".join(filter(None, parts))
    evidence = _text(row["evidence"]) if more else ""
    # Words about counts say the same as the share of the head.
    return evidence or said if not np.isfinite(float(row["low"])) else said


def _number(row: dict[str, Any]) -> str:
    """The estimate, signed with its interval where it is a gap."""
    value, low, high = (float(row[name]) for name in ("estimate", "low", "high"))
    if not np.isfinite(value):
        return ""
    if not np.isfinite(low):
        return plain(value, 2)
    return f"{signed(value, 2)} ({signed(low, 2)} to {signed(high, 2)})"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
