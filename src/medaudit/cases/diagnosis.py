"""From the evidence about one case to a diagnosis, a mitigation and what risk stays.

A cause is named where an experiment speaks for it: undoing it turned this very prediction, while
the same edit leaves most others alone and chance would rarely do as much; or giving right images
this image's property turns them wrong (`sufficiency`); or a corruption was applied that keeps the
prediction wrong at every higher dose. What the tables say of the case (`case_context`) stands
beside it and is called an association.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medaudit.cases import sufficiency
from medaudit.cases.failure_factors import factor, factor_of
from medaudit.cases.intervention_effects import KINDS, UNDO
from medaudit.core.errors import listed
from medaudit.core.findings import row_dicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from medaudit.cases.case_context import Association
    from medaudit.cases.case_selection import ChosenCase
    from medaudit.core.arrays import Float64Array
    from medaudit.tables.predictions import Condition

MOST_CITED = 2
CHANCE_LEVEL = 0.05  # below this probability chance is no explanation


@dataclass(frozen=True)
class Evidence:
    """All that was found out about one case.

    Args:
        weighed: what edits and conditions did to it, from `intervention_effects.weigh`.
        properties: what its properties did to right images, from `sufficiency.judge`.
        associations: what the tables say of it, from `case_context`.
    """

    weighed: pd.DataFrame
    properties: pd.DataFrame
    associations: tuple[Association, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """What the evidence of one case supports.

    Args:
        supported: causes that an experiment speaks for: a corruption that holds, properties that
            are enough, edits that undo; each of them the strongest first.
        associated: causes that the tables speak for, without an experiment.
        unspecific: edits that turned the prediction, and too many controls as well.
        n_edits: edits that could have spoken for a cause.
        n_properties: properties that were given to right images.
        n_associations: statements of the tables that are true of the case.
        statement: the finding in words, with its numbers; one sentence where there is none.
        mitigations: one sentence each.
        residual_risks: what stays after them, and how common the failure is.
    """

    supported: tuple[str, ...]
    associated: tuple[str, ...]
    unspecific: tuple[str, ...]
    n_edits: int
    n_properties: int
    n_associations: int
    statement: str
    mitigations: tuple[str, ...]
    residual_risks: tuple[str, ...]


def diagnose(
    case: ChosenCase, evidence: Evidence, taxonomy: pd.DataFrame, *, mode: str, confident: float
) -> Diagnosis:
    """What the evidence of one case supports; says so in one sentence where it is nothing.

    Args:
        case: the case.
        evidence: of it.
        taxonomy: how common every mode is.
        mode: the one of the case.
        confident: stated probability from which a call is a confident one.
    """
    weighed = evidence.weighed
    tested = ranked(weighed[could_speak(weighed)])
    applied = (factor_of(case.condition.corruption),) if flip_holds(case, weighed) else ()
    enough = [str(row["cause"]) for row in sufficiency.shown(evidence.properties)]
    supported = tuple(dict.fromkeys((*applied, *enough, *evident(tested)["cause"])))
    held = [each for each in evidence.associations if each.supported]
    associated = tuple(dict.fromkeys(each.cause for each in held if each.cause not in supported))
    return Diagnosis(
        supported=supported,
        associated=associated,
        unspecific=tuple(tested.loc[tested["turned"] & ~tested["specific"], "intervention"]),
        n_edits=len(tested),
        n_properties=len(evidence.properties),
        n_associations=len(evidence.associations),
        statement=" ".join(sentences(case, evidence, tested)),
        mitigations=mitigations(case, (*supported, *associated), confident=confident),
        residual_risks=(
            *(factor(name).residual for name in (*supported, *associated)),
            *common(taxonomy, mode),
        ),
    )


def could_speak(weighed: pd.DataFrame) -> pd.Series[bool]:
    """Interventions on a wrong prediction; that a corrupted image was right when clean is known."""
    wrong = weighed["predicted_before"] != weighed["truth"]
    known = weighed["intervention"].str.startswith(UNDO)
    return wrong & weighed["kind"].isin(["undo", "remove"]) & ~known


def evident(tested: pd.DataFrame) -> pd.DataFrame:
    """Edits that are evidence: specific ones that chance would rarely give (`chance`)."""
    return tested[tested["specific"] & (chance(tested) < CHANCE_LEVEL)]


def chance(tested: pd.DataFrame) -> Float64Array:
    """For every edit the probability that any as specific one turns a case without a cause.

    1 minus the product of (1 - r) over the tested edits whose chance rate r is at most its own;
    r = (k + 1) / (n + 1) for k of n controls that it turns. Without a cause the case is one control
    more, so an edit that turned none of few is not held to be impossible. Taken as independent. 1
    without controls.
    """
    n = tested["n_controls"].to_numpy(np.float64)
    known = n > 0
    counts = np.where(known, tested["base_rate"] * n, 0)
    rates = np.where(known, (counts + 1) / (n + 1), 1.0)
    others = np.where(known, 1 - rates, 1.0)
    found = [1 - np.prod(others[rates <= rate]) if rate < 1 else 1.0 for rate in rates]
    return np.array(found, dtype=np.float64)


def ranked(evidence: pd.DataFrame) -> pd.DataFrame:
    """Undoing before removing, and the greatest gain in probability of the truth first."""
    gain = evidence["p_true_after"] - evidence["p_true_before"]
    keyed = evidence.assign(order=evidence["kind"].map(KINDS.index), loss=-gain)
    return keyed.sort_values(["order", "loss", "intervention"]).drop(columns=["order", "loss"])


def sentences(case: ChosenCase, evidence: Evidence, tested: pd.DataFrame) -> Iterator[str]:
    """The finding in words; where there is none, what was tried."""
    if case.kind == "success":
        yield from contrast_sentences(evidence.weighed)
        return
    if not case.condition.is_clean:
        yield flip_sentence(case, evidence.weighed)
    found, enough = evident(tested), sufficiency.shown(evidence.properties)
    yield from sufficiency.sentences(case, enough[:MOST_CITED])
    yield from map(support_sentence, row_dicts(found.head(MOST_CITED)))
    told = [each for each in evidence.associations if each.supported or not each.cause]
    yield from (each.statement for each in told[:MOST_CITED])
    if found.empty and not enough and not told and case.condition.is_clean:
        yield f"No tested cause explains it ({tried(evidence, tested)})."


def tried(evidence: Evidence, tested: pd.DataFrame) -> str:
    """What was tried, in words."""
    parts = [f"{len(tested)} edits"]
    if len(evidence.properties):
        parts.append(f"{len(evidence.properties)} of its properties given to right images")
    return ", ".join([*parts, "its nearest training images, slices and label"])


def doses(case: ChosenCase, weighed: pd.DataFrame) -> pd.DataFrame:
    """What every tested severity of a flip's corruption does to the clean image, mildest first."""
    stem = f"{case.condition.corruption}-"
    applied = weighed[(weighed["kind"] == "apply") & weighed["intervention"].str.startswith(stem)]
    severity = applied["intervention"].str.removeprefix(stem).astype(int)
    return applied.assign(severity=severity).set_index("severity").sort_index()


