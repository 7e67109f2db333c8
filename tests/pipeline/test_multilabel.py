"""The same nine stages on images with several findings each, from a table of one's own."""

import json
import re
import shutil

import pandas as pd
import pytest
import yaml
from small_repo import SMALL, Repo

pytestmark = [pytest.mark.slow, pytest.mark.pipeline]

LABELS = {"ruler", "hair", "ink", "bubbles"}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, fresh_repo) -> Repo:
    """The small repository with the profile for several findings, after `dvc repro`."""
    repo = fresh_repo.copy(tmp_path_factory.mktemp("labelled") / "repo")
    shutil.copy(repo.path / "profiles/phantom-multilabel.yaml", repo.path / "params.yaml")
    repo.params(**SMALL)
    repo.params(cases={"confident": 0.1})
    return repo.built()


def scalars(repo, stage):
    return json.loads((repo.path / f"metrics/{stage}.json").read_text())


def series(repo, stage, name):
    return pd.read_csv(repo.path / f"plots/{stage}/{name}.csv")


def test_a_second_repro_does_nothing(labelled):
    done = labelled.run("dvc", "repro")
    assert re.findall(r"Running stage '(\w+)'", done.stdout) == []


def test_every_label_has_its_threshold_its_reliability_and_its_prevalence(labelled):
    points = json.loads((labelled.path / "artifacts/operating_points.json").read_text())
    assert set(points["classes"]) == LABELS
    assert len(set(points["thresholds"])) == len(LABELS)
    assert set(series(labelled, "calibrate", "events")["event"]) == LABELS
    assert set(series(labelled, "calibrate", "reliability")["event"]) == LABELS
    per_class = series(labelled, "evaluate", "per_class").drop_duplicates("class")
    truth = yaml.safe_load((labelled.path / "params.yaml").read_text())["data"]["labels"]
    assert per_class["class"].tolist() == truth
    assert per_class["prevalence"].between(0, 1, inclusive="neither").all()


def test_affine_calibration_fits_every_label(labelled):
    fitted = json.loads((labelled.path / "artifacts/calibrators.json").read_text())
    assert set(fitted) == {"identity", "temperature", "affine"}
    assert {f"slope_{name}" for name in LABELS} <= set(fitted["affine"])


def test_roles_never_part_a_lesion(labelled):
    rows = pd.read_parquet(labelled.path / "artifacts/prepared/manifest.parquet")
    assert not rows.drop_duplicates(["group_id", "role"])["group_id"].duplicated().any()
    assert {len(target) for target in rows["target"]} == {len(LABELS)}
    assert max(sum(target) for target in rows["target"]) > 1


def test_deferral_weighs_missed_labels(labelled):
    found = scalars(labelled, "selective")
    assert 0 <= found["risk"] <= 1
    frozen = json.loads((labelled.path / "artifacts/deferral.json").read_text())
    assert frozen["threshold"] == pytest.approx(found["threshold"], abs=1e-6)


def test_cases_and_report_know_several_findings(labelled):
    cases = json.loads((labelled.path / "artifacts/cases/cases.json").read_text())["cases"]
    known = LABELS | {"(none)"}
    assert cases
    for case in cases:
        assert set(case["truth"].split(" + ")) | set(case["predicted"].split(" + ")) <= known
    assert (labelled.path / "report/report.pdf").read_bytes().startswith(b"%PDF")
    assert "ruler" in (labelled.path / "report/report.html").read_text(encoding="utf-8")
