"""Predict the test images under every corruption and shift; compare with clean."""

from medaudit.audits import stress
from medaudit.audits.stress import StressParams
from medaudit.core import findings, runner
from medaudit.core.layout import CLEAN, MODEL, OPERATING_POINTS, PLAIN, PREPARED, stress_table
from medaudit.core.params import load
from medaudit.model.compute import ComputeParams
from medaudit.model.predictions import (
    PredictionJob,
    PredictParams,
    by_predictor,
    cached_predictions,
)
from medaudit.pixels import corruptions
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables import operating_points, predictions
from medaudit.tables.scoring import Conditions, ScoredPredictions


def main() -> None:
    """Write one prediction table per condition, and the findings."""
    params, points = load(StressParams), operating_points.read(OPERATING_POINTS)
    conditions = corruptions.conditions(params.corruptions, params.severities)
    job = PredictionJob(
        stage="stress",
        model_folder=MODEL,
        prepared_folder=PREPARED,
        roles=("test",),
        params=load(PredictParams),
        compute=load(ComputeParams),
        embeddings=False,
    )
    tables, others = by_predictor(cached_predictions(job, conditions))
    test = ScoredPredictions(predictions.read(CLEAN).role("test"), points)
    bootstrap = Bootstrap.of_groups(test.group_ids, load(IntervalParams))
    frozen = stress.freeze(points, params)
    found = stress.audit(Conditions.aligned(test, tables), frozen, params, bootstrap)
    for predictor, held in {PLAIN: tables, **others}.items():
        for table in held:
            predictions.write(table, stress_table(table.condition.name, predictor))
    findings.write(found, "stress")


if __name__ == "__main__":
    runner.run(main, "stress")
