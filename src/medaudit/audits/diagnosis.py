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
from medaudit.stats.proportions import wilson

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    import pandas as pd

    from medaudit.audits.cases import Chosen

MOST_CITED = 3
MODES_OF_KIND: Mapping[str, tuple[str, ...]] = {
    "corruption_flip": ("fragile", "fragile_when_severe"),
    "confident_false_alarm": ("false_alarm",),
    "success": ("stable",),
}


@dataclass(frozen=True)
class Diagnosis:
    """What the evidence of one case supports.

    Args:
        supported: causes whose intervention turned the prediction but few controls, the
            greatest change first; for a flip under a corruption, the corruption's.
        unspecific: interventions that turned the prediction, and too many controls as well.
        n_tested: interventions that could have turned the prediction to the truth.
        n_turned: those that did.
        expected_turned: how many would by their base rates alone.
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


def diagnose(case: Chosen, weighed: pd.DataFrame, taxonomy: pd.DataFrame) -> Diagnosis:
    """What the weighed evidence of one case supports; says so plainly where it is nothing."""
    tested = ranked(weighed[weighed["kind"].isin(["undo", "remove"])])
    tested = tested[tested["predicted_before"] != tested["truth"]]
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
        residual_risks=(*(cause(name).residual for name in supported), *common(case, taxonomy)),
    )


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
        tested = tested[~tested["intervention"].str.startswith(UNDO)]
    found = tested[tested["specific"]]
    yield from (support_sentence(row) for row in found.head(MOST_CITED).to_dict("records"))
    if found.empty and case.condition.is_clean:
        yield f"No tested cause explains it: none of {len(tested)} interventions is evidence."
    if found.empty and not case.condition.is_clean:
        yield f"None of {len(tested)} edits of the corrupted image brings the truth back reliably."
    loose = tested.loc[tested["turned"] & ~tested["specific"], "intervention"].tolist()
    if loose:
        yield f"{listed(loose)} turn it too, but turn too many controls to be evidence."
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
        f"{turned} of {len(tested)} interventions turn it, {verdict} the {expected:.1f} that "
        f"their base rates alone would give."
    )


def contrast_sentences(weighed: pd.DataFrame) -> Iterator[str]:
    """For a right prediction: what changes it."""
    for kind, words in {"undo": "edits that take a nuisance away", "apply": "conditions"}.items():
        part = weighed[weighed["kind"] == kind]
        changed = part.loc[part["predicted_after"] != part["predicted_before"], "intervention"]
        names = f": {listed(changed.tolist())}" if len(changed) else ""
        yield f"{len(changed)} of {len(part)} {words} change it{names}."
    for row in weighed[weighed["kind"] == "remove"].to_dict("records"):
        yield f"Without the lesion it is called {row['predicted_after']}."


def mitigations(case: Chosen, supported: Sequence[str]) -> tuple[str, ...]:
    """What the evidence speaks for; the frozen threshold first where it would flag the case."""
    if case.kind == "success":
        return ()
    flagged = "act on the frozen threshold of the critical class: it flags this image"
    first = (flagged,) if case.critical and case.flagged else ()
    found = (*first, *(cause(name).mitigation for name in supported))
    return found or ("no targeted one is supported by the evidence; defer by confidence",)


def common(case: Chosen, taxonomy: pd.DataFrame) -> tuple[str, ...]:
    """How many test samples share the way in which the case comes out."""
    names = MODES_OF_KIND.get(case.kind, (case.kind,))
    part = taxonomy[taxonomy["mode"].isin(names)]
    if part.empty:
        return ()
    n, total = int(part["n"].sum()), int(taxonomy["n"].sum())
    share = wilson(n, total)
    words = " or ".join(name.replace("_", " ") for name in names)
    return (
        f"{n} of {total} test samples ({share.value:.1%}, 95 % interval {share.low:.1%} to "
        f"{share.high:.1%}) are {words}; {int(part['n_critical'].sum())} of them hold the "
        f"critical class, and its frozen threshold flags {int(part['n_flagged'].sum())}",
    )
