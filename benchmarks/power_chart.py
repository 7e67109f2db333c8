"""The table and the chart of `power.py`, from its CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest

from medaudit.core.files import atomic, write_text
from medaudit.report import style

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

SENSITIVITY = "critical_sensitivity"
PROCEDURES = {
    "product": ("product: one-sided, calibration pooled", style.BLUE, "o", "-"),
    "test role alone": ("one-sided, test role alone", "#228833", "s", "--"),
    "two-sided": ("two-sided, test role alone", "#CCBB44", "^", "-."),
    "bootstrap, Holm": ("before: bootstrap, Holm", style.RED, "v", ":"),
}
LESIONS = {19: ("o", "-"), 40: ("s", "--"), 63: ("^", "-.")}
MEASURES = {
    SENSITIVITY: "sensitivity",
    "critical_specificity": "specificity",
    "standardised_accuracy": "standardised accuracy",
}


def interval(share: float, worlds: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of simulated worlds."""
    ends = binomtest(round(share * worlds), worlds).proportion_ci(method="wilson")
    return float(ends.low), float(ends.high)


def null_rates(found: pd.DataFrame) -> pd.DataFrame:
    """Worlds without a failure in which a slice is called, over all their cells."""
    null = found[found["drop"] == 0]
    weighted = null.assign(called=null["any_false"] * null["worlds"])
    keys = ["procedure", "metric", "family"]
    rates = weighted.groupby(keys)[["called", "worlds"]].sum().reset_index()
    return rates.assign(rate=rates["called"] / rates["worlds"])


def write_table(found: pd.DataFrame, path: Path) -> None:
    """Markdown: recovery, error where nothing is planted, and error beside a planted failure."""
    parts = [
        "# Planted failures: found, and falsely called",
        "Written by `python -m benchmarks.power`. In %, with 95 % intervals of the simulation.",
        "## Recovery of a slice whose sensitivity drops",
        _recovery(found),
        "## A slice is called where none is worse",
        _errors(null_rates(found)),
        "## Beside a planted failure",
        "Worlds in which a slice that was not planted is called, and the mean share of false ones "
        "among the slices called (false discovery), over all planted cells.",
        _beside(found),
    ]
    write_text(path, "\n\n".join(parts) + "\n")


def _percent(share: float, worlds: int) -> str:
    low, high = interval(share, worlds)
    return f"{100 * share:.0f} ({100 * low:.0f}-{100 * high:.0f})"


