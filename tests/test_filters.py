"""Filters against their definitions, against the Kalman filter, and against one another."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from l96kit import (
    Emulator,
    KuramotoSivashinsky,
    Lorenz63,
    Lorenz96,
    Propagator,
    StencilModel,
    VissioLucarini20,
    filters,
    scores,
)
from l96kit._random import child
from l96kit.baselines import CycledFourDVar, OptimalInterpolation, ThreeDVar
from l96kit.ensemble_variational import FourDEnVar
from l96kit.filters import ESRF, ETKF, LETKF, EnKF, EnKFN, IEnKS, ParticleFilter
from l96kit.localization import Localization, ring_distance
from l96kit.networks import sq_net, sq_net_of_lorenz96
from l96kit.observation_operators import (
    ObservationOperator,
    Pointwise,
    at_sites,
    every_site,
    interpolation,
    linear,
    rotating,
)
from l96kit.observations import Observations, observe
from l96kit.reference import ensemble as reference

SITES = 12
PROPAGATOR = Propagator(Lorenz96(SITES, 8.0), 0.01, "euler")
EXPERIMENTS, CYCLES, EVERY = 2, 4, 3


def setting(members, operator, rng, sigma=0.7, cov=None, dtype=np.float64):
    """Truth (time, experiment, site) at the observation times, observations of it, and ensembles to start from."""
    start = PROPAGATOR.forecast(rng.standard_normal((EXPERIMENTS, SITES)), 2000)
    truth = PROPAGATOR.trajectory(start, CYCLES * EVERY, EVERY)[1:].astype(dtype)
    observations = observe(truth, operator, sigma, rng, cov=cov)
    return truth, observations, (start[:, None] + rng.standard_normal((EXPERIMENTS, members, SITES))).astype(dtype)


def reference_analysis(method, E, Y, y, R, normals, operator, t):
    n = len(y)
    if isinstance(method, EnKF):
        return reference.stochastic(E, Y, y, R, normals.reshape(n, -1).T)
    if isinstance(method, ParticleFilter):
        return reference.resampled(E, Y, y, R, normals, method.jitter)
    if isinstance(method, ESRF):
        return reference.serial(E, Y, y, R)
    if isinstance(method, EnKFN):
        return reference.finite_size(E, Y, y, R, method.strength)
    if isinstance(method, LETKF):
        places = operator.places(SITES)[t % operator.period]
        distances = ring_distance(np.arange(SITES)[:, None], places, SITES)
        return reference.letkf(E, Y, y, R, method.localization.coefficients(distances))
    return reference.etkf(E, Y, y, R)


def rotated(method, E, numbers):
    if not method.rotation:
        return reference.inflated(E, method.inflation)
    rows = np.split(numbers, np.cumsum(np.arange(1, len(E) - 1)))
    turned = E.mean(axis=0) + reference.rotation(rows) @ reference.anomalies(E)
    return reference.inflated(turned, method.inflation)


def run_reference(method, observations, R, ensemble, rng):
    """(time, experiment) of forecast and analysis ensembles; random numbers are drawn as the method does."""
    operator, members = observations.operator, method.members
    found = []
    for e in range(EXPERIMENTS):
        E = ensemble[e].astype(float)
        drawing, turning, _ = (child(rng) for _ in range(3))
        normals = drawing.standard_normal((CYCLES, method._normals(observations)))
        turns = turning.standard_normal((CYCLES, members * (members - 1) // 2))
        for t in range(CYCLES):
            forecast = PROPAGATOR.forecast(E, EVERY)
            Y = operator.observe(forecast, t)
            E = reference_analysis(method, forecast, Y, observations.values[t, e], R, normals[t], operator, t)
            E = rotated(method, E, turns[t])
            found.append((forecast, E))
    return [[found[e * CYCLES + t] for e in range(EXPERIMENTS)] for t in range(CYCLES)]


METHODS = {
    "EnKF": EnKF(9, 1.05),
    "ETKF": ETKF(7, 1.02, rotation=True),
    "ETKF, two members": ETKF(2, 1.1),
    "ETKF, more members than numbers": ETKF(30),
    "ESRF": ESRF(8, 1.02),
    "EnKF-N": EnKFN(9, rotation=True, strength=1.5),
    "LETKF": LETKF(7, 1.02, localization=Localization(2.0)),
    "particles": ParticleFilter(40, jitter=0.7),
    "particles, copies": ParticleFilter(11, jitter=0.0),
    "LETKF, even": LETKF(6, localization=Localization(1.5, "gauss"), rotation=True),
}


def three_in_turn(*places):
    """The operators of three times, of as many places each."""
    each = [interpolation(np.array(own), SITES) for own in places]
    return ObservationOperator(
        SITES, *(np.concatenate([getattr(H, name) for H in each]) for name in ("indices", "weights"))
    )


@pytest.fixture
def in_parts(monkeypatch):
    """Cycles in blocks, whose length is no multiple of three, and sites in chunks."""
    monkeypatch.setattr("l96kit.filters.BLOCK_CYCLES", 2)
    monkeypatch.setattr("l96kit.kernels.launch.MATRIX_NUMBERS", 1)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_cycles_are_those_of_the_reference(method, in_parts):
    rng = np.random.default_rng(0)
    operator = three_in_turn(
        [0.0, 1.5, 4.2, 4.3, 7.0, 9.75], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [11.5, 9.0, 7.2, 7.3, 7.4, 1.0]
    )
    truth, observations, ensemble = setting(method.members, operator, rng)
    found = method.assimilate(
        PROPAGATOR, observations, ensemble, EVERY, truth, np.random.default_rng(1), probabilistic=True
    )
    expected = run_reference(method, observations, 0.7**2 * np.eye(6), ensemble, np.random.default_rng(1))
    tolerance = 1e-6 if isinstance(method, EnKFN) else 1e-11  # the reference minimises no better
    for t in range(CYCLES):
        for e in range(EXPERIMENTS):
            for which, ensemble in zip(("forecast", "analysis"), expected[t][e]):
                own = {name: getattr(found, f"{which}_{name}")[t, e] for name in ("rmse", "spread", "crps")}
                np.testing.assert_allclose(getattr(found, which)[t, e], ensemble.mean(axis=0), atol=tolerance)
                assert own["rmse"] == pytest.approx(scores.rmse(ensemble.mean(axis=0), truth[t, e]), rel=10 * tolerance)
                assert own["spread"] == pytest.approx(scores.spread(ensemble), rel=10 * tolerance)
                if which == "forecast":
                    Y = operator.observe(ensemble, t)
                    innovation = (observations.values[t, e] - Y.mean(axis=0)) / 0.7
                    assert found.innovation[t, e] == pytest.approx(np.sqrt(np.mean(innovation**2)), rel=10 * tolerance)
                    total = 1 + Y.var(axis=0, ddof=1).mean() / 0.49
                    assert found.innovation_expected[t, e] == pytest.approx(np.sqrt(total), rel=10 * tolerance)
                assert own["crps"] == pytest.approx(scores.crps(ensemble, truth[t, e]), rel=10 * tolerance)
    for e in range(EXPERIMENTS):
        np.testing.assert_allclose(found.ensemble[e], expected[-1][e][1], atol=tolerance)
        counts = sum(scores.rank_histogram(expected[t][e][0], truth[t, e], rng) for t in range(CYCLES))
        np.testing.assert_array_equal(found.forecast_ranks[e], counts)
    assert not found.blew_up.any()
    assert "analysis_rmse (4, 2)" in repr(found)


@pytest.mark.parametrize("method", [EnKF(9), ETKF(7), IEnKS(7, lag=1, iterations=2)], ids=["EnKF", "ETKF", "IEnKS"])
def test_errors_may_be_correlated(method):
    rng = np.random.default_rng(2)
    root = np.eye(5) + 0.3 * rng.standard_normal((5, 5))
    cov, operator = root @ root.T, linear(rng.standard_normal((2, 5, SITES)))
    truth, observations, ensemble = setting(method.members, operator, rng, None, cov)
    whitened = Observations(
        linear(np.linalg.solve(np.linalg.cholesky(cov), matrices(operator))),
        np.linalg.solve(np.linalg.cholesky(cov), observations.values[..., None])[..., 0],
    )
    settings = PROPAGATOR, ensemble, EVERY, truth
    one, other = (
        method.assimilate(settings[0], seen, *settings[1:], rng=np.random.default_rng(3))
        for seen in (observations, whitened)
    )
    np.testing.assert_allclose(one.ensemble, other.ensemble, atol=1e-11)


def matrices(operator):
    """(period, n, site)"""
    return np.stack([operator.observe(np.eye(SITES), t).T for t in range(operator.period)])


@pytest.mark.parametrize(
    ("lag", "iterations", "rotation", "tolerance"),
    [(1, 1, False, 0.0), (1, 3, True, 0.0), (3, 2, False, 0.0), (1, 10, False, 1e-2)],
)
def test_the_iterated_smoother_is_that_of_the_reference(lag, iterations, rotation, tolerance, in_parts):
    method = IEnKS(9, 1.05, rotation, lag=lag, iterations=iterations, tolerance=tolerance)
    rng = np.random.default_rng(4)
    operator = at_sites([[0, 3, 4, 8], [1, 2, 3, 4], [2, 5, 8, 11]], SITES).pointwise("square")
    truth, observations, ensemble = setting(9, operator, rng)
    found = method.assimilate(PROPAGATOR, observations, ensemble, EVERY, truth, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    for e in range(EXPERIMENTS):
        _, turning, _ = (child(rng) for _ in range(3))
        E, turns = ensemble[e], turning.standard_normal((CYCLES, 36))
        for t in range(CYCLES):
            steps = min(lag, t + 1) * EVERY

            def forecast(x, steps=steps):
                return PROPAGATOR.forecast(x, steps)

            def seen(x, t=t):
                return operator.observe(x, t)

            start, end = reference.iterated(
                E, forecast, seen, observations.values[t, e], 0.49 * np.eye(4), iterations, tolerance
            )
            np.testing.assert_allclose(found.analysis[t, e], end.mean(axis=0), atol=1e-10)
            assert found.analysis_spread[t, e] == pytest.approx(scores.spread(end), rel=1e-9)
            E = rotated(method, start, turns[t])
            if t + 1 >= lag:
                E = forecast(E, EVERY)
        np.testing.assert_allclose(found.ensemble[e], E, atol=1e-10)


# --- where the answer is known ----------------------------------------------------------------------------------------


def drift(x, p):
    return p[0][0] * (x[-1] - x[0])


def drift_tl(x, p, x_tl, p_tl):
    return p[0][0] * (x_tl[-1] - x_tl[0]) + p_tl[0][0] * (x[-1] - x[0])


def drift_ad(x, p, y_ad):
    return p[0][1] * y_ad[1] - p[0][0] * y_ad[0], ((x[-1] - x[0]) * y_ad[0],)


LINEAR = Propagator(StencilModel(drift, drift_tl, drift_ad, SITES, 1, {"c": 1.0}), 0.1, "euler")


def kalman(mean, cov, operator, observations, e):
    step = LINEAR.jacobian(np.zeros(SITES), EVERY)
    for t in range(CYCLES):
        mean, cov = step @ mean, step @ cov @ step.T
        H = operator.observe(np.eye(SITES), t).T
        R = observations.sigma**2 * np.eye(operator.n)
        mean, cov = reference.kalman(mean, cov, H, R, observations.values[t, e])
    return mean, cov


@pytest.mark.parametrize("method", [ETKF(20), ESRF(20), IEnKS(20, lag=1, iterations=1)], ids=["ETKF", "ESRF", "IEnKS"])
def test_deterministic_updates_keep_the_mean_and_covariance_of_kalman(method):
    rng = np.random.default_rng(6)
    operator = rotating(3, SITES)
    ensemble = rng.standard_normal((EXPERIMENTS, 20, SITES))
    truth = LINEAR.trajectory(rng.standard_normal((EXPERIMENTS, SITES)), CYCLES * EVERY, EVERY)[1:]
    observations = observe(truth, operator, 0.5, rng)
    found = method.assimilate(LINEAR, observations, ensemble, EVERY)
    for e in range(EXPERIMENTS):
        mean, cov = kalman(ensemble[e].mean(axis=0), np.cov(ensemble[e].T), operator, observations, e)
        np.testing.assert_allclose(found.analysis[-1, e], mean, atol=1e-10)
        np.testing.assert_allclose(found.ensemble[e].mean(axis=0), mean, atol=1e-10)
        np.testing.assert_allclose(np.cov(found.ensemble[e].T), cov, atol=1e-10)


def test_the_stochastic_filter_converges_to_kalman_with_the_square_root_of_its_members():
    rng = np.random.default_rng(7)
    operator = every_site(SITES)
    truth = LINEAR.trajectory(rng.standard_normal((1, SITES)), CYCLES * EVERY, EVERY)[1:]
    observations = observe(truth, operator, 0.5, rng)
    mean, cov = kalman(np.zeros(SITES), np.eye(SITES), operator, observations, 0)
    errors = []
    for members in (50, 3200):
        trials = []
        for seed in range(8):
            own = np.random.default_rng(seed)
            ensemble = own.standard_normal((1, members, SITES))
            found = EnKF(members).assimilate(LINEAR, observations, ensemble, EVERY, rng=own, probabilistic=False)
            trials.append(np.abs(found.ensemble[0].mean(axis=0) - mean).mean())
        errors.append(np.mean(trials))
    rate = np.log(errors[0] / errors[1]) / np.log(64)
    assert rate == pytest.approx(0.5, abs=0.12)


def test_particles_find_the_mean_and_covariance_of_kalman():
    """With a perfect model the first analysis has them; of later ones the kernels make the covariance wider."""
    rng = np.random.default_rng(30)
    model = Propagator(Lorenz63(), 0.01)
    prior = np.diag([1.0, 2.0, 0.5])
    ensemble = rng.multivariate_normal([1.0, -2.0, 20.0], prior, 200_000)
    forecast = model.forecast(ensemble, 5)
    observations = Observations(every_site(3), np.array([[1.0, -3.0, 18.0]]), 1.0)
    found = ParticleFilter(200_000, jitter=0.3).assimilate(
        model, observations, ensemble, 5, rng=rng, probabilistic=False
    )
    mean, cov = reference.kalman(forecast.mean(axis=0), np.cov(forecast.T), np.eye(3), np.eye(3), [1.0, -3.0, 18.0])
    np.testing.assert_allclose(found.analysis[0], mean, atol=0.03)
    np.testing.assert_allclose(np.cov(found.ensemble.T), cov, atol=0.03)


def test_a_local_filter_of_infinite_radius_is_the_global_one():
    rng = np.random.default_rng(8)
    truth, observations, ensemble = setting(9, rotating(2, SITES), rng)
    one, other = (
        method.assimilate(PROPAGATOR, observations, ensemble, EVERY, truth)
        for method in (ETKF(9, 1.02), LETKF(9, 1.02, localization=Localization(np.inf)))
    )
    np.testing.assert_allclose(one.ensemble, other.ensemble, atol=1e-10)


@pytest.mark.parametrize("method", [LETKF, FourDEnVar])
def test_fields_of_one_site_lie_at_no_distance(method):
    """What is observed of a site changes all of its fields, and no other site that is out of reach."""
    still, rng = Propagator(VissioLucarini20(6), 1e-9, "euler"), np.random.default_rng(18)
    ensemble, observations = 5 + rng.standard_normal((9, 12)), Observations(at_sites([4], 12), [[3.0]], 0.5)
    found = method(9, localization=Localization(0.5, "step")).assimilate(still, observations, ensemble, rng=rng)
    changed = np.abs(found.ensemble - ensemble).max(axis=0) > 1e-3
    assert np.flatnonzero(changed).tolist() == [4, 10]


def test_observations_of_later_windows_lie_where_they_were_made():
    """A window of two times does not begin with the first of three turns of the operator."""
    still, rng = Propagator(Lorenz96(SITES, 8.0), 1e-9, "euler"), np.random.default_rng(21)
    ensemble, values = 5 + rng.standard_normal((9, SITES)), np.full((4, 1), np.nan)
    values[2:] = 3.0
    observations = Observations(at_sites([[1], [4], [7]], SITES), values, 0.5)
    method = FourDEnVar(9, window=2, localization=Localization(0.5, "step"))
    found = method.assimilate(still, observations, ensemble, rng=rng)
    assert np.flatnonzero(np.abs(found.ensemble - ensemble).max(axis=0) > 1e-3).tolist() == [1, 7]


def test_members_that_equal_the_truth_lie_below_or_above_it_by_chance_alike_in_all_experiments():
    start = PROPAGATOR.forecast(np.random.default_rng(22).standard_normal((1, SITES)), 2000)
    truth = PROPAGATOR.trajectory(np.repeat(start, 2, axis=0), 60 * EVERY, EVERY)[1:]
    nothing = Observations(every_site(SITES), np.full_like(truth, np.nan), 1.0)
    ensemble = np.repeat(start, 2, axis=0)[:, None].repeat(4, axis=1)
    found = ETKF(4).assimilate(PROPAGATOR, nothing, ensemble, EVERY, truth)
    expected = 60 * SITES / 5
    assert (np.abs(found.forecast_ranks - expected) < 5 * expected**0.5).all()
    np.testing.assert_array_equal(found.forecast_ranks[0], found.forecast_ranks[1])


@pytest.mark.parametrize("numbers", [7, 250])
def test_random_numbers_of_all_experiments_are_drawn_a_few_cycles_at_a_time(numbers, monkeypatch):
    drawn, original = [], filters._drawn

    def counted(*asked):
        found = original(*asked)
        drawn.append(found.size)
        return found

    monkeypatch.setattr(filters, "_drawn", counted)
    monkeypatch.setattr(filters, "BLOCK_NUMBERS", numbers)
    truth, observations, ensemble = setting(5, every_site(SITES), np.random.default_rng(19))
    EnKF(5).assimilate(PROPAGATOR, observations, ensemble, EVERY, rng=np.random.default_rng(20))
    of_a_cycle = EXPERIMENTS * 5 * SITES
    assert max(drawn) <= max(numbers, of_a_cycle) and sum(drawn) == CYCLES * of_a_cycle


def test_nothing_observed_is_a_forecast():
    rng = np.random.default_rng(9)
    truth, observations, ensemble = setting(6, every_site(SITES), rng)
    nothing = Observations(observations.operator, np.full_like(observations.values, np.nan), 0.7)
    for method in (ETKF(6), ESRF(6), LETKF(6), EnKF(6)):
        found = method.assimilate(PROPAGATOR, nothing, ensemble, EVERY, rng=rng)
        np.testing.assert_allclose(found.ensemble, PROPAGATOR.forecast(ensemble, CYCLES * EVERY), atol=1e-9)
        assert np.isnan(found.analysis_rmse).all() and found.forecast_ranks is found.analysis_ranks is None  # no truth


def test_gaps_are_as_if_there_were_fewer_observations():
    rng = np.random.default_rng(10)
    truth, observations, ensemble = setting(6, every_site(SITES), rng)
    some = [0, 2, 3, 7, 11]
    values = np.full_like(observations.values, np.nan)
    values[..., some] = observations.values[..., some]
    gaps, fewer = (
        Observations(at_sites(which, SITES), kept, 0.7)
        for which, kept in ((range(SITES), values), (some, observations.values[..., some]))
    )
    for method in (ETKF(6), LETKF(6)):
        one, other = (method.assimilate(PROPAGATOR, seen, ensemble, EVERY) for seen in (gaps, fewer))
        np.testing.assert_allclose(one.ensemble, other.ensemble, atol=1e-10)
        np.testing.assert_allclose(one.innovation, other.innovation, rtol=1e-10)
        np.testing.assert_allclose(one.innovation_expected, other.innovation_expected, rtol=1e-10)
        means = one.averages(burn_in=1)
        np.testing.assert_allclose(means["innovation_expected"], one.innovation_expected[1:].mean(axis=0))
        np.testing.assert_allclose(means["innovation"], one.innovation[1:].mean(axis=0))


OTHERS = {
    "spectral": Propagator(KuramotoSivashinsky(16, 12.0), 1e-3, "euler"),
    "network": Propagator(Emulator(sq_net(), sq_net_of_lorenz96(), SITES), 0.01, "euler"),
}


@pytest.mark.parametrize("propagator", OTHERS.values(), ids=OTHERS)
def test_any_model_may_be_filtered(propagator):
    sites, rng = propagator.model.sites, np.random.default_rng(16)
    ensemble = rng.standard_normal((9, sites))
    truth = propagator.trajectory(ensemble[0], 2 * EVERY, EVERY)[1:]
    observations = observe(truth, every_site(sites), 0.7, rng)
    found = ETKF(9, 1.1).assimilate(propagator, observations, ensemble, EVERY, truth)
    for y in observations.values:
        forecast = propagator.forecast(ensemble, EVERY)
        ensemble = reference.inflated(reference.etkf(forecast, forecast, y, 0.49 * np.eye(sites)), 1.1)
    np.testing.assert_allclose(found.ensemble, ensemble, atol=1e-11)


# --- how they run -----------------------------------------------------------------------------------------------------


def test_experiments_are_independent_and_threads_and_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(11)
    truth, observations, ensemble = setting(6, every_site(SITES), rng)
    method = EnKF(6, np.array([1.0, 1.1]), rotation=True)
    whole = method.assimilate(PROPAGATOR, observations, ensemble, EVERY, truth, np.random.default_rng(1))
    monkeypatch.setattr("l96kit.filters.BLOCK_CYCLES", 3)
    monkeypatch.setattr("l96kit.kernels._targets.WORTH_A_THREAD", 1)
    parts = method.assimilate(PROPAGATOR, observations, ensemble, EVERY, truth, np.random.default_rng(1))
    np.testing.assert_array_equal(whole.ensemble, parts.ensemble)
    np.testing.assert_array_equal(whole.analysis, parts.analysis)
    np.testing.assert_array_equal(whole.analysis_ranks, parts.analysis_ranks)
    alone = EnKF(6, 1.0, rotation=True).assimilate(
        PROPAGATOR,
        Observations(observations.operator, observations.values[:, 0], 0.7),
        ensemble[0],
        EVERY,
        truth[:, 0],
        np.random.default_rng(1),
        keep="scores",
    )
    np.testing.assert_array_equal(alone.ensemble, whole.ensemble[0])
    np.testing.assert_array_equal(alone.forecast_rmse, whole.forecast_rmse[:, 0])
    assert alone.analysis is None and alone.forecast_ranks.shape == (7,)


def test_single_precision():
    rng = np.random.default_rng(12)
    truth, observations, ensemble = setting(7, every_site(SITES), rng, dtype=np.float32)
    found = ETKF(7).assimilate(PROPAGATOR, observations, ensemble, EVERY, truth)
    double = Observations(observations.operator, observations.values.astype(float), 0.7)
    expected = ETKF(7).assimilate(PROPAGATOR, double, ensemble.astype(float), EVERY, truth.astype(float))
    assert found.ensemble.dtype == np.float32
    np.testing.assert_allclose(found.ensemble, expected.ensemble, atol=2e-4)


def test_an_ensemble_that_blows_up_leaves_the_others_alone():
    rng = np.random.default_rng(13)
    truth, observations, ensemble = setting(6, every_site(SITES), rng)
    broken = ensemble.copy()
    broken[0] *= 1e5
    found, expected = (ETKF(6).assimilate(PROPAGATOR, observations, x, EVERY, truth) for x in (broken, ensemble))
    assert found.blew_up.tolist() == [True, False]
    assert np.isnan(found.analysis_rmse[-1, 0]) and np.isnan(found.analysis[-1, 0]).all()
    np.testing.assert_array_equal(found.ensemble[1], expected.ensemble[1])
    assert found.analysis_ranks[0].sum() == SITES * np.isfinite(found.analysis_rmse[:, 0]).sum()  # not of what is NaN


@pytest.mark.parametrize("method", [EnKF(6), ETKF(6), IEnKS(6, lag=1, iterations=2), LETKF(6)], ids=repr)
def test_an_ensemble_whose_squares_leave_the_numbers_of_its_precision_is_lost(method):
    """Also if it comes back into them while the smoother's window moves on."""
    rng = np.random.default_rng(14)
    _, observations, ensemble = setting(6, every_site(SITES), rng, dtype=np.float32)
    ensemble[0] *= np.float32(1e25)
    found = method.assimilate(PROPAGATOR, observations, ensemble, EVERY, rng=rng)
    assert found.blew_up.tolist() == [True, False] and np.isnan(found.ensemble[0]).all()
    assert np.isfinite(found.ensemble[1]).all()


