"""What looks for the unnamed bears small tables and several labels."""

import numpy as np
import pytest
from audit_tables import FEW
from unnamed_tables import rows, scored, table

from medaudit.audits import discovery, label_issues, role_drift, shortcuts
from medaudit.audits.properties import DiscoveryParams
from medaudit.core import findings
from medaudit.stats.bootstrap import Bootstrap
from medaudit.tables import predictions
from medaudit.tables.operating_points import OperatingPoints
from medaudit.tables.predictions import PredictionTable, Schema
from medaudit.tables.scoring import ScoredPredictions

PARAMS = DiscoveryParams(permutations=19, clusters=3, components=3, source="source")


def all_four(held_out, train, test):
    """As the slice stage runs them."""
    bootstrap = Bootstrap.of_groups(test.group_ids, FEW)
    known = predictions.joined(held_out.table, train.table)
    associations = shortcuts.freeze(train, PARAMS, intervals=FEW)
    return findings.together(
        discovery.audit(test, discovery.freeze(held_out, PARAMS), PARAMS, bootstrap),
        shortcuts.audit(test, associations, PARAMS, bootstrap),
        role_drift.audit(test, role_drift.freeze(known, PARAMS), PARAMS, bootstrap),
        label_issues.audit(test, label_issues.freeze(known, PARAMS), PARAMS, bootstrap),
    )


def classes(n, rng, role):
    frame = rows(n, rng, role=role, prefix=role)
    targets = rng.integers(0, 3, n)
    features = rng.normal(size=(n, 5)).astype(np.float32)
    return scored(table(frame, targets, rng.random(n) < 0.3, embeddings=features))


def labels(n, rng, role):
    names = ("edema", "effusion", "mass")
    frame = rows(n, rng, role=role, prefix=role, per_group=3)
    targets = (rng.random((n, 3)) < [0.5, 0.3, 0.02]).astype(np.int64)
    logits = rng.normal(size=(1, n, 3)).astype(np.float32) + 2 * targets - 1
    features = rng.normal(size=(n, 5)).astype(np.float32)
    found = PredictionTable(Schema("multilabel", names), frame, targets, logits, features)
    return ScoredPredictions(found, OperatingPoints(names, (0.5, 0.5, 0.5), 0.95, (9, 9, 9)))


@pytest.mark.parametrize("n", [4, 12, 40])
def test_small_tables_say_that_little_was_measured(n):
    rng = np.random.default_rng(n)
    found = all_four(*(classes(n, rng, role) for role in ("calibration", "train", "test")))
    assert set(found.series) == {"discovered", "shortcuts", "role_drift", "label_issues"}
    assert not found.scalars["n_discovered_confirmed"]
    if n == 4:
        assert found.scalars["n_role_comparisons"] == 0
        assert set(found.series["role_drift"]["verdict"]) == {"not measured"}


def test_labels_without_a_critical_one():
    rng = np.random.default_rng(0)
    found = all_four(*(labels(150, rng, role) for role in ("calibration", "train", "test")))
    kinds = set(found.series["discovered"]["error"])
    assert kinds <= {"wrong call", "missed edema", "missed effusion", "missed mass"}
    assert set(found.series["shortcuts"]["class"]) <= {"edema", "effusion", "mass"}
    assert set(found.series["label_issues"]["given"]) <= {
        "edema",
        "no edema",
        "effusion",
        "no effusion",
        "mass",
        "no mass",
    }


def test_findings_of_one_name_are_refused():
    one = findings.Findings({"n": 1})
    with pytest.raises(ValueError, match="two audits found n"):
        findings.together(one, one)


def test_joined_tables_keep_shared_columns_and_embeddings_only_of_all():
    rng = np.random.default_rng(0)
    first, second = (classes(6, rng, role).table for role in ("calibration", "validation"))
    both = predictions.joined(first, second)
    assert len(both) == 12
    assert both.embeddings.shape == (12, 5)
    second.rows["other"] = 1
    bare = PredictionTable(second.schema, second.rows, second.targets, second.logits)
    found = predictions.joined(first, bare)
    assert found.embeddings is None
    assert "other" not in found.rows
