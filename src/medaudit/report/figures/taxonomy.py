"""Figures of the failure taxonomy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medaudit.core.cell_rules import LEFT_OUT
from medaudit.report import formatting, style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medaudit.report.results import Results

UNITS = {
    "brightness": "mean luma, share of white",
    "contrast": "SD of the luma",
    "sharpness": "variance of the Laplacian",
    "lesion_area": "share of the image",
}
HEIGHT = 1.5


def outcome_statistics_figure(results: Results) -> Figure | None:
    """Histograms of image statistics of right and wrong calls, beside each other."""
    found = results.table("cases", "outcome_statistics")
    if found.empty:
        return None
    names = list(found["statistic"].unique())
    figure, axes = style.canvas(style.FULL, HEIGHT, columns=len(names))
    for ax, name in zip(axes, names, strict=True):
        draw_outcomes(found[found["statistic"] == name], ax)
        ax.set_title(formatting.words(name).capitalize())
        ax.set_xlabel(UNITS.get(name, "value"))
    axes[0].set_ylabel("calls, %")
    named = [pair for ax in axes for pair in zip(*ax.get_legend_handles_labels(), strict=True)]
    found_by = {word: handle for handle, word in reversed(named)}
    words = list(dict.fromkeys(word for _, word in named))
    handles = [found_by[word] for word in words]
    words = [counted(found, outcome) for outcome in words]
    figure.legend(handles, words, loc="outside upper right", ncols=len(words), columnspacing=1.0)
    return figure


def counted(found: pd.DataFrame, outcome: str) -> str:
    """An outcome with its number of calls, where all histograms hold the same calls."""
    if len(style.left_out(found)):
        return outcome
    n = found[found["outcome"] == outcome].groupby("statistic")["n"].sum().unique()
    return f"{outcome} (n={int(n[0]):,})" if len(n) == 1 else outcome


def draw_outcomes(table: pd.DataFrame, ax: Axes) -> None:
    """Steps of the wrong calls over filled steps of the right ones."""
    for outcome, part in table.groupby("outcome"):
        edges = np.append(part["low"].to_numpy(), part["high"].to_numpy()[-1])
        if outcome == "right":
            ax.stairs(100 * part["share"], edges, fill=True, color=style.LIGHT, label=outcome)
        else:
            ax.stairs(100 * part["share"], edges, color=style.BLUE, linewidth=1.3, label=outcome)
    gone = table[table["share"].isna()]
    for low, high in zip(gone["low"], gone["high"], strict=True):
        ax.axvspan(low, high, ymax=0.05, color=style.PALE, linewidth=0, label=LEFT_OUT)
    ax.margins(x=0)
    ax.set_ylim(0, None)
