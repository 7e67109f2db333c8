"""The chosen cases with everything that is known about them, for the report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.cases import intervention_effects as effects
from medaudit.cases import sufficiency
from medaudit.cases.case_context import CaseContext
from medaudit.cases.case_selection import CasesParams, ChosenCase, choose, controls
from medaudit.cases.diagnosis import Diagnosis, Evidence, diagnose, ranked
from medaudit.cases.failure_modes import failure_modes
from medaudit.cases.taxonomy import modes, outcome_statistics, taxonomy
from medaudit.core.findings import Findings, Scalar, row_dicts
from medaudit.stats import bootstrap as bootstrap_module
from medaudit.stats.bootstrap import Bootstrap, Measure
from medaudit.stats.weighting import weighted_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from medaudit.core.arrays import Float32Array
    from medaudit.stats.intervals import Estimate
    from medaudit.tables.predictions import Condition
    from medaudit.tables.scoring import Conditions, ScoredPredictions

LONGEST_NAME = 48  # characters, of up to 4 bytes; a file name holds 255 bytes


@dataclass(frozen=True)
class CaseStudyData:
    """What the prediction tables alone say: who is explained, against whom, and how common it is.

    Args:
        params: section `cases`.
        bootstrap: of the groups of the test role.
        test: the test role when clean.
        stressed: the same rows under every condition.
        cases: to be explained.
        controls: `sample_id`, `truth`, `right` of the samples on which interventions are tried.
        taxonomy: the table of modes.
        context: what the tables say of every test image.
    """

    params: CasesParams
    bootstrap: Bootstrap
    test: ScoredPredictions
    stressed: tuple[ScoredPredictions, ...]
    cases: tuple[ChosenCase, ...]
    controls: pd.DataFrame
    taxonomy: pd.DataFrame
    context: CaseContext

    def receivers(self, case: ChosenCase) -> list[str]:
        """Right images that are given the properties of a case; none for most kinds."""
        n, seed = self.params.receivers, self.params.seed
        return sufficiency.receivers(case, self.test, n=n, seed=seed)

    def predicted(self, sample_ids: Iterable[str]) -> list[int]:
        """The output that is predicted for clean images."""
        return [int(index) for index in self.test.predicted_output[self.test.rows_of(sample_ids)]]

    def mode(self, case: ChosenCase) -> str:
        """The mode of the taxonomy that holds a case."""
        (row,) = self.test.rows_of([case.sample_id])
        found = modes(self.test, self.stressed, confident=self.params.confident)
        return next(each.name for each in found if each.members[row])

    def before(self, case: ChosenCase) -> ScoredPredictions:
        """The predictions under the condition in which a case is shown."""
        judged = (self.test, *self.stressed)
        return next(each for each in judged if each.condition == case.condition)


@dataclass(frozen=True)
class CaseRecord:
    """One case with its place, from 1, its evidence and its diagnosis."""

    number: int
    case: ChosenCase
    found: Evidence
    diagnosis: Diagnosis

    @property
    def evidence(self) -> pd.DataFrame:
        """What edits and conditions did to it, weighed."""
        return self.found.weighed

    @property
    def shown(self) -> tuple[str, Condition]:
        """The sample and the condition under which it is shown."""
        return self.case.shown

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
        edits = names[~names.str.startswith(effects.UNDO)]
        return None if edits.empty else str(edits.iloc[0])


def build_case_study(
    conditions: Conditions,
    params: CasesParams,
    bootstrap: Bootstrap,
    *,
    context: CaseContext | None = None,
) -> CaseStudyData:
    """Choose cases and controls, and count the modes.

    Args:
        conditions: predictions of the test role, clean and under every condition.
        params: section `cases`.
        bootstrap: of the groups of the test role.
        context: what other stages found out about its images; nothing by default.
    """
    cases = choose(conditions, params)
    shown = [case.sample_id for case in cases]
    return CaseStudyData(
        params=params,
        bootstrap=bootstrap,
        test=conditions.clean,
        stressed=conditions.corrupted,
        cases=cases,
        controls=controls(conditions.clean, params, exclude=shown),
        taxonomy=taxonomy(conditions, bootstrap, confident=params.confident),
        context=context or CaseContext(conditions.clean, max_base_rate=params.max_base_rate),
    )


def control_evidence(
    study: CaseStudyData, trials: pd.DataFrame, logits: Float32Array
) -> pd.DataFrame:
    """Edits of the controls, and every condition and its undoing on the whole test role."""
    shown = {case.condition for case in study.cases}
    undone = [
        effects.undo_evidence(study.test, each)
        for each in study.stressed
        if each.condition in shown
    ]
    edits = effects.edit_evidence(trials, logits, study.test)
    return joined([edits, effects.stress_evidence(study.test, study.stressed), *undone])


def case_evidence(
    study: CaseStudyData, case: ChosenCase, trials: pd.DataFrame, logits: Float32Array
) -> pd.DataFrame:
    """Edits of the image as it is shown, every condition on the clean one, and its undoing."""
    before, ids = study.before(case), [case.sample_id]
    frames = [
        effects.edit_evidence(trials, logits, before),
        effects.stress_evidence(study.test, study.stressed, ids),
    ]
    if not case.condition.is_clean:
        frames.append(effects.undo_evidence(study.test, before, ids))
    return joined(frames)


def weigh(
    study: CaseStudyData,
    case: ChosenCase,
    found: pd.DataFrame,
    tried: pd.DataFrame,
    properties: pd.DataFrame | None = None,
) -> CaseRecord:
    """Weigh the evidence of a case against that of the controls, and diagnose.

    Args:
        study: the study.
        case: one of its cases.
        found: from `case_evidence`.
        tried: from `control_evidence`.
        properties: from `sufficiency.judge`; none were given to other images by default.
    """
    evidence = Evidence(
        weighed=effects.weigh(found, tried, max_base_rate=study.params.max_base_rate),
        properties=pd.DataFrame() if properties is None else properties,
        associations=tuple(study.context.of(case)),
    )
    diagnosis = diagnose(
        case,
        evidence,
        study.taxonomy,
        mode=study.mode(case),
        confident=study.params.confident,
    )
    return CaseRecord(study.cases.index(case) + 1, case, evidence, diagnosis)


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Evidence tables one below the other."""
    held = [frame for frame in frames if len(frame)]
    return pd.concat(held or list(frames[:1]), ignore_index=True)


