"""Every figure of the report, by file stem."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.reporting import style
from medaudit.reporting.figures import data, performance, slices, stress, trust

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.figure import Figure

    from medaudit.reporting.evidence import Evidence

FIGURES: dict[str, Callable[[Evidence], Figure | None]] = {
    "class_counts": data.class_counts_figure,
    "training": data.training_figure,
    "per_class": performance.per_class_figure,
    "curves": performance.curves_figure,
    "confusion": performance.confusion_figure,
    "threshold": performance.threshold_figure,
    "severity": stress.severity_figure,
    "delta": stress.delta_figure,
    "predicted": stress.predicted_figure,
    "slices": slices.slices_figure,
    "reliability": trust.reliability_figure,
    "risk_coverage": trust.risk_coverage_figure,
}


def draw_all(evidence: Evidence, folder: Path) -> dict[str, Path]:
    """Write every figure that the evidence allows as SVG; returns the paths by stem."""
    written = {}
    with style.styled():
        for name, make in FIGURES.items():
            figure = make(evidence)
            if figure is not None:
                written[name] = folder / f"{name}.svg"
                style.save(figure, written[name])
    return written
