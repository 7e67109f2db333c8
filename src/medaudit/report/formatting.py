"""Numbers with their intervals, and names of measures and conditions, as people read them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from medaudit.core.cell_rules import COLUMN, LEFT_OUT

if TYPE_CHECKING:
    from collections.abc import Mapping

UNDEFINED = "undefined"
MINUS = "\N{MINUS SIGN}"
RANGE = "\N{EN DASH}"
ALPHA = 0.05
WHOLE = 1e-6
SHARP = 0.1
"""Below a tenth, points are printed with one decimal."""
STUCK = "no interval, all alike"
"""Stands for a width of 0: the cases behind it are all alike, which is no certainty."""
LEAST_P = 1 / 2001
"""The least p-value that 2,000 replicates resolve."""
MARKS = {
    "few_positive_groups": "\N{DAGGER}",
    "undefined_replicates": "\N{DOUBLE DAGGER}",
    "few_deciding_groups": "\N{SECTION SIGN}",
    "no_interval": "\N{PILCROW SIGN}",
}
"""Signs that stand behind a number whose interval is to be read with care, by the reason."""


@dataclass(frozen=True)
class Number:
    """A value, its 95 % interval, and what it rests on; NaN means undefined.

    `caution` says why the interval is to be read with care, and is empty where it is not.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int | None = None
    n_groups: int | None = None
    n_positive: int | None = None
    caution: str = ""
    left_out: bool = False

    @property
    def absent(self) -> str:
        """What stands in place of a value that there is not."""
        return LEFT_OUT if self.left_out else UNDEFINED

    @property
    def defined(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.value)

    @property
    def rests_on(self) -> int | None:
        """The cases behind the value: its positives, or else all rows."""
        return self.n if self.n_positive is None else self.n_positive

    @property
    def grouped(self) -> bool:
        """Whether some of its rows share a group, so that they are not independent."""
        return self.n is not None and self.n_groups is not None and self.n_groups < self.n

    @property
    def mark(self) -> str:
        """The sign of its caution; empty where there is none."""
        return MARKS.get(self.caution, "")

    @property
    def stuck(self) -> bool:
        """Whether the interval has no width, because all cases behind it are alike."""
        return math.isfinite(self.low) and self.low == self.high

    def holds(self, target: float) -> bool:
        """Whether the interval contains a number; an undefined interval contains nothing."""
        return self.low <= target <= self.high


@dataclass(frozen=True)
class Change(Number):
    """A paired difference with its p-value, Holm-corrected over a family of comparisons."""

    name: str = ""
    p_holm: float = math.nan
    direction: int = 1

    @property
    def comparable(self) -> bool:
        """Whether there is a difference with an interval."""
        return self.defined and math.isfinite(self.low)

    @property
    def shown(self) -> bool:
        """Whether the evidence shows a difference: interval and corrected p-value agree on it.

        A single comparison has no family and no corrected p-value; its interval decides.
        """
        excludes_zero = self.low > 0 or self.high < 0
        return excludes_zero and not self.p_holm >= ALPHA

    @property
    def harm(self) -> float:
        """How much worse, positive is worse."""
        return -self.direction * self.value

    @property
    def shown_worse(self) -> bool:
        """Whether the evidence shows a loss."""
        return self.shown and self.harm > 0


def number(row: Mapping[str, Any], prefix: str = "") -> Number:
    """A number out of the columns `<prefix>value`, `<prefix>low`, `<prefix>high` and counts."""
    return Number(
        value=real(row.get(f"{prefix}value")),
        low=real(row.get(f"{prefix}low")),
        high=real(row.get(f"{prefix}high")),
        n=whole(row.get("n")),
        n_groups=whole(row.get("n_groups")),
        n_positive=whole(row.get("n_positive")),
        caution=word(row.get("caution")),
        left_out=bool(word(row.get(COLUMN))),
    )


def with_ends(row: Mapping[str, Any], name: str) -> Number:
    """A number out of the columns `<name>`, `<name>_low` and `<name>_high`, and nothing else."""
    value, low, high = (real(row.get(f"{name}{end}")) for end in ("", "_low", "_high"))
    return Number(value, low, high, left_out=bool(word(row.get(COLUMN))))


