"""How often is a known harm under stress called, and how often one that is none?

python -m benchmarks.power_stress              in full: about a quarter of an hour on one core
python -m benchmarks.power_stress --quick      10 worlds a cell, writes nothing
python -m benchmarks.power_stress --draw-only  table and chart again, from the CSV that is there

A world is a test set of lesions, clean and under 30 conditions. All of these redraw the same noise;
one also weakens every class (`fading`) or raises the critical one (`alarm`) by a known amount. The
product's own tests judge them, and beside them what it did before: the two-sided p-value of a
paired bootstrap, times 30 (Holm's first step). Writes stress.csv, .md, .svg and .png.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.optimize import brentq
from scipy.stats import rankdata
from tqdm import tqdm

from medaudit.audits import condition_tests
from medaudit.core.files import atomic, write_text
from medaudit.report import style
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables.operating_points import OperatingPoints
from medaudit.tables.predictions import Condition, PredictionTable, Schema
from medaudit.tables.scoring import Conditions, ScoredPredictions

SCHEMA = Schema("multiclass", ("ak", "bcc", "bkl", "df", "mel", "nv", "vasc"), "mel")
CRITICAL = SCHEMA.critical_index
SHARES = np.array([0.07, 0.07, 0.1, 0.06, 0.17, 0.46, 0.07])
SIZES = np.array([1, 1, 1, 2, 3])
SIGNAL, SPECIFICITY, N_CONDITIONS = 2.2, 0.95, 30
POPULATION = 30_000
HARMED = "harmed-1"
PRODUCT, BEFORE = "sign flips, max-T", "bootstrap, Holm"
METRICS = {
    "macro_auroc": "Macro AUROC",
    "critical_sensitivity": "Sensitivity",
    "critical_specificity": "Specificity",
    "standardised_accuracy": "Accuracy",
}
ALPHA, MARGIN = 0.05, 0.05


@dataclass(frozen=True)
class World:
    """One cell.

    Args:
        kind: `fading` weakens every class, `alarm` raises the critical one.
        fall: of the population's macro AUROC where the world fades, of its specificity where it
            alarms; 0 for none.
        lesions: groups of the test set; five hold eight images.
    """

    kind: str
    fall: float
    lesions: int

    @property
    def strength(self) -> float:
        """What has to be done to the logits for that fall."""
        return strength(self.kind, self.fall) if self.fall else 0.0


CELLS = (
    *(World("fading", fall, 140) for fall in (0.024, 0.0, 0.012, 0.05)),
    *(World("alarm", fall, 140) for fall in (0.05, 0.1, 0.15)),
    *(World("fading", fall, 600) for fall in (0.0, 0.006, 0.012)),
    *(World("alarm", fall, 600) for fall in (0.025, 0.05)),
)


@dataclass(frozen=True, eq=False)
class Cases:
    """Truth and groups of a test set, and the part of its logits that no condition changes."""

    targets: np.ndarray
    groups: np.ndarray
    noise: np.ndarray

    @classmethod
    def drawn(cls, lesions: int, generator: np.random.Generator) -> "Cases":
        """Images of a lesion share its class and half of their noise."""
        groups = np.repeat(np.arange(lesions), generator.choice(SIZES, lesions))
        targets = generator.choice(len(SHARES), size=lesions, p=SHARES)[groups]
        shared = generator.normal(size=(lesions, len(SHARES)))[groups]
        own = generator.normal(size=shared.shape)
        return cls(targets, groups, (shared + own) * np.sqrt(0.5))

    def logits(self, generator: np.random.Generator, kind: str, amount: float) -> np.ndarray:
        """Logits (n, k) of one condition."""
        signal = SIGNAL * (1 - amount * (kind == "fading"))
        found = self.noise + 0.3 * generator.normal(size=self.noise.shape)
        found += signal * (self.targets[:, np.newaxis] == np.arange(len(SHARES)))
        found[:, CRITICAL] += amount * (kind == "alarm")
        return found


@cache
def population() -> tuple[Cases, float]:
    """Many lesions, and the threshold that gives the asked specificity."""
    cases = Cases.drawn(POPULATION, np.random.default_rng(1))
    logits = cases.logits(np.random.default_rng(2), "fading", 0)
    scores = softmax(logits)[cases.targets != CRITICAL, CRITICAL]
    return cases, float(np.quantile(scores, SPECIFICITY))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, k)."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def measured(cases: Cases, logits: np.ndarray, threshold: float) -> dict[str, float]:
    """The tested measures of a population."""
    stated, critical = softmax(logits), cases.targets == CRITICAL
    flagged = stated[:, CRITICAL] > threshold
    aurocs = [auroc(stated[:, k], cases.targets == k) for k in range(len(SHARES))]
    return {
        "macro_auroc": float(np.mean(aurocs)),
        "critical_sensitivity": float(flagged[critical].mean()),
        "critical_specificity": float((~flagged[~critical]).mean()),
        "standardised_accuracy": float((stated.argmax(axis=1) == cases.targets).mean()),
    }


def auroc(scores: np.ndarray, positives: np.ndarray) -> float:
    """By ranks."""
    n = positives.sum()
    outranked = rankdata(scores)[positives].sum() - n * (n + 1) / 2
    return float(outranked / (n * (len(scores) - n)))


@cache
def true_falls(kind: str, amount: float) -> dict[str, float]:
    """Of the population's measures, noise being equal."""
    cases, threshold = population()
    before, after = (
        measured(cases, cases.logits(np.random.default_rng(2), kind, each), threshold)
        for each in (0.0, amount)
    )
    return {name: before[name] - after[name] for name in METRICS}


