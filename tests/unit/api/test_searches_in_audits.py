"""What `ma.audit` finds by search, by metadata alone, and what it says it cannot measure."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

import medaudit as ma
from medaudit.api import record
from medaudit.api.settings import Asked, Settings
from medaudit.audits import evaluate
from medaudit.data.external_arrays import ArrayInputs, read_arrays
from medaudit.report import comparison_sentences
from medaudit.report.blocks import Context, ReportParams
from medaudit.report.results import read_results
from medaudit.report.sections import found as found_section
from medaudit.stats.bootstrap import Bootstrap

CLASSES = ["bkl", "mel", "nv"]
PARAMS = {
    "intervals": {"replicates": 200},
    "calibrate": {"floor_replicates": 50},
    "discovery": {"permutations": 99},
}


def world(seed, *, fails=False, moved=0.0, n=900):
    """Predictions of two images per patient; at one site of four, cameras of one kind fail."""
    rng = np.random.default_rng(seed)
    patients = np.arange(n) // 2

    def once(values):
        return np.asarray(values)[patients]

    metadata = pd.DataFrame(
        {
            "patient": [f"p{i:04d}" for i in patients],
            "role": once(np.where(np.arange(n // 2) < n // 6, "calibration", "test")),
            "site": once(rng.integers(1, 5, n // 2)),
            "camera": once(rng.choice(["old", "new"], n // 2)),
            "age": once(rng.integers(20, 90, n // 2)).astype(float),
        }
    )
    metadata["age"] += moved * (metadata["role"] == "test")
    targets = rng.integers(0, 3, n)
    share = np.full(n, 0.15)
    if fails:
        share[(metadata["site"] == 2) & (metadata["camera"] == "old")] = 0.75
    called = np.where(rng.random(n) < share, (targets + 1) % 3, targets)
    logits = 3.0 * np.eye(3)[called] + rng.normal(0, 0.5, (n, 3))
    return targets, logits, metadata


def audited(given, **changes):
    targets, logits, metadata = given
    options = {
        "classes": CLASSES,
        "critical": "mel",
        "metadata": metadata,
        "groups": "patient",
        "roles": "role",
        "slices": ["site", "camera"],
        "quantiles": {"age": 4},
        "params": PARAMS,
    } | changes
    return ma.audit(targets, logits=logits, **options)


@pytest.fixture(scope="module")
def planted():
    return audited(world(0, fails=True, moved=15.0))


def lacking(found):
    return dict(found.not_measured.itertuples(index=False))


class TestPlanted:
    def test_the_failing_slice_is_found_and_confirmed(self, planted):
        table = planted.discovered
        assert set(table["found_on"]) == {"calibration"}
        wrong = table[(table["error"] == "wrong call") & (table["verdict"] == "confirmed")]
        best = wrong.loc[wrong["gap"].idxmax()]
        # Numbers that are sliced by value are searched by value.
        assert set(best["slice"].split(" and ")) == {"site = 2.0", "camera = old"}
        assert best["gap"] == pytest.approx(0.6, abs=0.12)
        assert 0 < best["gap_low"] < best["gap"] < best["gap_high"]
        scalars = planted.findings["slice"].scalars
        assert scalars["n_discovered_confirmed"] == (table["verdict"] == "confirmed").sum()

    def test_roles_that_differ_in_age_are_told_apart_by_it(self, planted):
        (row,) = planted.role_drift.query("features == 'properties'").to_dict("records")
        assert row["comparison"] == "calibration against test"
        assert row["verdict"] == "differ"
        assert row["leading"].startswith("age (")

    def test_what_is_not_measured_says_what_it_needs(self, planted):
        assert lacking(planted) == {
            "shortcuts": "rows of the train role",
            "clusters of embeddings": "embeddings",
            "label issues": "embeddings",
        }
        assert not {"shortcuts", "label_issues"} & set(planted.findings["slice"].series)

    def test_the_report_tells_it(self, planted, tmp_path):
        planted.write(tmp_path)
        results = read_results(tmp_path, only=tuple(planted.findings))
        section = found_section.section(Context(results, ReportParams(), None, None, "a test"))
        told = " ".join(each["text"] for each in section["blocks"] if each["kind"] == "text")
        assert re.search(r"Slices: \d+ were found on calibration, .* confirmed on test", told)
        assert "Not measured: shortcuts (they need rows of the train role);" in told
        assert "clusters of embeddings and label issues (they need embeddings)." in told
        first = comparison_sentences.unnamed(results)
        assert "confirmed on test; the largest gap" in first
        assert "Roles are told apart: calibration against test by properties" in first

    def test_the_named_slices_are_those_of_an_audit_that_does_not_look(self, planted):
        left_out = audited(world(0, fails=True, moved=15.0), discover=False)
        pd.testing.assert_frame_equal(left_out.slices, planted.slices)
        assert left_out.discovered.empty
        assert left_out.role_drift.empty
        assert set(lacking(left_out)) == set(record.SOUGHT)
        assert set(lacking(left_out).values()) == {"to be asked for, and were left out"}


WORLDS = 40


@pytest.fixture(scope="module")
def found():
    """What is found in worlds in which nothing is planted."""
    return [searched(seed).series for seed in range(100, 100 + WORLDS)]


def searched(seed):
    """What an audit runs to search a world in which nothing is planted, without its other parts."""
    targets, logits, metadata = world(seed, n=600)
    tables = read_arrays(
        ArrayInputs(
            targets,
            logits,
            "logits",
            classes=CLASSES,
            critical="mel",
            metadata=metadata,
            groups="patient",
            roles="role",
            slices=["site", "camera"],
            quantiles={"age": 4},
        )
    )
    asked = Asked("multiclass", "mel", ("site", "camera", "age"), {"age": 4}, None, True)
    settings = Settings.of(PARAMS, asked, source=Path("params"))
    points = evaluate.freeze(tables.clean.role("calibration"), settings.evaluate)
    bootstrap = Bootstrap.of_groups(tables.clean.role("test").group_ids, settings.intervals)
    return record.unnamed(tables.clean, points, settings, bootstrap)


def of_kind(table, kind):
    return table[table["error"] == kind]


class TestChance:
    """Worlds in which nothing is planted; every kind of error has a family-wise error of 0.05."""

    most = binom.ppf(0.99, WORLDS, 0.05)
    """Worlds with a false call, in 99 of 100 such sets of worlds."""

    @pytest.mark.parametrize("kind", ["wrong call", "missed mel", "false alarm of mel"])
    def test_slices_are_confirmed_no_more_often_than_stated(self, found, kind):
        tables = [of_kind(each["discovered"], kind) for each in found]
        assert sum(not each.empty for each in tables) > WORLDS / 4
        confirmed = [(each["verdict"] == "confirmed").any() for each in tables]
        assert sum(confirmed) <= self.most

    def test_roles_differ_no_more_often_than_stated(self, found):
        differ = [(each["role_drift"]["verdict"] == "differ").any() for each in found]
        assert sum(differ) <= self.most

    def test_an_audit_searches_in_the_same_way(self, found):
        table = audited(world(100, n=600)).discovered
        pd.testing.assert_frame_equal(table, found[0]["discovered"])
        assert not (table["verdict"] == "confirmed").any()


class TestWhatIsLacking:
    def test_without_a_calibration_role_nothing_can_be_found_beforehand(self):
        found = audited(world(0, fails=True), roles=None, calibration=0)
        needs = "a calibration role: here thresholds are cross-fitted"
        assert lacking(found)["slices that nobody named"] == needs
        assert lacking(found)["differences between roles"] == needs
        assert set(lacking(found)) == set(record.SOUGHT)
        assert found.discovered.empty
        assert found.role_drift.empty
        assert "n_discovered" not in found.findings["slice"].scalars

    def test_drawn_roles_differ_by_chance_alone(self):
        found = audited(world(0, fails=True), roles=None)
        assert lacking(found)["differences between roles"] == (
            "a column of roles: drawn ones differ by chance alone"
        )
        assert found.role_drift.empty
        assert not found.discovered.empty

    def test_without_metadata_there_is_nothing_to_search(self):
        targets, logits, metadata = world(0)
        roles = metadata["role"].tolist()
        found = audited(
            (targets, logits, None), groups=None, roles=roles, slices=None, quantiles=None
        )
        assert lacking(found)["slices that nobody named"] == (
            "metadata columns of two values or more"
        )
        assert found.discovered.empty


def test_the_section_of_a_parameter_file_is_read():
    found = audited(world(0), params=PARAMS | {"discovery": {"exclude": ["site", "camera", "age"]}})
    assert found.settings.discovery.exclude == ("site", "camera", "age")
    assert "metadata columns" in lacking(found)["slices that nobody named"]
