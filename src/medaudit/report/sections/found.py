"""Found by search, not named beforehand: slices, shortcuts, drift of roles, labels to look at."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from medaudit.audits.discovery import CONFIRMED
from medaudit.audits.properties import NOT_MEASURED
from medaudit.audits.role_drift import DIFFER
from medaudit.audits.shortcuts import ALARM, ASSOCIATED, NOTHING
from medaudit.core.privacy import parted
from medaudit.report import comparisons
from medaudit.report.blocks import Block, details, table, text
from medaudit.report.blocks import section as part
from medaudit.report.comparison_sentences import listed
from medaudit.report.formatting import (
    amount,
    changed,
    count,
    counted,
    estimate,
    p_value,
    plain,
    real,
    share,
    whole,
    with_ends,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medaudit.report.blocks import Context
    from medaudit.report.results import Records, Results

SERIES = ("discovered", "shortcuts", "role_drift", "label_issues", "not_measured")
UNTOLD = (
    "Which images these are is not told, since report.privacy is aggregate; "
    "artifacts/whole/slice/label_issues.csv of the run lists them."
)
SHOWN = 4
"""Rows of a table outside of its fold."""
LABELS = 10
RATE = "accuracy"
"""Differences of shares of errors are told in points, as those of an accuracy are."""
SIDES = {"missed": "misses", "false_alarm": "false alarms"}


def section(context: Context) -> Block | None:
    """What was looked for without being named; nothing where no stage looked."""
    results = context.results
    if all(results.table("slice", name).empty for name in SERIES):
        return None
    return part(
        "Found by search, not named beforehand",
        *_paragraph(discovered(results), shortcuts(results)),
        *_tables(results),
        *_paragraph(role_drift(results), label_issues(results)),
        *_paragraph(not_measured(results)),
        *_folds(results),
    )


def _paragraph(*sentences: str) -> list[Block]:
    """Sentences together; no paragraph where there is none."""
    told = " ".join(filter(None, sentences))
    return [text(told)] if told else []


def discovered(results: Results) -> str:
    """How many slices were found where, how many hold on test, what could have been seen."""
    rows = results.rows("slice", "discovered")
    if not rows:
        looked = results.scalar("slice", "n_discovered") is not None
        return "Slices: none with more errors than its classes explain was found." if looked else ""
    confirmed = sum(row["verdict"] == CONFIRMED for row in rows)
    small = sum(row["verdict"] == NOT_MEASURED for row in rows)
    left = f" and {count(small)} too small there" if small else ""
    seen = could_be_seen([real(row["minimal_detectable"]) for row in rows], by="slice")
    return (
        f"Slices: {counted(len(rows), 'was', 'were')} found on {rows[0]['found_on']}, where "
        f"errors are more frequent than their classes explain; {count(confirmed)} "
        f"{'is' if confirmed == 1 else 'are'} confirmed on test{left}{seen}."
    )


def could_be_seen(gaps: Sequence[float], *, by: str) -> str:
    """The gaps that would have been called with a power of 80 %, as a range."""
    known = [gap for gap in gaps if math.isfinite(gap)]
    if not known:
        return ""
    low, high = (amount(which(known), RATE) for which in (min, max))
    several = f"{low.removesuffix(' points')} to {high}, by {by},"
    return f" (gaps above {low if low == high else several} could have been seen)"


def shortcuts(results: Results) -> str:
    """How many properties go with a class in training, and which of them errors follow."""
    rows = results.rows("slice", "shortcuts")
    if not rows:
        return ""
    together = [row for row in rows if row["verdict"] != NOTHING]
    alarms = sum(row["verdict"] == ALARM for row in rows)
    asked = [real(row[f"{side}_minimal_detectable"]) for row in together for side in SIDES]
    return (
        f"Shortcuts: of {counted(len(rows), 'pair', 'pairs')} of property and class, "
        f"{count(len(together))} go together in training; {count(alarms)} of these raise an alarm: "
        f"errors on test follow the property{could_be_seen(asked, by='pair')}. Whether the "
        f"property is a sign of the disease or an accident of how images were taken, a person must "
        f"judge."
    )


def role_drift(results: Results) -> str:
    """Which roles are told apart beyond chance."""
    rows = [r for r in results.rows("slice", "role_drift") if real(r["auroc"]) >= 0]
    if not rows:
        return ""
    apart = [told_apart(row) for row in rows if row["verdict"] == DIFFER]
    chance = [real(row["chance_high"]) for row in rows if row["verdict"] != DIFFER]
    named = f": {'; '.join(apart)}" if apart else ""
    beyond = (
        f"no difference is shown; by itself an AUROC above {plain(max(chance))} would have been "
        f"beyond chance."
        if chance
        else ""
    )
    compared = counted(len(rows), "comparison", "comparisons")
    if not apart:
        return f"Roles: in {compared} {beyond}"
    return (
        f"Roles: {count(len(apart))} of {compared} {'tells' if len(apart) == 1 else 'tell'} the "
        f"roles apart{named}.{f' In the other {count(len(chance))} {beyond}' if chance else ''}"
    )


def not_measured(results: Results) -> str:
    """What was not looked for in predictions made elsewhere, by what it needs."""
    by_need: dict[str, list[str]] = {}
    for row in results.rows("slice", "not_measured"):
        by_need.setdefault(str(row["needs"]), []).append(str(row["sought"]))
    told = [f"{listed(names)} (they need {needs})" for needs, names in by_need.items()]
    return f"Not measured: {'; '.join(told)}." if told else ""


def told_apart(row: dict[str, Any]) -> str:
    """A comparison of two roles that differ."""
    return (
        f"{row['comparison']} by {row['features']} (AUROC {plain(real(row['auroc']))}, by chance "
        f"up to {plain(real(row['chance_high']))})"
    )


def label_issues(results: Results) -> str:
    """How many labels are worth a look."""
    checked, flagged = (
        whole(results.scalar("slice", name))
        for name in ("n_labels_checked", "n_label_issues_flagged")
    )
    if not checked or flagged is None:
        return ""
    where = f" {UNTOLD}" if results.aggregate else ""
    return (
        f"Labels: {count(flagged)} of {counted(checked, 'label', 'labels')} are flagged as worth "
        f"a look; most flagged images are hard rather than mislabelled.{where}"
    )


def _tables(results: Results) -> list[Block]:
    found = ranked_slices(results)
    pairs = ranked_shortcuts(results)
    return [
        *([slice_table(found[:SHOWN], of=len(found))] if found else ()),
        *([shortcut_table(pairs[:SHOWN], of=len(pairs))] if pairs else ()),
    ]


def _folds(results: Results) -> list[Block]:
    found, pairs = ranked_slices(results), ranked_shortcuts(results)
    drift, labels = (results.rows("slice", name) for name in ("role_drift", "label_issues"))
    least = comparisons.least_p(results)
    blocks = [
        *([slice_table(found, of=len(found))] if found else ()),
        *([example_table(found)] if any(word(row["sample_ids"]) for row in found) else ()),
        *([shortcut_table(pairs, of=len(pairs))] if pairs else ()),
        *([drift_table(drift, least=least)] if drift else ()),
        *([label_table(labels)] if labels else ()),
    ]
    first = f", and the first {min(len(labels), LABELS)} labels to look at" if labels else ""
    return [details(f"All that was found by search{first}", *blocks)] if blocks else []


def ranked_slices(results: Results) -> Records:
    """Confirmed slices first, then by their gap; those that were not measured last."""
    rows = results.rows("slice", "discovered")
    return sorted(rows, key=lambda r: (r["verdict"] != CONFIRMED, _falling(r["gap"])))


def ranked_shortcuts(results: Results) -> Records:
    """Alarms first, in the order of the audit; then by association, none left out."""
    order = {ALARM: 0, ASSOCIATED: 1}
    rows = results.rows("slice", "shortcuts")
    kept = [row for row in rows if row["verdict"] != NOTHING] or rows[:]
    return sorted(
        kept,
        key=lambda r: (
            order.get(r["verdict"], 2),
            0.0 if r["verdict"] == ALARM else _falling(r["association"]),
        ),
    )


def _falling(value: object) -> float:
    return -real(value) if math.isfinite(real(value)) else math.inf


def gap_of(row: dict[str, Any], prefix: str = "") -> str:
    """A gap in points with its simultaneous interval; empty where it was not measured."""
    found = with_ends(row, f"{prefix}gap")
    return changed(found, RATE) if found.defined else ""


def least_seen(value: object) -> str:
    """A gap that could have been seen, in points."""
    return amount(real(value), RATE).removesuffix(" points") if real(value) >= 0 else ""


def slice_table(rows: Records, *, of: int) -> Block:
    """Slices with their errors on test, inside and as their classes lead to expect."""
    cells = [
        (
            str(row["slice"]),
            str(row["error"]),
            f"{share(real(row['error_inside']))} ({share(real(row['error_expected']))})"
            if real(row["error_inside"]) >= 0
            else "",
            gap_of(row),
            least_seen(row["minimal_detectable"]),
            count(row["n"]),
            str(row["verdict"]),
        )
        for row in rows
    ]
    heads = ("slice", "error", "inside (rest)", "gap, points", "seen from", "n", "verdict")
    return table(
        f"Slices that nobody named, on test ({len(rows)} of {of}); simultaneous intervals",
        heads,
        cells,
        align="llrrrrl",
        widths=(4.6, 1.7, 1.9, 1.6, 0.9, 0.6, 1.4),
    )


def example_table(rows: Records) -> Block:
    """Ids of errors inside of every slice."""
    cells = [
        (str(row["slice"]), str(row["error"]), ", ".join(parted(word(row["sample_ids"]))))
        for row in rows
        if word(row["sample_ids"])
    ]
    heads = ("slice", "error", "samples")
    return table("Errors inside, the truth believed least first", heads, cells, align="lll")


def shortcut_table(rows: Records, *, of: int) -> Block:
    """Properties that go with a class, and the errors on the side of which they speak."""
    cells = [
        (
            f"{row['property']}: {word(row['speaks_for'])} \N{RIGHTWARDS ARROW} {row['class']}",
            estimate(with_ends(row, "association"), 2),
            f"{plain(real(row['decodable']), 2)} ({plain(real(row['decodable_chance_high']), 2)})"
            if real(row["decodable"]) >= 0
            else "",
            *(gap_cell(row, side) for side in SIDES),
            str(row["verdict"]),
        )
        for row in rows
    ]
    heads = (
        *("property \N{RIGHTWARDS ARROW} class", "AUROC, training", "in embedding (chance)"),
        *("misses against it", "false alarms for it", "verdict"),
    )
    return table(
        f"Properties that go with a class in training ({len(rows)} of {of}), alarms first; gaps in "
        f"points where the property speaks against the class and for it; in brackets what could "
        f"have been seen",
        heads,
        cells,
        align="lrrrrl",
        widths=(3.6, 1.7, 1.5, 2.2, 2.2, 1.1),
    )


def gap_cell(row: dict[str, Any], side: str) -> str:
    """A gap in one kind of error, and the gap that could have been seen."""
    gap, seen = gap_of(row, f"{side}_"), least_seen(row[f"{side}_minimal_detectable"])
    return f"{gap} [{seen}]" if gap and seen else gap


def drift_table(rows: Records, *, least: float) -> Block:
    """How well roles are told apart."""
    cells = [
        (
            str(row["comparison"]),
            str(row["features"]),
            plain(real(row["auroc"])),
            plain(real(row["chance_high"])),
            p_value(real(row["p_adjusted"]), least=least),
            str(row["verdict"]),
            word(row["leading"]) or word(row["caution"]),
        )
        for row in rows
    ]
    heads = ("roles", "by", "AUROC", "chance up to", "p, Holm", "verdict", "leading")
    return table("How well roles are told apart", heads, cells, align="llrrrll")


def label_table(rows: Records) -> Block:
    """The labels to look at first."""
    cells = [
        (
            str(row["sample_id"]),
            str(row["role"]),
            f"{row['given']} ({plain(real(row['p_given']))})",
            f"{row['suggested']} ({plain(real(row['p_suggested']))})",
            "yes" if row["flagged"] else "no",
        )
        for row in rows[:LABELS]
    ]
    heads = ("sample", "role", "given (probability)", "suggested (probability)", "flagged")
    return table(f"The first {len(cells)} labels to look at", heads, cells, align="lllll")
