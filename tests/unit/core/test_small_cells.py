"""Small cells: what is left out of a table and what goes with it; every table has its rule."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from medaudit.core import findings, small_cells
from medaudit.core.cell_rules import COLUMN, RULES, WORD
from medaudit.core.findings import Findings
from medaudit.core.privacy import Privacy
from medaudit.core.small_cells import Known, released, scalars, suppressed

ROOT = Path(__file__).resolve().parents[3]


def counts_of(**images):
    """Classes of the test role with so many images, each of its own group."""
    rows = [(name, "test", n, n) for name, n in images.items()]
    return pd.DataFrame(rows, columns=["class", "role", "images", "groups"])


def declared():
    """Stage and name of every table of plots/ that dvc.yaml declares."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    paths = [path for stage in stages.values() for plot in stage.get("plots", ()) for path in plot]
    return sorted(
        tuple(path.removesuffix(".csv").split("/")[1:])
        for path in paths
        if path.startswith("plots/")
    )


@pytest.mark.parametrize("table", declared(), ids="/".join)
def test_every_table_of_the_pipeline_has_its_rule(table):
    assert table in RULES, "say in core/cell_rules.py what its cells are, or why it has none"


def test_of_a_table_without_a_rule_no_row_is_left():
    table = pd.DataFrame({"site": ["a"], "n": [400]})
    assert suppressed("slice", "of_tomorrow", table).empty


def test_a_table_without_small_cells_is_left_as_it_is():
    table = pd.DataFrame({"class": ["mel"], "metric": ["auroc"], "value": [0.9], "n": [9]})
    assert suppressed("evaluate", "per_class", table) is table


def test_few_patients_make_a_cell_small_however_many_images_they_gave():
    row = {"class": "mel", "metric": "auroc", "value": 0.9, "low": 0.8, "n": 90, "n_groups": 50}
    table = pd.DataFrame(
        [{**row, "n_positive": 30, "n_positive_groups": groups} for groups in (4, 5)]
    )
    shown = suppressed("evaluate", "per_class", table)
    assert shown[["value", "low", "n_positive"]].isna().all(axis=1).tolist() == [True, False]
    assert shown[COLUMN].tolist()[0] == WORD
    assert pd.isna(shown[COLUMN].tolist()[1])


def test_what_lies_outside_of_a_share_must_not_be_small_either():
    row = {"class": "mel", "metric": "auroc", "value": 0.9, "n": 90}
    table = pd.DataFrame([{**row, "n_positive": n} for n in (86, 85, 90, 0)])
    assert suppressed("evaluate", "per_class", table)["value"].isna().tolist() == [
        True,
        False,
        False,
        False,
    ]


def test_a_mean_over_classes_stands_although_one_of_them_is_small():
    row = {"metric": "macro_auroc", "value": 0.9, "n": 90, "n_groups": 50, "n_positive": np.nan}
    table = pd.DataFrame([{**row, "n_positive_groups": 3}])
    assert suppressed("evaluate", "metrics", table) is table


def test_the_smallest_other_class_goes_with_a_small_one_and_the_critical_one_last():
    assert Known.of(counts_of(df=3, mel=6, bcc=50, nv=300), None).classes == {"df", "mel"}
    assert Known.of(counts_of(df=3, mel=6, bcc=50, nv=300), "mel").classes == {"df", "bcc"}
    assert Known.of(counts_of(mel=3, bcc=50, nv=300), "mel").classes == {"mel", "bcc"}
    assert Known.of(counts_of(df=1, vasc=2, bcc=50), None).classes == {"df", "vasc", "bcc"}
    assert not Known.of(counts_of(df=0, mel=6), "mel").classes


def test_a_hidden_class_is_hidden_in_every_table_of_its_stage():
    known = Known("mel", frozenset({"df", "bcc"}))
    roc = pd.DataFrame({"class": ["df", "nv"], "fpr": [0.0, 0.0], "tpr": [0.5, 0.5]})
    assert suppressed("evaluate", "roc", roc, known=known)["class"].tolist() == ["nv"]
    kept = pd.DataFrame({"class": ["df", "nv"], "n": [3, 300], "recall": [0.5, 0.5]})
    assert suppressed("selective", "per_class", kept, known=known)["n"].isna().tolist() == [
        True,
        False,
    ]
    confusion = pd.DataFrame(
        {"truth": ["df", "nv"], "predicted": ["df", "nv"], "count": [2, 300], "rate": [0.6, 1.0]}
    )
    shown = suppressed("evaluate", "confusion", confusion, known=known)
    assert shown["count"].isna().tolist() == [True, False]


def test_a_refused_slice_of_two_images_loses_its_counts_and_its_reason():
    refused = pd.DataFrame(
        {
            "column": ["sex", "sex", "sex"],
            "slice": ["sex=x", "sex=y", "sex=z"],
            "n": [2, 18, 19],
            "n_positive": [1, 9, 9],
            "reason": ["too small: 2 samples", "too small: 18 samples", "too small: 19 samples"],
        }
    )
    shown = suppressed("slice", "refused", refused, known=Known("mel"))
    # The next larger goes with it; else the size of the column would tell the two.
    assert shown["n"].isna().tolist() == [True, True, False]
    assert WORD in shown["reason"][0]
    assert "18" not in shown["reason"][1]


