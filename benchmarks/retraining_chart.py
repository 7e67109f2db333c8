"""The spread, the table and the chart of `retraining.py`, from its CSV."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from medaudit.core.files import atomic, write_text
from medaudit.report import style

AS_IT_IS = "as_it_is"
SHOWN = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "macro_auroc": "Macro AUROC",
    "critical_auroc": "Melanoma AUROC",
    "critical_sensitivity": "Melanoma sensitivity,\nfrozen threshold",
    "critical_specificity": "Melanoma specificity,\nfrozen threshold",
}
VARIANTS = {AS_IT_IS: "as it is", "ema_0.98": "moving average of the weights"}
SEED = 1234  # of params.yaml
HOLLOW = {"markersize": 2.6, "markerfacecolor": "white", "markeredgewidth": 0.8}


# Data and parameters settle these before training, so that they have no spread.
SETTLED = (
    *(
        "n",
        "n_groups",
        "n_critical",
        "n_outputs_in_means",
        "n_train",
        "n_validation",
        "n_parameters",
    ),
    *("epochs_run", "coverage_asked", "n_conditions", "n_slices", "n_refused"),
)


def spread(found: pd.DataFrame) -> pd.DataFrame:
    """Every headline number that training moves, over the seeds of the training as it is."""
    seeds = found[(found["variant"] == AS_IT_IS) & (found["arithmetic"] == "native")]
    columns = {"seeds": "count", "mean": "mean", "sd": "std", "low": "min", "high": "max"}
    seeds = seeds[~seeds["metric"].isin(SETTLED)]
    made = seeds.groupby(["stage", "metric"])["value"].agg(**columns)
    return made[made["seeds"] > 1].reset_index()


def deviations(found: pd.DataFrame) -> pd.DataFrame:
    """Standard deviation between seeds by measure and variant, over seeds that all have."""
    native = found[(found["arithmetic"] == "native") & (found["stage"] == "evaluate")]
    wide = native.pivot_table(index=["metric", "seed"], columns="variant", values="value").dropna()
    return wide.groupby("metric").std().reindex(list(SHOWN))


def write_table(found: pd.DataFrame, path: Path) -> None:
    """Markdown: spread between seeds, and the value in every arithmetic."""
    variants = [name for name in VARIANTS if name in set(found["variant"])]
    parts = [
        "# Retraining: seeds and arithmetic",
        "Written by `python -m benchmarks.retraining`.",
        "## Standard deviation between seeds",
        _markdown(_between_seeds(found, variants)),
        "## Same seed, another arithmetic: difference to native",
        _markdown(_between_processors(found, variants)),
        "## Every run",
        _markdown(_runs(found)),
    ]
    write_text(path, "\n\n".join(parts) + "\n")


def _between_seeds(found: pd.DataFrame, variants: list[str]) -> pd.DataFrame:
    known, table = deviations(found), spread(found).set_index(["stage", "metric"])
    rows = []
    for metric, name in SHOWN.items():
        own = table.loc[("evaluate", metric)]
        rows.append(
            {
                "measure": name.replace("\n", " "),
                "mean": f"{own['mean']:.3f}",
                "SD": f"{own['sd']:.3f}",
                "range": f"{own['low']:.3f} to {own['high']:.3f}",
                "seeds": f"{own['seeds']:.0f}",
                **{f"SD, {VARIANTS[v]}": f"{known.loc[metric, v]:.3f}" for v in variants},
            }
        )
    return pd.DataFrame(rows)


def _between_processors(found: pd.DataFrame, variants: list[str]) -> pd.DataFrame:
    rows = []
    for arithmetic in dict.fromkeys(found["arithmetic"]):
        for variant in variants if arithmetic != "native" else ():
            here, native = (_values(found, variant, each) for each in (arithmetic, "native"))
            if len(here):
                change = {
                    n.replace("\n", " "): here.get(m) - native.get(m) for m, n in SHOWN.items()
                }
                rows.append(
                    {"arithmetic": arithmetic, "variant": VARIANTS[variant]}
                    | {name: f"{value:+.3f}" for name, value in change.items()}
                )
    return pd.DataFrame(rows)


def _values(found: pd.DataFrame, variant: str, arithmetic: str) -> pd.Series:
    """The measures of clean test images of one variant, in the seed of `params.yaml`."""
    same = (found["variant"] == variant) & (found["arithmetic"] == arithmetic)
    rows = found[same & (found["seed"] == SEED) & (found["stage"] == "evaluate")]
    return rows.set_index("metric")["value"]


def _runs(found: pd.DataFrame) -> pd.DataFrame:
    rows = found[(found["stage"] == "evaluate") & found["metric"].isin(SHOWN)]
    keys = ["variant", "arithmetic", "seed"]
    wide = rows.pivot_table(index=keys, columns="metric", values="value")[list(SHOWN)].reset_index()
    return wide.rename(columns={m: n.replace("\n", " ") for m, n in SHOWN.items()}).round(3)


def _markdown(table: pd.DataFrame) -> str:
    if table.empty:
        return "Not run."
    head = "| " + " | ".join(map(str, table.columns)) + " |"
    rows = ["| " + " | ".join(map(str, row)) + " |" for row in table.to_numpy()]
    return "\n".join([head, "|" + " --- |" * len(table.columns), *rows])


def draw(found: pd.DataFrame, folder: Path) -> None:
    """One row a measure: seeds of each variant, and the interval of the audit of one run."""
    variants = [name for name in VARIANTS if name in set(found["variant"])]
    with style.styled():
        figure, axes = style.canvas(
            style.FULL, 3.6, columns=len(variants), sharex=True, sharey=True
        )
        for ax, variant in zip(axes, variants, strict=True):
            draw_panel(found[found["variant"] == variant], ax)
            ax.set_title(VARIANTS[variant].capitalize())
            ax.set_xlabel("value on the test role")
        axes[0].legend(handles=_marks(), loc="center left", bbox_to_anchor=(0.0, 0.5))
        axes[0].set_yticks(range(len(SHOWN)), list(SHOWN.values()))
        axes[0].set_ylim(len(SHOWN) - 0.4, -0.6)
        style.save(figure, folder / "retraining.svg")
        with atomic(folder / "retraining.png") as part:
            figure.savefig(part, format="png", dpi=200, metadata={"Software": None})


def _marks() -> list[Line2D]:
    bare = {"linestyle": "", "color": style.BLUE}
    return [
        Line2D([], [], marker="o", markersize=3, label="another seed", **bare),
        Line2D([], [], marker="D", label="another instruction set", **bare, **HOLLOW),
        Line2D([], [], color=style.LIGHT, linewidth=5, label="95 % interval, seed 1234"),
    ]


def draw_panel(found: pd.DataFrame, ax: Axes) -> None:
    """Grey: the 95 % interval of the audit of one training; blue: every training."""
    table = found[found["stage"] == "evaluate"]
    first = table[(table["seed"] == SEED) & (table["arithmetic"] == "native")]
    own = first.set_index("metric")["value"]
    ax.grid(visible=True, axis="x")
    for place, metric in enumerate(SHOWN):
        if metric in own:
            ends = (own[f"{metric}_ci_low"], own[f"{metric}_ci_high"])
            ax.plot(ends, [place, place], color=style.LIGHT, linewidth=5, solid_capstyle="butt")
        values = table[table["metric"] == metric]
        seeds = values[values["arithmetic"] == "native"]["value"]
        others = values[values["arithmetic"] != "native"]["value"]
        ax.plot(seeds, [place - 0.12] * len(seeds), "o", color=style.BLUE, markersize=3)
        ax.plot(others, [place + 0.2] * len(others), "D", color=style.BLUE, **HOLLOW)


def write(found: pd.DataFrame, out: Path, *, profile: Path, params: Path) -> None:
    """Everything that follows from the CSV; the spread goes to the profiles, for verify."""
    write_text(profile.with_suffix(".csv"), spread(found).to_csv(index=False, float_format="%.6g"))
    write_text(profile.with_suffix(".yaml"), params.read_text(encoding="utf-8"))
    write_table(found, out / "table.md")
    draw(found, out)
