"""Hand-made interventions, and a study of eight samples that can be read on paper."""

import pandas as pd

from medaudit.cases import case_study
from medaudit.cases import intervention_effects as effects
from medaudit.cases.diagnosis import Evidence, diagnose
from medaudit.pixels.interventions import COUNTERFACTUALS

EDITS = {"hair_removed": "undo", "mirrored": "undo"}


def row(sample, intervention, before, after, *, truth="mel", p=(0.1, 0.2), kind="undo"):
    return {
        "sample_id": sample,
        "intervention": intervention,
        "kind": kind,
        "cause": COUNTERFACTUALS[intervention].cause,
        "truth": truth,
        "predicted_before": before,
        "predicted_after": after,
        "p_true_before": p[0],
        "p_true_after": p[1],
    }


def quiet(intervention, n=10, *, turned=0, to="mel", kind="undo"):
    """`n` right nv controls, of which the first `turned` become `to`."""
    return [
        row(f"r{i}", intervention, "nv", to if i < turned else "nv", truth="nv", kind=kind)
        for i in range(n)
    ]


def trials(*groups):
    return pd.DataFrame([each for group in groups for each in group])


def case(study, kind):
    return next(each for each in study.cases if each.kind == kind)


def diagnosed(
    study, found, tried, kind="confident_critical_miss", *, properties=None, associations=()
):
    weighed = effects.weigh(pd.DataFrame(found), tried, max_base_rate=0.25)
    chosen = case(study, kind)
    given = pd.DataFrame() if properties is None else pd.DataFrame(properties)
    evidence = Evidence(weighed, given, tuple(associations))
    return diagnose(chosen, evidence, study.taxonomy, mode=study.mode(chosen), confident=0.6)


def edits_of(study, ids):
    """Edits that leave every prediction as it is."""
    names = [(name, edit) for name in ids for edit in EDITS]
    frame = pd.DataFrame(
        {
            "sample_id": [name for name, _ in names],
            "intervention": [edit for _, edit in names],
            "kind": [EDITS[edit] for _, edit in names],
            "cause": [COUNTERFACTUALS[edit].cause for _, edit in names],
        }
    )
    table = study.test.table
    return frame, table.logits[:, study.test.rows_of(frame["sample_id"])]


def flip_of(study):
    """The diagnosis of the flip, with edits that leave the corrupted prediction as it is."""
    tried = case_study.control_evidence(study, *edits_of(study, study.controls["sample_id"]))
    flip = case(study, "corruption_flip")
    trials, _ = edits_of(study, [flip.sample_id])
    corrupted = study.before(flip)
    logits = corrupted.table.logits[:, corrupted.rows_of(trials["sample_id"])]
    found = case_study.case_evidence(study, flip, trials, logits)
    return case_study.weigh(study, flip, found, tried).diagnosis
