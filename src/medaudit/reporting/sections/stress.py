"""Section 4: corruptions, shifts and slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.reporting.blocks import Block, text
from medaudit.reporting.blocks import section as part
from medaudit.reporting.figures import slices as slice_figure
from medaudit.reporting.sections import corruptions, slices

if TYPE_CHECKING:
    from medaudit.reporting.context import Context
    from medaudit.reporting.evidence import Evidence


def section(context: Context) -> Block | None:
    """Severity, deltas, collapse, slices; as far as there are any."""
    evidence = context.evidence
    stressed, cut = "stress" in evidence.stages, slice_figure.was_cut(evidence)
    if not (stressed or cut):
        return None
    titles = {(True, True): "Stress and slices", (True, False): "Stress"}
    return part(
        titles.get((stressed, cut), "Slices"),
        text(introduction(evidence, stressed=stressed)),
        *(corruptions.blocks(context) if stressed else ()),
        *(slices.blocks(evidence) if cut else ()),
    )


def introduction(evidence: Evidence, *, stressed: bool) -> str:
    """What is compared with what."""
    family = "conditions (or slices)" if slice_figure.was_cut(evidence) else "conditions"
    holm = f"p-values are Holm-corrected within each measure over all {family}."
    if not stressed:
        return (
            "Gaps are slice minus the rest of the test role, on the same resamples; p-values are "
            "Holm-corrected within each measure over all slices. Thresholds stay frozen."
        )
    packed = "Corruptions act on the packed test images" if "prepare" in evidence.stages else ""
    where = packed or "Conditions are predictions of the same test images, made elsewhere"
    return (
        f"{where}; nothing is re-tuned, thresholds stay frozen. Differences are condition minus "
        f"clean on the same resamples; {holm}"
    )
