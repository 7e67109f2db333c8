"""From counterfactual evidence to a diagnosis, a mitigation and what risk stays.

A cause is named only when undoing or applying it changed this very prediction, and when the same
intervention leaves most other predictions alone: what turns everything explains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medaudit.audits.causes import cause, cause_of
from medaudit.audits.evidence import KINDS, UNDO
from medaudit.errors import listed

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    import pandas as pd

    from medaudit.audits.cases import Chosen

MOST_CITED = 3


@dataclass(frozen=True)
class Diagnosis:
    """What the evidence of one case supports.

    Args:
        supported: causes whose intervention turned the prediction but few controls, the
            greatest change first; for a flip under a corruption, the corruption's.
        unspecific: interventions that turned the prediction, and too many controls as well.
        n_tested: interventions that could have spoken for a cause.
        n_turned: those that did, specific or not.
        expected_turned: how many would have by their base rates alone.
        statement: the finding in words, with its numbers.
        mitigations: one sentence each.
        residual_risks: what stays after them, and how common the failure is.
    """

    supported: tuple[str, ...]
    unspecific: tuple[str, ...]
    n_tested: int
    n_turned: int
    expected_turned: float
    statement: str
    mitigations: tuple[str, ...]
    residual_risks: tuple[str, ...]


def diagnose(
    case: Chosen, weighed: pd.DataFrame, taxonomy: pd.DataFrame, *, mode: str
) -> Diagnosis:
    """What the weighed evidence of one case supports; says so plainly where it is nothing.

    Args:
        case: the case.
        weighed: its evidence, from `evidence.weigh`.
        taxonomy: how common every mode is.
        mode: the one of the case.
    """
    tested = ranked(weighed[could_speak(weighed)])
    specific = tested[tested["specific"]]
    supported = tuple(dict.fromkeys(specific["cause"]))
    if not case.condition.is_clean:
        supported = (cause_of(case.condition.corruption),)
    return Diagnosis(
        supported=supported,
        unspecific=tuple(tested.loc[tested["turned"] & ~tested["specific"], "intervention"]),
        n_tested=len(tested),
        n_turned=int(tested["turned"].sum()),
        expected_turned=float(tested["base_rate"].sum()),
        statement=" ".join(sentences(case, weighed, tested)),
        mitigations=mitigations(case, supported),
        residual_risks=(*(cause(name).residual for name in supported), *common(taxonomy, mode)),
    )


def could_speak(weighed: pd.DataFrame) -> pd.Series[bool]:
    """Interventions on a wrong prediction; that a corrupted image was right when clean is known."""
    wrong = weighed["predicted_before"] != weighed["truth"]
    known = weighed["intervention"].str.startswith(UNDO)
    return wrong & weighed["kind"].isin(["undo", "remove"]) & ~known


def ranked(evidence: pd.DataFrame) -> pd.DataFrame:
    """Undoing before removing, and the greatest gain in probability of the truth first."""
    gain = evidence["p_true_after"] - evidence["p_true_before"]
    keyed = evidence.assign(order=evidence["kind"].map(KINDS.index), loss=-gain)
    return keyed.sort_values(["order", "loss", "intervention"]).drop(columns=["order", "loss"])


def sentences(case: Chosen, weighed: pd.DataFrame, tested: pd.DataFrame) -> Iterator[str]:
    """The finding in words: what turned it, what that is worth, and what chance would give."""
    if case.kind == "success":
        yield from contrast_sentences(weighed)
        return
    if not case.condition.is_clean:
        yield flip_sentence(case, weighed)
    found = tested[tested["specific"]]
    yield from (support_sentence(row) for row in found.head(MOST_CITED).to_dict("records"))
    if found.empty and case.condition.is_clean:
        yield f"No tested cause explains it: none of {len(tested)} interventions is evidence."
    if found.empty and not case.condition.is_clean:
        yield f"None of {len(tested)} edits of the corrupted image undoes this specifically."
    loose = tested.loc[tested["turned"] & ~tested["specific"], "intervention"].tolist()
    if loose:
        yield f"Too common among the controls to be evidence: {listed(loose)}."
    if tested["turned"].any():
        yield chance_sentence(tested)


def flip_sentence(case: Chosen, weighed: pd.DataFrame) -> str:
    """The experiment behind a flip: applied it breaks, undone it is right, dose by dose."""
    applied = weighed[weighed["kind"] == "apply"].set_index("intervention")
    own = applied.loc[case.condition.name]
    stem = f"{case.condition.corruption}-"
    doses = applied[applied.index.str.startswith(stem)].sort_index()
    curve = ", ".join(
        f"{name.removeprefix(stem)}: {row.predicted_after} {row.p_true_after:.2f}"
        for name, row in zip(doses.index, doses.itertuples(), strict=True)
    )
    return (
        f"Evidence for {cause(cause_of(case.condition.corruption)).phrase}: the clean image is "
        f"called {own['truth']} ({own['p_true_before']:.2f}); with {case.condition.corruption} of "
        f"severity (call, probability of {own['truth']}) {curve}. {case.condition.name} turns "
        f"{own['base_rate']:.0%} of all right predictions."
    )


def support_sentence(row: Mapping[Hashable, Any]) -> str:
    """One piece of specific evidence."""
    if row["kind"] == "remove":
        did = f"it stays {row['predicted_after']} after {row['intervention']}"
    else:
        did = (
            f"{row['intervention']} turns {row['predicted_before']} to {row['predicted_after']} "
            f"({row['truth']} {row['p_true_before']:.2f} to {row['p_true_after']:.2f})"
        )
    return f"Evidence for {cause(row['cause']).phrase}: {did}; base rate {row['base_rate']:.0%}."


def chance_sentence(tested: pd.DataFrame) -> str:
    """How many interventions turned it, beside what their base rates alone would give."""
    turned, expected = int(tested["turned"].sum()), float(tested["base_rate"].sum())
    verdict = "more than" if turned > expected else "no more than"
    return (
        f"{turned} of {len(tested)} interventions speak for a cause, {verdict} the {expected:.1f} "
        f"that their base rates alone would give."
    )


def contrast_sentences(weighed: pd.DataFrame) -> Iterator[str]:
    """For a right prediction: what changes it, and whether it needs the lesion."""
    applied = weighed[weighed["kind"] == "apply"]
    edits = weighed[weighed["kind"] == "undo"]
    edits = edits[~edits["intervention"].isin(applied["intervention"])]
    for words, part in {"edits that take a nuisance away": edits, "conditions": applied}.items():
        changed = part.loc[part["predicted_after"] != part["predicted_before"], "intervention"]
        names = f": {listed(changed.tolist())}" if len(changed) else ""
        yield f"{len(changed)} of {len(part)} {words} change it{names}."
    for row in weighed[weighed["kind"] == "remove"].to_dict("records"):
        still = " still" if row["predicted_after"] == row["predicted_before"] else ""
        yield (
            f"Without the lesion it is{still} called {row['predicted_after']}, as are "
            f"{row['base_rate']:.0%} of the controls that were called something else before."
        )


def mitigations(case: Chosen, supported: Sequence[str]) -> tuple[str, ...]:
    """What the evidence speaks for; the frozen threshold first where it would flag the case."""
    if case.kind == "success":
        return ()
    flagged = "act on the frozen threshold of the critical class: it flags this image"
    first = (flagged,) if case.critical and case.flagged else ()
    found = (*first, *(cause(name).mitigation for name in supported))
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
