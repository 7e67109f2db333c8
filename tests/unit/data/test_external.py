"""Predictions that were made elsewhere: formats, mistakes that are named, and joining by id."""

import dataclasses
import gzip
import io
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medaudit.core.errors import DataError, ParamsError
from medaudit.data import external_tables
from medaudit.data.external_outputs import Outputs, copies, read_outputs, stored_logits
from medaudit.data.external_tables import MetadataColumns, Split, TruthColumns, read_truth
from medaudit.tables import tasks
from medaudit.tables.predictions import Condition, PredictionTable, Schema

CLASSES = ("bkl", "mel", "nv")
LABELS = ("Edema", "Pleural Effusion", "Mass")
N = 40
IDS = [f"s{i:02}" for i in range(N)]
EXCLUSIVE = tasks.get("multiclass")
LABELLED = tasks.get("multilabel")


def one_line(error):
    return "\n" not in str(error.value)


def probabilities(names=CLASSES, seed=0):
    """Rows that add up to 1; of labels they need not."""
    values = np.random.default_rng(seed).dirichlet(np.ones(len(names)), N)
    return pd.DataFrame(values, columns=list(names)).assign(id=IDS)[["id", *names]]


@pytest.fixture
def save(tmp_path):
    """Write a table under a name, in the format of its ending."""

    def write(frame, name="predictions.csv"):
        path = tmp_path / name
        if name.endswith(".parquet"):
            frame.to_parquet(path, index=False)
        elif name.endswith(".tsv"):
            frame.to_csv(path, index=False, sep="\t")
        else:
            frame.to_csv(path, index=False)
        return path

    return write


@pytest.fixture
def truth_file(save):
    """One class name a sample, and flags and lists of labels, with patients, sex and age."""
    generator = np.random.default_rng(1)
    flags = (generator.random((N, 3)) < 0.4).astype(int)
    flags[:3] = np.eye(3, dtype=int)
    frame = pd.DataFrame(flags, columns=list(LABELS)).assign(
        id=IDS,
        dx=[CLASSES[i % 3] for i in range(N)],
        findings=["|".join(np.array(LABELS)[row == 1]) for row in flags],
        patient=[f"p{i // 2:02}" for i in range(N)],
        split=np.where(np.arange(N) < 20, "val", "test"),
        sex=generator.choice(["F", "M"], N),
        age=generator.integers(20, 80, N),
    )
    return save(frame[["id", "dx", "findings", "patient", "split", "sex", "age", *LABELS]], "t.csv")


