"""Sentences about the clean test role: how good, and what the frozen thresholds realise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.reporting import labels
from medaudit.reporting.numbers import count, estimate, number

if TYPE_CHECKING:
    from medaudit.reporting.evidence import Evidence


def performance(evidence: Evidence) -> str:
    """The headline of the clean test role."""
    rows = evidence.rows("evaluate", "metrics")
    first, accuracy = number(rows[0]), evidence.measure("balanced_accuracy")
    name = labels.metric(str(rows[0]["metric"]))
    more = f" and balanced accuracy {estimate(accuracy)}" if accuracy.defined else ""
    return (
        f"On {count(first.n)} clean test images of {count(first.n_groups)} groups, {name} is "
        f"{estimate(first)}{more}{over(evidence)}.{spread(evidence)}"
    )


def over(evidence: Evidence) -> str:
    """What macro means leave out, where they do."""
    n = evidence.scalar("evaluate", "n_outputs_in_means")
    every = len(evidence.classes)
    if not isinstance(n, int) or n == every:
        return ""
    return f" (means over the {n} of {every} {evidence.nouns[1]} that have both outcomes here)"


def spread(evidence: Evidence) -> str:
    """The range of the AUROC over labels, where an image may have several."""
    if evidence.exclusive:
        return ""
    each = {name: evidence.of_class(name, "auroc") for name in evidence.classes}
    known = {name: found for name, found in each.items() if found.defined}
    if len(known) < 2:
        return ""
    least, most = (which(known, key=lambda name: known[name].value) for which in (min, max))
    return (
        f" By label it was measured from {estimate(known[least])} for {least} "
        f"({count(known[least].n_positive)} positives) to {estimate(known[most])} for {most} "
        f"({count(known[most].n_positive)})."
    )


def operating_points(evidence: Evidence) -> str:
    """What the frozen thresholds realise, for the critical class or on the mean."""
    name = evidence.critical
    if name is None:
        return mean_points(evidence)
    found, realised = (
        evidence.measure(f"critical_{rate}") for rate in ("sensitivity", "specificity")
    )
    target = evidence.points.specificity
    verdict = "in accord with" if realised.holds(target) else "which is not"
    return (
        f"At the threshold frozen on calibration, sensitivity for {name} is {estimate(found)} "
        f"(n={count(found.n_positive)}) and realised specificity is {estimate(realised)} "
        f"(n={count(realised.n_positive)}), {verdict} the {target:g} that the threshold was "
        f"chosen for."
    )


def mean_points(evidence: Evidence) -> str:
    """Sensitivity and specificity on the mean over the outputs."""
    found, realised = (evidence.measure(f"macro_{rate}") for rate in ("sensitivity", "specificity"))
    return (
        f"At the thresholds frozen on calibration, one per {evidence.nouns[0]} and each chosen for "
        f"specificity {evidence.points.specificity:g}, mean sensitivity is {estimate(found)} and "
        f"mean realised specificity is {estimate(realised)}."
    )
