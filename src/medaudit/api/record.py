"""An audit of predictions as a record: tables and parameters in, findings, figures, report out."""

from __future__ import annotations

import logging
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from tqdm import tqdm

from medaudit.audits import calibrate as calibrate_audit
from medaudit.audits import discovery, role_drift, slices, stress
from medaudit.audits import evaluate as evaluate_audit
from medaudit.audits import selective as selective_audit
from medaudit.audits.properties import properties
from medaudit.audits.stress import StressParams
from medaudit.core import findings
from medaudit.core.errors import DataError, listed
from medaudit.core.files import new_folder, write_json
from medaudit.core.findings import Findings
from medaudit.core.layout import CALIBRATORS, CLEAN, OPERATING_POINTS, PARAMS, PREPARED, REPORT
from medaudit.core.privacy import Privacy
from medaudit.data.external_outputs import copies
from medaudit.stats.bootstrap import Bootstrap
from medaudit.tables import manifest, operating_points, predictions
from medaudit.tables.operating_points import FOLD
from medaudit.tables.scoring import Conditions, ScoredPredictions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

    from medaudit.api.settings import Settings
    from medaudit.report.results import Results
    from medaudit.tables.calibrators import Calibrators
    from medaudit.tables.manifest import Preparation
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable

log = logging.getLogger(__name__)

SIDE_BY_SIDE = 2
STAGES = ("evaluate", "stress", "slice", "calibrate", "selective")
# Of the summary, beside the headline of `metrics/evaluate.json`.
ALSO = ("log_loss", "brier_loss", "brier_skill_score", "ece", "failure_augrc")
DEFERRAL = ("coverage", "selective_risk")
SUMMARY = ("value", "low", "high", "n", "n_groups", "n_positive", "method")
SLICES, ROLES, SHORTCUTS, CLUSTERS, LABELS = SOUGHT = (
    "slices that nobody named",
    "differences between roles",
    "shortcuts",
    "clusters of embeddings",
    "label issues",
)
"""What the pipeline looks for without being told, as the report says it."""

NEEDS = {
    "threshold": "name the critical class with critical=...",
    "severity": "give the outputs under corruptions or shifts with conditions=...",
    "delta": "give the outputs under corruptions or shifts with conditions=...",
    "predicted": "give the outputs under corruptions or shifts with conditions=...",
    "slices": "give metadata=..., and slices that are large enough (audit.findings['slice'])",
}


@dataclass(frozen=True, eq=False)
class Plots:
    """Figures of an audit, drawn by what draws those of its report.

    Every method returns a matplotlib figure, to be shown in a notebook or saved with `savefig`, and
    raises a `DataError` where the audit has nothing to draw.

    Args:
        results: what the audits found.
    """

    results: Results

    def per_class(self) -> Figure:
        """Every class against the rest, with intervals."""
        return self._drawn("per_class")

    def curves(self) -> Figure:
        """ROC and precision-recall curves of every class."""
        return self._drawn("curves")

    def confusion(self) -> Figure:
        """Share of the samples with every true class for which each class is called."""
        return self._drawn("confusion")

    def threshold(self) -> Figure:
        """Sensitivity and specificity of the critical class over thresholds."""
        return self._drawn("threshold")

    def severity(self) -> Figure:
        """Measures over the severity of every corruption."""
        return self._drawn("severity")

    def delta(self) -> Figure:
        """Condition minus clean, with paired intervals."""
        return self._drawn("delta")

    def predicted(self) -> Figure:
        """What is called under clean and under every condition."""
        return self._drawn("predicted")

    def slices(self) -> Figure:
        """A forest of slices, with the value on all of the test role as a line."""
        return self._drawn("slices")

    def reliability(self) -> Figure:
        """Reliability diagrams, a line per calibrator."""
        return self._drawn("reliability")

    def risk_coverage(self) -> Figure:
        """Risk over coverage, a line per confidence score, and what the frozen rule realises."""
        return self._drawn("risk_coverage")

    def _drawn(self, name: str) -> Figure:
        from medaudit.report import style
        from medaudit.report.figures import FIGURES

        with style.styled():
            figure = FIGURES[name](self.results)
        if figure is None:
            raise DataError(f"nothing to draw for {name!r}; {NEEDS.get(name, 'no rows for it')}")
        return figure


