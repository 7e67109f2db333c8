"""What may leave a run, by `report.privacy`: pseudonyms, tables, cases, and the key."""

import re
import stat

import pandas as pd
import pytest

from medaudit.core import findings, privacy
from medaudit.core.errors import DataError, ParamsError
from medaudit.core.findings import Findings
from medaudit.core.params import parse
from medaudit.core.privacy import Privacy, PrivacyParams, joined, parted

KEY = "a key that everybody may know"
ISSUES = pd.DataFrame({"rank": [1, 2], "sample_id": ["s1", "s2"], "given": ["mel", "nv"]})
PAIRS = pd.DataFrame({"first": ["s1", "s3"], "second": ["s2", "s4"], "distance": [2.0, 3.0]})
MODES = pd.DataFrame({"mode": ["miss", "alarm"], "n": [2, 0], "example_ids": ["s1 s2", None]})
TABLES = {"label_issues": ISSUES, "duplicates": PAIRS, "modes": MODES}


@pytest.fixture(autouse=True)
def known_key(monkeypatch):
    monkeypatch.setenv(privacy.KEY_VARIABLE, KEY)


def words(frame):
    return set(re.split(r"[\s,]+", frame.to_csv(index=False)))


class TestPseudonyms:
    def test_one_id_has_one_name_and_samples_and_groups_differ(self):
        run = Privacy()
        assert run.name("s1") == run.name("s1") == Privacy().name("s1")
        assert re.fullmatch("S-[A-Z2-7]{10}", run.name("s1"))
        assert run.name("s1", "G")[2:] != run.name("s1")[2:]

    def test_another_key_gives_other_names(self, monkeypatch):
        first = Privacy().name("s1")
        monkeypatch.setenv(privacy.KEY_VARIABLE, "another key that nobody knows")
        assert Privacy().name("s1") != first

    def test_open_names_are_ids_and_no_key_is_made(self, monkeypatch, tmp_path):
        monkeypatch.delenv(privacy.KEY_VARIABLE)
        assert Privacy("open", tmp_path / "key").name("s1") == "s1"
        assert not list(tmp_path.iterdir())

    def test_two_ids_of_one_name_are_refused(self, monkeypatch):
        monkeypatch.setattr(privacy, "LENGTH", 1)
        run = Privacy()
        with pytest.raises(DataError, match="have the pseudonym S-"):
            [run.name(f"s{i}") for i in range(33)]

    def test_whom_they_stand_for_is_told_to_the_owner(self):
        run = Privacy()
        names = {run.name(each): each for each in ("s2", "s1")}
        assert dict(run.table().to_numpy().tolist()) == names


class TestKey:
    @pytest.fixture(autouse=True)
    def from_a_file(self, monkeypatch):
        monkeypatch.delenv(privacy.KEY_VARIABLE)

    def test_it_is_drawn_once_and_only_its_owner_reads_it(self, tmp_path):
        path = tmp_path / "artifacts/.pseudonym_key"
        key = privacy.read_key(path)
        assert len(key) == 2 * privacy.KEY_BYTES
        assert privacy.read_key(path) == key
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [each.name for each in path.parent.iterdir()] == [path.name]
        assert privacy.read_key(tmp_path / "other") != key

    def test_the_environment_goes_first(self, tmp_path, monkeypatch):
        path = tmp_path / "key"
        privacy.read_key(path)
        monkeypatch.setenv(privacy.KEY_VARIABLE, KEY)
        assert privacy.read_key(path) == KEY.encode()

    @pytest.mark.parametrize("content", ["", "short", " \n"])
    def test_a_key_that_could_be_guessed_is_refused(self, tmp_path, content, monkeypatch):
        path = tmp_path / "key"
        path.write_text(content)
        with pytest.raises(DataError, match="expected a key of 16 characters or more"):
            privacy.read_key(path)
        monkeypatch.setenv(privacy.KEY_VARIABLE, content)
        with pytest.raises(DataError, match=f"{privacy.KEY_VARIABLE}: expected a key"):
            privacy.read_key(path)


