"""What every table of `plots/` says of how many, and what stays where they are fewer than five.

One list for all tables: which columns count images or patients, which numbers hang on them, what
adds up to a published total. A table that is not named here leaves no row behind in a closed run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


COLUMN = "suppressed"
WORD = "small cell"
LEFT_OUT = "left out"


@dataclass(frozen=True)
class Rule:
    """What a table of `plots/` gives away, and what stays when a cell of it is small.

    Args:
        stands: why nothing is left out, for tables without cells of persons; empty otherwise.
        keys: columns that say which cell a row is; all the others are emptied where it is small.
        sizes: columns that count images or groups; a row with 1 to 4 in one of them is small.
        rest: pairs (part, whole) of columns; a row with 1 to 4 outside of the part is small.
        adds_up: columns whose rows, where they are alike in these, add up to a published total of
            `total`; `None` where nothing adds up.
        total: the column that adds up.
        only: columns that are emptied instead of all but `keys`.
        of: the column that names a class, event, mode or measure; rows of those hidden elsewhere in
            the same stage are emptied.
        curve: whether rows of what is hidden are removed instead, as points of a line are.
    """

    stands: str = ""
    keys: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    rest: tuple[tuple[str, str], ...] = ()
    adds_up: tuple[str, ...] | None = None
    total: str = ""
    only: tuple[str, ...] = ()
    of: str = ""
    curve: bool = False


def words(text: str) -> tuple[str, ...]:
    """The names in a text."""
    return tuple(text.split())


_SIZES = words("n n_groups n_positive n_positive_groups")
_REST = (("n_positive", "n"),)
_FILES = "counts files, not persons"
_CASES = "a row is one image or pair, whose ids and whose release are ruled by report.privacy"
_LARGE = "numbers of a whole role"

# Several rules of one table apply one after the other.
RULES: Mapping[tuple[str, str], tuple[Rule, ...]] = {
    ("prepare", "class_counts"): (Rule(keys=("class", "role")),),
    ("prepare", "missing"): (
        Rule(only=("missing",), sizes=("missing",), adds_up=(), total="missing"),
        Rule(only=("unknown",), sizes=("unknown",), adds_up=(), total="unknown"),
    ),
    ("prepare", "ledger"): (Rule(stands=_FILES),),
    ("prepare", "duplicates"): (Rule(stands=_CASES),),
    ("train", "curves"): (Rule(stands=_LARGE),),
    ("evaluate", "metrics"): (Rule(keys=("metric",), sizes=_SIZES, rest=_REST, of="metric"),),
    ("evaluate", "per_class"): (
        Rule(keys=("class", "metric", "threshold"), sizes=_SIZES, rest=_REST, of="class"),
    ),
    ("evaluate", "confusion"): (Rule(keys=("truth", "predicted"), of="truth"),),
    ("evaluate", "roc"): (Rule(of="class", curve=True),),
    ("evaluate", "precision_recall"): (Rule(of="class", curve=True),),
    ("evaluate", "threshold"): (Rule(of="class", curve=True),),
    ("evaluate", "duplicates_across_roles"): (Rule(stands=_CASES),),
    ("evaluate", "duplicates_in_test"): (Rule(stands=_CASES),),
    ("stress", "conditions"): (
        Rule(
            keys=words("condition corruption severity metric output direction"),
            sizes=_SIZES,
            rest=_REST,
            of="metric",
        ),
    ),
    ("stress", "severity"): (Rule(keys=words("metric corruption severity"), of="metric"),),
    ("stress", "delta"): (
        Rule(keys=words("corruption severity metric output"), sizes=("n",), of="metric"),
    ),
    ("stress", "delta_critical"): (
        Rule(keys=words("corruption severity metric output"), sizes=("n",), of="metric"),
    ),
    ("stress", "delta_specificity"): (
        Rule(keys=words("corruption severity metric output"), sizes=("n",), of="metric"),
    ),
    ("stress", "trend"): (Rule(keys=words("corruption metric n_severities"), of="metric"),),
    ("stress", "ece_floor"): (Rule(stands=_LARGE),),
    ("stress", "corruption_errors"): (
        Rule(keys=words("corruption quantity"), sizes=_SIZES, rest=_REST),
    ),
    ("stress", "predicted"): (Rule(keys=("condition", "class")),),
    ("slice", "slices"): (
        Rule(
            keys=words("column slice words metric output direction"),
            sizes=(*_SIZES, *words("gap_n gap_n_positive gap_n_positive_groups")),
            rest=_REST,
        ),
    ),
    ("slice", "primary"): (
        Rule(
            keys=words("metric output column slice"),
            sizes=words("n n_groups n_positive"),
            rest=_REST,
        ),
    ),
    ("slice", "refused"): (Rule(keys=("column", "slice", "reason"), sizes=("n", "n_positive")),),
    ("slice", "discovered"): (
        Rule(keys=words("error kind slice found_on"), sizes=words("found_n n n_groups")),
    ),
    ("slice", "shortcuts"): (
        Rule(keys=("class", "property"), sizes=words("n_train n_positive_train")),
        Rule(
            only=words(
                "missed_n missed_inside missed_expected missed_gap missed_gap_low missed_gap_high "
                "missed_p_adjusted missed_minimal_detectable"
            ),
            sizes=("missed_n",),
            of="class",
        ),
        Rule(
            only=words(
                "false_alarm_n false_alarm_inside false_alarm_expected false_alarm_gap "
                "false_alarm_gap_low false_alarm_gap_high false_alarm_p_adjusted "
                "false_alarm_minimal_detectable"
            ),
            sizes=("false_alarm_n",),
            of="class",
        ),
    ),
    ("slice", "role_drift"): (
        Rule(keys=("comparison", "features"), sizes=words("n_first n_second n_groups")),
    ),
    ("slice", "label_issues"): (Rule(stands=_CASES),),
    ("slice", "not_measured"): (Rule(stands="holds no number"),),
    ("calibrate", "summary"): (Rule(keys=("calibrator", "metric"), sizes=_SIZES),),
    ("calibrate", "events"): (
        Rule(keys=words("calibrator event metric"), sizes=_SIZES, rest=_REST, of="event"),
    ),
    ("calibrate", "reliability"): (
        Rule(
            keys=words("event bin_lo bin_hi stage"),
            sizes=("count",),
            adds_up=("event", "stage"),
            total="count",
            of="event",
        ),
    ),
    ("calibrate", "noise_floor"): (Rule(keys=("event", "calibrator"), of="event"),),
    ("calibrate", "bins"): (Rule(stands=_LARGE),),
    ("calibrate", "fitted"): (Rule(stands=_LARGE),),
    ("selective", "summary"): (Rule(keys=("score", "metric"), sizes=_SIZES),),
    ("selective", "deferral"): (
        Rule(keys=words("score threshold metric"), sizes=_SIZES, of="metric"),
    ),
    ("selective", "risk_coverage"): (Rule(keys=("method",)),),
    ("selective", "per_class"): (Rule(keys=("class",), sizes=("n",), of="class"),),
    ("selective", "by_coverage"): (Rule(keys=("asked",), sizes=("n",)),),
    ("cases", "taxonomy"): (
        Rule(
            keys=words("mode definition example_ids"),
            sizes=("n", "n_groups"),
            adds_up=(),
            total="n",
            of="mode",
        ),
        Rule(
            only=("n_critical", "n_critical_flagged"),
            sizes=("n_critical",),
            adds_up=(),
            total="n_critical",
        ),
    ),
    ("cases", "failure_modes"): (
        Rule(
            keys=words("bucket mode definition of stage example_ids"),
            of="mode",
        ),
    ),
    ("cases", "outcome_statistics"): (
        Rule(
            keys=words("statistic outcome low high"),
            sizes=("n",),
            adds_up=("statistic", "outcome"),
            total="n",
        ),
    ),
    ("cases", "evidence"): (
        Rule(
            only=words("base_rate base_rate_low base_rate_high n_controls"), sizes=("n_controls",)
        ),
    ),
    ("cases", "sufficiency"): (
        Rule(only=words("n n_turned n_turned_other p_value p_holm shown"), sizes=("n",)),
    ),
    ("cases", "base_rates"): (
        Rule(
            only=words("flip_rate flip_rate_low flip_rate_high n_right n_flipped"),
            sizes=("n_right",),
        ),
        Rule(
            only=words("repair_rate repair_rate_low repair_rate_high n_wrong n_repaired"),
            sizes=("n_wrong",),
        ),
    ),
}
