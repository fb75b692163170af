"""4D-Var: its cost has the gradient it claims, and it finds the truth."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from l96kit import Emulator, FourDVar, Lorenz96, Propagator
from l96kit._covariances import SquareRoot
from l96kit._minimisers import MINIMISERS
from l96kit.checks import taylor_test
from l96kit.networks import sq_net, sq_net_of_lorenz96
from l96kit.observation_operators import Pointwise, at_sites, every_site, interpolation
from l96kit.observations import Observations, interpolate, observe
from l96kit.propagators import BlowUpError
from l96kit.reference.linearize import adjoint
from l96kit.reference.lorenz96 import tendency
from l96kit.reference.observing import observe as reference_observe
from l96kit.reference.runge_kutta import trajectory
from l96kit.reference.variational import cost
from l96kit.scores import rmse

SITES = 12
PROPAGATOR = Propagator(Lorenz96(SITES, 8.0), dt=0.0125)


def root(x):
    return x**0.5


def root_slope(x):
    return 0.5 * x**-0.5


def correlated(sites=SITES):
    distance = np.minimum(np.arange(sites), sites - np.arange(sites))
    return 2.0 * np.exp(-distance[np.subtract.outer(np.arange(sites), np.arange(sites)) % sites] / 2.0)


def twin(rng, windows=(2,), steps=20, number=4, sigma=1.0):
    start = PROPAGATOR.forecast(rng.standard_normal((*windows, SITES)), 400)
    truth = PROPAGATOR.trajectory(start, steps - 1)
    return start, observe(truth, number, sigma, rng)


@pytest.mark.parametrize("steps", [1, 2, 8, 24, 72])
@pytest.mark.parametrize("cov", [None, np.full(SITES, 0.5), correlated()], ids=["no B", "diagonal B", "full B"])
def test_the_cost_has_the_gradient_it_claims(steps, cov):
    rng = np.random.default_rng(steps)
    start, observations = twin(rng, steps=steps + 1)
    method = FourDVar(PROPAGATOR, cov)
    background = None if cov is None else start + rng.standard_normal(start.shape)
    x = start + 0.5 * rng.standard_normal(start.shape)
    _, gradient = method.cost(x, observations, background)
    slopes = taylor_test(
        lambda z: method.cost(z, observations, background)[0],
        lambda h: (gradient * h).sum(axis=-1),
        x,
        rng=rng,
    )
    assert slopes == pytest.approx((1, 2), abs=0.05)


def test_the_cost_is_the_formula():
    rng = np.random.default_rng(1)
    start, observations = twin(rng, windows=(), steps=5, sigma=0.7)
    cov, background = correlated(), start + rng.standard_normal(SITES)
    y = PROPAGATOR.trajectory(start, 4)
    expected = 0.5 * sum(
        ((y[t, observations.sites[t]] - observations.values[t]) ** 2).sum() / 0.7**2 for t in range(5)
    ) + 0.5 * (start - background) @ np.linalg.solve(cov, start - background)
    assert FourDVar(PROPAGATOR, cov).cost(start, observations, background)[0] == pytest.approx(expected, rel=1e-12)


TERMS = {
    "strong": (correlated(), None),
    "weak": (correlated(), np.full(SITES, 0.1)),
    "no background": (None, 0.1 * correlated()),
}


@pytest.mark.parametrize("B, Q", TERMS.values(), ids=TERMS)
def test_the_cost_and_its_gradient_are_those_of_the_reference(B, Q):
    rng = np.random.default_rng(20)
    operator = interpolation([0.3, 4.0, 7.8], SITES).pointwise("square")
    R = np.array([[1.0, 0.2, 0.0], [0.2, 0.8, 0.1], [0.0, 0.1, 0.5]])
    x = PROPAGATOR.forecast(rng.standard_normal(SITES), 400)
    observations = observe(PROPAGATOR.trajectory(x, 6, 2), operator, None, rng, cov=R)
    background, errors = x + rng.standard_normal(SITES), 0.1 * rng.standard_normal((3, SITES))
    own_background = None if B is None else background
    method = FourDVar(PROPAGATOR, B, every=2, model_cov=Q)
    full_Q = np.diag(Q) if Q is not None and Q.ndim == 1 else Q

    def reference_cost(x, errors):
        def forecast(x):
            return trajectory(lambda x: tendency(x, 8.0), x, 0.0125, 2, "rk4", 2)[-1]

        def seen(x, t):
            return reference_observe(x, operator.indices[0], operator.weights[0], "square")

        return cost(x, errors, background, B, full_Q, forecast, seen, observations.values, R)

    found = method.cost(x, observations, own_background, *([] if Q is None else [errors]))
    own = errors if Q is not None else np.zeros_like(errors)
    assert found[0] == pytest.approx(reference_cost(x, own), rel=1e-12)
    expected = adjoint(reference_cost, [x, own], np.ones(()))
    for gradient, exact in zip(found[1:], expected):
        np.testing.assert_allclose(gradient, exact, rtol=0, atol=1e-10 * np.abs(exact).max())


@pytest.mark.parametrize("B, Q", TERMS.values(), ids=TERMS)
def test_both_minimisers_find_the_same(B, Q):
    rng = np.random.default_rng(21)
    start, observations = twin(rng, steps=12, number=6)
    values = observations.values.copy()
    values[3, 0, 2] = np.nan
    observations = Observations(observations.operator, values)
    background = start + rng.standard_normal(start.shape)
    given = observations, background, None if B is None else background
    one, other = (
        FourDVar(PROPAGATOR, B, model_cov=Q, minimiser=name, tolerance=1e-14).assimilate(*given)
        for name in ("L-BFGS", "Gauss-Newton")
    )
    np.testing.assert_allclose(other.cost, one.cost, rtol=1e-9)
    np.testing.assert_allclose(other.state, one.state, atol=2e-4)
    assert (other.iterations < one.iterations).all() and other.converged.all()
    if Q is not None:
        np.testing.assert_allclose(other.model_errors, one.model_errors, atol=2e-4)
        whole = FourDVar(PROPAGATOR, B, model_cov=Q).cost(other.state, *given[::2], other.model_errors)
        np.testing.assert_allclose(other.cost, whole[0], rtol=1e-12)


def test_gauss_newton_is_done_where_it_begins_at_the_minimum():
    """Observations without errors of the truth itself: no step leads down, and none is needed."""
    truth = twin(np.random.default_rng(23), windows=(), steps=6)[0]
    y = PROPAGATOR.trajectory(truth, 5)
    observations = Observations(every_site(SITES), y)
    found = FourDVar(PROPAGATOR, minimiser="Gauss-Newton").assimilate(observations, truth)
    assert found.converged and (found.cost, found.iterations) == (0, 1) and found.evaluations < 10
    np.testing.assert_array_equal(found.state, truth)


def test_convergence_in_the_last_iteration_allowed_is_convergence():
    """So say Gauss and Newton; SciPy's L-BFGS counts first."""
    start, observations = twin(np.random.default_rng(24), windows=(), steps=6, number=6)
    method = FourDVar(PROPAGATOR, np.ones(SITES), tolerance=1e-6, minimiser="Gauss-Newton")
    found = method.assimilate(observations, start, start)
    again, fewer = (
        replace(method, iterations=int(found.iterations) - less).assimilate(observations, start, start)
        for less in (0, 1)
    )
    assert found.converged and again.converged and not fewer.converged and again.cost == found.cost


