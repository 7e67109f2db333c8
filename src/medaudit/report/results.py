"""Everything that the stages found, read once; errors name the stage to run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from medaudit.audits import slice_tests, slicing
from medaudit.audits.calibrate import BASELINE
from medaudit.audits.slicing import SliceParams
from medaudit.core import findings
from medaudit.core.cell_rules import WORD
from medaudit.core.errors import DataError, listed, lookup
from medaudit.core.files import read_json
from medaudit.core.layout import (
    CASES,
    CLEAN,
    MEASURING_STAGES,
    MODEL,
    OPERATING_POINTS,
    PARAMS,
    PLOTS,
    PREPARED,
    PSEUDONYM_KEY,
)
from medaudit.core.params import parse, read_yaml
from medaudit.core.privacy import AGGREGATE, Privacy, PrivacyParams, released_cases
from medaudit.report.formatting import Change, Number, change, number, real, whole
from medaudit.tables import manifest, operating_points, predictions, tasks
from medaudit.tables.scoring import ScoredPredictions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from medaudit.core.findings import Scalar
    from medaudit.core.privacy import Mode
    from medaudit.tables.manifest import Preparation
    from medaudit.tables.operating_points import OperatingPoints

_COMPARED = "metric output direction interval p_adjusted family margin verdict minimal_detectable"
_ESTIMATE = "value low high n n_positive n_positive_groups undefined_share caution"
NEEDED: dict[str, dict[str, str]] = {
    "prepare": {
        "class_counts": "class role images groups",
        "missing": "column missing unknown",
        "ledger": "step reason rows_in rows_out",
        "duplicates": "",
    },
    "train": {"curves": "epoch split loss"},
    "evaluate": {
        "metrics": f"metric {_ESTIMATE}",
        "per_class": f"class metric threshold prevalence {_ESTIMATE}",
    },
    "stress": {
        "conditions": f"condition corruption severity delta delta_low delta_high {_COMPARED} "
        f"{_ESTIMATE}",
        "predicted": "condition class share",
        "corruption_errors": f"corruption quantity {_ESTIMATE}",
    },
    "slice": {
        "slices": f"slice words gap gap_low gap_high shrunk shrunk_low shrunk_high {_COMPARED} "
        f"{_ESTIMATE}",
        "refused": "slice n n_positive reason",
    },
    "calibrate": {
        "summary": f"calibrator metric delta delta_low delta_high p_value {_ESTIMATE}",
        "events": f"calibrator event metric {_ESTIMATE}",
        "reliability": "stage event bin_lo bin_hi confidence accuracy count",
        "noise_floor": "calibrator event mean p95 p_value",
    },
    "selective": {
        "summary": f"score metric delta delta_low delta_high p_holm {_ESTIMATE}",
        "risk_coverage": "method coverage risk generalised_risk",
        "deferral": f"score threshold metric delta delta_low delta_high {_ESTIMATE}",
        "by_coverage": "asked",
        "per_class": "class n deferred recall recall_kept recall_delta "
        "recall_delta_low recall_delta_high",
    },
    "cases": {
        "taxonomy": "mode n n_groups share n_critical n_flagged definition",
        "failure_modes": "bucket mode definition n n_of of share share_low share_high stage",
        "outcome_statistics": "statistic outcome low high share",
    },
}


def read_series(stage: str, root: Path) -> dict[str, pd.DataFrame]:
    """Every table that a stage wrote, by file stem."""
    folder = root / PLOTS / stage
    for name in NEEDED[stage]:
        if not (folder / f"{name}.csv").exists():
            raise DataError(
                f"{folder / name}.csv: not found; run the {stage} stage first (`dvc repro {stage}`)"
            )
    found = {path.stem: _csv(path, stage=stage) for path in sorted(folder.glob("*.csv"))}
    for name, columns in NEEDED[stage].items():
        missing = [column for column in columns.split() if column not in found[name]]
        if missing:
            raise DataError(
                f"{folder / name}.csv: lacks the columns {listed(missing)}; "
                f"run the {stage} stage again (`dvc repro -f -s {stage}`)"
            )
    return found


def _csv(path: Path, *, stage: str) -> pd.DataFrame:
    return findings.read_csv(path, mend=f"run the {stage} stage again (`dvc repro -f -s {stage}`)")


MODEL_CARD = MODEL / "model.json"

Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Results:
    """What the stages wrote, as the report needs it.

    Args:
        root: folder that holds `metrics`, `plots` and `artifacts`.
        stages: those whose findings were read; the others are absent on purpose.
        preparation: task, classes, critical class, data set.
        points: thresholds frozen on the calibration role.
        backbone: name of the model's backbone, or of the file of an exported model; empty where no
            model is known.
        exported: whether the model is an exported program.
        params: all of `params.yaml`.
        scalars: headline numbers by stage.
        series: tables by stage and file stem.
        case_study: the cases with their evidence.
        groups_in_two_roles: ids of groups that leak; none in a sound split.
        runtime: what every stage that ran here noted about its machine.
        errors_inside: ids of the test images that are wrong inside a slice, by slice, measure and
            output; empty where the predictions are not at hand.
        privacy: what may be said of patients, `report.privacy`.
    """

    root: Path
    stages: tuple[str, ...]
    preparation: Preparation
    points: OperatingPoints
    backbone: str
    exported: bool
    params: Mapping[str, Any]
    scalars: Mapping[str, Mapping[str, Scalar]]
    series: Mapping[str, Mapping[str, pd.DataFrame]]
    case_study: Mapping[str, Any]
    groups_in_two_roles: tuple[str, ...]
    runtime: Mapping[str, Mapping[str, Any]]
    errors_inside: Mapping[tuple[str, str, str], frozenset[str]] = field(default_factory=dict)
    privacy: Mode = "aggregate"

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order of the outputs."""
        return self.preparation.schema.classes

    @property
    def critical(self) -> str | None:
        """The class that must not be missed, or `None`."""
        return self.preparation.schema.critical_class

    @property
    def exclusive(self) -> bool:
        """Whether every image has exactly one class."""
        return tasks.get(self.preparation.schema.task).exclusive

    @property
    def nouns(self) -> tuple[str, str]:
        """What an output is called, one and many."""
        return ("class", "classes") if self.exclusive else ("label", "labels")

    @property
    def complete(self) -> bool:
        """Whether every stage is there."""
        return set(self.stages) == set(MEASURING_STAGES)

    @property
    def aggregate(self) -> bool:
        """Whether single images are not spoken of."""
        return self.privacy == AGGREGATE

    @property
    def cases(self) -> Records:
        """The explained cases."""
        return list(self.case_study.get("cases", ()))

    def tables(self, stage: str) -> Mapping[str, pd.DataFrame]:
        """Every series of a stage; none where the stage is absent."""
        return self.series.get(stage, {})

    def table(self, stage: str, name: str) -> pd.DataFrame:
        """A series of a stage; an empty table where the stage wrote none of that name."""
        return self.tables(stage).get(name, pd.DataFrame())

    def rows(self, stage: str, name: str, **where: object) -> Records:
        """The rows of a series in which the columns have the asked values."""
        found = self.table(stage, name)
        for column, value in where.items():
            if column not in found:
                return []
            found = found[found[column] == value]
        return findings.row_dicts(found)

    def number(self, stage: str, name: str, **where: object) -> Number:
        """The first matching row as a number; an undefined one where nothing matches."""
        rows = self.rows(stage, name, **where)
        return number(rows[0]) if rows else Number()

    def names(self, stage: str, name: str, column: str) -> list[str]:
        """The values of a column, each once, in their order."""
        found = self.table(stage, name)
        return [str(each) for each in found[column].unique()] if column in found else []

    def measure(self, metric: str) -> Number:
        """A measure of the clean test role."""
        return self.number("evaluate", "metrics", metric=metric)

    def headline(self, stage: str, name: str) -> Number:
        """A headline number with its interval; undefined where the stage wrote none."""
        low, high = (real(self.scalar(stage, f"{name}_ci_{end}")) for end in ("low", "high"))
        left_out = self.scalar(stage, name) == WORD
        return Number(real(self.scalar(stage, name)), low, high, left_out=left_out)

    def of_class(self, name: str, metric: str) -> Number:
        """A measure of one class or label on the clean test role."""
        return self.number("evaluate", "per_class", **{"class": name, "metric": metric})

    def duplicate_pairs(self, which: str = "") -> int:
        """How many: all, those `across_groups` or `across_roles`, or where `labels_differ`."""
        # Not their rows: which images are copies is not always told.
        name = f"n_duplicate_pairs_{which}" if which else "n_duplicate_pairs"
        return whole(self.scalar("prepare", name)) or 0

    def scalar(self, stage: str, name: str) -> Scalar:
        """A headline number, or `None`."""
        return self.scalars.get(stage, {}).get(name)


