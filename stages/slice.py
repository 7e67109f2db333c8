"""Measure slices of the test role, and look for slices, shortcuts and labels that nobody named."""

from medaudit.audits import discovery, label_issues, role_drift, shortcuts, slices
from medaudit.audits.properties import DiscoveryParams
from medaudit.audits.slicing import SliceParams
from medaudit.core import findings, runner
from medaudit.core.findings import Findings
from medaudit.core.layout import CLEAN, OPERATING_POINTS, PREPARED, TRAIN_TABLE
from medaudit.core.params import load
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables import manifest, operating_points, predictions
from medaudit.tables.scoring import ScoredPredictions


def main() -> None:
    """Cut slices with edges from the train role and score them; then look without being told."""
    params, intervals = load(SliceParams), load(IntervalParams)
    rows = manifest.read_manifest(PREPARED)
    clean, points = predictions.read(CLEAN), operating_points.read(OPERATING_POINTS)
    test, calibration = (
        ScoredPredictions(clean.role(role), points) for role in ("test", "calibration")
    )
    bootstrap = Bootstrap.of_groups(test.group_ids, intervals)
    frozen = slices.freeze(rows[rows["role"] == "train"], params, calibration=calibration)
    found = slices.audit(test, frozen, params, bootstrap)
    findings.write(findings.together(found, *unnamed(test, bootstrap)), "slice")


def unnamed(test: ScoredPredictions, bootstrap: Bootstrap) -> tuple[Findings, ...]:
    """What is found without a name: in the other roles first, then measured on the test role."""
    params, learnt = load(DiscoveryParams), predictions.read(TRAIN_TABLE)
    calibration = predictions.read(CLEAN).role("calibration")
    held_out = predictions.joined(calibration, learnt.role("validation"))
    known = predictions.joined(held_out, learnt.role("train"))
    train = ScoredPredictions(learnt.role("train"), test.points)
    parts = discovery.freeze(ScoredPredictions(held_out, test.points), params)
    associations = shortcuts.freeze(train, params, intervals=bootstrap.params)
    roles, labels = role_drift.freeze(known, params), label_issues.freeze(known, params)
    return (
        discovery.audit(test, parts, params, bootstrap),
        shortcuts.audit(test, associations, params, bootstrap),
        role_drift.audit(test, roles, params, bootstrap),
        label_issues.audit(test, labels, params, bootstrap),
    )


if __name__ == "__main__":
    runner.run(main, "slice")
