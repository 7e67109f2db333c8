"""Section 3: the model on clean images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medaudit.reporting import labels
from medaudit.reporting.blocks import Block, details, figure, pair, table, text
from medaudit.reporting.blocks import section as part
from medaudit.reporting.numbers import count, estimate, number, plain, real

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medaudit.reporting.context import Context
    from medaudit.reporting.evidence import Evidence


def section(context: Context) -> Block:
    """Metrics with intervals, classes, curves, confusion, threshold."""
    evidence = context.evidence
    return part(
        "Performance on clean images",
        text(
            f"Brackets hold {context.level} percentile intervals of a bootstrap over groups; "
            f"thresholds are frozen on the calibration role. {repicked(evidence)}"
        ),
        figure(
            "per_class",
            "Every class against the rest, with intervals; in brackets the number of test images, "
            "in red the critical class.",
        ),
        pair(
            metrics(evidence),
            figure("confusion", "Share of each true class that is called each class."),
        ),
        pair(
            figure("curves", "One class against the rest; the thick line is the critical class."),
            figure("threshold", "Rates on test; the threshold comes from calibration."),
        ),
        details("Every class and measure", per_class(evidence)),
    )


def repicked(evidence: Evidence) -> str:
    """The number that papers report, labelled as what it is."""
    value = real(evidence.scalar("evaluate", "critical_sensitivity_repicked_on_test"))
    if evidence.critical is None:
        return ""
    return (
        f"Re-picked on test, as papers often do, the sensitivity for {evidence.critical} would be "
        f"{plain(value)}; that number is optimistic and not used."
    )


def metrics(evidence: Evidence) -> Block:
    """Every measure of the test role."""
    rows = [
        (labels.metric(str(row["metric"]), evidence.critical), estimate(number(row)), rests_on(row))
        for row in evidence.rows("evaluate", "metrics")
    ]
    first = evidence.rows("evaluate", "metrics")[0]
    caption = f"Test role, {count(first['n'])} images of {count(first['n_groups'])} groups"
    return table(caption, ("measure", "value (interval)", "n behind it"), rows)


def rests_on(row: Mapping[str, Any]) -> str:
    """The cases that a value rests on."""
    found = number(row)
    return count(found.n if found.n_positive is None else found.n_positive)


def per_class(evidence: Evidence) -> Block:
    """The long table of classes and measures."""
    rows = [
        (
            str(row["class"]),
            labels.metric(str(row["metric"]), None),
            estimate(number(row)),
            rests_on(row),
            plain(real(row["threshold"])),
        )
        for row in evidence.rows("evaluate", "per_class")
    ]
    columns = ("class", "measure", "value (interval)", "n behind it", "frozen threshold")
    return table("Every class against the rest", columns, rows, align="llrrr")
