"""The tables and the chart of `coverage.py`, from its CSV."""

import math
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from medaudit.core.files import atomic, write_text
from medaudit.report import style

LOW, HIGH = 0.93, 0.97

METRICS = {
    "auroc": "AUROC",
    "auroc_delta": "ΔAUROC, paired",
    "average_precision": "Average precision",
    "macro_f1": "Macro F1",
    "sensitivity": "Sensitivity, frozen cut",
    "aurc": "AURC",
    "ece_delta": "ΔECE, paired",
}
METHODS = {
    "clustered": "groups, percentile",
    "clustered_expanded": "groups, expanded",
    "clustered_logit_t": "groups, logit and t",
    "clustered_bca": "groups, BCa",
    "delong": "DeLong",
    "unclustered": "rows, percentile",
}
COLOURS = {
    "clustered": style.BLUE,
    "clustered_logit_t": "#228833",
    "clustered_expanded": "#228833",
    "clustered_bca": "#CCBB44",
    "unclustered": style.RED,
}
LINES = {500: "-", 2000: ":"}
MARKERS = {"lesions": "o", "patients": "^", "single": "s"}


def few_positive_groups(found: pd.DataFrame) -> pd.DataFrame:
    """How many positive groups each metric and method needs, one row a pair.

    `enough`: fewest groups from which on every cell covers at least 93 %, by the estimate; None
    where the largest cell does not. `surely_short`: most groups of a cell whose coverage is below
    93 % by more than two Monte-Carlo errors; None where there is no such cell.
    """
    rows = []
    for (metric, method), cells in found.groupby(["metric", "method"], sort=False):
        ordered = cells.sort_values("n_positive_groups", ascending=False)
        holds = (ordered["coverage"] >= LOW).cummin()
        short = ordered[ordered["coverage"] + 2 * ordered["coverage_se"] < LOW]
        rows.append(
            {
                "metric": metric,
                "method": method,
                "enough": ordered.loc[holds, "n_positive_groups"].min(),
                "surely_short": short["n_positive_groups"].max(),
                "lowest": cells["coverage"].min(),
                "highest": cells["coverage"].max(),
            }
        )
    return pd.DataFrame(rows)


def write_table(found: pd.DataFrame, path: Path) -> None:
    """Markdown: what each method needs, then one table of cells a metric."""
    parts = [
        "# Coverage of nominal 95 % intervals, cell by cell",
        "Written by `python -m benchmarks.coverage`. In %; bold is outside 93 to 97.",
        "## Positive groups that are needed",
        "`enough`: from so many on, every cell covers at least 93 %. `surely short`: the largest "
        "cell that is below 93 % by more than two Monte-Carlo errors.",
        _needs(few_positive_groups(found)),
    ]
    for metric, title in METRICS.items():
        parts += [f"## {title}", _cells(found[found["metric"] == metric])]
    write_text(path, "\n\n".join(parts) + "\n")


def _needs(needed: pd.DataFrame) -> str:
    lines = ["| metric | interval | enough | surely short | lowest | highest |", "|" + " --- |" * 6]
    for metric, title in METRICS.items():
        rows = needed[needed["metric"] == metric].set_index("method")
        for method, label in METHODS.items():
            if method in rows.index:
                row = rows.loc[method]
                cells = (
                    *(title, label, _count(row["enough"]), _count(row["surely_short"])),
                    *(_percent(row["lowest"]), _percent(row["highest"])),
                )
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _count(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.0f}"


def _percent(share: float) -> str:
    if math.isnan(share):
        return "-"
    text = f"{100 * share:.1f}"
    return text if LOW <= share <= HIGH else f"**{text}**"


