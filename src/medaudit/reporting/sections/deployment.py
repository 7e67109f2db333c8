"""Section 7: the deployment checklist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.reporting import checklist
from medaudit.reporting.blocks import Block, text
from medaudit.reporting.blocks import section as part

if TYPE_CHECKING:
    from medaudit.reporting.context import Context


def section(context: Context) -> Block | None:
    """Every question with its status and the number behind it."""
    if context.checklist is None:
        return None
    answers = [(item, checklist.answer(item, context.evidence)) for item in context.checklist.items]
    counts = [
        f"{sum(found.status == status for _, found in answers)} {status}"
        for status in ("pass", "fail", "not measured")
    ]
    rows = [
        {
            "question": item.question,
            "status": found.status,
            "basis": found.basis,
            "note": item.note if item.check else "",
        }
        for item, found in answers
    ]
    return part(
        "Deployment checklist",
        text(
            f"{', '.join(counts)}. Questions and bounds are written by hand before the run "
            f"(report/deployment_checklist.yaml); statuses are computed. Not for clinical use, "
            f"whatever the list says."
        ),
        {"kind": "checklist", "rows": rows},
    )