def change(row: Mapping[str, Any], value: str, *, name: str, ends: tuple[str, str]) -> Change:
    """A change out of the columns `value` and `ends`, with `p_holm` and `direction` if there.

    Its caution is `change_caution`, or else that of the row.
    """
    low, high = ends
    return Change(
        value=real(row.get(value)),
        low=real(row.get(low)),
        high=real(row.get(high)),
        n=whole(row.get("n")),
        n_groups=whole(row.get("n_groups")),
        n_positive=whole(row.get("n_positive")),
        caution=word(row.get("change_caution", row.get("caution"))),
        left_out=bool(word(row.get(COLUMN))),
        name=name,
        p_holm=real(row.get("p_holm")),
        direction=whole(row.get("direction")) or 1,
    )


def real(value: object) -> float:
    """A float; NaN for what is absent."""
    return float(value) if isinstance(value, Real) else math.nan


def whole(value: object) -> int | None:
    """An int; `None` for what is absent."""
    found = real(value)
    return int(found) if math.isfinite(found) else None


def word(value: object) -> str:
    """A word; empty for what is absent."""
    return value if isinstance(value, str) else ""


def plain(value: float, digits: int = 3) -> str:
    """A number with fixed decimals and a true minus sign."""
    if not math.isfinite(value):
        return UNDEFINED
    printed = f"{value:.{digits}f}"
    if not float(printed):
        printed = printed.removeprefix("-")
    return printed.replace("-", MINUS)


def signed(value: float, digits: int = 3) -> str:
    """As `plain`, with its sign."""
    if not math.isfinite(value):
        return UNDEFINED
    printed = f"{value:+.{digits}f}"
    return (printed if float(printed) else printed[1:]).replace("-", MINUS)