def read_results(
    root: Path = Path(),
    *,
    only: tuple[str, ...] | None = None,
    privacy: Privacy | None = None,
) -> Results:
    """Read what the stages found; an error names the stage to run where something is missing.

    Args:
        root: folder that holds `metrics`, `plots` and `artifacts`.
        only: the stages that there are, for predictions made elsewhere; all of them by default.
        privacy: what may be said of patients; by default what `params.yaml` of the run says.
    """
    stages = MEASURING_STAGES if only is None else _in_order(only)
    card = read_json(root / MODEL_CARD, stage="train") if "train" in stages else {}
    params = _params(root, strict=only is None)
    privacy = privacy or Privacy(_asked(params), root / PSEUDONYM_KEY)
    series = {stage: read_series(stage, root) for stage in stages}
    return Results(
        root=root,
        stages=stages,
        preparation=manifest.read_preparation(root / PREPARED),
        points=operating_points.read(root / OPERATING_POINTS),
        backbone=backbone_or_file(card) if card else "",
        exported=card.get("kind") == "exported",
        params=params,
        scalars={stage: findings.read_scalars(stage, root=root) for stage in stages},
        series=series,
        case_study=_dossier(root, privacy) if "cases" in stages else {},
        groups_in_two_roles=_leaks(root, strict="prepare" in stages),
        runtime=_runtime(root, stages),
        errors_inside=_errors_inside(root, series.get("slice", {}), params),
        privacy=privacy.mode,
    )


