"""Slices that nobody named are found, and confirmed only where they are there."""

import itertools

import numpy as np
import pandas as pd
import pytest
from audit_tables import FEW
from unnamed_tables import rows, scored, table

from medaudit.audits import discovery
from medaudit.audits.error_gaps import ErrorKind, GapStatistic, error_kinds, permuted_rows
from medaudit.audits.properties import (
    DiscoveryParams,
    bin_words,
    condition_matrix,
    of_column,
    properties,
)
from medaudit.stats.bootstrap import Bootstrap

PARAMS = DiscoveryParams(clusters=4, components=4)


def sample(n, rng, *, role, bad=None, extra=0.5, prefix="s", embeddings=True):
    """Errors in a fifth of all rows, and in more of those that `bad` chooses."""
    frame = rows(n, rng, role=role, prefix=prefix, per_group=2)
    share = np.full(n, 0.2)
    if bad is not None:
        share[bad(frame)] += extra
    targets = np.repeat(rng.integers(0, 3, -(-n // 2)), 2)[:n]
    features = rng.normal(size=(n, 6)).astype(np.float32) if embeddings else None
    return scored(table(frame, targets, rng.random(n) < share, embeddings=features))


def found_in(seed, bad=None, *, n=300, embeddings=True):
    rng = np.random.default_rng(seed)
    source = sample(n, rng, role="calibration", bad=bad, prefix="c", embeddings=embeddings)
    test = sample(2 * n, rng, role="test", bad=bad, prefix="t", embeddings=embeddings)
    frozen = discovery.freeze(source, PARAMS)
    bootstrap = Bootstrap.of_groups(test.group_ids, FEW)
    return discovery.audit(test, frozen, PARAMS, bootstrap)


def young_in_vienna(frame):
    return ((frame["source"] == "vienna") & (frame["age"] < 55)).to_numpy()


def test_a_planted_rule_of_two_columns_is_found_and_confirmed():
    table = found_in(0, young_in_vienna).series["discovered"]
    confirmed = table[(table["verdict"] == "confirmed") & (table["error"] == "wrong call")]
    assert len(confirmed)
    best = confirmed.sort_values("gap").iloc[-1]
    assert "source = vienna" in best["slice"]
    assert best["gap_low"] > 0
    assert best["error_inside"] - best["error_expected"] == pytest.approx(best["gap"])
    assert best["found_on"] == "calibration"
    assert 1 <= len(best["sample_ids"].split()) <= 6
    assert all(name.startswith("t") for name in best["sample_ids"].split())


def test_chance_is_seldom_confirmed():
    """At most 0.05 of the worlds per kind of error; of 20 worlds with three kinds 3 on average."""
    confirmed = [found_in(seed).scalars["n_discovered_confirmed"] > 0 for seed in range(100, 120)]
    assert sum(confirmed) <= 7


def test_predictions_without_embeddings_have_rules_alone():
    found = found_in(0, young_in_vienna, embeddings=False)
    assert found.scalars["n_discovered_clusters"] is None
    assert set(found.series["discovered"]["kind"]) == {"rule"}


def test_a_cluster_of_embeddings_that_no_column_knows_is_found():
    rng = np.random.default_rng(3)

    def hidden(n, role, prefix):
        frame = rows(n, rng, role=role, prefix=prefix)
        ruler = rng.random(n) < 0.25
        features = rng.normal(size=(n, 6)) + 6 * ruler[:, None] * np.eye(6)[0]
        targets = rng.integers(0, 3, n)
        wrong = rng.random(n) < np.where(ruler, 0.6, 0.1)
        return scored(table(frame, targets, wrong, embeddings=features.astype(np.float32))), ruler

    (source, _), (test, ruler) = hidden(600, "calibration", "c"), hidden(600, "test", "t")
    params = DiscoveryParams(clusters=8, components=6)
    frozen = discovery.freeze(source, params)
    found = discovery.audit(test, frozen, params, Bootstrap.of_groups(test.group_ids, FEW))
    clusters = found.series["discovered"].query("kind == 'cluster' and error == 'wrong call'")
    assert (clusters["verdict"] == "confirmed").any()
    numbers = [
        each.cluster for each in frozen.slices if each.error == "wrong call" and not each.rule
    ]
    best = numbers[int(np.argmax(clusters["gap"]))]
    assert ruler[frozen.clusters.codes(test) == best].mean() > 0.9


def test_the_search_scores_every_rule_as_brute_force_does():
    rng = np.random.default_rng(1)
    frame = rows(200, rng, role="calibration")
    kind = ErrorKind("e", np.ones(200, bool), rng.random(200) < 0.3, np.zeros(200, int))
    params = DiscoveryParams(rules=1, shrinkage=0, alpha=0.9, bins=2, min_size=12)
    known = properties(frame, params)
    conditions = condition_matrix(known, frame)
    best, rule = -np.inf, None
    for size in (1, 2, 3):
        for each in itertools.combinations(range(len(conditions.owners)), size):
            if len(set(conditions.owners[list(each)])) < size:
                continue
            inside = conditions.holds[:, list(each)].all(axis=1)
            if inside.sum() < 12 or kind.wrong[inside].sum() < 3:
                continue
            # SliceLine's score as it is published.
            ratio = kind.wrong[inside].mean() / kind.wrong.mean()
            score = 0.9 * (ratio - 1) - 0.1 * (200 / inside.sum() - 1)
            if score > best + 1e-6:
                best, rule = score, each
    (found,) = discovery.search(conditions, kind, params)
    assert found.conditions == rule
    assert found.score == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("chunk", [1, 7])
def test_rules_are_the_same_however_many_are_scored_at_a_time(monkeypatch, chunk):
    """Errors in a few rows of three classes, so that most rules are given up early."""
    rng = np.random.default_rng(2)
    frame, strata = rows(300, rng, role="calibration"), rng.integers(0, 3, 300)
    wrong = rng.random(300) < 0.05 + 0.3 * ((frame["source"] == "graz") & (frame["age"] < 40))
    kind = ErrorKind("e", np.ones(300, bool), wrong.to_numpy(), strata)
    conditions = condition_matrix(properties(frame, PARAMS), frame)
    whole = discovery.search(conditions, kind, PARAMS)
    monkeypatch.setattr(discovery, "CHUNK", chunk)
    parts = discovery.search(conditions, kind, PARAMS)
    assert [each.conditions for each in parts] == [each.conditions for each in whole]
    assert [each.score for each in parts] == [each.score for each in whole]
    assert max(len(each.conditions) for each in whole) > 1


def test_a_gap_is_free_of_the_mix_of_classes():
    """Class 1 is wrong in half of all rows, class 0 never; the part holds more of class 1."""
    strata = np.array([1] * 8 + [0] * 2 + [1] * 2 + [0] * 8)
    wrong = np.array([1, 0] * 4 + [0] * 2 + [1, 0] + [0] * 8, bool)
    inside = np.arange(20) < 10
    kind = ErrorKind("e", np.ones(20, bool), wrong, strata)
    assert wrong[inside].mean() - wrong[~inside].mean() == pytest.approx(0.3)
    assert GapStatistic(kind, inside)(np.ones((1, 20))) == pytest.approx(0)


def test_a_gap_of_one_class_is_inside_minus_rest():
    wrong = np.array([1, 1, 0, 0, 0, 0, 0, 1], bool)
    inside = np.arange(8) < 3
    kind = ErrorKind("e", np.ones(8, bool), wrong, np.zeros(8, int))
    statistic = GapStatistic(kind, inside)
    assert statistic(np.ones((1, 8))) == pytest.approx(2 / 3 - 1 / 5)
    assert statistic.under(inside[None]) == pytest.approx(2 / 3 - 1 / 5)


def test_a_class_that_lies_inside_alone_is_left_out():
    kind = ErrorKind("e", np.ones(4, bool), np.array([1, 0, 1, 0], bool), np.array([5, 5, 0, 0]))
    assert np.isnan(GapStatistic(kind, np.array([1, 1, 0, 0], bool))(np.ones((1, 4)))).all()


def test_permutations_keep_groups_and_classes_together():
    groups = np.array(["a", "a", "b", "b", "c", "d", "e", "e"])
    strata = np.array([0, 1, 1, 0, 0, 0, 1, 1])
    orders = np.concatenate(list(permuted_rows(groups, strata, replicates=50, seed=0)))
    assert (strata[orders] == strata).all()
    for order in orders:
        moved = groups[order]
        assert moved[0] == moved[1]
        assert moved[2] == moved[3]
        assert (order[6:] == [6, 7]).all()  # no other group has its classes
    assert len(np.unique(orders, axis=0)) == 4


def test_errors_of_the_critical_class_and_without_one_of_every_class():
    rng = np.random.default_rng(0)
    known = sample(60, rng, role="test")
    assert [kind.name for kind in error_kinds(known)] == [
        "wrong call",
        "missed mel",
        "false alarm of mel",
    ]


def test_bins_are_said_in_words():
    column = pd.Series(np.arange(1.0, 101.0), name="contrast")
    found = of_column(column, DiscoveryParams(bins=4))
    assert found.words(0) == "contrast at most 25 (lowest quarter)"
    assert found.words(1) == "contrast 25 to 50 (second quarter)"
    assert found.words(3) == "contrast above 75 (highest quarter)"
    assert np.bincount(found.codes(pd.DataFrame({"contrast": column}))).tolist() == [25] * 4
    assert bin_words(np.array([1.0]), 4) == ["at most 1", "above 1"]


def test_a_bin_that_ties_make_large_is_called_no_quarter():
    column = pd.Series([0.0] * 40 + list(np.arange(1.0, 61.0)), name="hair")
    found = of_column(column, DiscoveryParams(bins=4))
    assert found.words(0) == "hair at most 0"


def test_missing_numbers_are_a_value_and_constants_and_ids_no_property():
    frame = pd.DataFrame(
        {
            "sample_id": ["a", "b", "c", "d", "e", "f"],
            "age": [1.0, 2, 3, 4, 5, np.nan],
            "same": "x",
            "free_text": list("uvwxyz"),
        }
    )
    (found,) = properties(frame, DiscoveryParams(bins=2, max_values=3))
    assert found.column == "age"
    assert found.codes(frame).tolist() == [0, 0, 0, 1, 1, 2]
    assert found.words(2) == "age = missing"
    assert found.codes(frame.assign(age=np.nan)).tolist() == [2] * 6
