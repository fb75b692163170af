"""What is there for hard cases, tried with one: underflow, overflow, the most of what is allowed, no symmetry."""

import os
import subprocess
import sys
import weakref
from math import comb

import numpy as np
import pytest

from l96kit import Lorenz96, Propagator, scores
from l96kit.checkpoints import reverse_in_segments
from l96kit.checks import dot_test, taylor_test
from l96kit.ensemble_variational import FourDEnVar
from l96kit.filters import ETKF, LETKF, EnKFN, IEnKS, ParticleFilter
from l96kit.localization import SMALLEST, Localization
from l96kit.observation_operators import every_site, linear
from l96kit.observations import Observations
from l96kit.reference import ensemble as reference

SITES, EVERY = 12, 3
PROPAGATOR = Propagator(Lorenz96(SITES, 8.0), 0.01, "euler")
RNG = np.random.default_rng(0)
START = PROPAGATOR.forecast(RNG.standard_normal((1, SITES)), 2000)


def setting(members, departure, sigma=0.5):
    """An ensemble and one observation of every site, `departure` standard deviations off, with its forecast."""
    ensemble = START[:, None] + 0.5 * RNG.standard_normal((1, members, SITES))
    forecast = PROPAGATOR.forecast(ensemble, EVERY)
    values = forecast.mean(axis=1)[None] + departure * sigma
    return Observations(every_site(SITES), values, sigma), ensemble, forecast[0]


@pytest.mark.parametrize("departure", [0.0, 10.0, 1e3, 1e6])
def test_likelihoods_that_underflow_still_choose_the_likeliest(departure):
    """Far off, all of them are zero in double precision; their ratios are not."""
    observations, ensemble, forecast = setting(11, departure)
    found = ParticleFilter(11, jitter=0.0).assimilate(PROPAGATOR, observations, ensemble, EVERY, rng=RNG)
    exponents = -0.5 * ((observations.values[0, 0] - forecast) ** 2).sum(axis=-1) / 0.25
    weights = np.exp(exponents - exponents.max()) / np.exp(exponents - exponents.max()).sum()
    copies = np.array([(np.abs(found.ensemble[0] - member).max(axis=-1) < 1e-9).sum() for member in forecast])
    assert copies.sum() == 11 and (np.abs(copies - 11 * weights) < 1).all()


def test_no_weights_at_all_end_an_experiment_alone():
    """A number that no likelihood can be told of."""
    observations, ensemble, _ = setting(11, 0.0)
    values = np.repeat(observations.values, 2, axis=1)
    values[0, 1, 0] = 1e200
    two = Observations(every_site(SITES), values, 0.5)
    found = ParticleFilter(11).assimilate(PROPAGATOR, two, np.repeat(ensemble, 2, axis=0), EVERY, rng=RNG)
    assert found.blew_up.tolist() == [False, True]


@pytest.mark.parametrize("departure", [0.0, 0.1, 3.0, 30.0])
def test_the_inflation_of_the_finite_size_filter_is_finite_and_grows_with_the_innovation(departure):
    observations, ensemble, forecast = setting(9, departure)
    inflated, plain = (
        method.assimilate(PROPAGATOR, observations, ensemble, EVERY) for method in (EnKFN(9, strength=0.7), ETKF(9))
    )
    assert np.isfinite(inflated.ensemble).all()
    ratio = inflated.analysis_spread[0, 0] / plain.analysis_spread[0, 0]
    assert ratio < 1.0 if departure < 1 else ratio > 1.0


def test_a_smoother_stops_after_its_iterations_or_at_its_tolerance():
    observations, ensemble, _ = setting(9, 2.0)
    settled = IEnKS(9, iterations=30).assimilate(PROPAGATOR, observations, ensemble, EVERY).analysis
    distances = []
    for method in (
        IEnKS(9, iterations=1),
        IEnKS(9, iterations=30, tolerance=1e-2),
        IEnKS(9, iterations=30, tolerance=1e-7),
    ):
        found = method.assimilate(PROPAGATOR, observations, ensemble, EVERY)
        distances.append(np.abs(found.analysis - settled).max())
    assert distances[0] > distances[1] > distances[2] >= 0


