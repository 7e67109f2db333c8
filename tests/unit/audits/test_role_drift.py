"""Roles that differ are told apart; roles that do not are called different in one of twenty."""

import numpy as np
import pytest
from audit_tables import FEW, at
from sklearn.metrics import roc_auc_score
from unnamed_tables import rows, scored, table

from medaudit.audits import role_drift
from medaudit.audits.properties import DiscoveryParams, column_aurocs
from medaudit.stats.bootstrap import Bootstrap
from medaudit.tables import predictions

PARAMS = DiscoveryParams(permutations=199, components=4)


def role(name, n, rng, *, brighter=0.0, moved=0.0, features=True):
    frame = rows(n, rng, role=name, prefix=name)
    frame["brightness"] += brighter
    embeddings = (rng.normal(size=(n, 6)) + moved).astype(np.float32) if features else None
    targets = rng.integers(0, 3, n)
    return table(frame, targets, rng.random(n) < 0.2, embeddings=embeddings)


def found(seed, *, features=True, **test):
    rng = np.random.default_rng(seed)
    train, validation, calibration = (
        role(name, 150, rng, features=features) for name in ("train", "validation", "calibration")
    )
    last = scored(role("test", 150, rng, features=features, **test))
    frozen = role_drift.freeze(predictions.joined(train, validation, calibration), PARAMS)
    bootstrap = Bootstrap.of_groups(last.group_ids, FEW)
    return role_drift.audit(last, frozen, PARAMS, bootstrap)


def test_brighter_test_images_are_told_apart_by_their_brightness():
    series = found(0, brighter=0.1).series["role_drift"]
    row = at(series, comparison="calibration against test", features="properties")
    assert row["verdict"] == "differ"
    assert row["leading"].startswith("brightness (AUROC 0.7")
    still = at(series, comparison="train against calibration", features="properties")
    assert still["verdict"] == "no difference shown"
    assert still["p_adjusted"] >= still["p_value"]


def test_embeddings_that_moved_are_told_apart_and_training_is_a_caution():
    series = found(1, moved=0.8).series["role_drift"].query("features == 'embeddings'")
    assert set(series["verdict"]) == {"differ"}
    assert series["caution"].str.contains("fitted").tolist() == [True, False]


def test_without_embeddings_they_are_not_measured():
    result = found(2, features=False)
    series = result.series["role_drift"].query("features == 'embeddings'")
    assert set(series["verdict"]) == {"not measured"}
    assert result.scalars["n_role_comparisons"] == 3


def test_a_change_of_spread_alone_is_seen():
    rng = np.random.default_rng(5)
    groups = np.array([f"g{i}" for i in range(300)])
    side = np.arange(300) % 2
    values = rng.normal(size=300) * np.where(side == 1, 2.0, 1.0)
    features = np.column_stack([values, values**2])
    assert role_drift.two_sample_test(features, side, groups, PARAMS).p_value < 0.02


def test_the_level_holds_with_groups():
    """Rows of one group are nearly copies; a test that took them as independent would fail."""
    params = DiscoveryParams(permutations=39)
    p_values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        groups = np.sort(rng.integers(0, 60, 180))
        features = rng.normal(size=(60, 5))[groups] + 0.1 * rng.normal(size=(180, 5))
        side = (rng.random(60) < 0.4)[groups].astype(int)
        names = np.array([f"g{i:02d}" for i in groups])
        p_values.append(role_drift.two_sample_test(features, side, names, params).p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.13  # 3 standard errors above 0.05
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.12)


def test_areas_by_column_are_those_of_scikit_learn():
    rng = np.random.default_rng(6)
    scores, truth = rng.integers(0, 5, (40, 3)).astype(float), rng.random((40, 3)) < 0.4
    expected = [roc_auc_score(truth[:, i], scores[:, i]) for i in range(3)]
    found = column_aurocs(scores, truth.astype(float), np.zeros(40, int))
    np.testing.assert_allclose(found, expected)