@pytest.mark.parametrize("B", [None, np.ones(SITES), correlated()], ids=["no B", "diagonal B", "full B"])
@pytest.mark.parametrize("minimiser", MINIMISERS)
def test_the_first_guess_is_where_the_minimisation_begins(minimiser, B):
    """One at the analysis is nearly done; one of no use at all does the one iteration from there."""
    start, observations = twin(np.random.default_rng(26), windows=(), steps=6, number=6)
    method, background = (
        FourDVar(PROPAGATOR, B, tolerance=1e-6, minimiser=minimiser),
        None if B is None else start + 0.1,
    )
    found = method.assimilate(observations, start, background)
    again = method.assimilate(observations, found.state, background)
    assert again.iterations <= 1 < found.iterations and again.cost <= found.cost
    far, near = (
        replace(method, iterations=1).assimilate(observations, guess, background) for guess in (start - 1, start)
    )
    assert np.abs(far.state - near.state).max() > 1e-6


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_iterations_do_not_depend_on_the_units_of_the_cost(unit):
    """Errors of observations and background that are all so many times as large leave the analysis where it was."""
    start, observations = twin(np.random.default_rng(25), windows=(), steps=6, number=6)
    found, other = (
        FourDVar(PROPAGATOR, np.full(SITES, factor**2), tolerance=1e-6, minimiser="Gauss-Newton").assimilate(
            Observations(observations.operator, observations.values, factor), start, start
        )
        for factor in (1.0, unit)
    )
    assert other.iterations == found.iterations > 1 and found.converged and other.converged
    np.testing.assert_allclose(other.state, found.state, rtol=1e-9)
    np.testing.assert_allclose(other.cost, found.cost / unit**2, rtol=1e-9)


