"""Every metric on one small committed table, against committed values.

It notices a change of any number, on purpose or not; what the numbers should be is the business of
the worked examples and of the references. After a change on purpose, from the top folder:

    python tests/golden/test_golden.py

writes metrics.json anew; read its diff. The table was drawn by draw_predictions.py.
"""

import json
import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from medaudit.metrics import (
    calibration,
    calibration_curves,
    classification,
    operating,
    proper,
    ranking,
    selective,
    selective_balanced,
)
from medaudit.metrics.calibration import BINNINGS

HERE = Path(__file__).parent
SAMPLE, VALUES = HERE / "predictions.csv", HERE / "metrics.json"
CLASSES = ("common", "uncommon", "rare")
TOLERANCE = 1e-9

Numbers = NDArray[Any]
Golden = dict[str, Any]


class Columns:
    """The committed predictions, with weights of the sample itself and of two bootstrap draws."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.targets = table["target"].to_numpy()
        self.probabilities = table[[f"p_{name}" for name in CLASSES]].to_numpy()
        self.positives = self.targets[:, None] == np.arange(len(CLASSES))
        self.predicted = self.probabilities.argmax(axis=1)
        self.confidence = self.probabilities.max(axis=1)
        self.wrong = self.predicted != self.targets
        draws = table[["draw_1", "draw_2"]].to_numpy().T
        self.weights = np.concatenate([np.ones_like(draws[:1]), draws])
        self.corrupted = table[["corruption_1", "corruption_2"]].to_numpy()
        self.reference = table[["reference", "reference_1", "reference_2"]].to_numpy()


def ranking_values(x: Columns) -> Golden:
    rare = x.probabilities[:, 2], x.positives[:, 2]
    tables = x.probabilities, x.positives, x.weights
    areas: Golden = {}
    for k, name in enumerate(CLASSES):
        column = x.probabilities[:, k], x.positives[:, k], x.weights
        areas[f"auroc_{name}"] = ranking.weighted_auroc(*column)
        areas[f"average_precision_{name}"] = ranking.weighted_average_precision(*column)
    return {
        **areas,
        "macro_auroc": ranking.weighted_macro_auroc(*tables),
        "prevalence_auroc": ranking.weighted_prevalence_auroc(*tables),
        "roc_curve": ranking.roc_curve(*rare),
        "precision_recall_curve": ranking.precision_recall_curve(*rare),
        "rates_by_threshold": ranking.rates_by_threshold(*rare),
    }


def class_values(x: Columns) -> Golden:
    matrices = classification.weighted_confusion(
        x.predicted, x.targets, x.weights, n_classes=len(CLASSES)
    )
    read_off = (
        classification.accuracy,
        classification.recall_per_class,
        classification.precision_per_class,
        classification.f1_per_class,
        classification.macro_f1,
        classification.balanced_accuracy,
        classification.matthews_correlation,
    )
    return {"confusion": matrices, **{metric.__name__: metric(matrices) for metric in read_off}}


def operating_values(x: Columns) -> Golden:
    scores, positives = x.probabilities[:, 2], x.positives[:, 2]
    column, negatives = (scores, positives, x.weights), scores[~positives]
    threshold = operating.threshold_at_specificity(negatives, specificity=0.9)
    return {
        "threshold_at_specificity": threshold,
        "guaranteed_threshold_at_specificity": operating.guaranteed_threshold_at_specificity(
            negatives, specificity=0.9, confidence=0.9
        ),
        "negatives_needed": operating.negatives_needed(0.9, 0.9),
        "sensitivity": operating.weighted_sensitivity(*column, threshold=threshold),
        "specificity": operating.weighted_specificity(*column, threshold=threshold),
        "ppv": operating.weighted_ppv(*column, threshold=threshold),
        "npv": operating.weighted_npv(*column, threshold=threshold),
        "sensitivity_at_specificity": operating.weighted_sensitivity_at_specificity(
            *column, specificity=0.9
        ),
    }


def proper_values(x: Columns) -> Golden:
    rare = x.probabilities[:, 2], x.positives[:, 2], x.weights
    tables = x.probabilities, x.targets, x.weights
    return {
        "brier_loss": proper.weighted_brier_loss(*tables),
        "log_loss": proper.weighted_log_loss(*tables),
        "multiclass_brier_skill_score": proper.weighted_multiclass_brier_skill_score(*tables),
        "event_brier_loss": proper.weighted_event_brier_loss(*rare),
        "brier_skill_score": proper.weighted_brier_skill_score(*rare),
        "brier_decomposition": proper.weighted_brier_decomposition(*rare, n_bins=8),
    }


def calibration_values(x: Columns) -> Golden:
    top, every = (x.confidence, ~x.wrong), (x.probabilities, x.targets)
    by_binning: Golden = {
        binning: {
            "reliability_bins": calibration.reliability_bins(*top, n_bins=8, binning=binning),
            "ece": calibration.weighted_ece(*top, x.weights, binning=binning),
            "mce": calibration.weighted_mce(*top, x.weights, binning=binning),
            "classwise_ece": calibration.weighted_classwise_ece(*every, x.weights, binning=binning),
            "debiased_ece": calibration.weighted_debiased_ece(
                *top, x.weights, n_bins=5, binning=binning
            ),
        }
        for binning in BINNINGS
    }
    return {
        **by_binning,
        "ece_noise_floor": calibration.ece_noise_floor(x.confidence, seed=0, replicates=200),
        "cox": calibration_curves.weighted_cox(*top, x.weights),
        "spiegelhalter_z": calibration_curves.weighted_spiegelhalter_z(*top, x.weights),
        "spiegelhalter": calibration_curves.spiegelhalter(*top),
        "smooth_ece": calibration_curves.weighted_smooth_ece(*top, x.weights),
    }


def selective_values(x: Columns) -> Golden:
    plain, by_class = (x.wrong, x.confidence), (x.wrong, x.confidence, x.targets)
    return {
        "risk_coverage": selective.risk_coverage(*plain),
        "aurc": selective.weighted_aurc(*plain, x.weights),
        "excess_aurc": selective.weighted_excess_aurc(*plain, x.weights),
        "augrc": selective.weighted_augrc(*plain, x.weights),
        "threshold_for_coverage": selective.threshold_for_coverage(x.confidence, coverage=0.8),
        "risk_at_coverage": selective.weighted_risk_at_coverage(*plain, x.weights, coverage=0.8),
        "coverage_at_risk": selective.weighted_coverage_at_risk(*plain, x.weights, max_risk=0.25),
        "balanced_risk_coverage": selective_balanced.balanced_risk_coverage(*by_class),
        "balanced_aurc": selective_balanced.weighted_balanced_aurc(*by_class, x.weights),
        "balanced_augrc": selective_balanced.weighted_balanced_augrc(*by_class, x.weights),
        "balanced_risk_at_coverage": selective_balanced.weighted_balanced_risk_at_coverage(
            *by_class, x.weights, coverage=0.8
        ),
        "coverage_at_balanced_risk": selective_balanced.weighted_coverage_at_balanced_risk(
            *by_class, x.weights, max_risk=0.3
        ),
    }


def robustness_values(x: Columns) -> Golden:
    clean, reference_clean = (_balanced_errors(x, y) for y in (x.predicted, x.reference[:, 0]))
    # Two corruptions of one severity.
    errors, reference = (
        np.stack([_balanced_errors(x, y) for y in columns.T], axis=-1)[..., np.newaxis]
        for columns in (x.corrupted, x.reference[:, 1:])
    )
    ratios = classification.corruption_error(errors, reference)
    relative = classification.relative_corruption_error(
        errors,
        reference,
        clean_error=clean[:, np.newaxis],
        reference_clean_error=reference_clean[:, np.newaxis],
    )
    return {
        "balanced_error": clean,
        "corruption_error": ratios,
        "relative_corruption_error": relative,
        "mean_over_corruptions": classification.mean_over_corruptions(ratios),
        "mean_over_corruptions_relative": classification.mean_over_corruptions(relative),
    }


def _balanced_errors(x: Columns, predicted: Numbers) -> Numbers:
    matrices = classification.weighted_confusion(
        predicted, x.targets, x.weights, n_classes=len(CLASSES)
    )
    return classification.balanced_error(classification.balanced_accuracy(matrices))


FAMILIES = {
    "ranking": ranking_values,
    "classes": class_values,
    "operating": operating_values,
    "proper": proper_values,
    "calibration": calibration_values,
    "selective": selective_values,
    "robustness": robustness_values,
}


def readable(value: Any) -> Any:
    """As JSON has it: objects and lists, null for undefined, names for the infinite."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if is_dataclass(value):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, dict):
        return {name: readable(each) for name, each in value.items()}
    if isinstance(value, np.ndarray | list):
        return [readable(each) for each in value]
    number = float(value)
    if math.isinf(number):
        return str(number)
    return None if math.isnan(number) else round(number, 12)


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every number by its path."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        found = [leaves(each, f"{path}/{name}") for name, each in items]
        return {name: number for part in found for name, number in part.items()}
    return {path: value}


