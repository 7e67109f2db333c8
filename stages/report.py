"""Write the report: figures, one HTML page, a short PDF."""

from pathlib import Path

from medaudit.core import runner
from medaudit.core.layout import MEASURING_STAGES, REPORT
from medaudit.core.params import load
from medaudit.report import render
from medaudit.report.blocks import ReportParams

SOURCE = "made by this pipeline"


def main() -> None:
    """Read what the stages found and write the report."""
    render.report(Path(), REPORT, stages=MEASURING_STAGES, params=load(ReportParams), source=SOURCE)


if __name__ == "__main__":
    runner.run(main, "report")