def root(x):
    return x**0.5


def root_slope(x):
    return 0.5 * x**-0.5


@pytest.mark.parametrize("method", [EnKF(6), ETKF(6), ParticleFilter(6)], ids=["EnKF", "ETKF", "particles"])
def test_what_a_function_cannot_observe_is_no_gap(method):
    """One experiment has a member whose root is no number: it is lost, and not as if nothing had been observed."""
    rng = np.random.default_rng(17)
    operator = at_sites([0, 3], SITES).pointwise(Pointwise(root, root_slope))
    ensemble = 4 + 0.1 * rng.standard_normal((2, 6, SITES))
    ensemble[0, 2, 3] = -3.0
    observations = Observations(operator, np.full((2, 2, 2), 2.0), 0.1)
    with np.errstate(all="ignore"):
        found = method.assimilate(PROPAGATOR, observations, ensemble, 1, rng=rng)
    assert found.blew_up.tolist() == [True, False]


OF_ALL_KINDS = {  # one of each way to take observations
    type(method).__name__: method
    for method in (
        *(ETKF(6), FourDEnVar(6), ThreeDVar(np.eye(SITES)), CycledFourDVar(np.eye(SITES))),
        OptimalInterpolation(np.eye(SITES), np.full(SITES, -4.0)),
    )
}


