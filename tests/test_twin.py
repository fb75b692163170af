"""Twin experiments: what is observed, where the truth and the forecasts come from, and what does not fit."""

import numpy as np
import pytest

from l96kit import FourDVar, Lorenz96, Propagator
from l96kit.observation_operators import every_site
from l96kit.observations import Observations, observe
from l96kit.twin import cycled_fourdvar, spun_up

SITES = 12
PROPAGATOR = Propagator(Lorenz96(SITES, 8.0), dt=0.0125)
METHOD = FourDVar(PROPAGATOR)
TRUTH = np.zeros((50, 2, SITES))
START = np.ones((1, SITES))
RNG = np.random.default_rng(0)


def test_observed_sites_differ_and_are_drawn_anew():
    rng = np.random.default_rng(7)
    observations = observe(np.zeros((50, 2, SITES)), 4, 1.0, rng)
    assert all(len(set(sites)) == 4 for sites in observations.sites.reshape(-1, 4))
    assert len({tuple(sites) for sites in observations.sites.reshape(-1, 4)}) > 40


def test_the_analysis_is_better_than_the_observations_allow_alone():
    rng = np.random.default_rng(8)
    start = spun_up(PROPAGATOR, 2, 10, rng)
    result = cycled_fourdvar(FourDVar(PROPAGATOR), start, 40, 6, number=4, rng=rng, leads=(0, 8))
    assert result.analysis_rmse[3:].mean() < 0.9
    assert result.forecast_rmse.shape == (2, 6, 2)
    assert np.isfinite(result.observed).sum(axis=(1, 3)).tolist() == [[160, 160]] * 6
    np.testing.assert_array_equal(result.truth[1], PROPAGATOR.trajectory(start, 40)[40])


def test_rotating_observations_see_every_site_once_in_a_turn():
    observations = observe(np.zeros((8, 2, SITES)), 4, 1.0, np.random.default_rng(7), rotating=True)
    turns = [
        observations.sites[start : start + 3, window].reshape(-1).tolist() for start in (0, 3) for window in (0, 1)
    ]
    assert all(sorted(turn) == list(range(SITES)) for turn in turns)
    assert len({tuple(turn) for turn in turns}) == 4
    assert observations.sites.shape == (8, 2, 4)


def test_the_truth_is_the_simulators_and_the_forecast_the_methods():
    rng = np.random.default_rng(3)
    simulator = Propagator(Lorenz96(SITES, 9.0), dt=0.0125)
    start = spun_up(simulator, 2, 10, rng)
    found = cycled_fourdvar(METHOD, start, 12, 3, number=4, rng=rng, leads=(0, 5), simulator=simulator, rotating=True)
    truth = simulator.trajectory(found.truth[0], 17)
    forecast = PROPAGATOR.trajectory(found.analysis[0], 17)
    np.testing.assert_array_equal(found.truth[1], truth[12])
    np.testing.assert_array_equal(found.background[1], forecast[12])
    expected = np.sqrt(((forecast - truth) ** 2).mean(axis=-1))[[12, 17]]
    np.testing.assert_allclose(found.forecast_rmse[:, 0], expected, rtol=1e-12)
    assert np.isfinite(found.observed[0, :3]).sum(axis=0).tolist() == [[1] * SITES] * 2  # each site once


def test_the_shortest_window_has_two_times():
    found = cycled_fourdvar(METHOD, np.ones((1, SITES)), 2, 1, number=4, rng=np.random.default_rng(3))
    assert found.observed.shape == (1, 2, 1, SITES) and np.isfinite(found.analysis).all()


BAD = {
    "integers": (lambda: observe(TRUTH.astype(int), 4, 1.0, RNG), TypeError, "truth: expected float32 or float64"),
    "one state": (lambda: observe(TRUTH[0, 0], 4, 1.0, RNG), ValueError, r"truth: expected shape \(time, ..., site\)"),
    "masked": (lambda: observe(np.ma.masked_less(TRUTH, 1), 4, 1.0, RNG), ValueError, "truth: expected a number every"),
    "masked values": (
        lambda: Observations(every_site(12), np.ma.masked_less(TRUTH, 1)),
        ValueError,
        r"values: expected NaN where nothing was observed, found masked ones; take values\.filled\(np\.nan\)",
    ),
    "masked whole numbers": (
        lambda: Observations(every_site(12), np.ma.masked_less(TRUTH.astype(int), 1)),
        ValueError,
        r"found masked ones; take values\.astype\(float\)\.filled\(np\.nan\)",
    ),
    "too many": (lambda: observe(TRUTH, 13, 1.0, RNG), ValueError, "number: expected at most the 12 sites .* found 13"),
    "no divisor": (lambda: observe(TRUTH, 5, 1.0, RNG, True), ValueError, "number: expected a divisor of 12 sites"),
    "sigma": (lambda: observe(TRUTH, 5, "a", RNG), TypeError, "sigma: expected a number, found 'a'"),
    "leads": (lambda: cycled_fourdvar(METHOD, START, 4, 1, leads=(2, 0)), ValueError, "leads: expected whole numbers"),
    "a lead before": (
        lambda: cycled_fourdvar(METHOD, START, 4, 1, leads=(-1, 2)),
        ValueError,
        "leads: expected whole numbers",
    ),
    "no leads": (lambda: cycled_fourdvar(METHOD, START, 4, 1, leads=()), ValueError, "leads: expected whole numbers"),
    "simulator": (
        lambda: cycled_fourdvar(METHOD, START, 4, 1, simulator=PROPAGATOR.model),
        TypeError,
        "simulator: expected l96kit.Propagator, found Lorenz96",
    ),
    "another step": (
        lambda: cycled_fourdvar(METHOD, START, 4, 1, simulator=Propagator(PROPAGATOR.model, 0.05)),
        ValueError,
        "simulator: expected dt = 0.0125 and 12 sites like the method's, found 0.05 and 12",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_does_not_fit_is_refused(kind):
    call, error, message = BAD[kind]
    with pytest.raises(error, match=message):
        call()


def test_a_time_is_a_whole_number_of_steps_though_its_quotient_is_none():
    propagator = Propagator(Lorenz96(9, 8.0), 0.1)
    assert 0.3 / propagator.dt < 3
    start = np.random.default_rng(0).standard_normal((2, 9))
    found = spun_up(propagator, 2, 0.3, np.random.default_rng(0))
    np.testing.assert_array_equal(found, propagator.forecast(start, 3))
