"""What sections are written from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from medaudit.params import Section
from medaudit.stats.bootstrap import IntervalParams

if TYPE_CHECKING:
    from medaudit.reporting.checklist import Checklist
    from medaudit.reporting.evidence import Evidence
    from medaudit.reporting.reproduction import Commit

METHODS = {
    "adjusted": "percentiles, wider where few groups carry a number",
    "percentile": "percentiles",
    "bca": "BCa where the measure is smooth",
}


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
    """Evidence, parameters, the hand-written checklist if any, and where things come from.

    Args:
        evidence: what the stages found.
        params: of the report.
        checklist: questions before deployment; `None` for predictions that came without.
        commit: where the code stood.
        source: where the predictions came from.
    """

    evidence: Evidence
    params: ReportParams
    checklist: Checklist | None
    commit: Commit
    source: str

    @property
    def level(self) -> str:
        """Level of all intervals, in words."""
        section = self.evidence.params.get("intervals") or {}
        return f"{100 * float(section.get('level', 0.95)):g} %"

    @property
    def intervals(self) -> str:
        """How intervals were made, in words."""
        section = self.evidence.params.get("intervals") or {}
        method = str(section.get("method", IntervalParams.model_fields["method"].default))
        return f"{self.level} intervals of a bootstrap over groups ({METHODS.get(method, method)})"