@pytest.mark.parametrize("method", [LETKF(9, localization=Localization(np.inf)), FourDEnVar(9, window=1)])
def test_an_infinite_radius_takes_observations_that_are_nowhere(method):
    _, ensemble, forecast = setting(9, 0.0)
    operator = linear(np.ones((1, SITES)))
    with pytest.raises(ValueError, match="sums of sites all around the ring"):
        operator.places(SITES)
    observations = Observations(operator, np.full((1, 1, 1), 30.0))
    found = method.assimilate(PROPAGATOR, observations, ensemble, EVERY, rng=np.random.default_rng(0))
    assert abs(found.analysis[0, 0].sum() - 30) < abs(forecast.mean(axis=0).sum() - 30)


def test_coefficients_too_small_to_matter_are_zero():
    taper = Localization(2.0, "gauss")
    edge = 2.0 * np.sqrt(-2 * np.log(SMALLEST))
    found = taper.coefficients([0.0, edge - 1e-6, edge + 1e-6, 100.0])
    np.testing.assert_allclose(found, [1.0, SMALLEST, 0.0, 0.0], rtol=1e-5)


# --- checkpoints ------------------------------------------------------------------------------------------------------


class State:
    """One that can be told apart and counted."""

    def __init__(self, time):
        self.time = time


def repetitions(segments, checkpoints):
    """The least advances over one segment, with the start for free (Griewank & Walther 2000, eq. 3)."""
    r = 0
    while comb(checkpoints + r, checkpoints) < segments:
        r += 1
    return r * segments - comb(checkpoints + r, checkpoints + 1)


@pytest.mark.parametrize("checkpoints", [1, 2, 3, 7, 12])
@pytest.mark.parametrize("intervals", [9, 23, 40])
def test_no_more_states_wait_than_were_allowed_and_no_more_is_computed_than_needed(intervals, checkpoints):
    alive, most, advances = weakref.WeakSet(), 0, 0

    def made(time):
        state = State(time)
        alive.add(state)
        return state

    def advance(state, first, last):
        nonlocal advances
        advances += last - first
        assert state.time == first
        return made(last)

    def reverse(state, first, last):
        nonlocal most
        most = max(most, len(alive - {state}))

    reverse_in_segments(made(0), intervals, 1, checkpoints, advance, reverse)
    if checkpoints < intervals:
        assert most <= checkpoints
        assert advances == repetitions(intervals, checkpoints)
    else:
        assert advances == intervals - 1


@pytest.mark.parametrize(
    "departure, sigma, strength", [(3.0, 0.5, 1.0), (1e2, 0.5, 1.0), (1e4, 0.5, 1.0), (1.2, 5.0, 0.1), (1.2, 5.0, 1.0)]
)
def test_the_inflation_of_the_finite_size_filter_is_that_of_the_lowest_cost(departure, sigma, strength):
    """Also far beyond the spread, and where a small `strength` gives a second minimum to small innovations."""
    observations, ensemble, forecast = setting(9, departure, sigma)
    found = EnKFN(9, strength=strength).assimilate(PROPAGATOR, observations, ensemble, EVERY)
    expected = reference.finite_size(forecast, forecast, observations.values[0, 0], sigma**2 * np.eye(SITES), strength)
    assert np.abs(found.ensemble[0] - expected).max() < 1e-6 * np.abs(expected).max()


# --- checks -----------------------------------------------------------------------------------------------------------


def test_the_dot_test_is_its_formula():
    A, C = RNG.standard_normal((2, 3, 5))
    seen = {}

    def tangent(u):
        seen["u"] = u
        return A @ u

    def adjoint(v):
        seen["v"] = v
        return C.T @ v

    found = dot_test(tangent, adjoint, np.zeros(5))
    u, v = seen["u"], seen["v"]
    assert u.shape == (5,) and v.shape == (3,)
    expected = abs((A @ u) @ v - u @ (C.T @ v)) / (np.linalg.norm(A @ u) * np.linalg.norm(v))
    assert found == pytest.approx(expected, rel=1e-12) and found > 1e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_of_numbers_whose_squares_are_beyond_all_numbers(dtype):
    x = np.full(3, np.sqrt(np.finfo(dtype).max) * 1e3, dtype)
    first, second = taylor_test(lambda x: 2 * x, lambda h: 2 * h, x, direction=x / dtype(4))
    assert first == pytest.approx(1.0) and second == np.inf  # a linear function


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_under_test_get_the_precision_that_they_take(dtype):
    """Of x, of y or of what the tangent returns, also where the tester draws or moves them."""
    given = set()

    def double(x):
        given.add(x.dtype)
        return 2 * x

    x = np.linspace(1.0, 2.0, 5, dtype=dtype)
    dot_test(double, double, x)
    dot_test(double, double, x, y=x)
    taylor_test(double, double, x)
    assert given == {np.dtype(dtype)}


