"""Predict clean images once, freeze thresholds, score the clean test role."""

from medaudit.audits import evaluate
from medaudit.audits.evaluate import EvaluateParams
from medaudit.core import findings, runner
from medaudit.core.layout import CLEAN, MODEL, OPERATING_POINTS, PREPARED, TRAIN_TABLE, clean_table
from medaudit.core.params import load
from medaudit.model.compute import ComputeParams
from medaudit.model.predictions import (
    PredictionJob,
    PredictParams,
    by_predictor,
    cached_predictions,
)
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables import operating_points, predictions
from medaudit.tables.predictions import Condition
from medaudit.tables.scoring import ScoredPredictions


def main() -> None:
    """Write the clean predictions, the operating points and the findings."""
    params = load(EvaluateParams)
    job = PredictionJob(
        stage="evaluate",
        model_folder=MODEL,
        prepared_folder=PREPARED,
        roles=("calibration", "test"),
        params=load(PredictParams),
        compute=load(ComputeParams),
    )
    (clean,), others = by_predictor(cached_predictions(job, [Condition.clean()]))
    (learnt,) = cached_predictions(job.of_learnt(), [Condition.clean()])
    points = evaluate.freeze(clean.role("calibration"), params)
    test = ScoredPredictions(clean.role("test"), points)
    bootstrap = Bootstrap.of_groups(test.group_ids, load(IntervalParams))
    found = evaluate.audit(test, points, params, bootstrap)
    predictions.write(clean, CLEAN)
    predictions.write(learnt, TRAIN_TABLE)
    for name, (table,) in others.items():
        predictions.write(table, clean_table(name))
    operating_points.write(points, OPERATING_POINTS)
    findings.write(found, "evaluate")


if __name__ == "__main__":
    runner.run(main, "evaluate")
