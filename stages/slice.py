"""Measure metadata and statistic slices of the test role, and their gap to the rest."""

from pathlib import Path

from medaudit import findings, stage
from medaudit.audits import slices
from medaudit.audits.cuts import SliceParams
from medaudit.params import load
from medaudit.stats.bootstrap import IntervalParams
from medaudit.tables import manifest, operating_points, predictions

PREPARED = Path("artifacts/prepared")
CLEAN = Path("artifacts/predictions/clean.parquet")
POINTS = Path("artifacts/operating_points.json")


def main() -> None:
    """Cut slices with edges from the train role and score them."""
    params, intervals_params = load(SliceParams), load(IntervalParams)
    rows = manifest.read_manifest(PREPARED)
    found = slices.audit(
        predictions.read(CLEAN),
        operating_points.read(POINTS),
        rows[rows["role"] == "train"],
        params,
        intervals_params=intervals_params,
    )
    findings.write(found, "slice")


if __name__ == "__main__":
    stage.run(main, "slice")
