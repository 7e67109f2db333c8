"""Auditing predictions that were made elsewhere, from files to the report."""

import json
import logging
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from medaudit.audits import discovery, role_drift
from medaudit.audits.properties import DiscoveryParams
from medaudit.audits.selective import SelectiveParams
from medaudit.audits.slicing import SliceParams
from medaudit.cli import app
from medaudit.commands import audit
from medaudit.core import findings
from medaudit.core.errors import DataError, ParamsError
from medaudit.data.external_tables import MetadataColumns, Split, TruthColumns, condition
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables import operating_points, predictions, tasks
from medaudit.tables.predictions import Condition
from medaudit.tables.scoring import ScoredPredictions
from tests.audit_runs import defer, evaluate, slice_up, stress

pytestmark = pytest.mark.slow  # whole audits, with their reports

N = 240
CLASSES = ("bkl", "mel", "nv")
LABELS = ("Edema", "Pleural Effusion")
PARAMS = """\
intervals: {replicates: 200}
calibrate: {floor_replicates: 50}
slice: {min_size: 10, min_positives: 3}
"""


def write_tables(folder):
    """Outputs of classes and of labels, clean and with noise, and the truth of both."""
    generator = np.random.default_rng(4)
    ids = [f"case {i:03}" for i in range(N)]
    classes = generator.choice(3, N, p=[0.3, 0.2, 0.5])
    flags = (generator.random((N, 2)) < [0.3, 0.4]).astype(int)
    truth = pd.DataFrame(flags, columns=list(LABELS)).assign(
        image=ids,
        dx=np.array(CLASSES)[classes],
        patient=[f"p{i // 2:03}" for i in range(N)],
        split=np.where(np.arange(N) < 80, "val", "test"),
        sex=generator.choice(["F", "M"], N),
        age=generator.integers(20, 80, N),
    )
    truth.sample(frac=1, random_state=1).to_csv(folder / "truth.csv", index=False)
    for name, noise in {"clean": 0.0, "blur": 2.0}.items():
        logits = 1.5 * np.eye(3)[classes] + generator.normal(0, 1 + noise, (N, 3))
        stated = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        table(ids, CLASSES, stated).to_csv(folder / f"classes_{name}.csv", index=False)
        logits = 2.0 * (flags - 0.5) + generator.normal(0, 1 + noise, (N, 2))
        table(ids, LABELS, logits).to_parquet(folder / f"labels_{name}.parquet", index=False)
    (folder / "params.yaml").write_text(PARAMS)


def table(ids, names, values):
    return pd.DataFrame(values, columns=list(names)).assign(image=ids)[["image", *names]]


