"""What an audit returns: headline scalars for `metrics/`, series for `plots/`."""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medaudit.core.errors import DataError
from medaudit.core.files import atomic, read_bytes, read_json, write_json
from medaudit.core.layout import METRICS, PLOTS, PREPARED, PSEUDONYMS, WHOLE
from medaudit.core.params import load
from medaudit.core.privacy import Privacy, PrivacyParams, released

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

Scalar = float | int | str | None
DIGITS = 6
MOST_BYTES = 256 << 20  # of a table that a run left
# What spreadsheets take for the beginning of a formula, in narrow and wide characters.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass(frozen=True)
class Findings:
    """Scalars and data frames of one audit.

    Args:
        scalars: about 15 headline numbers under snake_case names; NaN means undefined.
        series: the tables behind the charts, by file stem.
    """

    scalars: Mapping[str, Scalar]
    series: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def together(*parts: Findings) -> Findings:
    """Findings of several audits that one stage writes; a name that stands twice is an error."""
    scalars: dict[str, Scalar] = {}
    series: dict[str, pd.DataFrame] = {}
    for part in parts:
        twice = sorted({*scalars} & {*part.scalars} | {*series} & {*part.series})
        if twice:
            raise ValueError(f"two audits found {', '.join(twice)}")
        scalars |= part.scalars
        series |= part.series
    return Findings(scalars, series)


def on_disk(value: Scalar) -> Scalar:
    """Round to `DIGITS` decimals; an undefined or infinite number becomes `None`."""
    if not isinstance(value, float):
        return value
    return round(value, DIGITS) if math.isfinite(value) else None


def row_dicts(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table in their order, each by column name."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def write(
    findings: Findings, stage: str, *, root: Path = Path(), privacy: Privacy | None = None
) -> None:
    """Write what a stage found below `root`.

    `metrics/<stage>.json`; `artifacts/whole/<stage>/<name>.csv`, the series as they are, with the
    ids behind pseudonyms in `pseudonyms.csv`; and `plots/<stage>/<name>.csv`, the series as
    `report.privacy` lets them be passed on.

    Args:
        findings: of the stage.
        stage: its name.
        root: of the run.
        privacy: the setting; that of `params.yaml` by default.
    """
    privacy = privacy or Privacy(load(PrivacyParams).privacy)
    kept = _without_small_cells(findings, stage, root) if privacy.closed else findings
    shown = released(kept.series, privacy=privacy)
    for name, frame in findings.series.items():
        _write_table(frame, root / WHOLE / stage / f"{name}.csv")
    if privacy.pseudonyms:
        _write_table(privacy.table(), root / WHOLE / stage / PSEUDONYMS.name)
    scalars = {name: on_disk(value) for name, value in kept.scalars.items()}
    write_json(root / METRICS / f"{stage}.json", scalars)
    for name, frame in shown.items():
        _write_table(frame, root / PLOTS / stage / f"{name}.csv")


def _without_small_cells(found: Findings, stage: str, root: Path) -> Findings:
    from medaudit.core import small_cells  # late, as pandas

    def whole(of: str, name: str) -> pd.DataFrame:
        at_hand = found.series if of == stage else {}
        return at_hand.get(name, read_table(of, name, root=root))

    path = root / PREPARED / "schema.json"
    critical = read_json(path, stage="prepare").get("critical_class") if path.exists() else None
    counts = small_cells.class_counts(
        whole("prepare", "class_counts"), whole("evaluate", "per_class")
    )
    known = small_cells.Known.of(counts, critical)
    return Findings(
        small_cells.scalars(stage, found.scalars, found.series, known),
        small_cells.released(stage, found.series, known),
    )


def write_pseudonyms(privacy: Privacy, *, root: Path = Path()) -> None:
    """Write whom every pseudonym of a run stands for: those of its stages, and these."""
    import pandas as pd  # late, since this module is imported by everything

    stages = sorted((root / WHOLE).glob(f"*/{PSEUDONYMS.name}"))
    known = [privacy.table(), *(pd.read_csv(path, dtype=str) for path in stages)]
    rows = pd.concat(known).drop_duplicates().sort_values("pseudonym")
    _write_table(rows, root / PSEUDONYMS)


def _write_table(frame: pd.DataFrame, path: Path) -> None:
    with atomic(path) as part:
        frame.round(DIGITS).to_csv(part, index=False, lineterminator="\n")


def write_for_people(frame: pd.DataFrame, path: Path) -> None:
    """Write a table that people open in a spreadsheet, where no text is taken for a formula.

    A text that begins as a formula does gets an apostrophe in front. Nothing reads these files
    again: `report/planted.csv`, and what `medaudit validate` leaves beside its report. Series below
    `plots/` are read again, by the report and by DVC, so they hold texts as they are.
    """
    shown = frame.round(DIGITS).map(as_cell)
    with atomic(path) as part:
        shown.rename(columns=as_cell).to_csv(part, index=False, lineterminator="\n")


def as_cell(value: Any) -> Any:
    """The value, with an apostrophe in front of a text that a spreadsheet would compute.

    >>> as_cell("=1+1"), as_cell("-0.5"), as_cell("-inf"), as_cell("mel")
    ("'=1+1", '-0.5', "'-inf", 'mel')
    """
    if isinstance(value, str) and value.startswith(_FORMULA) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def read_scalars(stage: str, *, root: Path = Path()) -> dict[str, Scalar]:
    """The headline scalars that a stage wrote."""
    return read_json(root / METRICS / f"{stage}.json", stage=stage)


def read_table(stage: str, name: str, *, root: Path = Path()) -> pd.DataFrame:
    """A series that a stage found, whole; an empty table where it found none, or an empty one."""
    import pandas as pd  # late, since this module is imported by everything

    try:
        return read_csv(root / WHOLE / stage / f"{name}.csv", mend=f"run the {stage} stage again")
    except FileNotFoundError:
        return pd.DataFrame()


def read_csv(path: Path, *, mend: str) -> pd.DataFrame:
    """A table that a run left; empty where the file is. Only an empty cell is undefined.

    Args:
        path: of the file.
        mend: what to do about a damaged one.

    Raises:
        FileNotFoundError: nothing is there.
        DataError: no table of UTF-8 text, or larger than a run makes one.
    """
    import pandas as pd

    held = io.BytesIO(read_bytes(path, most=MOST_BYTES))
    try:
        # A class may be called "NA" or "None".
        return pd.read_csv(held, keep_default_na=False, na_values=[""], low_memory=False)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (ValueError, ArithmeticError) as error:  # what pandas raises for damaged text
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: not a readable table ({reason}); {mend}") from None
