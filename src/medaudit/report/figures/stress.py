"""Figures of corruptions, shifts and slices."""

from __future__ import annotations

import math
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.core.cell_rules import LEFT_OUT
from medaudit.report import comparisons, formatting, style
from medaudit.report.comparisons import (
    BETTER,
    CONFIRMATORY,
    EXPLORATORY,
    WITHIN,
    WORSE,
    Comparison,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medaudit.report.results import Results

ROW_CHARACTER, TITLE_CHARACTER = 0.042, 0.068
"""Widths of characters of a row's name and of a title in inches."""
MOST_ROWS, FEW_ROWS = 20, 12
NO_BREAK = "\N{NO-BREAK SPACE}"
LONGEST = 70
"""Characters of a row's name on one line; a longer one goes on below."""
ROW_LINE, ROW_GAP = 0.1, 0.025
"""Heights of a line of a row's name and between rows in inches."""
FAMILIES = (CONFIRMATORY, EXPLORATORY, "")
"""In the order of the rows."""
VERDICT_COLOURS = {WORSE: style.ORANGE, BETTER: style.BLUE, WITHIN: style.BLUE}
"""What is shown; everything else is grey and hollow."""


def was_cut(results: Results) -> bool:
    """Whether any slice was asked for, be it refused."""
    return any(len(results.table("slice", name)) for name in ("slices", "refused"))


def ordered_slices(measured: Sequence[Sequence[Comparison]]) -> list[str]:
    """Slices by family, those named beforehand first, and by harm in any measure within it."""
    found = comparisons.by_harm(*measured)
    family = {each.name: each.family for changes in measured for each in changes if each.family}
    return sorted(found, key=lambda name: FAMILIES.index(family.get(name, "")))


def slices_figure(results: Results) -> Figure | None:
    """A forest of gaps to the rest, the leading measures side by side in one order."""
    names = comparisons.leading(results, "slice")
    measured = [_one_each(comparisons.of_slices(results, name)) for name in names]
    order = ordered_slices(measured)[:MOST_ROWS]
    if not order:
        return None
    rows = [row_name(name, measured) for name in order]
    spare = ROW_GAP if len(order) <= FEW_ROWS else 0.0
    heights = [spare + ROW_GAP + ROW_LINE * (1 + row.count("\n")) for row in rows]
    ends = np.cumsum(heights)
    places = dict(zip(order, (ends - np.array(heights) / 2).tolist(), strict=True))
    figure, axes = style.canvas(style.FULL, 0.75 + ends[-1], columns=len(names), sharey=True)
    pairs = list(zip(names, measured, strict=True))
    for ax, (name, changes) in zip(axes, pairs, strict=True):
        draw_changes([each for each in changes if each.name in places], ax, places=places)
        ax.set_xlabel(f"slice minus rest{unit(name)}")
        ax.set_ylim(ends[-1], 0.0)
    _share_scale(axes, names)
    titles = [f"{panel(name, changes, results)}: where lower?" for name, changes in pairs]
    axes[0].set_yticks(list(places.values()), rows, fontsize=6)
    title_panels(axes, titles)
    return figure


def panel(metric: str, changes: Sequence[Comparison], results: Results) -> str:
    """Title of a measure; where it is of every output, a row shows the worst of them."""
    name = formatting.short(metric, results.critical)
    several = any(each.output for each in changes)
    return f"{name}, worst {results.nouns[0]}" if several else name


def _one_each(changes: Sequence[Comparison]) -> list[Comparison]:
    return comparisons.worst_outputs([each for each in changes if each.defined])


def row_name(name: str, measured: Sequence[Sequence[Comparison]]) -> str:
    """A slice in words with the cases behind each measure; a star where named beforehand."""
    found = [each for changes in measured for each in changes if each.name == name]
    star = "* " if any(each.family == CONFIRMATORY for each in found) else ""
    # Labels differ in how many cases they have.
    numbers = [formatting.count(each.n if each.output else each.rests_on) for each in found]
    behind = " | ".join(dict.fromkeys(numbers))
    # The count does not stand alone on a line.
    tied = f"(n={behind})".replace(" ", NO_BREAK)
    return fill(f"{star}{found[0].words} {tied}", LONGEST, break_on_hyphens=False)


def unit(metric: str) -> str:
    """Unit of a difference on an axis."""
    return ", points" if formatting.in_points(metric) else ""


def title_panels(axes: Sequence[Axes], titles: Sequence[str]) -> None:
    """Titles that are broken where they would run into the next panel."""
    labels = [tick.get_text() for tick in axes[0].get_yticklabels()]
    longest = max((len(line) for text in labels for line in text.split("\n")), default=0)
    room = (style.FULL - ROW_CHARACTER * longest) / len(axes)
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(fill(title, max(int(room / TITLE_CHARACTER), 12)))


def draw_changes(
    changes: Sequence[Comparison], ax: Axes, *, places: Mapping[str, float], size: float = 3.2
) -> None:
    """A row per comparison: change with its interval, coloured by what is shown.

    Args:
        changes: one per row.
        ax: to draw on.
        places: height of every row.
        size: of the points.
    """
    for each in changes:
        scale = 100.0 if formatting.in_points(each.metric) else 1.0
        place, colour = places[each.name], VERDICT_COLOURS.get(each.verdict, style.GREY)
        if math.isfinite(each.low):
            ends = [scale * each.low, scale * each.high]
            ax.plot(ends, [place] * 2, color=colour, linewidth=1.0, solid_capstyle="butt")
        face = colour if each.verdict in VERDICT_COLOURS else "white"
        if each.detectable < 1:  # no measure that is drawn can change by more
            seen = -each.direction * scale * each.detectable
            ax.plot(seen, place, "|", color=style.PALE, markersize=4, mew=0.8)
        ax.plot(scale * each.value, place, "o", color=colour, markersize=size, mfc=face, mew=0.8)
        if each.output:
            ax.text(
                1.01,
                place,
                each.output,
                transform=ax.get_yaxis_transform(),
                ha="left",
                va="center",
                fontsize=5,
                color=style.GREY,
            )
    ax.axvline(0, color="#222222", linewidth=0.7)
    margins = {each.direction * each.margin for each in changes if math.isfinite(each.margin)}
    for margin in margins:
        scale = 100.0 if formatting.in_points(changes[0].metric) else 1.0
        ax.axvline(-scale * margin, color=style.GREY, linewidth=0.6, linestyle=":")
    ax.grid(axis="x")


def _share_scale(axes: Sequence[Axes], names: Sequence[str]) -> None:
    """The same axis for all measures in points, so that panels compare by eye."""
    alike = [ax for ax, name in zip(axes, names, strict=True) if formatting.in_points(name)]
    if not alike:
        return
    ends = [end for ax in alike for end in ax.get_xlim()]
    for ax in alike:
        ax.set_xlim(max(min(ends), -105), min(max(ends), 105))


COLUMNS, LEAST_COLUMNS = 5, 3
FEW, STEP, DENSE_STEP = 6, 0.26, 0.215
SMALLEST = 1e-9
SEVERITY_STYLES = (("-", style.BLUE), ("--", "#7aa6c9"), (":", style.GREY))
MACRO = {"sensitivity": "macro_sensitivity", "specificity": "macro_specificity"}


def followed(results: Results) -> list[str]:
    """The measures over severity: the leading pair, or its mean over labels, and the ranking."""
    known = set(results.names("stress", "conditions", "metric"))
    first = [MACRO.get(name, name) for name in comparisons.leading(results, "stress")]
    return [name for name in dict.fromkeys((*first, "macro_auroc")) if name in known]


def severity_table(results: Results) -> pd.DataFrame:
    """Values of the followed measures over severity, clean being severity 0 of each corruption."""
    table = results.table("stress", "conditions")
    if table.empty:
        return table
    of_whole = table["output"].isna() | table["metric"].str.startswith("critical_")
    table = table[table["metric"].isin(followed(results)) & of_whole]
    names = table[table["severity"] > 0]["corruption"].unique()
    clean = table[table["severity"] == 0]
    parts = [clean.assign(corruption=name) for name in names]
    whole = [*parts, table[table["severity"] > 0]]
    columns = ["corruption", "severity", "metric", "value", "low", "high"]
    stacked = pd.concat(whole, ignore_index=True)[columns]
    return stacked.sort_values(["corruption", "severity"], kind="stable")


def severity_figure(results: Results) -> Figure | None:
    """One panel per corruption: the leading measures from clean over the severities."""
    table = severity_table(results)
    if table.empty:
        return None
    names = corruptions_by_harm(results)
    columns = min(COLUMNS, max(LEAST_COLUMNS, len(names)))
    lines = -(-len(names) // columns)
    styles = dict(zip(followed(results), SEVERITY_STYLES, strict=False))
    figure, axes = style.canvas(
        style.FULL, 0.35 + 1.1 * lines, rows=lines, columns=columns, sharex=True, sharey=True
    )
    for ax, name in zip(axes, names, strict=False):
        part = table[table["corruption"] == name]
        draw_severity(part, ax, styles=styles, critical=results.critical)
        ax.set_title(formatting.words(name))
        ax.tick_params(labelbottom=True)
    style.blank(axes[len(names) :])
    for ax in axes[::columns]:
        ax.set(ylabel="value", ylim=(0, 1.04))
    figure.supxlabel("severity (0 = clean)", fontsize=7)
    handles, words = axes[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper center", ncols=len(styles))
    return figure


def corruptions_by_harm(results: Results) -> list[str]:
    """Corruptions, the one of the greatest harm in a leading measure first."""
    names = comparisons.leading(results, "stress")
    ranked = comparisons.by_harm(*(comparisons.of_conditions(results, name) for name in names))
    rows = results.rows("stress", "conditions")
    corruption = {str(row["condition"]): str(row["corruption"]) for row in rows if row["severity"]}
    return list(dict.fromkeys([*(corruption[name] for name in ranked), *corruption.values()]))


def draw_severity(
    table: pd.DataFrame,
    ax: Axes,
    *,
    styles: Mapping[str, tuple[str, str]],
    critical: str | None,
) -> None:
    """One line per measure with its interval as a band."""
    for name, (line, colour) in styles.items():
        part = table[table["metric"] == name]
        ax.fill_between(
            part["severity"], part["low"], part["high"], color=colour, alpha=0.15, linewidth=0
        )
        text = formatting.short(name, critical)
        ax.plot(
            part["severity"],
            part["value"],
            marker=".",
            linestyle=line,
            color=colour,
            markersize=4,
            label=text,
        )
    ax.set_xticks(sorted(table["severity"].unique()))
    ax.grid(axis="y")


def delta_figure(results: Results) -> Figure | None:
    """Condition minus clean, the leading measures side by side, corruptions sorted by harm."""
    names = [*comparisons.leading(results, "stress"), *comparisons.others(results, "stress")]
    names = [name for name in dict.fromkeys(names) if name != "standardised_accuracy"][:3]
    measured = [_one_each(comparisons.of_conditions(results, name)) for name in names]
    if not any(measured):
        return None
    order = corruptions_by_harm(results)
    places = condition_places(results, order)
    height = 0.7 + (STEP if len(order) <= FEW else DENSE_STEP) * len(order)
    figure, axes = style.canvas(style.FULL, height, columns=len(names), sharey=True)
    for ax, name, changes in zip(axes, names, measured, strict=True):
        draw_changes(changes, ax, places=places, size=2.8)
        ax.set_xlabel(f"condition minus clean{unit(name)}")
        ax.set_title(f"{panel(name, changes, results)}{behind(changes)}")
        ax.set_ylim(len(order) - 0.5, -0.5)
    _share_scale(axes, names)
    axes[0].set_yticks(range(len(order)), [formatting.words(name) for name in order])
    return figure


def behind(changes: Sequence[Comparison]) -> str:
    """How many cases a measure rests on, where they are the same in every row."""
    # Labels differ in how many cases they have.
    found = {None if each.output else each.rests_on for each in changes} - {None}
    return f" (n={formatting.count(next(iter(found)))})" if len(found) == 1 else ""


def condition_places(results: Results, order: Sequence[str]) -> dict[str, float]:
    """Height of every condition: a band per corruption, severities from top to bottom in it."""
    rows = [row for row in results.rows("stress", "conditions") if row["severity"] > 0]
    severities = sorted({int(row["severity"]) for row in rows})
    return {
        str(row["condition"]): order.index(str(row["corruption"]))
        + (severities.index(int(row["severity"])) - (len(severities) - 1) / 2)
        * 0.8
        / len(severities)
        for row in rows
    }


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
    wide = table.pivot_table(
        index="condition", columns="class", values="share", sort=False, dropna=False
    )
    shares = wide.loc[list(order)].to_numpy(dtype=np.float64)
    # Each label on its own scale: rare ones would all be white beside a frequent one.
    scaled = shares / np.fmax(np.fmax.reduce(shares, axis=0), SMALLEST)
    ax.imshow(scaled, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
    for (i, j), share in np.ndenumerate(shares):
        words = f"{100 * share:.1f}" if share < 0.0995 else f"{100 * share:.0f}"
        words = LEFT_OUT if math.isnan(share) else words
        ax.text(j, i, words, ha="center", va="center", fontsize=6, color="#222222")
    style.name_columns(ax, [str(name) for name in wide.columns])
    ax.set_yticks(range(len(order)), [formatting.condition(name) for name in order])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def draw_predicted(
    table: pd.DataFrame, ax: Axes, *, order: Sequence[str], colours: Mapping[str, str]
) -> None:
    """One bar per condition, split by the class that is called."""
    wide = table.pivot_table(
        index="condition", columns="class", values="share", sort=False, dropna=False
    )
    wide = wide.loc[list(order)]
    gone = wide.isna().any(axis=1)
    wide = wide.fillna(0.0)
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
    if gone.any():
        rest = (1 - left).where(gone, 0.0).clip(lower=0.0)
        bars = ax.barh(range(len(wide)), rest, left=left, height=0.76, color="white")
        bars.set_label(LEFT_OUT)
        for bar in bars:
            bar.set(edgecolor=style.GREY, hatch="////", linewidth=0.3)
    ax.set_yticks(range(len(wide)), [formatting.condition(name) for name in order])
    ax.set(xlabel="share of the test images called", xlim=(0, max(1.0, float(left.max()))))
    ax.invert_yaxis()
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02))
