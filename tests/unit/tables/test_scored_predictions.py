"""One reading of a prediction table: members, views, and new confidence scores of their own row."""

import numpy as np
import pandas as pd
import pytest

from medaudit.core.errors import DataError
from medaudit.tables import confidence, tasks
from medaudit.tables.operating_points import OperatingPoints
from medaudit.tables.predictions import Condition, PredictionTable, Schema
from medaudit.tables.scoring import Conditions, ScoredPredictions

CLASSES = ("a", "b", "c")
POINTS = OperatingPoints(CLASSES, (0.5, 0.5, 0.5), 0.95, (9, 9, 9))
# Of two members: the first sample divides them, the second does not; the means are equal.
MEMBERS = np.array([[[0.9, 0.1, 0.0], [0.5, 0.5, 0.0]], [[0.1, 0.9, 0.0], [0.5, 0.5, 0.0]]])


def scored(probabilities, targets, *, task="multiclass", condition=None, ids=None):
    """Predictions of members with these probabilities (members, n, k)."""
    n = np.shape(probabilities)[1]
    ids = ids or [f"s{i}" for i in range(n)]
    table = PredictionTable(
        schema=Schema(task, CLASSES),
        rows=pd.DataFrame({"sample_id": ids, "group_id": ids, "role": "test"}),
        targets=np.array(targets),
        logits=np.stack([tasks.get(task).logits(each) for each in np.asarray(probabilities)]),
        condition=condition or Condition.clean(),
    )
    return ScoredPredictions(table, POINTS)


def disagreement(predicted: confidence.PredictiveDistributions) -> np.ndarray:
    """Minus the variance of the probabilities over members, the mean over outcomes, (n,)."""
    return -predicted.members.var(axis=0).mean(axis=(1, 2))


def mutual_information(predicted: confidence.PredictiveDistributions) -> np.ndarray:
    """Mean entropy of the members minus the entropy of their mean, in nats, (n,), at most 0."""
    from scipy.special import entr

    return (entr(predicted.members).sum(axis=3).mean(axis=0) - entr(predicted.mean).sum(axis=2))[
        :, 0
    ]


@pytest.mark.parametrize("score", [disagreement, mutual_information])
def test_a_score_of_members_is_one_function_and_one_row(monkeypatch, score):
    """The mean of the members cannot tell these samples apart, their spread can."""
    monkeypatch.setitem(confidence.CONFIDENCE_SCORES, "new", score)
    found = scored(MEMBERS, [0, 0])
    first, second = found.confidence_score("new")
    assert first < second == pytest.approx(0, abs=1e-12)
    assert len(set(found.confidence_score("max_probability").round(9))) == 1


def test_disagreement_by_hand():
    # Variances of (0.9, 0.1), (0.1, 0.9), (0, 0) are 0.16, 0.16, 0.
    assert disagreement(scored(MEMBERS, [0, 0]).predictive_distributions) == pytest.approx(
        [-0.32 / 3, 0], abs=1e-9
    )


@pytest.mark.parametrize(("task", "shape"), [("multiclass", (1, 3)), ("multilabel", (3, 2))])
def test_members_are_distributions_whose_mean_is_the_prediction(task, shape):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 5))
    targets = np.zeros(5, int) if task == "multiclass" else np.zeros((5, 3), int)
    found = scored(probabilities, targets, task=task)
    predicted = found.predictive_distributions
    assert predicted.members.shape == (4, 5, *shape)
    assert predicted.mean.shape == (5, *shape)
    np.testing.assert_allclose(predicted.members.sum(axis=-1), 1)
    np.testing.assert_allclose(predicted.members.mean(axis=0), predicted.mean)
    np.testing.assert_allclose(found.member_probabilities, probabilities, rtol=1e-6)
    np.testing.assert_allclose(found.probabilities, probabilities.mean(axis=0), rtol=1e-6)


def test_every_known_score_ranks_a_sure_answer_above_an_unsure_one():
    found = scored([[[0.98, 0.01, 0.01], [0.4, 0.3, 0.3]]], [0, 0])
    for name in confidence.CONFIDENCE_SCORES:
        sure, unsure = found.confidence_score(name)
        assert sure > unsure, name


def test_without_thresholds_the_most_probable_class_is_still_predicted():
    bare = ScoredPredictions(scored(MEMBERS, [0, 1]).table)
    assert bare.decisions.argmax(axis=1).tolist() == [0, 0]
    with pytest.raises(ValueError, match="scored without operating points"):
        _ = bare.above_threshold


def test_conditions_are_brought_into_the_order_of_the_clean_rows():
    clean = scored([[[0.9, 0.1, 0], [0.2, 0.8, 0]]], [0, 1], ids=["x", "y"])
    blur = Condition("blur", 1)
    other = scored([[[0.3, 0.7, 0], [0.6, 0.4, 0]]], [1, 0], ids=["y", "x"], condition=blur)
    found = Conditions.aligned(clean, [other.table])
    assert [each.condition.name for each in found] == ["clean", "blur-1"]
    assert found.under(blur).sample_ids.tolist() == ["x", "y"]
    assert found.under(blur).probabilities[:, 0] == pytest.approx([0.6, 0.3], abs=1e-6)
    assert found.under(blur).points is clean.points


def test_conditions_of_other_samples_are_refused():
    clean = scored([[[0.9, 0.1, 0]]], [0], ids=["x"])
    other = scored([[[0.9, 0.1, 0]]], [0], ids=["z"], condition=Condition("blur", 1))
    with pytest.raises(DataError, match="hold different samples: x, z"):
        Conditions.aligned(clean, [other.table])