@cache
def strength(kind: str, fall: float) -> float:
    """The change of logits that brings about a fall."""
    metric = "macro_auroc" if kind == "fading" else "critical_specificity"
    return float(brentq(lambda x: true_falls(kind, x)[metric] - fall, 0, 3, xtol=1e-3))


def draw(world: World, seed: int) -> Conditions:
    """A test set under all conditions, the first of which is harmed."""
    generator = np.random.default_rng([seed, world.lesions])
    cases = Cases.drawn(world.lesions, generator)
    amounts = [world.strength, *[0.0] * (N_CONDITIONS - 1)]
    names = [HARMED, *(f"other_{i}-1" for i in range(1, N_CONDITIONS))]
    k = len(SHARES)
    points = OperatingPoints(SCHEMA.classes, (population()[1],) * k, SPECIFICITY, (100,) * k)
    rows = sample_rows(cases)
    clean = table(cases, rows, cases.logits(generator, world.kind, 0), Condition.clean())
    corrupted = [
        table(cases, rows, cases.logits(generator, world.kind, amount), Condition.parse(name))
        for name, amount in zip(names, amounts, strict=True)
    ]
    return Conditions.aligned(ScoredPredictions(clean, points), corrupted)


def sample_rows(cases: Cases) -> pd.DataFrame:
    """Ids, groups and role."""
    return pd.DataFrame(
        {
            "sample_id": [f"i{i:05}" for i in range(len(cases.targets))],
            "group_id": [f"l{g:05}" for g in cases.groups],
            "role": "test",
        }
    )


def table(
    cases: Cases, rows: pd.DataFrame, logits: np.ndarray, condition: Condition
) -> PredictionTable:
    """Predictions of the test role."""
    return PredictionTable(
        SCHEMA,
        rows,
        cases.targets.astype(np.int64),
        logits[None].astype(np.float32),
        condition=condition,
    )


def counted(world: World, seed: int, params: IntervalParams) -> Iterator[dict[str, object]]:
    """Of every measure of one world: what is called, covered, and said to be detectable."""
    test, falls = draw(world, seed), true_falls(world.kind, world.strength)
    before = called_before(test, params) if world.fall else {}
    for family in condition_tests.families(test):
        rows = condition_tests.comparisons(family, params, margin=MARGIN)
        worse, harmed = rows["verdict"] == "worse", rows["condition"] == HARMED
        truth = np.where(harmed, -falls[family.metric] if world.fall else 0.0, 0.0)
        ends = rows["delta_low"].to_numpy(), rows["delta_high"].to_numpy()
        yield {
            "metric": family.metric,
            "seed": seed,
            "true_fall": falls[family.metric] if world.fall else 0.0,
            "n": len(test.clean),
            "called": bool((worse & harmed).any()),
            "called_before": before.get(family.metric, np.nan),
            "false_calls": bool((worse & ~harmed).any() if world.fall else worse.any()),
            "covered": bool(((ends[0] <= truth) & (truth <= ends[1])).all()),
            "detectable": float(rows.loc[harmed, "minimal_detectable"].iloc[0]),
        }


def called_before(test: Conditions, params: IntervalParams) -> dict[str, bool]:
    """By the paired bootstrap and Holm's first step."""
    bootstrap = Bootstrap.of_groups(test.clean.group_ids, params)
    clean, after = (
        {each.name: each for each in condition_tests.measured(scored)}
        for scored in (test.clean, test.corrupted[0])
    )
    found = {name: bootstrap.paired(after[name], clean[name]) for name in METRICS}
    return {
        name: each.value < 0 and each.p_value * N_CONDITIONS <= ALPHA
        for name, each in found.items()
    }


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """One row per cell and measure, shares of the worlds."""
    keys = ["kind", "fall", "lesions", "metric"]
    made = found.groupby(keys, sort=False).agg(
        worlds=("seed", "size"),
        n=("n", "mean"),
        true_fall=("true_fall", "mean"),
        called=("called", "mean"),
        called_before=("called_before", "mean"),
        false_calls=("false_calls", "mean"),
        covered=("covered", "mean"),
        detectable=("detectable", "median"),
    )
    return made.reset_index()


