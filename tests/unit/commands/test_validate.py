"""`medaudit validate` on generated images, with everything that the stages would leave behind."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from medaudit.cli import app
from medaudit.commands import deployment
from medaudit.commands.label_tables import LabelColumns, match
from medaudit.commands.validate import Request, validate
from medaudit.core import frozen
from medaudit.core.errors import DataError, MedauditError, ModelError, ParamsError
from medaudit.core.files import write_json
from medaudit.model import network
from medaudit.model.exported import model as exported_model
from medaudit.model.model_config import read_card, weights_digest
from medaudit.stats.bootstrap import IntervalParams
from medaudit.tables import calibrators, operating_points, predictions, tasks
from tests.audit_runs import evaluate
from tests.unit.commands.frozen_samples import MULTICLASS, MULTILABEL, build, draw, truth_of
from tests.unit.model.exported_samples import CARD, pt2

SCHEMAS = {"multiclass": MULTICLASS, "multilabel": MULTILABEL}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture(scope="module", params=sorted(SCHEMAS))
def built(request, tmp_path_factory):
    """Every kind of task."""
    return build(tmp_path_factory.mktemp(request.param), SCHEMAS[request.param])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """One kind of task, where the kind does not matter."""
    return build(tmp_path_factory.mktemp("root"), MULTICLASS)


def asked(root, out, *, images=None, **more):
    model = root / "repo/artifacts/model"
    return Request(model=model, images=images or root / "test", out=out, **more)


def results(out):
    return pd.read_csv(out / "predictions.csv", keep_default_na=False, na_values=[""])


def summary(out):
    return json.loads((out / "summary.json").read_text())


def few(root, folder, n=3):
    """Some images of the test role, in one folder."""
    folder.mkdir()
    for path in sorted((root / "test").rglob("*.png"))[:n]:
        shutil.copy(path, folder)
    return folder


def refused(error, root, out, match, **more):
    with pytest.raises(error, match=match) as caught:
        validate(asked(root, out, **more))
    assert "\n" not in str(caught.value)
    assert not out.exists()
    assert not list(out.parent.glob(f".{out.name}*"))


def test_images_of_the_test_role_get_the_answers_of_the_pipeline(built, tmp_path):
    """Same decoding, same resizing, same logits; thresholds on uncalibrated probabilities."""
    artifacts = built / "repo/artifacts"
    validate(asked(built, tmp_path / "out"))
    found = results(tmp_path / "out")
    clean = predictions.read(artifacts / "predictions/clean/plain.parquet").role("test")
    found = found.set_index(found["sample_id"].map(lambda each: Path(each).stem))
    found = found.loc[clean.sample_ids]
    task, names = tasks.get(clean.schema.task), clean.schema.classes
    plain = task.probabilities(clean.logits)
    assert found[[f"uncalibrated_{name}" for name in names]].to_numpy() == pytest.approx(
        plain, abs=1e-5
    )
    fitted = calibrators.read(artifacts / "calibrators.json", classes=names)
    scaled = task.probabilities(fitted["temperature"].apply(clean.logits))
    assert found[[f"p_{name}" for name in names]].to_numpy() == pytest.approx(scaled, abs=1e-5)
    above = plain > operating_points.read(artifacts / "operating_points.json").thresholds
    expected = [" + ".join(np.array(names)[row]) or "(none)" for row in above]
    assert found["above_threshold"].tolist() == expected
    called = np.array(names)[plain.argmax(axis=1)].tolist() if task.exclusive else expected
    assert found["predicted"].tolist() == called
    drifted = pd.read_csv(tmp_path / "out/drift.csv").set_index(["statistic", "reference"])
    # Batches are made up otherwise, which changes the last bits: each image moves past itself.
    assert drifted.loc[("confidence", "test"), "ks_distance"] <= 1.001 / len(found)
    told = summary(tmp_path / "out")
    assert told["calibrator"] == "temperature"
    points = operating_points.read(artifacts / "operating_points.json")
    assert told["thresholds"] == dict(zip(names, points.thresholds, strict=True))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "predictions.csv",
        "drift.csv",
        "prediction_drift.csv",
        "summary.json",
    }


def test_whom_to_defer_and_why(root, tmp_path):
    """Deferred are those below the frozen threshold, and those outside a statistic's range."""
    validate(asked(root, tmp_path / "out"))
    found, told = results(tmp_path / "out"), summary(tmp_path / "out")
    below = found["confidence"] < told["deferral"]["threshold"]
    reasons = found["reason"].fillna("")
    assert 0 < below.sum() < len(found)
    assert (reasons.str.contains("below the frozen") == below).all()
    assert ((found["defer"] == "yes") == (reasons != "")).all()
    assert told["n_deferred"] == (found["defer"] == "yes").sum()
    assert told["n_deferred_by_reason"]["low confidence"] == below.sum()


