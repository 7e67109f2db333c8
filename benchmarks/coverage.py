"""Do nominal 95 % intervals hold the true value in 95 % of test sets? A simulation.

python -m benchmarks.coverage                  in full: about half an hour on one core
python -m benchmarks.coverage --quick          100 test sets of 500 cases a cell: one minute
python -m benchmarks.coverage --draw-only      table and chart again, from the CSV that is there

Test sets of `coverage_samples.py` (group sizes of HAM10000's lesions, of patients, or 1) are drawn
over and over. For each, every metric gets the intervals below, and it is counted how often they
hold the value of a very large population. Writes coverage.csv, table.md, coverage.svg and .png.
"""

import argparse
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.coverage_chart import draw_chart, write_table
from benchmarks.coverage_samples import (
    Design,
    Sample,
    Truth,
    draw,
    points,
    statistics,
    truth,
    with_differences,
)
from medaudit.core.files import write_text
from medaudit.stats import bca, delong
from medaudit.stats import intervals as interval_methods
from medaudit.stats.intervals import Estimate, Statistic, estimate_from, wilson
from medaudit.stats.weighting import Resamples, cluster_resamples

LEVEL = 0.95
CLUSTERED, UNCLUSTERED, BCA = "clustered", "unclustered", "clustered_bca"
EXPANDED, LOGIT_T, DELONG = "clustered_expanded", "clustered_logit_t", "delong"

# Statistics of which the BCa interval is tried; an ECE has kinks.
SMOOTH = ("auroc", "average_precision", "macro_f1", "sensitivity", "aurc", "auroc_delta")
SHARES = ("auroc", "average_precision", "macro_f1", "sensitivity", "aurc")

FULL = (
    *(Design("lesions", p, 500) for p in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)),
    *(Design("lesions", p, 2000) for p in (0.01, 0.05, 0.2, 0.5)),
    *(Design("patients", p, 500) for p in (0.01, 0.05, 0.2, 0.5)),
    *(Design("patients", p, 2000) for p in (0.05, 0.2)),
    *(Design("single", p, 500) for p in (0.01, 0.02, 0.05, 0.2)),
    *(Design("single", p, 2000) for p in (0.01, 0.05)),
)
QUICK = tuple(design for design in FULL if design.rows == 500 and design.prevalence >= 0.05)

Found = dict[tuple[str, str], Estimate]


def intervals(sample: Sample, *, threshold: float, replicates: int, seed: int) -> Found:
    """Every interval of a test set, by metric and method."""
    values = points(sample, threshold)
    resamples, table = _bootstrap(sample, sample.groups, threshold, replicates, seed)
    made: Found = {}
    for name, column in table.items():
        plain = _percentile(name, values[name], column, resamples, sample)
        rests_on = sample.independent(name)
        made[name, CLUSTERED] = plain
        made[name, EXPANDED] = interval_methods.expanded(plain, column, degrees=rests_on - 1)
        if name in SHARES:
            made[name, LOGIT_T] = interval_methods.on_logit_scale(
                plain, column, degrees=rests_on - 1
            )
    for name, statistic in _smooth(sample, threshold).items():
        made[name, BCA] = bca.bca_from(statistic, values[name], table[name], resamples, level=LEVEL)
    if resamples.n_groups == resamples.n:
        return made | _without_resampling(sample)
    alone, table = _bootstrap(sample, np.arange(resamples.n), threshold, replicates, seed)
    for name, column in table.items():
        made[name, UNCLUSTERED] = _percentile(name, values[name], column, alone, sample)
    return made


def _bootstrap(
    sample: Sample, groups: NDArray[np.intp], threshold: float, replicates: int, seed: int
) -> tuple[Resamples, dict[str, NDArray[np.float64]]]:
    resamples = cluster_resamples(groups, replicates=replicates, seed=seed)
    columns = {
        name: statistic(resamples.weights)
        for name, statistic in statistics(sample, threshold=threshold).items()
    }
    return resamples, with_differences(columns)


def _percentile(
    name: str,
    value: float,
    replicates: NDArray[np.float64],
    resamples: Resamples,
    sample: Sample,
) -> Estimate:
    """As the product does it: Wilson's interval where every resample says 0 or every one 1."""
    made = estimate_from(value, replicates, n=resamples.n, n_groups=resamples.n_groups, level=LEVEL)
    if name == "sensitivity" and made.low == made.high:
        n = len(np.unique(resamples.groups[sample.positives]))
        return wilson(round(value * n), n, level=LEVEL)
    return made


