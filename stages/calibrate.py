"""Fit post-hoc calibrators on the calibration role; score them on the test role."""

from medaudit.audits import calibrate
from medaudit.audits.calibrate import CalibrateParams
from medaudit.core import findings, runner
from medaudit.core.files import write_json
from medaudit.core.layout import CALIBRATORS, CLEAN
from medaudit.core.params import load
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables import predictions
from medaudit.tables.scoring import ScoredPredictions


def main() -> None:
    """Fit, keep what was fitted, and measure reliability before and after."""
    params, clean = load(CalibrateParams), predictions.read(CLEAN)
    fitted = calibrate.freeze(clean.role("calibration"), params)
    test = ScoredPredictions(clean.role("test"))
    bootstrap = Bootstrap.of_groups(test.group_ids, load(IntervalParams))
    found = calibrate.audit(test, fitted, params, bootstrap)
    write_json(CALIBRATORS, {name: each.facts() for name, each in fitted.items()})
    findings.write(found, "calibrate")


if __name__ == "__main__":
    runner.run(main, "calibrate")