def simulate(world: World, *, worlds: int) -> pd.DataFrame:
    """Many worlds of one cell."""
    params = IntervalParams()
    rows = [row for seed in range(worlds) for row in counted(world, seed, params)]
    return pd.DataFrame(rows).assign(**asdict(world))


def write_table(found: pd.DataFrame, path: Path) -> None:
    """Markdown, in %."""
    heads = (
        *("condition", "measure", "lesions", "images", "true fall", "called", "called before"),
        *("another called", "all 30 intervals cover", "said to be detectable"),
    )
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for row in found.to_dict("records"):
        cells = (
            *(row["kind"] if row["fall"] else "none", METRICS[row["metric"]], row["lesions"]),
            *(round(row["n"]), f"{100 * row['true_fall']:.1f}"),
            *(percent(row["called"]) if row["fall"] else "-", percent(row["called_before"])),
            *(percent(row["false_calls"]), percent(row["covered"])),
            f"{100 * row['detectable']:.1f}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    head = "# One harmed condition of 30: is it called?\n\n"
    head += "Written by `python -m benchmarks.power_stress`. Falls and shares of worlds in %.\n\n"
    write_text(path, head + "\n".join(lines) + "\n")


def percent(share: float) -> str:
    """Whole per cent."""
    return "-" if np.isnan(share) else f"{100 * share:.0f}"


def draw_chart(found: pd.DataFrame, folder: Path) -> None:
    """Share of worlds in which a true fall is called: one panel a measure."""
    with style.styled():
        figure, axes = style.canvas(style.FULL, 2.3, rows=1, columns=4, sharey=True)
        for ax, (metric, title) in zip(axes, METRICS.items(), strict=True):
            ax.set_title(title)
            draw_panel(found[found["metric"] == metric], ax)
        axes[0].set_ylabel("called worse (share of test sets)")
        axes[1].legend(loc="upper left", fontsize=7, frameon=False, markerscale=0.8)
        style.save(figure, folder / "stress.svg")
        with atomic(folder / "stress.png") as part:
            figure.savefig(part, format="png", dpi=200, metadata={"Software": None})


def draw_panel(found: pd.DataFrame, ax: Axes) -> None:
    """Against the true fall in points; a line each for procedure and size."""
    harmed = found[(found["fall"] > 0) & (found["true_fall"] > 0.002)]
    for lesions, marker in ((140, "o"), (600, "s")):
        rows = harmed[harmed["lesions"] == lesions].sort_values("true_fall")
        falls = 100 * rows["true_fall"]
        ax.plot(
            falls,
            rows["called"],
            marker + "-",
            color=style.BLUE,
            markersize=4,
            label=f"{PRODUCT}, {lesions} lesions",
        )
        ax.plot(
            falls,
            rows["called_before"],
            marker + ":",
            color=style.GREY,
            markerfacecolor="white",
            markersize=4,
            label=f"{BEFORE}, {lesions} lesions",
        )
    ax.axhline(ALPHA, color=style.LIGHT, linewidth=0.8, zorder=0)
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlim(left=0)
    ax.set_xlabel("true fall (points)")


def main() -> None:
    """Simulate, and write into `docs/results/power`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="10 worlds a cell; writes nothing")
    parser.add_argument("--draw-only", action="store_true", help="from stress.csv")
    parser.add_argument("--worlds", type=int, default=40, help="of a cell; twice without harm")
    parser.add_argument("--out", type=Path, default=Path("docs/results/power"))
    options = parser.parse_args()
    if not options.draw_only:
        n = 10 if options.quick else options.worlds
        parts = []
        options.out.mkdir(parents=True, exist_ok=True)
        for each in tqdm(CELLS, desc="cells"):
            parts.append(summary(simulate(each, worlds=n if each.fall else 2 * n)))
            if not options.quick:
                text = pd.concat(parts).to_csv(index=False, float_format="%.4f")
                write_text(options.out / "stress.csv", text)
        if options.quick:
            print(pd.concat(parts).to_string())
            return
    found = pd.read_csv(options.out / "stress.csv")
    write_table(found, options.out / "stress.md")
    draw_chart(found, options.out)


if __name__ == "__main__":
    main()
