"""`medaudit.audit`: predictions in memory in, the same findings as from files out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

import medaudit as ma
from medaudit.commands import audit as command
from medaudit.core import findings
from medaudit.data.external_tables import MetadataColumns, TruthColumns
from medaudit.report import results

N = 240
CLASSES = ["bkl", "mel", "nv"]
LABELS = ["Edema", "Pleural Effusion"]
PARAMS = {
    "intervals": {"replicates": 200},
    "calibrate": {"floor_replicates": 50},
    "slice": {"min_size": 10, "min_positives": 3},
}
PLOTS = (
    *("reliability", "risk_coverage", "per_class", "curves", "confusion", "threshold"),
    *("severity", "delta", "predicted", "slices"),
)


def softmax(logits):
    odds = np.exp(logits)
    return odds / odds.sum(axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def known():
    """Classes, their probabilities clean and blurred, and metadata, all with ids."""
    generator = np.random.default_rng(4)
    ids = pd.Index([f"case {i:03}" for i in range(N)], name="image")
    classes = generator.choice(3, N, p=[0.3, 0.2, 0.5])

    def stated(noise):
        logits = 1.5 * np.eye(3)[classes] + generator.normal(0, noise, (N, 3))
        return pd.DataFrame(softmax(logits), index=ids, columns=CLASSES)

    metadata = pd.DataFrame(
        {
            "patient": [f"p{i // 2:03}" for i in range(N)],
            "split": np.where(np.arange(N) < 80, "val", "test"),
            "sex": generator.choice(["F", "M"], N),
            "age": generator.integers(20, 80, N),
        },
        index=ids,
    )
    truth = pd.Series(np.array(CLASSES)[classes], index=ids, name="dx")
    return {"truth": truth, "clean": stated(1.0), "blur": stated(3.0), "metadata": metadata}


def asked(known, **changes):
    """An audit that names everything there is."""
    options = {
        "groups": "patient",
        "metadata": known["metadata"],
        "roles": "split",
        "slices": ["sex"],
        "quantiles": {"age": 2},
        "conditions": {"gaussian_blur-2": known["blur"]},
        "critical": "mel",
        "params": PARAMS,
    }
    options |= changes
    targets = options.pop("targets", known["truth"])
    return ma.audit(targets, options.pop("probabilities", known["clean"]), **options)


@pytest.fixture(scope="module")
def done(known):
    return asked(known)


class TestFindings:
    def test_they_are_those_of_the_command(self, known, done, tmp_path, monkeypatch):
        monkeypatch.setenv("MEDAUDIT_PSEUDONYM_KEY", "the same key for both")
        for name in ("clean", "blur", "truth", "metadata"):
            known[name].to_csv(tmp_path / f"{name}.csv")
        (tmp_path / "params.yaml").write_text(str(PARAMS).replace("'", ""))
        request = command.Request(
            predictions=tmp_path / "clean.csv",
            kind="probabilities",
            targets=tmp_path / "truth.csv",
            truth=TruthColumns("dx"),
            metadata=MetadataColumns(
                tmp_path / "metadata.csv", None, "patient", "split", ("sex", "age")
            ),
            out=tmp_path / "out",
            conditions={"gaussian_blur-2": tmp_path / "blur.csv"},
            quantiles={"age": 2},
            critical="mel",
            params=tmp_path / "params.yaml",
        )
        command.audit(request)
        done.write(tmp_path / "ours")
        for folder in ("metrics", "plots"):
            files = {
                where: {
                    path.relative_to(tmp_path / where): path.read_bytes()
                    for path in (tmp_path / where / folder).rglob("*.*")
                }
                for where in ("out", "ours")
            }
            assert len(files["out"]) >= 5
            assert files["ours"] == files["out"]
        searched = {path.stem for path in (tmp_path / "out/plots/slice").glob("*.csv")}
        assert searched >= {"discovered", "role_drift", "not_measured"}

    def test_the_value_is_that_of_scikit_learn(self, known, done):
        test = (known["metadata"]["split"] == "test").to_numpy()
        value = roc_auc_score(known["truth"][test] == "mel", known["clean"]["mel"][test])
        row = done.summary().set_index("measure").loc["critical_auroc"]
        assert row["value"] == pytest.approx(value, abs=1e-12)
        assert row["low"] < value < row["high"]
        assert (row["n"], row["n_groups"]) == (160, 80)

    def test_the_summary_is_tidy(self, done):
        table = done.summary()
        columns = ["measure", "value", "low", "high", "n", "n_groups", "n_positive", "method"]
        assert list(table.columns) == columns
        assert table["measure"].is_unique
        assert {"macro_auroc", "ece", "deferral_coverage"} <= set(table["measure"])
        assert table["value"].notna().all()

    def test_tables(self, done):
        assert set(done.slices["slice"]) >= {"sex=F", "sex=M"}
        assert set(done.per_class["class"]) == set(CLASSES)
        assert "gaussian_blur-2" in set(done.conditions["condition"])
        assert "ece" in set(done.calibration["metric"])
        assert "aurc" in set(done.selective["metric"])
        assert set(done.findings) == {"evaluate", "stress", "slice", "calibrate", "selective"}

    def test_a_table_is_a_copy(self, done):
        mine = done.metrics
        mine["value"] = 0.0
        assert (done.metrics["value"] != 0).any()

    def test_without_conditions_there_are_none(self, known):
        found = asked(known, conditions={})
        assert found.conditions.empty
        with pytest.raises(ma.MedauditError, match="conditions="):
            found.plot.severity()


class TestInputs:
    """However the same numbers are given, the findings are the same."""

    def same(self, found, done):
        pd.testing.assert_frame_equal(found.metrics, done.metrics)
        pd.testing.assert_frame_equal(found.slices, done.slices)
        pd.testing.assert_frame_equal(found.conditions, done.conditions)

    def test_arrays(self, known, done):
        metadata = known["metadata"]
        found = asked(
            known,
            targets=known["truth"].tolist(),
            probabilities=known["clean"].to_numpy(),
            classes=CLASSES,
            ids=metadata.index.to_list(),
            groups=metadata["patient"].to_numpy(),
            roles=metadata["split"].tolist(),
            metadata={"sex": metadata["sex"].tolist(), "age": metadata["age"].tolist()},
            conditions={"gaussian_blur-2": known["blur"].to_numpy()},
        )
        self.same(found, done)

    def test_class_numbers(self, known, done):
        codes = known["truth"].map(CLASSES.index)
        self.same(asked(known, targets=codes), done)
        self.same(asked(known, targets=codes.astype(float)), done)

    def test_frames_are_matched_by_index(self, known, done):
        mixed = {name: each.sample(frac=1, random_state=3) for name, each in known.items()}
        mixed["clean"] = mixed["clean"][["nv", "bkl", "mel"]]
        self.same(asked(mixed, classes=CLASSES), done)

    def test_a_condition_of_the_test_role_is_enough(self, known, done):
        test = known["metadata"]["split"] == "test"
        self.same(asked(known, conditions={"gaussian_blur-2": known["blur"][test]}), done)

    def test_ids_in_a_column_of_a_filtered_frame(self, known, done):
        frame = known["metadata"].join(known["clean"]).assign(dx=known["truth"]).reset_index()
        frame.index = frame.index * 2 + 1
        found = asked(
            known,
            targets=frame["dx"],
            probabilities=frame[CLASSES],
            ids=frame["image"],
            metadata=frame,
        )
        self.same(found, done)

    def test_logits_of_members(self, known, done):
        logits = np.log(known["clean"].to_numpy())
        two = np.stack([logits, logits + 3.0])
        found = ma.audit(
            known["truth"].tolist(),
            logits=two,
            classes=CLASSES,
            metadata=known["metadata"].reset_index(drop=True),
            groups="patient",
            roles="split",
            slices=["sex"],
            critical="mel",
            params=PARAMS,
        )
        assert found.clean.logits.shape[0] == 2
        asserted = ("macro_auroc", "accuracy", "log_loss")
        ours, theirs = (each.metrics.set_index("metric")["value"] for each in (found, done))
        assert ours[list(asserted)].to_numpy() == pytest.approx(theirs[list(asserted)], abs=1e-6)

    def test_labels(self, known):
        generator = np.random.default_rng(1)
        flags = pd.DataFrame(generator.random((N, 2)) < 0.4, columns=LABELS).astype(int)
        stated = 1 / (1 + np.exp(-(2.0 * flags - 1 + generator.normal(0, 1, (N, 2)))))
        found = ma.audit(flags[LABELS[::-1]], stated, params=PARAMS, critical="Edema")
        assert found.clean.schema.task == "multilabel"
        assert (found.clean.targets == flags.to_numpy()).all()
        assert "exact_match" in set(found.summary()["measure"])
        again = ma.audit(flags.to_numpy(), stated, params=PARAMS, critical="Edema")
        pd.testing.assert_frame_equal(found.metrics, again.metrics)
        one = ma.audit(flags["Edema"], stated["Edema"], params=PARAMS)
        assert one.clean.schema.classes == ("Edema",)

    def test_metadata_is_sliced_by_default(self, known):
        found = asked(known, slices=None, quantiles=None)
        assert set(found.settings.slice.columns) == {"sex"}
        assert found.settings.slice.quantiles == {"age": 4}

    def test_roles_are_drawn_by_group(self, known):
        found = asked(known, roles=None, slices=["sex"], calibration=0.4, seed=5)
        roles = found.clean.rows.groupby("group_id")["role"].nunique()
        assert (roles == 1).all()
        assert (found.clean.rows["role"] == "calibration").mean() == pytest.approx(0.4, abs=0.05)


class TestOutputs:
    @pytest.mark.parametrize("name", PLOTS)
    def test_figures(self, done, name):
        found = getattr(done.plot, name)()
        assert isinstance(found, Figure)
        assert any(ax.has_data() for ax in found.axes)

    def test_what_cannot_be_drawn_says_what_it_needs(self, known):
        found = asked(known, critical=None)
        with pytest.raises(ma.MedauditError, match="'threshold'; name the critical class"):
            found.plot.threshold()

    def test_the_report(self, done, tmp_path):
        out = done.report(tmp_path / "out")
        assert (out / "report/report.html").stat().st_size > 10_000
        assert (out / "report/report.pdf").is_file()
        assert {path.stem for path in (out / "report/figures").glob("*.svg")} >= set(PLOTS)
        read = results.read_results(out, only=tuple(done.findings))
        assert read.classes == tuple(CLASSES)
        scalars = findings.read_scalars("evaluate", root=out)
        assert scalars["accuracy"] == findings.on_disk(
            done.findings["evaluate"].scalars["accuracy"]
        )
        with pytest.raises(ma.MedauditError, match="not an empty folder"):
            done.report(out)

    def test_it_says_what_it_is(self, done):
        assert "multiclass, 3 outputs, 240 samples, 1 conditions" in repr(done)


def nan_in(frame):
    return frame.mask(np.eye(*frame.shape, dtype=bool))


WRONG = {
    "rows": (lambda k: {"targets": k["truth"].tolist()[:100]}, "targets: expected 240 rows"),
    "nan": (lambda k: {"probabilities": nan_in(k["clean"])}, "finite numbers.*case 000"),
    "range": (lambda k: {"probabilities": k["clean"] + 1}, r"outside \[0, 1\].*case 000"),
    "sum": (lambda k: {"probabilities": k["clean"] / 2}, "must add up to 1.*case 000"),
    "words": (lambda k: {"probabilities": k["clean"].astype(str) + "x"}, "array of numbers"),
    "both": (lambda k: {"logits": k["clean"]}, "either probabilities or logits, got both"),
    "neither": (lambda k: {"probabilities": None}, "got neither"),
    "critical": (lambda k: {"critical": "mell"}, "unknown critical class 'mell', did you mean"),
    "classes": (lambda k: {"classes": ["bkl", "mel"]}, "expected the columns bkl, mel"),
    "target": (
        lambda k: {"targets": k["truth"].replace("nv", "vasc")},
        "unknown classes vasc in case 0.*known: bkl, mel, nv",
    ),
    "code": (lambda k: {"targets": np.full(N, 3)}, "unknown classes 3 .*known: 0 to 2"),
    "missing": (lambda k: {"targets": k["truth"].mask(k["truth"] == "nv")}, r"\(empty\)"),
    "unnamed": (
        lambda k: {"probabilities": k["clean"].to_numpy(), "critical": None},
        r"classes=\[...\]",
    ),
    "ids": (lambda k: {"ids": ["a"] * N}, "ids: expected every id once.*: a;"),
    "index": (
        lambda k: {"metadata": k["metadata"].rename({"case 007": "case 7"})},
        "metadata: its index lacks 1 of 240 samples: case 007",
    ),
    "groups": (lambda k: {"groups": "lesion"}, "groups: no column 'lesion' in metadata"),
    "roles": (lambda k: {"roles": ["val"] * N}, "no rows for test"),
    "leak": (lambda k: {"groups": ["one"] * N}, "one"),
    "slice": (lambda k: {"slices": ["site"]}, "no columns site to cut slices on"),
    "words in bins": (lambda k: {"quantiles": {"sex": 2}}, "'sex', which is not a number column"),
    "condition": (
        lambda k: {"conditions": {"blur": k["blur"], "blur-1": k["blur"]}},
        "blur-1 once more",
    ),
    "condition rows": (
        lambda k: {"conditions": {"blur": k["blur"].to_numpy()[:50]}},
        r"conditions\['blur-1'\]: expected shape \(240, 3\)",
    ),
    "condition ids": (
        lambda k: {"conditions": {"blur": k["blur"].iloc[:100]}},
        "no prediction for 140 of 160 samples",
    ),
    "section": (lambda k: {"params": {"interval": {}}}, "params: unknown sections interval"),
    "key": (lambda k: {"params": {"intervals": {"levle": 0.9}}}, "did you mean `level`"),
    "section value": (lambda k: {"params": {"intervals": 3}}, "expected a mapping of keys"),
    "share": (lambda k: {"roles": None, "calibration": 1.5}, "between 0 and 1, got 1.5"),
    "labels": (lambda k: {"targets": np.full((N, 3), 2)}, "expected 0 or 1 for every label"),
    "label columns": (lambda k: {"targets": np.zeros((N, 2))}, "a column of 0 and 1 for each"),
}


@pytest.mark.parametrize("name", WRONG)
def test_nonsense_is_refused_in_one_line(known, name):
    change, words = WRONG[name]
    with pytest.raises(ma.MedauditError, match=words) as caught:
        asked(known, **change(known))
    assert "\n" not in str(caught.value)


def test_a_report_lies_where_it_was_asked_for(done, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert done.report("out") == Path("out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        ["artifacts", "metrics", "params.yaml", "plots", "report"]
    )