def test_whole_numbers_stay_whole_and_truths_stay_truths(tmp_path):
    table = pd.DataFrame(
        {"case": [1, 2], "n": [2, 24], "n_turned": [1, 3], "shown": [True, False], "words": "a"}
    )
    shown = suppressed("cases", "sufficiency", table)
    shown.to_csv(tmp_path / "t.csv", index=False)
    assert (tmp_path / "t.csv").read_text().splitlines()[1:] == [
        f"1,,,,a,{WORD}",
        "2,24,3,False,a,",
    ]


def test_the_first_points_of_risk_over_coverage_are_of_five_images_or_more():
    curve = pd.DataFrame({"method": "entropy", "coverage": np.arange(1, 41) / 40, "risk": 0.5})
    summary = pd.DataFrame({"score": ["entropy"], "metric": ["aurc"], "value": [0.1], "n": [40]})
    shown = suppressed("selective", "risk_coverage", curve, beside={"summary": summary})
    assert (shown["coverage"] * 40).round().tolist() == [5, 10, 15, 20, 25, 30, 35, 40]


def test_headline_numbers_of_a_hidden_critical_class_are_words():
    known = Known("mel", frozenset({"mel", "df"}))
    found = scalars("evaluate", {"critical_auroc": 0.9, "n": 90, "macro_auroc": 0.8}, {}, known)
    assert found == {"critical_auroc": WORD, "n": 90, "macro_auroc": 0.8}
    assert scalars("evaluate", {"n_critical": 3}, {}, Known("mel")) == {"n_critical": WORD}


def written(tmp_path, mode):
    folder = tmp_path / mode
    table = counts_of(df=3, mel=40, bcc=50)
    found = Findings({"imbalance_ratio": 16.7}, {"class_counts": table})
    findings.write(found, "prepare", root=folder, privacy=Privacy(mode, tmp_path / "key"))
    scalars_there = json.loads((folder / "metrics/prepare.json").read_text())
    return (folder / "plots/prepare/class_counts.csv").read_bytes(), scalars_there, table


def test_an_open_run_writes_the_table_byte_for_byte(tmp_path):
    there, numbers, table = written(tmp_path, "open")
    assert there == table.to_csv(index=False, lineterminator="\n").encode()
    assert numbers == {"imbalance_ratio": 16.7}


@pytest.mark.parametrize("mode", ["pseudonymous", "aggregate"])
def test_a_closed_run_leaves_the_small_class_and_one_more_out(tmp_path, mode):
    there, numbers, _ = written(tmp_path, mode)
    assert there.decode().splitlines()[1:] == [
        f"df,test,,,{WORD}",
        f"mel,test,,,{WORD}",
        "bcc,test,50,50,",
    ]
    assert numbers == {"imbalance_ratio": WORD}
    # What the other stages and the person who runs them need is whole, in the private folder.
    whole = (tmp_path / mode / "artifacts/whole/prepare/class_counts.csv").read_text()
    assert "df,test,3,3" in whole


def test_a_single_image_of_a_mode_hides_the_mode_in_both_tables():
    modes = pd.DataFrame(
        {
            "mode": ["false_alarm", "stable", "fragile"],
            "n": [1, 50, 20],
            "n_groups": [1, 50, 20],
            "share": 0.1,
            "n_critical": [0, 9, 9],
            "n_flagged": 0,
            "n_critical_flagged": 0,
            "definition": "most often a called b (31 of 144)",
            "example_ids": "",
        }
    )
    failures = modes[["mode", "n", "share", "definition"]].assign(
        bucket="model", n_of=71, of="images"
    )
    found = released("cases", {"taxonomy": modes, "failure_modes": failures}, Known())
    assert found["taxonomy"]["n"].isna().tolist() == [True, False, True]
    assert found["failure_modes"]["n"].isna().tolist() == [True, False, True]
    assert not found["taxonomy"]["definition"].str.contains("31").any()


class TestFoundBySearch:
    """Of two labels one is rare in a slice; only what a search says of that one is left out."""

    SLICES = pd.DataFrame(
        [
            ("view", f"view={view}", metric, output, n, n_positive)
            for view, n, rare in (("AP", 300, 3), ("PA", 500, 60))
            for output, n_positive in (("Hernia", rare), ("Mass", 100))
            for metric in ("sensitivity", "specificity")
        ],
        columns=["column", "slice", "metric", "output", "n", "n_positive"],
    ).assign(n_groups=lambda t: t["n"], n_positive_groups=lambda t: t["n_positive"])
    FOUND = pd.DataFrame(
        {
            "error": ["missed Hernia", "missed Mass", "wrong call"],
            "slice": "view = AP",
            "found_n": 40,
            "n": [30, 100, 300],
            "n_groups": [30, 90, 200],
            "gap": 0.2,
        }
    )

    def test_other_labels_of_the_slice_stand(self):
        tables = {"slices": self.SLICES, "discovered": self.FOUND}
        counts = pd.DataFrame({"class": ["Hernia", "Mass"], "images": [63, 200], "groups": 63})
        known = small_cells.Known.of(counts, None)
        assert ("view=AP", "Hernia") in small_cells.hidden_slices(tables, None)[1]
        shown = small_cells.suppressed(
            "slice", "discovered", self.FOUND, beside=tables, known=known
        )
        assert shown["n"].isna().tolist() == [True, False, False]
        assert shown["gap"].isna().tolist() == [True, False, False]
