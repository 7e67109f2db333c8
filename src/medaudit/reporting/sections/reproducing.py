"""Section 8: how to get the same numbers again."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from medaudit.reporting import reproduction
from medaudit.reporting.blocks import Block, pair, table, text
from medaudit.reporting.blocks import section as part

if TYPE_CHECKING:
    from medaudit.reporting.context import Context
    from medaudit.reporting.evidence import Evidence


def section(context: Context) -> Block:
    """Commands, machine, times, versions, seeds, parameters."""
    evidence = context.evidence
    return part(
        "Reproduction notes",
        *(run_here(context) if "data" in evidence.params else made_elsewhere(context)),
        text(
            f"Seeds: {seeds(evidence)}. On another number of threads or kind of processor the last "
            f"digits may differ."
        ),
        {
            "kind": "params",
            "caption": "All parameters (params.yaml)",
            "rows": [list(row) for row in reproduction.flat(evidence.params)],
        },
    )


def run_here(context: Context) -> list[Block]:
    """How this pipeline is run again, and what it took."""
    evidence = context.evidence
    machines = "; ".join(reproduction.machines(evidence))
    profiles = evidence.root / reproduction.PROFILES
    commands = reproduction.commands(context.commit, evidence.params, profiles=profiles)
    return [
        text(f"Commit {context.commit.words}. Machine: {machines}."),
        {"kind": "code", "lines": commands},
        pair(
            table("Wall clock", ("stage", "time"), reproduction.clock(evidence)),
            table("Versions", ("package", "version"), reproduction.versions(evidence)),
        ),
    ]


def made_elsewhere(context: Context) -> list[Block]:
    """What an audit of given predictions rests on."""
    return [
        text(
            f"Predictions: {context.source}. medaudit {version('medaudit')} read them; nothing was "
            f"trained or predicted here. The same files, parameters and seeds give the same "
            f"numbers."
        )
    ]


def seeds(evidence: Evidence) -> str:
    """Every seed with its name."""
    found = reproduction.seeds(evidence.params)
    return ", ".join(f"{name} {value}" for name, value in found) or "those of the defaults"
