"""Predict new images with frozen decisions: deferral, drift, and an audit with labels."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from medaudit.audits import drift
from medaudit.audits.drift import DriftParams, NewImages, PredictionSummary
from medaudit.commands import deployment, label_tables, new_images, with_labels
from medaudit.commands.label_tables import LabelColumns
from medaudit.core import findings
from medaudit.core.errors import ParamsError, listed
from medaudit.core.files import check_free, new_folder, write_json
from medaudit.core.privacy import Privacy
from medaudit.model.model_config import weights_digest
from medaudit.report import render
from medaudit.stats.bootstrap import Bootstrap
from medaudit.tables.scoring import ScoredPredictions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from medaudit.api.settings import Settings
    from medaudit.commands.deployment import DeploymentBundle
    from medaudit.commands.label_tables import Labels
    from medaudit.commands.new_images import CalibratedPredictions, InferenceResult
    from medaudit.core.findings import Findings
    from medaudit.stats.bootstrap import IntervalParams


@dataclass(frozen=True)
class Request:
    """What is asked of a validation.

    Args:
        model: folder that the train stage stored; the other artefacts lie beside it.
        images: folder of new images.
        out: folder to write; must be absent or empty.
        table: table with labels, groups or slice columns, if any.
        columns: where things stand in it.
        calibrator: of the probabilities that are printed; temperature scaling by default.
        batch_size: images per forward pass; by default that of the parameters.
        params: parameter file; by default `params.yaml` beside the artefacts, where there is one.
        title: of the report.
        trust: whether who made the model is trusted, which an exported torch program needs.
    """

    model: Path
    images: Path
    out: Path
    table: Path | None = None
    columns: LabelColumns = field(default_factory=LabelColumns)
    calibrator: str | None = None
    batch_size: int | None = None
    params: Path | None = None
    title: str | None = None
    trust: bool = False


@dataclass(frozen=True, eq=False)
class ValidationResult:
    """New images, all that was known before them, and what was found.

    Args:
        request: what was asked.
        bundle: model and frozen facts.
        labels: what the table says of the images.
        inferred: statistics and logits.
        calibrated: probabilities and predictions.
        reasons: why images are deferred.
        drift_findings: how they differ from the training images.
        n_learnt_from: new images that also stand in the train, validation or calibration role,
            to the last bit of the packed pixels; `None` where those pixels are not kept.
    """

    request: Request
    bundle: DeploymentBundle
    labels: Labels
    inferred: InferenceResult
    calibrated: CalibratedPredictions
    reasons: pd.DataFrame
    drift_findings: Findings
    n_learnt_from: int | None = None

    @property
    def name(self) -> str:
        """Of the folder of images."""
        return self.request.images.resolve().name

    @property
    def n_images(self) -> int:
        """Images, whether they can be read or not."""
        return len(self.inferred.facts) + len(self.inferred.unreadable)

    def summary(self) -> dict[str, Any]:
        """Counts, and what was applied."""
        bundle, request = self.bundle, self.request
        by_kind = self.reasons.drop_duplicates(["sample_id", "kind"])["kind"].value_counts()
        return {
            "model": {"backbone": bundle.card.backbone, "weights": weights_digest(request.model)},
            "trained_on": bundle.preparation.dataset,
            "calibrator": bundle.calibrator(request.calibrator)[0],
            "thresholds": dict(zip(bundle.points.classes, bundle.points.thresholds, strict=True)),
            "deferral": asdict(bundle.deferral),
            "n_images": self.n_images,
            "n_unreadable": len(self.inferred.unreadable),
            "n_learnt_from": self.n_learnt_from,
            "n_labelled": self.labels.n_labelled,
            "n_deferred": int(self.reasons["sample_id"].nunique()),
            "n_deferred_by_reason": {kind: int(by_kind.get(kind, 0)) for kind in new_images.KINDS},
            "drift": {
                name: findings.on_disk(value) for name, value in self.drift_findings.scalars.items()
            },
            "cautions": [
                new_images.UNCALIBRATED,
                drift.CAUTION,
                *self.shared_notes(),
                *self.labels.notes,
            ],
        }

    def shared_notes(self) -> tuple[str, ...]:
        """A warning about images that are not new to the model, if there are any."""
        if not self.n_learnt_from:
            return ()
        return (
            f"{self.n_learnt_from} of {len(self.inferred.facts)} images are also in the train, "
            f"validation or calibration role, which makes results look better than they are.",
        )

    def notes(self, n: int) -> tuple[str, ...]:
        """What a reader of the report must know."""
        return (
            f"The test role are the {n} of {self.n_images} new images in {self.name} that have a "
            f"label and can be read ({len(self.inferred.unreadable)} cannot).",
            f"Thresholds, calibrators and the deferral threshold were frozen on the calibration "
            f"role of {self.bundle.preparation.dataset} and are applied as they are.",
            "Deferral is judged by confidence alone here; predictions.csv defers images that look "
            "unusual or cannot be read as well.",
            drift.sentence(self.drift_findings),
            *self.shared_notes(),
            *self.labels.notes,
        )


log = logging.getLogger(__name__)


def validate(request: Request) -> None:
    """Predict, defer, compare and report; the folder appears whole or not at all."""
    check_free(request.out)
    check_apart(request.out, request.images)
    bundle = deployment.read(request.model)
    bundle.calibrator(request.calibrator)  # an unknown name stops here, before the long work
    sources = new_images.images_of(request.images)
    labels = read_table(request, bundle, [source.sample_id for source in sources])
    params = with_labels.read(request.params, bundle, labels, batch_size=request.batch_size)
    log.info("%d images, %d with labels", len(sources), labels.n_labelled)
    with new_folder(request.out) as folder:
        inferred = new_images.infer(
            sources,
            request.model,
            scratch=folder / "pixels",
            batch_size=params.predict.batch_size,
            compute=params.compute,
            trust=request.trust,
        )
        result = result_of(request, bundle, labels, inferred, params=params.audits.intervals)
        write_tables(result, folder)
        if labels.targets is not None:
            write_suite(result, folder, params=params.audits)
    log.info(
        "%s: %d of %d deferred", request.out, result.reasons["sample_id"].nunique(), len(sources)
    )


def check_apart(out: Path, images: Path) -> None:
    """Refuse to write where the next run would look for images."""
    if out.resolve().is_relative_to(images.resolve()):
        raise ParamsError(f"{out}: lies in the folder of images {images}; name another one")


def read_table(request: Request, bundle: DeploymentBundle, sample_ids: Sequence[str]) -> Labels:
    """The table that came with the images, or nothing."""
    if request.table is None:
        if request.columns != LabelColumns():
            raise ParamsError("columns are named, but no table; name it with --csv")
        return label_tables.nothing()
    found = label_tables.read_labels(
        request.table,
        request.columns,
        schema=bundle.schema,
        folder=request.images,
        sample_ids=sample_ids,
        usual_group=with_labels.usual_group(request.params, beside=bundle.folder.parent),
    )
    again = sorted(bundle.groups & set(found.rows["group_id"])) if found.group else []
    if not again:
        return found
    note = (
        f"{len(again)} groups of {found.group} are known to the model or its thresholds, which "
        f"makes results look better than they are."
    )
    log.warning("%s Known: %s", note, listed(again))
    return replace(found, notes=(*found.notes, note))


def result_of(
    request: Request,
    bundle: DeploymentBundle,
    labels: Labels,
    inferred: InferenceResult,
    *,
    params: IntervalParams,
) -> ValidationResult:
    """Read the logits, find whom to defer, and compare with the training images."""
    _, calibrator = bundle.calibrator(request.calibrator)
    calibrated = new_images.calibrated_predictions(inferred.logits, bundle, calibrator)
    summary = calibrated.summary(labels.group_ids(inferred.sample_ids))
    compared = DriftParams(columns=new_images.COLUMNS)
    frozen = drift.freeze(
        new_images.with_aspect(bundle.train), compared, predictions=known_predictions(bundle)
    )
    drift_findings = drift.audit(
        NewImages(inferred.facts, summary),
        frozen,
        compared,
        Bootstrap.of_groups(summary.group_ids, params),
    )
    log.info("%s", drift.sentence(drift_findings))
    reasons = new_images.reason_table(inferred, calibrated, bundle)
    shared = deployment.shared_images(bundle, inferred.digests)
    result = ValidationResult(
        request, bundle, labels, inferred, calibrated, reasons, drift_findings, shared
    )
    for note in result.shared_notes():
        log.warning("%s", note)
    return result


def known_predictions(bundle: DeploymentBundle) -> dict[str, PredictionSummary]:
    """What the model predicted for the calibration and test roles."""
    if bundle.clean is None:
        return {}
    return {
        role: PredictionSummary.of(
            ScoredPredictions(bundle.clean.role(role), bundle.points), score=bundle.deferral.score
        )
        for role in ("calibration", "test")
    }


def write_tables(result: ValidationResult, folder: Path) -> None:
    """Write what needs no labels."""
    rows = new_images.predictions_table(result.inferred, result.calibrated, result.reasons)
    drifted = result.drift_findings.series
    findings.write_for_people(rows, folder / "predictions.csv")
    findings.write_for_people(drifted["statistics"], folder / "drift.csv")
    findings.write_for_people(drifted["prediction_drift"], folder / "prediction_drift.csv")
    write_json(folder / "summary.json", result.summary())


def write_suite(result: ValidationResult, folder: Path, *, params: Settings) -> None:
    """Audit the images whose truth is known, and set the report."""
    bundle, labels = result.bundle, result.labels
    table = with_labels.table_of(result.inferred, labels, bundle, model_folder=result.request.model)
    privacy = Privacy.of_audit(folder, params.report)
    for stage, found in with_labels.audits(table, labels, bundle, params):
        log.info("%s: done", stage)
        findings.write(found, stage, root=folder, privacy=privacy)
    facts = with_labels.preparation(
        bundle, labels, dataset=result.name, notes=result.notes(len(table))
    )
    with_labels.write_facts(table, facts, bundle.points, folder=folder / "artifacts")
    title = result.request.title or f"Validation on {result.name}"
    params = replace(params, report=params.report.model_copy(update={"title": title}))
    params.write(folder / "params.yaml")
    render.report(
        folder,
        folder / "report",
        stages=with_labels.STAGES,
        params=params.report,
        privacy=privacy,
        source=f"{bundle.card.backbone}, trained on {bundle.preparation.dataset}",
    )
    findings.write_pseudonyms(privacy, root=folder)
