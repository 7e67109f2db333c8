"""Figures of the clean test role."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medaudit.reporting import labels, style
from medaudit.reporting.numbers import MINUS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medaudit.reporting.evidence import Evidence

PANELS = ("auroc", "auprc", "recall", "sensitivity")
SHOWN_RATE = 0.005


def per_class_figure(evidence: Evidence) -> Figure:
    """Every class against the rest, with intervals."""
    table = evidence.table("evaluate", "per_class")
    metrics = [name for name in PANELS if name in set(table["metric"])]
    height = 0.52 + 0.165 * len(evidence.classes)
    figure, axes = style.canvas(style.FULL, height, columns=len(metrics), sharey=True)
    for ax, name in zip(axes, metrics, strict=True):
        draw_per_class(table[table["metric"] == name], ax, metric=name, critical=evidence.critical)
    return figure


def draw_per_class(table: pd.DataFrame, ax: Axes, *, metric: str, critical: str | None) -> None:
    """One row per class: value with its interval; the critical class in red."""
    names = [f"{c} ({int(n):,})" for c, n in zip(table["class"], table["n_positive"], strict=True)]
    for place, row in enumerate(table.itertuples()):
        colour = style.RED if row[1] == critical else style.BLUE
        draw_interval(ax, place, row.value, row.low, row.high, colour=colour)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    title = "Sensitivity (frozen)" if metric == "sensitivity" else labels.metric(metric, None)
    ax.set(xlim=(-0.02, 1.02), title=title)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    ax.grid(axis="x")


def draw_interval(
    ax: Axes,
    place: float,
    value: object,
    low: object,
    high: object,
    *,
    colour: str,
    filled: bool = True,
) -> None:
    """A point with its interval on one row; an undefined one is left out."""
    ends = np.array([value, low, high], dtype=np.float64)
    if not np.isfinite(ends).all():
        return
    ax.plot(ends[1:], [place, place], color=colour, linewidth=1.1, solid_capstyle="butt")
    face = colour if filled else "white"
    ax.plot(ends[0], place, "o", markersize=3.2, color=colour, markerfacecolor=face, mew=0.8)


def curves_figure(evidence: Evidence) -> Figure | None:
    """ROC and precision-recall curves of every class."""
    roc = evidence.table("evaluate", "roc")
    pr = evidence.table("evaluate", "precision_recall")
    if roc.empty or pr.empty:
        return None
    figure, (left, right) = style.canvas(style.HALF, 2.15, columns=2)
    colours = style.class_colours(evidence.classes)
    draw_curves(roc, left, x="fpr", y="tpr", colours=colours, critical=evidence.critical)
    draw_curves(pr, right, x="recall", y="precision", colours=colours, critical=evidence.critical)
    left.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.6, linestyle=":")
    left.set(xlabel=f"1 {MINUS} specificity", ylabel="sensitivity", title="ROC")
    right.set(xlabel="recall", ylabel="precision", title="Precision, recall")
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, columnspacing=1.0)
    return figure


def draw_curves(
    table: pd.DataFrame,
    ax: Axes,
    *,
    x: str,
    y: str,
    colours: Mapping[str, str],
    critical: str | None,
) -> None:
    """One line per class, the critical one thick."""
    for name, colour in colours.items():
        part = table[table["class"] == name]
        if len(part):
            width = 2.0 if name == critical else 0.9
            ax.plot(part[x], part[y], color=colour, linewidth=width, label=name)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.grid()


def confusion_figure(evidence: Evidence) -> Figure | None:
    """Share of every true class that is called each class."""
    table = evidence.table("evaluate", "confusion")
    if table.empty:
        return None
    figure, (ax,) = style.canvas(style.HALF, 0.75 + 0.22 * len(evidence.classes))
    draw_confusion(table, ax)
    return figure


def draw_confusion(table: pd.DataFrame, ax: Axes) -> None:
    """Rows are the truth and add up to 1; the row label tells how many there are."""
    rates = table.pivot_table(index="truth", columns="predicted", values="rate", sort=False)
    totals = table.groupby("truth", sort=False)["count"].sum()
    ax.imshow(rates.to_numpy(dtype=np.float64), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (i, j), rate in np.ndenumerate(rates.to_numpy(dtype=np.float64)):
        if rate >= SHOWN_RATE:
            shade = "white" if rate > 0.55 else "#222222"
            ax.text(j, i, f"{rate:.2f}", ha="center", va="center", fontsize=6, color=shade)
    ax.set_xticks(range(rates.shape[1]), list(rates.columns))
    ax.set_yticks(range(len(rates)), [f"{c} ({totals[c]:,})" for c in rates.index])
    ax.set(xlabel="called", ylabel="truth (n)")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def threshold_figure(evidence: Evidence) -> Figure | None:
    """Sensitivity and specificity of the critical class over thresholds."""
    table = evidence.table("evaluate", "threshold")
    if table.empty:
        return None
    figure, (ax,) = style.canvas(style.HALF, 2.15)
    draw_threshold(table, ax, target=evidence.points.specificity)
    ax.set_title(f"Critical class {evidence.critical} over thresholds")
    figure.legend(loc="outside lower center", ncols=4, columnspacing=1.0)
    return figure


def draw_threshold(table: pd.DataFrame, ax: Axes, *, target: float) -> None:
    """Both rates, the threshold frozen on calibration, and the specificity it was chosen for."""
    for rate, colour in {"sensitivity": style.RED, "specificity": style.BLUE}.items():
        part = table[table["rate"] == rate]
        ax.plot(part["threshold"], part["value"], color=colour, label=rate)
    frozen = float(table["frozen"].iloc[0])
    ax.axhline(target, color=style.BLUE, linewidth=0.7, linestyle=":", label=f"target {target:g}")
    if np.isfinite(frozen):
        name = f"frozen at {frozen:.3f}"
        ax.axvline(frozen, color="#222222", linewidth=0.9, linestyle="--", label=name)
    ax.set(xlabel="threshold on the probability", ylabel="rate", xlim=(0, 1), ylim=(-0.02, 1.02))
    ax.grid()
