"""What was found, in sentences that say no more than the intervals do."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from medaudit.audits.calibrate import BASELINE, MEAN, CalibrateParams
from medaudit.report import comparison_sentences, formatting
from medaudit.report.figures.stress import was_cut
from medaudit.report.formatting import (
    Change,
    Number,
    behind,
    between,
    change,
    count,
    counted,
    difference,
    estimate,
    number,
    p_equals,
    percent,
    plain,
    real,
    share,
    sized,
)
from medaudit.report.results import deferral_change, primary_score, realised_deferral

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from medaudit.report.results import Results

MOST_SLOPES = 3
CHANCE = 0.5
"""AUROC of a score that tells nothing."""


def summary(results: Results) -> list[str]:
    """What we found, a paragraph each; nothing about stages that are absent.

    First how many are found and how many alarmed, then where that breaks, then what deferral and
    calibration do.
    """
    there = results.stages
    found = [
        *((operating_points(results), performance(results)) if "evaluate" in there else ()),
        *(comparison_sentences.stress(results) if "stress" in there else ()),
        *(comparison_sentences.slices(results) if was_cut(results) else ()),
        comparison_sentences.unnamed(results),
        *((deferral(results),) if "selective" in there else ()),
        *((calibration(results),) if "calibrate" in there else ()),
    ]
    return explained([paragraph for paragraph in found if paragraph])


TERMS = {
    r"the margin of [\d.]*\d(?: points)?": "harm that was set as too small to matter",
    r"standardised accuracy": "recall of every class, weighted as the test role mixes them",
    r"confirmatory slices?": "of a column that was named beforehand",
    r"exploratory slices?": "of any other column",
    r"after shrinkage": "drawn towards 0, the more the less certain the gap is",
}
"""Words that a reader may not know, as patterns, and what they mean."""


def explained(paragraphs: Sequence[str]) -> list[str]:
    """Every term with its meaning in brackets, where it stands first."""
    told, left = [], dict(TERMS)
    for paragraph in paragraphs:
        for term, meaning in list(left.items()):
            found = re.search(term, paragraph, re.IGNORECASE)
            if found:
                paragraph = f"{paragraph[: found.end()]} ({meaning}){paragraph[found.end() :]}"
                del left[term]
        told.append(paragraph)
    return told


def operating_points(results: Results) -> str:
    """How many are found and how many are alarmed at the frozen thresholds."""
    first = number(results.rows("evaluate", "metrics")[0])
    test = f"{count(first.n)} clean test images of {count(first.n_groups)} groups"
    sentences = critical_point(results, test) if results.critical else every_point(results, test)
    return " ".join(filter(None, sentences))


def critical_point(results: Results, test: str) -> tuple[str, ...]:
    """Sensitivity with specificity, false alarms, predictive values, and the target."""
    found, realised = (
        results.measure(f"critical_{rate}") for rate in ("sensitivity", "specificity")
    )
    if not (found.defined and realised.defined):
        return (f"On {test}, nothing is known of {results.critical} at the frozen threshold.",)
    both = (
        f"On {test}, sensitivity for {results.critical} is {estimate(found)} "
        f"({behind(found, 'sensitivity', results.critical)}) and specificity is "
        f"{estimate(realised)} ({behind(realised, 'specificity', results.critical)}), at the "
        f"threshold frozen on calibration."
    )
    return both, false_alarms(results), predictive_values(results), carried_over(results)


def told(results: Results, name: str) -> Number:
    """A measure of the test role, from its table or else from the headline."""
    found = results.measure(name)
    return found if found.defined else results.headline("evaluate", name)


def false_alarms(results: Results) -> str:
    """How many of 100 images without the critical class are called it."""
    found = told(results, "critical_false_alarms_per_100")
    if not found.defined:
        return ""
    return (
        f"Of 100 images without {results.critical}, {estimate(found, 1)} "
        f"{'raises' if plain(found.value, 1) == '1.0' else 'raise'} a false alarm."
    )


def predictive_values(results: Results) -> str:
    """PPV and NPV, and at which prevalence."""
    ppv, npv = (told(results, f"critical_{name}") for name in ("ppv", "npv"))
    at = told(results, "critical_prevalence").value
    if not (ppv.defined and math.isfinite(at)):
        return ""
    stated = bool(results.scalar("evaluate", "prevalence_stated"))
    whose = "stated prevalence" if stated else "prevalence of the test role"
    return f"At the {whose}, {share(at)}, PPV is {estimate(ppv)} and NPV is {estimate(npv)}."


def expected_specificity(results: Results) -> tuple[float, float]:
    """Where the realised specificity lies in 95 of 100 samples like these; NaN if unknown.

    Holds the sampling of the calibration role, which chose the threshold, and of the test role.
    """
    low, high = (
        real(results.scalar("evaluate", f"critical_specificity_expected_{end}"))
        for end in ("low", "high")
    )
    return low, high


def carried_over(results: Results) -> str:
    """Whether the realised specificity is one that the choice of the threshold explains."""
    low, high = expected_specificity(results)
    if not math.isfinite(low + high):
        return ""
    realised = results.measure("critical_specificity").value
    lies = "above" if realised > high else "below" if realised < low else "inside"
    return (
        f"The threshold was chosen for specificity {results.points.specificity:g}; "
        f"{plain(realised)} lies {lies} the range {between(low, high)} that sampling of the "
        f"calibration and test roles explains."
    )


def every_point(results: Results, test: str) -> tuple[str, ...]:
    """The class or label that is found least often, then the means."""
    one = results.nouns[0]
    known = {name: results.of_class(name, "sensitivity") for name in results.classes}
    known = {name: found for name, found in known.items() if found.defined}
    mean, realised = (results.measure(f"macro_{rate}") for rate in ("sensitivity", "specificity"))
    means = (
        f"The mean over all is sensitivity {estimate(mean)} with specificity {estimate(realised)}, "
        f"each threshold frozen on calibration for specificity {results.points.specificity:g}."
    )
    if not known:
        return (means,)
    name = min(known, key=lambda each: known[each].value)
    beside = results.of_class(name, "specificity")
    least = (
        f"On {test}, the {one} of the lowest measured sensitivity is {name}: "
        f"{estimate(known[name])} ({behind(known[name], 'sensitivity', name)}) with specificity "
        f"{estimate(beside)} ({behind(beside, 'specificity', name)})."
    )
    return least, means


def performance(results: Results) -> str:
    """How well the outputs rank, over all of them."""
    rows = results.rows("evaluate", "metrics")
    first, accuracy = number(rows[0]), results.measure("balanced_accuracy")
    name = formatting.metric(str(rows[0]["metric"]))
    more = f" and balanced accuracy is {estimate(accuracy)}" if accuracy.defined else ""
    return f"{name} is {estimate(first)}{more}{over(results)}.{spread(results)}"


def over(results: Results) -> str:
    """What macro means leave out, where they do."""
    n = results.scalar("evaluate", "n_outputs_in_means")
    every = len(results.classes)
    if not isinstance(n, int) or n == every:
        return ""
    return f" (means over the {n} of {every} {results.nouns[1]} that have both outcomes here)"


def spread(results: Results) -> str:
    """The range of the AUROC over labels, where an image may have several."""
    if results.exclusive:
        return ""
    each = {name: results.of_class(name, "auroc") for name in results.classes}
    known = {name: found for name, found in each.items() if found.defined}
    if len(known) < 2:
        return ""
    least, most = (which(known, key=lambda name: known[name].value) for which in (min, max))
    return (
        f" By label it was measured from {estimate(known[least])} for {least} "
        f"({count(known[least].n_positive)} images with it) to {estimate(known[most])} for "
        f"{most} ({count(known[most].n_positive)} with it)."
    )


def calibration(results: Results) -> str:
    """ECE against its noise floor, slopes that are not ideal, and what the calibrators change."""
    floors = results.rows("calibrate", "noise_floor", event=MEAN)
    first = floors[0]
    ece = results.number("calibrate", "summary", calibrator=first["calibrator"], metric="ece")
    changes = [calibrator_clause(results, row["calibrator"]) for row in floors[1:]]
    clauses = [ece_sentence(ece, first, of=ece_of(results), least=floor_p(results))]
    clauses.append(slopes(results))
    return " ".join([*filter(None, clauses), *changes])


def ece_of(results: Results) -> str:
    """Of what the ECE is."""
    if results.exclusive:
        return "ECE of the called class"
    n = len(results.rows("calibrate", "noise_floor", event=MEAN, calibrator=BASELINE))
    many = len(results.rows("calibrate", "noise_floor", calibrator=BASELINE)) - n
    return f"ECE (mean over {many} labels)" if many > 1 else "ECE of the label"


def floor_p(results: Results) -> float:
    """The least p-value that the replicates of the noise floor resolve."""
    section = results.params.get("calibrate") or {}
    default = CalibrateParams.model_fields["floor_replicates"].default
    return 1 / (1 + int(section.get("floor_replicates", default)))


def ece_sentence(ece: Number, floor: Mapping[str, Any], *, of: str, least: float) -> str:
    """The ECE beside what chance gives; never a verdict where the groups make the floor too low.

    Args:
        ece: of the uncalibrated probabilities.
        floor: row of its noise floor: `mean`, `p95`, `p_value`.
        of: of what it is the ECE.
        least: p-value that the replicates of the floor resolve.
    """
    mean, p95, p = (real(floor[name]) for name in ("mean", "p95", "p_value"))
    together = real(floor.get("p_value_grouped")) if ece.grouped else p
    if not (ece.defined and math.isfinite(p95)):
        return f"The {of} is undefined."
    groups = f" in {count(ece.n_groups)} groups" if ece.grouped else ""
    rests_on = f"n={count(ece.n)} images{groups}"
    return (
        f"The {of} before calibration is {plain(ece.value)} ({rests_on}). A perfectly calibrated "
        f"model with these confidences shows {plain(mean)} on average and {plain(p95)} or less in "
        f"95 of 100 draws ({p_equals(p, least=least)}). {ece_verdict(p95, p, together)}"
    )


def ece_verdict(p95: float, p: float, together: float) -> str:
    """Shown, or undecided and why.

    Args:
        p95: ECE that 95 of 100 draws of a perfectly calibrated model do not exceed.
        p: of the ECE if images are independent.
        together: the same if all images of a group come out alike; NaN if unknown.
    """
    if not p < formatting.ALPHA:
        return f"Miscalibration is undecided: only an ECE above {plain(p95)} would have shown it."
    if together < formatting.ALPHA:
        return "Miscalibration is shown."
    return "Miscalibration is undecided: that takes the images of a group for independent."


def slopes(results: Results) -> str:
    """Cox slopes whose interval excludes 1, of the critical class or else of all."""
    asked = {"calibrator": BASELINE, "metric": "cox_slope"}
    watched = (results.critical,) if results.critical else results.classes
    known = {name: results.number("calibrate", "events", event=name, **asked) for name in watched}
    off = {name: each for name, each in known.items() if each.low > 1 or each.high < 1}
    if not off:
        return ""
    clauses = [f"{estimate(each, 2)} for {name}" for name, each in list(off.items())[:MOST_SLOPES]]
    more = len(off) - len(clauses)
    rest = f"; {counted(more, 'more label excludes', 'more labels exclude')} 1" if more else ""
    return (
        f"The Cox slope (1 is ideal; below 1 stated probabilities are too extreme, above 1 not "
        f"extreme enough) is {', '.join(clauses)}{rest}."
    )


def calibrator_clause(results: Results, calibrator: str) -> str:
    """What a calibrator does to the log loss."""
    rows = results.rows("calibrate", "summary", calibrator=calibrator, metric="log_loss")
    found = change(rows[0], "delta", name=calibrator, ends=("delta_low", "delta_high"))
    verdict = "undecided"
    if found.shown:
        verdict = "an improvement" if found.value < 0 else "a loss"
    name = formatting.words(calibrator)
    return f"Calibrator {name} changes the log loss by {difference(found)}: {verdict}."


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


def mode(row: Mapping[str, Any]) -> str:
    """A share of a mode with its interval."""
    ends = between(100 * real(row["share_low"]), 100 * real(row["share_high"]), 1)
    return f"{100 * real(row['share']):.1f} % ({ends})"
