"""The figures of the report, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medaudit.core.errors import DataError
from medaudit.report import style
from medaudit.report.figures import FIGURES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from medaudit.report.results import Results

NEEDS = {
    "threshold": "name the critical class with critical=...",
    "severity": "give the outputs under corruptions or shifts with conditions=...",
    "delta": "give the outputs under corruptions or shifts with conditions=...",
    "predicted": "give the outputs under corruptions or shifts with conditions=...",
    "slices": "give metadata=..., and slices that are large enough (audit.findings['slice'])",
}


@dataclass(frozen=True, eq=False)
class Plots:
    """Figures of an audit, drawn by what draws those of its report.

    Every method returns a matplotlib figure, to be shown in a notebook or saved with `savefig`, and
    raises a `DataError` where the audit has nothing to draw.

    Args:
        results: what the audits found.
    """

    results: Results

    def per_class(self) -> Figure:
        """Every class against the rest, with intervals."""
        return self._drawn("per_class")

    def curves(self) -> Figure:
        """ROC and precision-recall curves of every class."""
        return self._drawn("curves")

    def confusion(self) -> Figure:
        """Share of the samples with every true class for which each class is called."""
        return self._drawn("confusion")

    def threshold(self) -> Figure:
        """Sensitivity and specificity of the critical class over thresholds."""
        return self._drawn("threshold")

    def severity(self) -> Figure:
        """Measures over the severity of every corruption."""
        return self._drawn("severity")

    def delta(self) -> Figure:
        """Condition minus clean, with paired intervals."""
        return self._drawn("delta")

    def predicted(self) -> Figure:
        """What is called under clean and under every condition."""
        return self._drawn("predicted")

    def slices(self) -> Figure:
        """A forest of slices, with the value on all of the test role as a line."""
        return self._drawn("slices")

    def reliability(self) -> Figure:
        """Reliability diagrams, a line per calibrator."""
        return self._drawn("reliability")

    def risk_coverage(self) -> Figure:
        """Risk over coverage, a line per confidence score, and what the frozen rule realises."""
        return self._drawn("risk_coverage")

    def _drawn(self, name: str) -> Figure:
        with style.styled():
            figure = FIGURES[name](self.results)
        if figure is None:
            raise DataError(f"nothing to draw for {name!r}; {NEEDS.get(name, 'no rows for it')}")
        return figure
