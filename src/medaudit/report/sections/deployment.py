"""Sections 7 and 8: the deployment checklist, and how to get the same numbers again."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from medaudit.core.layout import PROFILES, RUNTIME
from medaudit.report import checklist, formatting, reproduction
from medaudit.report.blocks import Block, text
from medaudit.report.blocks import section as part
from medaudit.report.formatting import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medaudit.report.blocks import Context
    from medaudit.report.reproduction import Spread
    from medaudit.report.results import Results


def section(context: Context) -> Block | None:
    """Every question with its status and the number behind it."""
    if context.checklist is None:
        return None
    answers = [(item, checklist.answer(item, context.results)) for item in context.checklist.items]
    counts = [
        f"{sum(found.status == status for _, found in answers)} {status}"
        for status in checklist.STATUSES
    ]
    rows = [
        {
            "question": item.question,
            "status": found.status,
            "basis": found.basis,
            "note": item.note if item.check else "",
        }
        for item, found in answers
    ]
    return part(
        "Deployment checklist",
        text(
            f"{', '.join(counts)}. Questions and bounds are written by hand before the run "
            f"(report/deployment_checklist.yaml). Met: the whole interval is on the good side of "
            f"the bound, so that a loss may be shown, but a smaller one than is tolerated. Not "
            f"met: the whole interval is on the bad side. Inconclusive: neither. Not for clinical "
            f"use, whatever the list says."
        ),
        {"kind": "checklist", "rows": rows},
    )


SUMMARY = (
    "macro_auroc",
    "balanced_accuracy",
    "accuracy",
    "critical_sensitivity",
    "critical_specificity",
)


def reproduction_section(context: Context) -> Block:
    """Commands, machine, versions, seeds, parameters."""
    results = context.results
    return part(
        "Reproduction notes",
        *(run_here(context) if "data" in results.params else made_elsewhere(context)),
        text(f"Seeds: {seeds(results)}. {uncertainty(results)}"),
        {
            "kind": "params",
            "caption": "All parameters (params.yaml)",
            "rows": [list(row) for row in reproduction.flat(results.params)],
        },
    )


def run_here(context: Context) -> list[Block]:
    """How this pipeline is run again."""
    results = context.results
    machines = "; ".join(reproduction.machines(results))
    profiles = results.root / PROFILES
    commands = reproduction.commands(context.commit, results.params, profiles=profiles)
    return [
        text(f"Commit {context.commit.words}. Machine: {machines}."),
        {"kind": "code", "lines": commands},
        text(f"{RUNTIME}/ holds how long each stage took; the same run gives the same report."),
        text(f"Versions: {told(reproduction.versions(results))}."),
    ]


def told(pairs: Iterable[tuple[str, str]]) -> str:
    """Names with what belongs to them, one after the other."""
    return ", ".join(f"{name} {value}" for name, value in pairs)


def uncertainty(results: Results) -> str:
    """Which part of the uncertainty the intervals hold, and what another training would add."""
    held = "Intervals hold the sampling of the test groups, not the training of the model."
    if "train" not in results.stages:
        return held
    if not results.params.get("train", {}).get("epochs"):
        return f"{held} Another kind of processor moves the numbers of given weights by rounding."
    moved = (
        "Another seed, number of threads or kind of processor trains another model; how far that "
        "moves the numbers was"
    )
    spread = reproduction.measured(results.params, results.root / reproduction.SPREADS)
    if spread is None:
        return f"{held} {moved} not measured."
    return f"{held} {moved} measured with {spread.seeds} seeds: {deviations(results, spread)}."


def deviations(results: Results, spread: Spread) -> str:
    """Standard deviations between seeds, of what the clean test role is summed up by."""
    found = {name: spread.numbers.get(f"evaluate.{name}") for name in SUMMARY}
    each = [
        f"{formatting.short(name, results.critical)} {plain(variation.sd)}"
        for name, variation in found.items()
        if variation is not None
    ]
    return f"standard deviation of {', '.join(each)}"


def made_elsewhere(context: Context) -> list[Block]:
    """What an audit of given predictions rests on."""
    return [
        text(
            f"Predictions: {context.source}. medaudit {version('medaudit')} read them; nothing was "
            f"trained or predicted here. The same files, parameters and seeds give the same "
            f"numbers."
        )
    ]


def seeds(results: Results) -> str:
    """Every seed with its name."""
    found = reproduction.seeds(results.params)
    return ", ".join(f"{name} {value}" for name, value in found) or "those of the defaults"
