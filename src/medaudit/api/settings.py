"""The parameter sections that audits read, from a file or a mapping."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from medaudit.audits.calibrate import CalibrateParams
from medaudit.audits.evaluate import EvaluateParams
from medaudit.audits.properties import DiscoveryParams
from medaudit.audits.selective import SelectiveParams
from medaudit.audits.slicing import SliceParams
from medaudit.audits.stress import StressParams
from medaudit.core.errors import ParamsError, listed
from medaudit.core.files import write_text
from medaudit.core.params import Section, parse, read_yaml
from medaudit.report.blocks import ReportParams
from medaudit.stats.bootstrap import IntervalParams
from medaudit.tables import calibrators, tasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECTIONS: tuple[type[Section], ...] = (
    IntervalParams,
    EvaluateParams,
    SliceParams,
    CalibrateParams,
    SelectiveParams,
    DiscoveryParams,
    ReportParams,
)

# Of the pipeline; a whole params.yaml may be given.
OTHER_SECTIONS = ("data", "prepare", "compute", "train", "predict", "stress", "cases")

PARAMS_ARGUMENT = Path("params")


@dataclass(frozen=True)
class Asked:
    """What is said beside the parameter file, and goes before it.

    Args:
        task: name of the task; labels are calibrated in every way unless the file says how.
        critical: class that must not be missed.
        slices: columns to cut slices on; those of the file if empty.
        quantiles: number columns among them that are cut at quantiles, and into how many bins.
        title: of the report.
        roles_given: whether somebody said who calibrates and who is tested; drawn otherwise.
        discover: whether to look for slices and drift of roles that nobody named.
        privacy: what may be said of patients; what the file says if `None`.
    """

    task: str
    critical: str | None
    slices: Sequence[str]
    quantiles: Mapping[str, int]
    title: str | None
    roles_given: bool = False
    discover: bool = True
    privacy: str | None = None

    @property
    def report(self) -> dict[str, str]:
        """What is said of the section `report`."""
        told = {"title": self.title, "privacy": self.privacy}
        return {name: value for name, value in told.items() if value}


@dataclass(frozen=True)
class Settings:
    """The parameter sections that audits read, the margin of conditions, and what was asked.

    Of `stress` nothing else is read: the conditions are those whose predictions are given.
    """

    intervals: IntervalParams
    evaluate: EvaluateParams
    slice: SliceParams
    calibrate: CalibrateParams
    selective: SelectiveParams
    report: ReportParams
    stress_margin: float
    discovery: DiscoveryParams = field(default_factory=DiscoveryParams)
    roles_given: bool = False
    discover: bool = True

    @staticmethod
    def of(content: Mapping[str, Any], asked: Asked, *, source: Path) -> Settings:
        """The sections of parameters, defaults where there are none, with what was asked on top.

        Raises:
            ParamsError: unknown sections or keys, or values that cannot be.
        """
        refuse_unknown(content, source=source)
        content = {**content, "report": {**(content.get("report") or {}), **asked.report}}
        found = {
            model.section: parse(model, {model.section: content.get(model.section)}, source=source)
            for model in SECTIONS
        }
        found["slice"] = sliced(content.get("slice") or {}, asked, source=source)
        if "calibrate" not in content and not tasks.get(asked.task).exclusive:
            every = tuple(calibrators.CALIBRATORS)
            found["calibrate"] = found["calibrate"].model_copy(update={"methods": every})
        margin = stress_margin(content.get("stress") or {}, source=source)
        return Settings(
            **found,  # type: ignore[arg-type]
            stress_margin=margin,
            roles_given=asked.roles_given,
            discover=asked.discover,
        )

    def write(self, path: Path) -> None:
        """Keep what was used beside the results."""
        content: dict[str, Any] = {
            model.section: getattr(self, model.section).model_dump(mode="json")
            for model in SECTIONS
        }
        content["stress"] = {"margin": self.stress_margin}
        write_text(path, yaml.safe_dump(content, sort_keys=False))


def read_sections(params: Path | str | Mapping[str, Any] | None) -> tuple[dict[str, Any], Path]:
    """Sections by name, and what to call their source: a file, a mapping, or nothing."""
    if params is None:
        return {}, PARAMS_ARGUMENT
    if isinstance(params, str | Path):
        return read_yaml(Path(params)), Path(params)
    wrong = [str(name) for name, section in params.items() if not isinstance(section, dict)]
    if wrong:
        raise ParamsError(f"params: expected a mapping of keys in the sections {listed(wrong)}")
    return dict(params), PARAMS_ARGUMENT


def refuse_unknown(content: Mapping[str, Any], *, source: Path) -> None:
    """A misspelt section would be ignored without a word."""
    known = [*(model.section for model in SECTIONS), *OTHER_SECTIONS]
    unknown = [str(name) for name in content if name not in known]
    if unknown:
        raise ParamsError(
            f"{source}: unknown sections {listed(unknown)}; known: {listed(known, limit=20)}"
        )


def sliced(content: Mapping[str, Any], asked: Asked, *, source: Path) -> SliceParams:
    """What is sliced: the columns that were asked for, or else those of the file."""
    found = dict(content)
    if asked.slices:
        columns = [name for name in asked.slices if name not in asked.quantiles]
        named = [name for name in found.get("confirmatory") or () if name in asked.slices]
        changes = {"quantiles": dict(asked.quantiles), "confirmatory": named}
        found |= {"columns": columns, **changes}
    return parse(SliceParams, {"slice": found}, source=source)


def stress_margin(content: Mapping[str, Any], *, source: Path) -> float:
    """The margin of a section `stress`, which need not name corruptions here."""
    return parse(
        StressParams, {"stress": {"corruptions": ["given"], **content}}, source=source
    ).margin
