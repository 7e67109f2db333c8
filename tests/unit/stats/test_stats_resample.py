import numpy as np

from medaudit.stats.weighting import cluster_resamples

GROUPS = ["b", "a", "b", "c", "a", "b"]


def test_rows_of_a_group_enter_together() -> None:
    weights = cluster_resamples(GROUPS, replicates=200, seed=0).weights
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 0], weights[:, 5])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])


def test_as_many_groups_are_drawn_as_there_are() -> None:
    resamples = cluster_resamples(GROUPS, replicates=200, seed=0)
    assert (resamples.weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert (resamples.replicates, resamples.n, resamples.n_groups) == (200, 6, 3)
    assert resamples.weights.dtype == np.uint16


def test_unique_ids_make_the_ordinary_bootstrap() -> None:
    # Each count is Binomial(400, 1/400): mean 1, variance 399/400.
    weights = cluster_resamples(np.arange(400), replicates=1000, seed=1).weights
    assert (weights.sum(axis=1) == 400).all()
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.15)
    np.testing.assert_allclose(weights.var(), 399 / 400, atol=0.01)


def test_equal_seeds_give_equal_counts_whatever_the_order_of_rows() -> None:
    first = cluster_resamples(GROUPS, replicates=50, seed=3).weights
    order = [5, 3, 1, 0, 2, 4]
    shuffled = cluster_resamples([GROUPS[i] for i in order], replicates=50, seed=3).weights
    np.testing.assert_array_equal(first[:, order], shuffled)
    assert (first != cluster_resamples(GROUPS, replicates=50, seed=4).weights).any()


def test_more_draws_than_are_held_at_once() -> None:
    weights = cluster_resamples(np.arange(3000), replicates=800, seed=2).weights
    assert (weights.sum(axis=1) == 3000).all()
    assert len({row.tobytes() for row in weights}) == 800


def test_a_subset_sees_the_same_draws() -> None:
    resamples = cluster_resamples(GROUPS, replicates=20, seed=0)
    mask = np.array([True, False, True, True, False, False])
    part = resamples.subset(mask)
    np.testing.assert_array_equal(part.weights, resamples.weights[:, mask])
    assert (part.n, part.n_groups) == (3, 2)


def test_one_group_never_varies_and_no_rows_are_no_error() -> None:
    assert (cluster_resamples(["x", "x"], replicates=5, seed=0).weights == 1).all()
    empty = cluster_resamples([], replicates=5, seed=0)
    assert (empty.weights.shape, empty.n_groups) == ((5, 0), 0)