@dataclass(frozen=True, eq=False)
class Audit:
    """What the audits found in a set of predictions, and what they were asked.

    Data frames hold a row per measure with its value, the ends of its interval, what it rests on
    and how the interval was made; docs/metrics.md says what the measures are.

    Args:
        clean: predictions of the clean samples, calibration and test role.
        shifted: of the test role under every corruption or shift.
        facts: what a reader must know about the data.
        settings: the parameters.
        source: where the predictions came from, for the title block of the report.
        points: thresholds, frozen on the calibration role.
        calibrators: fitted on the calibration role.
        findings: scalars and tables of every audit, by stage.
    """

    clean: PredictionTable
    shifted: tuple[PredictionTable, ...]
    facts: Preparation
    settings: Settings
    source: str
    points: OperatingPoints
    calibrators: Calibrators
    findings: Mapping[str, Findings]

    @classmethod
    def of(
        cls,
        clean: PredictionTable,
        shifted: Sequence[PredictionTable],
        facts: Preparation,
        settings: Settings,
        *,
        source: str,
    ) -> Audit:
        """Freeze on the calibration role, audit the test role; look for images that are in both."""
        calibration = frozen_on(clean)
        points = evaluate_audit.freeze(calibration, settings.evaluate)
        fitted = calibrate_audit.freeze(calibration, settings.calibrate)
        found = dict(audits(clean, shifted, points, fitted, settings))
        found["evaluate"], notes = with_copies(found["evaluate"], clean)
        found["slice"] = findings.together(found["slice"], found["unnamed"])
        facts = replace(facts, notes=(*facts.notes, *notes))
        ordered = {stage: found[stage] for stage in STAGES if stage in found}
        return cls(clean, tuple(shifted), facts, settings, source, points, fitted, ordered)

    @property
    def metrics(self) -> pd.DataFrame:
        """Every measure of the clean test role."""
        return self.table("evaluate", "metrics")

    @property
    def per_class(self) -> pd.DataFrame:
        """Every measure of every class or label."""
        return self.table("evaluate", "per_class")

    @property
    def slices(self) -> pd.DataFrame:
        """Every measure in every slice, and its gap to the rest of the test role."""
        return self.table("slice", "slices")

    @property
    def discovered(self) -> pd.DataFrame:
        """Slices that nobody named, found on the calibration role and measured on the test role."""
        return self.table("slice", "discovered")

    @property
    def role_drift(self) -> pd.DataFrame:
        """Whether metadata tell the calibration role from the test role."""
        return self.table("slice", "role_drift")

    @property
    def not_measured(self) -> pd.DataFrame:
        """What was not looked for (`sought`), and what that would need (`needs`)."""
        return self.table("slice", "not_measured")

    @property
    def conditions(self) -> pd.DataFrame:
        """Every measure under every condition, and condition minus clean; empty without any."""
        return self.table("stress", "conditions")

    @property
    def calibration(self) -> pd.DataFrame:
        """Calibration errors and proper scores, before and after every calibrator."""
        return self.table("calibrate", "summary")

    @property
    def selective(self) -> pd.DataFrame:
        """How well every confidence score tells wrong predictions from right ones."""
        return self.table("selective", "summary")

    def table(self, stage: str, name: str) -> pd.DataFrame:
        """A table of `audit.findings`, as a copy; empty where the stage has none of that name."""
        if stage not in self.findings:
            return pd.DataFrame()
        return self.findings[stage].series.get(name, pd.DataFrame()).copy()

    def summary(self) -> pd.DataFrame:
        """The headline: measure, value, low, high, n, n_groups, n_positive, method.

        Measures of the clean test role, then what the frozen deferral rule realises on it
        (`deferral_coverage`, `deferral_selective_risk`).
        """
        metrics = self.metrics
        wanted = [
            name for name in (*evaluate_audit.HEADLINE, *ALSO) if name in set(metrics["metric"])
        ]
        headline = metrics.set_index("metric").loc[wanted]
        deferral = self.table("selective", "deferral")
        deferral = deferral[deferral["score"] == self.settings.selective.primary]
        realised = deferral.set_index("metric").loc[list(DEFERRAL)].add_prefix("deferral_", axis=0)
        both = pd.concat([headline[list(SUMMARY)], realised[list(SUMMARY)]])
        return both.rename_axis("measure").reset_index()

    @cached_property
    def plot(self) -> Plots:
        """The figures of the report, as matplotlib figures."""
        from medaudit.report.results import read_results

        # Read from files as the report reads them, so that both draw the same numbers.
        with tempfile.TemporaryDirectory() as name:
            self.write(Path(name))
            return Plots(read_results(Path(name), only=tuple(self.findings)))

    def report(self, out: Path | str) -> Path:
        """Write metrics/, plots/, artifacts/, params.yaml and report/ into a new folder.

        Args:
            out: must be absent or empty; it appears whole or not at all.

        Returns:
            the folder.

        Raises:
            ParamsError: the folder holds something.
        """
        from medaudit.report import render

        with new_folder(Path(out)) as folder:
            privacy = self.write(folder)
            render.report(
                folder,
                folder / REPORT,
                stages=tuple(self.findings),
                params=self.settings.report,
                privacy=privacy,
                source=self.source,
            )
            findings.write_pseudonyms(privacy, root=folder)
        return Path(out)

    def write(self, folder: Path) -> Privacy:
        """Write all but the report, as the pipeline leaves it."""
        privacy = Privacy.of_audit(folder, self.settings.report)
        for stage, found in self.findings.items():
            findings.write(found, stage, root=folder, privacy=privacy)
        operating_points.write(self.points, folder / OPERATING_POINTS)
        rows = self.clean.rows.assign(target=list(self.clean.targets))
        manifest.write_manifest(rows, folder / PREPARED)
        manifest.write_preparation(self.facts, folder / PREPARED)
        predictions.write(self.clean, folder / CLEAN)
        fitted = {name: each.facts() for name, each in self.calibrators.items()}
        write_json(folder / CALIBRATORS, fitted)
        self.settings.write(folder / PARAMS)
        return privacy

    def __repr__(self) -> str:
        schema = self.clean.schema
        return (
            f"Audit({schema.task}, {len(schema.classes)} outputs, {len(self.clean)} samples, "
            f"{len(self.shifted)} conditions; {', '.join(self.findings)})"
        )


