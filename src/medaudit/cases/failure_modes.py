"""The failure taxonomy with its evidence: data, model, evaluation, human.

Every mode has a definition, a share with its interval where it is a share of samples, examples and
the stage that measured it. What this pipeline cannot see stands there as well, and says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.cases.taxonomy import EXAMPLES, error_modes, most_confident, stability_modes
from medaudit.core import findings
from medaudit.core.files import read_json
from medaudit.core.findings import row_dicts
from medaudit.core.layout import DEFERRAL
from medaudit.core.privacy import joined
from medaudit.stats.intervals import wilson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from medaudit.cases.case_study import CaseStudyData
    from medaudit.core.arrays import BoolArray

COLUMNS = (
    "bucket",
    "mode",
    "definition",
    "n",
    "n_of",
    "of",
    "share",
    "share_low",
    "share_high",
    "stage",
    "example_ids",
)
NOT_MEASURABLE = "not measurable here"
SURE = ("confident_critical_miss", "false_alarm", "confident_error")


@dataclass(frozen=True)
class FailureMode:
    """One way in which a model, its data, its evaluation or its use can fail.

    Attributes:
        bucket: `data`, `model`, `evaluation` or `human`.
        mode: snake_case name.
        definition: what counts, in one sentence without a full stop.
        stage: that measured it, or `NOT_MEASURABLE`.
        n: how many; `None` where nothing was measured.
        n_of: of how many.
        of: of what.
        ends: interval of the share; NaN where it is a count and no sample.
        example_ids: up to two test images.
    """

    bucket: str
    mode: str
    definition: str
    stage: str
    n: int | None = None
    n_of: int | None = None
    of: str = ""
    ends: tuple[float, float] = (math.nan, math.nan)
    example_ids: tuple[str, ...] = ()

    @property
    def row(self) -> dict[str, object]:
        """Values by column."""
        share = self.n / self.n_of if self.n is not None and self.n_of else math.nan
        return {
            "bucket": self.bucket,
            "mode": self.mode,
            "definition": self.definition,
            "n": self.n,
            "n_of": self.n_of,
            "of": self.of,
            "share": share,
            "share_low": self.ends[0],
            "share_high": self.ends[1],
            "stage": self.stage,
            "example_ids": joined(self.example_ids),
        }


def failure_modes(
    study: CaseStudyData, base_rates: pd.DataFrame, tried: pd.DataFrame
) -> pd.DataFrame:
    """The four buckets, one row per mode, columns `COLUMNS`.

    Args:
        study: predictions of the test role with what other stages found out.
        base_rates: what interventions do to the controls, from `intervention_effects.base_rates`.
        tried: the controls one by one, from `case_study.control_evidence`.
    """
    found = [
        *data_modes(study),
        *model_modes(study, base_rates, tried),
        *evaluation_modes(),
        *human_modes(study),
    ]
    frame = pd.DataFrame([each.row for each in found], columns=list(COLUMNS))
    return frame.astype({"n": "Int64", "n_of": "Int64"})


def data_modes(study: CaseStudyData) -> Iterator[FailureMode]:
    """Labels, copies, images and classes that the training role does not cover."""
    test, context = study.test, study.context
    wrong, errors = ~test.correct, "wrong test images"
    if context.label_issues.empty:
        yield unmeasured("data", "doubtful_label", "labels that the embeddings contradict")
    else:
        doubtful = context.doubted & wrong
        yield of_samples(
            study,
            "data",
            "doubtful_label",
            "errors whose label a classifier on embeddings contradicts; most such images are "
            "hard, and some mislabelled",
            (doubtful, wrong, errors),
            stage="slice",
        )
    yield unlike_training(study, wrong, errors)
    yield weak_slices(study)
    yield copies()


def unlike_training(study: CaseStudyData, wrong: BoolArray, errors: str) -> FailureMode:
    """Errors on images that lie far from all that were trained on."""
    mode = "unlike_training"
    if study.context.neighbours is None or study.context.calibration is None:
        return unmeasured("data", mode, "images far from training; needs embeddings")
    return of_samples(
        study,
        "data",
        mode,
        "errors on images farther from training than 95 % of the calibration images",
        (study.context.far & wrong, wrong, errors),
        stage="evaluate",
    )


def weak_slices(study: CaseStudyData) -> FailureMode:
    """Misses of the critical class, or else errors, in declared slices that are worse in it."""
    test, weak = study.test, study.context.weak
    critical = test.schema.critical_class
    metric = "standardised_accuracy" if critical is None else "critical_sensitivity"
    missed = ~test.correct if critical is None else test.critical & ~test.flagged
    inside = np.zeros(len(test), dtype=bool)
    if not weak.empty:
        asked = weak[(weak["metric"] == metric) & (weak["family"] == "confirmatory")]
        for name in asked["slice"]:
            inside |= study.context.members[str(name)]
    what = "errors" if critical is None else f"{critical} below its threshold"
    everybody = np.ones(len(test), dtype=bool) if critical is None else test.critical
    base = 100 * float(inside[everybody].mean()) if everybody.any() else 0.0
    whom = "test images" if critical is None else f"{critical}"
    return of_samples(
        study,
        "data",
        "weak_slice",
        f"{what}, inside declared slices shown to be worse in it, which hold {base:.0f} % of all "
        f"{whom}",
        (inside & missed, missed, what),
        stage="slice",
    )


def copies() -> FailureMode:
    """Pairs of near-copies that the data set holds under different groups."""
    pairs = findings.read_table("prepare", "duplicates")
    across = int(pairs["across_groups"].astype(bool).sum()) if "across_groups" in pairs else 0
    return FailureMode(
        "data",
        "hidden_copies",
        "pairs of near-copies that the data set lists as different groups; they were merged",
        "prepare",
        n=across,
        n_of=len(pairs),
        of="pairs of near-copies",
    )


def model_modes(
    study: CaseStudyData, base_rates: pd.DataFrame, tried: pd.DataFrame
) -> Iterator[FailureMode]:
    """Confident errors, fragility, shortcuts, decisions that do not need the lesion."""
    test = study.test
    everyone = np.ones(len(test), dtype=bool)
    stability = stability_modes(test, study.stressed)
    wanted = [
        *(m for m in error_modes(test, confident=study.params.confident) if m.name in SURE),
        *(m for m in stability if m.name in ("fragile", "fragile_when_severe")),
    ]
    for mode in wanted:
        stressed = mode.name.startswith("fragile")
        among = (test.correct, "right test images") if stressed else (everyone, "test images")
        yield of_samples(
            study,
            "model",
            mode.name,
            mode.definition,
            (mode.members, *among),
            stage="stress" if stressed else "evaluate",
        )
    rates = {str(row["intervention"]): row for row in row_dicts(base_rates)}
    yield from unstable(rates)
    yield from needs_no_lesion(tried)
    yield shortcuts()


def unstable(rates: Mapping[str, Mapping[str, Any]]) -> Iterator[FailureMode]:
    """Calls that a mirror image changes."""
    if "mirrored" in rates:
        row = rates["mirrored"]
        yield FailureMode(
            "model",
            "unstable",
            "right calls that a mirror image changes",
            "cases",
            n=int(row["n_flipped"]),
            n_of=int(row["n_right"]),
            of="right controls",
            ends=(float(row["flip_rate_low"]), float(row["flip_rate_high"])),
        )


def needs_no_lesion(tried: pd.DataFrame) -> Iterator[FailureMode]:
    """Right calls that stay without the lesion, but for the call that plain skin gets anyway.

    A nevus that is called so without its lesion tells nothing where that is what a model calls
    whatever shows nothing: the call to which most of the other controls turn is left out.
    """
    edits = tried[tried["intervention"] == "lesion_replaced"].drop_duplicates("sample_id")
    if edits.empty:
        return
    before, after = edits["predicted_before"], edits["predicted_after"]
    turned = after[after != before]
    first = turned.value_counts().head(1)
    usual = str(first.index[0]) if 2 * first.sum() > len(turned) else None
    right = (before == edits["truth"]) & (before != usual)
    stayed = int((right & (after == before)).sum())
    share = wilson(stayed, int(right.sum()))
    others = "" if usual is None else f"; calls of {usual} are left out, which most others become"
    yield FailureMode(
        "model",
        "needs_no_lesion",
        f"right calls that stay although plain skin replaces the masked region{others}",
        "cases",
        n=stayed,
        n_of=int(right.sum()),
        of="right controls" if usual is None else f"right controls other than {usual}",
        ends=(share.low, share.high),
    )


def shortcuts() -> FailureMode:
    """Properties that go with a label in training and that errors follow."""
    table = findings.read_table("slice", "shortcuts")
    definition = "properties that go with a label in training and that errors follow on test"
    if "verdict" not in table:
        return unmeasured("model", "shortcut", definition)
    return FailureMode(
        "model",
        "shortcut",
        definition,
        "slice",
        n=int((table["verdict"] == "alarm").sum()),
        n_of=len(table),
        of="properties and labels that were compared",
    )


def evaluation_modes() -> Iterator[FailureMode]:
    """What the evaluation itself could not decide or see."""
    tested = [
        table.loc[table["verdict"].notna(), "verdict"].astype(str)
        for stage, name in (("stress", "conditions"), ("slice", "slices"))
        if "verdict" in (table := findings.read_table(stage, name))
    ]
    definition = "comparisons that neither show a harm nor exclude one beyond the margin"
    if tested:
        verdicts = pd.concat(tested)
        yield FailureMode(
            "evaluation",
            "undecided",
            definition,
            "stress, slice",
            n=int((verdicts == "undecided").sum()),
            n_of=len(verdicts),
            of="comparisons",
        )
    else:
        yield unmeasured("evaluation", "undecided", definition)
    refused = findings.read_table("slice", "refused")
    yield FailureMode(
        "evaluation",
        "too_few_to_compare",
        "slices or measures of them that hold too few samples to be compared",
        "slice",
        n=len(refused),
    )
    yield unmeasured(
        "evaluation", "one_training", "what another training with another seed would have given"
    )
    yield unmeasured("evaluation", "one_site", "images of a hospital that no role comes from")


def human_modes(study: CaseStudyData) -> Iterator[FailureMode]:
    """What is left to people: deferred cases, kept misses, and what only a reader study shows."""
    table = findings.read_table("selective", "deferral")
    if DEFERRAL.exists() and "score" in table:
        primary = read_json(DEFERRAL, stage="selective", keys=("score",))["score"]
        table = table[table["score"] == primary]
    wanted = {
        "coverage": ("workload", "images that are deferred to a person"),
        "critical_missed_share": (
            "kept_misses",
            f"{study.test.schema.critical_class} that is neither deferred nor called",
        ),
    }
    for metric, (mode, definition) in wanted.items():
        rows = row_dicts(table[table["metric"] == metric]) if "metric" in table else []
        if rows:
            yield of_deferral(mode, definition, rows[0], turned_round=metric == "coverage")
    yield unmeasured("human", "disagreement", "how often experts disagree about the label")
    yield unmeasured("human", "automation_bias", "how often people follow a wrong output")


def of_deferral(
    mode: str, definition: str, row: Mapping[str, Any], *, turned_round: bool
) -> FailureMode:
    """A share of the frozen deferral, or 1 minus it."""
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    if turned_round:
        value, low, high = 1 - value, 1 - high, 1 - low
    positives = float(row.get("n_positive") or math.nan)
    n_of = int(row["n"]) if turned_round or math.isnan(positives) else int(positives)
    return FailureMode(
        "human",
        mode,
        definition,
        "selective",
        n=round(value * n_of),
        n_of=n_of,
        of="test images" if turned_round else "test images of that class",
        ends=(low, high),
    )


def of_samples(
    study: CaseStudyData,
    bucket: str,
    mode: str,
    definition: str,
    counted: tuple[BoolArray, BoolArray, str],
    *,
    stage: str,
) -> FailureMode:
    """A share of test images with its bootstrap interval over groups.

    Args:
        study: the study.
        bucket: of the mode.
        mode: its name.
        definition: what counts.
        counted: the members, those that they are a share of, both (n,), and what these are.
        stage: that measured it.
    """
    members, among, of = counted
    share = study.bootstrap.share(members, denominator=among)
    return FailureMode(
        bucket,
        mode,
        definition,
        stage,
        n=int((members & among).sum()),
        n_of=int(among.sum()),
        of=of,
        ends=(share.low, share.high),
        example_ids=tuple(most_confident(study.test, members & among, EXAMPLES)),
    )


def unmeasured(bucket: str, mode: str, definition: str) -> FailureMode:
    """A mode that this run cannot see."""
    return FailureMode(bucket, mode, definition, NOT_MEASURABLE)
