"""Figures of the data, of training, of the clean test role and of its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from medaudit.core.cell_rules import LEFT_OUT
from medaudit.report import formatting, style
from medaudit.report.formatting import MINUS
from medaudit.tables.manifest import ROLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
OUTCOMES_HEIGHT = 1.5
FEW_EPOCHS = 3
HIDDEN = ("epoch", "split", "loss", "learning_rate")


def class_counts_figure(results: Results) -> Figure | None:
    """Images per class, stacked by role."""
    if results.table("prepare", "class_counts").empty:
        return None
    figure, (ax,) = style.canvas(style.HALF, 0.75 + bars_height(len(results.classes)))
    draw_class_counts(results.table("prepare", "class_counts"), ax)
    return figure


def bars_height(n: int) -> float:
    """Inches for so many bars: thick ones, thinner where there are many."""
    return max(min(0.16 * n, 1.5), 0.115 * n)


def draw_class_counts(table: pd.DataFrame, ax: Axes) -> None:
    """One bar per class; the number behind it is all images of the class, where that is told."""
    counts = table.pivot_table(
        index="class", columns="role", values="images", sort=False, dropna=False
    )
    whole = counts.notna().all(axis=1)
    counts = counts.fillna(0)
    left = counts.iloc[:, 0] * 0
    for role in [name for name in ROLES if name in counts]:
        colour = style.ROLE_COLOURS[role]
        ax.barh(counts.index, counts[role], left=left, color=colour, label=role, height=0.72)
        left = left + counts[role]
    for place, (total, known) in enumerate(zip(left, whole, strict=True)):
        words = f" {int(total):,}" if known else f" {LEFT_OUT}"
        ax.text(total, place, words, va="center", fontsize=6)
    ax.set(xlabel="images", xlim=(0, left.max() * 1.16))
    ax.invert_yaxis()
    ax.grid(axis="x")
    ax.legend(ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderpad=0, columnspacing=0.9)


def training_figure(results: Results) -> Figure | None:
    """Loss of both roles, and the scores of the validation role, over epochs."""
    table = results.table("train", "curves")
    if table.empty:
        return None
    figure, (left, right) = style.canvas(style.HALF, 1.85, columns=2)
    best = results.scalar("train", "best_epoch")
    draw_loss(table, left)
    draw_scores(table, right)
    handles, words = right.get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower right", ncols=2, columnspacing=1.0)
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
    for split, colour in {"train": style.BLUE, "validation": style.RED}.items():
        part = table[table["split"] == split]
        ax.plot(part["epoch"], part["loss"], color=colour, label=split)
    ax.set(xlabel="epoch", ylabel="loss", title="Loss")
    ax.margins(y=0.12)
    ax.legend(loc="best")


def draw_scores(table: pd.DataFrame, ax: Axes) -> None:
    """Every score of the validation role."""
    validation = table[table["split"] == "validation"]
    scores = [name for name in validation if name not in HIDDEN and validation[name].notna().any()]
    for name, colour in zip(scores, style.CLASS_COLOURS, strict=False):
        ax.plot(
            validation["epoch"],
            validation[name],
            color=colour,
            label=formatting.short(str(name), None),
        )
    ax.set(xlabel="epoch", ylabel="score", title="Validation role")
    ax.margins(y=0.12)


PANELS = ("auroc", "auprc", "recall", "sensitivity")
LABEL_PANELS = ("auroc", "auprc", "sensitivity", "specificity")
FROZEN = ("sensitivity", "specificity")
SHOWN_RATE = 0.005
MANY = 8
"""Above so many classes, tables are printed in percent and legends in small type."""


def per_class_figure(results: Results) -> Figure:
    """Every class against the rest, with intervals."""
    table = results.table("evaluate", "per_class")
    asked = PANELS if results.exclusive else LABEL_PANELS
    metrics = [name for name in asked if name in set(table["metric"])]
    n = len(results.classes)
    height = 0.5 + (0.145 if n <= MANY else 0.12) * n
    figure, axes = style.canvas(style.FULL, height, columns=len(metrics), sharey=True)
    for ax, name in zip(axes, metrics, strict=True):
        draw_per_class(table[table["metric"] == name], ax, metric=name, critical=results.critical)
    counted = table[table["metric"] == metrics[0]]
    pairs = zip(counted["class"], counted["n_positive"], strict=True)
    axes[0].set_yticks(range(len(counted)), [f"{name} ({behind(n)})" for name, n in pairs])
    return figure


def behind(n: object) -> str:
    """How many images, or that they are left out."""
    return LEFT_OUT if formatting.whole(n) is None else formatting.count(n)


def draw_per_class(table: pd.DataFrame, ax: Axes, *, metric: str, critical: str | None) -> None:
    """One row per class: value with its interval; the critical class in red."""
    for place, row in enumerate(table.itertuples()):
        colour = style.RED if row[1] == critical else style.BLUE
        draw_interval(ax, place, row.value, row.low, row.high, colour=colour)
    ax.set_ylim(len(table) - 0.5, -0.5)
    title = (
        f"{formatting.metric(metric)} (frozen)" if metric in FROZEN else formatting.metric(metric)
    )
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


def curves_figure(results: Results) -> Figure | None:
    """ROC and precision-recall curves of every class."""
    roc = results.table("evaluate", "roc")
    pr = results.table("evaluate", "precision_recall")
    if roc.empty or pr.empty:
        return None
    many = len(results.classes) > MANY
    figure, (left, right) = style.canvas(style.HALF, 2.75 if many else 1.9, columns=2)
    colours = style.class_colours(results.classes)
    draw_curves(roc, left, x="fpr", y="tpr", colours=colours, critical=results.critical)
    draw_curves(pr, right, x="recall", y="precision", colours=colours, critical=results.critical)
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


def confusion_figure(results: Results) -> Figure | None:
    """Share of the images with every true class for which each class is called."""
    table = results.table("evaluate", "confusion")
    if table.empty:
        return None
    many = table["truth"].nunique() > MANY
    height = 1.2 if many else 0.75
    figure, (ax,) = style.canvas(
        style.HALF, height + (0.15 if many else 0.19) * table["truth"].nunique()
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
    gone = style.left_out(table)
    for truth, called in zip(gone["truth"], gone["predicted"], strict=True):
        at = list(rates.columns).index(called), list(rates.index).index(truth)
        ax.plot(at[0], at[1], "x", color=style.GREY, markersize=3, mew=0.6)
    for (i, j), rate in np.ndenumerate(rates.to_numpy(dtype=np.float64)):
        if rate >= SHOWN_RATE:
            shade = "white" if rate > 0.55 else "#222222"
            words = f"{100 * rate:.0f}" if percent else f"{rate:.2f}"
            size = 5.5 if percent else 6
            ax.text(j, i, words, ha="center", va="center", fontsize=size, color=shade)
    style.name_columns(ax, [str(name) for name in rates.columns])
    ax.set_yticks(range(len(rates)), [f"{c} ({behind(totals[str(c)])})" for c in rates.index])
    crossed = "" if gone.empty else f"; \N{MULTIPLICATION SIGN}: {LEFT_OUT}"
    ax.set(xlabel=f"called{' (percent)' if percent else ''}{crossed}", ylabel="truth (n)")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def truths(table: pd.DataFrame) -> dict[str, int | None]:
    """How many images hold every truth; a call of several labels stands in several columns.

    `None` where what is left out keeps it from being known.
    """
    best = table[table["rate"] > 0].sort_values("rate").groupby("truth").last()
    known = {str(name): round(row["count"] / row["rate"]) for name, row in best.iterrows()}
    hidden = set(style.left_out(table)["truth"])
    return {
        str(name): known.get(str(name), None if name in hidden else 0)
        for name in table["truth"].unique()
    }


def threshold_figure(results: Results) -> Figure | None:
    """Sensitivity and specificity of the critical class over thresholds."""
    table = results.table("evaluate", "threshold")
    if "class" not in table or results.critical not in set(table["class"]):
        return None
    figure, (ax,) = style.canvas(style.HALF, 1.9)
    own = table[table["class"] == results.critical]
    draw_threshold(own, ax, target=results.points.specificity)
    ax.set(xlabel="threshold on the probability", ylabel="rate")
    ax.set_title(f"Critical class {results.critical} over thresholds")
    figure.legend(loc="outside lower center", ncols=4, columnspacing=1.0)
    return figure


def thresholds_figure(results: Results) -> Figure | None:
    """The same of every other class, one small panel each."""
    table = results.table("evaluate", "threshold")
    names = [name for name in results.classes if name != results.critical]
    names = [name for name in names if name in set(table.get("class", ()))]
    if not names:
        return None
    columns = min(len(names), PANEL_COLUMNS)
    rows = -(-len(names) // columns)
    figure, axes = style.canvas(
        style.FULL, 0.45 + 1.45 * rows, rows=rows, columns=columns, sharex=True, sharey=True
    )
    style.blank(axes[len(names) :])
    for ax, name in zip(axes, names, strict=False):
        draw_threshold(table[table["class"] == name], ax, target=results.points.specificity)
        frozen = float(table.loc[table["class"] == name, "frozen"].iloc[0])
        ax.set_title(f"{name}, {frozen:.3f}" if np.isfinite(frozen) else name)
        ax.tick_params(labelbottom=True)
    figure.supxlabel("threshold on the probability", fontsize=7)
    figure.supylabel("rate", fontsize=7)
    handles, words = axes[0].get_legend_handles_labels()
    labels = ["frozen (in the title)" if each.startswith("frozen") else each for each in words]
    figure.legend(handles, labels, loc="outside upper center", ncols=4, columnspacing=1.0)
    return figure


PANEL_COLUMNS = 4


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
    ax.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    ax.grid()


def outcome_statistics_figure(results: Results) -> Figure | None:
    """Histograms of image statistics of right and wrong calls, beside each other."""
    found = results.table("cases", "outcome_statistics")
    if found.empty:
        return None
    names = list(found["statistic"].unique())
    figure, axes = style.canvas(style.FULL, OUTCOMES_HEIGHT, columns=len(names))
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
