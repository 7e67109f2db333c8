"""What was found, in sentences that say no more than the intervals do."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from medaudit.audits.calibrate import BASELINE, MEAN, CalibrateParams
from medaudit.core.cell_rules import COLUMN, LEFT_OUT
from medaudit.report import comparison_sentences, comparisons, deferral_sentences, formatting
from medaudit.report.comparison_sentences import SLICE
from medaudit.report.figures.stress import was_cut
from medaudit.report.formatting import (
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
    plain,
    real,
    share,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from medaudit.report.comparisons import Comparison
    from medaudit.report.results import Results

MOST_SLOPES = 3
MOST_ALIKE = 4


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
        same_images(results),
        comparison_sentences.unnamed(results),
        *((deferral_sentences.deferral(results),) if "selective" in there else ()),
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


def same_images(results: Results) -> str:
    """Which slices are called worse for largely the same images, so that none is counted twice."""
    metrics = [*comparisons.leading(results, SLICE), *comparisons.others(results, SLICE)]
    found = [group for metric in metrics for group in comparisons.alike(results, metric)]
    if not found:
        return ""
    clauses = [
        f"of {count(each.n)} {errors_of(each.slices[0], results.critical)} in "
        f"{', '.join(one.words for one in each.slices[:-1])} or {each.slices[-1].words}, "
        f"{count(each.shared)} lie in "
        f"{'both' if len(each.slices) == 2 else f'all {count(len(each.slices))}'}"
        for each in found[:MOST_ALIKE]
    ]
    more = len(found) - len(clauses)
    rest = [counted(more, "more such group is", "more such groups are") + " not told"]
    told = "; ".join([*clauses, *(rest if more else ())])
    return f"Some slices are worse for largely the same test images: {told}."


def errors_of(change: Comparison, critical: str | None) -> str:
    """What a measure counts as errors."""
    name = change.output or critical
    if change.metric.endswith("sensitivity"):
        return f"missed {name}"
    return f"false alarms of {name}" if change.metric.endswith("specificity") else "wrong calls"


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
        said = "left out as few images" if found.left_out else "not known"
        return (f"On {test}, what {results.critical} is at the frozen threshold is {said}.",)
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


def mode(row: Mapping[str, Any]) -> str:
    """A share of a mode with its interval."""
    if isinstance(row.get(COLUMN), str) and not math.isfinite(real(row["share"])):
        return LEFT_OUT
    ends = between(100 * real(row["share_low"]), 100 * real(row["share_high"]), 1)
    return f"{100 * real(row['share']):.1f} % ({ends})"
