"""Section 1: the problem and the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.reporting.blocks import Block, bullets, details, figure, pair, table, text
from medaudit.reporting.blocks import section as part
from medaudit.reporting.labels import ROLES
from medaudit.reporting.numbers import count, plain, real

if TYPE_CHECKING:
    from medaudit.reporting.context import Context
    from medaudit.reporting.evidence import Evidence


def section(context: Context) -> Block:
    """Counts, ledger, missing values, duplicates, training."""
    evidence = context.evidence
    notes = [bullets(note.replace("`", "") for note in evidence.preparation.notes)]
    return part(
        "Problem and data",
        text(problem(evidence)),
        *(notes if evidence.preparation.notes else ()),
        pair(
            figure("class_counts", "Images per class, by role. Roles never share a group."),
            figure("training", "Training; the dotted line marks the epoch that was kept."),
        ),
        pair(ledger(evidence), missing(evidence)),
        text(duplicates(evidence)),
        details("Images and groups per class and role", counts(evidence)),
    )


def problem(evidence: Evidence) -> str:
    """What is decided about what, and how unequal the classes are."""
    critical = evidence.critical
    must = f" The class that must not be missed is {critical}." if critical else ""
    imbalance = plain(real(evidence.scalar("prepare", "imbalance_ratio")), 1)
    return (
        f"A {evidence.preparation.schema.task} problem with {len(evidence.classes)} classes "
        f"({', '.join(evidence.classes)}).{must} {count(evidence.scalar('prepare', 'n_images'))} "
        f"images of {count(evidence.scalar('prepare', 'n_groups'))} groups (a group is a "
        f"{evidence.preparation.group_meaning}) were split into roles by group; the largest class "
        f"has {imbalance} times the images of the smallest. Images enter at "
        f"{evidence.preparation.image_size} by {evidence.preparation.image_size} pixels."
    )


def ledger(evidence: Evidence) -> Block:
    """Every row from the raw files to the roles."""
    rows = [
        (str(row["step"]), str(row["reason"]), count(row["rows_in"]), count(row["rows_out"]))
        for row in evidence.rows("prepare", "ledger")
    ]
    return table("Row ledger", ("step", "left out because", "in", "out"), rows, align="llrr")


def missing(evidence: Evidence) -> Block:
    """Columns with values that are not known; complete columns are only counted."""
    rows = evidence.rows("prepare", "missing")
    gaps = [row for row in rows if row["missing"] or row["unknown"]]
    body = [(str(row["column"]), count(row["missing"]), count(row["unknown"])) for row in gaps]
    body.append((f"{len(rows) - len(gaps)} other columns", "0", "0"))
    return table("Values that are not known", ("column", "missing", "unknown"), body)


def duplicates(evidence: Evidence) -> str:
    """How many duplicate pairs there are and what was done about them."""
    found = evidence.table("prepare", "duplicates")
    if found.empty:
        return "No duplicate images were found."
    across, differ = (int(found[c].astype(bool).sum()) for c in ("across_groups", "labels_differ"))
    return (
        f"Duplicate pairs found: {len(found)}; across groups: {across} (merged into one group, so "
        f"that no pair stands in two roles); with labels that differ: {differ}."
    )


def counts(evidence: Evidence) -> Block:
    """Images (groups) of every class in every role."""
    cells = {
        (row["class"], row["role"]): f"{count(row['images'])} ({count(row['groups'])})"
        for row in evidence.rows("prepare", "class_counts")
    }
    rows = [(name, *(cells.get((name, role), "0") for role in ROLES)) for name in evidence.classes]
    return table("Images (groups) per class and role", ("class", *ROLES), rows)
