"""Figures of the data and of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from medaudit.reporting import labels, style

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medaudit.reporting.evidence import Evidence

FEW_EPOCHS = 3
HIDDEN = ("epoch", "split", "loss", "learning_rate")


def class_counts_figure(evidence: Evidence) -> Figure | None:
    """Images per class, stacked by role."""
    if evidence.table("prepare", "class_counts").empty:
        return None
    figure, (ax,) = style.canvas(style.HALF, 0.75 + bars_height(len(evidence.classes)))
    draw_class_counts(evidence.table("prepare", "class_counts"), ax)
    return figure


def bars_height(n: int) -> float:
    """Inches for so many bars: thick ones, thinner where there are many."""
    return max(min(0.19 * n, 1.5), 0.115 * n)


def draw_class_counts(table: pd.DataFrame, ax: Axes) -> None:
    """One bar per class; the number behind it is all images of the class."""
    counts = table.pivot_table(index="class", columns="role", values="images", sort=False)
    left = counts.iloc[:, 0] * 0
    for role in [name for name in labels.ROLES if name in counts]:
        colour = style.ROLE_COLOURS[role]
        ax.barh(counts.index, counts[role], left=left, color=colour, label=role, height=0.72)
        left = left + counts[role]
    for place, total in enumerate(left):
        ax.text(total, place, f" {int(total):,}", va="center", fontsize=6)
    ax.set(xlabel="images", xlim=(0, left.max() * 1.16))
    ax.invert_yaxis()
    ax.grid(axis="x")
    ax.legend(ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderpad=0, columnspacing=0.9)


def training_figure(evidence: Evidence) -> Figure | None:
    """Loss of both roles, and the scores of the tune role, over epochs."""
    table = evidence.table("train", "curves")
    if table.empty:
        return None
    figure, (left, right) = style.canvas(style.HALF, 1.9, columns=2)
    best = evidence.scalar("train", "best_epoch")
    draw_loss(table, left)
    draw_scores(table, right)
    for ax in (left, right):
        number_epochs(ax, sorted(table["epoch"].unique()))
        ax.grid(axis="y")
        if isinstance(best, int):
            ax.axvline(best, color=style.GREY, linewidth=0.7, linestyle=":")
    return figure


def number_epochs(ax: Axes, epochs: Sequence[int]) -> None:
    """Whole epochs below the axis; points where there are too few for a line."""
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(epochs) <= FEW_EPOCHS:
        ax.set_xticks(epochs)
        ax.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
        for line in ax.get_lines():
            line.set(marker="o", markersize=3)


def draw_loss(table: pd.DataFrame, ax: Axes) -> None:
    """Loss per split."""
    for split, colour in {"train": style.BLUE, "tune": style.RED}.items():
        part = table[table["split"] == split]
        ax.plot(part["epoch"], part["loss"], color=colour, label=split)
    ax.set(xlabel="epoch", ylabel="loss", title="Loss")
    ax.margins(y=0.12)
    ax.legend(loc="best")


def draw_scores(table: pd.DataFrame, ax: Axes) -> None:
    """Every score of the tune role."""
    tune = table[table["split"] == "tune"]
    scores = [name for name in tune if name not in HIDDEN and tune[name].notna().any()]
    for name, colour in zip(scores, style.CLASS_COLOURS, strict=False):
        ax.plot(tune["epoch"], tune[name], color=colour, label=labels.short(str(name), None))
    ax.set(xlabel="epoch", ylabel="score", title="Tune role")
    ax.margins(y=0.12)
    ax.legend(loc="best", frameon=True, framealpha=0.85, edgecolor="none")