class TestFormats:
    @pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.tsv", "p.parquet"])
    def test_tables_are_read_alike(self, save, name):
        frame = probabilities()
        found = read_outputs(save(frame, name))
        assert found.names == CLASSES
        assert found.ids.tolist() == IDS
        np.testing.assert_allclose(found.numbers, frame[list(CLASSES)], rtol=1e-12)

    def test_an_array_with_its_ids_is_read_alike(self, save, tmp_path):
        frame = probabilities()
        np.save(tmp_path / "p.npy", frame[list(CLASSES)].to_numpy())
        (tmp_path / "ids.txt").write_text("\n".join(IDS) + "\n\n")
        found = read_outputs(tmp_path / "p.npy", names=CLASSES, ids=tmp_path / "ids.txt")
        table = read_outputs(save(frame, "p.parquet"))
        assert found.ids.tolist() == table.ids.tolist()
        np.testing.assert_array_equal(found.numbers, table.numbers)

    def test_numbers_as_ids_are_the_same_in_every_format(self, save):
        frame = probabilities().assign(id=range(N))
        found = [read_outputs(save(frame, name)).ids.tolist() for name in ("p.csv", "p.parquet")]
        assert found[0] == found[1] == [str(i) for i in range(N)]

    def test_the_id_column_is_the_first_or_the_named_one(self, save):
        frame = probabilities()[[*CLASSES, "id"]]
        assert read_outputs(save(frame), id_column="id").names == CLASSES

    def test_a_prefix_is_taken_off_and_chooses(self, save):
        frame = probabilities().rename(columns=lambda c: c if c == "id" else f"prob_{c}")
        frame["loss"] = "text"
        assert read_outputs(save(frame), prefix="prob_").names == CLASSES

    def test_named_outputs_are_chosen_in_their_order(self, save):
        found = read_outputs(save(probabilities()), names=("nv", "bkl"))
        assert found.names == ("nv", "bkl")
        np.testing.assert_allclose(found.numbers, probabilities()[["nv", "bkl"]])

    @pytest.mark.parametrize(
        ("values", "names", "ids", "words"),
        [
            (np.zeros((N, 3)), (), True, "rows and columns of an .npy file have no names"),
            (np.zeros((N, 3)), CLASSES, False, "rows and columns of an .npy file have no names"),
            (np.zeros((N, 2)), CLASSES, True, r"expected numbers of shape \(40, 3\)"),
            (np.zeros((N - 1, 3)), CLASSES, True, r"got float64 \(39, 3\)"),
            (np.full((N, 3), "x"), CLASSES, True, "not a readable .npy array of numbers"),
            (np.array([{}], dtype=object), CLASSES, True, "not a readable .npy array of numbers"),
        ],
    )
    def test_an_array_that_does_not_fit(self, tmp_path, values, names, ids, words):
        np.save(tmp_path / "p.npy", values, allow_pickle=True)
        (tmp_path / "ids.txt").write_text("\n".join(IDS))
        with pytest.raises(DataError, match=words) as caught:
            read_outputs(tmp_path / "p.npy", names=names, ids=tmp_path / "ids.txt" if ids else None)
        assert one_line(caught)

    @pytest.mark.parametrize("name", ["p.csv", "p.parquet", "p.csv.gz", "p.npy"])
    def test_damaged_files_are_one_line(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"\x80\x81\x82 no such format")
        (tmp_path / "ids.txt").write_text("\n".join(IDS))
        with pytest.raises(DataError, match=name) as caught:
            read_outputs(tmp_path / name, names=CLASSES, ids=tmp_path / "ids.txt")
        assert one_line(caught)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(DataError, match="no such file"):
            read_outputs(tmp_path / "absent.csv")

    def test_no_rows(self, save):
        with pytest.raises(DataError, match="no rows"):
            read_outputs(save(probabilities().iloc[:0]))


