"""Planted, found? on a made-up world whose answers can be read off the page."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medaudit.audits import planted
from medaudit.audits.slicing import SliceParams
from medaudit.core.errors import DataError

N = 200
SLICES = {"stage": "slice", "series": "slices", "check": "verdict", "expect": "worse"}


def manifest() -> pd.DataFrame:
    """Every other image is of the test role; clinics a and b, sizes 0 to 99 in either role."""
    i = np.arange(N)
    return pd.DataFrame(
        {
            "sample_id": [f"s{k:03}" for k in i],
            "group_id": [f"g{k:03}" for k in i],
            "role": np.where(i % 2, "test", "train"),
            "target": i // 2 % 2,
            "clinic": np.where(i < N / 2, "a", "b"),
            "size": i // 2,
        }
    )


def ids(rows: pd.DataFrame) -> list[str]:
    return rows["sample_id"].tolist()


def slice_row(name: str, metric: str, verdict: object, p: float = 0.01) -> dict[str, object]:
    numbers = {"gap": -0.3, "gap_low": -0.5, "gap_high": -0.1, "p_adjusted": p, "n": 50}
    return {"slice": name, "metric": metric, "verdict": verdict, **numbers}


def world(plants: list[dict], *, critical: int | None = 1, **series: pd.DataFrame):
    tables = {"slice": series, "prepare": {}}
    if "duplicates" in series:
        tables["prepare"]["duplicates"] = series.pop("duplicates")
    return planted.World(
        truth={"schema": 2, "plants": plants},
        series=tables,
        manifest=manifest(),
        slices=SliceParams(columns=("clinic",), quantiles={"size": 2}),
        critical=critical,
    )


def plant(name: str, *audits: dict, carriers: list[str] | None = None, **more) -> dict:
    told = {"name": name, "expect": "worse", "ids": carriers or ["s001"], "details": {}}
    return {**told, "audits": list(audits), **more}


def only(table: pd.DataFrame) -> pd.Series:
    assert len(table) == 1
    return table.iloc[0]


class TestVerdicts:
    audit = SLICES | {"rows": {"slice": "clinic=a", "metric": "accuracy"}}

    @pytest.mark.parametrize(
        ("verdict", "outcome"),
        [
            ("worse", "found"),
            ("undecided", "missed"),
            ("better", "missed"),
            ("within_margin", "missed"),
            (np.nan, "not measured"),
        ],
    )
    def test_only_the_expected_verdict_finds(self, verdict, outcome):
        table = pd.DataFrame([slice_row("clinic=a", "accuracy", verdict)])
        line = only(planted.compare(world([plant("x", self.audit)], slices=table)))
        assert (line["plant"], line["outcome"], line["audit"]) == ("x", outcome, "slice/slices")
        if outcome != "not measured":
            assert (line["estimate"], line["low"], line["high"]) == (-0.3, -0.5, -0.1)
            assert (line["row"], line["measure"], line["n"]) == ("clinic=a", "accuracy", 50)

    def test_another_slice_or_measure_does_not(self):
        rows = [slice_row("clinic=b", "accuracy", "worse"), slice_row("clinic=a", "f1", "worse")]
        table = pd.DataFrame(rows)
        found = planted.compare(world([plant("x", self.audit)], slices=table))
        assert found["outcome"].tolist()[0] == "not measured"

    def test_a_beginning_stands_for_bins_whose_edges_are_not_known(self):
        audit = SLICES | {"rows": {"slice": "size <=*", "metric": "accuracy"}}
        rows = [
            slice_row("size >49", "accuracy", "undecided"),
            slice_row("size <=49", "accuracy", "worse"),
        ]
        line = only(planted.compare(world([plant("x", audit)], slices=pd.DataFrame(rows))))
        assert (line["outcome"], line["row"]) == ("found", "size <=49")

    def test_a_stage_that_wrote_nothing_measured_nothing(self):
        line = only(planted.compare(world([plant("x", self.audit)])))
        assert line["outcome"] == "not measured"
        assert line["row"] == "clinic=a"


class TestVerdictsOfOtherSeries:
    audit: ClassVar = {
        "stage": "slice",
        "series": "shortcuts",
        "check": "verdict",
        "expect": "alarm",
        "rows": {"property": "ruler", "class": "mel"},
        "prefix": "missed_",
        "numbers": {"n": "n_train"},
    }

    def line(self, **cells: object) -> pd.Series:
        row = {"property": "ruler", "class": "mel", "missed_gap": 0.2, "missed_p_adjusted": 0.01}
        table = pd.DataFrame([row | {"n_train": 40, "verdict": "alarm"} | cells])
        return only(planted.compare(world([plant("x", self.audit)], shortcuts=table)))

    def test_numbers_stand_in_the_columns_that_the_audit_names(self):
        line = self.line()
        assert (line["outcome"], line["row"]) == ("found", "property=ruler, class=mel")
        assert (line["estimate"], line["p_value"], line["n"]) == (0.2, 0.01, 40)
        assert np.isnan(line["low"])

    def test_another_verdict_is_a_miss_and_another_class_is_not_measured(self):
        assert self.line(verdict="associated")["outcome"] == "missed"
        assert self.line(**{"class": "nv"})["outcome"] == "not measured"


class TestCopies:
    pairs = ({"from": "s001", "to": "s003"}, {"from": "s005", "to": "s007"})
    audit: ClassVar = {"stage": "prepare", "series": "duplicates", "check": "pairs"}

    def line(self, *rows: tuple[str, str, bool]) -> pd.Series:
        table = pd.DataFrame(rows, columns=["first", "second", "across_roles"])
        copies = plant("x", self.audit, details={"pairs": list(self.pairs)})
        return only(planted.compare(world([copies], duplicates=table)))

    def test_pairs_in_either_order_are_found(self):
        line = self.line(("s003", "s001", False), ("s005", "s007", False), ("s009", "s011", True))
        assert line["outcome"] == "found"
        assert line["evidence"] == "2 of 2 pairs, 0 in two roles; 1 pairs that were not planted"

    def test_a_pair_that_is_missed_or_parted_is_a_miss(self):
        assert self.line(("s001", "s003", False))["outcome"] == "missed"
        assert self.line(("s001", "s003", False), ("s005", "s007", True))["outcome"] == "missed"


class TestEnrichment:
    audit: ClassVar = {"stage": "slice", "series": "label_issues", "check": "enriched"}

    def line(self, ranked: list[str]) -> pd.Series:
        table = pd.DataFrame({"sample_id": ranked, "role": "test"})
        carriers = [*ids(manifest().query("role == 'test'"))[:10], "s000", "s002"]
        issues = plant("x", self.audit, carriers=carriers)
        return only(planted.compare(world([issues], label_issues=table)))

    def test_the_head_is_as_long_as_the_plant_in_the_roles_that_were_searched(self):
        test = ids(manifest().query("role == 'test'"))
        line = self.line([*test[:4], *test[50:90]])
        assert (line["n_planted"], line["n"], line["estimate"]) == (10, 100, 0.4)
        chance = stats.hypergeom(100, 10, 10)
        assert line["p_value"] == pytest.approx(1 - chance.cdf(3))
        assert line["outcome"] == "found"

    def test_a_head_without_carriers_is_a_miss(self):
        line = self.line(ids(manifest().query("role == 'test'"))[30:80])
        assert (line["outcome"], line["estimate"], line["p_value"]) == ("missed", 0, 1)


class TestCallsThatNobodyPlanted:
    def calls(self, carriers: list[str], row: dict[str, object], **more: object) -> pd.DataFrame:
        audit = SLICES | {"rows": {"slice": "clinic=a", "metric": "accuracy"}}
        tiny = plant("tiny", audit, carriers=carriers)
        found = planted.compare(world([tiny], slices=pd.DataFrame([row]), **more))
        return found[found["outcome"] == "unplanted"]

    def test_a_slice_full_of_carriers_is_explained_by_them(self):
        carriers = ids(manifest().query("role == 'test' and size < 30"))
        call = only(self.calls(carriers, slice_row("size <=49.5", "accuracy", "worse")))
        assert call["plant"] == "tiny"
        assert call["evidence"] == "tiny: 60% of the images inside, 0% of the rest"

    def test_a_slice_with_as_many_as_the_rest_is_not(self):
        carriers = ids(manifest().query("role == 'test' and size % 3 == 0"))
        call = only(self.calls(carriers, slice_row("size <=49.5", "accuracy", "worse")))
        assert (call["plant"], call["evidence"]) == ("", "")

    def test_sensitivity_rests_on_the_images_of_the_critical_class_alone(self):
        carriers = ids(manifest().query("role == 'test' and size < 50 and target == 0"))
        row = slice_row("size <=49.5", "critical_sensitivity", "worse")
        assert only(self.calls(carriers, row))["plant"] == ""
        assert only(self.calls(carriers, row, critical=None))["plant"] == "tiny"

    def test_the_planted_slice_is_no_such_call_whatever_the_measure(self):
        assert self.calls(["s001"], slice_row("clinic=a", "f1", "worse")).empty

    def test_what_was_not_called_is_not_listed(self):
        assert self.calls(["s001"], slice_row("clinic=b", "accuracy", "better")).empty

    def test_a_slice_that_cannot_be_cut_again_says_so(self):
        call = only(self.calls(["s001"], slice_row("found by others", "accuracy", "worse")))
        assert (call["plant"], call["evidence"]) == ("", "its images are not known")


def test_a_plant_counts_when_all_of_its_audits_found_it():
    one = SLICES | {"rows": {"slice": "clinic=a", "metric": "accuracy"}}
    other = SLICES | {"rows": {"slice": "clinic=b", "metric": "accuracy"}}
    rows = [
        slice_row("clinic=a", "accuracy", "worse"),
        slice_row("clinic=b", "accuracy", "undecided"),
        slice_row("size >49.5", "accuracy", "worse"),
    ]
    plants = [plant("whole", one), plant("half", one, other)]
    found = planted.compare(world(plants, slices=pd.DataFrame(rows)))
    assert planted.counts(found) == {
        "n_planted": 2,
        "n_planted_found": 1,
        "n_unplanted": 1,
        "n_unplanted_unexplained": 1,
    }


def test_another_form_or_check_is_an_error():
    with pytest.raises(DataError, match="expected schema 2, got 1"):
        planted.compare(planted.World({"schema": 1}, {}, manifest(), SliceParams(), None))
    with pytest.raises(ValueError, match=r"check of planted\.json"):
        planted.compare(world([plant("x", {"check": "guess"})]))
