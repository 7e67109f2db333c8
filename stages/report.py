"""Set the report: figures, one HTML page, a short PDF."""

import logging
from pathlib import Path

from medaudit import stage
from medaudit.params import load
from medaudit.reporting import checklist, content, evidence, figures, html, pdf, reproduction
from medaudit.reporting.context import Context, ReportParams

REPORT = Path("report")
CASES = Path("artifacts/cases")
CHECKLIST = REPORT / "deployment_checklist.yaml"

log = logging.getLogger(__name__)


def main() -> None:
    """Read what the stages found and write the report."""
    context = Context(
        evidence=evidence.read(),
        params=load(ReportParams),
        checklist=checklist.read(CHECKLIST),
        commit=reproduction.commit(Path()),
    )
    drawn = figures.draw_all(context.evidence, REPORT / "figures")
    log.info("drew %d figures", len(drawn))
    report = content.build(context, drawn=drawn)
    html.write(report, REPORT / "report.html", figures=drawn, pictures=CASES)
    log.info("wrote %s", REPORT / "report.html")
    pdf.write(report, REPORT / "report.pdf", figures=drawn, pictures=CASES)
    log.info("wrote %s", REPORT / "report.pdf")


if __name__ == "__main__":
    stage.run(main, "report")
