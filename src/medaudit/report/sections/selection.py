"""The selective prediction part of section 5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.audits.selective import SelectiveParams
from medaudit.core.cell_rules import COLUMN
from medaudit.report import formatting
from medaudit.report.blocks import Block, details, table, text, told
from medaudit.report.formatting import (
    UNDEFINED,
    change,
    count,
    difference,
    estimate,
    number,
    p_value,
    plain,
    real,
)
from medaudit.report.results import (
    DEFERRAL_MEASURES,
    deferral_change,
    deferral_threshold,
    primary_score,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from medaudit.report.formatting import Number
    from medaudit.report.results import Results

AREAS = (
    "aurc",
    "excess_aurc",
    "augrc",
    "balanced_augrc",
    "risk_at_coverage",
    "coverage_at_risk",
)
COMPARED = "aurc"
SHARES = {"deferred": "share deferred", "recall": "recall, all", "recall_kept": "recall, kept"}
SHARE_HEADS = (*SHARES.values(), "kept minus all")


def blocks(results: Results) -> list[Block]:
    """Areas under the curves by confidence score, and deferral class by class."""
    # For labels the comparison stands beside the chart.
    own = [text(comparison(results))] if results.exclusive else []
    return [
        areas(results),
        *own,
        details("Every confidence score and measure", *every(results)),
    ]


def realised(results: Results) -> Block | None:
    """What the frozen deferral of the primary score realises."""
    if "selective" not in results.stages:
        return None
    score = primary_score(results)
    rows = [
        (
            DEFERRAL_MEASURES.get(row["metric"], formatting.words(row["metric"])).format(
                critical=results.critical
            ),
            estimate(number(row)),
            difference(deferral_change(results, str(row["metric"]))).replace(UNDEFINED, ""),
            count(number(row).rests_on),
        )
        for row in results.rows("selective", "deferral", score=score)
    ]
    cut = plain(deferral_threshold(results))
    caption = f"Deferral at the frozen threshold {cut} on {formatting.words(score)}; n: test images"
    return table(caption, ("on test", "value (interval)", "kept minus all", "n behind it"), rows)


def named(metric: str, results: Results) -> str:
    """A measure with the coverage or the risk at which it is read."""
    own = results.params.get("selective") or {}
    known = {name: field.default for name, field in SelectiveParams.model_fields.items()} | own
    return formatting.metric(metric, coverage=known["coverage"], risk=known["max_risk"])


def areas(results: Results) -> Block:
    """Areas under the curves of every confidence score."""
    scores = results.names("selective", "summary", "score")
    known = results.names("selective", "summary", "metric")
    metrics = [name for name in AREAS if name in known]
    rows = [
        (formatting.words(score), *(estimate(summed(results, score, name)) for name in metrics))
        for score in scores
    ]
    whole = summed(results, scores[0], "risk")
    heads = [named(name, results) for name in metrics]
    caption = (
        f"Risk against coverage, n={count(whole.n)} test images; risk without deferral "
        f"{estimate(whole)}; lower is better, but for coverage"
    )
    return table(caption, ("confidence score", *heads), rows)


def summed(results: Results, score: str, metric: str) -> Number:
    """A measure of a confidence score."""
    return results.number("selective", "summary", score=score, metric=metric)


def comparison(results: Results) -> str:
    """The other scores against the one that defers, paired and Holm-corrected."""
    first = primary_score(results)
    others = [
        row
        for row in results.rows("selective", "summary", metric=COMPARED)
        if row["score"] != first
    ]
    if not others:
        return "No other confidence score was compared."
    return (
        f"Against {formatting.words(first)} (paired, Holm-corrected), "
        f"{formatting.metric(COMPARED)} changes by {'; by '.join(map(compared, others))}."
    )


def compared(row: Mapping[str, Any]) -> str:
    """What one score changes, and whether it is shown."""
    found = change(row, "delta", name="", ends=("delta_low", "delta_high"))
    lower = "shown to be lower" if found.value < 0 else "shown to be higher"
    verdict = lower if found.shown else "undecided"
    return f"{difference(found, 4)} with {formatting.words(str(row['score']))}: {verdict}"


def classes(results: Results) -> Block:
    """Deferral and recall of every class."""
    rows = [
        (str(row["class"]), *share_cells(row), told(row, "n"))
        for row in results.rows("selective", "per_class")
    ]
    return table("Deferral by class; n: its test images", ("class", *SHARE_HEADS, "n"), rows)


def share_cells(row: Mapping[str, Any]) -> list[str]:
    """Share deferred, recall among all and among the kept, and its change, of one class."""
    shares = [estimate(part(row, name), 2) for name in SHARES]
    return [*shares, difference(part(row, "recall_delta"), 2)]


def part(row: Mapping[str, Any], name: str) -> Number:
    """The columns `name`, `name_low`, `name_high` as a number."""
    ends = {"low": row.get(f"{name}_low"), "high": row.get(f"{name}_high")}
    return number({"value": row.get(name), COLUMN: row.get(COLUMN), **ends})


def every(results: Results) -> list[Block]:
    """The long tables of deferral and of areas."""
    frozen = [
        (
            formatting.words(str(row["score"])),
            plain(real(row["threshold"])),
            formatting.words(str(row["metric"])),
            estimate(number(row)),
            count(number(row).rests_on),
        )
        for row in results.rows("selective", "deferral")
    ]
    found = [
        (
            formatting.words(str(row["score"])),
            named(str(row["metric"]), results),
            estimate(number(row)),
            difference(change(row, "delta", name="", ends=("delta_low", "delta_high"))),
            p_value(real(row["p_holm"])),
            count(row["n"]),
        )
        for row in results.rows("selective", "summary")
    ]
    heads = ("confidence score", "frozen threshold", "measure", "value (interval)", "n behind it")
    more = ("confidence score", "measure", "value (interval)", "Δ to the first", "p (Holm)", "n")
    return [
        table("Deferral at the frozen threshold", heads, frozen, align="lrlrr"),
        table("Areas and points", more, found, align="llrrrr"),
    ]