def test_an_unusual_image_is_deferred(root, tmp_path):
    images = few(root, tmp_path / "new")
    Image.new("RGB", (50, 40), "white").save(images / "white.png")
    validate(asked(root, tmp_path / "out", images=images))
    row = results(tmp_path / "out").set_index("sample_id").loc["white.png"]
    assert row["defer"] == "yes"
    assert "brightness 1 outside the range of 99 % of the training images (0." in row["reason"]
    drifted = pd.read_csv(tmp_path / "out/drift.csv").set_index("statistic")
    assert drifted.loc["brightness", "share_outside"] >= 1 / 4
    assert drifted.loc["aspect_ratio", "share_outside"] == 1 / 4  # the others are 4 to 3


def test_an_unreadable_image_stops_nothing(root, tmp_path):
    images = few(root, tmp_path / "new")
    (images / "broken.jpg").write_bytes(b"no image")
    validate(asked(root, tmp_path / "out", images=images))
    found = results(tmp_path / "out").set_index("sample_id")
    assert found.index.tolist() == sorted(path.name for path in images.iterdir())
    assert found.loc["broken.jpg", "defer"] == "yes"
    assert found.loc["broken.jpg", "reason"].startswith("unreadable image: expected a whole")
    numbers = [name for name in found if name.startswith(("p_", "uncalibrated_", "confidence"))]
    assert found.loc["broken.jpg", numbers].isna().all()
    assert found.drop("broken.jpg")[numbers].notna().all(axis=None)
    told = summary(tmp_path / "out")
    assert (told["n_images"], told["n_unreadable"], told["n_labelled"]) == (4, 1, 0)


def test_the_same_images_give_the_same_bytes(root, tmp_path):
    for out in ("one", "two"):
        validate(asked(root, tmp_path / out, batch_size=5))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_single_image(root, tmp_path):
    validate(asked(root, tmp_path / "out", images=few(root, tmp_path / "new", 1)))
    assert len(results(tmp_path / "out")) == 1


def test_whole_suite_where_labels_exist(built, tmp_path):
    """Point values are those of the pipeline, and so is the frozen deferral threshold."""
    schema = SCHEMAS["multiclass" if "multiclass" in built.name else "multilabel"]
    truth_of(built, schema).to_csv(tmp_path / "labels.csv", index=False)
    (built / "test/broken.jpg").write_bytes(b"no image")
    columns = LabelColumns(group="patient_id")
    try:
        validate(asked(built, tmp_path / "out", table=tmp_path / "labels.csv", columns=columns))
    finally:
        (built / "test/broken.jpg").unlink()
    out, artifacts = tmp_path / "out", built / "repo/artifacts"
    expected = evaluate(
        predictions.read(artifacts / "predictions/clean/plain.parquet"),
        operating_points.read(artifacts / "operating_points.json"),
        intervals=IntervalParams(replicates=100),
    )
    found = json.loads((out / "metrics/evaluate.json").read_text())
    points = {name: each for name, each in expected.scalars.items() if "_ci_" not in name}
    assert {name: found[name] for name in points} == pytest.approx(points, abs=1e-5)
    deferral = json.loads((out / "metrics/selective.json").read_text())
    assert deferral["threshold"] == pytest.approx(summary(out)["deferral"]["threshold"], abs=1e-6)
    sliced = pd.read_csv(out / "plots/slice/slices.csv")
    assert set(sliced["column"]) >= {"sex", "age", "brightness"}
    fitted = pd.read_csv(out / "plots/calibrate/fitted.csv").set_index("number")["value"]
    frozen = json.loads((artifacts / "calibrators.json").read_text())
    assert fitted["temperature"] == pytest.approx(frozen["temperature"]["temperature"], abs=1e-6)
    page = (out / "report/report.html").read_text()
    assert "were frozen on the calibration role of toy" in page
    assert summary(out)["n_labelled"] == expected.scalars["n"]
    assert not [name for name in summary(out)["cautions"] if "groups of patient_id" in name]