def own_dose(case: ChosenCase, weighed: pd.DataFrame) -> dict[str, Any]:
    """What the severity of a flip does to the clean image, by column name."""
    (own,) = row_dicts(doses(case, weighed).loc[[case.condition.severity]])
    return own


def stays_wrong(case: ChosenCase, weighed: pd.DataFrame) -> bool:
    """Whether the flip's own dose and every higher one that was tested miss the truth."""
    higher = doses(case, weighed).loc[case.condition.severity :]
    return bool((higher["predicted_after"] != higher["truth"]).all())


def flip_holds(case: ChosenCase, weighed: pd.DataFrame) -> bool:
    """Whether a flip is evidence: it turns few other predictions, and more of it stays wrong."""
    if case.condition.is_clean:
        return False
    own = own_dose(case, weighed)
    return bool(own["specific"]) and stays_wrong(case, weighed)


def flip_sentence(case: ChosenCase, weighed: pd.DataFrame) -> str:
    """The experiment behind a flip, dose by dose, and whether it is evidence."""
    given = doses(case, weighed)
    own = own_dose(case, weighed)
    curve = ", ".join(
        f"{dose}: {called} {p_true:.2f}"
        for dose, called, p_true in zip(
            given.index, given["predicted_after"], given["p_true_after"], strict=True
        )
    )
    seen = (
        f"clean, it is called {own['truth']} ({own['p_true_before']:.2f}); with "
        f"{case.condition.corruption.replace('_', ' ')} of severity (call, probability of "
        f"{own['truth']}) {curve}."
    )
    if flip_holds(case, weighed):
        phrase = factor(factor_of(case.condition.corruption)).phrase
        worth = f"{spoken(case.condition)} turns few other right predictions ({base_rate(own)})."
        return f"Evidence for {phrase}: {seen} {worth}"
    return " ".join([f"Seen, but no evidence: {seen}", *objections(case, weighed, own)])