@pytest.mark.parametrize("method", OF_ALL_KINDS.values(), ids=OF_ALL_KINDS)
def test_a_gap_is_a_gap_whatever_a_function_would_make_of_the_state(method):
    """The root of what is never seen is no number; the same as if a site that has one had not been seen."""
    ensemble = 4 + 0.1 * np.random.default_rng(19).standard_normal((2, 6, SITES))
    ensemble[..., 3] -= 8
    results = []
    for site in (3, 0):
        operator = at_sites([0, site], SITES).pointwise(Pointwise(root, root_slope))
        if isinstance(method, OptimalInterpolation):
            method = replace(method, mean=np.where(np.arange(SITES) == 0, 4.0, method.mean))
        observations = Observations(operator, np.full((2, 2, 2), [2.0, np.nan]), 0.1)
        several = isinstance(method, filters.EnsembleFilter)
        given = (ensemble, 1, None, np.random.default_rng(0)) if several else (ensemble[:, 0], 1)
        with np.errstate(all="ignore"):
            results.append(method.assimilate(PROPAGATOR, observations, *given).analysis)
    assert np.isfinite(results[0]).all()
    np.testing.assert_allclose(*results, rtol=1e-12)


def test_particles_stay_where_nothing_was_observed():
    truth, observations, ensemble = setting(6, every_site(SITES), np.random.default_rng(18))
    nothing = Observations(observations.operator, np.full_like(observations.values, np.nan), 0.7)
    found = ParticleFilter(6).assimilate(PROPAGATOR, nothing, ensemble, EVERY, rng=np.random.default_rng(0))
    np.testing.assert_allclose(found.ensemble, PROPAGATOR.forecast(ensemble, CYCLES * EVERY), atol=1e-9)
    assert np.isnan(found.averages()["innovation"]).all()


