"""Alerts: numbers that contradict each other, or are too good to be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.reporting import labels
from medaudit.reporting.numbers import count, counted, estimate, plain, real

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from medaudit.reporting.evidence import Evidence

TOO_GOOD = 0.995
RANKS_WELL, FINDS_NOTHING = 0.8, 0.05
FEW_POSITIVES = 20


def alerts(evidence: Evidence, expected: Mapping[str, tuple[float, float]]) -> list[str]:
    """Everything that a reader should look into before believing the rest.

    Args:
        evidence: what the stages found.
        expected: for each measure the range outside which the result would be a surprise.
    """
    return [
        *too_good(evidence),
        *contradictions(evidence),
        *surprises(evidence, expected),
        *specificity(evidence),
        *few_positives(evidence),
        *leaks(evidence),
    ]


def too_good(evidence: Evidence) -> Iterator[str]:
    """A nearly perfect score is more often a leak than a triumph."""
    found = evidence.measure("macro_auroc")
    if found.value > TOO_GOOD:
        yield f"Macro AUROC {estimate(found)} is too good to be believed: check for leakage."


def contradictions(evidence: Evidence) -> Iterator[str]:
    """A class that ranks well but is never found: the wrong score or threshold is used."""
    for name in evidence.classes:
        auroc, found = (evidence.of_class(name, metric) for metric in ("auroc", "sensitivity"))
        if auroc.value > RANKS_WELL and found.value < FINDS_NOTHING:
            yield (
                f"{name}: AUROC {plain(auroc.value)} with sensitivity {plain(found.value)} at its "
                f"frozen threshold contradict each other: check the score and the threshold."
            )


def surprises(evidence: Evidence, expected: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    """Values outside of what comparable studies report."""
    for name, (low, high) in expected.items():
        found = evidence.measure(name)
        if found.defined and not low <= found.value <= high:
            yield (
                f"{labels.metric(name, evidence.critical)} {estimate(found)} is outside of "
                f"{low:g} to {high:g}, where comparable studies lie."
            )


def specificity(evidence: Evidence) -> Iterator[str]:
    """The operating point did not carry over from calibration to test."""
    found, target = evidence.measure("critical_specificity"), evidence.points.specificity
    if found.defined and not found.holds(target):
        yield (
            f"The frozen threshold of {evidence.critical} realises specificity {estimate(found)} "
            f"(n={count(found.n_positive)}), not the {target:g} that it was chosen for."
        )


def few_positives(evidence: Evidence) -> Iterator[str]:
    """Classes whose numbers rest on a handful of images."""
    rows = evidence.rows("evaluate", "per_class", metric="auroc")
    few = [r for r in rows if real(r["n_positive"]) < FEW_POSITIVES]
    if few:
        names = ", ".join(f"{row['class']} ({count(row['n_positive'])})" for row in few)
        yield (
            f"Fewer than {FEW_POSITIVES} positive test images: {names}; their numbers are unstable."
        )


def leaks(evidence: Evidence) -> Iterator[str]:
    """Groups that stand in two roles."""
    if evidence.groups_in_two_roles:
        n = len(evidence.groups_in_two_roles)
        stand = counted(n, "group stands", "groups stand")
        yield f"{stand} in two roles: the test role has been seen in training."