class TestNumbers:
    def test_declared_probabilities_come_back(self, save):
        found = read_outputs(save(probabilities()))
        logits = stored_logits(found, EXCLUSIVE, kind="probabilities")
        assert logits.shape == (1, N, 3)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(EXCLUSIVE.probabilities(logits), found.numbers, rtol=1e-5)

    def test_declared_logits_stay_what_they_are(self, save):
        frame = probabilities()
        frame[list(CLASSES)] = np.random.default_rng(0).normal(0, 3, (N, 3))
        found = read_outputs(save(frame))
        np.testing.assert_allclose(
            stored_logits(found, EXCLUSIVE, kind="logits")[0], found.numbers, rtol=1e-6
        )

    def test_nothing_is_guessed(self, save):
        # Numbers that could be either are read as they are declared.
        found = read_outputs(save(probabilities()))
        as_logits = stored_logits(found, EXCLUSIVE, kind="logits")
        np.testing.assert_allclose(as_logits[0], found.numbers, rtol=1e-6)

    @pytest.mark.parametrize("wrong", [-0.2, 1.2])
    @pytest.mark.parametrize("task", [EXCLUSIVE, LABELLED])
    def test_outside_of_0_and_1_is_named(self, save, wrong, task):
        frame = probabilities()
        frame.loc[7, "mel"] = wrong
        with pytest.raises(DataError, match=r"1 rows hold numbers outside \[0, 1\]: s07") as caught:
            stored_logits(read_outputs(save(frame)), task, kind="probabilities")
        assert one_line(caught)

    def test_the_rounding_of_1_is_no_mistake(self, save):
        frame = probabilities(LABELS)
        frame.loc[7, "Mass"] = 1 + 1e-9
        logits = stored_logits(read_outputs(save(frame)), LABELLED, kind="probabilities")
        assert np.isfinite(logits).all()

    def test_rows_that_do_not_add_up_are_named_where_classes_exclude(self, save):
        frame = probabilities()
        frame.loc[[3, 9], "mel"] = 0.0
        frame.loc[[3, 9], "nv"] = 0.25
        frame.loc[[3, 9], "bkl"] = 0.25
        found = read_outputs(save(frame))
        with pytest.raises(
            DataError, match=r"those of 2 rows do not, such as s03 \(0\.5\)"
        ) as caught:
            stored_logits(found, EXCLUSIVE, kind="probabilities")
        assert one_line(caught)
        assert stored_logits(found, LABELLED, kind="probabilities").shape == (1, N, 3)

    def test_printed_probabilities_may_miss_1_by_their_rounding(self, save):
        frame = probabilities().round(4)
        assert stored_logits(read_outputs(save(frame)), EXCLUSIVE, kind="probabilities").size

    def test_certainty_stays_finite(self, save):
        frame = probabilities()
        frame[list(CLASSES)] = np.eye(3)[np.arange(N) % 3]
        found = read_outputs(save(frame))
        for task in (EXCLUSIVE, LABELLED):
            logits = stored_logits(found, task, kind="probabilities")
            assert np.isfinite(logits).all()
            np.testing.assert_allclose(task.probabilities(logits), found.numbers, atol=1e-6)

    @pytest.mark.parametrize("wrong", [np.nan, np.inf])
    @pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
    def test_numbers_that_are_none_are_named(self, save, wrong, name):
        frame = probabilities()
        frame.loc[[5, 6], "mel"] = wrong
        with pytest.raises(DataError, match="NaN or infinite ones for s05, s06"):
            read_outputs(save(frame, name))

    def test_text_in_an_output_is_quoted(self, save):
        frame = probabilities().astype({"mel": object})
        frame.loc[5, "mel"] = "high"
        with pytest.raises(DataError, match="column `mel` must hold numbers, got high") as caught:
            read_outputs(save(frame))
        assert one_line(caught)

    def test_a_column_that_is_no_output_is_named_with_the_remedy(self, save):
        frame = probabilities().assign(site="here")
        with pytest.raises(DataError, match=r"`site` must hold numbers.*name the output columns"):
            read_outputs(save(frame))

    def test_unknown_outputs_list_the_known_columns(self, save):
        with pytest.raises(DataError, match="no output columns vasc; columns there: id, bkl"):
            read_outputs(save(probabilities()), names=("mel", "vasc"))
        with pytest.raises(DataError, match="that begin with 'p_'"):
            read_outputs(save(probabilities()), prefix="p_")

    def test_repeated_ids_are_named(self, save):
        frame = probabilities()
        frame.loc[[8, 9], "id"] = "s07"
        with pytest.raises(DataError, match=r"`id` once.*more than once: s07") as caught:
            read_outputs(save(frame))
        assert one_line(caught)

    def test_an_empty_id_is_named_by_its_row(self, save):
        frame = probabilities()
        frame.loc[3, "id"] = np.nan
        with pytest.raises(DataError, match="empty `id` in rows 5"):
            read_outputs(save(frame))


def read(path, **where):
    names = CLASSES if "label" in where else LABELS
    return read_truth(path, TruthColumns(**where), names=names, critical=None)


def test_one_output_is_no_class_list():
    alone = Outputs(Path("p.csv"), np.array(["a", "b"]), ("sick",), np.array([[0.2], [0.9]]))
    with pytest.raises(DataError, match="one output 'sick' cannot be one class out of several"):
        stored_logits(alone, EXCLUSIVE, kind="probabilities")
    assert stored_logits(alone, tasks.get("multilabel"), kind="probabilities").shape == (1, 2, 1)


def test_logits_that_look_like_probabilities_are_pointed_out(caplog):
    found = Outputs(Path("p.csv"), np.array(["a"]), ("x", "y"), np.array([[0.2, 0.8]]))
    stored_logits(found, EXCLUSIVE, kind="logits")
    assert "declare probabilities" in caplog.text