def audits(
    clean: PredictionTable,
    conditions: Sequence[PredictionTable],
    points: OperatingPoints,
    fitted: Calibrators,
    params: Settings,
) -> Iterator[tuple[str, Findings]]:
    """The same audits as in the pipeline, each with its stage, as they end.

    What was found by search comes by itself, as `unnamed`.

    They run side by side: nearly all of their time is spent in numpy, which lets others work.
    """
    test, role = (
        ScoredPredictions(table, points) for table in (clean.role("test"), frozen_on(clean))
    )
    bootstrap = Bootstrap.of_groups(test.group_ids, params.intervals)
    # A cross-fitted role is the test role itself: its positives are there already.
    pooled = None if FOLD in clean.rows else role
    cut = slices.freeze(role.table.rows, params.slice, calibration=pooled)
    rule = selective_audit.freeze(role, params.selective)
    jobs: dict[str, Callable[[], Findings]] = {
        "slice": lambda: slices.audit(test, cut, params.slice, bootstrap),
        "unnamed": lambda: unnamed(clean, points, params, bootstrap),
        "calibrate": lambda: calibrate_audit.audit(test, fitted, params.calibrate, bootstrap),
        "selective": lambda: selective_audit.audit(test, rule, params.selective, bootstrap),
        "evaluate": lambda: evaluate_audit.audit(test, points, params.evaluate, bootstrap),
    }
    if conditions:
        asked = stressed(conditions, margin=params.stress_margin)
        frozen = stress.freeze(points, asked)
        every = Conditions.aligned(test, conditions)
        jobs["stress"] = lambda: stress.audit(every, frozen, asked, bootstrap)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        running = {pool.submit(job): stage for stage, job in jobs.items()}
        for done in tqdm(as_completed(running), total=len(jobs), desc="audits", disable=None):
            yield running[done], done.result()