def _smooth(sample: Sample, threshold: float) -> dict[str, Statistic]:
    known = statistics(sample, threshold=threshold)

    def delta(weights: NDArray[np.uint16]) -> NDArray[np.float64]:
        return known["shifted_auroc"](weights) - known["auroc"](weights)

    return {name: known.get(name, delta) for name in SMOOTH}


def _without_resampling(sample: Sample) -> Found:
    score = partial(np.take, indices=0, axis=1)
    clean, shifted, positives = score(sample.clean), score(sample.shifted), sample.positives
    return {
        ("auroc", DELONG): delong.auroc_interval(
            clean, positives, level=LEVEL, group_ids=sample.groups
        ),
        ("auroc_delta", DELONG): delong.auroc_difference(shifted, clean, positives, level=LEVEL),
    }


def cell(
    design: Design, known: Truth, *, data_sets: int, replicates: int, seed: int
) -> pd.DataFrame:
    """Coverage of every metric and method in one cell."""
    rows, positive, positive_groups, sizes = [], [], [], []
    for number in tqdm(range(data_sets), desc=_label(design), leave=False):
        generator = np.random.default_rng([seed, *_digits(design), number])
        sample = draw(design, generator)
        positive.append(int(sample.positives.sum()))
        positive_groups.append(sample.positive_groups)
        sizes.append(len(sample.targets))
        made = intervals(
            sample,
            threshold=known.threshold,
            replicates=replicates,
            seed=int(generator.integers(2**31)),
        )
        rows += [(*key, e.low, e.high, e.undefined_share) for key, e in made.items()]
    frame = pd.DataFrame(rows, columns=["metric", "method", "low", "high", "undefined"])
    summary = frame.groupby(["metric", "method"], sort=False).apply(partial(_summary, known))
    return summary.reset_index().assign(
        groups=design.groups,
        prevalence=design.prevalence,
        n=design.rows,
        n_groups=design.n_groups,
        n_positive=np.mean(positive),
        n_positive_groups=np.mean(positive_groups),
        data_sets=data_sets,
        replicates=replicates,
    )


def _label(design: Design) -> str:
    return f"{design.groups}, {design.prevalence:.0%} of {design.rows}"


def _digits(design: Design) -> tuple[int, int, int]:
    kinds = ("lesions", "patients", "single")
    return kinds.index(design.groups), round(1000 * design.prevalence), design.rows


def _summary(known: Truth, found: pd.DataFrame) -> pd.Series:
    metric = found.name[0]
    true = known.metrics[metric]
    defined = found[np.isfinite(found["low"])]
    below, above = (defined["high"] < true).mean(), (defined["low"] > true).mean()
    coverage = 1 - below - above
    return pd.Series(
        {
            "true_value": true,
            "true_value_se": known.errors[metric],
            "coverage": coverage,
            "coverage_se": math.sqrt(coverage * (1 - coverage) / max(1, len(defined))),
            "wholly_below": below,
            "wholly_above": above,
            "mean_width": (defined["high"] - defined["low"]).mean(),
            "undefined_replicates": found["undefined"].mean(),
            "no_interval": 1 - len(defined) / len(found),
        }
    )


def run(
    designs: tuple[Design, ...], *, data_sets: int, replicates: int, seed: int
) -> Iterator[pd.DataFrame]:
    """The cells one after the other."""
    known = {p: truth(p, seed=seed) for p in tqdm(sorted({d.prevalence for d in designs}))}
    for design in tqdm(designs, desc="cells"):
        yield cell(
            design,
            known[design.prevalence],
            data_sets=data_sets,
            replicates=replicates,
            seed=seed,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few test sets of 500 cases")
    parser.add_argument("--draw-only", action="store_true", help="no simulation")
    parser.add_argument("--data-sets", type=int, help="a cell; 1,000, or 100 if quick")
    parser.add_argument("--replicates", type=int, default=1000, help="bootstrap replicates")
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--out", type=Path, default=Path("docs/results/coverage"))
    options = parser.parse_args()
    path = options.out / "coverage.csv"
    if not options.draw_only:
        data_sets = options.data_sets or (100 if options.quick else 1000)
        cells = []
        designs = QUICK if options.quick else FULL
        for made in run(
            designs, data_sets=data_sets, replicates=options.replicates, seed=options.seed
        ):
            # After every cell, so that an interrupted run leaves what it found.
            cells.append(made)
            write_text(path, pd.concat(cells).to_csv(index=False, float_format="%.6g"))
    found = pd.read_csv(path)
    write_table(found, options.out / "table.md")
    draw_chart(found, options.out)


if __name__ == "__main__":
    main()