class TestTruth:
    def test_class_names(self, truth_file):
        found = read(truth_file, label="dx")
        assert found.schema.task == "multiclass"
        assert found.targets.tolist() == [i % 3 for i in range(N)]

    def test_flags_and_lists_are_the_same_truth(self, truth_file):
        flags = read(truth_file, labels=LABELS)
        lists = read(truth_file, label_list="findings")
        assert flags.schema.task == lists.schema.task == "multilabel"
        np.testing.assert_array_equal(flags.targets, lists.targets)
        assert flags.targets[:3].tolist() == np.eye(3).tolist()

    def test_parquet_and_text_are_the_same_truth(self, truth_file, save):
        packed = save(pd.read_csv(truth_file), "t.parquet")
        for where in ({"label": "dx"}, {"labels": LABELS}, {"label_list": "findings"}):
            one, two = read(truth_file, **where), read(packed, **where)
            np.testing.assert_array_equal(one.targets, two.targets)
            assert one.ids.tolist() == two.ids.tolist()

    def test_labels_in_another_order_follow_the_outputs(self, truth_file):
        turned = read(truth_file, labels=LABELS[::-1])
        np.testing.assert_array_equal(turned.targets, read(truth_file, labels=LABELS).targets)

    @pytest.mark.parametrize(
        "where",
        [{}, {"label": "dx", "labels": LABELS}, {"label": "dx", "label_list": "findings"}],
    )
    def test_exactly_one_form(self, where):
        with pytest.raises(ParamsError, match="in exactly one way"):
            TruthColumns(**where)

    def change(self, path, save, column, row, value):
        frame = pd.read_csv(path).astype({column: object})
        frame.loc[row, column] = value
        return save(frame, "changed.csv")

    def test_an_unknown_class_is_quoted(self, truth_file, save):
        path = self.change(truth_file, save, "dx", 4, "melanoma")
        with pytest.raises(DataError, match="unknown classes melanoma in s04; known: bkl"):
            read(path, label="dx")

    def test_a_sample_without_a_class_is_named(self, truth_file, save):
        path = self.change(truth_file, save, "dx", 4, np.nan)
        with pytest.raises(DataError, match=r"unknown classes \(empty\) in s04"):
            read(path, label="dx")

    @pytest.mark.parametrize("value", ["2", "0.5", "yes"])
    def test_a_label_that_is_neither_0_nor_1_is_quoted(self, truth_file, save, value):
        path = self.change(truth_file, save, "Mass", 4, value)
        with pytest.raises(DataError, match=f"label `Mass` must be 0 or 1, got '{value}' in s04"):
            read(path, labels=LABELS)

    @pytest.mark.parametrize("value", [np.nan, -1])
    def test_an_uncertain_label_is_named(self, truth_file, save, value):
        path = self.change(truth_file, save, "Mass", 4, value)
        with pytest.raises(DataError, match="label `Mass` is empty or uncertain for s04"):
            read(path, labels=LABELS)

    def test_outputs_that_are_all_never_listed_are_named(self, truth_file):
        with pytest.raises(DataError, match="`findings` never lists Hernia; it lists Edema, Mass"):
            read_truth(
                truth_file,
                TruthColumns(label_list="findings"),
                names=("Hernia",),
                critical=None,
            )

    def test_one_output_that_is_never_listed_has_no_positives(self, truth_file, caplog):
        found = read_truth(
            truth_file,
            TruthColumns(label_list="findings"),
            names=(*LABELS, "Hernia"),
            critical=None,
        )
        assert found.targets[:, -1].sum() == 0
        assert "never lists Hernia" in caplog.text

    def test_another_separator(self, truth_file, save):
        frame = pd.read_csv(truth_file)
        frame["findings"] = frame["findings"].str.replace("|", " ; ")
        found = read(save(frame, "changed.parquet"), label_list="findings", separator=";")
        np.testing.assert_array_equal(found.targets, read(truth_file, labels=LABELS).targets)
        several = frame[frame["findings"].str.contains(";", na=False)]
        with pytest.raises(DataError, match="and the separator '\\|'"):
            read(save(several, "c.parquet"), label_list="findings")

    def test_other_labels_than_the_outputs_are_named(self, truth_file):
        with pytest.raises(DataError, match="differ from them in Mass; name the same ones"):
            read(truth_file, labels=LABELS[:2])

    def test_a_missing_column_lists_the_known_ones(self, truth_file):
        with pytest.raises(DataError, match=r"no column 'diagnosis' for class names.*id, dx"):
            read(truth_file, label="diagnosis")

    def test_a_critical_class_that_is_no_output(self, truth_file):
        with pytest.raises(DataError, match="critical class 'bcc' is not one of bkl, mel, nv"):
            read_truth(truth_file, TruthColumns(label="dx"), names=CLASSES, critical="bcc")

    def test_repeated_ids_are_named(self, truth_file, save):
        path = self.change(truth_file, save, "id", 4, "s03")
        with pytest.raises(DataError, match="more than once: s03"):
            read(path, label="dx")


