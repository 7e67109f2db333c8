"""New images for a model: predictions, whom to defer, drift, and the failure suite with labels."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from medaudit import findings
from medaudit.audits import drift
from medaudit.audits.drift import DriftParams, NewImages, PredictionSummary
from medaudit.commands import frozen as reference
from medaudit.commands import labelled, labels, new_images, triage
from medaudit.commands import settings as chosen
from medaudit.commands.labels import LabelColumns
from medaudit.commands.output import check_free, new_folder
from medaudit.commands.study import Study
from medaudit.errors import ParamsError, listed
from medaudit.files import atomic, write_json
from medaudit.reporting import write as reporting
from medaudit.stats.bootstrap import Bootstrap
from medaudit.tables.scoring import ScoredPredictions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from medaudit.commands.audit import Settings
    from medaudit.commands.frozen import Frozen
    from medaudit.commands.labels import Labels
    from medaudit.commands.new_images import Seen
    from medaudit.commands.study import Request
    from medaudit.stats.bootstrap import IntervalParams

log = logging.getLogger(__name__)


def validate(request: Request) -> None:
    """Predict, triage, compare and report; the folder appears whole or not at all."""
    check_free(request.out)
    check_apart(request.out, request.images)
    known = reference.read(request.model)
    known.calibrator(request.calibrator)  # an unknown name stops here, before the long work
    sources = new_images.images_of(request.images)
    told = read_table(request, known, [source.sample_id for source in sources])
    params = chosen.read(request.params, known, told, batch_size=request.batch_size)
    log.info("%d images, %d with labels", len(sources), told.n_labelled)
    with new_folder(request.out) as folder:
        seen = new_images.see(
            sources,
            request.model,
            scratch=folder / "pixels",
            batch_size=params.predict.batch_size,
            compute=params.compute,
        )
        study = judged(request, known, told, seen, params=params.audits.intervals)
        write_tables(study, folder)
        if told.targets is not None:
            write_suite(study, folder, params=params.audits)
    log.info(
        "%s: %d of %d deferred", request.out, study.reasons["sample_id"].nunique(), len(sources)
    )


def check_apart(out: Path, images: Path) -> None:
    """Refuse to write where the next run would look for images."""
    if out.resolve().is_relative_to(images.resolve()):
        raise ParamsError(f"{out}: lies in the folder of images {images}; name another one")


def read_table(request: Request, known: Frozen, sample_ids: Sequence[str]) -> Labels:
    """The table that came with the images, or nothing."""
    if request.table is None:
        if request.columns != LabelColumns():
            raise ParamsError("columns are named, but no table; name it with --csv")
        return labels.nothing()
    found = labels.read_labels(
        request.table,
        request.columns,
        schema=known.schema,
        folder=request.images,
        sample_ids=sample_ids,
        usual_group=chosen.usual_group(request.params, beside=known.folder.parent),
    )
    again = sorted(known.groups & set(found.rows["group_id"])) if found.group else []
    if not again:
        return found
    note = (
        f"{len(again)} groups of {found.group} are known to the model or its thresholds "
        f"({listed(again)}), which makes results look better than they are."
    )
    log.warning("%s", note)
    return replace(found, notes=(*found.notes, note))


def judged(
    request: Request, known: Frozen, told: Labels, seen: Seen, *, params: IntervalParams
) -> Study:
    """Read the logits, find whom to defer, and compare with the training images."""
    _, calibrator = known.calibrator(request.calibrator)
    read = triage.calibrated_predictions(seen.logits, known, calibrator)
    summary = read.summary(told.group_ids(seen.sample_ids))
    compared = DriftParams(columns=new_images.COLUMNS)
    frozen = drift.freeze(
        new_images.with_aspect(known.train), compared, predictions=known_predictions(known)
    )
    drifted = drift.audit(
        NewImages(seen.facts, summary),
        frozen,
        compared,
        Bootstrap.of_groups(summary.group_ids, params),
    )
    log.info("%s", drift.sentence(drifted))
    reasons = triage.reason_table(seen, read, known)
    shared = reference.shared_images(known, seen.digests)
    study = Study(request, known, told, seen, read, reasons, drifted, shared)
    for note in study.shared_notes():
        log.warning("%s", note)
    return study


def known_predictions(known: Frozen) -> dict[str, PredictionSummary]:
    """What the model predicted for the calibration and test roles."""
    if known.clean is None:
        return {}
    return {
        role: PredictionSummary.of(
            ScoredPredictions(known.clean.role(role), known.points), score=known.deferral.score
        )
        for role in ("calibration", "test")
    }


def write_tables(study: Study, folder: Path) -> None:
    """Write what needs no labels."""
    rows = triage.predictions_table(study.seen, study.read, study.reasons)
    write_csv(rows, folder / "predictions.csv")
    write_csv(study.drifted.series["statistics"], folder / "drift.csv")
    write_csv(study.drifted.series["prediction_drift"], folder / "prediction_drift.csv")
    write_json(folder / "summary.json", study.summary())


def write_suite(study: Study, folder: Path, *, params: Settings) -> None:
    """Audit the images whose truth is known, and set the report."""
    known, told = study.known, study.told
    table = labelled.table_of(study.seen, told, known, model_folder=study.request.model)
    for stage, found in labelled.audits(table, told, known, params):
        log.info("%s: done", stage)
        findings.write(found, stage, root=folder)
    facts = labelled.preparation(known, told, dataset=study.name, notes=study.notes(len(table)))
    labelled.write_facts(table, facts, known.points, folder=folder / "artifacts")
    title = study.request.title or f"Validation on {study.name}"
    params = replace(params, report=params.report.model_copy(update={"title": title}))
    params.write(folder / "params.yaml")
    reporting.report(
        folder,
        folder / "report",
        stages=labelled.STAGES,
        params=params.report,
        source=f"{known.card.backbone}, trained on {known.preparation.dataset}",
    )


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table with the digits of all series."""
    with atomic(path) as part:
        frame.round(findings.DIGITS).to_csv(part, index=False, lineterminator="\n")