def _recovery(found: pd.DataFrame) -> str:
    drops = sorted(drop for drop in found["drop"].unique() if drop)
    heads = [f"drop of {100 * drop:.0f} points" for drop in drops]
    lines = ["| slice | melanoma lesions | procedure | " + " | ".join(heads) + " |"]
    lines.append("|" + " --- |" * (3 + len(drops)))
    planted = found[(found["drop"] > 0) & (found["metric"] == SENSITIVITY)]
    planted = planted.dropna(subset=["recovery"])
    for (family, lesions, name), cells in planted.groupby(["family", "lesions", "procedure"]):
        shown = {
            row["drop"]: _percent(row["recovery"], row["worlds"]) for _, row in cells.iterrows()
        }
        texts = [shown.get(drop, "-") for drop in drops]
        lines.append(f"| {family} | {lesions} | {name} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def _errors(rates: pd.DataFrame) -> str:
    lines = ["| procedure | measure | family | worlds | called |", "|" + " --- |" * 5]
    for _, row in rates.iterrows():
        cells = (row["procedure"], MEASURES[row["metric"]], row["family"], row["worlds"])
        share = _percent(row["rate"], row["worlds"])
        lines.append("| " + " | ".join(map(str, cells)) + f" | {share} |")
    return "\n".join(lines)


def _beside(found: pd.DataFrame) -> str:
    lines = ["| procedure | measure | family | worlds | any false | false discovery |"]
    lines.append("|" + " --- |" * 6)
    planted = found[found["drop"] > 0]
    for (name, metric, family), cells in planted.groupby(["procedure", "metric", "family"]):
        worlds = int(cells["worlds"].sum())
        means = [
            np.average(cells[c], weights=cells["worlds"]) for c in ("any_false", "false_discovery")
        ]
        share = f"{100 * means[1]:.1f}"
        lines.append(
            f"| {name} | {MEASURES[metric]} | {family} | {worlds} | "
            f"{_percent(means[0], worlds)} | {share} |"
        )
    return "\n".join(lines)


def draw_chart(found: pd.DataFrame, folder: Path) -> None:
    """Recovery by procedure, recovery by lesions, and false calls where nothing is planted."""
    with style.styled():
        figure, axes = style.canvas(style.FULL, 3.2, rows=1, columns=3)
        draw_procedures(found, axes[0])
        draw_lesions(found, axes[1])
        draw_errors(null_rates(found), axes[2])
        style.save(figure, folder / "power.svg")
        with atomic(folder / "power.png") as part:
            figure.savefig(part, format="png", dpi=200, metadata={"Software": None})


def _curve(
    cells: pd.DataFrame, ax: Axes, *, colour: str, marker: str, dashes: str, label: str
) -> None:
    cells = cells.sort_values("drop")
    ends = np.array(
        [interval(row["recovery"], row["worlds"]) for _, row in cells.iterrows()]
    ).reshape(-1, 2)
    x = 100 * cells["drop"]
    ax.plot(x, cells["recovery"], dashes, marker=marker, color=colour, markersize=3.5, label=label)
    ax.vlines(x, ends[:, 0], ends[:, 1], color=colour, linewidth=0.7)


def _recovery_axes(ax: Axes) -> None:
    ax.set_ylim(-0.02, 1.02)
    ax.set_xticks([20, 30, 40])
    ax.set_xlabel("drop of sensitivity, points")
    ax.set_ylabel("worlds in which it is found")


def _legend(ax: Axes) -> None:
    """Below the panel: curves of high power fill its upper part, others its lower one."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), fontsize=5.5)


def draw_procedures(found: pd.DataFrame, ax: Axes) -> None:
    """The procedures at 19 melanoma lesions."""
    ax.set_title("19 lesions, by procedure")
    cells = _confirmed(found)
    for name, (label, colour, marker, dashes) in PROCEDURES.items():
        own = cells[(cells["procedure"] == name) & (cells["lesions"] == 19)]
        _curve(own, ax, colour=colour, marker=marker, dashes=dashes, label=label)
    _recovery_axes(ax)
    _legend(ax)


def draw_lesions(found: pd.DataFrame, ax: Axes) -> None:
    """The product by the number of lesions, and in an exploratory column."""
    ax.set_title("Product, by lesions")
    cells = found[(found["procedure"] == "product") & (found["metric"] == SENSITIVITY)]
    cells = cells.dropna(subset=["recovery"])
    for lesions, (marker, dashes) in LESIONS.items():
        own = cells[(cells["lesions"] == lesions) & (cells["family"] == "confirmatory")]
        label = f"{lesions} lesions"
        _curve(own, ax, colour=style.BLUE, marker=marker, dashes=dashes, label=label)
    explored = cells[cells["family"] == "exploratory"]
    _curve(explored, ax, colour="#AA3377", marker="D", dashes=":", label="40, exploratory column")
    _recovery_axes(ax)
    _legend(ax)


def _confirmed(found: pd.DataFrame) -> pd.DataFrame:
    chosen = (found["metric"] == SENSITIVITY) & (found["family"] == "confirmatory")
    return found[chosen].dropna(subset=["recovery"])


def draw_errors(rates: pd.DataFrame, ax: Axes) -> None:
    """Share of null worlds with a call; the line is the nominal 5 %."""
    ax.set_title("Nothing planted")
    shown = rates.iloc[::-1].reset_index(drop=True)
    ax.axvline(0.05, color="#8899aa", linewidth=0.8)
    for place, row in shown.iterrows():
        colour = PROCEDURES[row["procedure"]][1]
        low, high = interval(row["rate"], row["worlds"])
        ax.plot(row["rate"], place, "o", color=colour, markersize=3.5)
        ax.hlines(place, low, high, color=colour, linewidth=0.8)
    labels = [
        f"{row['procedure']}, {MEASURES[row['metric']]}"
        + ("" if row["family"] == "confirmatory" else ", explored")
        for _, row in shown.iterrows()
    ]
    ax.set_yticks(range(len(shown)), labels=labels, fontsize=5)
    ax.set_xlim(0, 0.16)
    ax.set_xlabel("worlds with a false call")
