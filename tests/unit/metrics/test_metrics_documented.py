"""Every public metric, interval and test has its line in docs/metrics.md."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")

# What all metrics are made of is no metric.
HELPERS = {"medaudit.stats.weighting", "medaudit.metrics.calibration", "medaudit.metrics.inputs"}
# Parts of what is documented, or losses of single cases of which the mean is.
PARTS = {
    "balanced_cases",
    "classes_begun",
    "brier_losses",
    "log_losses",
}


def module_names(package: str) -> list[str]:
    path = importlib.import_module(package).__path__
    return [f"{package}.{each.name}" for each in pkgutil.iter_modules(path)]


def functions_of(module: str) -> set[str]:
    """Public functions that are defined there, without the weighted form of another name."""
    members = inspect.getmembers(importlib.import_module(module), inspect.isfunction)
    own = {name for name, each in members if each.__module__ == module and name[0] != "_"}
    return {name.removeprefix("weighted_") for name in own} - PARTS


@pytest.mark.parametrize("module", sorted({*module_names("medaudit.metrics")} - HELPERS))
def test_every_metric_has_a_line(module: str) -> None:
    missing = {name for name in functions_of(module) if f"`{name}`" not in DOCUMENT}
    assert not missing, f"{module}: no line in docs/metrics.md for {sorted(missing)}"
    assert f"`{module}`" in DOCUMENT


@pytest.mark.parametrize(
    "name",
    [
        "cluster_resamples",
        "estimate",
        "degrees",
        "satterthwaite",
        "few_changes",
        "sign_flip_p_value",
        "clustered_auroc_interval",
        "clustered_auroc_difference",
        "clustered_macro_auroc_interval",
        "bca_from",
        "difference",
        "bootstrap_p_value",
        "wilson",
        "clopper_pearson",
        "auroc_interval",
        "auroc_difference",
        "permuted_gaps",
        "compare_jointly",
        "shrink",
        "holm",
        "benjamini_hochberg",
        "kendall_tau",
    ],
)
def test_intervals_and_tests_have_a_line_and_exist(name: str) -> None:
    assert f"`{name}`" in DOCUMENT
    assert any(name in functions_of(module) for module in module_names("medaudit.stats"))


def test_no_line_is_about_nothing() -> None:
    known = {
        name
        for package in ("medaudit.metrics", "medaudit.stats")
        for module in module_names(package)
        for name in functions_of(module)
    }
    lines = [line for table in tables("name") for line in table]
    named = {name for line in lines for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert len(lines) > 40
    assert named <= known


@pytest.mark.parametrize(("series", "index"), [("discovered", 0), ("shortcuts", 1)])
def test_columns_in_words_are_columns_of_the_series(series: str, index: int) -> None:
    """A name that begins with `_` ends those of several columns."""
    assert DOCUMENT.index("**`discovered.csv`**") < DOCUMENT.index("**`shortcuts.csv`**")
    table = tables("columns")[index]
    named = [name for line in table for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    written = (ROOT / f"plots/slice/{series}.csv").read_text(encoding="utf-8")
    columns = written.partition("\n")[0].split(",")
    ends = tuple(name for name in columns if "_" in name)
    assert len(named) >= 10
    for name in named:
        found = any(end.endswith(name) for end in ends) if name[0] == "_" else name in columns
        assert found, name


def tables(first: str) -> list[list[str]]:
    """The rows of every table whose first column is called so."""
    pattern = rf"^\| {first} \|.*\n\|[ |-]+\n((?:\|.*\n)+)"
    return [found.splitlines() for found in re.findall(pattern, DOCUMENT, flags=re.MULTILINE)]
