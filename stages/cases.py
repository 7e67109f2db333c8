"""Choose failure cases, test their suspected causes, draw saliency, count failure modes."""

from medaudit.audits import slicing
from medaudit.audits.slicing import SliceParams
from medaudit.cases import case_context, case_study, investigation
from medaudit.cases.case_selection import CasesParams
from medaudit.cases.intervention_runner import open_runner
from medaudit.core import findings, runner
from medaudit.core.layout import CASES, CLEAN, MODEL, OPERATING_POINTS, PREPARED, STRESS
from medaudit.core.params import load
from medaudit.model.compute import ComputeParams
from medaudit.model.predictions import PredictParams
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables import manifest, operating_points, predictions
from medaudit.tables.scoring import Conditions, ScoredPredictions


def main() -> None:
    """Write the cases with their pictures, and the findings."""
    params, slice_params = load(CasesParams), load(SliceParams)
    points, clean = operating_points.read(OPERATING_POINTS), predictions.read(CLEAN)
    test = ScoredPredictions(clean.role("test"), points)
    conditions = Conditions.aligned(test, map(predictions.read, sorted(STRESS.glob("*.parquet"))))
    rows = manifest.read_manifest(PREPARED)
    edges = slicing.edges(rows[rows["role"] == "train"], slice_params)
    context = case_context.read_context(
        clean, points, edges, slice_params, max_base_rate=params.max_base_rate
    )
    bootstrap = Bootstrap.of_groups(test.group_ids, load(IntervalParams))
    study = case_study.build_case_study(conditions, params, bootstrap, context=context)
    interventions = open_runner(MODEL, PREPARED, load(PredictParams), load(ComputeParams))
    findings.write(investigation.investigate_all(study, interventions, CASES), "cases")


if __name__ == "__main__":
    runner.run(main, "cases")
