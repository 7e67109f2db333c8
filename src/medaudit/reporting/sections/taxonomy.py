"""Section 2: the failure taxonomy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.reporting import labels, narrative
from medaudit.reporting.blocks import Block, table, text
from medaudit.reporting.blocks import section as part
from medaudit.reporting.numbers import count

if TYPE_CHECKING:
    from medaudit.reporting.context import Context
    from medaudit.reporting.evidence import Evidence


PRODUCT = (
    " The stated probability of an answer is the product over labels of the probability of what is "
    "said about each."
)
COLUMNS = ("mode", "definition", "n", "groups", "share (interval)")
CHARACTER = 0.13  # of a heading, in the unit of the widths
ALIGN, WIDTHS = "llrrr", (2.0, 4.6, 0.6, 0.8, 1.9)


def section(context: Context) -> Block | None:
    """How often every way of failing happens."""
    evidence = context.evidence
    modes = evidence.rows("cases", "taxonomy")
    if not modes:
        return None
    critical = evidence.critical
    rows = [
        (
            labels.words(str(row["mode"])),
            str(row["definition"]),
            count(row["n"]),
            count(row["n_groups"]),
            narrative.mode(row),
            *((count(row["n_critical"]), count(row["n_flagged"])) if critical else ()),
        )
        for row in modes
    ]
    more = (critical, "flagged") if critical else ()
    return part(
        "Failure taxonomy",
        text(explanation(evidence, sum(int(row["n"]) for row in modes), context.level)),
        table(
            "Failure modes of the test role",
            (*COLUMNS, *more),
            rows,
            align=ALIGN + "r" * len(more),
            widths=(*WIDTHS, *((max(0.6, CHARACTER * len(critical)), 0.9) if critical else ())),
        ),
    )


def explanation(evidence: Evidence, total: int, level: str) -> str:
    """What the modes are shares of, and what counts as right and as flagged."""
    right = (
        "" if evidence.exclusive else f" Right is an image with no label called wrongly.{PRODUCT}"
    )
    flagged = (
        f" “Flagged” counts the images that the frozen threshold would flag as "
        f"{evidence.critical} whatever is called."
        if evidence.critical and evidence.exclusive
        else ""
    )
    return (
        f"Every one of {count(total)} test images falls into exactly one mode; brackets hold "
        f"{level} intervals of a bootstrap over groups.{right}{flagged}"
    )
