"""Scores against their definitions, and for ensembles of which they are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l96kit.scores import crps, rank_histogram, rmse, spread

RNG = np.random.default_rng(0)


@st.composite
def ensembles(draw):
    members, sites, seed = draw(st.integers(2, 12)), draw(st.integers(1, 5)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    ensemble = rng.standard_normal((3, members, sites)).round(draw(st.sampled_from([0, 15])))  # with ties, and without
    return ensemble, rng.standard_normal((3, sites)).round(1)


@given(ensembles())
def test_crps_is_the_integral_of_its_definition(case):
    """Of (F(z) - [z >= y])^2, with F the steps of the ensemble: a sum over the intervals between members and truth."""
    ensemble, truth = case
    for x, y, found in zip(ensemble, truth, crps(ensemble, truth)):
        total = 0.0
        for column, at in zip(x.T, y):
            edges = np.sort(np.append(column, at))
            middles = (edges[1:] + edges[:-1]) / 2
            F = (column[:, None] <= middles).mean(axis=0)
            total += ((F - (at <= middles)) ** 2 * np.diff(edges)).sum()
        assert found == pytest.approx(total / len(y), abs=1e-12)


@given(ensembles())
def test_fair_crps_is_that_of_distinct_pairs(case):
    ensemble, truth = case
    N = ensemble.shape[1]
    pairs = np.abs(ensemble[:, :, None] - ensemble[:, None]).sum(axis=(1, 2)) / (2 * N * (N - 1))
    expected = (np.abs(ensemble - truth[:, None]).mean(axis=1) - pairs).mean(axis=-1)
    np.testing.assert_allclose(crps(ensemble, truth, fair=True), expected, atol=1e-12)


def test_crps_of_a_gaussian_has_its_closed_form():
    """E of sigma (2 phi(0) - 1 / sqrt(pi)) at the mean (Gneiting & Raftery 2007, eq. 20)."""
    ensemble = 3 * RNG.standard_normal((200_000, 1))
    expected = 3 * (2 / np.sqrt(2 * np.pi) - 1 / np.sqrt(np.pi))
    assert crps(ensemble, np.zeros(1)) == pytest.approx(expected, rel=0.01)


def test_crps_of_one_member_is_the_absolute_error():
    x, y = RNG.standard_normal((2, 4, 7))
    np.testing.assert_allclose(crps(x[:, None], y), np.abs(x - y).mean(axis=-1))


def test_the_spread_of_a_reliable_ensemble_is_its_error():
    members = 5
    draws = RNG.standard_normal((4000, members + 1, 10))
    error = rmse(draws[:, :members].mean(axis=1), draws[:, members])
    expected = np.sqrt((spread(draws[:, :members]) ** 2).mean() * (members + 1) / members)
    assert np.sqrt((error**2).mean()) == pytest.approx(expected, rel=0.02)


def test_the_histogram_of_a_reliable_ensemble_is_flat():
    draws = RNG.standard_normal((20_000, 5, 2))
    counts = rank_histogram(draws[:, :4], draws[:, 4], RNG)
    assert counts.sum() == 40_000 and len(counts) == 5
    np.testing.assert_allclose(counts, 8000, rtol=0.05)


def test_ties_are_broken_at_random():
    counts = rank_histogram(np.zeros((30_000, 2, 1)), np.zeros((30_000, 1)), RNG)
    np.testing.assert_allclose(counts, 10_000, rtol=0.05)


@given(ensembles())
def test_the_histogram_counts_the_members_below(case):
    ensemble, truth = case
    if np.isin(ensemble, truth[:, None]).any():
        return
    ranks = [(x < y).sum() for member, y_all in zip(ensemble, truth) for x, y in zip(member.T, y_all)]
    expected = np.bincount(ranks, minlength=ensemble.shape[1] + 1)
    np.testing.assert_array_equal(rank_histogram(ensemble, truth), expected)


REFUSED = {
    "nobody": (lambda: crps(np.zeros((0, 4)), np.zeros(4)), ValueError, r"ensemble: .* at least 1 .*, found \(0, 4\)"),
    "one member": (lambda: spread(np.zeros((1, 4))), ValueError, r"ensemble: .* at least 2 members, found \(1, 4\)"),
    "a state": (lambda: crps(np.zeros(4), np.zeros(4)), ValueError, r"ensemble: expected shape \(..., member, site\)"),
    "unfair": (lambda: crps(np.zeros((1, 4)), np.zeros(4), True), ValueError, "ensemble: .* at least 2 members"),
    "NaN": (lambda: spread(np.full((2, 4), np.nan)), ValueError, r"ensemble: expected finite numbers, found nan"),
    "shapes": (
        lambda: rank_histogram(np.zeros((3, 4)), np.zeros(5)),
        ValueError,
        r"truth: expected shape \(4,\), that of the ensemble without its members, found \(5,\)",
    ),
    "complex": (lambda: spread(np.zeros((3, 4), complex)), TypeError, "ensemble: expected real numbers, found complex"),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
