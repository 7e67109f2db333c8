"""Figures of corruptions, shifts and slices."""

from __future__ import annotations

import math
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from medaudit.core.findings import row_dicts
from medaudit.report import formatting, style
from medaudit.report.figures.performance import draw_interval
from medaudit.report.formatting import ALPHA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medaudit.report.results import Results

ROW_CHARACTER, TITLE_CHARACTER = 0.045, 0.068
"""Widths of characters of a row's name and of a title in inches."""
MOST_ROWS, FEW_ROWS = 24, 12
OVERALL = ("accuracy", "exact_match")


def was_cut(results: Results) -> bool:
    """Whether any slice was asked for, be it refused."""
    return any(len(results.table("slice", name)) for name in ("slices", "refused"))


def second(results: Results) -> str:
    """The measure of the whole call: accuracy, or the share of samples without any error."""
    known = results.names("slice", "slices", "metric")
    return next((name for name in OVERALL if name in known), OVERALL[0])


def primary(results: Results) -> str:
    """The measure that the slice stage was asked to judge by; the overall one where it has none."""
    asked = (results.params.get("slice") or {}).get("primary")
    return str(asked) if asked in results.names("slice", "slices", "metric") else second(results)


def metrics(results: Results) -> list[str]:
    """The measures of the slice figure: the primary one, and the overall one beside it."""
    table = results.table("slice", "slices")
    if table.empty:
        return []
    defined = set(table.dropna(subset=["value"])["metric"])
    return [n for n in dict.fromkeys((primary(results), second(results))) if n in defined]


def shown_slices(table: pd.DataFrame, wanted: Sequence[str]) -> list[str]:
    """The slices to draw in their order: all, or those of the largest gaps where many."""
    part = table[table["metric"].isin(wanted)].dropna(subset=["value"])
    gaps = part["gap"].abs().groupby(part["slice"], sort=False).max()
    chosen = set(gaps.nlargest(MOST_ROWS).index)
    return [str(name) for name in part["slice"].unique() if name in chosen]


def slices_figure(results: Results) -> Figure | None:
    """A forest of slices with the value on all of test as a line."""
    wanted, table = metrics(results), results.table("slice", "slices")
    if not wanted:
        return None
    order = shown_slices(table, wanted)
    height = 0.6 + (0.135 if len(order) <= FEW_ROWS else 0.115) * len(order)
    figure, axes = style.canvas(style.FULL, height, columns=len(wanted), sharey=True)
    for ax, name in zip(axes, wanted, strict=True):
        draw_slices(table[table["metric"] == name], ax, order=order)
        whole = results.measure(name).value
        if math.isfinite(whole):
            ax.axvline(whole, color="#222222", linewidth=0.7, linestyle="--")
    behind = table[table["metric"] == wanted[0]]
    _name_rows(behind, axes[0], order=order, critical=results.critical)
    title_panels(axes, [formatting.metric(name, results.critical) for name in wanted])
    return figure


def title_panels(axes: Sequence[Axes], titles: Sequence[str]) -> None:
    """Titles that are broken where they would run into the next panel."""
    longest = max((len(tick.get_text()) for tick in axes[0].get_yticklabels()), default=0)
    room = (style.FULL - ROW_CHARACTER * longest) / len(axes)
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(fill(title, max(int(room / TITLE_CHARACTER), 12)))


def draw_slices(table: pd.DataFrame, ax: Axes, *, order: Sequence[str]) -> None:
    """A row per slice; red and filled where Holm leaves it worse than the rest of test."""
    for row in row_dicts(table[table["slice"].isin(order)]):
        shown = bool(row["p_holm"] < ALPHA)
        worse = shown and float(row["gap"]) * int(row["direction"]) < 0
        draw_interval(
            ax,
            order.index(str(row["slice"])),
            row["value"],
            row["low"],
            row["high"],
            colour=style.RED if worse else style.BLUE,
            filled=shown,
        )
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.set(xlim=(-0.02, 1.02), xlabel="value in the slice")
    ax.grid(axis="x")


