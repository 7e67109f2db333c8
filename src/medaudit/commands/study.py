"""What is asked of a validation, and what it found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from medaudit import findings
from medaudit.audits import drift
from medaudit.commands import triage
from medaudit.commands.labels import LabelColumns
from medaudit.model.card import weights_digest

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from medaudit.commands.frozen import Frozen
    from medaudit.commands.labels import Labels
    from medaudit.commands.new_images import Seen
    from medaudit.commands.triage import CalibratedPredictions
    from medaudit.findings import Findings


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


@dataclass(frozen=True, eq=False)
class Study:
    """New images, all that was known before them, and what was found.

    Args:
        request: what was asked.
        known: model and frozen facts.
        told: what the table says of the images.
        seen: statistics and logits.
        read: probabilities and predictions.
        reasons: why images are deferred.
        drifted: how they differ from the training images.
        n_learnt_from: new images that also stand in the train, tune or calibration role, to the
            last bit of the packed pixels; `None` where those pixels are not kept.
    """

    request: Request
    known: Frozen
    told: Labels
    seen: Seen
    read: CalibratedPredictions
    reasons: pd.DataFrame
    drifted: Findings
    n_learnt_from: int | None = None

    @property
    def name(self) -> str:
        """Of the folder of images."""
        return self.request.images.resolve().name

    @property
    def n_images(self) -> int:
        """Images, whether they can be read or not."""
        return len(self.seen.facts) + len(self.seen.unreadable)

    def summary(self) -> dict[str, Any]:
        """Counts, and what was applied."""
        known, request = self.known, self.request
        by_kind = self.reasons.drop_duplicates(["sample_id", "kind"])["kind"].value_counts()
        return {
            "model": {"backbone": known.card.backbone, "weights": weights_digest(request.model)},
            "trained_on": known.preparation.dataset,
            "calibrator": known.calibrator(request.calibrator)[0],
            "thresholds": dict(zip(known.points.classes, known.points.thresholds, strict=True)),
            "deferral": asdict(known.deferral),
            "n_images": self.n_images,
            "n_unreadable": len(self.seen.unreadable),
            "n_learnt_from": self.n_learnt_from,
            "n_labelled": self.told.n_labelled,
            "n_deferred": int(self.reasons["sample_id"].nunique()),
            "n_deferred_by_reason": {kind: int(by_kind.get(kind, 0)) for kind in triage.KINDS},
            "drift": {
                name: findings.on_disk(value) for name, value in self.drifted.scalars.items()
            },
            "cautions": [
                triage.UNCALIBRATED,
                drift.CAUTION,
                *self.shared_notes(),
                *self.told.notes,
            ],
        }

    def shared_notes(self) -> tuple[str, ...]:
        """What is to be said of images that are not new to the model, if there are any."""
        if not self.n_learnt_from:
            return ()
        return (
            f"{self.n_learnt_from} of {len(self.seen.facts)} images are also in the train, tune or "
            f"calibration role, which makes results look better than they are.",
        )

    def notes(self, n: int) -> tuple[str, ...]:
        """What a reader of the report must know."""
        return (
            f"The test role are the {n} of {self.n_images} new images in {self.name} that have a "
            f"label and can be read ({len(self.seen.unreadable)} cannot).",
            f"Thresholds, calibrators and the deferral threshold were frozen on the calibration "
            f"role of {self.known.preparation.dataset} and are applied as they are.",
            "Deferral is judged by confidence alone here; predictions.csv defers images that look "
            "unusual or cannot be read as well.",
            drift.sentence(self.drifted),
            *self.shared_notes(),
            *self.told.notes,
        )
