"""Audit predictions in files that were made elsewhere: what `medaudit audit` reads and writes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medaudit.api.record import Audit
from medaudit.api.settings import Asked, Settings, read_sections
from medaudit.core.errors import ParamsError, listed
from medaudit.core.files import check_free
from medaudit.data import external_tables
from medaudit.data.external_outputs import Kind, Outputs, read_outputs
from medaudit.data.external_tables import MetadataColumns, Split, TruthColumns, read_truth
from medaudit.tables.manifest import Preparation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from medaudit.tables.predictions import PredictionTable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What is asked of an audit.

    Args:
        predictions: outputs of the clean samples.
        kind: what these numbers are.
        targets: file of the truth.
        truth: where it stands there.
        metadata: groups, roles and slices.
        out: folder to write; must be absent or empty.
        id_column: of `predictions`; its first column if `None`.
        prefix: of the output columns.
        names: outputs to read; needed for `.npy`.
        ids: file of ids; needed for `.npy`.
        conditions: files of outputs under corruptions or shifts, by name of the condition.
        quantiles: numeric columns to cut at quantiles, and into how many bins.
        critical: class that must not be missed.
        split: how samples are divided where no role column is named.
        params: parameter file whose audit sections are used; defaults without one.
        title: of the report.
        discover: whether to look for slices and drift of roles that nobody named.
        privacy: what may be said of patients; else that of `params`, or `pseudonymous`.
    """

    predictions: Path
    kind: Kind
    targets: Path
    truth: TruthColumns
    metadata: MetadataColumns
    out: Path
    id_column: str | None = None
    prefix: str = ""
    names: tuple[str, ...] = ()
    ids: Path | None = None
    conditions: Mapping[str, Path] = field(default_factory=dict)
    quantiles: Mapping[str, int] = field(default_factory=dict)
    critical: str | None = None
    split: Split = field(default_factory=Split)
    params: Path | None = None
    title: str | None = None
    discover: bool = True
    privacy: str | None = None


def audit(request: Request) -> None:
    """Read, join, audit and report; the folder appears whole or not at all."""
    check_free(request.out)
    settings = read_settings(request)
    clean, conditions, notes = read_tables(request)
    log.info("%d samples, %d conditions", len(clean), len(conditions))
    facts = Preparation(
        schema=clean.schema,
        image_size=0,
        class_counts_train={},
        dataset=request.targets.name,
        group_meaning=request.metadata.group or "sample",
        notes=notes,
    )
    source = f"predictions made elsewhere, read from {request.predictions.name}"
    Audit.of(clean, conditions, facts, settings, source=source).report(request.out)


def read_settings(request: Request) -> Settings:
    """The sections of the parameter file, with what the command line says on top."""
    asked = Asked(
        task=request.truth.task,
        critical=request.critical,
        slices=request.metadata.slices,
        quantiles=request.quantiles,
        title=request.title,
        roles_given=request.metadata.role is not None,
        discover=request.discover,
        privacy=request.privacy,
    )
    content, _ = read_sections(request.params)
    return Settings.of(content, asked, source=request.params or request.out)


def read_tables(
    request: Request,
) -> tuple[PredictionTable, list[PredictionTable], tuple[str, ...]]:
    """The clean table, those of the conditions, and what the report must say of the data."""
    outputs = _outputs(request, request.predictions)
    if request.critical is not None and request.critical not in outputs.names:
        raise ParamsError(
            f"no output {request.critical!r} that could be critical; outputs: "
            f"{listed(outputs.names, limit=20)}"
        )
    truth = read_truth(
        request.targets, request.truth, names=outputs.names, critical=request.critical
    )
    joined = external_tables.join(outputs, truth, request.metadata, request.split)
    clean = external_tables.prediction_table(outputs, joined, truth, kind=request.kind)
    conditions = [
        external_tables.prediction_table(
            _outputs(request, path), joined, truth, kind=request.kind, condition=each
        )
        for each, path in external_tables.by_condition(request.conditions).items()
    ]
    return clean, conditions, joined.notes


def _outputs(request: Request, path: Path) -> Outputs:
    return read_outputs(
        path,
        id_column=request.id_column,
        prefix=request.prefix,
        names=request.names,
        ids=request.ids,
    )