def metadata(path, **columns):
    return MetadataColumns(path, **columns)


def joined(outputs, truth, columns=None, split=None):
    found = external_tables.join(outputs, truth, columns or MetadataColumns(), split or Split())
    return found, external_tables.prediction_table(outputs, found, truth, kind="probabilities")


class TestJoin:
    @pytest.fixture
    def outputs(self, save):
        return read_outputs(save(probabilities()))

    @pytest.fixture
    def truth(self, truth_file):
        return read(truth_file, label="dx")

    def test_everything_meets_by_id(self, outputs, truth, truth_file):
        _, table = joined(
            outputs, truth, metadata(truth_file, group="patient", slices=("sex", "age"))
        )
        frame = pd.read_csv(truth_file)
        assert table.sample_ids == IDS
        assert table.group_ids.tolist() == frame["patient"].tolist()
        assert table.rows["sex"].tolist() == frame["sex"].tolist()
        assert table.rows["age"].tolist() == frame["age"].tolist()
        assert table.rows["age"].dtype == np.float64
        assert table.targets.tolist() == truth.targets.tolist()
        np.testing.assert_allclose(
            EXCLUSIVE.probabilities(table.logits), outputs.numbers, rtol=1e-5
        )

    def test_the_order_of_rows_does_not_matter(self, outputs, truth_file, save):
        columns = {"group": "patient", "slices": ("sex", "age")}
        order = np.random.default_rng(5)
        shuffled = pd.read_csv(truth_file).iloc[order.permutation(N)]
        other = save(shuffled, "shuffled.csv")
        turned = read_outputs(save(probabilities().iloc[order.permutation(N)], "turned.csv"))
        _, one = joined(outputs, read(truth_file, label="dx"), metadata(truth_file, **columns))
        _, two = joined(turned, read(other, label="dx"), metadata(other, **columns))
        pd.testing.assert_frame_equal(one.rows, two.rows)
        np.testing.assert_array_equal(one.targets, two.targets)
        np.testing.assert_array_equal(one.logits, two.logits)

    def test_samples_without_truth_are_named(self, outputs, truth):
        short = dataclasses.replace(truth, ids=truth.ids[2:], targets=truth.targets[2:])
        with pytest.raises(DataError, match="no truth for 2 of 40 samples: s00, s01;") as caught:
            joined(outputs, short)
        assert one_line(caught)

    def test_truth_without_predictions_is_left_out_and_told(self, outputs, truth, caplog):
        short = dataclasses.replace(outputs, ids=outputs.ids[3:], numbers=outputs.numbers[3:])
        with caplog.at_level(logging.INFO):
            _, table = joined(short, truth)
        assert len(table) == N - 3
        assert "3 rows have no prediction and are not used" in caplog.text

    def test_samples_without_metadata_are_named(self, outputs, truth, truth_file, save):
        path = save(pd.read_csv(truth_file).iloc[:-1], "short.csv")
        with pytest.raises(DataError, match="no metadata for 1 of 40 samples: s39;"):
            joined(outputs, truth, metadata(path, group="patient"))

    def test_repeated_metadata_is_named(self, outputs, truth, truth_file, save):
        frame = pd.read_csv(truth_file)
        path = save(pd.concat([frame, frame.iloc[[4]]]), "twice.csv")
        with pytest.raises(DataError, match="more than once: s04"):
            joined(outputs, truth, metadata(path, group="patient"))

    def test_columns_that_the_metadata_lacks_are_named(self, outputs, truth, truth_file):
        with pytest.raises(DataError, match="no column 'lesion' for metadata; columns there: id"):
            joined(outputs, truth, metadata(truth_file, group="lesion"))
        with pytest.raises(DataError, match="columns sex are asked for, but no metadata file"):
            joined(outputs, truth, metadata(None, slices=("sex",)))

    def test_an_empty_group_is_no_group(self, outputs, truth, truth_file, save):
        frame = pd.read_csv(truth_file)
        frame.loc[[4, 5], "patient"] = np.nan
        with pytest.raises(DataError, match="column `patient` is empty for 2 samples"):
            joined(outputs, truth, metadata(save(frame, "m.csv"), group="patient"))

    def test_without_groups_there_is_a_loud_warning_and_a_note(self, outputs, truth, caplog):
        with caplog.at_level(logging.WARNING):
            found, table = joined(outputs, truth)
        assert "NO GROUPS" in caplog.text
        assert "every image counts as a patient" in found.notes[0]
        assert table.group_ids.tolist() == table.sample_ids

    def test_with_groups_there_is_none(self, outputs, truth, truth_file, caplog):
        with caplog.at_level(logging.WARNING):
            found, _ = joined(outputs, truth, metadata(truth_file, group="patient"))
        assert not caplog.text
        assert len(found.notes) == 1


