"""How often are planted failures found, and how often is one called that was not planted?

python -m benchmarks.power                  in full: ten minutes on an idle core
python -m benchmarks.power --quick          10 worlds a cell, one minute
python -m benchmarks.power --draw-only      table and chart again, from the CSV that is there

Worlds of `power_worlds.py` are audited with the product's own functions over and over, and beside
them by the procedures that were rejected. Writes power.csv, table.md, power.svg and power.png.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.power_chart import draw_chart, write_table
from benchmarks.power_worlds import PARAMS, SPECIFICITY, World, draw
from medaudit.audits import slices
from medaudit.audits.slice_tests import Share, SliceTests
from medaudit.core.files import write_text
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.stats.group_permutation import permuted_gaps
from medaudit.stats.hypothesis_tests import holm
from medaudit.stats.max_t import step_down
from medaudit.tables import operating_points
from medaudit.tables.predictions import PredictionTable
from medaudit.tables.scoring import ScoredPredictions

DROPS, LESIONS = (0.0, 0.2, 0.3, 0.4), (19, 40, 63)
CELLS = (
    *(World(drop, lesions) for drop in DROPS for lesions in LESIONS),
    *(World(drop, 40, column="device") for drop in DROPS[1:]),
)
METRIC = "critical_sensitivity"
PRODUCT, ONE_SIDED, TWO_SIDED, HOLM = "product", "test role alone", "two-sided", "bootstrap, Holm"
ALPHA = 0.05


def tests_of(
    table: PredictionTable, intervals: IntervalParams, *, pooled: bool
) -> tuple[SliceTests, list[Share]]:
    """The product's tests of a table, at thresholds of its calibration role."""
    points = operating_points.choose(table.role("calibration"), specificity=SPECIFICITY)
    test, calibration = (
        ScoredPredictions(table.role(name), points) for name in ("test", "calibration")
    )
    counted = calibration if pooled else None
    frozen = slices.freeze(table.role("train").rows, PARAMS, calibration=counted)
    return slices.slice_tests_of(test, frozen, PARAMS, intervals)


def by_product(
    table: PredictionTable, intervals: IntervalParams, *, pooled: bool, metric: str | None = None
) -> pd.DataFrame:
    """Calls of the product: one row per slice and tested measure, or per slice for one measure."""
    tests, shares = tests_of(table, intervals, pooled=pooled)
    found = tests.table([each for each in shares if metric in (None, each.metric)])
    return found.assign(
        slice=[tests.measured[place].label for place in found["place"]],
        called=found["verdict"] == "worse",
    )


def by_two_sided(table: PredictionTable, intervals: IntervalParams) -> pd.DataFrame:
    """The same permutations of the test role, asked for a difference in either direction."""
    tests, shares = tests_of(table, intervals, pooled=False)
    share = next(each for each in shares if each.metric == METRIC)
    family = [
        place
        for place, each in enumerate(tests.measured)
        if each.column in PARAMS.confirmed and share.rests_on(each.mask, PARAMS)
    ]
    gaps = permuted_gaps(
        ~share.right[share.cases],
        tests.pooled[share.cases][:, family],
        share.group_ids[share.cases],
        replicates=intervals.replicates,
        seed=intervals.seed,
    )
    judged = step_down(np.abs(gaps.harm / gaps.errors), np.abs(gaps.null))
    called = (judged.adjusted <= ALPHA) & (gaps.harm > 0)
    return _rows([tests.measured[place].label for place in family], called, "confirmatory")


def by_bootstrap(table: PredictionTable, intervals: IntervalParams) -> pd.DataFrame:
    """What was done before: two-sided p-values of the bootstrap, Holm over all slices."""
    tests, shares = tests_of(table, intervals, pooled=False)
    share = next(each for each in shares if each.metric == METRIC)
    names = [each for each in tests.measured if share.rests_on(each.mask, PARAMS)]
    bootstrap = Bootstrap.of_groups(share.group_ids, intervals)
    gaps = []
    for each in names:
        inside, outside = (
            bootstrap.subset(mask).replicate(share.measure(mask))
            for mask in (each.mask, ~each.mask)
        )
        gaps.append(bootstrap.paired(inside, outside))
    adjusted = holm([gap.p_value for gap in gaps])
    called = (adjusted <= ALPHA) & np.array([gap.value < 0 for gap in gaps])
    return _rows([each.label for each in names], called, "confirmatory")


