"""Section 2: the failure taxonomy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.reporting import labels, narrative
from medaudit.reporting.blocks import Block, table, text
from medaudit.reporting.blocks import section as part
from medaudit.reporting.numbers import count

if TYPE_CHECKING:
    from medaudit.reporting.context import Context


def section(context: Context) -> Block:
    """How often every way of failing happens."""
    evidence = context.evidence
    modes = evidence.rows("cases", "taxonomy")
    total = sum(int(row["n"]) for row in modes)
    rows = [
        (
            labels.words(str(row["mode"])),
            str(row["definition"]),
            count(row["n"]),
            count(row["n_groups"]),
            narrative.mode(row),
            count(row["n_critical"]),
            count(row["n_flagged"]),
        )
        for row in modes
    ]
    critical = evidence.critical or "critical"
    columns = ("mode", "definition", "n", "groups", f"share ({context.level} interval)")
    return part(
        "Failure taxonomy",
        text(
            f"Every one of {count(total)} test images falls into exactly one mode; intervals of "
            f"the shares are Wilson's. “Flagged” counts the images that the frozen threshold would "
            f"flag as {critical} whatever is called."
        ),
        table(
            "Failure modes of the test role",
            (*columns, f"{critical}", "flagged"),
            rows,
            align="llrrrrr",
            widths=(2.0, 4.6, 0.6, 0.8, 1.9, 0.6, 0.9),
        ),
    )