def _name_rows(
    table: pd.DataFrame, ax: Axes, *, order: Sequence[str], critical: str | None
) -> None:
    counts = {str(row["slice"]): row for row in row_dicts(table)}
    names = []
    for name in order:
        row = counts[name]
        positives = row["n_positive"]
        behind = f", {int(positives)} {critical}" if critical and math.isfinite(positives) else ""
        names.append(f"{name.replace('_', ' ')} ({int(row['n']):,}{behind})")
    ax.set_yticks(range(len(names)), names, fontsize=6)


COLUMNS, LEAST_COLUMNS = 5, 3
FEW, STEP, DENSE_STEP = 6, 0.235, 0.195
SMALLEST = 1e-9


def primaries(results: Results) -> list[str]:
    """The measures that the stress stage follows over severity, those of all classes first."""
    names = results.names("stress", "severity", "metric")
    return sorted(names, key=lambda name: (name.startswith("critical"), names.index(name)))


def metric_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour per measure, as for the classes: red is the critical one's."""
    plain = iter((style.BLUE, style.GREY, *style.CLASS_COLOURS))
    return {name: style.RED if name.startswith("critical") else next(plain) for name in names}


def severity_figure(results: Results) -> Figure | None:
    """One panel per corruption: the primary measures from clean over the severities."""
    table = results.table("stress", "severity")
    if table.empty:
        return None
    names = list(table["corruption"].unique())
    columns = min(COLUMNS, max(LEAST_COLUMNS, len(names)))
    lines = -(-len(names) // columns)
    colours = metric_colours(primaries(results))
    figure, axes = style.canvas(
        style.FULL, 0.35 + 1.1 * lines, rows=lines, columns=columns, sharex=True, sharey=True
    )
    for ax, name in zip(axes, names, strict=False):
        part = table[table["corruption"] == name]
        draw_severity(part, ax, colours=colours, critical=results.critical)
        ax.set_title(formatting.words(name))
        ax.tick_params(labelbottom=True)
    style.blank(axes[len(names) :])
    for ax in axes[::columns]:
        ax.set(ylabel="value", ylim=(0, 1.04))
    figure.supxlabel("severity (0 = clean)", fontsize=7)
    handles, words = axes[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper center", ncols=len(colours))
    return figure


def draw_severity(
    table: pd.DataFrame, ax: Axes, *, colours: Mapping[str, str], critical: str | None
) -> None:
    """One line per measure with its interval as a band."""
    for name, colour in colours.items():
        part = table[table["metric"] == name]
        ax.fill_between(
            part["severity"], part["low"], part["high"], color=colour, alpha=0.18, linewidth=0
        )
        text = formatting.short(name, critical)
        ax.plot(part["severity"], part["value"], ".-", color=colour, markersize=4, label=text)
    ax.set_xticks(sorted(table["severity"].unique()))
    ax.grid(axis="y")


def delta_figure(results: Results) -> Figure | None:
    """Condition minus clean with intervals, one panel per primary measure."""
    table = results.table("stress", "conditions")
    if table.empty:
        return None
    table = table[table["severity"] > 0]
    names = list(table["corruption"].unique())
    metrics = primaries(results)
    height = 0.75 + (STEP if len(names) <= FEW else DENSE_STEP) * len(names)
    figure, axes = style.canvas(style.FULL, height, columns=len(metrics), sharey=True)
    for ax, name in zip(axes, metrics, strict=True):
        draw_delta(table[table["metric"] == name], ax, names=names)
        ax.set_title(formatting.metric(name, results.critical))
    figure.legend(
        handles=_severity_keys(sorted(int(s) for s in table["severity"].unique())),
        loc="outside upper center",
        ncols=8,
    )
    return figure


def draw_delta(table: pd.DataFrame, ax: Axes, *, names: Sequence[str]) -> None:
    """A row per corruption, a point per severity; filled where Holm leaves a difference."""
    severities = sorted(int(s) for s in table["severity"].unique())
    for row in row_dicts(table):
        place = severities.index(int(row["severity"])) - (len(severities) - 1) / 2
        draw_interval(
            ax,
            names.index(str(row["corruption"])) + place * 0.8 / len(severities),
            row["delta"],
            row["delta_low"],
            row["delta_high"],
            colour=style.severity_colour(int(row["severity"])),
            filled=bool(row["p_holm"] < ALPHA),
        )
    ax.axvline(0, color="#222222", linewidth=0.7)
    ax.set_yticks(range(len(names)), [formatting.words(name) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("condition minus clean")
    ax.grid(axis="x")


def _severity_keys(severities: Sequence[int]) -> list[object]:
    from matplotlib.lines import Line2D

    def key(colour: str, face: str, text: str) -> Line2D:
        return Line2D(
            [], [], marker="o", markersize=3.5, color=colour, markerfacecolor=face, label=text
        )

    colours = [(style.severity_colour(s), f"severity {s}") for s in severities]
    return [
        *(key(colour, colour, text) for colour, text in colours),
        key(style.GREY, style.GREY, "filled: shown after Holm"),
        key(style.GREY, "white", "hollow: not shown"),
    ]


def predicted_figure(results: Results) -> Figure | None:
    """What is called under clean and under every corruption at its greatest severity."""
    table = results.table("stress", "predicted")
    if table.empty:
        return None
    order = greatest(results.table("stress", "conditions"))
    keys = 0.3 + 0.125 * len(results.classes)
    figure, (ax,) = style.canvas(style.FULL, max(0.6 + 0.145 * len(order), keys))
    if results.exclusive:
        draw_predicted(table, ax, order=order, colours=style.class_colours(results.classes))
    else:
        figure.set_figheight(0.95 + 0.145 * len(order))
        draw_called(table, ax, order=order)
    return figure


def greatest(conditions: pd.DataFrame) -> list[str]:
    """Clean, and every corruption at its greatest severity."""
    worst = conditions.sort_values("severity").groupby("corruption", sort=False)["condition"].last()
    return [str(name) for name in conditions["condition"].unique() if name in set(worst)]


def draw_called(table: pd.DataFrame, ax: Axes, *, order: Sequence[str]) -> None:
    """Percent of the images for which every label is called; darker where more than elsewhere."""
    wide = table.pivot_table(index="condition", columns="class", values="share", sort=False)
    shares = wide.loc[list(order)].to_numpy(dtype=np.float64)
    # Each label on its own scale: rare ones would all be white beside a frequent one.
    scaled = shares / np.maximum(shares.max(axis=0), SMALLEST)
    ax.imshow(scaled, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
    for (i, j), share in np.ndenumerate(shares):
        words = f"{100 * share:.1f}" if share < 0.0995 else f"{100 * share:.0f}"
        ax.text(j, i, words, ha="center", va="center", fontsize=6, color="#222222")
    style.name_columns(ax, [str(name) for name in wide.columns])
    ax.set_yticks(range(len(order)), [formatting.condition(name) for name in order])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def draw_predicted(
    table: pd.DataFrame, ax: Axes, *, order: Sequence[str], colours: Mapping[str, str]
) -> None:
    """One bar per condition, split by the class that is called."""
    wide = table.pivot_table(index="condition", columns="class", values="share", sort=False)
    wide = wide.loc[list(order)]
    left = wide.iloc[:, 0] * 0
    for name, colour in colours.items():
        ax.barh(
            range(len(wide)),
            wide[name],
            left=left,
            color=colour,
            label=name,
            height=0.76,
            edgecolor="white",
            linewidth=0.3,
        )
        left = left + wide[name]
    ax.set_yticks(range(len(wide)), [formatting.condition(name) for name in order])
    ax.set(xlabel="share of the test images called", xlim=(0, max(1.0, float(left.max()))))
    ax.invert_yaxis()
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02))
