"""The chosen cases with everything that is known about them, for the report."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medaudit.audits import evidence
from medaudit.audits.cases import CasesParams, Chosen, choose, controls
from medaudit.audits.diagnosis import Diagnosis, diagnose, ranked
from medaudit.audits.judging import Judged, judge
from medaudit.audits.taxonomy import modes, taxonomy
from medaudit.findings import Findings, Scalar, on_disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable

OWN_COLUMNS = ("sample_id", "group_id", "role")
LONGEST_NAME = 48  # characters, of up to 4 bytes; a file name holds 255 bytes
HEADLINE_MODES = ("confident_critical_miss", "false_alarm", "fragile")


@dataclass(frozen=True)
class Study:
    """What the prediction tables alone say: who is explained, against whom, and how common it is.

    Args:
        params: section `cases`.
        test: the test role when clean.
        stressed: the same rows under every condition.
        cases: to be explained.
        controls: `sample_id`, `truth`, `right` of the samples on which interventions are tried.
        taxonomy: the table of modes.
    """

    params: CasesParams
    test: Judged
    stressed: tuple[Judged, ...]
    cases: tuple[Chosen, ...]
    controls: pd.DataFrame
    taxonomy: pd.DataFrame

    def called(self, sample_ids: Iterable[str]) -> list[int]:
        """The output that is called for clean images."""
        return [int(index) for index in self.test.called[self.test.rows_of(sample_ids)]]

    def mode(self, case: Chosen) -> str:
        """The mode of the taxonomy that holds a case."""
        (row,) = self.test.rows_of([case.sample_id])
        found = modes(self.test, self.stressed, confident=self.params.confident)
        return next(each.name for each in found if each.members[row])

    def before(self, case: Chosen) -> Judged:
        """The predictions under the condition in which a case is shown."""
        judged = (self.test, *self.stressed)
        return next(each for each in judged if each.condition == case.condition)


@dataclass(frozen=True)
class Page:
    """One case with its place, from 1, its weighed evidence and its diagnosis."""

    number: int
    case: Chosen
    evidence: pd.DataFrame
    diagnosis: Diagnosis

    @property
    def stem(self) -> str:
        """First part of the names of its pictures."""
        name = re.sub(r"[^\w.-]", "_", self.case.sample_id)[:LONGEST_NAME]
        return f"{self.number}_{name}"

    @property
    def classes(self) -> dict[str, int]:
        """The classes whose Grad-CAM is drawn."""
        return {"predicted": self.case.predicted_index, "true": self.case.true_index}

    @property
    def cited(self) -> str | None:
        """The intervention that speaks loudest, where it makes another image than the clean one."""
        specific = ranked(self.evidence[self.evidence["specific"]])
        names = specific.loc[specific["kind"] != "apply", "intervention"]
        edits = names[~names.str.startswith(evidence.UNDO)]
        return None if edits.empty else str(edits.iloc[0])


def study(tables: Sequence[PredictionTable], points: OperatingPoints, params: CasesParams) -> Study:
    """Choose cases and controls, and count the modes; the first table is the clean one."""
    clean, *corrupted = tables
    test, stressed = judge(clean, corrupted, points)
    cases = choose(clean, corrupted, points, params)
    return Study(
        params=params,
        test=test,
        stressed=stressed,
        cases=cases,
        controls=controls(clean, points, params, exclude=[case.sample_id for case in cases]),
        taxonomy=taxonomy(clean, corrupted, points, confident=params.confident),
    )


def control_evidence(
    book: Study, trials: pd.DataFrame, logits: npt.NDArray[np.float32]
) -> pd.DataFrame:
    """Edits of the controls, and every condition and its undoing on the whole test role."""
    shown = {case.condition for case in book.cases}
    undone = [
        evidence.undo_evidence(book.test, each) for each in book.stressed if each.condition in shown
    ]
    edits = evidence.edit_evidence(trials, logits, book.test)
    return joined([edits, evidence.stress_evidence(book.test, book.stressed), *undone])


def case_evidence(
    book: Study, case: Chosen, trials: pd.DataFrame, logits: npt.NDArray[np.float32]
) -> pd.DataFrame:
    """Edits of the image as it is shown, every condition on the clean one, and its undoing."""
    before, ids = book.before(case), [case.sample_id]
    frames = [
        evidence.edit_evidence(trials, logits, before),
        evidence.stress_evidence(book.test, book.stressed, ids),
    ]
    if not case.condition.is_clean:
        frames.append(evidence.undo_evidence(book.test, before, ids))
    return joined(frames)


def weigh(book: Study, case: Chosen, found: pd.DataFrame, tried: pd.DataFrame) -> Page:
    """Weigh the evidence of a case against that of the controls, and diagnose."""
    weighed = evidence.weigh(found, tried, max_base_rate=book.params.max_base_rate)
    number = book.cases.index(case) + 1
    diagnosis = diagnose(case, weighed, book.taxonomy, mode=book.mode(case))
    return Page(number, case, weighed, diagnosis)


def findings(
    book: Study, pages: Sequence[Page], tried: pd.DataFrame, focus: pd.DataFrame
) -> Findings:
    """Headline scalars, and the tables of modes, evidence and base rates.

    Args:
        book: the study.
        pages: one per case.
        tried: evidence of the controls.
        focus: `sample_id`, `cam_energy` and `lesion_share` of the controls.
    """
    rates = evidence.base_rates(tried)
    rows = [each.evidence.assign(case=each.number, case_kind=each.case.kind) for each in pages]
    order = ["case", "case_kind", *evidence.EVIDENCE, *evidence.WORTH]
    series = {
        "taxonomy": book.taxonomy,
        "evidence": pd.concat(rows, ignore_index=True)[order]
        if rows
        else pd.DataFrame(columns=order),
        "base_rates": rates,
    }
    scalars = case_scalars(pages) | mode_scalars(book.taxonomy) | rate_scalars(rates)
    return Findings(scalars | focus_scalars(focus_by_call(book, focus)), series)


def case_scalars(pages: Sequence[Page]) -> dict[str, Scalar]:
    """How many cases there are, and how many failures on clean images evidence explains."""
    failures = [p for p in pages if p.case.kind != "success" and p.case.condition.is_clean]
    return {
        "n_cases": len(pages),
        "n_clean_failures": len(failures),
        "n_clean_failures_explained": sum(bool(p.diagnosis.supported) for p in failures),
    }


def mode_scalars(table: pd.DataFrame) -> dict[str, Scalar]:
    """Shares of the modes that matter most."""
    scalars: dict[str, Scalar] = {"n": int(table["n"].sum())}
    for row in table[table["mode"].isin(HEADLINE_MODES)].itertuples():
        scalars |= {
            f"{row.mode}_n": int(row.n),
            f"{row.mode}_share": float(row.share),
            f"{row.mode}_share_ci_low": float(row.share_low),
            f"{row.mode}_share_ci_high": float(row.share_high),
        }
    return scalars


def rate_scalars(rates: pd.DataFrame) -> dict[str, Scalar]:
    """How often right predictions change when nothing that matters, or all that does, changes."""
    known = rates.set_index("intervention")["flip_rate"]
    wanted = {"mirrored": "mirrored_flip_rate", "lesion_replaced": "lesion_replaced_flip_rate"}
    return {scalar: float(known[name]) for name, scalar in wanted.items() if name in known}


def focus_by_call(book: Study, focus: pd.DataFrame) -> pd.DataFrame:
    """Median share of Grad-CAM on the lesion, for controls called right and wrong.

    `lesion_share` is the median share of the image that is lesion: what a map that looks nowhere
    in particular would reach.
    """
    known = focus.merge(book.controls, on="sample_id").dropna(subset=["cam_energy", "lesion_share"])
    group = np.where(known["right"].astype(bool), "right", "wrong")
    medians = known.groupby(group)[["cam_energy", "lesion_share"]].median()
    counts = known.groupby(group).size().rename("n")
    return medians.join(counts).rename_axis("call").reset_index()


def focus_scalars(by_call: pd.DataFrame) -> dict[str, Scalar]:
    """Medians as scalars; none without masks."""
    scalars: dict[str, Scalar] = {}
    for row in by_call.itertuples():
        scalars[f"cam_energy_{row.call}"] = float(row.cam_energy)
        scalars[f"lesion_share_{row.call}"] = float(row.lesion_share)
    return scalars


def dossier(
    book: Study,
    entries: Sequence[Mapping[str, Any]],
    found: Findings,
    *,
    questions: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that the report needs, ready for JSON.

    Args:
        book: the study.
        entries: what `entry` made of every case.
        found: the findings of the stage.
        questions: what every edit asks, by its name, whether it could be tried or not.
    """
    tried = set(found.series["base_rates"]["intervention"])
    schema = book.test.scored.table.schema
    return {
        "classes": list(schema.classes),
        "critical_class": schema.critical_class,
        "params": book.params.model_dump(),
        "n_test": len(book.test.ids),
        "n_controls": {
            "right": int(book.controls["right"].sum()),
            "wrong": int((~book.controls["right"]).sum()),
        },
        "conditions": [each.condition.name for each in book.stressed],
        "taxonomy": records(found.series["taxonomy"]),
        "base_rates": records(found.series["base_rates"]),
        "metrics": jsonable(found.scalars),
        "not_testable": {name: "no mask" for name in questions if name not in tried},
        "cases": list(entries),
    }


