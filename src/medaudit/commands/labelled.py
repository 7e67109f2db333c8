"""The failure suite on new images whose truth is known, with everything frozen beforehand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medaudit.audits import calibration, evaluation, selection, slices
from medaudit.audits.selection import FrozenDeferral
from medaudit.commands.new_images import ASPECT
from medaudit.errors import DataError
from medaudit.model.card import weights_digest
from medaudit.stats.bootstrap import Bootstrap
from medaudit.tables import manifest, operating_points, predictions
from medaudit.tables.predictions import PredictionTable
from medaudit.tables.scoring import ScoredPredictions

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from medaudit.commands.audit import Settings
    from medaudit.commands.frozen import Frozen
    from medaudit.commands.labels import Labels
    from medaudit.commands.new_images import Seen
    from medaudit.findings import Findings
    from medaudit.tables.manifest import Preparation
    from medaudit.tables.operating_points import OperatingPoints

STAGES = ("evaluate", "slice", "calibrate", "selective")


def table_of(seen: Seen, labels: Labels, frozen: Frozen, *, model_folder: Path) -> PredictionTable:
    """Predictions of the images that could be read and whose truth is known, as the test role.

    Raises:
        DataError: there are none.
    """
    if labels.targets is None:
        raise ValueError("a prediction table needs targets")
    place = {name: row for row, name in enumerate(labels.rows["sample_id"])}
    chosen = np.array([row for row, name in enumerate(seen.sample_ids) if name in place], int)
    if not len(chosen):
        raise DataError("no image that could be read has a label")
    told = np.array([place[seen.sample_ids[row]] for row in chosen])
    facts = seen.facts.drop(columns=ASPECT).iloc[chosen].reset_index(drop=True)
    known = labels.rows.drop(columns="sample_id").iloc[told].reset_index(drop=True)
    return PredictionTable(
        schema=frozen.schema,
        rows=facts.join(known).assign(role="test"),
        targets=labels.targets[told],
        logits=seen.logits[:, chosen],
        provenance={
            "predictor": "plain",
            "engine": seen.engine,
            "backbone": frozen.card.backbone,
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
    table: PredictionTable, labels: Labels, frozen: Frozen, params: Settings
) -> list[tuple[str, Findings]]:
    """The audits of the pipeline, each with its stage; nothing is chosen or fitted anew."""
    test = ScoredPredictions(table.role("test"), frozen.points)
    bootstrap = Bootstrap.of_groups(test.group_ids, params.intervals)
    edges = slices.freeze(edges_from(frozen.train, labels), params.slice)
    rule = frozen.deferral
    deferral = FrozenDeferral(rule.score, {rule.score: rule.threshold}, rule.coverage)
    return [
        ("evaluate", evaluation.audit(test, frozen.points, params.evaluate, bootstrap)),
        ("slice", slices.audit(test, edges, params.slice, bootstrap)),
        ("calibrate", calibration.audit(test, frozen.calibrators, params.calibrate, bootstrap)),
        ("selective", selection.audit(test, deferral, params.selective, bootstrap)),
    ]


def preparation(
    frozen: Frozen, labels: Labels, *, dataset: str, notes: tuple[str, ...]
) -> Preparation:
    """What the report says of the data: those of the model, and whose images are new."""
    return replace(
        frozen.preparation, dataset=dataset, group_meaning=labels.group_meaning, notes=notes
    )


def write_facts(
    table: PredictionTable, facts: Preparation, points: OperatingPoints, *, folder: Path
) -> None:
    """Manifest, schema, thresholds and predictions, as the pipeline leaves them."""
    manifest.write_manifest(table.rows.assign(target=list(table.targets)), folder / "prepared")
    manifest.write_preparation(facts, folder / "prepared")
    operating_points.write(points, folder / "operating_points.json")
    predictions.write(table, folder / "predictions/new.parquet")
