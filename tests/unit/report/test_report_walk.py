"""No sentence of a report is shown to be false by its own tables: all of them are read."""

import dataclasses
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import synthetic_results
import synthetic_verdicts as verdicts
import yaml
from sentence_walk import Answers, LieError, Walk

from medaudit.core import findings
from medaudit.report import checklist, interval_warnings, narrative, render, results
from medaudit.report.results import NEEDED, Results, read_series
from medaudit.tables.manifest import Preparation
from medaudit.tables.operating_points import OperatingPoints
from medaudit.tables.predictions import Schema

REPOSITORY = Path(__file__).resolve().parents[3]
FORCED = tuple(verdicts.SHAPES)


@pytest.fixture(scope="module")
def uncritical(tmp_path_factory):
    """Seven classes, of which none is critical."""
    return synthetic_results.write_results(tmp_path_factory.mktemp("uncritical"), critical=False)


def copied(root, folder):
    return shutil.copytree(root, folder / "copy")


def edited(root, stage, name, **columns):
    """Overwrite columns of a table on disk."""
    path = root / "plots" / stage / f"{name}.csv"
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    table.assign(**columns).to_csv(path, index=False)


def with_few_positives(root):
    """Half of the comparisons have no interval and were not tested."""
    for stage, (name, what) in verdicts.WHAT.items():
        path = root / "plots" / stage / f"{name}.csv"
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
        half = table.index % 2 == 0
        for column in ("verdict", "family", f"{what}_low", f"{what}_high"):
            table[column] = table[column].mask(half)
        table.to_csv(path, index=False)


def with_lower_recall(root):
    """Deferral lowers the recall of every class, and its score finds no error."""
    ends = {"recall_delta": -0.1, "recall_delta_low": -0.15}
    edited(root, "selective", "per_class", **ends, recall_delta_high=-0.05)
    verdicts.edit_scalars(root, "selective", failure_auroc_ci_low=0.45)


def with_miscalibration(root):
    """Perfect calibration would hardly give this ECE, even if groups come out alike."""
    edited(root, "calibrate", "noise_floor", p_value=0.001996, p_value_grouped=0.01)


def off_target(root):
    """Realised specificity is not what sampling explains."""
    ends = {f"critical_specificity_expected_{end}": 0.99 for end in ("low", "high")}
    verdicts.edit_scalars(root, "evaluate", **ends)


def stated(root):
    """The prevalence was stated by the user."""
    verdicts.edit_scalars(root, "evaluate", critical_prevalence=0.02, prevalence_stated=True)


EDITS = (
    with_few_positives,
    with_lower_recall,
    with_miscalibration,
    off_target,
    stated,
    verdicts.found_without_a_name,
)


def read(found: Results) -> int:
    """Walk narrative, alerts and checklist; how many sentences were read."""
    walk = Walk(found).paragraphs(narrative.summary(found))
    walk.alerts(interval_warnings.alerts(found, {"macro_auroc": (0.1, 0.2)}))
    items = render.questions(found).items
    Answers(found).each([(item, checklist.answer(item, found)) for item in items])
    return walk.read


@pytest.mark.parametrize("name", ["study", "labelled", "uncritical"])
class TestMadeUpReports:
    def test_as_they_are(self, name, request):
        assert read(results.read_results(request.getfixturevalue(name))) > 20

    @pytest.mark.parametrize("verdict", FORCED)
    def test_of_one_verdict(self, name, verdict, request, tmp_path):
        root = copied(request.getfixturevalue(name), tmp_path)
        assert read(results.read_results(verdicts.force(root, verdict))) > 15

    @pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
    def test_edited(self, name, edit, request, tmp_path):
        root = copied(request.getfixturevalue(name), tmp_path)
        edit(root)
        assert read(results.read_results(root)) > 15


def test_an_audit_of_given_predictions(elsewhere):
    only = ("evaluate", "slice", "calibrate", "selective")
    assert read(results.read_results(elsewhere, only=only)) > 10


COMMITTED = (REPOSITORY, *sorted((REPOSITORY / "docs/results").glob("*/plots")))


@pytest.mark.parametrize("place", COMMITTED, ids=lambda place: place.parent.name)
def test_the_committed_results(place):
    """The results that lie in the repository, of the stages that wrote any."""
    root = place if place == REPOSITORY else place.parent
    assert read(committed(root)) > 10


def committed(root):
    """Results out of the series and scalars of a folder, without the artifacts behind them."""
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    stages = tuple(
        stage for stage in NEEDED if (root / "plots" / stage).exists() and stage != "cases"
    )
    series = {stage: read_series(stage, root) for stage in stages}
    scalars = {stage: findings.read_scalars(stage, root=root) for stage in stages}
    schema = schema_of(series, params)
    counts = dict.fromkeys(schema.classes, 1)
    points = OperatingPoints(
        schema.classes,
        (0.5,) * len(schema.classes),
        float(params["evaluate"]["specificity"]),
        (1,) * len(schema.classes),
    )
    return Results(
        root=REPOSITORY,
        stages=stages,
        preparation=Preparation(schema, 112, counts, "committed", "lesion"),
        points=points,
        backbone="",
        exported=False,
        params=params,
        scalars=scalars,
        series=series,
        case_study={},
        groups_in_two_roles=(),
        runtime={},
    )


