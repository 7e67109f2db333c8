"""Cases and what is known about them as plain records, ready for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medaudit.core.findings import Scalar, on_disk, row_dicts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medaudit.cases.case_selection import ChosenCase
    from medaudit.cases.case_study import CaseRecord, CaseStudyData
    from medaudit.core.findings import Findings

OWN_COLUMNS = ("sample_id", "group_id", "role")


def cases_json(
    study: CaseStudyData,
    entries: Sequence[Mapping[str, Any]],
    found: Findings,
    *,
    questions: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that the report needs, ready for JSON.

    Args:
        study: the study.
        entries: what `case_json` made of every case.
        found: the findings of the stage.
        questions: what every edit asks, by its name, whether it could be tried or not.
    """
    tried = set(found.series["base_rates"]["intervention"])
    schema = study.test.schema
    return {
        "classes": list(schema.classes),
        "critical_class": schema.critical_class,
        "params": study.params.model_dump(),
        "n_test": len(study.test.sample_ids),
        "n_controls": {
            "right": int(study.controls["right"].sum()),
            "wrong": int((~study.controls["right"]).sum()),
        },
        "conditions": [each.condition.name for each in study.stressed],
        "taxonomy": plain_rows(found.series["taxonomy"]),
        "base_rates": plain_rows(found.series["base_rates"]),
        "metrics": jsonable(found.scalars),
        "not_testable": {name: "no mask" for name in questions if name not in tried},
        "cases": list(entries),
    }


def case_json(
    study: CaseStudyData,
    record: CaseRecord,
    *,
    drawn: tuple[Mapping[str, str], Mapping[str, float]],
    questions: Mapping[str, str],
) -> dict[str, Any]:
    """One case, ready for JSON.

    Args:
        study: the study.
        record: the case.
        drawn: file names of the pictures by what they show, and numbers about the maps.
        questions: what every edit asks, by its name.
    """
    images, focus = drawn
    case, classes = record.case, study.test.schema.classes
    asked = [questions.get(str(name), "") for name in record.evidence["intervention"]]
    return {
        "number": record.number,
        "kind": case.kind,
        "mode": study.mode(case),
        "sample_id": case.sample_id,
        "group_id": case.group_id,
        "condition": case.condition.name,
        "truth": case.truth,
        "predicted": case.predicted,
        "focus_truth": classes[case.true_index],
        "focus_predicted": classes[case.predicted_index],
        "confidence": on_disk(case.confidence),
        "p_true": on_disk(case.probabilities[case.true_index]),
        "flagged": case.flagged,
        "reason": case.reason,
        "probabilities": named(classes, case.probabilities),
        "clean_probabilities": named(classes, case.clean_probabilities),
        "facts": facts(study, case),
        "context": study.context.facts(case),
        "images": dict(images),
        "focus": {name: on_disk(value) for name, value in focus.items()},
        "dose_response": dose_response(study, case),
        "evidence": plain_rows(record.evidence.assign(question=asked)),
        "properties": plain_rows(record.found.properties),
        "associations": [
            {
                "cause": each.cause,
                "statement": each.statement,
                "base_rate": on_disk(each.base_rate.value),
                "supported": each.supported,
            }
            for each in record.found.associations
        ],
        "diagnosis": jsonable(asdict(record.diagnosis)),
    }


def facts(study: CaseStudyData, case: ChosenCase) -> dict[str, Any]:
    """The slice columns of a case."""
    table = study.test.table
    (row,) = study.test.rows_of([case.sample_id])
    return jsonable(table.rows.iloc[row].drop(list(OWN_COLUMNS)).to_dict())


def dose_response(study: CaseStudyData, case: ChosenCase) -> list[dict[str, Any]]:
    """Call and probability of the truth from clean over the severities of a case's corruption."""
    (row,) = study.test.rows_of([case.sample_id])
    corruption = case.condition.corruption
    same = [each for each in study.stressed if each.condition.corruption == corruption]
    doses = sorted(same, key=lambda each: each.condition.severity)
    return [
        {
            "condition": each.condition.name,
            "severity": each.condition.severity,
            "predicted": str(each.predicted_names[row]),
            "p_true": on_disk(float(each.probabilities[row, case.true_index])),
        }
        for each in (study.test, *doses)
    ]


def named(classes: Sequence[str], values: Sequence[float]) -> dict[str, Scalar]:
    """Values by class name."""
    return {name: on_disk(value) for name, value in zip(classes, values, strict=True)}


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, ready for JSON."""
    return [jsonable(row) for row in row_dicts(frame)]


def jsonable(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Plain Python values; undefined and missing ones become `None`."""
    return {str(name): plain(value) for name, value in row.items()}


def plain(value: Any) -> Any:
    """One value of a table as JSON knows it."""
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if pd.isna(value):
        return None
    return on_disk(value) if isinstance(value, float) else value
