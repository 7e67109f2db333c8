"""Do the intervals that reports print hold the true value, or say that they may not?

python -m benchmarks.coverage_shipped                 cells and test sets as committed
python -m benchmarks.coverage_shipped --draw-only     the table again, from the CSV that is there

Test sets of `coverage_samples.py` become prediction tables, and every measure of the audits gets
the interval and the caution that a report would print, and so does its change under the shifted
condition. Counted is how often the interval holds the value of a very large population: among all
intervals, and among those that carry no caution. Writes shipped.csv and shipped.md.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.coverage_samples import SPECIFICITY, Design, Sample, draw
from medaudit.audits import selective
from medaudit.audits.slice_tests import SliceTests, shares_of
from medaudit.audits.slicing import Slice, SliceParams
from medaudit.core.files import write_text
from medaudit.metrics import operating
from medaudit.stats import delong
from medaudit.stats.bootstrap import VALUE_ALONE, Bootstrap, IntervalParams, Measure
from medaudit.stats.intervals import Estimate, caution, point
from medaudit.tables import measures
from medaudit.tables.operating_points import OperatingPoints
from medaudit.tables.predictions import PredictionTable, Schema
from medaudit.tables.scoring import ScoredPredictions

SCHEMA = Schema(task="multiclass", classes=("rare", "common", "other"), critical_class="rare")
KEPT = 0.8
POPULATION_BLOCKS, POPULATION_ROWS = 5, 100_000
SURE_SIGNAL = 3.2

CELLS = (
    *(Design("lesions", p, 500) for p in (0.03, 0.2)),
    Design("lesions", 0.2, 500, SURE_SIGNAL),
    Design("patients", 0.2, 500),
    Design("lesions", 0.015, 500),
    Design("lesions", 0.08, 500),
    Design("single", 0.03, 500),
    Design("lesions", 0.03, 500, SURE_SIGNAL),
)


@dataclass(frozen=True)
class Frozen:
    """Thresholds of the population: of every class, and of the confidence that keeps a case."""

    points: OperatingPoints
    kept: float


@dataclass(frozen=True, eq=False)
class World:
    """A test set under both conditions, and the measures of the audits on each of them."""

    sample: Sample
    frozen: Frozen
    only: Sequence[str] = ()

    @property
    def clean(self) -> dict[str, Measure]:
        test = scored(self.sample, self.sample.clean, self.frozen)
        return audited(test, self.frozen, self.only)

    @property
    def shifted(self) -> dict[str, Measure]:
        test = scored(self.sample, self.sample.shifted, self.frozen)
        return audited(test, self.frozen, self.only)


Estimates = Mapping[str, Estimate]

# What else gives estimates of a test set: `(world, bootstrap) -> name to Estimate`. A name that
# `truths` does not know needs its true value there.
Source = Callable[[World, Bootstrap], Estimates]


def table_of(sample: Sample, probabilities: NDArray[np.float64]) -> PredictionTable:
    """A test set as audits read it."""
    n = len(sample.targets)
    rows = pd.DataFrame(
        {
            "sample_id": [f"{i:07d}" for i in range(n)],
            "group_id": [f"{g:07d}" for g in sample.groups],
            "role": "test",
        }
    )
    logits = np.log(np.maximum(probabilities, 1e-30)).astype(np.float32)[None]
    return PredictionTable(SCHEMA, rows, sample.targets.astype(np.int64), logits)


def scored(
    sample: Sample, probabilities: NDArray[np.float64], frozen: Frozen | None
) -> ScoredPredictions:
    """The same with frozen thresholds."""
    points = None if frozen is None else frozen.points
    return ScoredPredictions(table_of(sample, probabilities), points)


def freeze(design: Design, *, seed: int) -> Frozen:
    """Thresholds of one block of the population."""
    sample = draw(population(design), np.random.default_rng([seed, 1]))
    found = scored(sample, sample.clean, None)
    thresholds = tuple(
        operating.threshold_at_specificity(
            found.probabilities[~found.positives[:, k], k], specificity=SPECIFICITY
        )
        for k in range(len(SCHEMA.classes))
    )
    negatives = tuple(int(n) for n in (~found.positives).sum(axis=0))
    points = OperatingPoints(SCHEMA.classes, thresholds, SPECIFICITY, negatives, None)
    return Frozen(points, float(np.quantile(found.confidence_score(), 1 - KEPT)))


def population(design: Design) -> Design:
    """Independent cases of the same kind."""
    return Design("single", design.prevalence, POPULATION_ROWS, design.signal)


def audited(
    test: ScoredPredictions, frozen: Frozen, only: Sequence[str] = ()
) -> dict[str, Measure]:
    """Measures of the audits, by name; those of one class with a prefix.

    Of the measures without an interval the ECE stands for all. With `only` these alone.
    """
    risks = test.risks()
    parameters = selective.SelectiveParams()
    kept = test.confidence_score(parameters.primary) >= frozen.kept
    parts = {
        "": (
            *measures.measures(test),
            *selective.measures(test, risks, parameters, score=parameters.primary),
            *selective.kept_measures(test, kept, risks),
        ),
        "rare_": measures.per_output_measures(test, 0),
    }
    named = {prefix + each.name: each for prefix, found in parts.items() for each in found}
    return {
        name: each
        for name, each in named.items()
        if (name == "ece" or each.interval_kind not in VALUE_ALONE) and (not only or name in only)
    }


def without_resampling(world: World, bootstrap: Bootstrap) -> Estimates:
    """DeLong's intervals for groups."""
    sample, level = world.sample, bootstrap.params.level
    first, other, groups = sample.clean, sample.shifted, sample.groups
    positives, rest = sample.positives, (first, np.eye(3, dtype=bool)[sample.targets])
    return {
        "critical_auroc, clustered DeLong": delong.clustered_auroc_interval(
            first[:, 0], positives, groups, level=level
        ),
        "change of critical_auroc, clustered DeLong": delong.clustered_auroc_difference(
            other[:, 0], first[:, 0], positives, groups, level=level
        ),
        "macro_auroc, clustered DeLong": delong.clustered_macro_auroc_interval(
            *rest, groups, level=level
        ),
    }