def test_the_method_of_the_intervals_is_the_one_asked_for(root, tmp_path):
    """With few images adjusted percentiles reach further out than plain ones."""
    images, found = few(root, tmp_path / "new", 8), {}
    for method in ("adjusted", "percentile"):
        asked_for = f"intervals: {{method: {method}, replicates: 200}}\n"
        (tmp_path / f"{method}.yaml").write_text(asked_for)
        out = tmp_path / method
        validate(asked(root, out, images=images, params=tmp_path / f"{method}.yaml"))
        told = pd.read_csv(out / "prediction_drift.csv")
        found[method] = told[told["quantity"] == "mean confidence"].set_index("source")
    wide, narrow = found["adjusted"], found["percentile"]
    assert set(wide["method"]) == {"cluster_bootstrap_expanded"}
    assert set(narrow["method"]) == {"cluster_bootstrap_percentile"}
    assert (wide["value"] == narrow["value"]).all()
    assert (wide["low"] < narrow["low"]).all()
    assert (narrow["high"] < wide["high"]).all()


@pytest.mark.slow
def test_few_images_of_one_class_are_audited_as_far_as_that_goes(root, tmp_path):
    """What is undefined is null; columns may be called as they like."""
    images = few(root, tmp_path / "new")
    (images / "readme.txt").write_text("not looked at")
    names = sorted(path.name for path in images.glob("*.png"))
    table = pd.DataFrame({"image_path": names[:2], "dx": "a", "place": "x", "aspect_ratio": [1, 2]})
    table.to_csv(tmp_path / "labels.csv", index=False)
    validate(asked(root, tmp_path / "out", images=images, table=tmp_path / "labels.csv"))
    found = json.loads((tmp_path / "out/metrics/evaluate.json").read_text())
    assert (found["n"], found["macro_auroc"]) == ("small cell", None)
    whole = pd.read_csv(tmp_path / "out/artifacts/whole/evaluate/metrics.csv", index_col="metric")
    assert whole.loc["macro_auroc", "n"] == 2
    assert np.isnan(whole.loc["macro_auroc", "value"])
    told = summary(tmp_path / "out")
    assert (told["n_images"], told["n_labelled"]) == (3, 2)
    assert any("counts as a patient of its own" in note for note in told["cautions"])


def test_a_table_without_labels_brings_groups(root, tmp_path):
    """The images stand in the first column that differs in every row."""
    table = truth_of(root, MULTICLASS).drop(columns="dx").rename(columns={"image_path": "picture"})
    table = table[["sex", "picture", "patient_id"]]
    table.to_csv(tmp_path / "facts.csv", index=False)
    columns = LabelColumns(group="patient_id")
    validate(asked(root, tmp_path / "out", table=tmp_path / "facts.csv", columns=columns))
    said = pd.read_csv(tmp_path / "out/prediction_drift.csv")
    assert said.loc[said["source"] == "new", "n_groups"].unique() == table["patient_id"].nunique()
    assert not (tmp_path / "out/metrics").exists()


def test_patients_of_the_training_set_are_told(root, tmp_path, caplog):
    table = truth_of(root, MULTICLASS).drop(columns="dx").assign(patient_id="g000")
    table.to_csv(tmp_path / "facts.csv", index=False)
    columns = LabelColumns(group="patient_id")
    validate(asked(root, tmp_path / "out", table=tmp_path / "facts.csv", columns=columns))
    assert any(
        "1 groups of patient_id are known" in note for note in summary(tmp_path / "out")["cautions"]
    )


