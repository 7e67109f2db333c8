"""Figures of the failure taxonomy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medaudit.report import formatting, style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medaudit.report.results import Results

UNITS = {
    "brightness": "mean luma, share of white",
    "contrast": "SD of the luma, share of white",
    "sharpness": "variance of the Laplacian",
    "lesion_area": "share of the image",
}
HEIGHT = 1.35


def outcome_statistics_figure(results: Results) -> Figure | None:
    """Histograms of image statistics of right and wrong calls, beside each other."""
    found = results.table("cases", "outcome_statistics")
    if found.empty:
        return None
    names = list(found["statistic"].unique())
    figure, axes = style.canvas(style.FULL, HEIGHT, columns=len(names))
    for ax, name in zip(axes, names, strict=True):
        draw_outcomes(found[found["statistic"] == name], ax)
        words = formatting.words(name)
        ax.set_xlabel(f"{words}: {UNITS[name]}" if name in UNITS else words)
    axes[0].set_ylabel("share of the calls, %")
    return figure


def draw_outcomes(table: pd.DataFrame, ax: Axes) -> None:
    """Steps of the wrong calls over filled steps of the right ones."""
    for outcome, part in table.groupby("outcome"):
        edges = np.append(part["low"].to_numpy(), part["high"].to_numpy()[-1])
        label = f"{outcome} (n={int(part['n'].sum()):,})"
        if outcome == "right":
            ax.stairs(100 * part["share"], edges, fill=True, color=style.LIGHT, label=label)
        else:
            ax.stairs(100 * part["share"], edges, color=style.BLUE, linewidth=1.3, label=label)
    ax.margins(x=0)
    ax.set_ylim(0, None)
    ax.legend(
        ncols=2, loc="lower left", bbox_to_anchor=(-0.05, 0.97), borderpad=0, columnspacing=0.8
    )
