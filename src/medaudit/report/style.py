"""One look for all figures: sizes at print, colours that colour-blind readers tell apart."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from medaudit.core.cell_rules import COLUMN
from medaudit.core.files import atomic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

FULL, HALF = 6.85, 3.35
"""Widths in inches: the text of an A4 page, and half of it."""

CHARACTER = 0.055
"""Width of a character of a tick label in inches."""

BLUE, RED, GREY, LIGHT = "#33638d", "#c1433c", "#6b7280", "#d6dae0"
PALE = "#a9b4c2"
"""For values that have no interval."""
ORANGE = "#c2570c"
"""For harm that is shown, and for nothing else."""

# Paul Tol's "bright", then his "muted" for data sets of many classes.
CLASS_COLOURS = (
    *("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#9A9A9A"),
    *("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255"),
)
ROLE_COLOURS = {
    "train": "#33638d",
    "validation": "#7aa6c9",
    "calibration": "#e0b04a",
    "test": "#c1433c",
}
STYLE: Mapping[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    # Names come from files of users: a dollar sign is one.
    "text.parse_math": False,
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "axes.labelcolor": "#222222",
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e8eaee",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "svg.hashsalt": "medaudit",
    # Letters as outlines: the same look on every machine, with no font to ship.
    "svg.fonttype": "path",
}


def styled() -> AbstractContextManager[None]:
    """A context in which figures have this look."""
    return mpl.rc_context({**mpl.rcParamsDefault, **STYLE, "backend": "svg"})


def canvas(
    width: float, height: float, *, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of that size in inches with its axes, row by row."""
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [ax for line in axes for ax in line]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, the same bytes for the same content."""
    with atomic(path) as part, warnings.catch_warnings():
        # A box stands for a letter that the font lacks; the tables hold the name.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(part, format="svg", metadata={"Date": None, "Creator": None})


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """A colour per class, the same in every figure."""
    return {name: CLASS_COLOURS[i % len(CLASS_COLOURS)] for i, name in enumerate(classes)}


def name_columns(ax: Axes, names: Sequence[str]) -> None:
    """Names below the columns of a grid, upright where they would run into each other."""
    room = ax.get_figure(root=True).get_figwidth() * 0.72 / max(len(names), 1)  # type: ignore[union-attr]  # axes are in a figure
    crowded = max(map(len, names), default=0) * CHARACTER > room
    ax.set_xticks(range(len(names)), names)
    if crowded:
        ax.tick_params(axis="x", labelrotation=90)


def blank(axes: Iterator[Axes] | Sequence[Axes]) -> None:
    """Hide axes that no panel needs."""
    for ax in axes:
        ax.set_axis_off()


def say(ax: Axes, words: str) -> None:
    """Words in the middle of axes on which nothing is drawn."""
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=GREY)


def left_out(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table of which numbers were left out as small cells."""
    return table[table[COLUMN].notna()] if COLUMN in table else table.iloc[:0]