@pytest.mark.parametrize("Q", [None, 0.1 * correlated()], ids=["strong", "weak"])
def test_the_increment_is_the_dense_solution(Q):
    """One iteration of Gauss and Newton against the normal equations with explicit matrices."""
    rng = np.random.default_rng(22)
    start, observations = twin(rng, windows=(), steps=8, number=5, sigma=3.0)
    B, background = correlated(), start + 0.3 * rng.standard_normal(SITES)
    method = FourDVar(PROPAGATOR, B, iterations=1, model_cov=Q, minimiser="Gauss-Newton")
    found = method.assimilate(observations, background, background)
    y = PROPAGATOR.trajectory(background, 7)
    M = [PROPAGATOR.jacobian(state) for state in y[:-1]]
    # what each control, the start and seven errors, does to each state
    number = SITES if Q is None else 8 * SITES
    states = [np.eye(SITES, number)]
    for t in range(7):
        states.append(M[t] @ states[-1] + (0 if Q is None else np.eye(SITES, number, (t + 1) * SITES)))
    H = np.concatenate([states[t][observations.sites[t]] for t in range(8)])
    d = np.concatenate([observations.values[t] - y[t, observations.sites[t]] for t in range(8)])
    prior = np.kron(np.eye(number // SITES), np.linalg.inv(B if Q is None else Q))
    prior[:SITES, :SITES] = np.linalg.inv(B)
    increment = np.linalg.solve(prior + H.T @ H / 9, H.T @ d / 9)
    np.testing.assert_allclose(found.state, background + increment[:SITES], rtol=0, atol=1e-8)
    if Q is not None:
        np.testing.assert_allclose(found.model_errors, increment[SITES:].reshape(7, SITES), rtol=0, atol=1e-8)


def test_a_model_with_errors_needs_the_weak_constraint():
    """A truth with errors of the model is followed to the end of a long window by the weak constraint alone."""
    rng = np.random.default_rng(23)
    truth = [PROPAGATOR.forecast(rng.standard_normal(SITES), 400)]
    for _ in range(40):
        truth.append(PROPAGATOR.forecast(truth[-1], 4) + 0.3 * rng.standard_normal(SITES))
    truth = np.stack(truth)
    observations, guess = observe(truth, SITES, 0.5, rng), truth[0] + rng.standard_normal(SITES)
    found = {}
    for name, Q in {"strong": None, "weak": np.full(SITES, 0.09)}.items():
        method = FourDVar(PROPAGATOR, np.ones(SITES), 4, model_cov=Q, minimiser="Gauss-Newton", tolerance=1e-6)
        analysis = method.assimilate(observations, guess, guess)
        found[name] = rmse(method.trajectory(analysis.state, 41, analysis.model_errors), truth).mean()
    assert found["weak"] < 0.4 < 1.0 < found["strong"]


def test_model_errors_without_a_covariance_are_refused():
    start, observations = twin(np.random.default_rng(24), windows=(), steps=3)
    with pytest.raises(ValueError, match="model_errors: expected none, found some; give a model_cov"):
        FourDVar(PROPAGATOR).cost(start, observations, model_errors=np.zeros((2, SITES)))
    with pytest.raises(ValueError, match=r"model_errors: expected shape \(2, 12\)"):
        FourDVar(PROPAGATOR, model_cov=np.ones(SITES)).cost(start, observations, model_errors=np.zeros((3, SITES)))
    with pytest.raises(ValueError, match="minimiser: expected one of 'L-BFGS', 'Gauss-Newton'"):
        FourDVar(PROPAGATOR, minimiser="Newton")


def test_a_site_observed_twice_counts_twice():
    rng = np.random.default_rng(2)
    y = rng.standard_normal((1, SITES))
    observations = Observations(at_sites([3, 3], SITES), np.array([[1.0, 2.0]]), 0.5)
    J, y_ad = observations.misfit(y)
    assert pytest.approx(2 * ((y[0, 3] - 1) ** 2 + (y[0, 3] - 2) ** 2)) == J
    assert y_ad[0, 3] == pytest.approx(4 * (2 * y[0, 3] - 3))
    assert np.count_nonzero(y_ad) == 1


@pytest.mark.parametrize("cov", [None, np.full(SITES, 4.0), correlated()], ids=["no B", "diagonal B", "full B"])
def test_precise_observations_lead_to_the_truth(cov):
    rng = np.random.default_rng(3)
    start, observations = twin(rng, steps=30, number=SITES // 2, sigma=1e-4)
    guess = start + 0.3 * rng.standard_normal(start.shape)
    analysis = FourDVar(PROPAGATOR, cov, tolerance=1e-14).assimilate(
        observations, guess, None if cov is None else guess
    )
    assert np.abs(analysis.state - start).max() < 5e-3
    assert (analysis.evaluations > 1).all()


def test_a_window_has_the_errors_of_all():
    rng = np.random.default_rng(8)
    start, observations = twin(rng, windows=(2,), steps=4)
    n = observations.operator.n
    cov = 0.3 + np.diag(np.linspace(1.0, 2.0, n))
    own = Observations(observations.operator, observations.values, cov=cov)
    np.testing.assert_array_equal(own[1].cov, cov)
    method, x = FourDVar(PROPAGATOR), start + 0.1
    for window in (0, 1):
        assert method.cost(x[window], own[window])[0] == pytest.approx(method.cost(x, own)[0][window], rel=1e-12)


def test_single_precision_asks_for_no_more_than_it_can_tell():
    rng = np.random.default_rng(9)
    start, observations = twin(rng, steps=10)
    single = Observations(observations.operator, observations.values.astype(np.float32))
    guess = (start + 0.5 * rng.standard_normal(start.shape)).astype(np.float32)
    tried = [
        FourDVar(PROPAGATOR, tolerance=tolerance).assimilate(single, guess) for tolerance in (1e-14, 1e-10, 2.0**-23)
    ]
    assert len({(found.evaluations.tolist().__repr__(), found.state.tobytes()) for found in tried}) == 1


def test_a_window_does_not_depend_on_its_neighbours():
    rng = np.random.default_rng(4)
    start, observations = twin(rng, windows=(2, 3), steps=10)
    guess = start + rng.standard_normal(start.shape)
    method = FourDVar(PROPAGATOR, correlated())
    together = method.assimilate(observations, guess, guess)
    alone = method.assimilate(observations[1, 2], guess[1, 2], guess[1, 2])
    np.testing.assert_array_equal(together.state[1, 2], alone.state)


def test_the_cost_that_was_minimised_is_the_cost():
    rng = np.random.default_rng(12)
    start, observations = twin(rng, steps=6)
    method, background = FourDVar(PROPAGATOR, correlated()), start + rng.standard_normal(start.shape)
    analysis = method.assimilate(observations, start, background)
    np.testing.assert_allclose(analysis.cost, method.cost(analysis.state, observations, background)[0])


def test_without_observations_of_weight_the_background_stays():
    rng = np.random.default_rng(5)
    start, observations = twin(rng, windows=(), steps=4, sigma=1e8)
    background = start + rng.standard_normal(SITES)
    analysis = FourDVar(PROPAGATOR, correlated()).assimilate(observations, start, background)
    np.testing.assert_allclose(analysis.state, background, atol=1e-5)


def test_observations_at_every_second_step_are_taken_there():
    rng = np.random.default_rng(6)
    start = PROPAGATOR.forecast(rng.standard_normal(SITES), 400)
    observations = observe(PROPAGATOR.trajectory(start, 8, every=2), SITES, 1e-6, rng)
    J, gradient = FourDVar(PROPAGATOR, every=2).cost(start, observations)
    assert J < 2 * 5 * SITES and np.isfinite(gradient).all()


def test_the_first_guess_is_periodic_and_keeps_the_observations():
    observations = Observations(at_sites([1, 4, 9], SITES), np.array([[1.0, 4.0, -1.0]]))
    guess = interpolate(observations, SITES)
    np.testing.assert_allclose(guess[[1, 2, 3, 4]], [1, 2, 3, 4])
    np.testing.assert_allclose(guess[[9, 10, 11, 0, 1]], [-1, -0.5, 0, 0.5, 1])


class Cliff:
    """Nearly |z - 3| far from there, and beyond 4 as if a model blew up: from -50 on, steps lead over the cliff."""

    def cost(self, z):
        d = z[0] - 3
        return (np.inf, z) if d > 1 else (np.sqrt(1 + d**2), np.array([d / np.sqrt(1 + d**2)]))

    def linearised(self, z):
        return np.eye(1), 10 * (3 - z)


@pytest.mark.parametrize("minimise", MINIMISERS.values(), ids=MINIMISERS)
def test_minimisers_come_back_from_where_the_model_blows_up(minimise):
    found = minimise(Cliff(), np.array([-50.0]), 500, 1e-12)
    assert found.z[0] == pytest.approx(3, abs=1e-4)


def test_an_adjoint_beyond_all_numbers_is_a_trial_that_failed():
    """The run of some trial is finite, and its adjoint is not."""
    model = Propagator(Emulator(sq_net(), sq_net_of_lorenz96(8.0), 8), 0.05)
    rng = np.random.default_rng(0)
    start = model.forecast(rng.standard_normal(8), 400)
    observations = observe(model.trajectory(start, 3), 8, 1.0, rng)
    for s in np.linspace(75.0, 95.0, 21):
        found = FourDVar(model, np.full(8, s**2), iterations=10).assimilate(observations, start + 1, start + 1)
        assert np.isfinite(found.state).all()


def test_an_infinite_cost_at_the_start_is_reported():
    start, observations = twin(np.random.default_rng(9), windows=(), steps=4)
    far = Observations(observations.operator, np.full_like(observations.values, 1e200))
    with (
        pytest.raises(ArithmeticError, match="first_guess: expected a finite cost, found inf"),
        np.errstate(all="ignore"),
    ):
        FourDVar(PROPAGATOR).assimilate(far, start)


def test_the_first_guess_leaves_out_what_is_missing():
    operator = at_sites([0, 3, 6], SITES)
    values = np.array([[1.0, np.nan, 4.0]])
    guess = interpolate(Observations(operator, values), SITES)
    np.testing.assert_allclose(guess[[0, 3, 6]], [1.0, 2.5, 4.0])
    with pytest.raises(ValueError, match="observations: expected at least one at the first time"):
        interpolate(Observations(operator, np.full((1, 3), np.nan)), SITES)
    with pytest.raises(ValueError, match="states of 41 numbers"):
        interpolate(Observations(operator, values), 41)


def test_a_background_without_a_covariance_is_refused():
    start, observations = twin(np.random.default_rng(9), windows=(), steps=4)
    with pytest.raises(ValueError, match="background: expected none without a background_cov"):
        FourDVar(PROPAGATOR).assimilate(observations, start, start)


def test_a_first_guess_that_blows_up_is_reported():
    rng = np.random.default_rng(9)
    start, observations = twin(rng, windows=(), steps=60)
    with pytest.raises(BlowUpError, match="member 0 at step"):
        FourDVar(PROPAGATOR).assimilate(observations, 1e5 * start)


@pytest.mark.parametrize("model_cov", [None, np.full(SITES, 0.1)], ids=["strong", "weak"])
@pytest.mark.parametrize("cov", [None, np.full(SITES, 0.5)], ids=["no B", "B"])
def test_a_window_that_blows_up_has_an_infinite_cost_and_no_gradient(cov, model_cov):
    start, observations = twin(np.random.default_rng(9), windows=(3,), steps=30)
    method = FourDVar(PROPAGATOR, cov, model_cov=model_cov)
    x, background = start.copy(), None if cov is None else start + 0.1
    x[1] *= 1e5
    J, *gradients = method.cost(x, observations, background)
    assert J[1] == np.inf and not any(gradient[..., 1, :].any() for gradient in gradients)
    for window in (0, 2):
        own_background = None if cov is None else background[window]
        own_J, *own = method.cost(x[window], observations[window], own_background)
        assert own_J == pytest.approx(J[window], rel=1e-13) and np.isfinite(own_J)
        for gradient, own_gradient in zip(gradients, own):
            np.testing.assert_allclose(gradient[..., window, :], own_gradient, rtol=1e-10, atol=1e-12)
    J, *gradients = method.cost(x[1], observations[1], None if cov is None else background[1])
    assert np.isinf(J) and not any(gradient.any() for gradient in gradients)


def test_a_window_that_is_cut_for_its_adjoint_has_the_same_cost(monkeypatch):
    start, observations = twin(np.random.default_rng(9), windows=(2,), steps=30)
    J, gradient = FourDVar(PROPAGATOR).cost(start + 0.1, observations)
    monkeypatch.setattr("l96kit.propagators.TAPE_BYTES", 1)
    monkeypatch.setattr("l96kit._adjoint.CACHE_BYTES", 1)
    again = FourDVar(PROPAGATOR).cost(start + 0.1, observations)
    np.testing.assert_array_equal(again[0], J)
    np.testing.assert_array_equal(again[1], gradient)


def test_a_cost_beyond_the_largest_number_is_infinite():
    start, observations = twin(np.random.default_rng(9), windows=(), steps=1)
    J, gradient = FourDVar(PROPAGATOR).cost(1e200 * start, observations)
    assert np.isinf(J) and not gradient.any()


BEYOND = {"no number": (Pointwise(root, root_slope), -4.0), "too large": ("exponential", 800.0)}


@pytest.mark.parametrize("model_cov", [None, np.full(SITES, 0.1)], ids=["strong", "weak"])
@pytest.mark.parametrize("function, x", BEYOND.values(), ids=BEYOND)
def test_what_a_function_cannot_observe_costs_without_end(function, x, model_cov):
    """And only where there is a value: the second window has a gap there, the third another state."""
    operator = at_sites([0, 3], SITES).pointwise(function)
    observations = Observations(operator, np.array([[[2.0, 1.0], [np.nan, 1.0], [2.0, 1.0]]]))
    starts = np.full((3, SITES), 4.0)
    starts[:2, 0] = x
    method = FourDVar(PROPAGATOR, np.ones(SITES), model_cov=model_cov)
    with np.errstate(all="ignore"):
        found = observations.misfit(starts[None])
        costs = method.cost(starts, observations, starts)[:2]
        with pytest.raises(ArithmeticError, match="first_guess: expected a finite cost, found inf"):
            method.assimilate(observations, starts, starts)
    other, slope = (2.0, 0.25) if x < 0 else np.exp((4.0, 4.0))
    expected, expected_ad = np.array([np.inf, (other - 1) ** 2, (other - 2) ** 2 + (other - 1) ** 2]) / 2, 0 * starts
    expected_ad[1:, 3], expected_ad[2, 0] = slope * (other - 1), slope * (other - 2)
    for cost_of_each, gradient in (found, costs):
        np.testing.assert_allclose(cost_of_each, expected)
        np.testing.assert_allclose(gradient.reshape(3, SITES), expected_ad)


def test_a_minimiser_of_the_users_comes_back_from_a_step_too_long():
    start, observations = twin(np.random.default_rng(9), windows=(), steps=30)
    method, costs = FourDVar(PROPAGATOR), []

    def cost(x):
        costs.append(method.cost(start + 1e3 * (x - start), observations))  # so badly scaled that first steps are far
        J, gradient = costs[-1]
        return J, 1e3 * gradient

    found = minimize(cost, start + 1e-3, jac=True, method="BFGS", options={"maxiter": 60})
    assert any(np.isinf(J) for J, _ in costs)
    assert found.fun < costs[0][0] / 2


BAD_OBSERVATIONS = {
    "index out of range": (ValueError, r"expected sites 0\.\.11, found 12", {"sites": [[12]], "values": [[0.0]]}),
    "negative index": (ValueError, r"expected sites 0\.\.11, found -1", {"sites": [[-1]], "values": [[0.0]]}),
    "sites not integer": (TypeError, "expected integers, found float64", {"sites": [[1.0]], "values": [[0.0]]}),
    "values not finite": (ValueError, "found infinite ones", {"sites": [[1]], "values": [[np.inf]]}),
    "a covariance with gaps": (
        ValueError,
        "numbers everywhere with a covariance, found NaN",
        {"sites": [[1, 2]], "values": [[0.0, np.nan]], "cov": np.eye(2)},
    ),
    "a covariance of another size": (
        ValueError,
        r"cov: expected shape \(1, 1\), found \(2, 2\)",
        {"sites": [[1]], "values": [[0.0]], "cov": np.eye(2)},
    ),
    "values integer": (TypeError, "expected float32 or float64", {"sites": [[1]], "values": [[1]]}),
    "numbers differ": (
        ValueError,
        r"expected shape \(time, ..., 2\), found \(1, 1\)",
        {"sites": [[1, 2]], "values": [[0.0]]},
    ),
    "sigma without an axis": (
        ValueError,
        r"sigma: expected one number or an array with the axes of values \(1, 1\), found \(1,\)",
        {"sites": [[1]], "values": [[0.0]], "sigma": np.ones(1)},
    ),
    "no error": (ValueError, "expected positive finite", {"sites": [[1]], "values": [[0.0]], "sigma": 0.0}),
}


@pytest.mark.parametrize("error, message, arguments", BAD_OBSERVATIONS.values(), ids=BAD_OBSERVATIONS)
def test_bad_observations(error, message, arguments):
    with pytest.raises(error, match=message):
        more = {name: value for name, value in arguments.items() if name not in ("sites", "values")}
        observations = Observations(at_sites(arguments["sites"], SITES), np.array(arguments["values"]), **more)
        FourDVar(PROPAGATOR).cost(np.zeros(SITES), observations)


def test_observations_of_another_state_are_refused():
    observations = Observations(at_sites([1], SITES + 1), np.zeros((1, 1)))
    with pytest.raises(ValueError, match=r"an operator for states of 12 numbers, found one for 13"):
        FourDVar(PROPAGATOR).cost(np.zeros(SITES), observations)


BAD_COVARIANCES = {
    "shape": (ValueError, "expected shape", np.ones(SITES + 1)),
    "negative variance": (ValueError, "positive definite", -np.ones(SITES)),
    "no variance": (ValueError, "positive variances, found 0; it must", np.arange(SITES, dtype=float)),
    "not symmetric": (ValueError, "symmetric", np.eye(SITES) + np.eye(SITES, k=1)),
    "small and not symmetric": (ValueError, "symmetric", 1e-8 * (np.eye(SITES) + np.eye(SITES, k=1))),
    "not positive definite": (ValueError, "smallest eigenvalue -1", np.ones((SITES, SITES)) - np.eye(SITES)),
    "not finite": (ValueError, "expected finite", np.full(SITES, np.inf)),
    "integer": (TypeError, "float32 or float64", np.ones(SITES, int)),
}


@pytest.mark.parametrize("error, message, cov", BAD_COVARIANCES.values(), ids=BAD_COVARIANCES)
def test_bad_covariances(error, message, cov):
    with pytest.raises(error, match=message):
        FourDVar(PROPAGATOR, cov)


@pytest.mark.parametrize("cov", [np.linspace(0.5, 2, 5), np.eye(5) + 0.3], ids=["variances", "covariance"])
@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
def test_a_square_root_is_solved_for_states_of_any_leading_axes(cov, leading):
    root, x = SquareRoot(cov, 5, "cov"), np.random.default_rng(11).standard_normal((*leading, 5))
    L = np.linalg.cholesky(cov if cov.ndim == 2 else np.diag(cov))
    np.testing.assert_allclose(root.multiply(x), x @ L.T, rtol=1e-12)
    np.testing.assert_allclose(root.multiply_transposed(x), x @ L, rtol=1e-12)
    np.testing.assert_allclose(root.solve(x), np.linalg.solve(L, x.reshape(-1, 5).T).T.reshape(x.shape), rtol=1e-12)


def test_a_covariance_may_be_asymmetric_by_its_rounding():
    large = 1e8 * (np.eye(SITES) + 0.1)
    large[0, 1] *= 1 + 1e-9
    assert FourDVar(PROPAGATOR, large).background_cov[0, 1] == large[0, 1]


def test_a_background_term_needs_a_background():
    rng = np.random.default_rng(10)
    start, observations = twin(rng, windows=(), steps=3)
    with pytest.raises(ValueError, match="background: expected a state"):
        FourDVar(PROPAGATOR, np.ones(SITES)).assimilate(observations, start)


def test_a_background_of_another_shape_or_without_numbers_is_refused():
    start, observations = twin(np.random.default_rng(12), windows=(3,), steps=3)
    method = FourDVar(PROPAGATOR, np.ones(SITES))
    with pytest.raises(ValueError, match=r"background: expected a shape that broadcasts to \(3, 12\), found \(2, 12\)"):
        method.cost(start, observations, start[:2])
    with pytest.raises(ValueError, match="background: expected finite numbers"):
        method.cost(start, observations, np.full_like(start, np.nan))


def test_single_precision_converges():
    start, observations = twin(np.random.default_rng(13), windows=(), steps=24)
    single = Observations(observations.operator, observations.values.astype(np.float32))
    analysis = FourDVar(PROPAGATOR, every=1).assimilate(single, start.astype(np.float32))
    assert analysis.converged and analysis.state.dtype == np.float32


def test_one_first_guess_for_each_window():
    rng = np.random.default_rng(11)
    start, observations = twin(rng, windows=(3,), steps=3)
    with pytest.raises(ValueError, match=r"first_guess: expected shape \(3, 12\)"):
        FourDVar(PROPAGATOR).assimilate(observations, start[0])


def test_the_misfit_does_not_depend_on_the_layout():
    rng = np.random.default_rng(14)
    start, observations = twin(rng, windows=(3,), steps=4)
    y = PROPAGATOR.trajectory(start + rng.standard_normal(start.shape), 3)
    J, y_ad = observations.misfit(y)
    for other in (np.asfortranarray(y), np.ascontiguousarray(y.swapaxes(0, 1)).swapaxes(0, 1)):
        again, other_ad = observations.misfit(other)
        np.testing.assert_array_equal(again, J)
        np.testing.assert_array_equal(other_ad, y_ad)


def test_a_state_for_each_window_observed():
    start, observations = twin(np.random.default_rng(15), windows=(3,), steps=4)
    with pytest.raises(ValueError, match=r"x: expected shape \(3, 12\), one state a window, found \(1, 12\)"):
        FourDVar(PROPAGATOR).cost(start[:1], observations)
    with pytest.raises(ValueError, match=r"y: expected shape \(4, 3, 'site'\)"):
        observations.misfit(PROPAGATOR.trajectory(start[:1], 3))


def test_errors_of_the_model_fit_the_times():
    method, x = FourDVar(PROPAGATOR, model_cov=np.ones(SITES)), PROPAGATOR.forecast(np.full(SITES, 8.1), 10)
    with pytest.raises(ValueError, match=r"model_errors: expected shape \(5, 12\)"):
        method.trajectory(x, 6, np.zeros((2, SITES)))
    observations = observe(x[None], SITES, 1.0, np.random.default_rng(0))
    alone = method.assimilate(observations, x)
    assert method.cost(alone.state, observations, model_errors=alone.model_errors)[0] == pytest.approx(alone.cost)
