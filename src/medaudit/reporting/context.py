"""What sections are written from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from medaudit.params import Section

if TYPE_CHECKING:
    from medaudit.reporting.checklist import Checklist
    from medaudit.reporting.evidence import Evidence
    from medaudit.reporting.reproduction import Commit


class ReportParams(Section):
    """What the report is called and what it may show.

    Args:
        title: of the report.
        case_images: `show`, or `withhold` for a copy that must not hold images of patients.
        expected: for each measure of the clean test role the range in which comparable studies
            lie; a value outside raises an alert.
    """

    section: ClassVar[str] = "report"

    title: str = Field("Audit of a medical image model", min_length=1)
    case_images: Literal["show", "withhold"] = "show"
    expected: dict[str, tuple[float, float]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """Evidence, parameters, the hand-written checklist, and where the code stood."""

    evidence: Evidence
    params: ReportParams
    checklist: Checklist
    commit: Commit

    @property
    def level(self) -> str:
        """Level of all intervals, in words."""
        section = self.evidence.params.get("intervals") or {}
        return f"{100 * float(section.get('level', 0.95)):g} %"