def cubed(x):
    return x * x * x


def cubed_slope(x):
    return 3 * x * x


def test_a_function_of_ones_own_is_observed():
    found = []
    for function in ("cube", Pointwise(cubed, cubed_slope)):
        truth, observations, ensemble = setting(6, every_site(SITES).pointwise(function), np.random.default_rng(14))
        found.append(ETKF(6).assimilate(PROPAGATOR, observations, ensemble, EVERY, truth).ensemble)
    np.testing.assert_allclose(*found, rtol=1e-12)


# --- what does not fit ------------------------------------------------------------------------------------------------

BAD_METHODS = {
    "one member": (ValueError, "members: expected at least 2, found 1", lambda: ETKF(1)),
    "no inflation": (ValueError, "inflation: expected positive finite numbers", lambda: ETKF(4, 0.0)),
    "inflation as a word": (TypeError, "inflation: expected positive numbers", lambda: ETKF(4, "none")),
    "inflation NaN": (ValueError, "inflation: expected positive finite numbers", lambda: ETKF(4, np.nan)),
    "radius": (ValueError, "radius: expected a positive", lambda: LETKF(4, localization=Localization(0.0))),
    "localization": (TypeError, "localization: expected a Localization", lambda: LETKF(4, localization=2.0)),
    "lag": (ValueError, "lag: expected at least 1, found 0", lambda: IEnKS(4, lag=0)),
    "tolerance": (ValueError, "tolerance: expected 0 or more", lambda: IEnKS(4, tolerance=-1.0)),
    "rotation": (TypeError, "rotation: expected True or False, found 2", lambda: ETKF(4, rotation=2)),
    "jitter": (ValueError, "jitter: expected numbers of 0 or more", lambda: ParticleFilter(4, jitter=-1.0)),
    "strength": (ValueError, "strength: expected positive finite numbers", lambda: EnKFN(4, strength=0.0)),
    "rows of several lengths": (ValueError, "inflation: expected an array", lambda: ETKF(4, [[1.0], [1.0, 1.1]])),
}


