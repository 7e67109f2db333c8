"""Choose failure cases, test their suspected causes, draw saliency, count failure modes."""

from pathlib import Path
from typing import Any

import pandas as pd

from medaudit import findings, stage
from medaudit.audits import case_findings, casebook, dossier
from medaudit.audits.casebook import Page, Study
from medaudit.audits.cases import CasesParams, Chosen
from medaudit.files import write_json
from medaudit.model import explain
from medaudit.model.cached import PredictParams
from medaudit.model.compute import ComputeParams
from medaudit.model.explain import Laboratory
from medaudit.params import load
from medaudit.pixels.counterfactuals import QUESTIONS
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables import operating_points, predictions
from medaudit.tables.scoring import Conditions, ScoredPredictions

MODEL, PREPARED = Path("artifacts/model"), Path("artifacts/prepared")
CLEAN = Path("artifacts/predictions/clean.parquet")
STRESS = Path("artifacts/predictions/stress")
POINTS, CASES = Path("artifacts/operating_points.json"), Path("artifacts/cases")


def main() -> None:
    """Write the cases with their pictures, and the findings."""
    test = ScoredPredictions(predictions.read(CLEAN).role("test"), operating_points.read(POINTS))
    corrupted = [predictions.read(path) for path in sorted(STRESS.glob("*.parquet"))]
    bootstrap = Bootstrap.of_groups(test.group_ids, load(IntervalParams))
    book = casebook.study(Conditions.aligned(test, corrupted), load(CasesParams), bootstrap)
    lab = explain.open_laboratory(MODEL, PREPARED, load(PredictParams), load(ComputeParams))
    others = lab.subjects(book.controls["sample_id"])
    tried = casebook.control_evidence(book, *lab.try_edits(others, label="controls"))
    focus = lab.focus_table(others, book.predicted(book.controls["sample_id"]))
    pages = [investigate(book, lab, case, tried) for case in book.cases]
    found = case_findings.findings(book, pages, tried, focus)
    entries = [illustrate(book, lab, page) for page in pages]
    write_json(CASES / "cases.json", dossier.dossier(book, entries, found, questions=QUESTIONS))
    findings.write(found, "cases")


def investigate(book: Study, lab: Laboratory, case: Chosen, tried: pd.DataFrame) -> Page:
    """Edit the image of a case, and weigh what that does against the controls."""
    subject = lab.verified(case.sample_id, case.condition, probabilities=case.probabilities)
    edits = lab.try_edits([subject], label=case.sample_id)
    return casebook.weigh(book, case, casebook.case_evidence(book, case, *edits), tried)


def illustrate(book: Study, lab: Laboratory, page: Page) -> dict[str, Any]:
    """Draw a case, and put together all that is known about it."""
    drawn = lab.draw(*page.shown, classes=page.classes, cited=page.cited, stem=CASES / page.stem)
    return dossier.entry(book, page, drawn=drawn, questions=QUESTIONS)


if __name__ == "__main__":
    stage.run(main, "cases")
