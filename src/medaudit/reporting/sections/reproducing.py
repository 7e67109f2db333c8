"""Section 8: how to get the same numbers again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.reporting import reproduction
from medaudit.reporting.blocks import Block, pair, table, text
from medaudit.reporting.blocks import section as part

if TYPE_CHECKING:
    from medaudit.reporting.context import Context


def section(context: Context) -> Block:
    """Commands, machine, times, versions, seeds, parameters."""
    evidence = context.evidence
    machines = "; ".join(reproduction.machines(evidence))
    profiles = evidence.root / reproduction.PROFILES
    commands = reproduction.commands(context.commit, evidence.params, profiles=profiles)
    return part(
        "Reproduction notes",
        text(f"Commit {context.commit.words}. Machine: {machines}."),
        {"kind": "code", "lines": commands},
        pair(
            table("Wall clock", ("stage", "time"), reproduction.clock(evidence)),
            table("Versions", ("package", "version"), reproduction.versions(evidence)),
        ),
        text(
            "Seeds: "
            + ", ".join(f"{name} {value}" for name, value in reproduction.seeds(evidence.params))
            + ". On another number of threads or kind of processor the last digits may differ."
        ),
        {
            "kind": "params",
            "caption": "All parameters (params.yaml)",
            "rows": [list(row) for row in reproduction.flat(evidence.params)],
        },
    )