def _errors_inside(
    root: Path, series: Mapping[str, pd.DataFrame], params: Mapping[str, Any]
) -> dict[tuple[str, str, str], frozenset[str]]:
    """Errors by slice, of slices that are cut here as they were.

    None without what they are cut from: predictions, manifest, and parameters.
    """
    table = series.get("slices", pd.DataFrame())
    known = (root / CLEAN).exists() and manifest.exists(root / PREPARED)
    if table.empty or not known or SliceParams.section not in params:
        return {}
    clean, points = predictions.read(root / CLEAN), operating_points.read(root / OPERATING_POINTS)
    asked = parse(SliceParams, dict(params), source=PARAMS)
    rows = manifest.read_manifest(root / PREPARED)
    # Predictions made elsewhere have no train role: edges are those of the calibration role.
    role = next((r for r in ("train", "calibration") if (rows["role"] == r).any()), "test")
    test = ScoredPredictions(clean.role("test"), points)
    here = set(rows) & set(test.table.rows)
    asked = slicing.without(asked, tuple(set(asked.all_columns) - here))
    edges = slicing.edges(rows[rows["role"] == role], asked)
    sizes = dict(zip(table["slice"], table["n"], strict=True))
    cut = slicing.slices(test.table.rows, edges, asked)
    same = [each for each in cut if sizes.get(each.label) == int(each.mask.sum())]
    return slice_tests.errors_inside(test, same)


