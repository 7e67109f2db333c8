"""The failure suite on new images whose truth is known, everything frozen beforehand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from medaudit.api.settings import Settings, stress_margin
from medaudit.audits import calibrate, evaluate, selective, slices
from medaudit.audits.calibrate import CalibrateParams
from medaudit.audits.evaluate import EvaluateParams
from medaudit.audits.selective import FrozenDeferral, SelectiveParams
from medaudit.audits.slicing import SliceParams
from medaudit.commands.new_images import ASPECT
from medaudit.core.errors import DataError
from medaudit.core.params import Section, parse, read_yaml
from medaudit.model.compute import ComputeParams
from medaudit.model.model_config import weights_digest
from medaudit.model.predictions import PredictParams
from medaudit.pixels.statistics import STATISTICS
from medaudit.report.blocks import ReportParams
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables import manifest, operating_points, predictions
from medaudit.tables.predictions import PredictionTable
from medaudit.tables.scoring import ScoredPredictions

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from medaudit.commands.deployment import DeploymentBundle
    from medaudit.commands.label_tables import Labels
    from medaudit.commands.new_images import InferenceResult
    from medaudit.core.findings import Findings
    from medaudit.tables.manifest import Preparation
    from medaudit.tables.operating_points import OperatingPoints

S = TypeVar("S", bound=Section)
BINS = 4  # of numbers for which the parameters name no other


@dataclass(frozen=True)
class Params:
    """How to predict, and the sections that audits read."""

    predict: PredictParams
    compute: ComputeParams
    audits: Settings


@dataclass(frozen=True)
class Source:
    """The content of a parameter file; empty without one, so that defaults hold."""

    path: Path
    content: dict[str, Any]

    def section(self, model: type[S], **changes: Any) -> S:
        """A section with changes on top."""
        found = {**(self.content.get(model.section) or {}), **changes}
        return parse(model, {model.section: found}, source=self.path)


def read(
    path: Path | None,
    bundle: DeploymentBundle,
    labels: Labels,
    *,
    batch_size: int | None = None,
) -> Params:
    """The parameters of a file, by default of `params.yaml` beside the artefacts, if there is one.

    Whatever was frozen is not asked for again: specificity, calibrators, confidence score.
    """
    source = find(path, beside=bundle.folder.parent)
    batch = {} if batch_size is None else {"batch_size": batch_size}
    audits = Settings(
        intervals=source.section(IntervalParams),
        # Stored thresholds cannot be redrawn: their calibration sample is not at hand.
        evaluate=source.section(
            EvaluateParams, specificity=bundle.points.specificity, threshold_uncertainty=False
        ),
        slice=slicing(source.section(SliceParams), labels),
        calibrate=source.section(CalibrateParams, methods=tuple(bundle.calibrators)),
        selective=deferring(source.section(SelectiveParams), bundle),
        report=source.section(ReportParams),
        stress_margin=stress_margin(source.content.get("stress") or {}, source=source.path),
    )
    predict = source.section(PredictParams, **batch)
    return Params(predict, source.section(ComputeParams), audits)


def find(path: Path | None, *, beside: Path) -> Source:
    """The file that was named, or the one of the pipeline."""
    usual = beside / "params.yaml"
    chosen = path or (usual if usual.exists() else None)
    return Source(usual, {}) if chosen is None else Source(chosen, read_yaml(chosen))


def usual_group(path: Path | None, *, beside: Path) -> str | None:
    """The column of the patient in the table that the model was trained on, if it has a name."""
    data = find(path, beside=beside).content.get("data")
    named = data.get("group") if isinstance(data, dict) else None
    return named if isinstance(named, str) else None


def slicing(asked: SliceParams, labels: Labels) -> SliceParams:
    """Image statistics and the columns of the table, with sizes and bins as asked."""
    numbers = (*STATISTICS, *labels.by_quantile)
    quantiles = {name: asked.quantiles.get(name, BINS) for name in numbers}
    return asked.cutting(labels.by_value, quantiles)


def deferring(asked: SelectiveParams, bundle: DeploymentBundle) -> SelectiveParams:
    """The score that was frozen is the primary one."""
    score = bundle.deferral.score
    return asked.model_copy(
        update={
            "scores": tuple(dict.fromkeys((*asked.scores, score))),
            "primary": score,
            "coverage": bundle.deferral.coverage,
        }
    )


STAGES = ("evaluate", "slice", "calibrate", "selective")


def table_of(
    inferred: InferenceResult, labels: Labels, bundle: DeploymentBundle, *, model_folder: Path
) -> PredictionTable:
    """Predictions of the images that could be read and whose truth is known, as the test role.

    Raises:
        DataError: there are none.
    """
    if labels.targets is None:
        raise ValueError("a prediction table needs targets")
    place = {name: row for row, name in enumerate(labels.rows["sample_id"])}
    chosen = np.array([row for row, name in enumerate(inferred.sample_ids) if name in place], int)
    if not len(chosen):
        raise DataError("no image that could be read has a label")
    label_rows = np.array([place[inferred.sample_ids[row]] for row in chosen])
    facts = inferred.facts.drop(columns=ASPECT).iloc[chosen].reset_index(drop=True)
    known = labels.rows.drop(columns="sample_id").iloc[label_rows].reset_index(drop=True)
    return PredictionTable(
        schema=bundle.schema,
        rows=facts.join(known).assign(role="test"),
        targets=labels.targets[label_rows],
        logits=inferred.logits[:, chosen],
        provenance={
            "predictor": "plain",
            "engine": inferred.engine,
            "backbone": bundle.card.backbone,
            "weights": weights_digest(model_folder),
        },
    )


def edges_from(train: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    """Rows that quantile edges are taken from: the train role.

    For numbers that are not known of it, they are taken from the new images themselves.
    """
    known = train.select_dtypes("number").dropna(axis=1, how="all").reset_index(drop=True)
    own = labels.rows[[name for name in labels.by_quantile if name not in known]]
    return known.join(own.reset_index(drop=True), how="outer")


def audits(
    table: PredictionTable, labels: Labels, bundle: DeploymentBundle, params: Settings
) -> list[tuple[str, Findings]]:
    """The audits of the pipeline, each with its stage; nothing is chosen or fitted anew."""
    test = ScoredPredictions(table.role("test"), bundle.points)
    bootstrap = Bootstrap.of_groups(test.group_ids, params.intervals)
    frozen = slices.freeze(edges_from(bundle.train, labels), params.slice)
    rule = bundle.deferral
    deferral = FrozenDeferral(rule.score, {rule.score: rule.threshold}, rule.coverage)
    return [
        ("evaluate", evaluate.audit(test, bundle.points, params.evaluate, bootstrap)),
        ("slice", slices.audit(test, frozen, params.slice, bootstrap)),
        ("calibrate", calibrate.audit(test, bundle.calibrators, params.calibrate, bootstrap)),
        ("selective", selective.audit(test, deferral, params.selective, bootstrap)),
    ]


def preparation(
    bundle: DeploymentBundle, labels: Labels, *, dataset: str, notes: tuple[str, ...]
) -> Preparation:
    """What the report says of the data: those of the model, and whose images are new."""
    return replace(
        bundle.preparation, dataset=dataset, group_meaning=labels.group_meaning, notes=notes
    )


def write_facts(
    table: PredictionTable, facts: Preparation, points: OperatingPoints, *, folder: Path
) -> None:
    """Manifest, schema, thresholds and predictions, as the pipeline leaves them."""
    manifest.write_manifest(table.rows.assign(target=list(table.targets)), folder / "prepared")
    manifest.write_preparation(facts, folder / "prepared")
    operating_points.write(points, folder / "operating_points.json")
    predictions.write(table, folder / "predictions/new.parquet")