def _rows(names: list[str], called: NDArray[np.bool_], family: str) -> pd.DataFrame:
    return pd.DataFrame({"slice": names, "called": called, "metric": METRIC, "family": family})


def counted(found: pd.DataFrame, world: World) -> Iterator[dict[str, object]]:
    """Of every measure and family: was the bad slice called, and how many others were?"""
    # Its other measures are untouched, or fall with the sensitivity (standardised accuracy).
    falls = (found["slice"] == world.bad) & (found["metric"] != "critical_specificity")
    bad = falls & (world.drop > 0)
    for (metric, family), rows in found.assign(bad=bad).groupby(["metric", "family"]):
        yield {
            "metric": metric,
            "family": family,
            "found": float((rows["called"] & rows["bad"]).any()) if rows["bad"].any() else np.nan,
            "n_called": int(rows["called"].sum()),
            "n_false": int((rows["called"] & ~rows["bad"]).sum()),
        }


def simulate(world: World, *, worlds: int, intervals: IntervalParams) -> pd.DataFrame:
    """Audit many worlds of one cell; one row per world, procedure, measure and family."""
    rows = []
    for seed in range(worlds):
        table = draw(world, seed)
        made = {
            PRODUCT: by_product(table, intervals, pooled=True),
            ONE_SIDED: by_product(table, intervals, pooled=False, metric=METRIC),
            TWO_SIDED: by_two_sided(table, intervals),
            HOLM: by_bootstrap(table, intervals),
        }
        rows += [
            {"procedure": name, "seed": seed, **row}
            for name, found in made.items()
            for row in counted(found, world)
        ]
    return pd.DataFrame(rows).assign(**asdict(world))


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Recovery, family-wise error and false discovery rate of every cell.

    `recovery`: share of worlds in which the bad slice is called; `any_false`: in which another one
    is; `false_discovery`: mean share of false ones among those called.
    """
    keys = ["procedure", "metric", "family", "column", "drop", "lesions"]
    false = found["n_false"] / found["n_called"].clip(lower=1)
    made = found.assign(any_false=found["n_false"] > 0, false_discovery=false).groupby(keys)
    table = made.agg(
        worlds=("seed", "size"),
        recovery=("found", "mean"),
        any_false=("any_false", "mean"),
        false_discovery=("false_discovery", "mean"),
    )
    return table.reset_index()


def main() -> None:
    """Simulate, and write into `docs/results/power`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="10 worlds a cell; writes nothing")
    parser.add_argument("--draw-only", action="store_true", help="from power.csv")
    parser.add_argument("--worlds", type=int, default=80, help="of a cell with a failure")
    parser.add_argument("--null", type=int, default=200, help="of a cell without one")
    parser.add_argument("--out", type=Path, default=Path("docs/results/power"))
    options = parser.parse_args()
    if not options.draw_only:
        intervals = IntervalParams(replicates=299)
        n, null = (10, 10) if options.quick else (options.worlds, options.null)
        parts = [
            summary(simulate(each, worlds=n if each.drop else null, intervals=intervals))
            for each in tqdm(CELLS, desc="cells")
        ]
        found = pd.concat(parts, ignore_index=True)
        if options.quick:
            print(found.to_string())
            return
        options.out.mkdir(parents=True, exist_ok=True)
        write_text(options.out / "power.csv", found.to_csv(index=False, float_format="%.4f"))
    found = pd.read_csv(options.out / "power.csv")
    write_table(found, options.out / "table.md")
    draw_chart(found, options.out)


if __name__ == "__main__":
    main()