@pytest.mark.parametrize("error, message, make", BAD_METHODS.values(), ids=BAD_METHODS)
def test_bad_tuning_is_refused(error, message, make):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("method", [ETKF, EnKFN, LETKF, IEnKS, ParticleFilter, FourDEnVar])
def test_deflation_is_allowed_and_warned_of_where_it_is_asked_for(method):
    for inflation in (0.9, [1.1, 0.9]):
        with pytest.warns(UserWarning, match="inflation: expected at least 1, found 0.9") as warned:
            method(4, inflation)
        assert [warning.filename for warning in warned] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for inflation in (1, 1.5, [1.0, 3.0]):
            ETKF(4, inflation)


OBSERVED = Observations(every_site(SITES), np.zeros((3, SITES)))
AROUND = Observations(linear(np.full((1, SITES), 1 / SITES)), np.zeros((3, 1)))
TINY = Observations(every_site(SITES), np.zeros((3, SITES)), 1e-200)
OF_ANOTHER = Observations(every_site(13), np.zeros((3, 13)))
CORRELATED = Observations(every_site(SITES), np.zeros((3, SITES)), cov=np.eye(SITES))
ENSEMBLE = np.zeros((4, SITES))
BAD_INPUT = {
    "no propagator": (TypeError, "propagator: expected l96kit.Propagator", ETKF(4), {"propagator": Lorenz96(SITES)}),
    "no observations": (TypeError, "observations: expected", ETKF(4), {"observations": np.zeros((3, SITES))}),
    "another state": (ValueError, "states of 12 numbers, found one for 13", ETKF(4), {"observations": OF_ANOTHER}),
    "members": (ValueError, r"ensemble: expected shape \(5, 12\)", ETKF(5), {}),
    "ensemble NaN": (ValueError, "ensemble: expected finite numbers", ETKF(4), {"ensemble": ENSEMBLE + np.nan}),
    "truth": (ValueError, r"truth: expected shape \(3, 12\)", ETKF(4), {"truth": np.zeros((2, SITES))}),
    "every": (ValueError, "every: expected at least 1", ETKF(4), {"every": 0}),
    "keep": (ValueError, "keep: expected one of 'means', 'scores'", ETKF(4), {"keep": "all"}),
    "rng": (TypeError, "rng: expected a NumPy generator", EnKF(4), {}),
    "correlated errors": (ValueError, "expected independent errors for LETKF", LETKF(4), {"observations": CORRELATED}),
    "sums of all sites": (ValueError, "expected observations near one place", LETKF(4), {"observations": AROUND}),
    "a tiny error": (ValueError, "sigma: expected variances whose inverse", ETKF(4), {"observations": TINY}),
    "one after another": (ValueError, "expected independent errors for ESRF", ESRF(4), {"observations": CORRELATED}),
    "inflation for others": (ValueError, "inflation: expected a number or a shape", ETKF(4, [1.0, 1.1]), {}),
}


