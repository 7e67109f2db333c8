"""The section on what was planted, for a study that holds injected failures and for one without."""

import shutil

import pandas as pd
import pytest

from medaudit.core.files import write_json
from medaudit.core.layout import PLANTED
from medaudit.report.blocks import Context, ReportParams
from medaudit.report.results import read_results
from medaudit.report.sections import planted

AUDIT = {
    "stage": "slice",
    "series": "slices",
    "check": "verdict",
    "expect": "worse",
    "rows": {"slice": "dataset=vienna_dias", "metric": "accuracy"},
}


@pytest.fixture
def holding(study, tmp_path):
    """The made-up study with a planted.json and verdicts."""
    root = tmp_path / "study"
    shutil.copytree(study, root)
    path = root / "plots/slice/slices.csv"
    rows = pd.read_csv(path)
    names = rows["slice"].unique()
    rows["verdict"] = "undecided"
    rows["p_adjusted"] = 0.2
    for name in names[:2]:
        at = (rows["slice"] == name) & (rows["metric"] == rows["metric"].iloc[0])
        rows.loc[at, ["verdict", "p_adjusted"]] = ["worse", 0.004]
    rows.to_csv(path, index=False)
    audit = AUDIT | {"rows": {"slice": names[0], "metric": rows["metric"].iloc[0]}}
    other = AUDIT | {"rows": {"slice": "nowhere", "metric": "accuracy"}}
    plants = [
        {"name": name, "expect": "worse", "ids": ["TEST_00001"], "details": {}, "audits": [each]}
        for name, each in (("weak_source", audit), ("ghost", other))
    ]
    write_json(root / PLANTED, {"schema": 2, "plants": plants})
    return root


def context(root):
    return Context(read_results(root), ReportParams(), None, None, "a test")


def test_a_data_set_without_planted_failures_has_no_such_section(study):
    assert planted.section(context(study)) is None
    assert planted.table(read_results(study)).empty


def test_plants_are_counted_and_calls_beyond_them_listed(holding):
    found = planted.section(context(holding))
    text, plants, calls = found["blocks"]
    assert "1 of 2 were found by every audit that should find them" in text["text"]
    assert "Not by all: ghost." in text["text"]
    assert [row[0] for row in plants["rows"]] == ["weak source", "ghost"]
    assert plants["columns"] == ["plant", "expected", "found", "evidence"]
    assert [row[2] for row in plants["rows"]] == ["found", "not measured"]
    assert len(calls["rows"]) == 1
    assert "1 slice was called worse without being planted there" in text["text"]
