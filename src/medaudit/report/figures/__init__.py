"""Every figure of the report, by file stem."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from medaudit.core.errors import making
from medaudit.report import style
from medaudit.report.figures import calibration_and_selection, performance, stress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
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
    "outcome_statistics": performance.outcome_statistics_figure,
    "reliability": calibration_and_selection.reliability_figure,
    "risk_coverage": calibration_and_selection.risk_coverage_figure,
}


PAIR = ["condition", "corruption"]
LONGEST_NAME = 28
"""Characters of a class or condition that leave room for a panel beside them."""


def draw_all(results: Results, folder: Path) -> dict[str, Path]:
    """Write every figure that the results allow as SVG; returns the paths by stem."""
    written = {}
    with style.styled():
        for name in FIGURES:
            with making(f"the figure {name}"):
                figure = draw(name, results)
                if figure is not None:
                    written[name] = folder / f"{name}.svg"
                    style.save(figure, written[name])
    return written


def draw(name: str, results: Results) -> Figure | None:
    """One figure, or `None` where the results have nothing for it; within `style.styled()`."""
    return FIGURES[name](short_named(results))


def short_named(results: Results) -> Results:
    """The results with names of classes and conditions cut to what figures have room for."""
    conditions = results.series.get("stress", {}).get("conditions")
    corruptions = {} if conditions is None else dict(conditions[PAIR].astype(str).to_numpy())
    cut = shortened([*results.classes, *corruptions.values()])
    if not cut:
        return results
    for condition, corruption in corruptions.items():
        if corruption in cut:
            cut[condition] = cut[corruption] + condition.removeprefix(corruption)
    schema = results.preparation.schema
    classes = tuple(cut.get(name, name) for name in schema.classes)
    critical = cut.get(schema.critical_class or "", schema.critical_class)
    schema = replace(schema, classes=classes, critical_class=critical)
    series = {
        stage: {name: table.replace(cut) for name, table in tables.items()}
        for stage, tables in results.series.items()
    }
    return replace(results, preparation=replace(results.preparation, schema=schema), series=series)


def shortened(names: Iterable[str]) -> dict[str, str]:
    """Those names that are too long, without their middle, and numbered where that is not enough.

    >>> [len(short) for short in shortened(["nv", "a" * 40, "a" * 50]).values()]
    [27, 29]
    """
    names = list(dict.fromkeys(names))
    half, found = (LONGEST_NAME - 1) // 2, dict[str, str]()
    for name in names:
        if len(name) > LONGEST_NAME:
            short = f"{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}"
            taken = {*names, *found.values()}
            numbered = (f"{short} {number}" for number in range(2, len(names) + 2))
            found[name] = next(each for each in (short, *numbered) if each not in taken)
    return found
