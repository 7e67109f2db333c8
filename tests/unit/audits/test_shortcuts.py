"""A property that goes with a class in training and with its errors raises an alarm."""

import numpy as np
import pytest
from audit_tables import FEW, at
from unnamed_tables import rows, scored, table

from medaudit.audits import shortcuts
from medaudit.audits.properties import DiscoveryParams
from medaudit.metrics.ranking import auroc, weighted_auroc
from medaudit.stats.bootstrap import Bootstrap

PARAMS = DiscoveryParams(source="source", components=4)


def sample(n, rng, *, role, follows, features=True):
    """A ruler on most of class 1 except in graz; errors follow it or fall by chance."""
    frame = rows(n, rng, role=role, prefix=role)
    targets = rng.choice(3, n, p=[0.3, 0.4, 0.3])
    often = (targets == 1) & (frame["source"] != "graz").to_numpy()
    ruler = rng.random(n) < np.where(often, 0.9, 0.1)
    frame["ruler"] = np.where(ruler, "yes", "no")
    missed = (targets == 1) & ~ruler
    share = np.where(missed, 0.7, 0.1) if follows else np.full(n, 0.25)
    wrong = rng.random(n) < share
    seen = rng.normal(size=(n, 6)) + 3 * ruler[:, None] * np.eye(6)[0]
    embeddings = seen.astype(np.float32) if features else None
    return scored(table(frame, targets, wrong, embeddings=embeddings))


def found_in(*, follows, features=True, seed=0):
    rng = np.random.default_rng(seed)
    train = sample(500, rng, role="train", follows=follows)
    test = sample(500, rng, role="test", follows=follows, features=features)
    frozen = shortcuts.freeze(train, PARAMS, intervals=FEW)
    bootstrap = Bootstrap.of_groups(test.group_ids, FEW)
    return shortcuts.audit(test, frozen, PARAMS, bootstrap)


@pytest.fixture(scope="module")
def followed():
    return found_in(follows=True)


def test_a_ruler_that_errors_follow_is_an_alarm(followed):
    row = at(followed.series["shortcuts"], property="ruler", **{"class": "mel"})
    assert row["verdict"] == "alarm"
    assert row["speaks_for"] == "yes"
    assert row["missed_gap"] > 0.3
    assert row["missed_gap_low"] > 0
    assert row["missed_inside"] - row["missed_expected"] == pytest.approx(row["missed_gap"])
    assert followed.scalars["first_shortcut_alarm"] == "ruler for mel"


def test_the_association_breaks_where_no_ruler_was_planted(followed):
    row = at(followed.series["shortcuts"], property="ruler", **{"class": "mel"})
    assert (row["weakest_source"], row["breaks"]) == ("graz", "yes")
    assert row["weakest_association_low"] < 0.5 < row["association_low"]


def test_embeddings_tell_what_they_hold(followed):
    row = at(followed.series["shortcuts"], property="ruler", **{"class": "mel"})
    assert row["decodable"] > 0.9 > row["decodable_chance_high"]


def test_an_association_alone_is_no_alarm():
    row = at(found_in(follows=False).series["shortcuts"], property="ruler", **{"class": "mel"})
    assert row["verdict"] == "associated"


def test_properties_of_chance_are_not_associated(followed):
    table = followed.series["shortcuts"]
    chance = table[table["property"].isin(["sex", "age", "brightness"])]
    assert (chance["verdict"] == "no association shown").mean() >= 8 / 9
    assert (chance["association"] < 0.6).all()


def test_the_critical_class_comes_first(followed):
    assert followed.series["shortcuts"]["class"].iloc[0] == "mel"


def test_without_embeddings_nothing_is_said_of_them():
    table = found_in(follows=True, features=False).series["shortcuts"]
    assert table["decodable"].isna().all()
    assert (table["verdict"] == "alarm").any()


def test_areas_by_cell_are_those_of_the_rows():
    rng = np.random.default_rng(4)
    cells, truth = rng.integers(0, 7, 80), rng.random((80, 2)) < 0.4
    scores = np.array([0.1, 0.3, 0.3, 0.2, 0.9, 0.5, 0.1])
    weights = rng.integers(0, 3, (20, 80))
    counts = shortcuts.CellCounts(cells, truth, 7)
    for k in range(2):
        expected = weighted_auroc(scores[cells], truth[:, k], weights)
        np.testing.assert_allclose(counts.auroc(k, scores, weights), expected)


def test_cross_fitted_rates_do_not_see_their_own_row():
    """A property with a value for every row tells nothing; its own rates would tell all."""
    rng = np.random.default_rng(0)
    truth, codes = rng.random(90) < 0.5, np.arange(90) // 3
    folds = np.arange(90) // 3 % 5
    rates = shortcuts.cross_fitted_rates(codes, truth, folds, n_codes=30, params=PARAMS)
    own = shortcuts.value_rates(codes, truth, n_codes=30)
    assert auroc(own[codes], truth) > 0.7
    assert auroc(rates[folds * 30 + codes], truth) <= 0.55
