"""Climatology, optimal interpolation and 3D-Var against the minimum of their cost."""

import numpy as np
import pytest

from l96kit import Lorenz96, Propagator
from l96kit.baselines import Climatology, CycledFourDVar, OptimalInterpolation, ThreeDVar, climatology
from l96kit.observation_operators import every_site, interpolation, rotating
from l96kit.observations import Observations, observe
from l96kit.reference import ensemble as reference
from l96kit.reference.linearize import jacobians
from l96kit.reference.lorenz96 import tendency
from l96kit.reference.observing import observe as reference_observe
from l96kit.reference.runge_kutta import trajectory as reference_trajectory
from l96kit.reference.variational import gauss_newton
from l96kit.scores import rmse

SITES, EVERY, CYCLES = 12, 2, 5
PROPAGATOR = Propagator(Lorenz96(SITES, 8.0), 0.01, "euler")
ROOT = np.eye(SITES) + 0.2 * np.random.default_rng(0).standard_normal((SITES, SITES))
B = ROOT @ ROOT.T


def setting(operator, cov=None):
    rng = np.random.default_rng(1)
    start = PROPAGATOR.forecast(rng.standard_normal((2, SITES)), 2000)
    truth = PROPAGATOR.trajectory(start, CYCLES * EVERY, EVERY)[1:]
    return truth, observe(truth, operator, 0.7 if cov is None else None, rng, cov=cov), start + 0.5


def jacobian(operator, x, t):
    return operator.observe_tl(x, np.eye(SITES), t).T


@pytest.mark.parametrize("mean", [None, np.full(SITES, 2.0)], ids=["3D-Var", "optimal interpolation"])
@pytest.mark.parametrize("operator", [rotating(3, SITES), interpolation([0.5, 7.2], SITES).pointwise("square")])
def test_analyses_are_those_of_kalmans_gain(mean, operator):
    cov = None if operator.n > 2 else np.array([[1.0, 0.3], [0.3, 0.5]])
    truth, observations, x = setting(operator, cov)
    R = 0.49 * np.eye(operator.n) if cov is None else cov
    method = ThreeDVar(B) if mean is None else OptimalInterpolation(B, mean)
    found = method.assimilate(PROPAGATOR, observations, x, EVERY, truth)
    for t in range(CYCLES):
        x = PROPAGATOR.forecast(x, EVERY)
        np.testing.assert_allclose(found.forecast[t], x, atol=1e-11)
        for e in range(2):
            start = x[e] if mean is None else mean
            H = jacobian(operator, start, t)
            seen = observations.values[t, e] - operator.observe(start, t) + H @ start
            x[e], _ = reference.kalman(start, B, H, R, seen)
        np.testing.assert_allclose(found.analysis[t], x, atol=1e-10)
    np.testing.assert_allclose(found.analysis_rmse, rmse(found.analysis, truth))


def test_gaps_are_as_if_there_were_fewer_observations():
    truth, observations, x = setting(every_site(SITES))
    values = observations.values.copy()
    values[:, 1, 3:] = np.nan
    found = ThreeDVar(B).assimilate(PROPAGATOR, Observations(observations.operator, values, 0.7), x, EVERY)
    fewer = Observations(interpolation([0.0, 1.0, 2.0], SITES), values[:, 1, :3], 0.7)
    expected = ThreeDVar(B).assimilate(PROPAGATOR, fewer, x[1], EVERY)
    np.testing.assert_allclose(found.analysis[:, 1], expected.analysis, atol=1e-10)
    assert np.isnan(found.analysis_rmse).all()


def complex_step(function, x):
    return jacobians(function, [x])[0]


OBSERVED = {
    "partial": (rotating(3, SITES), None, 3, 1.0),
    "a function, errors that depend on one another": (
        interpolation([0.5, 7.2], SITES).pointwise("square"),
        np.array([[1.0, 0.3], [0.3, 0.5]]),
        1,
        [0.5, 2.0],
    ),
}