def asked(folder, out, *, labels=False, **changes):
    """A request that names everything there is."""
    kind, name = ("logits", "labels_{}.parquet") if labels else ("probabilities", "classes_{}.csv")
    where = {"labels": LABELS} if labels else {"label": "dx"}
    known = {
        "predictions": folder / name.format("clean"),
        "kind": kind,
        "targets": folder / "truth.csv",
        "truth": TruthColumns(**where, id_column="image"),
        "metadata": MetadataColumns(
            folder / "truth.csv", "image", "patient", "split", ("sex", "age")
        ),
        "out": out,
        "id_column": "image",
        "conditions": {"gaussian_blur-2": folder / name.format("blur")},
        "quantiles": {"age": 2},
        "critical": None if labels else "mel",
        "params": folder / "params.yaml",
    }
    return audit.Request(**(known | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("external")
    write_tables(made)
    return made


@pytest.fixture(scope="module", params=["classes", "labels"])
def done(request, folder):
    """A request that was fulfilled."""
    made = asked(folder, folder / "out" / request.param, labels=request.param == "labels")
    audit.audit(made)
    return made


def scalars(done, stage):
    return findings.read_scalars(stage, root=done.out)


def searched(clean, points, few):
    """What is found by search in the metadata, as the slice stage looks for it."""
    params = DiscoveryParams()
    test, known = (ScoredPredictions(clean.role(role), points) for role in ("test", "calibration"))
    bootstrap = Bootstrap.of_groups(test.group_ids, few["intervals"])
    roles = role_drift.freeze(known.table, params)
    return findings.together(
        discovery.audit(test, discovery.freeze(known, params), params, bootstrap),
        role_drift.audit(test, roles, params, bootstrap),
    )


def on_disk(found):
    return {name: findings.on_disk(value) for name, value in found.scalars.items()}


class TestFolder:
    def test_is_whole(self, done):
        for stage in ("evaluate", "stress", "slice", "calibrate", "selective"):
            assert scalars(done, stage)
            assert list((done.out / "plots" / stage).glob("*.csv"))
        assert (done.out / "report/report.pdf").read_bytes().startswith(b"%PDF")
        assert (done.out / "artifacts/operating_points.json").is_file()
        assert (done.out / "params.yaml").is_file()

    def test_nothing_temporary_is_left(self, done):
        assert not [p for p in done.out.parent.iterdir() if p.name.startswith(".")]
        assert not [p for p in done.out.rglob("*") if p.name.endswith((".part", ".lock"))]

    def test_the_report_tells_where_the_numbers_come_from(self, done):
        text = (done.out / "report/report.html").read_text(encoding="utf-8")
        assert done.predictions.name in text
        assert "Roles are those of the column" in text
        assert "nan" not in text.lower().split()

    def test_the_predictions_are_kept_as_the_pipeline_keeps_them(self, done):
        table = predictions.read(done.out / "artifacts/predictions/clean/plain.parquet")
        assert len(table) == N
        assert set(table.rows["role"]) == {"calibration", "test"}
        assert table.schema.critical_class == done.critical

    def test_the_parameters_that_were_used_stand_beside_it(self, done):
        kept = (done.out / "params.yaml").read_text()
        assert "replicates: 200" in kept
        assert "floor_replicates: 50" in kept
        assert "- sex" in kept

    def test_is_never_written_over(self, done):
        before = {p: p.stat().st_mtime_ns for p in done.out.rglob("*")}
        with pytest.raises(ParamsError, match="exists and is not an empty folder") as caught:
            audit.audit(done)
        assert "\n" not in str(caught.value)
        assert {p: p.stat().st_mtime_ns for p in done.out.rglob("*")} == before


class TestNumbers:
    @pytest.fixture
    def tables(self, done):
        clean, conditions, _ = audit.read_tables(done)
        points = operating_points.choose(clean.role("calibration"), specificity=0.95)
        return clean, conditions, points

    @pytest.fixture
    def few(self):
        return {"intervals": IntervalParams(replicates=200)}

    def test_are_those_of_the_audits(self, done, tables, few):
        clean, conditions, points = tables
        own = {
            "n_duplicates_across_roles": 0,
            "n_duplicates_in_test": 0,
            "n_coincident_outputs": 0,
        }
        assert scalars(done, "evaluate") == on_disk(evaluate(clean, points, **few)) | own
        assert scalars(done, "stress") == on_disk(stress(clean, conditions, points, **few))
        assert scalars(done, "selective") == on_disk(defer(clean, points, SelectiveParams(), **few))
        params = SliceParams(
            columns=("sex",),
            quantiles={"age": 2},
            min_size=10,
            min_positives=3,
        )
        found = slice_up(clean, points, clean.role("calibration").rows, params, **few)
        assert scalars(done, "slice") == on_disk(found) | on_disk(searched(clean, points, few))

    def test_are_those_of_scikit_learn(self, done):
        truth = pd.read_csv(done.targets).set_index("image").query("split == 'test'")
        labels = done.critical is None
        read = pd.read_parquet if labels else pd.read_csv
        for stage, path in {"clean": done.predictions, **done.conditions}.items():
            values = read(path).set_index("image").loc[truth.index]
            if labels:
                expected = roc_auc_score(truth[list(LABELS)], values[list(LABELS)])
            else:
                expected = np.mean([roc_auc_score(truth["dx"] == c, values[c]) for c in CLASSES])
            rows = pd.read_csv(done.out / "plots/stress/conditions.csv").query(
                "metric == 'macro_auroc'"
            )
            found = rows.loc[rows["condition"] == stage, "value"].item()
            assert found == pytest.approx(expected, abs=2e-6)
        assert scalars(done, "evaluate")["n"] == len(truth) == N - 80
        assert scalars(done, "evaluate")["n_groups"] == truth["patient"].nunique()

    def test_thresholds_come_from_the_calibration_rows_alone(self, done, tables):
        points = operating_points.read(done.out / "artifacts/operating_points.json")
        assert points == tables[2]
        assert max(points.n_negative) <= 80


class TestWithoutCalibrationRole:
    """Everything is tested, each fold by what the others froze."""

    @pytest.fixture(scope="class", params=["classes", "labels"])
    @classmethod
    def crossed(cls, request, folder):
        labels = request.param == "labels"
        made = asked(
            folder,
            folder / "out" / f"crossed_{request.param}",
            labels=labels,
            metadata=MetadataColumns(folder / "truth.csv", "image", "patient", None, ("sex",)),
            quantiles={},
            split=Split(calibration=0),
        )
        audit.audit(made)
        return made

    def test_all_samples_are_tested(self, crossed):
        found = scalars(crossed, "evaluate")
        assert (found["n"], found["cross_fitted"]) == (N, True)
        assert scalars(crossed, "stress")
        assert scalars(crossed, "calibrate")["n"] == scalars(crossed, "selective")["n"] == N

    def test_the_report_says_so(self, crossed):
        text = (crossed.out / "report/report.html").read_text(encoding="utf-8")
        assert "No sample was set apart" in text
        lacking = "slices that nobody named and differences between roles (they need a calibration"
        assert lacking in text
        assert not (crossed.out / "plots/slice/discovered.csv").exists()

    def test_calls_are_those_of_thresholds_from_the_other_folds(self, crossed):
        clean, _, _ = audit.read_tables(crossed)
        stated = tasks.get(clean.schema.task).probabilities(clean.logits)
        truth = tasks.get(clean.schema.task).positives(clean.targets, len(clean.schema.classes))
        folds = clean.rows["cross_fit_fold"].to_numpy()
        hits = 0
        for fold in range(5):
            others = np.sort(stated[(folds != fold) & ~truth[:, 1], 1])
            threshold = others[int(np.ceil(0.95 * len(others) - 1e-9)) - 1]
            hits += (stated[(folds == fold) & truth[:, 1], 1] > threshold).sum()
        rows = pd.read_csv(crossed.out / "plots/evaluate/per_class.csv")
        name = clean.schema.classes[1]
        row = rows[(rows["class"] == name) & (rows["metric"] == "sensitivity")].iloc[0]
        assert row["value"] == pytest.approx(hits / truth[:, 1].sum(), abs=1e-6)

    def test_a_specificity_by_construction_is_not_checked(self, crossed):
        rows = pd.read_csv(crossed.out / "plots/evaluate/per_class.csv")
        assert rows["expected_low"].isna().all()

    def test_intervals_that_count_in_the_thresholds_are_refused_in_one_line(self, folder, tmp_path):
        params = PARAMS + "evaluate: {threshold_uncertainty: true}\n"
        (tmp_path / "p.yaml").write_text(params)
        made = asked(
            folder,
            tmp_path / "out",
            metadata=MetadataColumns(folder / "truth.csv", "image", "patient"),
            quantiles={},
            conditions={},
            split=Split(calibration=0),
            params=tmp_path / "p.yaml",
        )
        with pytest.raises(DataError, match="set it to false") as caught:
            audit.audit(made)
        assert "\n" not in str(caught.value)


class TestDuplicates:
    def test_copies_of_test_images_in_calibration_raise_an_alarm(self, folder, tmp_path, caplog):
        frame = pd.read_csv(folder / "classes_clean.csv").set_index("image")
        # Seven calibration samples are test images once more, under other patients.
        frame.iloc[:7] = frame.iloc[100:107].to_numpy()
        frame.reset_index().to_csv(tmp_path / "twice.csv", index=False)
        made = asked(
            folder, tmp_path / "out", predictions=tmp_path / "twice.csv", conditions={}, title="T"
        )
        with caplog.at_level(logging.WARNING):
            audit.audit(made)
        assert "7 of 160 test samples have the very outputs" in caplog.text
        assert "case 100, case 101" in caplog.text
        assert scalars(made, "evaluate")["n_duplicates_across_roles"] == 7
        rows = pd.read_csv(made.out / "artifacts/whole/evaluate/duplicates_across_roles.csv")
        assert rows["test_id"].tolist() == [f"case {i}" for i in range(100, 107)]
        assert rows["other_id"].tolist() == [f"case {i:03}" for i in range(7)]
        assert (rows["match"] == "exact").all()
        text = (made.out / "report/report.html").read_text(encoding="utf-8")
        assert "7 of 160 test samples have the very outputs" in text


class TestReading:
    def test_without_conditions_stress_is_no_stage(self, folder, tmp_path):
        made = asked(folder, tmp_path / "out", conditions={}, title="Another title")
        audit.audit(made)
        assert not (made.out / "metrics/stress.json").exists()
        text = (made.out / "report/report.html").read_text(encoding="utf-8")
        assert "Another title" in text

    def test_without_groups_the_report_warns(self, folder, tmp_path, caplog):
        made = asked(
            folder,
            tmp_path / "out",
            conditions={},
            metadata=MetadataColumns(folder / "truth.csv", "image", None, "split"),
            quantiles={},
        )
        audit.audit(made)
        assert "NO GROUPS" in caplog.text
        text = (made.out / "report/report.html").read_text(encoding="utf-8")
        assert "every image counts as a patient of its own" in text

    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("gaussian_blur-2", Condition("gaussian_blur", 2)),
            ("site", Condition("site", 1)),
            ("site-a", Condition("site-a", 1)),
            ("blur-0", Condition("blur-0", 1)),
        ],
    )
    def test_conditions_by_name(self, name, found):
        assert condition(name) == found

    def test_clean_is_no_condition(self, folder, tmp_path):
        made = asked(folder, tmp_path / "out")
        made = asked(
            folder, tmp_path / "out", conditions={"clean": made.conditions["gaussian_blur-2"]}
        )
        self.refused(made, "clean")

    def test_one_condition_under_two_names_is_refused(self, folder, tmp_path):
        path = folder / "classes_blur.csv"
        made = asked(folder, tmp_path / "out", conditions={"site": path, "site-1": path})
        self.refused(made, "site-1")

    def test_a_critical_class_that_is_no_output_lists_the_outputs(self, folder, tmp_path):
        made = asked(folder, tmp_path / "out", critical="bcc")
        self.refused(made, "no output 'bcc' that could be critical; outputs: bkl, mel, nv")

    def test_a_wrong_parameter_is_named_with_its_file(self, folder, tmp_path):
        (tmp_path / "p.yaml").write_text("intervals: {replicate: 200}\n")
        made = asked(folder, tmp_path / "out", params=tmp_path / "p.yaml")
        self.refused(made, r"p\.yaml: unknown key `intervals\.replicate`; did you mean")

    @pytest.mark.parametrize("failing", ["metadata", "conditions"])
    def test_a_failure_leaves_no_folder_behind(self, folder, tmp_path, failing):
        if failing == "conditions":
            short = pd.read_csv(folder / "classes_blur.csv").iloc[:100]
            short.to_csv(tmp_path / "short.csv", index=False)
            changes = {"conditions": {"blur-1": tmp_path / "short.csv"}}
        else:
            changes = {"metadata": MetadataColumns(folder / "truth.csv", "image", "nobody")}
        (tmp_path / "outs").mkdir()
        words = "no prediction for" if failing == "conditions" else "no column 'nobody'"
        self.refused(asked(folder, tmp_path / "outs/out", **changes), words)
        assert not list((tmp_path / "outs").iterdir())

    def test_a_failing_audit_leaves_no_folder_behind(self, folder, tmp_path):
        # The column of words is found to be none of numbers in the middle of the work.
        (tmp_path / "outs").mkdir()
        made = asked(folder, tmp_path / "outs/out", quantiles={"sex": 2})
        self.refused(made, "names 'sex', which is not a number column")
        assert not list((tmp_path / "outs").iterdir())

    def test_a_file_in_the_place_of_the_folder(self, folder, tmp_path):
        (tmp_path / "out").write_text("mine")
        self.refused(asked(folder, tmp_path / "out"), "exists and is not an empty folder")
        assert (tmp_path / "out").read_text() == "mine"

    def refused(self, made, words):
        with pytest.raises((DataError, ParamsError), match=words) as caught:
            audit.audit(made)
        assert "\n" not in str(caught.value)


