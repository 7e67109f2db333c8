"""The report as files: figures, one HTML page, a short PDF."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from medaudit.errors import DataError
from medaudit.reporting import checklist, content, evidence, figures, html, pdf, reproduction
from medaudit.reporting.context import Context, ReportParams
from medaudit.reporting.series import STAGES

if TYPE_CHECKING:
    from medaudit.reporting.checklist import Checklist
    from medaudit.reporting.evidence import Evidence

CHECKLIST = Path("report/deployment_checklist.yaml")

log = logging.getLogger(__name__)


def report(
    root: Path, out: Path, *, stages: tuple[str, ...], params: ReportParams, source: str
) -> None:
    """Read what stages found and write `report.html`, `report.pdf` and `figures/`.

    Args:
        root: folder that holds `metrics`, `plots` and `artifacts`.
        out: folder to write to.
        stages: whose findings there are. If they are all, everything must be there; otherwise
            the report leaves out, and says so, what rests on the others.
        params: title, and what may be shown.
        source: where the predictions came from, for the title block.
    """
    everything = set(stages) == set(STAGES)
    found = evidence.read(root, only=None if everything else stages)
    context = Context(
        evidence=found,
        params=params,
        checklist=questions(found),
        commit=reproduction.commit(root, found.params),
        source=source,
    )
    drawn = figures.draw_all(found, out / "figures")
    log.info("drew %d figures", len(drawn))
    written = content.build(context, drawn=drawn)
    pictures = root / evidence.CASES
    html.write(written, out / "report.html", figures=drawn, pictures=pictures)
    try:
        pdf.write(written, out / "report.pdf", figures=drawn, pictures=pictures)
    except DataError as error:
        if everything:
            raise
        log.warning("no PDF: %s; report.html holds everything", error)


def questions(found: Evidence) -> Checklist | None:
    """The hand-written checklist; only predictions made elsewhere may come without one."""
    path = found.root / CHECKLIST
    return checklist.read(path) if found.complete or path.exists() else None