def frozen_on(clean: PredictionTable) -> PredictionTable:
    """What thresholds are frozen on: the calibration role, or the test role in folds."""
    return clean.role("test" if FOLD in clean.rows else "calibration")


def with_copies(found: Findings, clean: PredictionTable) -> tuple[Findings, tuple[str, ...]]:
    """The findings of `evaluate` with test samples that stand twice, and what to say of them."""
    twice = copies(clean)
    notes = twice.notes(int((clean.rows["role"] == "test").sum()))
    for note in notes:
        log.warning("%s", note)
    named = [*twice.across_roles["test_id"], *twice.in_test["test_id"]]
    if named:  # here alone: notes go into the report
        log.warning("samples whose outputs stand twice: %s", listed(named))
    counts = {
        "n_duplicates_across_roles": len(twice.across_roles),
        "n_duplicates_in_test": len(twice.in_test),
        "n_coincident_outputs": twice.n_by_chance,
    }
    series = {
        "duplicates_across_roles": twice.across_roles,
        "duplicates_in_test": twice.in_test,
    }
    return Findings({**found.scalars, **counts}, {**found.series, **series}), notes


def unnamed(
    clean: PredictionTable, points: OperatingPoints, params: Settings, bootstrap: Bootstrap
) -> Findings:
    """What the pipeline looks for without being told, as far as metadata alone can carry it.

    Args:
        clean: predictions of the calibration and test roles.
        points: frozen thresholds.
        params: columns, and what was asked.
        bootstrap: of the groups of the test role.
    """
    known = as_declared(clean, params)
    lacking = lacks(known, params)
    test = ScoredPredictions(known.role("test"), points)
    asked, found = params.discovery, [Findings({}, {"not_measured": lacking_table(lacking)})]
    if SLICES not in lacking:
        parts = discovery.freeze(ScoredPredictions(frozen_on(known), points), asked)
        found.append(discovery.audit(test, parts, asked, bootstrap))
    if ROLES not in lacking:
        roles = role_drift.freeze(frozen_on(known), asked)
        found.append(role_drift.audit(test, roles, asked, bootstrap))
    return findings.together(*found)


def as_declared(clean: PredictionTable, params: Settings) -> PredictionTable:
    """The table in which numbers that are sliced by value are texts, and so no quarters."""
    few = [
        name
        for name in params.slice.columns
        if name in clean.rows and clean.rows[name].nunique() <= params.discovery.max_values
    ]
    as_text = {name: clean.rows[name].map(str, na_action="ignore") for name in few}
    return replace(clean, rows=clean.rows.assign(**as_text))


def lacks(known: PredictionTable, params: Settings) -> dict[str, str]:
    """What is not looked for in these predictions, and what that needs."""
    if not params.discover:
        return dict.fromkeys(SOUGHT, "to be asked for, and were left out")
    found = {SHORTCUTS: "rows of the train role"}
    found |= dict.fromkeys((CLUSTERS, LABELS), "embeddings")
    if FOLD in known.rows:
        here = "a calibration role: here thresholds are cross-fitted"
        return found | dict.fromkeys((SLICES, ROLES), here)
    if not properties(frozen_on(known).rows, params.discovery):
        here = "metadata columns of two values or more"
        return found | dict.fromkeys((SLICES, ROLES), here)
    if not params.roles_given:
        found[ROLES] = "a column of roles: drawn ones differ by chance alone"
    return found


def lacking_table(lacking: Mapping[str, str]) -> pd.DataFrame:
    """What was sought and not measured, in the order of `SOUGHT`."""
    rows = [(name, lacking[name]) for name in SOUGHT if name in lacking]
    return pd.DataFrame(rows, columns=["sought", "needs"])


def stressed(conditions: Sequence[PredictionTable], *, margin: float) -> StressParams:
    """The parameters that name these conditions, without a baseline model."""
    given = [table.condition for table in conditions]
    return StressParams(
        corruptions=tuple(dict.fromkeys(each.corruption for each in given)),
        severities=tuple(sorted({each.severity for each in given})),
        margin=margin,
    )
