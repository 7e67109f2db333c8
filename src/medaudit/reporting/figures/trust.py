"""Figures of calibration and of selective prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medaudit.reporting import labels, style
from medaudit.reporting.numbers import between, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medaudit.reporting.evidence import Evidence

METHOD_COLOURS = (style.BLUE, "#e0962f", "#5b9a68", "#8a5aa8", style.GREY)


def reliability_figure(evidence: Evidence) -> Figure:
    """A reliability diagram per calibrator for the main event of the task."""
    table = evidence.table("calibrate", "reliability")
    table = table[table["event"] == table["event"].iloc[0]]
    names = list(table["stage"].unique())
    figure, axes = style.canvas(
        max(style.HALF, 1.65 * len(names)), 2.15, columns=len(names), sharey=True
    )
    for ax, name in zip(axes, names, strict=True):
        draw_reliability(table[table["stage"] == name], ax)
        words = f"{labels.words(name)}\n{_ece_line(evidence, name)}"
        ax.set_title(words, fontsize=6, fontweight="normal")
    axes[0].set_ylabel("observed frequency")
    return figure


def draw_reliability(table: pd.DataFrame, ax: Axes) -> None:
    """Points by bin with their distance to the diagonal; grey bars tell where the cases are."""
    filled = table[table["count"] > 0]
    share = filled["count"] / filled["count"].sum()
    middle = (filled["bin_lo"] + filled["bin_hi"]) / 2
    width = (filled["bin_hi"] - filled["bin_lo"]).iloc[0] * 0.92
    ax.bar(middle, share, width=width, color=style.LIGHT)
    ax.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.7, linestyle=":")
    ends = filled[["confidence", "accuracy"]].to_numpy(dtype=np.float64)
    for stated, observed in ends:
        ax.plot([stated, stated], [stated, observed], color=style.RED, linewidth=0.8)
    ax.plot(ends[:, 0], ends[:, 1], "o-", color=style.BLUE, markersize=3, linewidth=0.8)
    ax.set(xlabel="stated probability", xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])


def _ece_line(evidence: Evidence, calibrator: str) -> str:
    ece = evidence.number("calibrate", "summary", calibrator=calibrator, metric="ece")
    floors = evidence.rows("calibrate", "noise_floor", calibrator=calibrator)
    floor = plain(float(floors[0]["p95"])) if floors else "unknown"
    return f"ECE {plain(ece.value)} ({between(ece.low, ece.high)})\nnoise floor p95 {floor}"


def risk_coverage_figure(evidence: Evidence) -> Figure:
    """Risk over coverage, and the recall of the critical class among the kept."""
    recall = evidence.table("selective", "by_coverage")
    wide = "critical_recall_kept" in recall
    figure, axes = style.canvas(style.HALF, 2.15, columns=2 if wide else 1)
    table = evidence.table("selective", "risk_coverage")
    deferral = evidence.table("selective", "deferral")
    colours = dict(zip(table["method"].unique(), METHOD_COLOURS, strict=False))
    draw_risk_coverage(table, deferral, axes[0], colours=colours)
    if wide:
        draw_recall(recall, deferral.head(1), axes[1], critical=evidence.critical)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(colours))
    return figure


def draw_risk_coverage(
    table: pd.DataFrame, deferral: pd.DataFrame, ax: Axes, *, colours: Mapping[str, str]
) -> None:
    """One line per confidence score; crosses mark the deferral that calibration froze."""
    for name, colour in colours.items():
        part = table[table["method"] == name]
        ax.plot(part["coverage"], part["risk"], color=colour, label=labels.words(name))
        for row in deferral[deferral["score"] == name].itertuples():
            ends = [[row.selective_risk_low], [row.selective_risk_high]]
            ax.plot([row.coverage] * 2, [ends[0][0], ends[1][0]], color=colour, linewidth=0.8)
            ax.plot(row.coverage, row.selective_risk, "x", color=colour, markersize=4)
    ax.set(xlabel="coverage", ylabel="risk among the kept", title="Risk")
    ax.set(xlim=(0, 1.02), ylim=(0, None))
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.grid()


def draw_recall(
    table: pd.DataFrame, deferral: pd.DataFrame, ax: Axes, *, critical: str | None
) -> None:
    """Recall of the critical class among the kept; the cross is the frozen deferral."""
    ax.plot(table["asked"], table["critical_recall_kept"], color=style.RED)
    for row in deferral.itertuples():
        ends = [row.critical_recall_kept_low, row.critical_recall_kept_high]
        ax.plot([row.coverage] * 2, ends, color=style.RED, linewidth=0.8)
        ax.plot(row.coverage, row.critical_recall_kept, "x", color=style.RED, markersize=4)
    ax.set(xlabel="coverage", ylabel="recall among the kept", title=f"Recall of {critical}")
    ax.set(ylim=(0, 1.02))
    ax.grid()