@pytest.mark.parametrize("error, message, method, change", BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_is_refused(error, message, method, change):
    given = {"propagator": PROPAGATOR, "observations": OBSERVED, "ensemble": ENSEMBLE, **change}
    with pytest.raises(error, match=message):
        method.assimilate(**given)


def test_views_and_read_only_arrays_serve_and_stay_as_they_were():
    rng = np.random.default_rng(15)
    truth, observations, ensemble = setting(6, every_site(SITES), rng)
    wide = np.zeros((EXPERIMENTS, 6, 2 * SITES))
    wide[..., ::2] = ensemble
    view = wide[..., ::2]
    view.flags.writeable = False
    one, other = (ETKF(6).assimilate(PROPAGATOR, observations, x, EVERY, truth) for x in (view, ensemble))
    np.testing.assert_array_equal(one.ensemble, other.ensemble)
    np.testing.assert_array_equal(view, ensemble)


def test_what_was_checked_cannot_be_changed():
    inflation, values, cov = np.array([1.0, 1.1]), np.zeros((3, SITES)), np.eye(SITES)
    method, observations = ETKF(4, inflation), Observations(every_site(SITES), values, cov=cov)
    inflation[:], values[:], cov[:] = -1, np.inf, 0
    assert method.inflation.tolist() == [1.0, 1.1] and np.isfinite(observations.values).all()
    np.testing.assert_array_equal(observations.covariance, np.eye(SITES))
    for own in (method.inflation, observations.values, observations.cov):
        with pytest.raises(ValueError, match="read-only"):
            own[:] = 0


@pytest.mark.parametrize("shape", [(3, 1), (3, SITES)])
def test_errors_that_change_have_no_one_covariance(shape):
    sigma = np.linspace(1.0, 2.0, np.prod(shape)).reshape(shape)
    observations = Observations(every_site(SITES), np.zeros((3, SITES)), sigma)
    with pytest.raises(ValueError, match="the same sigma at all times, found several"):
        _ = observations.covariance


def test_what_single_precision_cannot_hold_is_refused():
    single = ENSEMBLE.astype(np.float32)
    large = Observations(every_site(SITES), np.full((3, SITES), 1e300))
    for given, message in (((large,), "values: expected numbers within the range of float32"), ((TINY,), "sigma: exp")):
        with pytest.raises(ValueError, match=message):
            ETKF(4).assimilate(PROPAGATOR, *given, single)
    with pytest.raises(ValueError, match="truth: expected numbers within the range of float32"):
        ETKF(4).assimilate(PROPAGATOR, OBSERVED, single, truth=np.full((3, SITES), 1e300))
    for variance in (1e40, 1e-40):
        with pytest.raises(ValueError, match="cov: expected variances whose inverse is within the range of float32"):
            ETKF(4).assimilate(
                PROPAGATOR, Observations(every_site(SITES), np.zeros((3, SITES)), cov=variance * np.eye(SITES)), single
            )
    for sigma in (1e20, 1e-20):  # 1 / sigma^2 has lost digits, or is infinite
        with pytest.raises(ValueError, match="sigma: expected variances whose inverse is within the range of float32"):
            ETKF(4).assimilate(PROPAGATOR, Observations(every_site(SITES), np.zeros((3, SITES)), sigma), single)