@pytest.mark.parametrize(
    ("change", "columns", "match"),
    [
        ({"dx": "c"}, {"label": "dx"}, r"`dx` has unknown classes c .*known: a, b"),
        ({}, {"label": "diagnosis"}, r"no column 'diagnosis'"),
        ({}, {"labels": ("a", "b")}, r"the model is multiclass; name one column of class names"),
        ({"dy": "a"}, {}, r"columns dx, dy all hold class names"),
        ({"image_path": "site0/s008.png"}, {}, r"more than once: site0/s008.png"),
        ({}, {"image": "sex"}, r"more than once"),
        ({}, {"group": "patient"}, r"no column 'patient' for groups"),
        ({"brightness": 1}, {"slices": ("brightness",)}, r"names that medaudit gives itself"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(root, tmp_path, change, columns, match):
    truth_of(root, MULTICLASS).assign(**change).to_csv(tmp_path / "labels.csv", index=False)
    refused(
        MedauditError,
        root,
        tmp_path / "out",
        match,
        table=tmp_path / "labels.csv",
        columns=LabelColumns(**columns),
    )


def test_labels_must_be_flags(tmp_path_factory, tmp_path):
    root = build(tmp_path_factory.mktemp("labels"), MULTILABEL)
    truth_of(root, MULTILABEL).assign(red=3).to_csv(tmp_path / "labels.csv", index=False)
    table = tmp_path / "labels.csv"
    refused(DataError, root, tmp_path / "out", r"label `red` must be 0 or 1, got '3'", table=table)
    columns = LabelColumns(label="sex")
    match = r"the model is multilabel; name columns of 0 and 1"
    refused(ParamsError, root, tmp_path / "out", match, table=table, columns=columns)


IDS = ["site0/a.png", "site1/a.png", "site1/b.c.png"]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("site1/a.png", "site1/a.png"),
        ("site1/a", "site1/a.png"),
        ("./site1/../site0/a.png", "site0/a.png"),
        ("images/site0/a.png", "site0/a.png"),  # as seen from the table
        ("{folder}/site0/a.png", "site0/a.png"),
        ("b.c.png", "site1/b.c.png"),
        ("b.c", "site1/b.c.png"),
        ("absent.png", None),
    ],
)
def test_images_are_matched_by_path_or_name(tmp_path, cell, expected):
    folder = tmp_path / "images"
    cells = [cell.format(folder=folder), "site1/b.c.png" if expected is None else "absent"]
    found = match(cells, IDS, folder=folder, path=tmp_path / "labels.csv")
    assert found[0] == expected


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["a.png"], r"'a.png' may mean any of site0/a.png, site1/a.png"),
        (["/elsewhere/a.png"], r"1 image paths lead out of .*images: /elsewhere/a.png"),
        (["../../a.png"], r"lead out of"),
        (["site0/a.png", "site0/a"], r"1 images have several rows: site0/a.png"),
        (["x", "y"], r"none of its 2 rows names an image of .*rows: x, y; images: site0/a.png"),
    ],
)
def test_paths_that_mean_no_single_image(tmp_path, cells, told):
    with pytest.raises(DataError, match=told):
        match(cells, IDS, folder=tmp_path / "images", path=tmp_path / "labels.csv")