@pytest.mark.parametrize("family", FAMILIES)
def test_values_are_those_that_were_committed(family: str) -> None:
    committed = leaves(json.loads(VALUES.read_text())[family])
    found = leaves(readable(FAMILIES[family](Columns(pd.read_csv(SAMPLE)))))
    assert list(found) == list(committed)
    moved = {
        name: (value, found[name])
        for name, value in committed.items()
        if not same(value, found[name])
    }
    assert not moved, f"(committed, now) of {len(moved)} numbers: {dict(list(moved.items())[:5])}"


def same(first: Any, second: Any) -> bool:
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=0, abs_tol=TOLERANCE)
    return bool(first == second)


def test_no_family_is_missing_and_none_is_left_over() -> None:
    assert list(json.loads(VALUES.read_text())) == list(FAMILIES)


def test_the_table_holds_what_is_hard() -> None:
    table = pd.read_csv(SAMPLE)
    x = Columns(table)
    assert len(table) == 120
    assert 1 < table.groupby("group_id").size().max() <= 5
    assert set(x.targets) == {0, 1, 2}
    assert len(np.unique(x.confidence)) < len(table) / 2
    assert x.probabilities.min() == 0.0
    assert x.probabilities.max() == 1.0
    assert x.wrong[x.confidence == 1.0].any()
    np.testing.assert_allclose(x.probabilities.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    assert len(table[["group_id", "draw_1", "draw_2"]].drop_duplicates()) == len(
        table["group_id"].unique()
    )


def main() -> None:
    """Write the values anew."""
    columns = Columns(pd.read_csv(SAMPLE))
    values = {family: readable(compute(columns)) for family, compute in FAMILIES.items()}
    VALUES.write_text(one_line_each(values))


def one_line_each(values: Golden) -> str:
    """JSON with a line for every metric."""
    families = []
    for family, metrics in values.items():
        lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in metrics.items()]
        families.append(f" {json.dumps(family)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(families) + "\n}\n"


if __name__ == "__main__":
    main()
