"""Rank test cases by confidence, freeze a deferral threshold, and see what the kept ones hold."""

from pathlib import Path

from medaudit import findings, stage
from medaudit.audits import selection
from medaudit.audits.intervals import IntervalParams
from medaudit.audits.selection import SelectiveParams
from medaudit.params import load
from medaudit.tables import predictions

CLEAN = Path("artifacts/predictions/clean.parquet")


def main() -> None:
    """Compare confidence scores and apply the frozen deferral threshold."""
    params, intervals_params = load(SelectiveParams), load(IntervalParams)
    clean = predictions.read(CLEAN)
    findings.write(selection.audit(clean, params, intervals_params=intervals_params), "selective")


if __name__ == "__main__":
    stage.run(main, "selective")
