"""Rank test cases by confidence, freeze a deferral threshold, and see what the kept ones hold."""

from medaudit.audits import selective
from medaudit.audits.selective import SelectiveParams
from medaudit.core import findings, runner
from medaudit.core.files import write_json
from medaudit.core.layout import CLEAN, DEFERRAL, OPERATING_POINTS
from medaudit.core.params import load
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables import operating_points, predictions
from medaudit.tables.scoring import ScoredPredictions


def main() -> None:
    """Compare confidence scores and apply the frozen deferral threshold."""
    params, points = load(SelectiveParams), operating_points.read(OPERATING_POINTS)
    clean = predictions.read(CLEAN)
    test, role = (ScoredPredictions(clean.role(r), points) for r in ("test", "calibration"))
    bootstrap = Bootstrap.of_groups(test.group_ids, load(IntervalParams))
    rule = selective.freeze(role, params)
    found = selective.audit(test, rule, params, bootstrap)
    write_json(DEFERRAL, rule.facts())
    findings.write(found, "selective")


if __name__ == "__main__":
    runner.run(main, "selective")
