"""Work on the chosen cases one by one, and galleries of images that belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medaudit.cases import case_record, case_study, sufficiency
from medaudit.cases.taxonomy import most_confident
from medaudit.core import findings
from medaudit.core.files import write_json
from medaudit.core.findings import row_dicts
from medaudit.core.privacy import parted
from medaudit.pixels.interventions import QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

    from medaudit.cases.case_selection import ChosenCase
    from medaudit.cases.case_study import CaseRecord, CaseStudyData
    from medaudit.cases.intervention_runner import InterventionRunner
    from medaudit.core.findings import Findings

IN_A_GALLERY = 6
MOST_DISCOVERED = 3


@dataclass(frozen=True)
class Gallery:
    """Images that are looked at together.

    Attributes:
        name: of the file, without its ending.
        title: what they have in common.
        sample_ids: from left to right.
        captions: one for each.
    """

    name: str
    title: str
    sample_ids: tuple[str, ...]
    captions: tuple[str, ...]


def investigate_all(
    study: CaseStudyData, interventions: InterventionRunner, folder: Path
) -> Findings:
    """Test the causes of every case, draw it, and write `cases.json` into a folder."""
    others = interventions.samples(study.controls["sample_id"])
    tried = case_study.control_evidence(study, *interventions.try_edits(others, label="controls"))
    focus = interventions.focus_table(others, study.predicted(study.controls["sample_id"]))
    case_records = [investigate(study, interventions, case, tried) for case in study.cases]
    found = case_study.findings(study, case_records, tried, focus)
    entries = [illustrate(study, interventions, record, folder) for record in case_records]
    shown = [drawn(each, interventions, folder) for each in galleries(study)]
    content = case_record.cases_json(study, entries, found, questions=QUESTIONS)
    write_json(folder / "cases.json", content | {"galleries": shown})
    return found


def investigate(
    study: CaseStudyData, interventions: InterventionRunner, case: ChosenCase, tried: pd.DataFrame
) -> CaseRecord:
    """Edit the image of a case, give its properties to right images, and weigh what that does."""
    sample = interventions.verified(*case.shown, probabilities=case.probabilities)
    edits = interventions.try_edits([sample], label=case.sample_id)
    right = interventions.samples(study.receivers(case))
    given = interventions.try_transplants(sample, right, label=case.sample_id)
    properties = sufficiency.judge(case, study.test, *given)
    evidence = case_study.case_evidence(study, case, *edits)
    return case_study.weigh(study, case, evidence, tried, properties)


def illustrate(
    study: CaseStudyData, interventions: InterventionRunner, record: CaseRecord, folder: Path
) -> dict[str, object]:
    """Draw a case, and put together all that is known about it."""
    pictures = interventions.draw(
        *record.shown, classes=record.classes, cited=record.cited, stem=folder / record.stem
    )
    return case_record.case_json(study, record, drawn=pictures, questions=QUESTIONS)


def drawn(gallery: Gallery, interventions: InterventionRunner, folder: Path) -> dict[str, Any]:
    """Draw a gallery; what `cases.json` says of it."""
    name = interventions.draw_strip(gallery.sample_ids, folder / f"{gallery.name}.png")
    return {
        "title": gallery.title,
        "file": name,
        "sample_ids": list(gallery.sample_ids),
        "captions": list(gallery.captions),
    }


def galleries(study: CaseStudyData) -> Iterator[Gallery]:
    """Worst errors of every class, examples of the modes, doubtful labels, discovered slices."""
    yield from worst_errors(study)
    yield from examples(study)
    yield from doubtful_labels(study)
    yield from discovered(findings.read_table("slice", "discovered"))


def worst_errors(study: CaseStudyData) -> Iterator[Gallery]:
    """Wrong calls of each class with the highest confidence, one image of a group."""
    test = study.test
    for k, name in enumerate(test.classes):
        wrong = test.positives[:, k] & ~test.decisions[:, k]
        ids = most_confident(test, wrong, IN_A_GALLERY)
        rows = test.rows_of(ids)
        captions = tuple(
            f"called {call} ({confidence:.2f})"
            for call, confidence in zip(
                test.predicted_names[rows], test.confidence_score()[rows], strict=True
            )
        )
        if ids:
            title = f"{name}: the {len(ids)} most confident of {int(wrong.sum())} misses"
            yield Gallery(f"errors_{k}", title, tuple(ids), captions)


def examples(study: CaseStudyData) -> Iterator[Gallery]:
    """Up to two images of every mode of the taxonomy."""
    pairs = [
        (name, str(row["mode"]).replace("_", " "))
        for row in row_dicts(study.taxonomy)
        for name in parted(str(row["example_ids"]))
    ]
    if pairs:
        ids, captions = zip(*pairs, strict=True)
        yield Gallery("modes", "Examples of every mode", ids, captions)


def doubtful_labels(study: CaseStudyData) -> Iterator[Gallery]:
    """The images whose labels are doubted most, of any role."""
    table = study.context.label_issues
    if table.empty:
        return
    found = table[table["flagged"].astype(bool)].sort_values("rank").head(IN_A_GALLERY)
    rows = row_dicts(found)
    if rows:
        yield Gallery(
            "label_issues",
            f"The {len(rows)} labels that are doubted most",
            tuple(str(row["sample_id"]) for row in rows),
            tuple(f"label {row['given']}, suggested {row['suggested']}" for row in rows),
        )


def discovered(table: pd.DataFrame) -> Iterator[Gallery]:
    """Images of the discovered slices that the test role confirms."""
    if table.empty:
        return
    confirmed = table[table["verdict"] == "confirmed"].head(MOST_DISCOVERED)
    for number, row in enumerate(row_dicts(confirmed), start=1):
        ids = tuple(parted(str(row["sample_ids"]))[:IN_A_GALLERY])
        if ids:
            title = f"Discovered and confirmed, {row['error']}: {row['slice']}"
            yield Gallery(f"discovered_{number}", title, ids, ("",) * len(ids))