def schema_of(series, params):
    """Task and classes as the tables tell them; HAM10000's critical class is the melanoma."""
    classes = tuple(series["evaluate"]["per_class"]["class"].unique())
    critical = "critical_sensitivity" in set(series["evaluate"]["metrics"]["metric"])
    exclusive = "accuracy" in set(series["evaluate"]["metrics"]["metric"])
    name = "mel" if "mel" in classes else classes[0]
    return Schema("multiclass" if exclusive else "multilabel", classes, name if critical else None)


class TestPlanted:
    """Wrong sentences, and tables that were changed after the sentences were written."""

    def summary(self, found):
        return narrative.summary(found)

    @pytest.mark.parametrize(
        ("right", "wrong"),
        [
            (r"falls in (\d+) of", "falls in 8 of"),
            (r"conditions and specificity in \d+ of", "conditions and specificity in 8 of"),
            (r"Undecided are \d+ of sensitivity", "Undecided are 99 of sensitivity"),
            (r" \(only falls above [^)]* could have been seen\)", ""),
            (r"only falls above \d[\d.]* to", "only falls above 0.1 to"),
            (r"under gaussian \w+, severity (\d) \(n=", r"under jpeg, severity \1 (n="),
            (r"shown (is|are) \d+", r"shown \1 99"),
            (r"Within the margin of \d+", "Within the margin of 40"),
            (r"To be confirmed on other data: sensitivity", "Sensitivity"),
            (r"raise a false alarm", "raise no false alarm"),
            (r"(lowers|raises|changes) the share of", "doubles the share of"),
            (r"lies (inside|above|below) the range", "lies beside the range"),
            (r"Miscalibration is undecided", "Miscalibration is shown"),
            (r"At the prevalence of the test role", "At the stated prevalence"),
            (r" and specificity is 0\.", " and specificity is 1."),
            (r"(\d+) of (\d+) wrong calls are kept", r"\2 of \1 wrong calls are kept"),
            (r"to keep \d+", "to keep 70"),
            (r"(fewer|more) than were asked for|and its interval holds what was", "as many as"),
            (r"images with mel\) and", "images with nv) and"),
        ],
    )
    def test_a_wrong_sentence_is_caught(self, found, right, wrong):
        said = "\n".join(self.summary(found))
        planted, n = re.subn(right, wrong, said, count=1)
        assert n == 1
        assert planted != said
        with pytest.raises(LieError):
            Walk(found).paragraphs(planted.split("\n"))

    @pytest.mark.parametrize(
        "sentence",
        [
            "No slice could be shown to be worse than the rest.",
            "Sensitivity for mel is 0.729 (0.608–0.851).",  # noqa: RUF001 - an interval
            "That number is optimistic and not used.",
            "Everything is fine.",
        ],
    )
    def test_a_sentence_that_nobody_knows_is_caught(self, found, sentence):
        with pytest.raises(LieError):
            Walk(found).paragraphs([*self.summary(found), sentence])

    def test_what_a_family_holds_may_not_be_left_out(self, found):
        said = self.summary(found)
        (i,) = (i for i, each in enumerate(said) if each.startswith("Against clean, sensitivity"))
        short = said[i][: said[i].index(" Undecided")]
        with pytest.raises(LieError, match="untold"):
            Walk(found).paragraphs([short])

    @pytest.mark.parametrize(
        ("stage", "name", "column", "value"),
        [
            ("stress", "conditions", "verdict", "within_margin"),
            ("slice", "slices", "verdict", "worse"),
            ("stress", "conditions", "minimal_detectable", 0.5),
            ("selective", "deferral", "delta", 0.4),
            ("selective", "per_class", "recall_delta_high", -0.5),
            ("calibrate", "noise_floor", "p95", 0.5),
            ("evaluate", "metrics", "low", 0.01),
        ],
    )
    def test_a_table_that_says_otherwise_is_caught(self, found, stage, name, column, value):
        said = self.summary(found)
        table = found.table(stage, name).astype({column: object})
        table.loc[table[column].notna(), column] = value
        series = {**found.series, stage: {**found.series[stage], name: table}}
        with pytest.raises(LieError):
            Walk(dataclasses.replace(found, series=series)).paragraphs(said)

    @pytest.mark.parametrize("status", checklist.STATUSES)
    def test_a_wrong_status_is_caught(self, found, status):
        items = render.questions(found).items
        caught = 0
        for item in items:
            right = checklist.answer(item, found)
            if right.status == status or item.check is None:
                continue
            caught += 1
            with pytest.raises(LieError):
                Answers(found).each([(item, dataclasses.replace(right, status=status))])
        assert caught > 5
