"""The parts that a report is made of, as plain data for both templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Block = dict[str, Any]


def section(title: str, *blocks: Block) -> Block:
    """A numbered part of the report."""
    return {"title": title, "blocks": list(blocks)}


def text(words: str) -> Block:
    """A paragraph."""
    return {"kind": "text", "text": words}


def note(words: str) -> Block:
    """A footnote."""
    return {"kind": "note", "text": words}


def bullets(items: Iterable[str]) -> Block:
    """A list of sentences."""
    return {"kind": "bullets", "items": list(items)}


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    align: str = "",
    widths: Sequence[float] = (),
    note: str = "",
) -> Block:
    """A table of printed values.

    Args:
        caption: what it shows, with units.
        columns: headings.
        rows: cells as they are printed.
        align: `l` or `r` per column; by default the first is left and the rest right.
        widths: relative widths where cells hold sentences; by default columns fit their content.
        note: a line below.
    """
    return {
        "kind": "table",
        "caption": caption,
        "columns": list(columns),
        "rows": [list(row) for row in rows],
        "align": list(align or "l" + "r" * (len(columns) - 1)),
        "widths": list(widths),
        "note": note,
    }


def figure(name: str, caption: str) -> Block:
    """A figure by its file stem."""
    return {"kind": "figure", "name": name, "caption": caption}


def pair(left: Block, right: Block) -> Block:
    """Two blocks side by side where there is room; one that stays alone keeps its half."""
    return {"kind": "pair", "blocks": [left, right]}


def stack(*blocks: Block) -> Block:
    """Blocks one below the other, as one half of a pair."""
    return {"kind": "stack", "blocks": list(blocks)}


def details(summary: str, *blocks: Block) -> Block:
    """Blocks that only the HTML page shows, folded."""
    return {"kind": "details", "summary": summary, "blocks": list(blocks)}


def pruned(block: Block, drawn: Iterable[str]) -> Block | None:
    """The block without figures that were not drawn; `None` where nothing is left."""
    if block["kind"] == "figure":
        return block if block["name"] in set(drawn) else None
    if "blocks" not in block:
        return block
    left = [kept for each in block["blocks"] if (kept := pruned(each, drawn)) is not None]
    return {**block, "blocks": left} if left else None
