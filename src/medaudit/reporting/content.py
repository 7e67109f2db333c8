"""The whole report as plain data, from which both HTML and PDF are set."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from medaudit.reporting import narrative, plausibility
from medaudit.reporting.blocks import pruned
from medaudit.reporting.cautions import explained, footnotes
from medaudit.reporting.sections import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from medaudit.reporting.blocks import Block
    from medaudit.reporting.context import Context

WARNING = "Not for clinical use. Research software; its numbers hold for this data set only."


def build(context: Context, *, drawn: Collection[str]) -> dict[str, Any]:
    """Title block, summary, alerts and sections; only figures that were drawn are kept."""
    evidence = context.evidence
    summary = narrative.summary(evidence)
    alerts = plausibility.alerts(evidence, context.params.expected)
    return {
        "title": context.params.title,
        "facts": facts(context),
        "warning": WARNING,
        "summary": summary,
        "alerts": alerts,
        "notes": footnotes([*summary, *alerts], evidence, evidence.stages),
        "sections": [
            {"number": number, **each} for number, each in enumerate(sections(context, drawn), 1)
        ],
    }


def facts(context: Context) -> list[list[str]]:
    """The title block: data, model, task, code, and where the predictions came from."""
    evidence = context.evidence
    sha = context.commit.sha
    found = [
        ["Data set", evidence.preparation.dataset],
        ["Model", evidence.backbone],
        ["Task", evidence.preparation.schema.task],
        ["Predictions", context.source],
        ["Code", context.commit.words if sha else f"medaudit {version('medaudit')}"],
    ]
    return [[name, value] for name, value in found if value]


def sections(context: Context, drawn: Collection[str]) -> Iterator[Block]:
    """The sections that there is evidence for, with their footnotes."""
    for each in SECTIONS:
        found = each.write(context)
        if found is None:
            continue
        blocks = [kept for block in found["blocks"] if (kept := pruned(block, drawn)) is not None]
        yield explained({**found, "blocks": blocks}, context.evidence, each.rests_on)