def _cells(found: pd.DataFrame) -> str:
    methods = [method for method in METHODS if method in set(found["method"])]
    heads = ["groups", "n", "prevalence", "positive groups", *(METHODS[m] for m in methods)]
    lines = ["| " + " | ".join([*heads, "undefined", "no interval"]) + " |"]
    lines.append("|" + " --- |" * (len(heads) + 2))
    for _, cell in found.groupby(["groups", "n", "prevalence"]):
        rows = cell.set_index("method")
        first = rows.loc["clustered"]
        texts = [
            *(first["groups"], f"{first['n']:,}", f"{first['prevalence']:.0%}"),
            f"{first['n_positive_groups']:.1f}",
            *(_percent(rows["coverage"].get(method, math.nan)) for method in methods),
            *(f"{first[name]:.1%}" for name in ("undefined_replicates", "no_interval")),
        ]
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines)


def draw_chart(found: pd.DataFrame, folder: Path) -> None:
    """Coverage against the number of positive groups: one panel a metric, one colour a method."""
    with style.styled():
        figure, axes = style.canvas(style.FULL, 3.9, rows=2, columns=4, sharex=True, sharey=True)
        for ax, (metric, title) in zip(axes, METRICS.items(), strict=False):
            ax.set_title(title)
            draw_panel(found[found["metric"] == metric], ax)
        for ax in (axes[0], axes[4]):
            ax.set_ylabel("coverage")
        for ax in axes[4:7]:
            ax.set_xlabel("positive groups (mean)")
        axes[3].tick_params(labelbottom=True)
        _legend(axes[7])
        style.save(figure, folder / "coverage.svg")
        with atomic(folder / "coverage.png") as part:
            figure.savefig(part, format="png", dpi=200, metadata={"Software": None})


def draw_panel(found: pd.DataFrame, ax: Axes) -> None:
    """One metric; lines join the cells of the lesions."""
    ax.axhspan(LOW, HIGH, color="#dfe7ee", linewidth=0)
    ax.axhline(0.95, color="#8899aa", linewidth=0.6)
    small = "clustered_logit_t" if "clustered_logit_t" in set(found["method"]) else None
    shown = ["unclustered", "clustered_bca", small or "clustered_expanded", "clustered"]
    for method in shown:
        rows = found[found["method"] == method].sort_values("n_positive_groups")
        for n, dashes in LINES.items():
            cells = rows[(rows["groups"] == "lesions") & (rows["n"] == n)]
            ax.plot(
                cells["n_positive_groups"],
                cells["coverage"],
                dashes,
                color=COLOURS[method],
                linewidth=0.9,
            )
        for kind, marker in MARKERS.items():
            cells = rows[rows["groups"] == kind]
            ax.errorbar(
                cells["n_positive_groups"],
                cells["coverage"],
                1.96 * cells["coverage_se"],
                fmt=marker,
                color=COLOURS[method],
                markersize=2.8,
                elinewidth=0.5,
            )
    ax.set_xscale("log")
    ax.set_xticks([3, 10, 30, 100, 300], labels=["3", "10", "30", "100", "300"])
    ax.minorticks_off()
    ax.set_xlim(2.5, 1100)
    ax.set_ylim(0.65, 1.0)


def _legend(ax: Axes) -> None:
    style.blank([ax])
    labels = {
        "clustered": "groups, percentile",
        "clustered_logit_t": "groups, logit-t; Δ: expanded",
        "clustered_bca": "groups, BCa",
        "unclustered": "rows, percentile",
    }
    lines = [Line2D([], [], color=COLOURS[name], label=text) for name, text in labels.items()]
    kinds = {
        "lesions": "lesions (dotted: n = 2,000)",
        "patients": "patients, mixed labels",
        "single": "every case a group",
    }
    marks = [
        Line2D(
            [], [], color="#444444", marker=MARKERS[kind], linestyle="", label=text, markersize=3
        )
        for kind, text in kinds.items()
    ]
    band = Line2D([], [], color="#dfe7ee", linewidth=6, label="93 to 97 %")
    legend = ax.legend(
        handles=[*lines, *marks, band], loc="center left", bbox_to_anchor=(-0.12, 0.5)
    )
    # The panel keeps the width of the others.
    legend.set_in_layout(False)