@pytest.mark.parametrize("operator, cov, lag, scale", OBSERVED.values(), ids=OBSERVED)
def test_cycles_of_4d_var_are_those_of_the_dense_solution(operator, cov, lag, scale):
    truth, observations, start = setting(operator, cov)
    R = 0.49 * np.eye(operator.n) if cov is None else cov
    values = observations.values.copy()
    values[1, 0] = values[1, 0] if cov is not None else np.nan  # nothing at all was observed
    found = CycledFourDVar(B, scale, lag, iterations=3).assimilate(
        PROPAGATOR, Observations(operator, values, observations.sigma, cov), start, EVERY, truth
    )
    for e in range(2):
        x, own = start[e], np.broadcast_to(scale, 2)[e] * B
        for t in range(CYCLES):
            steps = min(lag, t + 1) * EVERY

            def forecast(x, steps=steps):
                return reference_trajectory(lambda x: tendency(x, 8.0), x, 0.01, steps, "euler", steps)[-1]

            def observe(x, row=t % operator.period):
                return reference_observe(x, operator.indices[row], operator.weights[row], operator.function)

            np.testing.assert_allclose(found.forecast[t, e], forecast(x), rtol=0, atol=1e-10)
            later = forecast(x)
            if np.isfinite(values[t, e]).all():
                x, later = gauss_newton(x, own, forecast, observe, complex_step, values[t, e], R, 3)
            np.testing.assert_allclose(found.analysis[t, e], later, rtol=0, atol=1e-9)
            if t + 1 >= lag:
                x = PROPAGATOR.forecast(x, EVERY)
    np.testing.assert_allclose(found.analysis_rmse, rmse(found.analysis, truth), rtol=1e-12)
    np.testing.assert_allclose(found.forecast_rmse, rmse(found.forecast, truth), rtol=1e-12)


def test_cycles_of_4d_var_end_their_iterations_and_leave_out_what_blew_up():
    truth, observations, x = setting(every_site(SITES))
    few, many = (
        CycledFourDVar(B, lag=2, tolerance=own).assimilate(PROPAGATOR, observations, x, EVERY, truth)
        for own in (1e-3, 0.0)
    )
    assert 0 < np.abs(few.analysis - many.analysis).max() < 1e-3
    x[1] = 1e200
    with np.errstate(all="ignore"):
        found = CycledFourDVar(B, lag=2).assimilate(PROPAGATOR, observations, x, EVERY, truth)
    np.testing.assert_array_equal(found.analysis[:, 0], many.analysis[:, 0])
    assert np.isnan(found.analysis[1:, 1]).all() and np.isnan(found.analysis_rmse[1:, 1]).all()


def test_climatology_is_that_of_a_long_run():
    mean, cov = climatology(PROPAGATOR, np.random.default_rng(2), states=4000, spin_up=20.0, spacing=0.5)
    assert mean.shape == (SITES,) and cov.shape == (SITES, SITES)
    assert mean.mean() == pytest.approx(2.4, abs=0.3) and np.sqrt(np.diag(cov)).mean() == pytest.approx(3.6, abs=0.4)
    start = np.random.default_rng(2).standard_normal((200, SITES))
    mean, cov = climatology(PROPAGATOR, np.random.default_rng(2), states=400, spin_up=0.2, spacing=0.05)
    both = PROPAGATOR.trajectory(PROPAGATOR.forecast(start, 20), 5, 5).reshape(-1, SITES)
    np.testing.assert_allclose(mean, both.mean(axis=0))
    np.testing.assert_allclose(cov, np.cov(both.T))
    truth, observations, x = setting(every_site(SITES))
    found = Climatology(mean).assimilate(PROPAGATOR, observations, x, EVERY, truth)
    np.testing.assert_allclose(found.analysis_rmse, rmse(mean, truth))


