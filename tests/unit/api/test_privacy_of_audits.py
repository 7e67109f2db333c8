"""Who is named in the folder of an audit, by `report.privacy`."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import medaudit as ma
from medaudit.cli import app
from medaudit.core.errors import ParamsError
from tests.leaks import leaks

pytestmark = pytest.mark.slow  # whole audits, with their reports

N = 240
CLASSES = ["bkl", "mel", "nv"]
PARAMS = {
    "intervals": {"replicates": 200},
    "calibrate": {"floor_replicates": 50},
    "slice": {"min_size": 10, "min_positives": 3},
    "discovery": {"permutations": 50},
}
IDS = [f"case {i:03}" for i in range(N)]
PATIENTS = [f"patient-{i // 2:03}" for i in range(N)]


@pytest.fixture(scope="module")
def known():
    """Truth, probabilities and metadata; two test samples have the outputs of other patients."""
    generator = np.random.default_rng(4)
    ids = pd.Index(IDS, name="image")
    classes = generator.choice(3, N, p=[0.3, 0.2, 0.5])
    odds = np.exp(1.5 * np.eye(3)[classes] + generator.normal(0, 1, (N, 3)))
    stated = pd.DataFrame(odds / odds.sum(axis=1, keepdims=True), index=ids, columns=CLASSES)
    stated.iloc[[200, 201]] = stated.iloc[[10, 150]].to_numpy()
    metadata = pd.DataFrame(
        {
            "patient": PATIENTS,
            "split": np.where(np.arange(N) < 80, "val", "test"),
            "sex": generator.choice(["F", "M"], N),
            "age": generator.integers(20, 80, N),
        },
        index=ids,
    )
    return pd.Series(np.array(CLASSES)[classes], index=ids, name="dx"), stated, metadata


def audited(known, **said):
    truth, stated, metadata = known
    options = {"groups": "patient", "roles": "split", "slices": ["sex"], "quantiles": {"age": 2}}
    return ma.audit(truth, stated, metadata=metadata, params=PARAMS, **options, **said)


@pytest.mark.parametrize("mode", [None, "pseudonymous", "aggregate"])
def test_nobody_is_named_outside_of_the_artefacts(known, tmp_path, mode):
    out = audited(known, privacy=mode).report(tmp_path / "out")
    assert leaks(out, [*IDS, *PATIENTS]) == set()
    found = pd.read_csv(out / "artifacts/whole/evaluate/duplicates_across_roles.csv")
    assert found["test_id"].tolist() == ["case 200"]
    shown = pd.read_csv(out / "plots/evaluate/duplicates_across_roles.csv")
    assert len(shown) == (0 if mode == "aggregate" else 1)
    assert (out / "artifacts/.pseudonym_key").exists() == (mode != "aggregate")
    if mode != "aggregate":
        names = pd.read_csv(out / "artifacts/pseudonyms.csv", index_col="pseudonym")["id"]
        assert names[shown["test_id"][0]] == "case 200"
        assert names[shown["test_group"][0]] == "patient-100"
    page = (out / "report/report.html").read_text()
    assert "DUPLICATES: 1 of 160 test samples" in page
    assert ("counts alone" if mode == "aggregate" else "named by pseudonyms") in page


def test_open_names_them(known, tmp_path):
    out = audited(known, privacy="open").report(tmp_path / "out")
    assert "plots/evaluate/duplicates_across_roles.csv: case 200" in leaks(out, IDS)
    assert not (out / "artifacts/.pseudonym_key").exists()


def test_what_is_said_goes_before_the_file(known):
    said = audited(known, privacy="aggregate").settings.report
    assert (said.privacy, said.title) == ("aggregate", "Audit of a medical image model")
    with pytest.raises(ParamsError, match=r"report\.privacy"):
        audited(known, privacy="secret")


def test_the_command_knows_the_same(known, tmp_path):
    truth, stated, metadata = known
    stated.to_csv(tmp_path / "p.csv")
    metadata.assign(dx=truth).to_csv(tmp_path / "t.csv")
    (tmp_path / "params.yaml").write_text(str(PARAMS))
    given = f"--predictions {tmp_path}/p.csv --kind probabilities --label dx".split()
    given += f"--targets {tmp_path}/t.csv --metadata {tmp_path}/t.csv".split()
    given += ["--group", "patient", "--role", "split", "--out"]
    more = ["--params", str(tmp_path / "params.yaml"), "--privacy", "aggregate"]
    done = CliRunner().invoke(app, ["audit", *given, str(tmp_path / "out"), *more])
    assert done.exit_code == 0, done.output
    assert leaks(tmp_path / "out", [*IDS, *PATIENTS]) == set()
    assert "privacy: aggregate" in (tmp_path / "out/params.yaml").read_text()