HEADLINE_MODES = ("confident_critical_miss", "false_alarm", "fragile")


def findings(
    study: CaseStudyData,
    case_records: Sequence[CaseRecord],
    tried: pd.DataFrame,
    focus: pd.DataFrame,
) -> Findings:
    """Headline scalars, and the tables of modes, evidence and base rates.

    Args:
        study: the study.
        case_records: one per case.
        tried: evidence of the controls.
        focus: `sample_id`, `cam_energy` and `lesion_share` of the controls.
    """
    rates = effects.base_rates(tried)
    edits = [*effects.EVIDENCE, *effects.WORTH]
    given = ["sample_id", *sufficiency.COLUMNS]
    series = {
        "taxonomy": study.taxonomy,
        "evidence": of_all(case_records, lambda each: each.evidence, edits),
        "sufficiency": of_all(
            case_records,
            lambda each: each.found.properties.assign(sample_id=each.case.sample_id),
            given,
        ),
        "base_rates": rates,
        "failure_modes": failure_modes(study, rates, tried),
        "outcome_statistics": outcome_statistics(study.test),
    }
    scalars = case_scalars(case_records) | mode_scalars(study.taxonomy) | rate_scalars(rates)
    return Findings(scalars | focus_scalars(study, focus), series)


def of_all(
    case_records: Sequence[CaseRecord],
    table: Callable[[CaseRecord], pd.DataFrame],
    columns: Sequence[str],
) -> pd.DataFrame:
    """The tables of all cases one below the other, with the number and kind of each case first."""
    order = ["case", "case_kind", *columns]
    parts = [
        table(each).assign(case=each.number, case_kind=each.case.kind) for each in case_records
    ]
    held = [part for part in parts if len(part)]
    return pd.concat(held, ignore_index=True)[order] if held else pd.DataFrame(columns=order)


def case_scalars(case_records: Sequence[CaseRecord]) -> dict[str, Scalar]:
    """How many cases there are, and for how many failures on clean images a cause is named.

    By an experiment (`explained`), or only by what the tables say of them (`associated`).
    """
    failures = [p for p in case_records if p.case.kind != "success" and p.case.condition.is_clean]
    return {
        "n_cases": len(case_records),
        "n_clean_failures": len(failures),
        "n_clean_failures_explained": sum(bool(p.diagnosis.supported) for p in failures),
        "n_clean_failures_associated": sum(
            bool(p.diagnosis.associated) and not p.diagnosis.supported for p in failures
        ),
    }


def mode_scalars(table: pd.DataFrame) -> dict[str, Scalar]:
    """Shares of the modes that matter most."""
    scalars: dict[str, Scalar] = {"n": int(table["n"].sum())}
    for row in row_dicts(table[table["mode"].isin(HEADLINE_MODES)]):
        mode = str(row["mode"])
        scalars |= {
            f"{mode}_n": int(row["n"]),
            f"{mode}_share": float(row["share"]),
            f"{mode}_share_ci_low": float(row["share_low"]),
            f"{mode}_share_ci_high": float(row["share_high"]),
        }
    return scalars


def rate_scalars(rates: pd.DataFrame) -> dict[str, Scalar]:
    """How often right predictions change when nothing that matters, or all that does, changes."""
    by_name = {str(row["intervention"]): row for row in row_dicts(rates)}
    scalars: dict[str, Scalar] = {}
    for name in ("mirrored", "lesion_replaced"):
        if name in by_name:
            scalars |= {
                f"{name}_flip_rate": float(by_name[name]["flip_rate"]),
                f"{name}_flip_rate_ci_low": float(by_name[name]["flip_rate_low"]),
                f"{name}_flip_rate_ci_high": float(by_name[name]["flip_rate_high"]),
            }
    return scalars


def focus_scalars(study: CaseStudyData, focus: pd.DataFrame) -> dict[str, Scalar]:
    """Mean share of Grad-CAM on the lesion, of controls called right and wrong, if there are masks.

    `lesion_share` is the mean share of the image that is lesion: what a map that looks nowhere in
    particular would reach.
    """
    known = focus.merge(study.controls, on="sample_id").dropna(
        subset=["cam_energy", "lesion_share"]
    )
    right = known["right"].astype(bool)
    scalars: dict[str, Scalar] = {}
    for call, part in (("right", known[right]), ("wrong", known[~right])):
        for column in ("cam_energy", "lesion_share") if len(part) else ():
            found = control_mean(study, part, column)
            scalars |= bootstrap_module.with_interval(f"{column}_{call}", found)
    return scalars


def control_mean(study: CaseStudyData, part: pd.DataFrame, column: str) -> Estimate:
    """Mean of a column over controls, with an interval over their groups."""
    groups = study.test.group_ids[study.test.rows_of(part["sample_id"])]
    bootstrap = Bootstrap.of_groups(groups, study.bootstrap.params)
    measure = Measure(column, partial(weighted_mean, part[column].to_numpy(np.float64)), 0)
    return bootstrap.interval(measure)
