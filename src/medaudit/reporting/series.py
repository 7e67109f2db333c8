"""The tables of the stages as the report needs them, read with errors that name what to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from medaudit.errors import DataError, listed

if TYPE_CHECKING:
    from pathlib import Path

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
_ESTIMATE = "value low high n n_positive n_positive_groups undefined_share caution"
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
        "per_class": f"class metric threshold prevalence {_ESTIMATE}",
    },
    "stress": {
        "conditions": f"condition corruption severity metric delta delta_low delta_high p_holm "
        f"{_ESTIMATE}",
        "severity": "metric corruption severity value low high",
        "predicted": "condition class share",
        "trend": "corruption metric tau p_value n_severities least_p_value",
        "corruption_errors": f"corruption quantity {_ESTIMATE}",
    },
    "slice": {
        "slices": f"slice metric gap gap_low gap_high direction p_holm {_ESTIMATE}",
        "refused": "slice n n_positive reason",
    },
    "calibrate": {
        "summary": f"calibrator metric delta delta_low delta_high p_value {_ESTIMATE}",
        "events": f"calibrator event metric {_ESTIMATE}",
        "reliability": "stage event bin_lo bin_hi confidence accuracy count",
        "noise_floor": "calibrator event mean p95",
    },
    "selective": {
        "summary": f"score metric delta delta_low delta_high p_holm {_ESTIMATE}",
        "risk_coverage": "method coverage risk generalised_risk",
        "deferral": f"score threshold metric {_ESTIMATE}",
        "by_coverage": "asked",
        "per_class": "class n deferred recall recall_kept",
    },
    "cases": {"taxonomy": "mode n n_groups share n_critical n_flagged definition"},
}


def read(stage: str, root: Path) -> dict[str, pd.DataFrame]:
    """Every table that a stage wrote, by file stem."""
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
