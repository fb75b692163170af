"""Sums of very many numbers in single precision: over members, times and samples as good as those of NumPy in double.

A running sum in single precision is not: that of 1e5 times 1e-5 ends at 1.001.
"""

import numpy as np
import pytest
from numba import njit

from l96kit import _arrays, filters, scores
from l96kit.baselines import Baseline
from l96kit.kernels import ensemble, matrices, particles, scoring
from l96kit.observation_operators import every_site
from l96kit.observations import Observations

MANY, SITES, WIDTH = 100_000, 3, 16
RNG = np.random.default_rng(0)


def rows(x, width=WIDTH):
    """(row, number) as `kernels.matrices` has it."""
    found = np.zeros((-(-len(x) // 4) * 4, width), np.float32)
    found[: len(x), : x.shape[1]] = x
    return found.ravel()


def one_row(x):
    return rows(x[None], -(-len(x) // WIDTH) * WIDTH)[: -(-len(x) // WIDTH) * WIDTH]


@njit
def add_up(x):
    return matrices.total_of(x), matrices.square_of(x)


@njit
def split(x, mean, A, total):
    ensemble.split(x, mean, A, total)


@njit
def draw(A, weights, number, B, members):
    particles.draw(A, weights, number, B, members)


@njit
def likelihoods(Y, d, weights, shape):
    particles.likelihoods(Y, d, weights, shape)


@njit
def root_of_covariance(A, weights, middle, rooms, members, sites):
    particles.root_of_covariance(A, weights, middle, rooms, members, sites)


@njit
def score(x, mean, A, truth, found, ranks, total):
    scoring.score(x, mean, A, truth, (np.uint64(0), 0, 0), found, ranks, total)


ROWS = {
    "equal": np.full(MANY, 1e-5, np.float32),
    "positive": RNG.random(MANY).astype(np.float32),
    "far from zero": (300 + RNG.standard_normal(MANY)).astype(np.float32),
}


@pytest.mark.parametrize("x", ROWS.values(), ids=ROWS)
def test_sums_of_a_row(x):
    total, square = add_up(one_row(x))
    assert total == pytest.approx(x.sum(dtype=float), rel=3e-6)
    assert square == pytest.approx((x.astype(float) ** 2).sum(), rel=3e-6)


@pytest.mark.parametrize("x", ROWS.values(), ids=ROWS)
def test_means_of_an_ensemble(x):
    x = np.repeat(x[:, None], SITES, axis=1)
    mean, total, A = np.zeros(WIDTH, np.float32), np.zeros(WIDTH, np.float32), rows(0 * x)
    split(x, mean, A, total)
    np.testing.assert_allclose(mean[:SITES], x.mean(axis=0, dtype=float), rtol=3e-6)
    expected = x - x.mean(axis=0, dtype=float)
    np.testing.assert_allclose(A.reshape(-1, WIDTH)[:MANY, :SITES], expected, rtol=0, atol=3e-6 * np.abs(x).max())


WEIGHTS = {
    "equal": np.ones(MANY),
    "of two kinds": np.where(np.arange(MANY) % 7, 1.0, 0.01),
    "of any size": RNG.random(MANY) ** 4,
    "one": np.where(np.arange(MANY) == 123, 1.0, 0.0),
}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_draws_of_particles(weights):
    """A_i holds i, so B tells which were drawn: as many of each as its weight says, the last ones too."""
    weights = (weights / weights.sum()).astype(np.float32)
    A, B = rows(np.arange(MANY)[:, None]), rows(np.zeros((MANY, 1)))
    draw(A, one_row(weights), np.float32(0.3), B, MANY)
    found = B.reshape(-1, WIDTH)[:MANY, 0].astype(int)
    begin = 0.6179114221889526  # the normal distribution up to 0.3
    places = (begin + np.arange(MANY)) / MANY * weights.sum(dtype=float)
    expected = np.searchsorted(np.cumsum(weights, dtype=float), places)
    assert np.abs(found - expected).max() <= 1 and (found != expected).mean() < 1e-3  # 0.3 is rounded
    if weights.min() > 0:
        assert found[-1] >= MANY - 2
    counts = np.bincount(found, minlength=MANY)
    assert np.abs(counts - weights.astype(float) * MANY).max() < 1.01


@pytest.mark.parametrize("members", [3, 7, 49])
def test_the_last_particle_is_drawn_last_though_rounding_may_ask_for_more_than_all(members):
    """The random number is so far out that u is one in double precision; N (sum / N) exceeds the sum now and then."""
    rng = np.random.default_rng(0)
    A, B = rows(np.arange(1.0, members + 1)[:, None]), rows(np.zeros((members, 1)))
    for weights in rng.random((100, members)):
        draw(A, weights, 40.0, B, members)
        np.testing.assert_array_equal(B.reshape(-1, WIDTH)[members - 1], A.reshape(-1, WIDTH)[members - 1])


def test_likelihoods_of_particles():
    Y, d = RNG.standard_normal((2, MANY)).astype(np.float32), np.array([0.5, -1.0], np.float32)
    weights = one_row(np.zeros(MANY))
    likelihoods(rows(Y, MANY), d, weights, (MANY, 2, MANY))
    expected = np.exp(-0.5 * ((d[:, None] - Y).astype(float) ** 2).sum(axis=0))
    np.testing.assert_allclose(weights[:MANY], expected / expected.sum(), rtol=1e-5)
    assert weights.sum(dtype=float) == pytest.approx(1.0, abs=3e-7)


def test_covariances_of_particles():
    x = (RNG.standard_normal((MANY, SITES)) @ RNG.standard_normal((SITES, SITES))).astype(np.float32)
    x[1:] = x[1]  # all but one are the same, and so is what is added up
    weights = one_row(np.full(MANY, 1 / MANY))
    C, part = np.zeros((2, 4 * WIDTH), np.float32)
    root_of_covariance(rows(x), weights, np.zeros(WIDTH, np.float32), (C, part), MANY, SITES)
    root = C.reshape(4, WIDTH)[:SITES, :SITES]
    expected = x[1:2].T.astype(float) @ x[1:2]
    np.testing.assert_allclose(root.T @ root, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("members", [3, 50])
def test_covariances_of_particles_in_units_of_all_sizes(members):
    """Where the members are all the same, they stay so; three members have a covariance that is not definite."""
    units = 10.0 ** np.array([-15, -8, -4, 0, 4, 8, 15, 0])
    x = RNG.standard_normal((members, 8)) @ (np.eye(8) + 0.3)
    x, weights = x - x.mean(axis=0), np.full(members, 1 / members)
    x[:, -1] = 0
    C, part = np.zeros((2, 8 * WIDTH), np.float32)
    root_of_covariance(rows(x * units), one_row(weights), np.zeros(WIDTH, np.float32), (C, part), members, 8)
    root = C.reshape(8, WIDTH)[:, :8].astype(float) / units
    np.testing.assert_allclose(root.T @ root, x.T @ x / members, rtol=0, atol=1e-3 * np.abs(x.T @ x / members).max())
    assert root[-1, -1] < 1e-18


@pytest.mark.parametrize(("members", "ranked"), [(800, True), (MANY, False)])
def test_scores_of_an_ensemble(members, ranked):
    x = np.where(np.arange(members) % 2, 0.1, 0.0).astype(np.float32)[:, None].repeat(SITES, axis=1)
    truth, mean = x[0] + np.float32(0.25), one_row(x.mean(axis=0, dtype=float))
    A = rows(x - x.mean(axis=0, dtype=float))
    found, ranks = np.zeros(3, np.float32), np.zeros((members + 1) * ranked, np.int64)
    score(x, mean, A, truth, found, ranks, np.zeros(WIDTH, np.float32))
    x, truth = x.astype(float), truth.astype(float)
    expected = scores.rmse(x.mean(axis=0), truth), scores.spread(x), scores.crps(x, truth) if ranked else 0.0
    np.testing.assert_allclose(found, expected, rtol=3e-6)
    assert ranks.tolist() == (scores.rank_histogram(x, truth).tolist() if ranked else [])


# --- the same in NumPy, where sums along any axis but the last are running sums ---------------------------------------


def test_scores_in_numpy():
    ensemble = np.tile((300 + RNG.random(MANY)).astype(np.float32)[:, None], (1, 2))
    truth = ensemble[0] + np.float32(0.25)
    for score in (scores.spread, lambda x: scores.crps(x, truth.astype(x.dtype))):
        assert score(ensemble) == pytest.approx(score(ensemble.astype(float)), rel=3e-6)
        assert score(ensemble).dtype == np.float32


def test_averages_over_time():
    numbers = np.tile(ROWS["positive"][:, None], (1, 2))
    found = Baseline(numbers, numbers, numbers, numbers).averages(burn_in=10)["analysis_rmse"]
    np.testing.assert_allclose(found, numbers[10:].mean(axis=0, dtype=float), rtol=3e-7)
    names = filters.Assimilation.__dataclass_fields__
    innovations = filters.Assimilation(**dict.fromkeys(names, numbers)).averages()["innovation"]
    np.testing.assert_allclose(innovations, numbers.mean(axis=0, dtype=float), rtol=3e-7)
    assert found.dtype == np.float32


def test_costs_over_time_and_gradients_over_members():
    y = np.tile(ROWS["far from zero"][:, None, None], (1, 2, 1)) - np.float32(300)
    observations = Observations(every_site(1), np.zeros_like(y), 0.5)
    J, _ = observations.misfit(y)
    np.testing.assert_allclose(J, 2 * (y.astype(float) ** 2).sum(axis=(0, -1)), rtol=3e-7)
    gradient = _arrays.unbroadcast(y[..., 0].reshape(-1, 2), (MANY, 2), (2,))
    np.testing.assert_allclose(gradient, y[..., 0].sum(axis=0, dtype=float), rtol=3e-7)
    assert J.dtype == gradient.dtype == np.float32
