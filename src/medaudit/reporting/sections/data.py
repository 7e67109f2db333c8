"""Section 1: the problem and the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.reporting.blocks import Block, bullets, details, figure, pair, table, text
from medaudit.reporting.blocks import section as part
from medaudit.reporting.figures import slices as slice_figure
from medaudit.reporting.labels import ROLES
from medaudit.reporting.numbers import count, counted, plain, real, share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medaudit.reporting.context import Context
    from medaudit.reporting.evidence import Evidence

ABSENT = {
    "prepare": "a row ledger and a search for duplicates, which the pipeline makes",
    "train": "how the model was trained",
    "stress": "no predictions under other conditions were given (nothing on corruptions or shifts)",
    "slice": "no slice columns were given",
    "calibrate": "calibration was not audited",
    "selective": "deferral was not audited",
    "cases": "no case studies, for which the pipeline keeps model and images at hand",
}


def section(context: Context) -> Block:
    """Counts, ledger, missing values, duplicates, training; what is not in this report."""
    evidence = context.evidence
    notes = [bullets(note.replace("`", "") for note in evidence.preparation.notes)]
    prepared = "prepare" in evidence.stages
    return part(
        "Problem and data",
        text(problem(evidence)),
        *(notes if evidence.preparation.notes else ()),
        *absent(evidence),
        *(prepared_blocks(evidence) if prepared else test_blocks(evidence)),
    )


def absent(evidence: Evidence) -> Iterator[Block]:
    """One line on the stages that are not there."""
    missing = [
        why
        for stage, why in ABSENT.items()
        if stage not in evidence.stages or (stage == "slice" and not slice_figure.was_cut(evidence))
    ]
    if missing:
        yield text(f"Left out of this report: {'; '.join(missing)}.")


def problem(evidence: Evidence) -> str:
    """What is decided about what."""
    critical = evidence.critical
    one, many = evidence.nouns
    must = f" The {one} that must not be missed is {critical}." if critical else ""
    n = len(evidence.classes)
    may = "have several of them, or none" if n > 1 else "have it or not"
    several = "" if evidence.exclusive else f"; an image may {may}"
    return (
        f"A {evidence.preparation.schema.task} problem with {counted(n, one, many)} "
        f"({', '.join(evidence.classes)}){several}.{must} {images(evidence)}"
    )


def images(evidence: Evidence) -> str:
    """How many images there are, of whom, and how unequal the classes are."""
    meaning = evidence.preparation.group_meaning
    if "prepare" not in evidence.stages:
        n, groups = (count(evidence.scalar("evaluate", name)) for name in ("n", "n_groups"))
        return f"The test role holds {n} images of {groups} groups (by {meaning})."
    n, groups = (count(evidence.scalar("prepare", name)) for name in ("n_images", "n_groups"))
    imbalance = plain(real(evidence.scalar("prepare", "imbalance_ratio")), 1)
    size, noun = evidence.preparation.image_size, evidence.nouns[0]
    return (
        f"{n} images of {groups} groups (a group is a {meaning}) were split into roles by group; "
        f"the most frequent {noun} has {imbalance} times the images of the rarest. Images enter at "
        f"{size} by {size} pixels."
    )


def prepared_blocks(evidence: Evidence) -> list[Block]:
    """Counts, training, ledger, gaps and duplicates of data that this pipeline prepared."""
    noun = evidence.nouns[0]
    return [
        pair(
            figure("class_counts", f"Images per {noun}, by role. Roles never share a group."),
            figure("training", "Training; the dotted line marks the epoch that was kept."),
        ),
        pair(ledger(evidence), missing(evidence)),
        text(duplicates(evidence)),
        details(f"Images and groups per {noun} and role", counts(evidence)),
    ]


def test_blocks(evidence: Evidence) -> list[Block]:
    """What is known of data that were prepared elsewhere: who is positive on test."""
    # Labels have a table of their own in the section on performance.
    if not evidence.exclusive:
        return []
    rows = [
        (str(row["class"]), count(row["n_positive"]), share(real(row["prevalence"])))
        for row in evidence.rows("evaluate", "per_class", metric="auroc")
    ]
    return [table("Classes of the test role", ("class", "images", "prevalence"), rows)]


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
    torn = int(found["across_roles"].astype(bool).sum()) if "across_roles" in found else 0
    roles = (
        f"of these {torn} stand in two roles, as the given split has them"
        if torn
        else "merged into one group, so that no pair stands in two roles"
    )
    return (
        f"Duplicate pairs found: {len(found)}; across groups: {across} ({roles}); with labels that "
        f"differ: {differ}."
    )


def counts(evidence: Evidence) -> Block:
    """Images (groups) of every class in every role."""
    cells = {
        (row["class"], row["role"]): f"{count(row['images'])} ({count(row['groups'])})"
        for row in evidence.rows("prepare", "class_counts")
    }
    rows = [(name, *(cells.get((name, role), "0") for role in ROLES)) for name in evidence.classes]
    noun = evidence.nouns[0]
    return table(f"Images (groups) per {noun} and role", (noun, *ROLES), rows)