def test_folders_that_cannot_be_used(root, tmp_path):
    refused(DataError, root, tmp_path / "o", r"no such folder", images=tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    refused(DataError, root, tmp_path / "o", r"no image files", images=tmp_path / "empty")
    (tmp_path / "empty/a.png").write_bytes(b"")
    match = r"none of the 1 images can be read; the first, a.png: .*empty file"
    refused(DataError, root, tmp_path / "o", match, images=tmp_path / "empty")
    inside = root / "test/out"
    refused(ParamsError, root, inside, r"lies in the folder of images")
    with pytest.raises(ParamsError, match="not an empty folder"):
        validate(asked(root, tmp_path))


@pytest.fixture
def copied(root, tmp_path):
    """Artefacts that may be broken."""
    shutil.copytree(root / "repo", tmp_path / "copy/repo")
    shutil.copytree(root / "test", tmp_path / "copy/test")
    return tmp_path / "copy"


@pytest.mark.parametrize(
    "name",
    [
        "model/model.json",
        "prepared/schema.json",
        "prepared/manifest.parquet",
        "operating_points.json",
        "calibrators.json",
        "deferral.json",
    ],
)
def test_a_missing_artefact_is_named(copied, tmp_path, name):
    artifacts = copied / "repo/artifacts"
    (artifacts / name).unlink()
    refused(DataError, copied, tmp_path / "out", rf"{name}: not found, but listed in MANIFEST")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("deferral", {"score": "margin", "threshold": None, "coverage": 1}, "`threshold`: Input"),
        ("deferral", {"score": "margin", "threshold": -5.0, "coverage": 1}, "from 0 to 1, got -5"),
        ("deferral", {"score": "entropy", "threshold": 0.5, "coverage": 1}, "-inf to 0, got 0.5"),
        ("deferral", {"score": "margin", "threshold": "0.5", "coverage": 1}, "`threshold`: Input"),
        ("deferral", {"score": "margin", "threshold": 0.5, "coverage": 1.5}, "`coverage`: Input"),
        ("deferral", {"score": "margin", "threshold": 0.5}, "`coverage`: Field required"),
        ("deferral", {"score": "nargin", "threshold": 0.5, "coverage": 1}, "did you mean 'margin'"),
        ("calibrators", {}, "no calibrator in it"),
        ("calibrators", {"affine": {"slope_x": 1.0}}, "expected of `affine` the numbers"),
        ("calibrators", {"temperature": {}}, "the numbers temperature, got none"),
        ("calibrators", {"temperature": {"temperature": 0.0}}, "from 0.05 to 20, which"),
        ("calibrators", {"temperature": {"temperature": True}}, "temperature.temperature`: Input"),
        ("calibrators", {"identity": {"shift": 1.0}}, "numbers none, got shift"),
        ("calibrators", {"temperatures": {}}, "did you mean 'temperature'"),
        (
            "operating_points",
            {"thresholds": [0.5, -5.0]},
            "`thresholds.1`: Input should be gr",
        ),
        ("operating_points", {"thresholds": [0.5, 1e300]}, "`thresholds.1`: Input should be less"),
        ("operating_points", {"thresholds": [0.5, "0.5"]}, "`thresholds.1`: Input"),
        ("operating_points", {"specificity": 95}, "`specificity`: Input"),
        ("operating_points", {"n_negative": [1.5, 2]}, "`n_negative.0`: Input"),
        ("operating_points", {"more": 1}, "`more`: Extra inputs"),
        ("model/model", {"image_size": 10**9}, "`image_size`: Input should be less"),
        ("model/model", {"std": [0.5, 0.5, 0.0]}, "`std.2`: Input should be greater"),
        ("model/model", {"mean": [0.5, 0.5]}, "`mean"),
        ("model/model", {"file": "../../x.safetensors"}, "`file`: String should match"),
        ("model/model", {"kind": "pickle"}, "`kind`: Input should be"),
        ("model/model", {"classes": ["b", "b"]}, "expected 2 different classes"),
        ("model/model", {"logit_shift": [0.0]}, "a `logit_shift` each"),
        ("model/model", {"dropout": "0"}, "`dropout`: Input"),
    ],
)
def test_numbers_that_no_run_can_give_are_refused_although_sealed(
    copied, tmp_path, name, content, match
):
    artifacts = copied / "repo/artifacts"
    path = artifacts / f"{name}.json"
    kept = {} if name in {"deferral", "calibrators"} else json.loads(path.read_text())
    write_json(path, kept | content)
    frozen.seal(artifacts)
    refused(MedauditError, copied, tmp_path / "out", re.escape(match))


def test_artefacts_of_another_model_are_refused(copied, tmp_path):
    artifacts = copied / "repo/artifacts"
    card = json.loads((artifacts / "model/model.json").read_text())
    write_json(artifacts / "model/model.json", {**card, "image_size": 64})
    frozen.seal(artifacts)
    refused(ModelError, copied, tmp_path / "out", r"at 64 pixels, but .* at 32")


