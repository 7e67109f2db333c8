"""Fit post-hoc calibrators on the calibration role; score them on the test role."""

from pathlib import Path

from medaudit import findings, stage
from medaudit.audits import calibration
from medaudit.audits.calibration import CalibrateParams
from medaudit.files import write_json
from medaudit.params import load
from medaudit.stats.bootstrap import IntervalParams
from medaudit.tables import predictions

CLEAN = Path("artifacts/predictions/clean.parquet")
CALIBRATORS = Path("artifacts/calibrators.json")


def main() -> None:
    """Fit, keep what was fitted, and measure reliability before and after."""
    params, intervals_params = load(CalibrateParams), load(IntervalParams)
    clean = predictions.read(CLEAN)
    fitted = calibration.fit(clean, params)
    found = calibration.audit(clean, fitted, params, intervals_params=intervals_params)
    write_json(CALIBRATORS, {name: each.facts() for name, each in fitted.items()})
    findings.write(found, "calibrate")


if __name__ == "__main__":
    stage.run(main, "calibrate")
