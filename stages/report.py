"""Write the report: figures, one HTML page, a short PDF; and seal what it is about."""

from pathlib import Path

from medaudit.core import findings, frozen, runner
from medaudit.core.layout import MEASURING_STAGES, PLANTED_TABLE, REPORT
from medaudit.core.params import load
from medaudit.core.privacy import Privacy
from medaudit.report import render
from medaudit.report.blocks import ReportParams
from medaudit.report.results import read_results
from medaudit.report.sections import planted

SOURCE = "made by this pipeline"


def main() -> None:
    """Read what the stages found and write the report."""
    params = load(ReportParams)
    privacy = Privacy(params.privacy)
    render.report(
        Path(), REPORT, stages=MEASURING_STAGES, params=params, privacy=privacy, source=SOURCE
    )
    findings.write_for_people(planted.table(read_results()), PLANTED_TABLE)
    findings.write_pseudonyms(privacy)
    frozen.seal()


if __name__ == "__main__":
    runner.run(main, "report")