def entry(
    book: Study,
    page: Page,
    *,
    drawn: tuple[Mapping[str, str], Mapping[str, float]],
    questions: Mapping[str, str],
) -> dict[str, Any]:
    """One case, ready for JSON.

    Args:
        book: the study.
        page: the case.
        drawn: file names of the pictures by what they show, and numbers about the maps.
        questions: what every edit asks, by its name.
    """
    images, focus = drawn
    case, classes = page.case, book.test.scored.table.schema.classes
    asked = [questions.get(str(name), "") for name in page.evidence["intervention"]]
    return {
        "number": page.number,
        "kind": case.kind,
        "mode": book.mode(case),
        "sample_id": case.sample_id,
        "group_id": case.group_id,
        "condition": case.condition.name,
        "truth": classes[case.true_index],
        "predicted": classes[case.predicted_index],
        "confidence": on_disk(case.confidence),
        "p_true": on_disk(case.probabilities[case.true_index]),
        "flagged": case.flagged,
        "reason": case.reason,
        "probabilities": named(classes, case.probabilities),
        "clean_probabilities": named(classes, case.clean_probabilities),
        "facts": facts(book, case),
        "images": dict(images),
        "focus": {name: on_disk(value) for name, value in focus.items()},
        "dose_response": dose_response(book, case),
        "evidence": records(page.evidence.assign(question=asked)),
        "diagnosis": jsonable(asdict(page.diagnosis)),
    }


