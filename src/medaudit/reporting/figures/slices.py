"""Figure of slices."""

from __future__ import annotations

import math
from textwrap import fill
from typing import TYPE_CHECKING

from medaudit.reporting import labels, style
from medaudit.reporting.figures.performance import draw_interval
from medaudit.reporting.numbers import ALPHA

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medaudit.reporting.evidence import Evidence

ROW_CHARACTER, TITLE_CHARACTER = 0.045, 0.068
"""Widths of characters of a row's name and of a title in inches."""
MOST_ROWS, FEW_ROWS = 24, 12
OVERALL = ("accuracy", "exact_match")


def was_cut(evidence: Evidence) -> bool:
    """Whether any slice was asked for, be it refused."""
    return any(len(evidence.table("slice", name)) for name in ("slices", "refused"))


def second(evidence: Evidence) -> str:
    """The measure of the whole call: accuracy, or the share of samples without any error."""
    known = evidence.names("slice", "slices", "metric")
    return next((name for name in OVERALL if name in known), OVERALL[0])


def primary(evidence: Evidence) -> str:
    """The measure that the slice stage was asked to judge by; the overall one where it has none."""
    asked = (evidence.params.get("slice") or {}).get("primary")
    return str(asked) if asked in evidence.names("slice", "slices", "metric") else second(evidence)


def metrics(evidence: Evidence) -> list[str]:
    """The measures of the slice figure: the primary one, and the overall one beside it."""
    table = evidence.table("slice", "slices")
    if table.empty:
        return []
    defined = set(table.dropna(subset=["value"])["metric"])
    return [n for n in dict.fromkeys((primary(evidence), second(evidence))) if n in defined]


def shown_slices(table: pd.DataFrame, wanted: Sequence[str]) -> list[str]:
    """The slices to draw in their order: all, or those of the largest gaps where many."""
    part = table[table["metric"].isin(wanted)].dropna(subset=["value"])
    gaps = part["gap"].abs().groupby(part["slice"], sort=False).max()
    chosen = set(gaps.nlargest(MOST_ROWS).index)
    return [str(name) for name in part["slice"].unique() if name in chosen]


def slices_figure(evidence: Evidence) -> Figure | None:
    """A forest of slices with the value on all of test as a line."""
    wanted, table = metrics(evidence), evidence.table("slice", "slices")
    if not wanted:
        return None
    order = shown_slices(table, wanted)
    height = 0.6 + (0.135 if len(order) <= FEW_ROWS else 0.115) * len(order)
    figure, axes = style.canvas(style.FULL, height, columns=len(wanted), sharey=True)
    for ax, name in zip(axes, wanted, strict=True):
        draw_slices(table[table["metric"] == name], ax, order=order)
        whole = evidence.measure(name).value
        if math.isfinite(whole):
            ax.axvline(whole, color="#222222", linewidth=0.7, linestyle="--")
    behind = table[table["metric"] == wanted[0]]
    _name_rows(behind, axes[0], order=order, critical=evidence.critical)
    title_panels(axes, [labels.metric(name, evidence.critical) for name in wanted])
    return figure


def title_panels(axes: Sequence[Axes], titles: Sequence[str]) -> None:
    """Titles that are broken where they would run into the next panel."""
    longest = max((len(tick.get_text()) for tick in axes[0].get_yticklabels()), default=0)
    room = (style.FULL - ROW_CHARACTER * longest) / len(axes)
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(fill(title, max(int(room / TITLE_CHARACTER), 12)))


def draw_slices(table: pd.DataFrame, ax: Axes, *, order: Sequence[str]) -> None:
    """A row per slice; red and filled where Holm leaves it worse than the rest of test."""
    for row in table[table["slice"].isin(order)].itertuples():
        shown = bool(row.p_holm < ALPHA)
        worse = shown and float(row.gap) * int(row.direction) < 0
        draw_interval(
            ax,
            order.index(str(row.slice)),
            row.value,
            row.low,
            row.high,
            colour=style.RED if worse else style.BLUE,
            filled=shown,
        )
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.set(xlim=(-0.02, 1.02), xlabel="value in the slice")
    ax.grid(axis="x")


def _name_rows(
    table: pd.DataFrame, ax: Axes, *, order: Sequence[str], critical: str | None
) -> None:
    counts = table.set_index("slice")
    names = []
    for name in order:
        row = counts.loc[name]
        positives = row["n_positive"]
        behind = f", {int(positives)} {critical}" if critical and math.isfinite(positives) else ""
        names.append(f"{name.replace('_', ' ')} ({int(row['n']):,}{behind})")
    ax.set_yticks(range(len(names)), names, fontsize=6)
