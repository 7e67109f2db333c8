"""Set the report: figures, one HTML page, a short PDF."""

from pathlib import Path

from medaudit import stage
from medaudit.params import load
from medaudit.reporting import write
from medaudit.reporting.context import ReportParams
from medaudit.reporting.series import STAGES

REPORT = Path("report")
SOURCE = "made by this pipeline"


def main() -> None:
    """Read what the stages found and write the report."""
    write.report(Path(), REPORT, stages=STAGES, params=load(ReportParams), source=SOURCE)


if __name__ == "__main__":
    stage.run(main, "report")