BAD = {
    "its shape": (ValueError, r"background_cov: expected shape \(12, 12\)", ThreeDVar(np.eye(3)), {}),
    "start": (ValueError, r"start: expected shape \(2, 12\)", ThreeDVar(B), {"start": np.zeros(SITES)}),
    "no observations": (
        TypeError,
        "observations: expected l96kit.observations.Observations",
        ThreeDVar(B),
        {"observations": 1},
    ),
    "no propagator": (
        TypeError,
        "propagator: expected l96kit.Propagator",
        Climatology(np.zeros(12)),
        {"propagator": 1},
    ),
    "scales": (ValueError, "scale: expected a number or a shape", CycledFourDVar(B, np.ones(3)), {}),
    "mean": (ValueError, r"mean: expected shape \(..., 12\)", Climatology(np.zeros(11)), {}),
}


@pytest.mark.parametrize("error, message, method, change", BAD.values(), ids=BAD)
def test_bad_input_is_refused(error, message, method, change):
    _, observations, x = setting(every_site(SITES))
    given = {"propagator": PROPAGATOR, "observations": observations, "start": x, **change}
    with pytest.raises(error, match=message):
        method.assimilate(**given)


@pytest.mark.parametrize("name, value", [("scale", [1.0, 0.0]), ("lag", 0), ("iterations", 0), ("tolerance", -1)])
def test_bad_tuning_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected"):
        CycledFourDVar(B, **{name: value})


@pytest.mark.parametrize("method", [ThreeDVar, CycledFourDVar, lambda cov: OptimalInterpolation(cov, np.zeros(SITES))])
def test_covariances_and_means_are_checked_and_kept(method):
    with pytest.raises(ValueError, match="background_cov: expected a positive definite"):
        method(-B)
    with pytest.raises(TypeError, match="background_cov: expected float32 or float64"):
        method("B")
    cov = B.copy()
    own = method(cov)
    cov[:] = 0
    np.testing.assert_array_equal(own.background_cov, B)
    for mean in (None, np.zeros((3, SITES))):
        with pytest.raises(ValueError, match=r"mean: expected a state \(site,\)"):
            OptimalInterpolation(B, mean)


@pytest.mark.parametrize(
    "error, message, given",
    [
        (TypeError, "propagator: expected l96kit.Propagator", (None, np.random.default_rng(0))),
        (TypeError, "rng: expected a NumPy generator, found int", (PROPAGATOR, 3)),
        (ValueError, "spin_up: expected a positive finite number", (PROPAGATOR, np.random.default_rng(0), 4, np.nan)),
    ],
)
def test_what_climatology_cannot_use_is_refused(error, message, given):
    with pytest.raises(error, match=message):
        climatology(*given)


@pytest.mark.parametrize("method", [ThreeDVar(B), CycledFourDVar(B)], ids=["3D-Var", "4D-Var"])
def test_an_experiment_that_blows_up_leaves_the_others_alone(method):
    truth, observations, x = setting(every_site(SITES))
    values = observations.values.copy()
    values[2, 1, 0] = 1e200
    wild = Observations(observations.operator, values, 0.7)
    with np.errstate(all="ignore"):
        found, whole = (method.assimilate(PROPAGATOR, own, x, EVERY, truth) for own in (wild, observations))
    np.testing.assert_array_equal(found.analysis[:, 0], whole.analysis[:, 0])
    assert np.isnan(found.analysis_rmse[3:, 1]).all()


def test_a_truth_of_another_shape_is_refused():
    truth, observations, x = setting(every_site(SITES))
    for method in (
        ThreeDVar(B),
        OptimalInterpolation(B, np.zeros(SITES)),
        Climatology(np.zeros(SITES)),
        CycledFourDVar(B),
    ):
        with pytest.raises(ValueError, match=r"truth: expected shape \(5, 2, 12\)"):
            method.assimilate(PROPAGATOR, observations, x, EVERY, truth[:, :1])
