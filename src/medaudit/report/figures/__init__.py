"""Every figure of the report, by file stem."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.report import style
from medaudit.report.figures import calibration_and_selection, performance, stress, taxonomy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.figure import Figure

    from medaudit.report.results import Results

FIGURES: dict[str, Callable[[Results], Figure | None]] = {
    "class_counts": performance.class_counts_figure,
    "training": performance.training_figure,
    "per_class": performance.per_class_figure,
    "curves": performance.curves_figure,
    "confusion": performance.confusion_figure,
    "threshold": performance.threshold_figure,
    "thresholds": performance.thresholds_figure,
    "severity": stress.severity_figure,
    "delta": stress.delta_figure,
    "predicted": stress.predicted_figure,
    "slices": stress.slices_figure,
    "outcome_statistics": taxonomy.outcome_statistics_figure,
    "reliability": calibration_and_selection.reliability_figure,
    "risk_coverage": calibration_and_selection.risk_coverage_figure,
}


def draw_all(results: Results, folder: Path) -> dict[str, Path]:
    """Write every figure that the results allow as SVG; returns the paths by stem."""
    written = {}
    with style.styled():
        for name, make in FIGURES.items():
            figure = make(results)
            if figure is not None:
                written[name] = folder / f"{name}.svg"
                style.save(figure, written[name])
    return written
