"""Choose failure cases, test their suspected causes, draw saliency, count failure modes."""

from typing import Any

import pandas as pd

from medaudit.cases import case_record, case_study, intervention_runner
from medaudit.cases.case_selection import CasesParams, Chosen
from medaudit.cases.case_study import CaseRecord, CaseStudyData
from medaudit.cases.intervention_runner import InterventionRunner
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
    test = ScoredPredictions(
        predictions.read(CLEAN).role("test"), operating_points.read(OPERATING_POINTS)
    )
    corrupted = [predictions.read(path) for path in sorted(STRESS.glob("*.parquet"))]
    bootstrap = Bootstrap.of_groups(test.group_ids, load(IntervalParams))
    book = case_study.study(Conditions.aligned(test, corrupted), load(CasesParams), bootstrap)
    lab = intervention_runner.open_runner(MODEL, PREPARED, load(PredictParams), load(ComputeParams))
    others = lab.subjects(book.controls["sample_id"])
    tried = case_study.control_evidence(book, *lab.try_edits(others, label="controls"))
    focus = lab.focus_table(others, book.predicted(book.controls["sample_id"]))
    pages = [investigate(book, lab, case, tried) for case in book.cases]
    found = case_study.findings(book, pages, tried, focus)
    entries = [illustrate(book, lab, page) for page in pages]
    write_json(CASES / "cases.json", case_record.dossier(book, entries, found, questions=QUESTIONS))
    findings.write(found, "cases")


def investigate(
    book: CaseStudyData, lab: InterventionRunner, case: Chosen, tried: pd.DataFrame
) -> CaseRecord:
    """Edit the image of a case, and weigh what that does against the controls."""
    subject = lab.verified(case.sample_id, case.condition, probabilities=case.probabilities)
    edits = lab.try_edits([subject], label=case.sample_id)
    return case_study.weigh(book, case, case_study.case_evidence(book, case, *edits), tried)


def illustrate(book: CaseStudyData, lab: InterventionRunner, page: CaseRecord) -> dict[str, Any]:
    """Draw a case, and put together all that is known about it."""
    drawn = lab.draw(*page.shown, classes=page.classes, cited=page.cited, stem=CASES / page.stem)
    return case_record.entry(book, page, drawn=drawn, questions=QUESTIONS)


if __name__ == "__main__":
    runner.run(main, "cases")