def of_a_slice(world: World, bootstrap: Bootstrap) -> Estimates:
    """Gaps of a slice that sees the shifted condition while the rest sees the clean one.

    A quarter of the groups, of the rare class a half: the true gap of a sensitivity, a specificity
    or the accuracy standardised to the class mix is the change under that condition. Each end of an
    interval is tested at 97.5 %.
    """
    sample = world.sample
    _, first, groups = np.unique(sample.groups, return_index=True, return_inverse=True)
    chances = np.where(sample.targets[first] == 0, 0.5, 0.25)
    drawn = np.random.default_rng([bootstrap.params.seed, 4]).random(len(first)) < chances
    inside = drawn[groups]
    probabilities = np.where(inside[:, np.newaxis], sample.shifted, sample.clean)
    test = scored(sample, probabilities, world.frozen)
    level = (1 + bootstrap.params.level) / 2
    params = bootstrap.params.model_copy(update={"level": level})
    part = Slice("part", "changed", inside)
    tests = SliceTests([part], inside[:, np.newaxis], SliceParams(), (), params)
    rows = tests.table(shares_of(test, None))
    return {
        f"{change_of(GAPS[row.metric])}, gap of a slice": Estimate(
            value=row.gap,
            low=row.gap_low,
            high=row.gap_high,
            n=row.gap_n,
            n_groups=bootstrap.n_groups,
            n_positive=row.gap_n_positive,
            method=row.interval,
            undefined_share=0.0,
        )
        for row in rows.itertuples()
    }


GAPS = {
    "standardised_accuracy": "accuracy",
    "critical_sensitivity": "critical_sensitivity",
    "critical_specificity": "critical_specificity",
}

SOURCES: tuple[Source, ...] = (without_resampling, of_a_slice)


def estimates(world: World, *, replicates: int, seed: int) -> dict[str, Estimate]:
    """Every interval of a test set, by name; `change of ...` is shifted minus clean."""
    bootstrap = Bootstrap.of_groups(
        world.sample.groups, IntervalParams(replicates=replicates, seed=seed)
    )
    clean, shifted = (
        {name: bootstrap.replicate(each) for name, each in found.items()}
        for found in (world.clean, world.shifted)
    )
    found: dict[str, Estimate] = {}
    for name, each in clean.items():
        found[name] = bootstrap.interval(each)
        found[change_of(name)] = bootstrap.paired(shifted[name], each)
    for source in SOURCES:
        made = source(world, bootstrap)
        found |= {name: each for name, each in made.items() if name.split(",")[0] in found}
    return found


def change_of(name: str) -> str:
    """Name of a change under the shifted condition."""
    return f"change of {name}"


def truths(
    design: Design, frozen: Frozen, *, seed: int, only: Sequence[str] = ()
) -> dict[str, float]:
    """True values: means over populations of independent cases."""
    blocks = []
    for number in range(POPULATION_BLOCKS):
        sample = draw(population(design), np.random.default_rng([seed, 2, number]))
        world, n = World(sample, frozen, only), len(sample.targets)
        clean, shifted = (
            {name: point(each.statistic, n) for name, each in found.items()}
            for found in (world.clean, world.shifted)
        )
        changes = {change_of(name): shifted[name] - value for name, value in clean.items()}
        blocks.append(clean | changes)
    return {name: float(np.mean([block[name] for block in blocks])) for name in blocks[0]}


