"""Rank test cases by confidence, freeze a deferral threshold, and see what the kept ones hold."""

from pathlib import Path

from medaudit import findings, stage
from medaudit.audits import selection
from medaudit.audits.selection import SelectiveParams
from medaudit.files import write_json
from medaudit.params import load
from medaudit.stats.bootstrap import IntervalParams
from medaudit.tables import operating_points, predictions

CLEAN = Path("artifacts/predictions/clean.parquet")
POINTS = Path("artifacts/operating_points.json")
DEFERRAL = Path("artifacts/deferral.json")


def main() -> None:
    """Compare confidence scores and apply the frozen deferral threshold."""
    params, intervals_params = load(SelectiveParams), load(IntervalParams)
    found = selection.audit(
        predictions.read(CLEAN),
        operating_points.read(POINTS),
        params,
        intervals_params=intervals_params,
    )
    write_json(DEFERRAL, selection.frozen(found, params))
    findings.write(found, "selective")


if __name__ == "__main__":
    stage.run(main, "selective")
