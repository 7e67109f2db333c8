"""Choose failure cases, test their suspected causes, draw saliency, count failure modes."""

import pandas as pd

from medaudit.cases import case_record, case_study
from medaudit.cases.case_selection import CasesParams, ChosenCase
from medaudit.cases.case_study import CaseRecord, CaseStudyData
from medaudit.cases.intervention_runner import InterventionRunner, open_runner
from medaudit.core import findings, runner
from medaudit.core.files import write_json
from medaudit.core.layout import CASES, CLEAN, MODEL, OPERATING_POINTS, PREPARED, STRESS
from medaudit.core.params import load
from medaudit.model.compute import ComputeParams
from medaudit.model.predictions import PredictParams
from medaudit.pixels.interventions import QUESTIONS
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables import operating_points, predictions
from medaudit.tables.scoring import Conditions, ScoredPredictions


def main() -> None:
    """Write the cases with their pictures, and the findings."""
    points = operating_points.read(OPERATING_POINTS)
    test = ScoredPredictions(predictions.read(CLEAN).role("test"), points)
    conditions = Conditions.aligned(test, map(predictions.read, sorted(STRESS.glob("*.parquet"))))
    bootstrap = Bootstrap.of_groups(test.group_ids, load(IntervalParams))
    study = case_study.build_case_study(conditions, load(CasesParams), bootstrap)
    interventions = open_runner(MODEL, PREPARED, load(PredictParams), load(ComputeParams))
    others = interventions.samples(study.controls["sample_id"])
    tried = case_study.control_evidence(study, *interventions.try_edits(others, label="controls"))
    focus = interventions.focus_table(others, study.predicted(study.controls["sample_id"]))
    case_records = [investigate(study, interventions, case, tried) for case in study.cases]
    found = case_study.findings(study, case_records, tried, focus)
    entries = [illustrate(study, interventions, record) for record in case_records]
    content = case_record.cases_json(study, entries, found, questions=QUESTIONS)
    write_json(CASES / "cases.json", content)
    findings.write(found, "cases")


def investigate(
    study: CaseStudyData, interventions: InterventionRunner, case: ChosenCase, tried: pd.DataFrame
) -> CaseRecord:
    """Edit the image of a case, and weigh what that does against the controls."""
    sample = interventions.verified(*case.shown, probabilities=case.probabilities)
    edits = interventions.try_edits([sample], label=case.sample_id)
    return case_study.weigh(study, case, case_study.case_evidence(study, case, *edits), tried)


def illustrate(
    study: CaseStudyData, interventions: InterventionRunner, record: CaseRecord
) -> dict[str, object]:
    """Draw a case, and put together all that is known about it."""
    drawn = interventions.draw(
        *record.shown, classes=record.classes, cited=record.cited, stem=CASES / record.stem
    )
    return case_record.case_json(study, record, drawn=drawn, questions=QUESTIONS)


if __name__ == "__main__":
    runner.run(main, "cases")