FROZEN_FILES = (
    "MANIFEST.sha256",
    "calibrators.json",
    "deferral.json",
    "model/model.json",
    "model/model.safetensors",
    "operating_points.json",
    "predictions/clean/plain.parquet",
    "prepared/manifest.parquet",
    "prepared/pixels/00000.npy",
    "prepared/schema.json",
)


def test_every_frozen_file_is_sealed(root):
    artifacts = root / "repo/artifacts"
    files = {p.relative_to(artifacts).as_posix() for p in artifacts.rglob("*") if p.is_file()}
    assert files == set(FROZEN_FILES)
    assert {*frozen.read_list(artifacts / "MANIFEST.sha256"), "MANIFEST.sha256"} == files


@pytest.mark.parametrize("name", FROZEN_FILES)
def test_one_flipped_bit_anywhere_is_noticed_before_anything_is_used(copied, tmp_path, name):
    """A bit of 100 bytes over the whole length, first and last among them."""
    path = copied / "repo/artifacts" / name
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in np.linspace(0, len(whole) - 1, 100).astype(int):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(DataError) as caught:
            deployment.read(copied / "repo/artifacts/model")
        assert str(caught.value).startswith(f"{path}: damaged")
        assert "\n" not in str(caught.value)
    refused(DataError, copied, tmp_path / "out", f"{re.escape(str(path))}: damaged")
    path.write_bytes(whole)
    deployment.read(copied / "repo/artifacts/model")


def test_what_was_not_signed_off_is_refused(copied, tmp_path):
    artifacts = copied / "repo/artifacts"
    shutil.copy(artifacts / "model/model.safetensors", artifacts / "model/other.safetensors")
    refused(DataError, copied, tmp_path / "out", r"other.safetensors: not listed in MANIFEST")
    (artifacts / "model/other.safetensors").unlink()
    (artifacts / "model/.DS_Store").touch()  # left by a desktop
    deployment.read(artifacts / "model")
    (artifacts / "model").rename(artifacts / "second")
    with pytest.raises(DataError, match=r"second: MANIFEST.sha256 beside it is of the model in"):
        deployment.read(artifacts / "second")
    (artifacts / "second").rename(artifacts / "model")
    (artifacts / "MANIFEST.sha256").unlink()
    refused(DataError, copied, tmp_path / "out", r"MANIFEST.sha256: not found, so damage would")


def test_other_tools_read_the_list(root):
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum here")
    command = ["sha256sum", "--check", "--strict", "--quiet", "MANIFEST.sha256"]
    subprocess.run(command, cwd=root / "repo/artifacts", check=True)


def test_without_kept_predictions_there_is_less_to_compare(copied, tmp_path):
    (copied / "repo/artifacts/predictions/clean/plain.parquet").unlink()
    validate(asked(copied, tmp_path / "out"))
    assert set(pd.read_csv(tmp_path / "out/prediction_drift.csv")["source"]) == {"new"}


def test_other_weights_than_those_of_the_predictions_are_refused(copied, tmp_path):
    """A model of the same card, whose thresholds and calibrators were never chosen."""
    folder = copied / "repo/artifacts/model"
    told = weights_digest(folder)[:12]
    torch.manual_seed(1)
    other = network.create("test_resnet", 2, weights="none", dropout=0.0)
    network.save_model(other, folder, card=read_card(folder))
    held = weights_digest(folder)[:12]
    frozen.seal(folder.parent)
    match = rf"plain.parquet: predictions of the weights {told}, but .*model holds {held}: .*again"
    refused(ModelError, copied, tmp_path / "out", match)


def test_images_that_the_model_has_learnt_from_are_counted(root, tmp_path):
    """By their pixels: two of the train role under other names, and three that are new."""
    images = few(root, tmp_path / "new", 3)
    learnt = sorted((root / "train").rglob("*.png"))[:2]
    for number, path in enumerate(learnt):
        Image.open(path).save(images / f"renamed{number}.bmp")
    rows = [{"image_path": path.name, "dx": "a"} for path in sorted(images.iterdir())]
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    validate(asked(root, tmp_path / "out", images=images, table=tmp_path / "labels.csv"))
    told = summary(tmp_path / "out")
    note = "2 of 5 images are also in the train, validation or calibration role"
    assert told["n_learnt_from"] == 2
    assert any(note in each for each in told["cautions"])
    assert note in (tmp_path / "out/report/report.html").read_text()