def facts(book: Study, case: Chosen) -> dict[str, Any]:
    """The slice columns of a case."""
    table = book.test.scored.table
    (row,) = book.test.rows_of([case.sample_id])
    return jsonable(table.rows.iloc[row].drop(list(OWN_COLUMNS)).to_dict())


def dose_response(book: Study, case: Chosen) -> list[dict[str, Any]]:
    """Call and probability of the truth from clean over the severities of a case's corruption."""
    (row,) = book.test.rows_of([case.sample_id])
    classes = book.test.scored.table.schema.classes
    corruption = case.condition.corruption
    same = [each for each in book.stressed if each.condition.corruption == corruption]
    doses = sorted(same, key=lambda each: each.condition.severity)
    return [
        {
            "condition": each.condition.name,
            "severity": each.condition.severity,
            "predicted": classes[each.called[row]],
            "p_true": on_disk(float(each.p_true[row])),
        }
        for each in (book.test, *doses)
    ]


def named(classes: Sequence[str], values: Sequence[float]) -> dict[str, Scalar]:
    """Values by class name."""
    return {name: on_disk(value) for name, value in zip(classes, values, strict=True)}


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, ready for JSON."""
    return [jsonable(row) for row in frame.to_dict("records")]


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


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Evidence tables one below the other."""
    held = [frame for frame in frames if len(frame)]
    return pd.concat(held or list(frames[:1]), ignore_index=True)