class TestRoles:
    @pytest.fixture
    def outputs(self, save):
        return read_outputs(save(probabilities()))

    @pytest.fixture
    def truth(self, truth_file):
        return read(truth_file, label="dx")

    def test_are_drawn_by_whole_groups(self, outputs, truth, truth_file):
        found, table = joined(outputs, truth, metadata(truth_file, group="patient"))
        roles = table.rows.groupby("group_id")["role"].nunique()
        assert (roles == 1).all()
        counts = table.rows["role"].value_counts()
        assert set(counts.index) == {"calibration", "test"}
        assert counts["calibration"] == pytest.approx(0.3 * N, abs=3)
        assert "30% of the samples, whole groups drawn at random (seed 1234)" in found.notes[-1]

    def test_the_seed_and_the_share_decide(self, outputs, truth, truth_file):
        def drawn(**split):
            _, table = joined(outputs, truth, metadata(truth_file, group="patient"), Split(**split))
            return table.rows["role"].tolist()

        assert drawn(seed=1) == drawn(seed=1)
        assert drawn(seed=1) != drawn(seed=2)
        assert drawn(calibration=0.6).count("calibration") == pytest.approx(0.6 * N, abs=3)

    def test_those_of_a_column_are_kept(self, outputs, truth, truth_file):
        found, table = joined(outputs, truth, metadata(truth_file, group="patient", role="split"))
        assert table.rows["role"].tolist() == ["calibration"] * 20 + ["test"] * 20
        assert found.notes == ("Roles are those of the column `split`.",)

    def test_val_beside_calibration_is_not_calibration(self, outputs, truth, truth_file, save):
        frame = pd.read_csv(truth_file)
        frame.loc[:9, "split"] = "Calibration"
        _, table = joined(
            outputs, truth, metadata(save(frame, "m.csv"), group="patient", role="split")
        )
        assert set(table.rows["role"]) == {"calibration", "validation", "test"}

    def test_a_group_in_two_roles_is_named(self, outputs, truth, truth_file, save):
        frame = pd.read_csv(truth_file)
        frame.loc[21, "split"] = "val"
        with pytest.raises(DataError, match=r"1 groups stand in more than one role.*p10"):
            joined(outputs, truth, metadata(save(frame, "m.csv"), group="patient", role="split"))

    def test_unknown_words_are_quoted(self, outputs, truth, truth_file, save):
        frame = pd.read_csv(truth_file).assign(split="holdout")
        with pytest.raises(DataError, match="unknown splits holdout; known: train"):
            joined(outputs, truth, metadata(save(frame, "m.csv"), group="patient", role="split"))

    def test_a_missing_role_is_named(self, outputs, truth, truth_file, save):
        frame = pd.read_csv(truth_file).assign(split="test")
        with pytest.raises(DataError, match="`split` has no rows for calibration"):
            joined(outputs, truth, metadata(save(frame, "m.csv"), group="patient", role="split"))

    @pytest.mark.parametrize("share", [1.0, 1.5, -0.1])
    def test_a_share_that_leaves_a_role_empty_is_refused(self, outputs, truth, share):
        with pytest.raises((DataError, ParamsError)) as caught:
            joined(outputs, truth, split=Split(calibration=share))
        assert one_line(caught)

    def test_a_share_of_none_puts_whole_groups_into_folds(self, outputs, truth, truth_file):
        columns = metadata(truth_file, group="patient")
        found, table = joined(outputs, truth, columns, Split(calibration=0))
        assert (table.rows["role"] == "test").all()
        roles_of_groups = table.rows.groupby("group_id")["cross_fit_fold"].agg(set)
        assert roles_of_groups.map(len).max() == 1
        assert sorted(table.rows["cross_fit_fold"].unique()) == [0, 1, 2, 3, 4]
        assert table.rows["cross_fit_fold"].value_counts().max() < N // 2
        assert "No sample was set apart" in found.notes[-1]

    def test_too_few_groups_for_folds_are_refused(self, outputs, truth, truth_file, save):
        frame = pd.read_csv(truth_file)
        frame["patient"] = [f"p{i % 4}" for i in range(N)]
        columns = metadata(save(frame, "m.csv"), group="patient")
        with pytest.raises(DataError, match="expected 5 groups or more") as caught:
            joined(outputs, truth, columns, Split(calibration=0))
        assert one_line(caught)

    @pytest.mark.parametrize("name", ["role", "group_id", "sample_id", "target", "cross_fit_fold"])
    def test_a_slice_does_not_overwrite_what_the_audit_needs(
        self, outputs, truth, truth_file, save, name
    ):
        path = save(pd.read_csv(truth_file).assign(**{name: "elsewhere"}), "m.csv")
        columns = metadata(path, id_column="id", group="patient", slices=(name,))
        with pytest.raises(DataError, match=name):
            joined(outputs, truth, columns)


