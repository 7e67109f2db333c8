"""Sections 1 and 3: the problem and the data, and the model on clean images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medaudit.audits.calibrate import BASELINE
from medaudit.report import formatting, reproduction
from medaudit.report.blocks import Block, bullets, details, figure, pair, stack, table, text
from medaudit.report.blocks import section as part
from medaudit.report.figures import stress
from medaudit.report.formatting import count, counted, estimate, number, plain, real, share
from medaudit.report.results import ece_and_floor
from medaudit.tables.manifest import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from medaudit.report.blocks import Context
    from medaudit.report.results import Results

ABSENT = {
    "prepare": "a row ledger and a search for duplicates, which the pipeline makes",
    "train": "how the model was trained",
    "stress": "no predictions under other conditions were given (nothing on corruptions or shifts)",
    "slice": "no slice columns were given",
    "calibrate": "calibration was not audited",
    "selective": "deferral was not audited",
    "cases": "no case studies, for which the pipeline keeps model and images at hand",
}


def data_section(context: Context) -> Block:
    """Counts, ledger, missing values, duplicates, training; what is not in this report."""
    results = context.results
    notes = [note.replace("`", "") for note in reproduction.data_notes(results)]
    prepared = "prepare" in results.stages
    return part(
        "Problem and data",
        text(problem(results)),
        *((bullets(notes),) if notes else ()),
        *absent(results),
        *(prepared_blocks(results) if prepared else test_blocks(results)),
    )


def absent(results: Results) -> Iterator[Block]:
    """One line on the stages that are not there."""
    missing = [
        why
        for stage, why in ABSENT.items()
        if stage not in results.stages or (stage == "slice" and not stress.was_cut(results))
    ]
    if missing:
        yield text(f"Left out of this report: {'; '.join(missing)}.")


def problem(results: Results) -> str:
    """What is decided about what."""
    critical = results.critical
    one, many = results.nouns
    must = f" The {one} that must not be missed is {critical}." if critical else ""
    n = len(results.classes)
    may = "have several of them, or none" if n > 1 else "have it or not"
    several = "" if results.exclusive else f"; an image may {may}"
    return (
        f"A {results.preparation.schema.task} problem with {counted(n, one, many)} "
        f"({', '.join(results.classes)}){several}.{must} {images(results)}"
    )


def images(results: Results) -> str:
    """How many images there are, of whom, and how unequal the classes are."""
    meaning = results.preparation.group_meaning
    if "prepare" not in results.stages:
        n, groups = (count(results.scalar("evaluate", name)) for name in ("n", "n_groups"))
        return f"The test role holds {n} images of {groups} groups (by {meaning})."
    n, groups = (count(results.scalar("prepare", name)) for name in ("n_images", "n_groups"))
    imbalance = plain(real(results.scalar("prepare", "imbalance_ratio")), 1)
    size, noun = results.preparation.image_size, results.nouns[0]
    return (
        f"{n} images of {groups} groups (a group is a {meaning}) were split into roles by group; "
        f"the most frequent {noun} has {imbalance} times the images of the rarest. Images enter at "
        f"{size} by {size} pixels."
    )


def prepared_blocks(results: Results) -> list[Block]:
    """Counts, training, ledger, gaps and duplicates of data that this pipeline prepared."""
    noun = results.nouns[0]
    return [
        pair(
            figure("class_counts", f"Images per {noun}, by role. Roles never share a group."),
            figure("training", "Training; the dotted line marks the epoch that was kept."),
        ),
        text(f"{kept_rows(results)} {duplicates(results)}"),
        details("Row ledger, and values that are not known", ledger(results), missing(results)),
        details(f"Images and groups per {noun} and role", counts(results)),
    ]


def test_blocks(results: Results) -> list[Block]:
    """What is known of data that were prepared elsewhere: who is positive on test."""
    # Labels have a table of their own in the section on performance.
    if not results.exclusive:
        return []
    rows = [
        (str(row["class"]), count(row["n_positive"]), share(real(row["prevalence"])))
        for row in results.rows("evaluate", "per_class", metric="auroc")
    ]
    return [table("Classes of the test role", ("class", "images", "prevalence"), rows)]


def kept_rows(results: Results) -> str:
    """How many rows were read and are in a role, and how many values are not known."""
    steps = results.rows("prepare", "ledger")
    roles = [row for row in steps if str(row["step"]).startswith("role ")]
    kept = sum(int(row["rows_out"]) for row in roles)
    each = ", ".join(f"{str(r['step'])[5:]} {count(r['rows_out'])}" for r in roles)
    gaps = [(str(r["column"]), r["missing"] + r["unknown"]) for r in not_known(results)]
    named = ", ".join(f"{name} {count(n)}" for name, n in gaps) or "none"
    return (
        f"Rows read: {count(steps[0]['rows_in'])}; in a role: {count(kept)} ({each}). Values that "
        f"are not known: {named}."
    )


def not_known(results: Results) -> list[dict[str, Any]]:
    """The columns that lack values."""
    return [row for row in results.rows("prepare", "missing") if row["missing"] or row["unknown"]]


def ledger(results: Results) -> Block:
    """Every row from the raw files to the roles."""
    rows = [
        (str(row["step"]), str(row["reason"]), count(row["rows_in"]), count(row["rows_out"]))
        for row in results.rows("prepare", "ledger")
    ]
    return table("Row ledger", ("step", "left out because", "in", "out"), rows, align="llrr")


def missing(results: Results) -> Block:
    """Columns with values that are not known; complete columns are only counted."""
    rows = results.rows("prepare", "missing")
    gaps = not_known(results)
    body = [(str(row["column"]), count(row["missing"]), count(row["unknown"])) for row in gaps]
    body.append((f"{len(rows) - len(gaps)} other columns", "0", "0"))
    return table("Values that are not known", ("column", "missing", "unknown"), body)


def duplicates(results: Results) -> str:
    """How many duplicate pairs there are and what was done about them."""
    n = results.duplicate_pairs()
    if not n:
        return "No duplicate images were found."
    names = ("across_groups", "labels_differ", "across_roles")
    across, differ, torn = (results.duplicate_pairs(each) for each in names)
    roles = (
        f"of these {torn} stand in two roles, as the given split has them"
        if torn
        else "merged into one group, so that no pair stands in two roles"
    )
    return (
        f"Duplicate pairs found: {n}; across groups: {across} ({roles}); with labels that "
        f"differ: {differ}."
    )


def counts(results: Results) -> Block:
    """Images (groups) of every class in every role."""
    cells = {
        (row["class"], row["role"]): f"{count(row['images'])} ({count(row['groups'])})"
        for row in results.rows("prepare", "class_counts")
    }
    rows = [(name, *(cells.get((name, role), "0") for role in ROLES)) for name in results.classes]
    noun = results.nouns[0]
    return table(f"Images (groups) per {noun} and role", (noun, *ROLES), rows)


BY_LABEL = ("auroc", "auprc", "sensitivity", "specificity")
LABEL_HEADS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}


def section(context: Context) -> Block | None:
    """Metrics with intervals, classes, curves, confusion or co-occurrence, threshold."""
    results = context.results
    if "evaluate" not in results.stages:
        return None
    one = results.nouns[0]
    red = ", in red the critical one" if results.critical else ""
    return part(
        "Performance on clean images",
        text(
            f"Brackets hold {context.intervals}; thresholds are frozen on the calibration role. "
            f"{calls(results)}"
        ),
        *(() if results.exclusive else (by_label(results),)),
        figure(
            "per_class",
            f"Every {one} against the rest, with intervals; in brackets the number of positive "
            f"test images{red}.",
        ),
        *charts(results),
        details(f"Every {'other ' if results.critical else ''}{one} over thresholds", thresholds()),
        details(
            f"Every measure, and every {one}", metrics(results, everything=True), per_class(results)
        ),
    )


def thresholds() -> Block:
    """Rates over thresholds in small panels."""
    return figure(
        "thresholds", "Rates on test over thresholds; dashed the threshold frozen on calibration."
    )


def calls(results: Results) -> str:
    """What is called, as recall, precision, F1 and the confusion count it."""
    if results.exclusive:
        return "Called is the most probable class; recall, precision and F1 are those of calls."
    return "A label is called where its probability exceeds its own frozen threshold."


def charts(results: Results) -> list[Block]:
    """Measures, confusion and curves, with as many halves of the page as there are charts."""
    confused = (
        "Share of each true class that is called each class."
        if results.exclusive
        else "Of the images with the label of the row, the share for which the label of the column "
        "is called; images with several labels stand in several rows."
    )
    confusion = figure("confusion", confused)
    thick = "; the thick line is the critical one" if results.critical else ""
    curves = figure("curves", f"One {results.nouns[0]} against the rest{thick}.")
    if results.critical is None:
        return [pair(confusion, stack(curves, metrics(results)))]
    threshold = figure("threshold", "Rates on test; the threshold comes from calibration.")
    return [pair(metrics(results), confusion), pair(curves, threshold)]


LED_BY = (
    *("macro_auroc", "macro_auprc", "macro_f1", "balanced_accuracy", "accuracy", "exact_match"),
    *("brier_skill_score", "ece", "critical_auroc", "critical_auprc", "critical_sensitivity"),
    *("critical_specificity", "critical_false_alarms_per_100", "critical_ppv", "critical_npv"),
    *("macro_sensitivity", "macro_specificity", "critical_recall"),
)
"""Measures outside of the fold, where there are more."""


def metrics(results: Results, *, everything: bool = False) -> Block:
    """The measures of the test role that lead, or every one."""
    rows = [
        (
            formatting.metric(str(row["metric"]), results.critical),
            estimate(number(row)),
            count(number(row).rests_on),
        )
        for row in results.rows("evaluate", "metrics")
        if everything or row["metric"] in LED_BY
    ]
    first = results.rows("evaluate", "metrics")[0]
    images = f"{count(first['n'])} images of {count(first['n_groups'])} groups"
    caption = f"Test role, {images}; n: images behind a measure"
    return table(caption, ("measure", "value (interval)", "n behind it"), rows)


def by_label(results: Results) -> Block:
    """One row per label: how often, how well ranked and called, how well calibrated."""
    calibrated = "calibrate" in results.stages
    rows = [
        (
            name,
            share(prevalence(results, name)),
            count(results.of_class(name, "auroc").n_positive),
            *(estimate(results.of_class(name, metric), 2) for metric in BY_LABEL),
            *(calibration_cells(results, name) if calibrated else ()),
        )
        for name in results.classes
    ]
    heads = [LABEL_HEADS[name] for name in BY_LABEL]
    more = ("ECE", "floor", "Brier skill") if calibrated else ()
    rests = "n: test images with the label"
    caption = f"Label by label, {rests}; sensitivity and specificity at the frozen threshold" + (
        "; floor: 95th percentile of the ECE of a perfectly calibrated model" * calibrated
    )
    return table(caption, ("label", "prevalence", "n", *heads, *more), rows)


def prevalence(results: Results, name: str) -> float:
    """Share of the test images with a label."""
    rows = results.rows("evaluate", "per_class", **{"class": name})
    return real(rows[0]["prevalence"]) if rows else real(None)


def calibration_cells(results: Results, name: str) -> tuple[str, str, str]:
    """ECE with its floor, and Brier skill, of the uncalibrated probabilities of a label."""
    asked = {"calibrator": BASELINE, "event": name}
    skill = results.number("calibrate", "events", metric="brier_skill_score", **asked)
    ece, p95 = ece_and_floor(results, name)
    floor = plain(p95) if math.isfinite(p95) else ""
    return plain(ece.value), floor, estimate(skill, 2)


def per_class(results: Results) -> Block:
    """The long table of classes and measures."""
    rows = [
        (
            str(row["class"]),
            share(real(row["prevalence"])),
            formatting.metric(str(row["metric"])),
            estimate(number(row)),
            count(number(row).rests_on),
            plain(real(row["threshold"])),
        )
        for row in results.rows("evaluate", "per_class")
    ]
    one = results.nouns[0]
    columns = (one, "prevalence", "measure", "value (interval)", "n behind it", "frozen threshold")
    return table(f"Every {one} against the rest", columns, rows, align="lrlrrr")
