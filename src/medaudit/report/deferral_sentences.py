"""Sentences on deferral: what the frozen threshold keeps, and what that does to errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medaudit.report import formatting
from medaudit.report.formatting import (
    Change,
    Number,
    behind,
    count,
    counted,
    difference,
    estimate,
    percent,
    plain,
    real,
    share,
    sized,
)
from medaudit.report.results import deferral_change, primary_score, realised_deferral

if TYPE_CHECKING:
    from medaudit.report.results import Results

CHANCE = 0.5
"""AUROC of a score that tells nothing."""


def deferral(results: Results) -> str:
    """What the frozen deferral leaves; first what it makes worse, where that is most of it."""
    falls = recall_sentence(results)
    first = [falls] if mostly_lower(results) else []
    last = [falls] if not first else []
    kept = [kept_sentence(results), asked_sentence(results), critical_sentence(results)]
    sentences = [*first, *kept, *last]
    return " ".join(filter(None, [*sentences, errors_sentence(results), advice(results)]))


def kept_changes(results: Results) -> dict[str, Number]:
    """By class or label, how deferral changes the recall among the kept; only defined ones."""
    rows = results.rows("selective", "per_class")
    known = {
        str(row["class"]): Number(
            real(row["recall_delta"]),
            real(row["recall_delta_low"]),
            real(row["recall_delta_high"]),
        )
        for row in rows
    }
    return {name: each for name, each in known.items() if math.isfinite(each.low)}


def mostly_lower(results: Results) -> bool:
    """Whether the recall among the kept falls for more than half of the classes or labels."""
    known = kept_changes(results)
    return 2 * sum(each.high < 0 for each in known.values()) > len(known)


def recall_sentence(results: Results) -> str:
    """For how many classes or labels deferral moves the recall among the kept."""
    known = kept_changes(results)
    lower = sum(each.high < 0 for each in known.values())
    higher = sum(each.low > 0 for each in known.values())
    if not known:
        return ""
    return (
        f"Deferral lowers recall among the kept for {lower} of {len(known)} {results.nouns[1]}, "
        f"raises it for {higher} and leaves {len(known) - lower - higher} undecided."
    )


def kept_sentence(results: Results) -> str:
    """How many are kept, and what that does to their risk."""
    found = deferral_change(results, "selective_risk")
    weighted = "risk (weighted share of wrong calls)"
    loss = "share of wrong calls" if results.exclusive else weighted
    return (
        f"Keeping {percent(realised_deferral(results, 'coverage'))} of the test images by "
        f"{formatting.words(primary_score(results))} (threshold frozen on calibration) "
        f"{moved(found, f'the {loss}', 'selective_risk')}, to "
        f"{estimate(realised_deferral(results, 'selective_risk'))}."
    )


def beside_asked(results: Results) -> str:
    """Whether the frozen deferral keeps more or fewer on test than were asked for; or neither."""
    asked = real(results.scalar("selective", "coverage_asked"))
    found = realised_deferral(results, "coverage")
    if found.high < asked:
        return "fewer than were asked for"
    if found.low > asked:
        return "more than were asked for"
    return "and its interval holds what was asked for" if found.holds(asked) else ""


def asked_sentence(results: Results) -> str:
    """How many were to be kept, and whether as many are."""
    asked, found = real(results.scalar("selective", "coverage_asked")), beside_asked(results)
    if not found:
        return ""
    return (
        f"The threshold was set to keep {share(asked)} of the calibration images; on test it "
        f"keeps {plain(100 * realised_deferral(results, 'coverage').value, 1)} %, {found}."
    )


def moved(found: Change, what: str, metric: str) -> str:
    """A clause on a paired change: lowers, raises, or changes by an undecided amount."""
    if found.low > 0:
        return f"raises {what} by {sized(found, metric)}"
    if found.high < 0:
        turned = Number(-found.value, -found.high, -found.low)
        return f"lowers {what} by {sized(turned, metric)}"
    return f"changes {what} by {difference(found)}, which is undecided"


def critical_sentence(results: Results) -> str:
    """What deferral does to the recall of the critical class, and how many of it are deferred."""
    kept = realised_deferral(results, "critical_recall_kept")
    if results.critical is None or not kept.defined:
        return ""
    found = deferral_change(results, "critical_recall_kept")
    deferred = percent(realised_deferral(results, "critical_deferred_share"))
    what = f"recall of {results.critical} among the kept"
    spared = deferral_change(results, "critical_call_specificity_kept")
    beside = f"; specificity of calls changes by {difference(spared)}" if spared.defined else ""
    return (
        f"It {moved(found, what, 'recall')}, to {estimate(kept)} "
        f"({behind(kept, 'recall', results.critical)} that are kept){beside}; {deferred} of the "
        f"images with {results.critical} are deferred."
    )


def failure_auroc(results: Results) -> Number:
    """How well the score that defers separates errors from right answers; 0.5 is chance."""
    return results.headline("selective", "failure_auroc")


def kept_errors(results: Results) -> tuple[int, int, int] | None:
    """Errors that are kept, all errors, and how many cases are deferred.

    `None` where the risk of a case is no count of errors.
    """
    if not results.exclusive:
        return None
    score = primary_score(results)
    whole = results.number("selective", "summary", score=score, metric="risk")
    kept = realised_deferral(results, "selective_risk")
    if not (whole.defined and kept.defined and whole.n and kept.n_positive):
        return None
    errors = round(whole.value * whole.n)
    return round(kept.value * kept.n_positive), errors, whole.n - kept.n_positive


def errors_sentence(results: Results) -> str:
    """Whether the score finds the errors."""
    found, errors = failure_auroc(results), kept_errors(results)
    score = formatting.words(primary_score(results))
    sentences = []
    if found.defined:
        sentences.append(f"AUROC of {score} for right against wrong is {estimate(found)}.")
    if errors is not None:
        kept = f"{count(errors[0])} of {counted(errors[1], 'wrong call', 'wrong calls')}"
        sentences.append(f"{kept} are kept.")
    return " ".join(sentences)


def mostly_confident(kept: int, errors: int, deferred: int) -> bool:
    """Whether most errors are kept although as many deferrals could have found most of them."""
    return 2 * kept > errors >= 2 * (errors - deferred)


def advice(results: Results) -> str:
    """Why deferral by this score is not advised; empty where nothing speaks against it."""
    score, errors = formatting.words(primary_score(results)), kept_errors(results)
    against = []
    found = failure_auroc(results)
    if found.defined and not found.low > CHANCE:
        against.append("that AUROC is not shown to be above 0.5, which is chance")
    kept = realised_deferral(results, "errors_kept_share")
    if errors is not None and mostly_confident(*errors) and kept.low > CHANCE:
        against.append("most errors are confident, and it does not find them")
    if mostly_lower(results):
        against.append("it lowers recall among the kept for most")
    if not against:
        return ""
    return f"Deferral by {score} is not advised: {' and '.join(against)}."