def spoken(condition: Condition) -> str:
    """`gaussian_blur-2` as `gaussian blur, severity 2,`."""
    return f"{condition.corruption.replace('_', ' ')}, severity {condition.severity},"


def objections(case: ChosenCase, weighed: pd.DataFrame, own: Mapping[str, Any]) -> Iterator[str]:
    """Why a flip is no evidence for its corruption."""
    if not own["specific"]:
        yield (
            f"{spoken(case.condition)} turns this image, and too many of all right predictions as "
            f"well ({base_rate(own)})."
        )
    if not stays_wrong(case, weighed):
        yield "Higher severities are right again, so it is not the corruption's strength alone."


def support_sentence(row: Mapping[str, Any]) -> str:
    """What one edit did that is evidence."""
    if row["kind"] == "remove":
        did = f"it stays {row['predicted_after']} after {row['intervention']}"
    else:
        did = (
            f"{row['intervention']} turns {row['predicted_before']} to {row['predicted_after']} "
            f"({row['truth']} {row['p_true_before']:.2f} to {row['p_true_after']:.2f})"
        )
    return f"Evidence for {factor(row['cause']).phrase}: {did}; {base_rate(row)}."


def base_rate(row: Mapping[str, Any]) -> str:
    """How often the intervention does as much to controls, with its 95 % Wilson interval."""
    if not row["n_controls"]:
        return "base rate unknown"
    value, low, high = (100 * row[f"base_rate{end}"] for end in ("", "_low", "_high"))
    return f"base rate {value:.0f} %, {low:.0f} to {high:.0f}"


def contrast_sentences(weighed: pd.DataFrame) -> Iterator[str]:
    """For a right prediction: what changes it, and whether it needs the masked region."""
    applied = weighed[weighed["kind"] == "apply"]
    edits = weighed[weighed["kind"] == "undo"]
    edits = edits[~edits["intervention"].isin(applied["intervention"])]
    for words, part in {"edits that take a nuisance away": edits, "conditions": applied}.items():
        changed = part.loc[part["predicted_after"] != part["predicted_before"], "intervention"]
        names = f": {listed(changed.tolist())}" if len(changed) else ""
        yield f"{len(changed)} of {len(part)} {words} change it{names}."
    for row in row_dicts(weighed[weighed["kind"] == "remove"]):
        still = " still" if row["predicted_after"] == row["predicted_before"] else ""
        yield (
            f"Without the masked region it is{still} called {row['predicted_after']}, as are "
            f"{100 * row['base_rate']:.0f} % of the controls that were called something else "
            f"before."
        )


def mitigations(case: ChosenCase, causes: Sequence[str], *, confident: float) -> tuple[str, ...]:
    """What the evidence speaks for; the frozen threshold first where it would flag the case."""
    if case.kind == "success":
        return ()
    flagged = "act on the frozen threshold of the critical class: it flags this image"
    first = (flagged,) if case.critical and case.flagged else ()
    found = (*first, *(factor(name).mitigation for name in causes))
    if found:
        return found
    if case.confidence >= confident:
        return ("none is supported by the evidence; its confidence is high, so deferral misses it",)
    return ("none is supported by the evidence; its confidence is low, so deferral may catch it",)


def common(taxonomy: pd.DataFrame, mode: str) -> tuple[str, ...]:
    """How many test samples share the way in which the case comes out."""
    row = taxonomy[taxonomy["mode"] == mode].iloc[0]
    share, low, high = (100 * row[name] for name in ("share", "share_low", "share_high"))
    first = (
        f"{row['n']} of {taxonomy['n'].sum()} test samples ({share:.1f} %, 95 % interval "
        f"{low:.1f} to {high:.1f} %) come out as {mode.replace('_', ' ')}"
    )
    if not row["n_critical"]:
        return (first,)
    flagged = row["n_critical_flagged"]
    return (
        f"{first}; {row['n_critical']} of them hold the critical class, of which its frozen "
        f"threshold flags {flagged}",
    )