@pytest.mark.parametrize("factor, slopes", [(1.0, (1, 2)), (1.01, (1, 1)), (0.0, (1, 1))])
@pytest.mark.parametrize("unit", [1e-8, 1.0, 3.0])
def test_taylor_slopes_tell_a_tangent_that_is_a_little_off(factor, slopes, unit):
    x = unit * np.linspace(0.5, 1.5, 4)
    found = taylor_test(lambda x: x**3, lambda h: factor * 3 * x**2 * h, x, rng=np.random.default_rng(1))
    np.testing.assert_allclose(found, slopes, atol=0.3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tangent_that_is_one_per_cent_off_never_passes(dtype):
    """Where rounding leaves less of the change than that, nothing is said of the second slope."""
    direction = np.linspace(1, 2, 4).astype(dtype)
    for size in 10.0 ** np.arange(-8, 17):
        x = np.linspace(0.5, 1.5, 4).astype(dtype) * np.dtype(dtype).type(size)
        found = taylor_test(lambda x: x**2, lambda h, x=x: 2.02 * x * h, x, direction)[1]
        assert np.isnan(found) or found < 1.5


def test_scores_of_one_site_and_of_many_members():
    E = np.array([[1.0], [2.0], [6.0]])
    assert scores.spread(E) == pytest.approx(np.sqrt(7)) and scores.rmse(E, [2.0]).tolist() == [1, 0, 4]
    assert scores.crps(E, [2.0]) == pytest.approx((1 + 0 + 4) / 3 - (1 + 5 + 4) / 9)
    assert scores.crps(E, [2.0], fair=True) == pytest.approx(5 / 3 - 10 / 6)
    assert scores.rank_histogram(E, [3.0]).tolist() == [0, 0, 1, 0]


# --- schemes ----------------------------------------------------------------------------------------------------------

# All weights of the four schemes read the same backwards, so that a mistake in their order would go unseen: here is a
# tableau of no order and no symmetry, run by Python without compiling.
ASYMMETRIC = """
from l96kit.kernels import runge_kutta

a, b = ((), (0.3,), (0.2, 0.6), (-0.1, 0.5, 0.7)), (0.1, 0.35, 0.15, 0.6)
runge_kutta.SCHEMES["asymmetric"] = runge_kutta.Tableau(a, b)

import numpy as np
from l96kit import Lorenz96, Propagator
from l96kit.reference.linearize import adjoint, tangent
from l96kit.reference.lorenz96 import tendency

def step(x, F):
    f = lambda x: tendency(x, F)
    k1 = f(x)
    k2 = f(x + 0.1 * (0.3 * k1))
    k3 = f(x + 0.1 * (0.2 * k1 + 0.6 * k2))
    k4 = f(x + 0.1 * (-0.1 * k1 + 0.5 * k2 + 0.7 * k3))
    return x + 0.1 * (0.1 * k1 + 0.35 * k2 + 0.15 * k3 + 0.6 * k4)

rng = np.random.default_rng(0)
x, x_tl, y_ad = rng.standard_normal((3, 2, 5))
F, F_tl = rng.standard_normal((2, 2, 5)) + 8
model = Propagator(Lorenz96(5, F), 0.1, "asymmetric")
np.testing.assert_allclose(model.step(x), step(x, F), rtol=1e-13)
np.testing.assert_allclose(model.step_tl(x, x_tl, {"F": F_tl}), tangent(step, (x, F), (x_tl, F_tl)), rtol=1e-12)
x_ad, gradients = model.step_ad(x, y_ad)
for found, expected in zip((x_ad, gradients["F"]), adjoint(step, (x, F), y_ad), strict=True):
    np.testing.assert_allclose(found, expected, rtol=1e-12)
"""


def test_the_order_of_stages_and_weights():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", ASYMMETRIC], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
