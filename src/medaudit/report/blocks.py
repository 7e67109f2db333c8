"""The parts of a report as plain data for both templates, and what sections are written from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field

from medaudit.core.privacy import PrivacyParams
from medaudit.stats.bootstrap import IntervalParams

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from medaudit.report.checklist import Checklist
    from medaudit.report.reproduction import Commit
    from medaudit.report.results import Results

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


def gallery(file: str, caption: str, captions: Iterable[str]) -> Block:
    """A strip of images that belong together, with what is said below each of them."""
    return {"kind": "gallery", "file": file, "caption": caption, "captions": list(captions)}


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


METHODS = {
    "adjusted": "percentiles, wider where few groups carry a number",
    "percentile": "percentiles",
    "bca": "BCa where the measure is smooth",
}


Limit = Annotated[float, Field(ge=-1_000_000, le=1_000_000)]


class ReportParams(PrivacyParams):
    """What the report is called and what it may show.

    Args:
        title: of the report.
        privacy: what is said of patients; see `PrivacyParams`.
        case_images: `show`, or `withhold` for a copy that must not hold images of patients.
        expected: for each measure of the clean test role the range in which comparable studies
            lie; a value outside raises an alert.
    """

    model_config = ConfigDict(extra="forbid")

    title: str = Field("Audit of a medical image model", min_length=1)
    case_images: Literal["show", "withhold"] = "show"
    expected: dict[str, tuple[Limit, Limit]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """Results, parameters, the hand-written checklist if any, and where things come from.

    Args:
        results: what the stages found.
        params: of the report.
        checklist: questions before deployment; `None` for predictions that came without.
        commit: where the code stood.
        source: where the predictions came from.
    """

    results: Results
    params: ReportParams
    checklist: Checklist | None
    commit: Commit
    source: str

    @property
    def withheld(self) -> str:
        """Why no image of the data is shown; empty where they are."""
        if self.results.aggregate:
            return "No image is shown: report.privacy is aggregate."
        return "" if self.params.case_images == "show" else "Images are withheld in this copy."

    @property
    def level(self) -> str:
        """Level of all intervals, in words."""
        section = self.results.params.get("intervals") or {}
        return f"{100 * float(section.get('level', 0.95)):g} %"

    @property
    def intervals(self) -> str:
        """How intervals were made, in words."""
        section = self.results.params.get("intervals") or {}
        method = str(section.get("method", IntervalParams.model_fields["method"].default))
        return f"{self.level} intervals of a bootstrap over groups ({METHODS.get(method, method)})"
