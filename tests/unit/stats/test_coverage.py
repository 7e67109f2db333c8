"""Do intervals hold the truth as often as they say? The small form of benchmarks/coverage.py."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import coverage, coverage_chart
from benchmarks.coverage_samples import Design, Truth, draw, points, statistics
from medaudit.stats.intervals import Estimate, difference_from, estimate_from, on_logit_scale
from medaudit.stats.weighting import cluster_resamples

DATA_SETS = 400
DESIGN = Design("patients", 0.5, 500)


def auroc_and_delta(seed: int) -> list[tuple[Estimate, Estimate]]:
    """With groups and without: AUROC, and its paired difference between conditions."""
    generator = np.random.default_rng([7, seed])
    sample = draw(DESIGN, generator)
    known = statistics(sample, threshold=0.5)
    rows = np.arange(len(sample.targets))
    values = [points_of(known[name], len(rows)) for name in ("auroc", "shifted_auroc")]
    made: list[tuple[Estimate, Estimate]] = []
    for ids in (sample.groups, rows):
        resamples = cluster_resamples(ids, replicates=300, seed=seed)
        clean, shifted = (known[n](resamples.weights) for n in ("auroc", "shifted_auroc"))
        sizes = {"n": resamples.n, "n_groups": resamples.n_groups}
        delta = difference_from(values[1], values[0], shifted, clean, **sizes)
        made.append((estimate_from(values[0], clean, **sizes), delta))
    return made


def points_of(statistic: object, n: int) -> float:
    assert callable(statistic)
    return float(statistic(np.ones((1, n), dtype=np.uint16))[0])


@pytest.mark.slow
def test_groups_cover_and_rows_do_not() -> None:
    population = draw(Design("single", 0.5, 500_000), np.random.default_rng(0))
    truth = points(population, 0.5)
    held = np.zeros((2, 2))
    for seed in range(DATA_SETS):
        for method, estimates in enumerate(auroc_and_delta(seed)):
            for metric, (made, name) in enumerate(
                zip(estimates, ("auroc", "auroc_delta"), strict=True)
            ):
                held[method, metric] += made.low <= truth[name] <= made.high
    clustered, alone = held / DATA_SETS
    # A coverage of 93 to 97 % is seen as 89.7 to 99.2 % in 400 test sets (2.58 standard errors).
    assert (clustered > 0.897).all()
    assert (clustered < 0.992).all()
    # 95 % would be seen below 90.6 % in one of 30,000 tries (4 standard errors).
    assert (alone < 0.906).all()


@pytest.mark.slow
def test_few_positive_groups_need_the_form_for_small_samples() -> None:
    # 7 positive groups: the percentile interval of an AUROC holds in about 82 of 100 test sets.
    design, truth, held = Design("lesions", 0.02, 500), 0.928, np.zeros(2)
    for seed in range(DATA_SETS):
        sample = draw(design, np.random.default_rng([8, seed]))
        auroc = statistics(sample, threshold=0.5)["auroc"]
        resamples = cluster_resamples(sample.groups, replicates=300, seed=seed)
        replicates = auroc(resamples.weights)
        sizes = {"n": resamples.n, "n_groups": resamples.n_groups}
        plain = estimate_from(points_of(auroc, resamples.n), replicates, **sizes)
        wider = on_logit_scale(plain, replicates, degrees=sample.positive_groups - 1)
        held += [made.low <= truth <= made.high for made in (plain, wider)]
    percentile, logit_t = held / DATA_SETS
    assert percentile < 0.87
    assert 0.897 < logit_t < 0.992


@pytest.mark.slow
@pytest.mark.parametrize("groups", ["lesions", "patients"])
def test_groups_do_not_change_the_true_values(groups: str) -> None:
    # 400,000 rows each: far below the width of any interval of 2,000 rows.
    made, single = (
        points(draw(Design(kind, 0.2, 400_000), np.random.default_rng(1)), 0.6)
        for kind in (groups, "single")
    )
    assert made == pytest.approx(single, abs=0.006)


def test_designs_are_what_they_say() -> None:
    generator = np.random.default_rng(0)
    lesions = draw(Design("lesions", 0.1, 20_000), generator)
    patients = draw(Design("patients", 0.1, 20_000), generator)
    single = draw(Design("single", 0.1, 20_000), generator)
    for sample in (lesions, patients, single):
        assert len(sample.targets) == pytest.approx(20_000, rel=0.03)
        assert sample.positives.mean() == pytest.approx(0.1, abs=0.012)
        assert sample.clean.sum(axis=1) == pytest.approx(np.ones(len(sample.targets)))
    per_group = [len(set(zip(s.groups, s.targets, strict=True))) for s in (lesions, single)]
    assert per_group == [len(set(lesions.groups)), 20_000]
    assert len(set(zip(patients.groups, patients.targets, strict=True))) > len(set(patients.groups))


@pytest.mark.slow
def test_a_cell_its_table_and_its_chart(tmp_path: Path) -> None:
    names = coverage_chart.METRICS
    truth = Truth(0.5, dict.fromkeys(names, 0.5), dict.fromkeys(names, 0.0))
    cells = [
        coverage.cell(design, truth, data_sets=2, replicates=30, seed=0)
        for design in (Design("lesions", 0.3, 60), Design("single", 0.3, 60))
    ]
    found = pd.concat(cells)
    assert set(found["metric"]) == set(coverage_chart.METRICS)
    assert set(found["method"]) == set(coverage_chart.METHODS)
    assert found["coverage"].between(0, 1).all()
    coverage_chart.write_table(found, tmp_path / "table.md")
    assert (tmp_path / "table.md").read_text(encoding="utf-8").count("## ") == 8
    coverage_chart.draw_chart(found, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "table.md",
        "coverage.svg",
        "coverage.png",
    }


def test_how_many_positive_groups_are_enough() -> None:
    # 5 groups are surely short, 10 are short by chance, from 20 on all is well.
    found = pd.DataFrame(
        {
            "metric": "auroc",
            "method": "clustered",
            "n_positive_groups": [20, 5, 10, 40],
            "coverage": [0.94, 0.80, 0.925, 0.95],
            "coverage_se": 0.01,
        }
    )
    needed = coverage_chart.few_positive_groups(found).iloc[0]
    assert (needed["enough"], needed["surely_short"]) == (20, 5)
    assert (needed["lowest"], needed["highest"]) == (0.80, 0.95)