class TestTables:
    def test_open_leaves_them_as_they_are(self):
        for name, frame in privacy.released(TABLES, privacy=Privacy("open")).items():
            pd.testing.assert_frame_equal(frame, TABLES[name])

    def test_pseudonyms_stand_in_place_of_ids(self):
        run = Privacy()
        shown = privacy.released(TABLES, privacy=run)
        assert not {"s1", "s2", "s3", "s4"} & set().union(*map(words, shown.values()))
        assert shown["label_issues"]["sample_id"].tolist() == [run.name("s1"), run.name("s2")]
        assert shown["label_issues"]["given"].tolist() == ["mel", "nv"]
        assert parted(shown["modes"]["example_ids"][0]) == [run.name("s1"), run.name("s2")]
        assert shown["modes"]["example_ids"].isna().tolist() == [False, True]
        assert ISSUES["sample_id"].tolist() == ["s1", "s2"]

    def test_the_order_of_rows_does_not_tell_who_is_who(self):
        many = pd.DataFrame({"first": [f"s{i}" for i in range(20)], "distance": range(20)})
        shown = privacy.released({"duplicates": many}, privacy=Privacy())["duplicates"]
        assert shown["first"].is_monotonic_increasing
        assert not shown["distance"].is_monotonic_increasing

    def test_aggregates_speak_of_no_single_image(self):
        shown = privacy.released(TABLES, privacy=Privacy("aggregate"))
        assert shown["label_issues"].empty
        assert list(shown["label_issues"]) == list(ISSUES)
        assert shown["duplicates"].empty
        assert shown["modes"]["n"].tolist() == [2, 0]
        assert set(shown["modes"]["example_ids"]) == {""}

    def test_ids_that_are_numbers_or_hold_spaces_are_ids(self):
        run = Privacy()
        frame = pd.DataFrame({"sample_id": [17], "sample_ids": [joined(["case 1", "case 2"])]})
        shown = privacy.released({"t": frame}, privacy=run)["t"]
        assert shown["sample_id"].tolist() == [run.name("17")]
        assert parted(shown["sample_ids"][0]) == [run.name("case 1"), run.name("case 2")]

    def test_what_was_found_stands_whole_among_the_artefacts(self, tmp_path):
        run = Privacy()
        findings.write(Findings({"n": 2}, TABLES), "slice", root=tmp_path, privacy=run)
        whole = findings.read_table("slice", "label_issues", root=tmp_path)
        pd.testing.assert_frame_equal(whole, ISSUES)
        told = pd.read_csv(tmp_path / "artifacts/whole/slice/pseudonyms.csv")
        assert dict(told.to_numpy().tolist()) == run.given
        shown = (tmp_path / "plots/slice/label_issues.csv").read_text()
        assert run.name("s1") in shown
        assert "s1" not in shown

    def test_stages_read_the_setting_and_nothing_is_said_where_it_is_wrong(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "params.yaml"
        path.write_text("report: {title: t, privacy: aggregate}")
        findings.write(Findings({}, TABLES), "slice")
        assert len(pd.read_csv(tmp_path / "plots/slice/label_issues.csv")) == 0
        path.write_text("report: {privacy: anonymous}")
        with pytest.raises(ParamsError, match=r"report.privacy.*'open', 'pseudonymous' or 'agg"):
            findings.write(Findings({}, TABLES), "stress")
        assert not (tmp_path / "plots/stress").exists()

    def test_who_says_nothing_gets_pseudonyms(self, tmp_path):
        asked = parse(PrivacyParams, {"report": {"title": "t"}}, source=tmp_path)
        assert asked.privacy == "pseudonymous"


ROWS = pd.DataFrame(
    {
        "group_id": [f"g{i}" for i in range(20)],
        "age": [51.0] * 8 + [58.0] * 8 + [93.0] * 4,
        "patient_age": [95] * 10 + [101] * 10,
        "sex": ["f"] * 10 + ["m"] * 9 + ["x"],
        "scanned": ["2019-03-04"] * 6 + ["2019-11-30"] * 10 + ["2021-01-01"] * 4,
        "contrast": [i / 100 for i in range(20)],
    }
)


class TestFacts:
    @pytest.mark.parametrize(
        ("name", "value", "told"),
        [
            ("age", 51.0, "50 to 59"),
            ("age", 93.0, "rare value"),  # 4 groups
            ("patient_age", 101, "90 or more"),
            ("sex", "f", "f"),
            ("sex", "x", "rare value"),
            ("scanned", "2019-11-30", "2019"),
            ("scanned", "2021-01-01", "rare value"),
            ("contrast", 0.06, "0.0475 to 0.095"),
            ("contrast", 0.19, "above 0.143"),
            ("sex", None, None),
        ],
    )
    def test_they_are_told_as_far_as_many_share_them(self, name, value, told):
        assert privacy.coarse(value, name, ROWS) == told

    def test_groups_are_counted_and_not_images(self):
        alike = ROWS.assign(sex="f", group_id=["a", "b", "c", "d"] * 5)
        assert privacy.coarse("f", "sex", alike) == "rare value"

    def test_what_nobody_else_is_known_by_is_left_out(self):
        assert privacy.coarse_facts({"sex": "f", "name": "Ada"}, ROWS) == {"sex": "f"}


DOSSIER = {
    "n_test": 20,
    "taxonomy": [{"mode": "miss", "example_ids": "s1 s2"}],
    "cases": [
        {
            "number": 1,
            "sample_id": "s1",
            "group_id": "g1",
            "facts": {"age": 51.0, "sex": "x"},
            "context": {"nearest": [{"sample_id": "s9", "truth": "nv", "distance": 0.5}]},
            "evidence": [{"sample_id": "s1", "intervention": "mirrored"}],
        }
    ],
    "galleries": [{"title": "t", "sample_ids": ["s1", "s3"], "captions": ["a", "b"]}],
}


class TestCases:
    def test_open_is_as_it_was(self):
        assert privacy.released_cases(DOSSIER, ROWS, privacy=Privacy("open")) == DOSSIER

    def test_ids_are_replaced_wherever_they_stand(self):
        run = Privacy()
        shown = privacy.released_cases(DOSSIER, ROWS, privacy=run)
        assert not re.search(r"\b[sg]\d\b", str(shown))
        (case,) = shown["cases"]
        assert (case["sample_id"], case["group_id"]) == (run.name("s1"), run.name("g1", "G"))
        assert case["facts"] == {"age": "50 to 59", "sex": "rare value"}
        assert case["context"]["nearest"][0]["sample_id"] == run.name("s9")
        assert shown["galleries"][0]["sample_ids"] == [run.name("s1"), run.name("s3")]
        assert DOSSIER["cases"][0]["sample_id"] == "s1"

    def test_aggregates_hold_none(self):
        shown = privacy.released_cases(DOSSIER, ROWS, privacy=Privacy("aggregate"))
        assert shown == {"n_test": 20, "taxonomy": [], "cases": [], "galleries": []}