class TestCopies:
    """Outputs that stand twice: a copy of an image, or numbers that are too coarse to tell."""

    def table(self, values, *, kind="logits", task="multiclass", folds=None):
        n = len(values)
        logits = np.asarray(values, dtype=np.float64)
        if kind == "probabilities":
            logits = tasks.get(task).logits(logits)
        names = [f"s{i:03}" for i in range(n)]
        rows = pd.DataFrame({"sample_id": names, "group_id": names, "role": "test"})
        rows["role"] = np.where(np.arange(n) < n // 2, "calibration", "test")
        if folds is not None:
            rows = rows.assign(role="test", cross_fit_fold=folds)
        labels = task == "multilabel"
        shape = logits.shape if labels else n
        return PredictionTable(
            schema=Schema(task, tuple(f"c{k}" for k in range(logits.shape[1]))),
            rows=rows,
            targets=np.zeros(shape, dtype=np.int64),
            logits=logits[None].astype(np.float32),
            provenance={"kind": kind},
        )

    def numbers(self, n=200, k=3):
        return np.random.default_rng(3).normal(size=(n, k))

    def test_none_among_different_outputs(self):
        found = copies(self.table(self.numbers()))
        assert (len(found.across_roles), len(found.in_test), found.n_by_chance) == (0, 0, 0)
        assert found.notes(100) == ()

    def test_across_roles_and_inside_the_test_role(self):
        values = self.numbers()
        values[[0, 1]] = values[150]
        values[199] = values[120]
        found = copies(self.table(values))
        assert found.across_roles.to_dict("records") == [
            {
                "test_id": "s150",
                "test_group": "s150",
                "other_id": "s000",
                "other_group": "s000",
                "n_copies": 2,
                "same_target": True,
                "match": "exact",
            }
        ]
        assert found.in_test["test_id"].tolist() == ["s120", "s199"]
        assert "1 of 100 test samples have the very outputs" in found.notes(100)[0]
        assert "intervals are too narrow" in found.notes(100)[1]

    def test_what_was_rounded_on_the_way_is_found(self):
        values = self.numbers()
        values[0] = values[150] * (1 + 1e-7)
        values[1] = values[151] * (1 + 1e-2)
        found = copies(self.table(values)).across_roles
        assert found["test_id"].tolist() == ["s150"]
        assert found["match"].isin(["exact", "rounded"]).all()

    def test_images_of_one_group_are_no_copies(self):
        values = self.numbers()
        values[199] = values[120]
        table = self.table(values)
        table.rows.loc[[120, 199], "group_id"] = "patient"
        assert copies(table).in_test.empty

    def test_coarse_numbers_coincide_by_chance_and_are_only_counted(self):
        stated = np.random.default_rng(0).random((200, 1)).round(2)
        table = self.table(stated, kind="probabilities", task="multilabel")
        found = copies(table)
        assert found.across_roles.empty
        assert found.in_test.empty
        assert found.n_by_chance > 50

    def test_saturated_outputs_are_no_copies(self):
        stated = np.zeros((200, 3))
        stated[np.arange(200), np.arange(200) % 3] = 1
        found = copies(self.table(stated, kind="probabilities"))
        assert found.across_roles.empty
        assert found.n_by_chance == 100

    def test_printed_probabilities_of_several_classes_tell(self):
        stated = np.random.default_rng(0).dirichlet(np.ones(5), 200).round(4)
        stated[3] = stated[170]
        found = copies(self.table(stated, kind="probabilities"))
        assert found.across_roles["test_id"].tolist() == ["s170"]

    def test_folds_are_to_each_other_as_roles(self):
        values = self.numbers()
        values[0], values[5] = values[150], values[160]
        folds = np.arange(200) % 5
        folds[0] = 1  # and 150 is in fold 0; 5 and 160 are both in fold 0
        found = copies(self.table(values, folds=folds))
        assert found.across_roles["test_id"].tolist() == ["s000", "s150"]
        assert found.in_test["test_id"].tolist() == ["s005", "s160"]


class TestConditions:
    BLUR = Condition("gaussian_blur", 1)

    @pytest.fixture
    def known(self, save, truth_file):
        outputs = read_outputs(save(probabilities()))
        truth = read(truth_file, label="dx")
        found, clean = joined(outputs, truth, metadata(truth_file, group="patient", role="split"))
        return found, truth, clean

    def table(self, known, path):
        found, truth, _ = known
        return external_tables.prediction_table(
            read_outputs(path), found, truth, kind="probabilities", condition=self.BLUR
        )

    def test_hold_the_test_role(self, known, save):
        table = self.table(known, save(probabilities(seed=3), "blur.csv"))
        assert table.sample_ids == known[2].role("test").sample_ids
        assert table.condition == self.BLUR
        np.testing.assert_array_equal(table.targets, known[2].role("test").targets)

    def test_the_test_samples_alone_are_enough(self, known, save):
        frame = probabilities(seed=3)
        whole = self.table(known, save(frame, "blur.csv"))
        part = self.table(known, save(frame.iloc[20:], "part.csv"))
        np.testing.assert_array_equal(whole.logits, part.logits)

    def test_missing_test_samples_are_named(self, known, save):
        with pytest.raises(DataError, match="no prediction for 2 of 20 samples: s20, s21"):
            self.table(known, save(probabilities().iloc[22:], "blur.csv"))

    def test_other_samples_are_an_error(self, known, save):
        frame = probabilities().assign(id=[f"other{i}" for i in range(N)])
        with pytest.raises(DataError, match="no prediction for 20 of 20 samples"):
            self.table(known, save(frame, "blur.csv"))

    def test_columns_meet_by_name(self, known, save):
        frame = probabilities(seed=3)
        one = self.table(known, save(frame, "blur.csv"))
        two = self.table(known, save(frame[["id", "nv", "bkl", "mel"]], "turned.csv"))
        np.testing.assert_array_equal(one.logits, two.logits)

    def test_rows_meet_by_id(self, known, save):
        frame = probabilities(seed=3)
        order = np.random.default_rng(2).permutation(N)
        one = self.table(known, save(frame, "blur.csv"))
        two = self.table(known, save(frame.iloc[order], "turned.csv"))
        np.testing.assert_array_equal(one.logits, two.logits)

    def test_other_outputs_are_named(self, known, save):
        frame = probabilities(("bkl", "mel", "vasc"))
        with pytest.raises(
            DataError, match="outputs of the clean predictions, differs in nv, vasc"
        ):
            self.table(known, save(frame, "blur.csv"))


def test_spaces_quotes_and_byte_order_marks_are_no_obstacle(tmp_path):
    buffer = io.StringIO()
    probabilities(LABELS).to_csv(buffer, index=False)
    text = "\ufeff" + buffer.getvalue().replace(",", " , ")
    (tmp_path / "p.csv.gz").write_bytes(gzip.compress(text.encode()))
    found = read_outputs(tmp_path / "p.csv.gz")
    assert found.names == LABELS
    np.testing.assert_allclose(found.numbers, probabilities(LABELS)[list(LABELS)])