def cell(
    design: Design, *, data_sets: int, replicates: int, seed: int, only: Sequence[str] = ()
) -> pd.DataFrame:
    """Coverage of every printed interval in one cell."""
    frozen = freeze(design, seed=seed)
    known, rows, groups = truths(design, frozen, seed=seed, only=only), [], []
    for number in tqdm(range(data_sets), desc=label(design), leave=False):
        digits = [seed, 3, round(1000 * design.prevalence), design.rows, number]
        generator = np.random.default_rng(digits)
        sample = draw(design, generator)
        groups.append(sample.positive_groups)
        world_seed = int(generator.integers(2**31))
        world = World(sample, frozen, only)
        made = estimates(world, replicates=replicates, seed=world_seed)
        rows += [
            (name, each.low, each.high, caution(each), known[name.split(",")[0]])
            for name, each in made.items()
        ]
    frame = pd.DataFrame(rows, columns=["metric", "low", "high", "caution", "true"])
    found = frame.groupby("metric", sort=False).apply(summary).reset_index()
    return found.assign(
        groups=design.groups,
        prevalence=design.prevalence,
        n=design.rows,
        signal=design.signal,
        n_positive_groups=np.mean(groups),
        data_sets=data_sets,
        replicates=replicates,
    )


def label(design: Design) -> str:
    """A cell in words."""
    return f"{design.groups}, {design.prevalence:.1%} of {design.rows}, signal {design.signal:g}"


def summary(found: pd.DataFrame) -> pd.Series:
    """Coverage of all intervals of a measure, and of those without a caution."""
    defined = found[np.isfinite(found["low"])]
    held = (defined["low"] <= defined["true"]) & (defined["true"] <= defined["high"])
    silent = defined["caution"] == ""
    width = (defined["high"] - defined["low"]).mean()
    return pd.Series(
        {
            "true_value": found["true"].iloc[0],
            "intervals": len(defined),
            "coverage": held.mean(),
            "below": (defined["high"] < defined["true"]).mean(),
            "mean_width": width,
            "without_caution": int(silent.sum()),
            "coverage_without_caution": held[silent].mean() if silent.any() else math.nan,
            "zero_width": int((defined["high"] == defined["low"]).sum()),
        }
    )


def run(
    *, data_sets: int, replicates: int, seed: int, only: Sequence[str] = ()
) -> Iterator[pd.DataFrame]:
    """The cells one after the other."""
    for design in tqdm(CELLS, desc="cells"):
        yield cell(design, data_sets=data_sets, replicates=replicates, seed=seed, only=only)


def merged(made: pd.DataFrame, path: Path) -> pd.DataFrame:
    """New rows in the place of those of the same measure and cell, and the others as they were."""
    keys = ["metric", "groups", "prevalence", "n", "signal"]
    before = [pd.read_csv(path)] if path.exists() else []
    return pd.concat([*before, made]).drop_duplicates(keys, keep="last", ignore_index=True)


def write_table(found: pd.DataFrame, path: Path) -> None:
    """Markdown: a row a measure, a column a cell; bold is a silent interval below 93 %."""
    keys = ["groups", "n", "prevalence", "signal"]
    cells = [(name, part.set_index("metric")) for name, part in found.groupby(keys, sort=False)]
    heads = [
        f"{kind} {n} {p:.1%}, {part['n_positive_groups'].iloc[0]:.0f}"
        + (", sure" if signal == SURE_SIGNAL else "")
        for (kind, n, p, signal), part in cells
    ]
    lines = [
        "# Coverage of the intervals that reports print",
        "Written by `python -m benchmarks.coverage_shipped`. In %; heads: kind of groups, n, share "
        "of the rare class, its groups on average; *sure*: a model that hardly errs. In brackets "
        "where most carry a caution; bold: silent intervals below 93 %; - without an interval.",
        "\n".join(
            [
                "| " + " | ".join(["measure", *heads]) + " |",
                "|" + " --- |" * (len(heads) + 1),
                *(
                    "| " + " | ".join([name, *(text(part, name) for _, part in cells)]) + " |"
                    for name in found["metric"].unique()
                ),
            ]
        ),
    ]
    write_text(path, "\n\n".join(lines) + "\n")


def text(part: pd.DataFrame, metric: str) -> str:
    """One cell of the table."""
    if metric not in part.index:
        return ""
    row = part.loc[metric]
    if not row["intervals"]:
        return "-"
    if row["without_caution"] < row["intervals"] / 2:
        return f"({100 * row['coverage']:.0f})"
    share = f"{100 * row['coverage_without_caution']:.1f}"
    return f"**{share}**" if row["coverage_without_caution"] < 0.93 else share


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draw-only", action="store_true", help="no simulation")
    parser.add_argument("--data-sets", type=int, default=200, help="a cell")
    parser.add_argument("--replicates", type=int, default=400, help="bootstrap replicates")
    parser.add_argument("--only", nargs="*", default=(), help="measures, beside the rows there")
    parser.add_argument("--seed", type=int, default=2025)
    parser.add_argument("--out", type=Path, default=Path("docs/results/coverage"))
    options = parser.parse_args()
    path, make = options.out / "shipped.csv", partial(run, seed=options.seed, only=options.only)
    if not options.draw_only:
        for made in make(data_sets=options.data_sets, replicates=options.replicates):
            write_text(path, merged(made, path).to_csv(index=False, float_format="%.6g"))
    write_table(pd.read_csv(path), options.out / "shipped.md")


if __name__ == "__main__":
    main()