def between(low: float, high: float, digits: int = 3) -> str:
    """The two ends of an interval."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "no interval"
    joint = " to " if low < 0 else RANGE
    return f"{plain(low, digits)}{joint}{plain(high, digits)}"


def estimate(found: Number, digits: int = 3) -> str:
    """A value with its interval and the mark of its caution, or `undefined`."""
    if not found.defined:
        return found.absent
    if found.stuck:
        return f"{plain(found.value, digits)} ({STUCK}){found.mark}"
    return f"{plain(found.value, digits)} ({between(found.low, found.high, digits)}){found.mark}"


def difference(found: Number, digits: int = 3) -> str:
    """A signed value with its signed interval, or `undefined`."""
    if not found.defined:
        return found.absent
    if not math.isfinite(found.low):
        return f"{signed(found.value, digits)} (no interval){found.mark}"
    if found.stuck:
        return f"{signed(found.value, digits)} ({STUCK}){found.mark}"
    ends = f"{signed(found.low, digits)} to {signed(found.high, digits)}"
    return f"{signed(found.value, digits)} ({ends}){found.mark}"


def p_value(value: float, *, least: float = LEAST_P) -> str:
    """A p-value with as many decimals as matter; never 0.

    Args:
        value: as written by an audit.
        least: what the replicates behind it resolve; at and below it only the bound is known.

    >>> p_value(0.0), p_value(0.0312), p_value(0.0, least=1 / 201)
    ('<0.0005', '0.031', '<0.005')
    """
    if not math.isfinite(value):
        return ""
    # Tables are written with six decimals.
    if value < least + 1e-6:
        return f"<{_rounded_up(least)}"
    return f"{value:.4f}" if value < 0.001 else f"{value:.3f}"


def _rounded_up(least: float) -> str:
    places = 1 - math.floor(math.log10(least)) if least < 1 else 0
    step = 10.0 ** (1 - places)
    return f"{math.ceil(least / step - 1e-9) * step:.{max(places - 1, 0)}f}"


def p_equals(value: float, *, least: float = LEAST_P) -> str:
    """A p-value in a sentence: `p = 0.031`, or `p < 0.0005`."""
    printed = p_value(value, least=least)
    return f"p < {printed[1:]}" if printed.startswith("<") else f"p = {printed}"


def count(value: object) -> str:
    """A count with thousands separators; a dash where there is none."""
    found = whole(value)
    return RANGE if found is None else f"{found:,}"


def counted(n: int, one: str, many: str) -> str:
    """A count with its noun.

    >>> counted(1, "slice", "slices"), counted(2, "slice", "slices")
    ('1 slice', '2 slices')
    """
    return f"{count(n)} {one if n == 1 else many}"


WITHOUT = ("specificity", "false_alarms_per_100")
"""How names of measures end that count the images without a class or label."""


def behind(found: Number, metric: str, name: str | None) -> str:
    """The test images that a measure rests on: `n=162 images with mel`.

    Args:
        found: the measure.
        metric: its name.
        name: class or label that it is of; `None` for a measure of the whole.
    """
    images = f"n={counted(found.rests_on or 0, 'image', 'images')}"
    if name is None or found.n_positive is None:
        return images
    return f"{images} {'without' if metric.endswith(WITHOUT) else 'with'} {name}"


def share(value: float) -> str:
    """A share as percent."""
    return f"{value:.1%}".replace("%", " %") if math.isfinite(value) else UNDEFINED


def percent(found: Number) -> str:
    """A share with its interval as percent, and the mark of its caution."""
    if not found.defined:
        return found.absent
    ends = STUCK if found.stuck else between(100 * found.low, 100 * found.high, 1)
    return f"{100 * found.value:.1f} % ({ends}){found.mark}"


RATES = ("sensitivity", "specificity", "accuracy", "recall", "exact_match", "precision", "ppv")
"""How names of measures end whose differences are told in points of a percentage."""


def in_points(metric: str) -> bool:
    """Whether differences of a measure are told in percentage points.

    >>> in_points("critical_sensitivity"), in_points("macro_auroc")
    (True, False)
    """
    return metric.endswith(RATES)


def amount(value: float, metric: str) -> str:
    """A size without its interval: `12 points`, or `0.024` of a measure that is no rate."""
    if not in_points(metric):
        return plain(value)
    points = 100 * value
    whole_number = abs(value) >= SHARP or abs(points - round(points)) < WHOLE
    return f"{plain(points, 0 if whole_number else 1)} points"


def sized(found: Number, metric: str) -> str:
    """A size with its interval: `24 points (20 to 31)`, or `0.024 (0.010 to 0.041)`.

    Args:
        found: how large something is; positive is more.
        metric: measure that it is a difference of.
    """
    if not in_points(metric):
        return f"{plain(found.value)} ({_ends(found.low, found.high, 3)})"
    digits = 0 if min(map(abs, (found.value, found.low, found.high))) >= SHARP / 10 else 1
    ends = _ends(100 * found.low, 100 * found.high, digits)
    return f"{plain(100 * found.value, digits)} points ({ends})"


def changed(found: Number, metric: str) -> str:
    """A signed change with its interval, in whole points where the measure is a rate."""
    if not in_points(metric):
        return difference(found)
    if not found.defined:
        return found.absent
    low, high = (signed(100 * end, 0) for end in (found.low, found.high))
    ends = f"{low} to {high}" if math.isfinite(found.low) else "no interval"
    return f"{signed(100 * found.value, 0)} ({ends}){found.mark}"


def _ends(low: float, high: float, digits: int) -> str:
    known = math.isfinite(low) and math.isfinite(high)
    return f"{plain(low, digits)} to {plain(high, digits)}" if known else "no interval"


METRICS: Mapping[str, str] = {
    "macro_auroc": "Macro AUROC",
    "macro_auprc": "Macro AUPRC",
    "macro_f1": "Macro F1",
    "macro_sensitivity": "Macro sensitivity, frozen thresholds",
    "macro_specificity": "Macro specificity, frozen thresholds",
    "micro_auroc": "Micro AUROC",
    "micro_auprc": "Micro AUPRC",
    "micro_f1": "Micro F1",
    "f1_at_half": "Macro F1 at threshold 0.5",
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "standardised_accuracy": "Accuracy at the class mix of the test role",
    "exact_match": "Exact match (no label wrong)",
    "matthews_correlation": "Matthews correlation",
    "log_loss": "Log loss (NLL)",
    "brier_loss": "Brier loss",
    "brier_skill_score": "Brier skill score",
    "brier_reliability": "Brier reliability (0 is ideal)",
    "brier_resolution": "Brier resolution (higher is better)",
    "ece": "ECE",
    "ece_debiased": "ECE, debiased",
    "ece_smooth": "ECE, smooth",
    "mce": "Largest bin error (MCE)",
    "classwise_ece": "Class-wise ECE",
    "cox_slope": "Cox slope",
    "cox_intercept": "Cox intercept",
    "spiegelhalter_z": "Spiegelhalter z",
    "critical_auroc": "AUROC of {critical}",
    "critical_auprc": "AUPRC of {critical}",
    "critical_f1": "F1 of {critical}",
    "critical_sensitivity": "Sensitivity of {critical}, frozen threshold",
    "critical_false_alarms_per_100": "False alarms per 100 without {critical}",
    "critical_ppv": "PPV of {critical}, at the prevalence named",
    "critical_npv": "NPV of {critical}, at the prevalence named",
    "critical_sensitivity_repicked_on_test": "Sensitivity of {critical}, picked on test",
    "critical_specificity": "Specificity of {critical}, frozen threshold",
    "critical_recall": "Recall of {critical}, as called",
    "mean_confidence": "Mean confidence",
    "majority_share": "Share called the most frequent",
    "failure_auroc": "AUROC of errors against right answers",
    "auroc": "AUROC",
    "auroc_delong": "AUROC, DeLong interval",
    "auroc_clustered": "AUROC, DeLong interval for groups",
    "auprc": "AUPRC",
    "f1": "F1",
    "ppv": "PPV, frozen threshold",
    "npv": "NPV, frozen threshold",
    "aurc": "AURC",
    "excess_aurc": "Excess AURC",
    "augrc": "AUGRC",
    "failure_augrc": "AUGRC of failures (0 or 1)",
    "balanced_augrc": "Class-balanced AUGRC",
    "balanced_aurc": "Class-balanced AURC",
    "risk": "Risk at full coverage",
    "risk_at_coverage": "Risk at coverage {coverage:g}",
    "coverage_at_risk": "Coverage at risk {risk:g}",
    "selective_risk": "Selective risk",
}
SHORT: Mapping[str, str] = {
    "standardised_accuracy": "Standardised accuracy",
    "critical_false_alarms_per_100": "False alarms per 100",
    "macro_sensitivity": "Macro sensitivity",
    "macro_specificity": "Macro specificity",
    "exact_match": "Exact match",
    "critical_sensitivity": "Sensitivity of {critical}",
    "critical_specificity": "Specificity of {critical}",
    "critical_recall": "Recall of {critical}",
    "majority_share": "Most frequent called",
}
EVENTS: Mapping[str, str] = {"top_label": "called class", "mean": "mean"}


def words(name: str) -> str:
    """`gaussian_blur` as `gaussian blur`."""
    return name.replace("_", " ")


def metric(name: str, critical: str | None = None, *, coverage: float = 0, risk: float = 0) -> str:
    """A measure by its full name; `coverage` or `risk` is where it is read."""
    known = METRICS.get(name, words(name).capitalize())
    return known.format(critical=critical, coverage=coverage, risk=risk)


def event(name: str) -> str:
    """What a probability is about: the called class, or a label by its own name."""
    return EVENTS.get(name, name)


def short(name: str, critical: str | None) -> str:
    """A measure by a name that fits an axis."""
    return SHORT[name].format(critical=critical) if name in SHORT else metric(name, critical)


def condition(name: str) -> str:
    """`gaussian_blur-2` as `gaussian blur, severity 2`."""
    corruption, _, severity = name.rpartition("-")
    return f"{words(corruption)}, severity {severity}" if corruption else words(name)
