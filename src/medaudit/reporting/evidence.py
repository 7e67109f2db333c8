"""Everything that the stages found, read once into one record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from medaudit import findings
from medaudit.errors import DataError, listed
from medaudit.files import read_json
from medaudit.params import read_yaml
from medaudit.reporting.numbers import Number, number
from medaudit.tables import manifest, operating_points

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medaudit.findings import Scalar
    from medaudit.tables.manifest import Preparation
    from medaudit.tables.operating_points import OperatingPoints

STAGES = (
    "prepare",
    "train",
    "evaluate",
    "stress",
    "slice",
    "calibrate",
    "selective",
    "cases",
)
_ESTIMATE = "value low high n n_positive"
NEEDED: dict[str, dict[str, str]] = {
    "prepare": {
        "class_counts": "class role images groups",
        "missing": "column missing unknown",
        "ledger": "step reason rows_in rows_out",
        "duplicates": "",
    },
    "train": {"curves": "epoch split loss"},
    "evaluate": {
        "metrics": f"metric {_ESTIMATE}",
        "per_class": f"class metric threshold {_ESTIMATE}",
    },
    "stress": {
        "conditions": f"condition corruption severity metric delta delta_low delta_high p_holm "
        f"{_ESTIMATE}",
        "severity": "metric corruption severity value low high",
        "predicted": "condition class share",
    },
    "slice": {
        "slices": f"slice metric gap gap_low gap_high direction p_holm {_ESTIMATE}",
        "refused": "slice n n_positive reason",
    },
    "calibrate": {
        "summary": f"calibrator metric delta delta_low delta_high {_ESTIMATE}",
        "reliability": "stage event bin_lo bin_hi confidence accuracy count",
        "noise_floor": "calibrator mean p95",
    },
    "selective": {
        "summary": f"score metric {_ESTIMATE}",
        "risk_coverage": "method coverage risk",
        "deferral": "score threshold n coverage selective_risk",
    },
    "cases": {"taxonomy": "mode n n_groups share n_critical n_flagged definition"},
}
PREPARED = Path("artifacts/prepared")
POINTS = Path("artifacts/operating_points.json")
MODEL_CARD = Path("artifacts/model/model.json")
CASES = Path("artifacts/cases")

Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Evidence:
    """What the stages wrote, as the report needs it.

    Args:
        root: folder that holds `metrics`, `plots` and `artifacts`.
        preparation: task, classes, critical class, data set.
        points: thresholds frozen on the calibration role.
        backbone: name of the model's backbone.
        params: all of `params.yaml`.
        scalars: headline numbers by stage.
        series: tables by stage and file stem.
        dossier: the cases with their evidence.
        groups_in_two_roles: ids of groups that leak; none in a sound split.
        runtime: what every stage that ran here noted about time and machine.
    """

    root: Path
    preparation: Preparation
    points: OperatingPoints
    backbone: str
    params: Mapping[str, Any]
    scalars: Mapping[str, Mapping[str, Scalar]]
    series: Mapping[str, Mapping[str, pd.DataFrame]]
    dossier: Mapping[str, Any]
    groups_in_two_roles: tuple[str, ...]
    runtime: Mapping[str, Mapping[str, Any]]

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order of the outputs."""
        return self.preparation.schema.classes

    @property
    def critical(self) -> str | None:
        """The class that must not be missed, or `None`."""
        return self.preparation.schema.critical_class

    @property
    def cases(self) -> Records:
        """The explained cases."""
        return list(self.dossier["cases"])

    def table(self, stage: str, name: str) -> pd.DataFrame:
        """A series of a stage; an empty table where the stage wrote none of that name."""
        return self.series[stage].get(name, pd.DataFrame())

    def rows(self, stage: str, name: str, **where: object) -> Records:
        """The rows of a series in which the columns have the asked values."""
        found = self.table(stage, name)
        for column, value in where.items():
            if column not in found:
                return []
            found = found[found[column] == value]
        return [{str(key): value for key, value in row.items()} for row in found.to_dict("records")]

    def number(self, stage: str, name: str, **where: object) -> Number:
        """The first matching row as a number; an undefined one where nothing matches."""
        rows = self.rows(stage, name, **where)
        return number(rows[0]) if rows else Number()

    def measure(self, metric: str) -> Number:
        """A measure of the clean test role."""
        return self.number("evaluate", "metrics", metric=metric)

    def scalar(self, stage: str, name: str) -> Scalar:
        """A headline number, or `None`."""
        return self.scalars[stage].get(name)


def read(root: Path = Path()) -> Evidence:
    """Read everything; an error names the stage to run where something is missing."""
    rows = manifest.read_manifest(root / PREPARED)
    return Evidence(
        root=root,
        preparation=manifest.read_preparation(root / PREPARED),
        points=operating_points.read(root / POINTS),
        backbone=str(read_json(root / MODEL_CARD, stage="train").get("backbone", "unknown")),
        params=read_yaml(root / "params.yaml"),
        scalars={stage: findings.read_scalars(stage, root=root) for stage in STAGES},
        series={stage: _series(stage, root) for stage in STAGES},
        dossier=read_json(root / CASES / "cases.json", stage="cases", keys=["cases"]),
        groups_in_two_roles=_leaks(rows),
        runtime=_runtime(root),
    )


def _series(stage: str, root: Path) -> dict[str, pd.DataFrame]:
    folder = root / "plots" / stage
    for name in NEEDED[stage]:
        if not (folder / f"{name}.csv").exists():
            raise DataError(
                f"{folder / name}.csv: not found; run the {stage} stage first (`dvc repro {stage}`)"
            )
    found = {path.stem: _csv(path, stage=stage) for path in sorted(folder.glob("*.csv"))}
    for name, columns in NEEDED[stage].items():
        missing = [column for column in columns.split() if column not in found[name]]
        if missing:
            raise DataError(
                f"{folder / name}.csv: lacks the columns {listed(missing)}; "
                f"run the {stage} stage again (`dvc repro -f -s {stage}`)"
            )
    return found


def _csv(path: Path, *, stage: str) -> pd.DataFrame:
    # A class or a site may be called "NA" or "None"; only an empty field is undefined.
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=[""])
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (UnicodeDecodeError, pd.errors.ParserError) as error:
        raise DataError(
            f"{path}: not a readable table ({' '.join(str(error).split())}); "
            f"run the {stage} stage again (`dvc repro -f -s {stage}`)"
        ) from None


def _leaks(rows: pd.DataFrame) -> tuple[str, ...]:
    roles = rows.groupby("group_id")["role"].nunique()
    return tuple(str(name) for name in roles.index[roles > 1])


def _runtime(root: Path) -> dict[str, dict[str, Any]]:
    paths = {stage: root / "runtime" / f"{stage}.json" for stage in STAGES}
    return {
        stage: read_json(path, stage=stage, keys=("seconds", "machine", "versions"))
        for stage, path in paths.items()
        if path.exists()
    }
