"""Section 3: the model on clean images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.audits.calibration import BASELINE
from medaudit.reporting import labels
from medaudit.reporting.blocks import Block, details, figure, pair, stack, table, text
from medaudit.reporting.blocks import section as part
from medaudit.reporting.numbers import count, estimate, number, plain, real, share

if TYPE_CHECKING:
    from medaudit.reporting.context import Context
    from medaudit.reporting.evidence import Evidence

BY_LABEL = ("auroc", "auprc", "sensitivity", "specificity")
LABEL_HEADS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}


def section(context: Context) -> Block | None:
    """Metrics with intervals, classes, curves, confusion or co-occurrence, threshold."""
    evidence = context.evidence
    if "evaluate" not in evidence.stages:
        return None
    one = evidence.nouns[0]
    red = ", in red the critical one" if evidence.critical else ""
    return part(
        "Performance on clean images",
        text(
            f"Brackets hold {context.intervals}; thresholds are frozen on the calibration role. "
            f"{calls(evidence)}{repicked(evidence)}"
        ),
        *(() if evidence.exclusive else (by_label(evidence),)),
        figure(
            "per_class",
            f"Every {one} against the rest, with intervals; in brackets the number of positive "
            f"test images{red}.",
        ),
        *charts(evidence),
        details(f"Every {one} and measure", per_class(evidence)),
    )


def calls(evidence: Evidence) -> str:
    """What is called, as recall, precision, F1 and the confusion count it."""
    if evidence.exclusive:
        return "Called is the most probable class; recall, precision and F1 are those of calls."
    return "A label is called where its probability exceeds its own frozen threshold."


def repicked(evidence: Evidence) -> str:
    """The number that papers report, labelled as what it is."""
    found = evidence.measure("critical_sensitivity_repicked_on_test")
    if not found.defined:
        return ""
    return (
        f" With the threshold picked on test, as papers often do, the sensitivity for "
        f"{evidence.critical} would be {estimate(found)}; that number is optimistic and not used."
    )


def charts(evidence: Evidence) -> list[Block]:
    """Measures, confusion and curves, with as many halves of the page as there are charts."""
    confused = (
        "Share of each true class that is called each class."
        if evidence.exclusive
        else "Of the images with the label of the row, the share for which the label of the column "
        "is called; images with several labels stand in several rows."
    )
    confusion = figure("confusion", confused)
    thick = "; the thick line is the critical one" if evidence.critical else ""
    curves = figure("curves", f"One {evidence.nouns[0]} against the rest{thick}.")
    if evidence.critical is None:
        return [pair(confusion, stack(curves, metrics(evidence)))]
    threshold = figure("threshold", "Rates on test; the threshold comes from calibration.")
    return [pair(metrics(evidence), confusion), pair(curves, threshold)]


def metrics(evidence: Evidence) -> Block:
    """Every measure of the test role."""
    rows = [
        (
            labels.metric(str(row["metric"]), evidence.critical),
            estimate(number(row)),
            count(number(row).rests_on),
        )
        for row in evidence.rows("evaluate", "metrics")
    ]
    first = evidence.rows("evaluate", "metrics")[0]
    caption = f"Test role, {count(first['n'])} images of {count(first['n_groups'])} groups"
    return table(caption, ("measure", "value (interval)", "n behind it"), rows)


def by_label(evidence: Evidence) -> Block:
    """One row per label: how often, how well ranked and called, how well calibrated."""
    calibrated = "calibrate" in evidence.stages
    rows = [
        (
            name,
            share(prevalence(evidence, name)),
            count(evidence.of_class(name, "auroc").n_positive),
            *(estimate(evidence.of_class(name, metric), 2) for metric in BY_LABEL),
            *(calibration_cells(evidence, name) if calibrated else ()),
        )
        for name in evidence.classes
    ]
    heads = [LABEL_HEADS[name] for name in BY_LABEL]
    more = ("ECE", "floor", "Brier skill") if calibrated else ()
    caption = "Label by label; sensitivity and specificity at the frozen threshold" + (
        "; floor: 95th percentile of the ECE of a perfectly calibrated model" * calibrated
    )
    return table(caption, ("label", "prevalence", "n", *heads, *more), rows)


def prevalence(evidence: Evidence, name: str) -> float:
    """Share of the test images with a label."""
    rows = evidence.rows("evaluate", "per_class", **{"class": name})
    return real(rows[0]["prevalence"]) if rows else real(None)


def calibration_cells(evidence: Evidence, name: str) -> tuple[str, str, str]:
    """ECE with its floor, and Brier skill, of the uncalibrated probabilities of a label."""
    asked = {"calibrator": BASELINE, "event": name}
    ece, skill = (
        evidence.number("calibrate", "events", metric=metric, **asked)
        for metric in ("ece", "brier_skill_score")
    )
    floors = evidence.rows("calibrate", "noise_floor", **asked)
    floor = plain(real(floors[0]["p95"])) if floors else ""
    return estimate(ece), floor, estimate(skill, 2)


def per_class(evidence: Evidence) -> Block:
    """The long table of classes and measures."""
    rows = [
        (
            str(row["class"]),
            share(real(row["prevalence"])),
            labels.metric(str(row["metric"])),
            estimate(number(row)),
            count(number(row).rests_on),
            plain(real(row["threshold"])),
        )
        for row in evidence.rows("evaluate", "per_class")
    ]
    one = evidence.nouns[0]
    columns = (one, "prevalence", "measure", "value (interval)", "n behind it", "frozen threshold")
    return table(f"Every {one} against the rest", columns, rows, align="lrlrrr")
