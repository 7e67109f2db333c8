"""Figures of calibration and of selective prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from medaudit.core.cell_rules import LEFT_OUT
from medaudit.report import formatting, style
from medaudit.report.formatting import Number, plain
from medaudit.report.results import ece_and_floor, realised_deferral

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medaudit.report.results import Results

METHOD_COLOURS = (style.BLUE, "#8a5aa8", "#5aa7a7", "#7aa6c9", style.GREY)
IN_HALF, IN_FULL = 2, 5
"""Panels side by side in half of the page and in all of it."""
NEARLY_WHOLE = 0.6


def reliability_figure(results: Results) -> Figure | None:
    """A reliability diagram per event, with a line per calibrator."""
    table = results.table("calibrate", "reliability")
    if table.empty:
        return None
    events, methods = (list(table[column].unique()) for column in ("event", "stage"))
    colours = dict(zip(methods, METHOD_COLOURS, strict=False))
    half = len(events) <= IN_HALF
    columns = IN_HALF if half else min(IN_FULL, len(events))
    lines = -(-len(events) // columns)
    size = (style.HALF, 2.3) if half else (style.FULL, 0.3 + 1.48 * lines)
    figure, axes = style.canvas(*size, rows=lines, columns=columns)
    for ax, name in zip(axes, events, strict=False):
        draw_reliability(table[table["event"] == name], ax, colours=colours)
        ax.set_title(title(results, str(name)), fontsize=5.7, fontweight="normal", x=-0.18)
    style.blank(axes[len(events) :])
    for ax in axes[::columns]:
        ax.set_ylabel("observed frequency")
    for ax in axes[max(0, len(events) - columns) : len(events)]:
        ax.set_xlabel("stated probability")
    drawn = (ax.get_legend_handles_labels() for ax in axes)
    handles, names = max(drawn, key=lambda found: len(found[1]))
    figure.legend(handles, names, loc="outside lower center", ncols=len(methods))
    return figure


def draw_reliability(table: pd.DataFrame, ax: Axes, *, colours: Mapping[str, str]) -> None:
    """Points by bin, a line per calibrator; grey bars tell where the cases are.

    Axes end where the points do: probabilities of a rare label never come near 1. Bins of equal
    mass hold equally many cases, and bars would say nothing.
    """
    filled = table[table["count"] > 0]
    if filled.empty:
        style.say(ax, LEFT_OUT)
        return
    end = reach(filled)
    ax.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.7, linestyle=":")
    draw_masses(filled[filled["stage"] == filled["stage"].iloc[0]], ax)
    for name, colour in colours.items():
        part = filled[filled["stage"] == name]
        ax.plot(
            part["confidence"],
            part["accuracy"],
            "o-",
            color=colour,
            markersize=2.4,
            linewidth=0.8,
            label=formatting.words(name),
        )
    ax.set(xlim=(0, end), ylim=(0, end), aspect="equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(3))


def reach(table: pd.DataFrame) -> float:
    """Where the axes end: at 1, or a little beyond the outermost point."""
    outermost = float(table[["confidence", "accuracy"]].to_numpy(dtype=np.float64).max())
    return 1.02 if outermost > NEARLY_WHOLE else 1.12 * max(outermost, 1e-3)


def draw_masses(table: pd.DataFrame, ax: Axes) -> None:
    """Share of the cases per bin, for bins of equal width."""
    width = (table["bin_hi"] - table["bin_lo"]).to_numpy(dtype=np.float64)
    if len(width) == 0 or not np.allclose(width, width[0], atol=1e-4):
        return
    share = table["count"] / table["count"].sum()
    middle = (table["bin_lo"] + table["bin_hi"]) / 2
    ax.bar(middle, share, width=0.92 * width, color=style.LIGHT)


def title(results: Results, event: str) -> str:
    """The event with its ECE before calibration, and the floor under it."""
    ece, p95 = ece_and_floor(results, event)
    floor = f"floor {plain(p95)}" if np.isfinite(p95) else ""
    value = plain(ece.value) if ece.defined else ece.absent
    return f"{formatting.event(event)}\nECE {value}\n{floor}".rstrip()


def risk_coverage_figure(results: Results) -> Figure | None:
    """Risk over coverage; beside it the critical recall among the kept, or generalised risk."""
    table = results.table("selective", "risk_coverage")
    if table.empty:
        return None
    recall = results.table("selective", "by_coverage")
    figure, (left, right) = style.canvas(style.HALF, 2.15, columns=2)
    colours = dict(zip(table["method"].unique(), METHOD_COLOURS, strict=False))
    draw_curves(table, left, column="risk", colours=colours)
    left.set(ylabel="risk among the kept", title="Risk")
    for name, colour in colours.items():
        draw_cross(results, left, "selective_risk", colour=colour, score=name)
    if results.critical is not None:
        draw_recall(recall, right, critical=results.critical)
        draw_cross(results, right, "critical_recall_kept", colour=style.RED)
    else:
        draw_curves(table, right, column="generalised_risk", colours=colours)
        right.set(ylabel="risk of a kept failure", title="Generalised risk")
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(colours))
    return figure


def draw_curves(table: pd.DataFrame, ax: Axes, *, column: str, colours: Mapping[str, str]) -> None:
    """One line per confidence score over coverage."""
    for name, colour in colours.items():
        part = table[table["method"] == name]
        ax.plot(part["coverage"], part[column], color=colour, label=formatting.words(name))
    ax.set(xlabel="coverage", xlim=(0, 1.02), ylim=(0, None))
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.grid()


def draw_recall(table: pd.DataFrame, ax: Axes, *, critical: str | None) -> None:
    """Recall of the critical class among the kept."""
    if len(style.left_out(table)) and table["critical_recall_kept"].isna().all():
        style.say(ax, LEFT_OUT)
    ax.plot(table["asked"], table["critical_recall_kept"], color=style.RED)
    ax.set(xlabel="coverage", ylabel="recall among the kept", title=f"Recall of {critical}")
    ax.set(ylim=(0, 1.02))
    ax.grid()


def draw_cross(
    results: Results, ax: Axes, metric: str, *, colour: str, score: str | None = None
) -> None:
    """The deferral that calibration froze, with its interval."""
    place = realised_deferral(results, "coverage", score).value
    found: Number = realised_deferral(results, metric, score)
    ax.plot([place] * 2, [found.low, found.high], color=colour, linewidth=0.8)
    ax.plot(place, found.value, "x", color=colour, markersize=4)
