"""Section 5: calibration and selective prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.audits.calibration import BASELINE
from medaudit.reporting import labels
from medaudit.reporting.blocks import Block, figure, pair, stack, table, text
from medaudit.reporting.blocks import section as part
from medaudit.reporting.numbers import count, plain, real
from medaudit.reporting.sections import calibration, deferral

if TYPE_CHECKING:
    from medaudit.reporting.context import Context
    from medaudit.reporting.evidence import Evidence

SHAPED = len(calibration.SHAPE)


def section(context: Context) -> Block | None:
    """Reliability with its noise floor; risk, coverage, deferral."""
    evidence = context.evidence
    calibrated, deferred = (stage in evidence.stages for stage in ("calibrate", "selective"))
    if not (calibrated or deferred):
        return None
    return part(
        "Uncertainty and calibration",
        text(
            " ".join(
                [
                    *((calibration.words(evidence),) if calibrated else ()),
                    *((frozen(evidence),) if deferred else ()),
                ]
            )
        ),
        *charts(evidence),
        *(calibration.blocks(evidence) if calibrated else ()),
        *(deferral.blocks(evidence) if deferred else ()),
        *(() if evidence.exclusive else (by_label(evidence),)),
    )


def frozen(evidence: Evidence) -> str:
    """How the deferral was chosen, and what risk is."""
    asked = plain(real(evidence.scalar("selective", "coverage_asked")), 2)
    said = f"The deferral threshold is frozen on calibration at coverage {asked}."
    if evidence.exclusive:
        return said
    weight = (evidence.params.get("selective") or {}).get("false_negative_weight")
    heavier = f", where a missed label weighs {weight:g} false alarms" if weight else ""
    return f"{said} Risk is the weighted share of wrong calls of an image{heavier}."


def charts(evidence: Evidence) -> list[Block]:
    """Reliability and risk over coverage; side by side where reliability takes half of the page."""
    drawn = "bars: share of the cases" if evidence.exclusive else "bins hold equally many cases"
    reliability = figure(
        "reliability",
        f"Reliability of stated probabilities on test, a line per calibrator; {drawn}. ECE and "
        f"floor (95th percentile) are those of identity.",
    )
    risk = figure("risk_coverage", "Crosses: the frozen deferral, with its interval.")
    realised = deferral.realised(evidence)
    if evidence.exclusive:
        return [
            pair(reliability, risk),
            *([pair(realised, deferral.classes(evidence))] if realised else []),
        ]
    if realised is None:
        return [reliability]
    return [reliability, pair(risk, stack(realised, text(deferral.comparison(evidence))))]


def by_label(evidence: Evidence) -> Block:
    """Shape of the miscalibration, and deferral, label by label."""
    calibrated = "calibrate" in evidence.stages
    deferred = {str(row["class"]): row for row in evidence.rows("selective", "per_class")}
    rows = [
        (
            name,
            *(calibration.shape_cells(evidence, BASELINE, name)[:SHAPED] if calibrated else ()),
            *(deferral.share_cells(deferred[name]) if deferred else ()),
            count(evidence.of_class(name, "auroc").n_positive),
        )
        for name in evidence.classes
    ]
    shape = [labels.metric(name) for name in calibration.SHAPE] if calibrated else []
    shares = deferral.SHARES.values() if deferred else ()
    ideal = f"; {calibration.IDEAL}" if calibrated else ""
    caption = f"Label by label, uncalibrated{ideal}"
    return table(caption, ("label", *shape, *shares, "positives"), rows)
