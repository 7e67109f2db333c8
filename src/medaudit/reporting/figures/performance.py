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
LABEL_PANELS = ("auroc", "auprc", "sensitivity", "specificity")
FROZEN = ("sensitivity", "specificity")
SHOWN_RATE = 0.005
MANY = 8
"""Above so many classes, tables are printed in percent and legends in small type."""


def per_class_figure(evidence: Evidence) -> Figure:
    """Every class against the rest, with intervals."""
    table = evidence.table("evaluate", "per_class")
    asked = PANELS if evidence.exclusive else LABEL_PANELS
    metrics = [name for name in asked if name in set(table["metric"])]
    n = len(evidence.classes)
    height = 0.5 + (0.165 if n <= MANY else 0.125) * n
    figure, axes = style.canvas(style.FULL, height, columns=len(metrics), sharey=True)
    for ax, name in zip(axes, metrics, strict=True):
        draw_per_class(table[table["metric"] == name], ax, metric=name, critical=evidence.critical)
    counted = table[table["metric"] == metrics[0]]
    pairs = zip(counted["class"], counted["n_positive"], strict=True)
    axes[0].set_yticks(range(len(counted)), [f"{name} ({int(n):,})" for name, n in pairs])
    return figure


def draw_per_class(table: pd.DataFrame, ax: Axes, *, metric: str, critical: str | None) -> None:
    """One row per class: value with its interval; the critical class in red."""
    for place, row in enumerate(table.itertuples()):
        colour = style.RED if row[1] == critical else style.BLUE
        draw_interval(ax, place, row.value, row.low, row.high, colour=colour)
    ax.set_ylim(len(table) - 0.5, -0.5)
    title = f"{labels.metric(metric)} (frozen)" if metric in FROZEN else labels.metric(metric)
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
    """A point with its interval on one row, pale without one; an undefined one is left out."""
    ends = np.array([value, low, high], dtype=np.float64)
    if not np.isfinite(ends[1:]).all():
        ax.plot(ends[0], place, "o", markersize=2.6, color=style.PALE)
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
    many = len(evidence.classes) > MANY
    figure, (left, right) = style.canvas(style.HALF, 2.75 if many else 2.15, columns=2)
    colours = style.class_colours(evidence.classes)
    draw_curves(roc, left, x="fpr", y="tpr", colours=colours, critical=evidence.critical)
    draw_curves(pr, right, x="recall", y="precision", colours=colours, critical=evidence.critical)
    left.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.6, linestyle=":")
    left.set(xlabel=f"1 {MINUS} specificity", ylabel="sensitivity", title="ROC")
    right.set(xlabel="recall", ylabel="precision", title="Precision, recall")
    handles, names = left.get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=3 if many else 5,
        columnspacing=1.0,
        fontsize=5.5 if many else 6.5,
    )
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
    """Share of the images with every true class for which each class is called."""
    table = evidence.table("evaluate", "confusion")
    if table.empty:
        return None
    many = table["truth"].nunique() > MANY
    height = 1.2 if many else 0.75
    figure, (ax,) = style.canvas(
        style.HALF, height + (0.15 if many else 0.22) * table["truth"].nunique()
    )
    draw_confusion(table, ax, percent=many)
    return figure


def draw_confusion(table: pd.DataFrame, ax: Axes, *, percent: bool) -> None:
    """Rows are the truth; the row label tells how many there are."""
    rates = table.pivot_table(
        index="truth", columns="predicted", values="rate", sort=False, dropna=False
    )
    totals = truths(table)
    ax.imshow(rates.to_numpy(dtype=np.float64), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (i, j), rate in np.ndenumerate(rates.to_numpy(dtype=np.float64)):
        if rate >= SHOWN_RATE:
            shade = "white" if rate > 0.55 else "#222222"
            words = f"{100 * rate:.0f}" if percent else f"{rate:.2f}"
            size = 5.5 if percent else 6
            ax.text(j, i, words, ha="center", va="center", fontsize=size, color=shade)
    style.name_columns(ax, [str(name) for name in rates.columns])
    ax.set_yticks(range(len(rates)), [f"{c} ({totals[str(c)]:,})" for c in rates.index])
    ax.set(xlabel="called (percent)" if percent else "called", ylabel="truth (n)")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def truths(table: pd.DataFrame) -> dict[str, int]:
    """How many images hold every truth; a call of several labels stands in several columns."""
    best = table.dropna(subset=["rate"]).sort_values("rate").groupby("truth").last()
    known = {str(name): round(row["count"] / row["rate"]) for name, row in best.iterrows()}
    return {str(name): known.get(str(name), 0) for name in table["truth"].unique()}


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
