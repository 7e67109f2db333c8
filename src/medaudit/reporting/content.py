"""The whole report as plain data, from which both HTML and PDF are set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medaudit.reporting import narrative, plausibility
from medaudit.reporting.blocks import pruned
from medaudit.reporting.sections import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Collection

    from medaudit.reporting.context import Context

WARNING = "Not for clinical use. Research software; its numbers hold for this data set only."


def build(context: Context, *, drawn: Collection[str]) -> dict[str, Any]:
    """Title block, summary, alerts and sections; only figures that were drawn are kept."""
    evidence = context.evidence
    sections = []
    for number, write in enumerate(SECTIONS, start=1):
        found = write(context)
        blocks = [kept for each in found["blocks"] if (kept := pruned(each, drawn)) is not None]
        sections.append({"number": number, "title": found["title"], "blocks": blocks})
    return {
        "title": context.params.title,
        "facts": [
            ["Data set", evidence.preparation.dataset],
            ["Model", evidence.backbone],
            ["Task", evidence.preparation.schema.task],
            ["Code", context.commit.words],
        ],
        "warning": WARNING,
        "summary": narrative.summary(evidence),
        "alerts": plausibility.alerts(evidence, context.params.expected),
        "sections": sections,
    }
