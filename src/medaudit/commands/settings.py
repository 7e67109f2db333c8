"""Parameters of a validation: those of the pipeline, with what was frozen on top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from medaudit.audits.calibration import CalibrateParams
from medaudit.audits.cuts import SliceParams
from medaudit.audits.evaluation import EvaluateParams
from medaudit.audits.selection import SelectiveParams
from medaudit.commands.audit import Settings
from medaudit.model.cached import PredictParams
from medaudit.model.compute import ComputeParams
from medaudit.params import Section, parse, read_yaml
from medaudit.pixels.statistics import STATISTICS
from medaudit.reporting.context import ReportParams
from medaudit.stats.bootstrap import IntervalParams

if TYPE_CHECKING:
    from pathlib import Path

    from medaudit.commands.frozen import Frozen
    from medaudit.commands.labels import Labels

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
    known: Frozen,
    told: Labels,
    *,
    batch_size: int | None = None,
) -> Params:
    """The parameters of a file, by default of `params.yaml` beside the artefacts, if there is one.

    Whatever was frozen is not asked for again: specificity, calibrators, confidence score.
    """
    source = find(path, beside=known.folder.parent)
    batch = {} if batch_size is None else {"batch_size": batch_size}
    audits = Settings(
        intervals=source.section(IntervalParams),
        evaluate=source.section(EvaluateParams, specificity=known.points.specificity),
        slice=slicing(source.section(SliceParams), known, told),
        calibrate=source.section(CalibrateParams, methods=tuple(known.calibrators)),
        selective=deferring(source.section(SelectiveParams), known),
        report=source.section(ReportParams),
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


def slicing(asked: SliceParams, known: Frozen, told: Labels) -> SliceParams:
    """Image statistics and the columns of the table, with sizes and bins as asked."""
    numbers = (*STATISTICS, *told.by_quantile)
    critical = known.schema.critical_class is not None
    return asked.model_copy(
        update={
            "columns": told.by_value,
            "quantiles": {name: asked.quantiles.get(name, BINS) for name in numbers},
            "primary": "critical_sensitivity" if critical else "macro_sensitivity",
        }
    )


def deferring(asked: SelectiveParams, known: Frozen) -> SelectiveParams:
    """The score that was frozen is the primary one."""
    score = known.deferral.score
    return asked.model_copy(
        update={
            "scores": tuple(dict.fromkeys((*asked.scores, score))),
            "primary": score,
            "coverage": known.deferral.coverage,
        }
    )
