"""The part of section 4 about slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.reporting import labels, narrative
from medaudit.reporting.blocks import Block, details, figure, table, text
from medaudit.reporting.figures import slices as slice_figure
from medaudit.reporting.numbers import (
    change,
    count,
    counted,
    difference,
    estimate,
    number,
    p_value,
    real,
)

if TYPE_CHECKING:
    from medaudit.reporting.evidence import Evidence

WORST = 6
MOST_REFUSED = 8


def blocks(evidence: Evidence) -> list[Block]:
    """The largest gaps, what was refused, the forest, and everything in a fold."""
    return [
        gaps(evidence),
        refused(evidence),
        figure("slices", slice_caption(evidence)),
        details("Every slice and measure", slices(evidence)),
    ]


def slice_caption(evidence: Evidence) -> str:
    """What the forest of slices shows."""
    found = evidence.table("slice", "slices")
    if found.empty:
        return "Every slice was refused."
    defined = found.dropna(subset=["value"])
    wanted = slice_figure.metrics(evidence)
    n = defined[defined["metric"].isin(wanted)]["slice"].nunique()
    some = min(n, slice_figure.MOST_ROWS)
    which = f"{some} of {n} slices, those of the largest gaps" if some < n else f"All {n} slices"
    return (
        f"{which}, with intervals; in brackets n. Filled: differs from the rest after Holm; red: "
        f"worse. Pale: no interval, too many resamples are undefined. Dashed: all of test."
    )


def gaps(evidence: Evidence) -> Block:
    """The slices of the largest gaps in the primary measure."""
    name = slice_figure.primary(evidence)
    changes = [each for each in narrative.slice_changes(evidence) if each.defined]
    ranked = sorted(changes, key=lambda each: (not each.comparable, -each.harm))[:WORST]
    label = labels.short(name, evidence.critical)
    if not ranked:
        return text(f"No slice could be compared in {label}.")
    positives = any(each.n_positive is not None for each in ranked)
    rows = [
        (
            each.name,
            estimate(evidence.number("slice", "slices", slice=each.name, metric=name), 2),
            difference(each, 2),
            p_value(each.p_holm),
            count(each.n),
            *((count(each.n_positive),) if positives else ()),
        )
        for each in ranked
    ]
    more = ("positives",) if positives else ()
    columns = ("slice", label, "gap to the rest", "p (Holm)", "n", *more)
    caption = f"Slices of the largest measured gaps in {label}, of {len(changes)} compared"
    return table(caption, columns, rows)


def refused(evidence: Evidence) -> Block:
    """Slices that say nothing, with the reason."""
    rows = [
        (str(row["slice"]), count(row["n"]), count(row["n_positive"]), str(row["reason"]))
        for row in evidence.rows("slice", "refused")
    ]
    if not rows:
        return text("No slice was refused.")
    more = len(rows) - MOST_REFUSED
    return table(
        f"Refused slices or measures ({len(rows)})",
        ("slice", "n", "positives", "reason"),
        rows[:MOST_REFUSED],
        align="lrrl",
        widths=(2.2, 0.5, 0.8, 6),
        note=f"{counted(more, 'more stands', 'more stand')} in plots/slice/refused.csv."
        if more > 0
        else "",
    )


def slices(evidence: Evidence) -> Block:
    """The long table of slices."""
    rows = [
        (
            str(row["slice"]),
            labels.short(str(row["metric"]), evidence.critical),
            estimate(number(row)),
            difference(change(row, "gap", name="", ends=("gap_low", "gap_high"))),
            p_value(real(row["p_holm"])),
            count(row["n"]),
            count(row["n_positive"]),
        )
        for row in evidence.rows("slice", "slices")
    ]
    columns = ("slice", "measure", "value", "gap to the rest", "p (Holm)", "n", "positives")
    return table("Every slice and measure", columns, rows, align="llrrrrr")