def call(folder, out, *changes, drop=()):
    """The command line with good options, without some of them and with others."""
    options = {
        "--predictions": folder / "classes_clean.csv",
        "--kind": "probabilities",
        "--targets": folder / "truth.csv",
        "--label": "dx",
        "--id": "image",
        "--metadata": folder / "truth.csv",
        "--group": "patient",
        "--role": "split",
        "--out": out,
        "--params": folder / "params.yaml",
    }
    words = [
        str(word) for name, value in options.items() if name not in drop for word in (name, value)
    ]
    return CliRunner().invoke(app, ["audit", *words, *map(str, changes)])


def errors(found):
    """The error lines of what the command told."""
    return [line for line in found.output.splitlines() if line.startswith("ERROR")]


@pytest.fixture
def _own_logging():
    """The command sets up logging for a process of its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.usefixtures("_own_logging")
class TestCommandLine:
    def test_a_search_can_be_left_out_and_the_record_says_so(self, folder, tmp_path):
        found = call(folder, tmp_path / "out", "--slice", "sex", "--no-discover")
        assert found.exit_code == 0, found.output
        told = pd.read_csv(tmp_path / "out/plots/slice/not_measured.csv")
        assert len(told) == 5
        assert set(told["needs"]) == {"to be asked for, and were left out"}
        assert not (tmp_path / "out/plots/slice/discovered.csv").exists()

    def test_audits(self, folder, tmp_path):
        blur = f"blur-1={folder / 'classes_blur.csv'}"
        options = ("--conditions", blur, "--slice", "sex", "--quantiles", "age=2")
        found = call(folder, tmp_path / "out", *options, "--critical", "mel")
        assert found.exit_code == 0, found.output
        metrics = json.loads((tmp_path / "out/metrics/evaluate.json").read_text())
        assert math.isfinite(metrics["critical_sensitivity_ci_low"])
        assert (tmp_path / "out/report/report.html").is_file()
        series = {path.stem for path in (tmp_path / "out/plots/slice").glob("*.csv")}
        assert series >= {"discovered", "role_drift", "not_measured"}
        again = call(folder, tmp_path / "out")
        assert again.exit_code == 1

    @pytest.mark.parametrize(
        ("drop", "more", "words"),
        [
            ((), ("--labels", "Edema"), "in exactly one way"),
            (("--label",), (), "in exactly one way"),
            ((), ("--quantiles", "age"), "--quantiles: expected name=value, got 'age'"),
            ((), ("--quantiles", "age=few"), "--quantiles: expected whole numbers"),
            ((), ("--quantiles", "age=1"), "greater than or equal to 2"),
            ((), ("--conditions", "blur"), "--conditions: expected name=value, got 'blur'"),
            ((), ("--conditions", "blur=absent.csv"), "absent.csv: no such file"),
            ((), ("--slice", "site"), "no column 'site' for metadata"),
            ((), ("--critical", "bcc"), "no output 'bcc'"),
            ((), ("--outputs", "mel,vasc"), "no output columns vasc"),
            ((), ("--target-id", "dx"), "expected every id in `dx` once"),
            ((), ("--metadata-id", "file"), "no column 'file' for sample ids"),
            (("--metadata",), (), "no metadata file is named"),
            (("--predictions",), ("--predictions", "absent.csv"), "absent.csv: no such file"),
            (("--predictions",), ("--predictions", "."), "no such file"),
            (("--params",), ("--params", "absent.yaml"), "absent.yaml: not found"),
            (("--role",), ("--calibration", "1.5"), "calibration"),
            (("--role",), ("--calibration", "-0.1"), "0 cross-fits thresholds over 5 folds"),
            (("--role",), ("--seed", "-1"), "seed"),
        ],
    )
    def test_bad_options_are_one_line(self, folder, tmp_path, drop, more, words):
        found = call(folder, tmp_path / "out", *more, drop=drop)
        assert isinstance(found.exception, SystemExit), found.exception
        assert found.exit_code in (1, 2)
        assert words in found.output
        if found.exit_code == 1:
            assert errors(found) == found.output.splitlines()[-1:]
        assert not (tmp_path / "out").exists()

    def test_ids_that_are_not_there_are_one_line(self, folder, tmp_path):
        np.save(tmp_path / "p.npy", np.full((N, 3), 1 / 3))
        found = call(
            folder,
            tmp_path / "out",
            "--predictions",
            tmp_path / "p.npy",
            "--outputs",
            "bkl,mel,nv",
            "--ids",
            tmp_path / "absent.txt",
            drop=("--predictions",),
        )
        assert isinstance(found.exception, SystemExit), found.exception
        assert found.exit_code == 1
        assert "absent.txt" in errors(found)[0]

    @pytest.mark.parametrize("option", ["--predictions", "--kind", "--targets", "--out"])
    def test_what_must_be_said_is_named(self, folder, tmp_path, option):
        found = call(folder, tmp_path / "out", drop=(option,))
        assert found.exit_code == 2
        assert option in found.output

    def test_what_numbers_are_is_one_of_two_things(self, folder, tmp_path):
        found = call(folder, tmp_path / "out", "--kind", "scores", drop=("--kind",))
        assert found.exit_code == 2
        assert "probabilities" in found.output

    def test_help_names_every_option(self):
        found = CliRunner().invoke(app, ["audit", "--help"], env={"COLUMNS": "160"})
        assert found.exit_code == 0
        for option in ("--kind", "--label-list", "--conditions", "--calibration", "--group"):
            assert option in found.output
