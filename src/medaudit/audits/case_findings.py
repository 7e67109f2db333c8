"""What the cases and their controls add up to: headline numbers and tables."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.audits import evidence, intervals
from medaudit.findings import Findings, Scalar
from medaudit.metrics.weighting import weighted_mean
from medaudit.stats.bootstrap import Bootstrap
from medaudit.stats.measure import Measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medaudit.audits.casebook import Page, Study
    from medaudit.stats.estimate import Estimate

HEADLINE_MODES = ("confident_critical_miss", "false_alarm", "fragile")


def findings(
    book: Study, pages: Sequence[Page], tried: pd.DataFrame, focus: pd.DataFrame
) -> Findings:
    """Headline scalars, and the tables of modes, evidence and base rates.

    Args:
        book: the study.
        pages: one per case.
        tried: evidence of the controls.
        focus: `sample_id`, `cam_energy` and `lesion_share` of the controls.
    """
    rates = evidence.base_rates(tried)
    rows = [each.evidence.assign(case=each.number, case_kind=each.case.kind) for each in pages]
    order = ["case", "case_kind", *evidence.EVIDENCE, *evidence.WORTH]
    series = {
        "taxonomy": book.taxonomy,
        "evidence": pd.concat(rows, ignore_index=True)[order]
        if rows
        else pd.DataFrame(columns=order),
        "base_rates": rates,
    }
    scalars = case_scalars(pages) | mode_scalars(book.taxonomy) | rate_scalars(rates)
    return Findings(scalars | focus_scalars(book, focus), series)


def case_scalars(pages: Sequence[Page]) -> dict[str, Scalar]:
    """How many cases there are, and how many failures on clean images evidence explains."""
    failures = [p for p in pages if p.case.kind != "success" and p.case.condition.is_clean]
    return {
        "n_cases": len(pages),
        "n_clean_failures": len(failures),
        "n_clean_failures_explained": sum(bool(p.diagnosis.supported) for p in failures),
    }


def mode_scalars(table: pd.DataFrame) -> dict[str, Scalar]:
    """Shares of the modes that matter most."""
    scalars: dict[str, Scalar] = {"n": int(table["n"].sum())}
    for row in table[table["mode"].isin(HEADLINE_MODES)].itertuples():
        scalars |= {
            f"{row.mode}_n": int(row.n),
            f"{row.mode}_share": float(row.share),
            f"{row.mode}_share_ci_low": float(row.share_low),
            f"{row.mode}_share_ci_high": float(row.share_high),
        }
    return scalars


def rate_scalars(rates: pd.DataFrame) -> dict[str, Scalar]:
    """How often right predictions change when nothing that matters, or all that does, changes."""
    known = rates.set_index("intervention")
    scalars: dict[str, Scalar] = {}
    for name in ("mirrored", "lesion_replaced"):
        if name in known.index:
            scalars |= {
                f"{name}_flip_rate": float(known.loc[name, "flip_rate"]),
                f"{name}_flip_rate_ci_low": float(known.loc[name, "flip_rate_low"]),
                f"{name}_flip_rate_ci_high": float(known.loc[name, "flip_rate_high"]),
            }
    return scalars


def focus_scalars(book: Study, focus: pd.DataFrame) -> dict[str, Scalar]:
    """Mean share of Grad-CAM on the lesion, of controls called right and wrong, if there are masks.

    `lesion_share` is the mean share of the image that is lesion: what a map that looks nowhere in
    particular would reach.
    """
    known = focus.merge(book.controls, on="sample_id").dropna(subset=["cam_energy", "lesion_share"])
    right = known["right"].astype(bool)
    scalars: dict[str, Scalar] = {}
    for call, part in (("right", known[right]), ("wrong", known[~right])):
        for column in ("cam_energy", "lesion_share") if len(part) else ():
            found = control_mean(book, part, column)
            scalars |= intervals.with_interval(f"{column}_{call}", found)
    return scalars


def control_mean(book: Study, part: pd.DataFrame, column: str) -> Estimate:
    """Mean of a column over controls, with an interval over their groups."""
    groups = book.test.group_ids[book.test.rows_of(part["sample_id"])]
    bootstrap = Bootstrap.of_groups(groups, book.bootstrap.params)
    measure = Measure(column, partial(weighted_mean, part[column].to_numpy(np.float64)), 0)
    return bootstrap.interval(measure)
