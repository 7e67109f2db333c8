"""Measure metadata and statistic slices of the test role, and their gap to the rest."""

from medaudit.audits import slices
from medaudit.audits.slicing import SliceParams
from medaudit.core import findings, runner
from medaudit.core.layout import CLEAN, OPERATING_POINTS, PREPARED
from medaudit.core.params import load
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables import manifest, operating_points, predictions
from medaudit.tables.scoring import ScoredPredictions


def main() -> None:
    """Cut slices with edges from the train role and score them."""
    params = load(SliceParams)
    rows = manifest.read_manifest(PREPARED)
    clean, points = predictions.read(CLEAN), operating_points.read(OPERATING_POINTS)
    test, calibration = (
        ScoredPredictions(clean.role(role), points) for role in ("test", "calibration")
    )
    bootstrap = Bootstrap.of_groups(test.group_ids, load(IntervalParams))
    frozen = slices.freeze(rows[rows["role"] == "train"], params, calibration=calibration)
    found = slices.audit(test, frozen, params, bootstrap)
    findings.write(found, "slice")


if __name__ == "__main__":
    runner.run(main, "slice")