def _in_order(asked: Iterable[str]) -> tuple[str, ...]:
    for stage in (wanted := tuple(asked)):
        lookup("stage", stage, dict.fromkeys(MEASURING_STAGES))
    return tuple(stage for stage in MEASURING_STAGES if stage in wanted)


def backbone_or_file(card: Mapping[str, Any]) -> str:
    """What the model is called: its backbone, or the file of an exported program."""
    if card.get("kind") == "exported":
        return str(card["file"])
    return str(card.get("backbone", "unknown"))


def _params(root: Path, *, strict: bool) -> dict[str, Any]:
    path = root / "params.yaml"
    return read_yaml(path) if strict or path.exists() else {}


def _asked(params: Mapping[str, Any]) -> Mode:
    return parse(PrivacyParams, {PrivacyParams.section: {}, **params}, source=PARAMS).privacy


def _dossier(root: Path, privacy: Privacy) -> dict[str, Any]:
    found = read_json(root / CASES / "cases.json", stage="cases", keys=["cases"])
    rows = manifest.read_manifest(root / PREPARED) if privacy.pseudonyms else pd.DataFrame()
    return released_cases(found, rows, privacy=privacy)


def _leaks(root: Path, *, strict: bool) -> tuple[str, ...]:
    folder = root / PREPARED
    if not strict and not (folder / "manifest.parquet").exists():
        return ()
    roles = manifest.read_manifest(folder).groupby("group_id")["role"].nunique()
    return tuple(str(name) for name in roles.index[roles > 1])


def _runtime(root: Path, stages: Iterable[str]) -> dict[str, dict[str, Any]]:
    paths = {stage: root / "runtime" / f"{stage}.json" for stage in stages}
    return {
        stage: read_json(path, stage=stage, keys=("machine", "versions"))
        for stage, path in paths.items()
        if path.exists()
    }


DEFERRAL_MEASURES = {
    "coverage": "coverage",
    "selective_risk": "risk among the kept",
    "critical_recall": "recall of {critical}, all",
    "critical_recall_kept": "recall of {critical}, kept",
    "errors_kept_share": "errors that are kept",
    "critical_call_specificity": "specificity of calls of {critical}, all",
    "critical_call_specificity_kept": "specificity of calls of {critical}, kept",
    "critical_deferred_share": "{critical} deferred",
    "critical_missed_share": "{critical} kept and missed",
}


def primary_score(results: Results) -> str:
    """The confidence score that defers; the first one where none is named."""
    known = results.names("selective", "deferral", "score")
    asked = (results.params.get("selective") or {}).get("primary")
    return str(asked) if asked in known else known[0]


def realised_deferral(results: Results, metric: str, score: str | None = None) -> Number:
    """What the frozen deferral rule of a score realises on test, by default of the primary one."""
    name = primary_score(results) if score is None else score
    return results.number("selective", "deferral", score=name, metric=metric)


def deferral_change(results: Results, metric: str) -> Change:
    """What the frozen deferral of the primary score changes against keeping everything."""
    rows = results.rows("selective", "deferral", score=primary_score(results), metric=metric)
    ends = ("delta_low", "delta_high")
    return change(rows[0], "delta", name=metric, ends=ends) if rows else Change()


def deferral_threshold(results: Results) -> float:
    """The frozen threshold on the primary score; NaN where there is none."""
    rows = results.rows("selective", "deferral", score=primary_score(results))
    return real(rows[0]["threshold"]) if rows else math.nan


def ece_and_floor(results: Results, event: str) -> tuple[Number, float]:
    """ECE of an event before calibration, and the 95th percentile of its noise floor, or NaN."""
    asked = {"calibrator": BASELINE, "event": event}
    floors = results.rows("calibrate", "noise_floor", **asked)
    found = results.number("calibrate", "events", metric="ece", **asked)
    return found, real(floors[0]["p95"]) if floors else math.nan
