"""From counterfactual evidence to a diagnosis, a mitigation and what risk stays.

A cause is named only when undoing or applying it changed this very prediction, and when the same
intervention leaves most other predictions alone: what turns everything explains nothing. A cause
that was applied must also keep the prediction wrong at every higher dose that was tested. And of
many interventions some turn a case by chance: where so many would, none of them is evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scipy.stats import poisson_binom

from medaudit.cases.failure_factors import factor, factor_of
from medaudit.cases.intervention_effects import KINDS, UNDO
from medaudit.core.errors import listed
from medaudit.core.findings import row_dicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from medaudit.cases.case_selection import ChosenCase

MOST_CITED = 3
CHANCE_LEVEL = 0.05  # more interventions turned it than chance would, below this probability


@dataclass(frozen=True)
class Diagnosis:
    """What the evidence of one case supports.

    Args:
        supported: causes whose intervention turned the prediction but few controls, the
            greatest change first, and none where chance would turn it as often (see `p_turned`);
            before them the corruption's of a flip, where it holds.
        unspecific: interventions that turned the prediction, and too many controls as well.
        n_tested: interventions that could have spoken for a cause.
        n_turned: those that did, specific or not.
        expected_turned: how many would have by their base rates alone (see `chance_rates`).
        p_turned: probability of at least so many by chance, were they independent.
        statement: the finding in words, with its numbers.
        mitigations: one sentence each.
        residual_risks: what stays after them, and how common the failure is.
    """

    supported: tuple[str, ...]
    unspecific: tuple[str, ...]
    n_tested: int
    n_turned: int
    expected_turned: float
    p_turned: float
    statement: str
    mitigations: tuple[str, ...]
    residual_risks: tuple[str, ...]


def diagnose(
    case: ChosenCase, weighed: pd.DataFrame, taxonomy: pd.DataFrame, *, mode: str
) -> Diagnosis:
    """What the weighed evidence of one case supports; says so plainly where it is nothing.

    Args:
        case: the case.
        weighed: its evidence, from `intervention_effects.weigh`.
        taxonomy: how common every mode is.
        mode: the one of the case.
    """
    tested = ranked(weighed[could_speak(weighed)])
    specific = evident(tested)
    applied = (factor_of(case.condition.corruption),) if flip_holds(case, weighed) else ()
    supported = tuple(dict.fromkeys((*applied, *specific["cause"])))
    rates = chance_rates(tested)
    return Diagnosis(
        supported=supported,
        unspecific=tuple(tested.loc[tested["turned"] & ~tested["specific"], "intervention"]),
        n_tested=len(tested),
        n_turned=int(tested["turned"].sum()),
        expected_turned=sum(rates),
        p_turned=p_at_least(known_turned(tested), rates),
        statement=" ".join(sentences(case, weighed, tested)),
        mitigations=mitigations(case, supported),
        residual_risks=(*(factor(name).residual for name in supported), *common(taxonomy, mode)),
    )


def could_speak(weighed: pd.DataFrame) -> pd.Series[bool]:
    """Interventions on a wrong prediction; that a corrupted image was right when clean is known."""
    wrong = weighed["predicted_before"] != weighed["truth"]
    known = weighed["intervention"].str.startswith(UNDO)
    return wrong & weighed["kind"].isin(["undo", "remove"]) & ~known


def evident(tested: pd.DataFrame) -> pd.DataFrame:
    """Interventions that are evidence: specific ones, where more turned it than chance would."""
    beyond = p_at_least(known_turned(tested), chance_rates(tested)) < CHANCE_LEVEL
    return tested[tested["specific"] & beyond]


def ranked(evidence: pd.DataFrame) -> pd.DataFrame:
    """Undoing before removing, and the greatest gain in probability of the truth first."""
    gain = evidence["p_true_after"] - evidence["p_true_before"]
    keyed = evidence.assign(order=evidence["kind"].map(KINDS.index), loss=-gain)
    return keyed.sort_values(["order", "loss", "intervention"]).drop(columns=["order", "loss"])


def sentences(case: ChosenCase, weighed: pd.DataFrame, tested: pd.DataFrame) -> Iterator[str]:
    """The finding in words: what turned it, what that is worth, and what chance would give."""
    if case.kind == "success":
        yield from contrast_sentences(weighed)
        return
    if not case.condition.is_clean:
        yield flip_sentence(case, weighed)
    found = evident(tested)
    for row in row_dicts(tested[tested["specific"]].head(MOST_CITED)):
        yield support_sentence(row, shown=not found.empty)
    if found.empty and case.condition.is_clean:
        yield f"No tested cause explains it: none of {len(tested)} interventions is evidence."
    if found.empty and not case.condition.is_clean:
        yield f"None of {len(tested)} edits of the corrupted image undoes this specifically."
    loose = tested.loc[tested["turned"] & ~tested["specific"], "intervention"].tolist()
    if loose:
        yield f"Too common among the controls to be evidence: {listed(loose)}."
    if tested["turned"].any():
        yield chance_sentence(tested)


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
        f"{case.condition.corruption} of severity (call, probability of {own['truth']}) {curve}."
    )
    if flip_holds(case, weighed):
        phrase = factor(factor_of(case.condition.corruption)).phrase
        worth = f"{case.condition.name} turns few other right predictions ({base_rate(own)})."
        return f"Evidence for {phrase}: {seen} {worth}"
    return " ".join([f"Seen, but no evidence: {seen}", *objections(case, weighed, own)])


def objections(case: ChosenCase, weighed: pd.DataFrame, own: Mapping[str, Any]) -> Iterator[str]:
    """Why a flip is no evidence for its corruption."""
    if not own["specific"]:
        yield (
            f"{case.condition.name} turns this image, and too many of all right predictions as "
            f"well ({base_rate(own)})."
        )
    if not stays_wrong(case, weighed):
        yield "Higher severities are right again, so it is not the corruption's strength alone."


def support_sentence(row: Mapping[str, Any], *, shown: bool) -> str:
    """What one specific intervention did; evidence only where chance does not explain it."""
    if row["kind"] == "remove":
        did = f"it stays {row['predicted_after']} after {row['intervention']}"
    else:
        did = (
            f"{row['intervention']} turns {row['predicted_before']} to {row['predicted_after']} "
            f"({row['truth']} {row['p_true_before']:.2f} to {row['p_true_after']:.2f})"
        )
    stem = f"Evidence for {factor(row['cause']).phrase}" if shown else "Seen, but no evidence"
    return f"{stem}: {did}; {base_rate(row)}."


def base_rate(row: Mapping[str, Any]) -> str:
    """How often the intervention does as much to controls, with its 95 % Wilson interval."""
    if not row["n_controls"]:
        return "base rate unknown"
    value, low, high = (100 * row[f"base_rate{end}"] for end in ("", "_low", "_high"))
    return f"base rate {value:.0f} %, {low:.0f} to {high:.0f}"


def chance_rates(tested: pd.DataFrame) -> list[float]:
    """Probability of every intervention with controls to turn the case whatever the cause.

    (k + 1) / (n + 1) for k of n controls: without a cause the case is one control more, so that
    an intervention that turned none of few controls is not held to be impossible.
    """
    known = tested[tested["n_controls"] > 0]
    counts = known["base_rate"] * known["n_controls"]
    rates: list[float] = ((counts + 1) / (known["n_controls"] + 1)).tolist()
    return rates


def p_at_least(count: int, rates: Sequence[float]) -> float:
    """Probability of at least `count` successes in independent trials of these probabilities.

    The tail of the Poisson binomial distribution; without trials no success is certain.

    Reference: Hong 2013, Comput. Stat. Data Anal. 59:41-51.
    """
    return float(poisson_binom.sf(count - 1, rates)) if rates else float(count <= 0)


def known_turned(tested: pd.DataFrame) -> int:
    """How many interventions turned the case, of those with controls."""
    return int((tested["turned"] & (tested["n_controls"] > 0)).sum())


def chance_sentence(tested: pd.DataFrame) -> str:
    """How many interventions turned it, beside what their base rates alone would give."""
    rates, turned = chance_rates(tested), known_turned(tested)
    p_value = p_at_least(turned, rates)
    stem = f"{turned} of {len(rates)} interventions turn it"
    if p_value < CHANCE_LEVEL:
        shown = "p < 0.001" if p_value < 0.0005 else f"p = {p_value:.3f}"
        verdict = f"more than chance would give ({shown}"
    else:
        shown = f"expected {sum(rates):.1f}, p = {p_value:.2f}"
        verdict = f"not shown to be more than chance ({shown}"
    return f"{stem}, {verdict}; taken as independent, which they are not)."


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
            f"{row['base_rate']:.0%} of the controls that were called something else before."
        )


def mitigations(case: ChosenCase, supported: Sequence[str]) -> tuple[str, ...]:
    """What the evidence speaks for; the frozen threshold first where it would flag the case."""
    if case.kind == "success":
        return ()
    flagged = "act on the frozen threshold of the critical class: it flags this image"
    first = (flagged,) if case.critical and case.flagged else ()
    found = (*first, *(factor(name).mitigation for name in supported))
    return found or ("no targeted one is supported by the evidence; defer by confidence",)


def common(taxonomy: pd.DataFrame, mode: str) -> tuple[str, ...]:
    """How many test samples share the way in which the case comes out."""
    row = taxonomy[taxonomy["mode"] == mode].iloc[0]
    first = (
        f"{row['n']} of {taxonomy['n'].sum()} test samples ({row['share']:.1%}, 95 % interval "
        f"{row['share_low']:.1%} to {row['share_high']:.1%}) come out as {mode.replace('_', ' ')}"
    )
    if not row["n_critical"]:
        return (first,)
    flagged = row["n_critical_flagged"]
    return (
        f"{first}; {row['n_critical']} of them hold the critical class, of which its frozen "
        f"threshold flags {flagged}",
    )
