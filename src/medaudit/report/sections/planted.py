"""Planted, found? Injected failures beside the audits, for a data set that brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medaudit.audits import planted
from medaudit.core.findings import row_dicts
from medaudit.report.blocks import Block, text
from medaudit.report.blocks import section as part
from medaudit.report.blocks import table as listing
from medaudit.report.formatting import count, counted, p_value, plain, signed
from medaudit.report.formatting import metric as metric_name

if TYPE_CHECKING:
    from medaudit.report.blocks import Context
    from medaudit.report.results import Results

NOTHING = pd.DataFrame(columns=[*planted.COLUMNS])


def table(results: Results) -> pd.DataFrame:
    """A row per audit of every plant and per unplanted call; empty where nothing was planted."""
    if not results.complete:
        return NOTHING
    world = planted.read_world(results.root, results.series, results.params)
    return NOTHING if world is None else planted.compare(world)


def section(context: Context) -> Block | None:
    """What was injected and who found it, and what was called beyond that."""
    found = table(context.results)
    if found.empty:
        return None
    calls = found["outcome"] == "unplanted"
    return part(
        "Planted, found?",
        text(summary(found)),
        _plants(found[~calls], context),
        *([_calls(found[calls], context)] if calls.any() else ()),
    )


def summary(found: pd.DataFrame) -> str:
    """How many plants were found whole, in part or not, and how many calls were not planted."""
    n = planted.counts(found)
    missed = found.loc[found["outcome"].isin(["missed", "not measured"]), "plant"].unique()
    rest = f" Not by all: {', '.join(map(str, missed))}." if len(missed) else ""
    calls = counted(n["n_unplanted"], "slice was", "slices were")
    unexplained = n["n_unplanted_unexplained"]
    return (
        f"The data set holds injected failures (planted.json). "
        f"{n['n_planted_found']} of {n['n_planted']} were found by every audit that should find "
        f"them.{rest} {calls} called worse without being planted there; in "
        f"{n['n_unplanted'] - unexplained} a plant is more frequent than in the rest, "
        f"{unexplained} stay unexplained."
    )


def _plants(rows: pd.DataFrame, context: Context) -> Block:
    cells = [
        (
            str(row["plant"]),
            _where(row, context),
            row["outcome"],
            _number(row),
            p_value(float(row["p_value"])),
            count(row["n"]),
            _text(row["evidence"]),
        )
        for row in row_dicts(rows)
    ]
    return listing(
        f"Every plant and its audits; gaps with {context.level} intervals",
        ("plant", "audit", "outcome", "estimate", "p", "n", "evidence"),
        cells,
        align="lllrrrl",
        widths=(1.4, 2.6, 1, 2, 0.7, 0.6, 3),
    )


def _calls(rows: pd.DataFrame, context: Context) -> Block:
    cells = [
        (
            _where(row, context),
            _number(row),
            p_value(float(row["p_value"])),
            count(row["n"]),
            _text(row["evidence"]) or "no plant is more frequent there",
        )
        for row in row_dicts(rows)
    ]
    return listing(
        "Called worse, not planted there",
        ("slice", "gap", "p", "n", "plants inside"),
        cells,
        align="lrrrl",
        widths=(3, 2, 0.7, 0.6, 4),
    )


def _where(row: dict[str, Any], context: Context) -> str:
    """The row that was asked and its measure, or the series where there is none."""
    measure, place = _text(row["measure"]), _text(row["row"])
    if not place:
        return str(row["audit"])
    return f"{place}: {metric_name(measure, context.results.critical)}" if measure else place


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
