"""The Python interface: audit predictions that are held in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medaudit.api.record import Audit
from medaudit.api.settings import Asked, Settings, read_sections
from medaudit.core.errors import ParamsError
from medaudit.data.external_arrays import ArrayInputs, ArrayTables, read_arrays
from medaudit.data.external_tables import Split
from medaudit.tables.manifest import Preparation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Audit", "audit"]

DATASET = "arrays in memory"
SOURCE = "predictions made elsewhere, given as arrays"


def audit(
    targets: Any,
    probabilities: Any = None,
    *,
    logits: Any = None,
    classes: Sequence[str] | None = None,
    critical: str | None = None,
    ids: Any = None,
    groups: Any = None,
    metadata: Any = None,
    roles: Any = None,
    calibration: float = 0.3,
    seed: int = 1234,
    conditions: Mapping[str, Any] | None = None,
    slices: Sequence[str] | None = None,
    quantiles: Mapping[str, int] | None = None,
    params: Path | str | Mapping[str, Any] | None = None,
    title: str | None = None,
    discover: bool = True,
    privacy: str | None = None,
) -> Audit:
    """Audit predictions of n samples for k classes or labels, made by any model.

    Thresholds, calibrators and the deferral rule are frozen on the calibration role, and every
    number is of the test role. Arrays and lists are taken in their order. Data frames and series
    are matched by their index where samples have ids, and by position otherwise.

    Args:
        targets: one class per sample, (n,), as names or as numbers of columns; or 0 and 1 for
            labels that do not exclude each other, (n, k).
        probabilities: (n, k) in [0, 1], for classes adding up to 1; (members, n, k) of an ensemble;
            or a data frame, whose columns are the classes.
        logits: the same before softmax or sigmoid, instead of `probabilities`.
        classes: names of the outputs in the order of the columns.
        critical: class that must not be missed.
        ids: sample ids, (n,); by default the index of the data frame, or else row numbers.
        groups: patient or lesion of every sample, (n,), or the column of `metadata` that says it;
            intervals resample groups. Without it every sample counts as independent.
        metadata: data frame of n rows, whose columns are cut into slices.
        roles: `calibration` (or `val`) and `test`, (n,), or the column of `metadata` that says it.
        calibration: share of the samples that is drawn, in whole groups, where `roles` is not
            given; below 1. With 0 all samples are tested, each by what was frozen on the other
            four of five folds.
        seed: of that draw.
        conditions: outputs of the same samples, of the same kind, under corruptions or shifts, by
            name: `gaussian_blur-2` is severity 2, `scanner_b` severity 1. Of data frames with ids
            the rows of the test role are enough.
        slices: columns of `metadata`; all by default.
        quantiles: number columns to cut at quantiles, and into how many bins; by default four for
            every column of more than twelve values.
        params: a parameter file, or a mapping of its sections `intervals`, `evaluate`, `slice`,
            `calibrate`, `selective`, `discovery`, `report`; profiles/phantom.yaml shows them.
        title: of the report.
        discover: whether to look for slices, and for drift between roles, that nobody named, in
            the columns of `slices` and `quantiles`.
        privacy: what may be said of patients in files that `report` writes below metrics/, plots/
            and report/: `open`, `pseudonymous` (the default) or `aggregate`; docs/privacy.md.

    Raises:
        MedauditError: what was expected, what came instead, and for which samples.
    """
    if (probabilities is None) == (logits is None):
        given = "neither" if probabilities is None else "both"
        raise ParamsError(f"give either probabilities or logits, got {given}")
    inputs = ArrayInputs(
        targets=targets,
        outputs=logits if probabilities is None else probabilities,
        kind="logits" if probabilities is None else "probabilities",
        classes=classes,
        critical=critical,
        ids=ids,
        groups=groups,
        metadata=metadata,
        roles=roles,
        slices=slices,
        quantiles=quantiles or {},
        conditions=conditions or {},
        split=Split(calibration, seed),
    )
    said = {"title": title, "discover": discover, "privacy": privacy}
    return _audited(read_arrays(inputs), params=params, said=said)


def _audited(
    tables: ArrayTables,
    *,
    params: Path | str | Mapping[str, Any] | None,
    said: Mapping[str, Any],
) -> Audit:
    schema, columns = tables.clean.schema, tables.columns
    asked = Asked(
        task=schema.task,
        critical=schema.critical_class,
        slices=columns.slices,
        quantiles=tables.quantiles,
        roles_given=columns.role is not None,
        **said,
    )
    content, source = read_sections(params)
    facts = Preparation(
        schema=schema,
        image_size=0,
        class_counts_train={},
        dataset=DATASET,
        group_meaning=columns.group or "sample",
        notes=tables.notes,
    )
    settings = Settings.of(content, asked, source=source)
    return Audit.of(tables.clean, tables.conditions, facts, settings, source=SOURCE)