def test_images_of_the_test_role_are_new(root, tmp_path):
    validate(asked(root, tmp_path / "out"))
    told = summary(tmp_path / "out")
    assert told["n_learnt_from"] == 0
    assert not any("also in the train" in each for each in told["cautions"])


def test_without_kept_pixels_nothing_is_said_of_learnt_images(copied, tmp_path, caplog):
    shutil.rmtree(copied / "repo/artifacts/prepared/pixels")
    validate(asked(copied, tmp_path / "out"))
    assert summary(tmp_path / "out")["n_learnt_from"] is None
    assert "images that the model has learnt from go unnoticed" in caplog.text


@pytest.mark.parametrize("column", ["patient_id", "sex"])
def test_groups_are_read_from_the_column_of_the_parameters(copied, tmp_path, column):
    """`data.group` holds where no column is named; one that is named comes first."""
    params = copied / "repo/params.yaml"
    params.write_text(params.read_text() + "data: {dataset: csv, group: patient_id}\n")
    table = truth_of(copied, MULTICLASS).drop(columns="dx")
    table.to_csv(tmp_path / "facts.csv", index=False)
    columns = LabelColumns(group=None if column == "patient_id" else column)
    validate(asked(copied, tmp_path / "out", table=tmp_path / "facts.csv", columns=columns))
    said = pd.read_csv(tmp_path / "out/prediction_drift.csv")
    assert said.loc[said["source"] == "new", "n_groups"].unique() == table[column].nunique()
    cautions = summary(tmp_path / "out")["cautions"]
    assert not any("a patient of its own" in each for each in cautions)


def test_a_table_may_lack_the_column_of_the_parameters(copied, tmp_path):
    params = copied / "repo/params.yaml"
    params.write_text(params.read_text() + "data: {dataset: csv, group: lesion_id}\n")
    truth_of(copied, MULTICLASS).drop(columns="dx").to_csv(tmp_path / "facts.csv", index=False)
    validate(asked(copied, tmp_path / "out", table=tmp_path / "facts.csv"))
    cautions = summary(tmp_path / "out")["cautions"]
    assert any("a patient of its own" in each for each in cautions)


def test_calibrators_are_chosen_by_name(root, tmp_path):
    refused(MedauditError, root, tmp_path / "out", r"'plat'.*known: .*affine", calibrator="plat")
    validate(asked(root, tmp_path / "out", calibrator="identity"))
    found = results(tmp_path / "out")
    assert found["p_a"].tolist() == found["uncalibrated_a"].tolist()


def test_exported_models_need_no_embeddings(copied, tmp_path):
    folder = copied / "repo/artifacts/model"
    card = read_card(folder)
    shutil.rmtree(folder)
    program = exported_model.read(pt2(tmp_path / "model.pt2"), CARD, trust=True)
    assert (program.card.classes, program.card.image_size) == (card.classes, card.image_size)
    exported_model.save(program, folder, card=program.card)
    clean = copied / "repo/artifacts/predictions/clean/plain.parquet"
    table = predictions.read(clean)
    predictions.write(replace(table, provenance={"weights": weights_digest(folder)}), clean)
    frozen.seal(copied / "repo/artifacts")
    refused(MedauditError, copied, tmp_path / "out", "say that you trust them")
    validate(asked(copied, tmp_path / "out", trust=True))
    assert len(results(tmp_path / "out")) == len(list((copied / "test").rglob("*.png")))


def test_command_line(root, tmp_path):
    draw(tmp_path / "new/deep/one.png", np.random.default_rng(3), red=True, blue=False)
    words = ["--images", str(tmp_path / "new"), "--out", str(tmp_path / "out")]
    call = ["validate", "--model", str(root / "repo/artifacts/model"), *words]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    assert results(tmp_path / "out")["sample_id"].tolist() == ["deep/one.png"]
    assert CliRunner().invoke(app, call).exit_code == 1
    other = [*call[:-1], str(tmp_path / "other"), "--label", "dx"]
    assert CliRunner().invoke(app, other).exit_code == 1
