"""Audit predictions that were made elsewhere: the pipeline's audits and report, without a model."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from tqdm import tqdm

from medaudit.audits import calibrate as calibrate_audit
from medaudit.audits import evaluate as evaluate_audit
from medaudit.audits import selective as selective_audit
from medaudit.audits import slices, stress
from medaudit.audits.calibrate import CalibrateParams
from medaudit.audits.evaluate import EvaluateParams
from medaudit.audits.selective import SelectiveParams
from medaudit.audits.slicing import SliceParams
from medaudit.audits.stress import StressParams
from medaudit.core import findings
from medaudit.core.errors import ParamsError, listed
from medaudit.core.files import write_json, write_text
from medaudit.core.folders import check_free, new_folder
from medaudit.core.params import Section, parse, read_yaml
from medaudit.data import external_tables
from medaudit.data.external_outputs import Kind, Outputs, read_outputs
from medaudit.data.external_tables import MetadataColumns, Split, TruthColumns, read_truth
from medaudit.report import render
from medaudit.report.blocks import ReportParams
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables import calibrators, manifest, operating_points, predictions, tasks
from medaudit.tables.manifest import Preparation
from medaudit.tables.predictions import Condition
from medaudit.tables.scoring import Conditions, ScoredPredictions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from medaudit.core.findings import Findings
    from medaudit.tables.calibrators import Calibrators
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable

S = TypeVar("S", bound=Section)
SIDE_BY_SIDE = 2
STAGES = ("evaluate", "stress", "slice", "calibrate", "selective")
SECTIONS: tuple[type[Section], ...] = (
    IntervalParams,
    EvaluateParams,
    SliceParams,
    CalibrateParams,
    SelectiveParams,
    ReportParams,
)

# Of the pipeline; a whole params.yaml may be given.
OTHER_SECTIONS = ("data", "prepare", "compute", "train", "predict", "stress", "cases")

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


def audit(request: Request) -> None:
    """Read, join, audit and report; the folder appears whole or not at all."""
    check_free(request.out)
    params = Settings.read(request)
    clean, conditions, notes = read_tables(request)
    log.info("%d samples, %d conditions", len(clean), len(conditions))
    with new_folder(request.out) as folder:
        points = evaluate_audit.freeze(clean.role("calibration"), params.evaluate)
        fitted = calibrate_audit.freeze(clean.role("calibration"), params.calibrate)
        operating_points.write(points, folder / "artifacts/operating_points.json")
        for stage, found in audits(clean, conditions, points, fitted, params):
            findings.write(found, stage, root=folder)
        write_facts(clean, fitted, notes, request, folder / "artifacts/prepared")
        params.write(folder / "params.yaml")
        stages = tuple(stage for stage in STAGES if stage != "stress" or conditions)
        render.report(
            folder,
            folder / "report",
            stages=stages,
            params=params.report,
            source=f"predictions made elsewhere, read from {request.predictions.name}",
        )


@dataclass(frozen=True)
class Settings:
    """The parameter sections that audits read."""

    intervals: IntervalParams
    evaluate: EvaluateParams
    slice: SliceParams
    calibrate: CalibrateParams
    selective: SelectiveParams
    report: ReportParams

    @staticmethod
    def read(request: Request) -> Settings:
        """The sections of the parameter file, with what the command line says on top."""
        content = read_yaml(request.params) if request.params else {}
        refuse_unknown(content, source=request.params)
        source = request.params or request.out
        found = {
            model.section: parse(model, {model.section: content.get(model.section)}, source=source)
            for model in SECTIONS
        }
        found["slice"] = sliced(request, content.get("slice") or {}, source=source)
        if "calibrate" not in content and not tasks.get(request.truth.task).exclusive:
            every = tuple(calibrators.CALIBRATORS)
            found["calibrate"] = found["calibrate"].model_copy(update={"methods": every})
        if request.title:
            found["report"] = found["report"].model_copy(update={"title": request.title})
        return Settings(**found)  # type: ignore[arg-type]

    def write(self, path: Path) -> None:
        """Keep what was used beside the results."""
        content: dict[str, Any] = {
            name: getattr(self, name).model_dump(mode="json") for name in self.__annotations__
        }
        write_text(path, yaml.safe_dump(content, sort_keys=False))


def refuse_unknown(content: Mapping[str, Any], *, source: Path | None) -> None:
    """A misspelt section would be ignored without a word."""
    known = [*(model.section for model in SECTIONS), *OTHER_SECTIONS]
    unknown = [str(name) for name in content if name not in known]
    if unknown:
        raise ParamsError(
            f"{source}: unknown sections {listed(unknown)}; known: {listed(known, limit=20)}"
        )


def sliced(request: Request, content: Mapping[str, Any], *, source: Path) -> SliceParams:
    """What is sliced: the columns that the command line names, or else those of the file."""
    asked = dict(content)
    asked.setdefault("primary", "critical_sensitivity" if request.critical else "macro_sensitivity")
    if request.metadata.slices:
        columns = [name for name in request.metadata.slices if name not in request.quantiles]
        asked |= {"columns": columns, "quantiles": dict(request.quantiles)}
    return parse(SliceParams, {"slice": asked}, source=source)


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
        for each, path in conditions_of(request).items()
    ]
    return clean, conditions, joined.notes


def condition(name: str) -> Condition:
    """`gaussian_blur-2` is severity 2; a name without a number, such as a site, severity 1."""
    stem, _, end = name.rpartition("-")
    if stem and end.isdecimal() and int(end) > 0:
        name, severity = stem, int(end)
    else:
        severity = 1
    try:
        return Condition(name, severity)
    except ValueError as error:
        raise ParamsError(f"--conditions: {error}") from None


def conditions_of(request: Request) -> dict[Condition, Path]:
    """The files of all conditions; two names of one condition are refused."""
    found: dict[Condition, Path] = {}
    for name, path in request.conditions.items():
        if condition(name) in found:
            raise ParamsError(
                f"--conditions: {name!r} is {condition(name).name} once more; name every one once"
            )
        found[condition(name)] = path
    return found


def audits(
    clean: PredictionTable,
    conditions: list[PredictionTable],
    points: OperatingPoints,
    fitted: Calibrators,
    params: Settings,
) -> Iterator[tuple[str, Findings]]:
    """The same audits as in the pipeline, each with its stage, as they end.

    They run side by side: nearly all of their time is spent in numpy, which lets others work.
    """
    test, role = (ScoredPredictions(clean.role(r), points) for r in ("test", "calibration"))
    bootstrap = Bootstrap.of_groups(test.group_ids, params.intervals)
    edges = slices.freeze(role.table.rows, params.slice)
    rule = selective_audit.freeze(role, params.selective)
    jobs: dict[str, Callable[[], Findings]] = {
        "slice": lambda: slices.audit(test, edges, params.slice, bootstrap),
        "calibrate": lambda: calibrate_audit.audit(test, fitted, params.calibrate, bootstrap),
        "selective": lambda: selective_audit.audit(test, rule, params.selective, bootstrap),
        "evaluate": lambda: evaluate_audit.audit(test, points, params.evaluate, bootstrap),
    }
    if conditions:
        asked = stressed(conditions)
        frozen = stress.freeze(points, asked)
        every = Conditions.aligned(test, conditions)
        jobs["stress"] = lambda: stress.audit(every, frozen, asked, bootstrap)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        running = {pool.submit(job): stage for stage, job in jobs.items()}
        for done in tqdm(as_completed(running), total=len(jobs), desc="audits", disable=None):
            yield running[done], done.result()


def stressed(conditions: Sequence[PredictionTable]) -> StressParams:
    """The parameters that name these conditions, without a baseline model."""
    given = [table.condition for table in conditions]
    return StressParams(
        corruptions=tuple(dict.fromkeys(each.corruption for each in given)),
        severities=tuple(sorted({each.severity for each in given})),
    )


def write_facts(
    clean: PredictionTable,
    fitted: Calibrators,
    notes: tuple[str, ...],
    request: Request,
    folder: Path,
) -> None:
    """Manifest, schema, predictions and calibrators, as the pipeline leaves them."""
    rows = clean.rows.assign(target=list(clean.targets))
    manifest.write_manifest(rows, folder)
    facts = Preparation(
        schema=clean.schema,
        image_size=0,
        class_counts_train={},
        dataset=request.targets.name,
        group_meaning=request.metadata.group or "sample",
        notes=notes,
    )
    manifest.write_preparation(facts, folder)
    predictions.write(clean, folder.parent / "predictions/clean.parquet")
    write_json(
        folder.parent / "calibrators.json", {name: each.facts() for name, each in fitted.items()}
    )


def _outputs(request: Request, path: Path) -> Outputs:
    return read_outputs(
        path,
        id_column=request.id_column,
        prefix=request.prefix,
        names=request.names,
        ids=request.ids,
    )
