"""The audits as stages run them, from one table of all roles to findings."""

from medaudit.audits import calibrate as calibrate_audit
from medaudit.audits import evaluate as evaluate_audit
from medaudit.audits import selective, slices
from medaudit.audits import stress as stress_audit
from medaudit.audits.evaluate import EvaluateParams
from medaudit.audits.stress import FrozenStress, StressParams
from medaudit.cases import case_study
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables.scoring import Conditions, ScoredPredictions

FEW = IntervalParams(replicates=200)


def over(scored, intervals=FEW):
    """A bootstrap of the groups of predictions."""
    return Bootstrap.of_groups(scored.group_ids, intervals)


def conditions(clean, corrupted, points):
    """The test role clean and corrupted, at frozen thresholds."""
    return Conditions.aligned(ScoredPredictions(clean.role("test"), points), corrupted)


def evaluate(clean, points, intervals=FEW):
    test = ScoredPredictions(clean.role("test"), points)
    params = EvaluateParams(specificity=points.specificity)
    return evaluate_audit.audit(test, points, params, over(test, intervals))


def stress(clean, corrupted, points, intervals=FEW, *, baseline=None):
    names = tuple(dict.fromkeys(table.condition.corruption for table in corrupted)) or ("none",)
    test, params = conditions(clean, corrupted, points), StressParams(corruptions=names)
    frozen = FrozenStress(points, baseline)
    return stress_audit.audit(test, frozen, params, over(test.clean, intervals))


def slice_up(clean, points, train_rows, params, intervals=FEW):
    test, role = (ScoredPredictions(clean.role(r), points) for r in ("test", "calibration"))
    frozen = slices.freeze(train_rows, params, calibration=role)
    return slices.audit(test, frozen, params, over(test, intervals))


def calibrate(clean, params, intervals=FEW, *, fitted=None):
    test = ScoredPredictions(clean.role("test"))
    fitted = fitted or calibrate_audit.freeze(clean.role("calibration"), params)
    return calibrate_audit.audit(test, fitted, params, over(test, intervals))


def defer(clean, points, params, intervals=FEW):
    test, role = (ScoredPredictions(clean.role(r), points) for r in ("test", "calibration"))
    return selective.audit(test, selective.freeze(role, params), params, over(test, intervals))


def case_study_of(clean, corrupted, points, params, intervals=FEW, *, context=None):
    test = conditions(clean, corrupted, points)
    bootstrap = over(test.clean, intervals)
    return case_study.build_case_study(test, params, bootstrap, context=context)
