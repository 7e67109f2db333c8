"""No interval is printed that covers too seldom and does not say so: the committed tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import coverage_shipped
from benchmarks.coverage_samples import Design
from medaudit.stats.intervals import FEW_POSITIVE_GROUPS

RESULTS = Path(__file__).parents[3] / "docs/results/coverage"
LEAST = 0.93
# Of the method table, what a report prints of each metric; of an ECE and its change nothing.
PRINTED = {
    "auroc": "clustered_logit_t",
    "auroc_delta": "clustered_expanded",
    "average_precision": "clustered_expanded",
    "macro_f1": "clustered_expanded",
    "sensitivity": "clustered_expanded",
    "aurc": "clustered_expanded",
}
CAUTIONED = ("auroc", "auroc_delta", "average_precision", "macro_f1", "sensitivity")


def short(coverage: pd.Series, errors: pd.Series) -> pd.Series:
    """Below 93 % by more than 3 standard errors: once in 700 cells by chance."""
    return coverage + 3 * errors < LEAST


def test_what_does_not_cover_mostly_says_so() -> None:
    """Where few groups decide, the test sets without a caution are a selection: rows are judged."""
    found = pd.read_csv(RESULTS / "shipped.csv")
    found = found[found["intervals"] > 0]
    error = np.sqrt(LEAST * (1 - LEAST) / found["intervals"])
    wrong = found[short(found["coverage"], error)]
    told = 1 - wrong["without_caution"] / wrong["intervals"]
    assert wrong[told < 0.75][["metric", "groups", "prevalence"]].to_numpy().tolist() == []


def test_rows_that_are_mostly_silent_cover() -> None:
    found = pd.read_csv(RESULTS / "shipped.csv")
    silent = found[found["without_caution"] > found["intervals"] / 2]
    assert len(silent) > 300
    error = np.sqrt(LEAST * (1 - LEAST) / silent["without_caution"])
    wrong = silent[short(silent["coverage_without_caution"], error)]
    assert wrong[["metric", "groups", "prevalence"]].to_numpy().tolist() == []


def test_silent_intervals_cover_on_average() -> None:
    found = pd.read_csv(RESULTS / "shipped.csv")
    silent = found[found["without_caution"] > 0]
    mean = np.average(silent["coverage_without_caution"], weights=silent["without_caution"])
    assert 0.93 < mean < 0.97


def test_no_interval_has_no_width() -> None:
    found = pd.read_csv(RESULTS / "shipped.csv")
    assert (found["zero_width"] == 0).all()


def test_an_ece_is_printed_without_an_interval() -> None:
    found = pd.read_csv(RESULTS / "shipped.csv")
    errors = found[found["metric"].str.endswith("ece")]
    assert len(errors)
    assert (errors["intervals"] == 0).all()


@pytest.mark.parametrize("metric", PRINTED)
def test_the_method_that_is_printed_covers_or_has_a_caution(metric: str) -> None:
    found = pd.read_csv(RESULTS / "coverage.csv")
    cells = found[(found["metric"] == metric) & (found["method"] == PRINTED[metric])]
    if metric in CAUTIONED:
        cells = cells[cells["n_positive_groups"] >= FEW_POSITIVE_GROUPS]
    assert len(cells) >= 10
    assert not short(cells["coverage"], cells["coverage_se"]).any()


@pytest.mark.slow
def test_a_cell_of_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage_shipped, "POPULATION_BLOCKS", 1)
    monkeypatch.setattr(coverage_shipped, "POPULATION_ROWS", 20_000)
    names = ("macro_auroc", "balanced_accuracy", "ece", "rare_npv")
    found = coverage_shipped.cell(
        Design("lesions", 0.2, 300), data_sets=3, replicates=100, seed=0, only=names
    )
    own = {*names, *(coverage_shipped.change_of(name) for name in names)}
    assert set(found["metric"]) == own | {"macro_auroc, clustered DeLong"}
    assert found.loc[found["metric"] != "ece", "true_value"].notna().all()
    path = tmp_path / "shipped.csv"
    found.to_csv(path, index=False)
    again = coverage_shipped.merged(found.assign(coverage=0.5), path)
    assert len(again) == len(found)
    assert (again["coverage"] == 0.5).all()
    coverage_shipped.write_table(found, tmp_path / "shipped.md")
    assert "| ece | - |" in (tmp_path / "shipped.md").read_text(encoding="utf-8")
