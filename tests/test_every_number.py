"""Every number that a result holds, against a formula in NumPy, on axes of different lengths, with experiments that
differ and all settings away from their defaults.

Random numbers are not looked at: what is held against a formula is what no draw has touched, such as the first
forecast, and what can be seen from outside, such as the last ensemble.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.sparse.linalg import aslinearoperator

from l96kit import FourDVar, Lorenz96, Network, Propagator, Training, lyapunov_spectrum
from l96kit._minimisers import MINIMISERS
from l96kit._steps import steps_of
from l96kit._training_run import Run
from l96kit.baselines import Baseline, CycledFourDVar, climatology
from l96kit.ensemble_variational import FourDEnVar
from l96kit.filters import ESRF, ETKF, LETKF, Assimilation, EnKF, EnKFN, IEnKS, ParticleFilter
from l96kit.localization import Localization
from l96kit.networks import convolution, relu, tanh
from l96kit.observation_operators import at_sites, every, interpolation, random_sites, rotating
from l96kit.observations import Observations, interpolate, observe
from l96kit.predictability import LyapunovSpectrum
from l96kit.twin import cycled_fourdvar, spun_up
from l96kit.twin_experiments import TwinExperiment

SITES, EVERY, CYCLES, EXPERIMENTS = 12, 3, 5, 2
PROPAGATOR = Propagator(Lorenz96(SITES, 8.0), 0.01, "euler")
OPERATOR = interpolation(np.array([0.0, 1.5, 4.2, 4.3, 7.0]), SITES)
SIGMA = np.array([0.5, 0.7, 0.9, 1.1, 1.3])
METHODS = {
    "EnKF": EnKF(9),
    "ETKF": ETKF(7),
    "ESRF": ESRF(8),
    "EnKF-N": EnKFN(9, strength=1.5),
    "LETKF": LETKF(7, localization=Localization(2.0)),
    "IEnKS": IEnKS(9, lag=1, iterations=2),
    "particles": ParticleFilter(11, jitter=0.7),
    "4DEnVar": FourDEnVar(9, window=CYCLES, localization=Localization(2.0)),
}


def setting(members, dtype=np.float64):
    """Truth (time, experiment, site), observations of which some are missing, and ensembles whose spread differs."""
    rng = np.random.default_rng(0)
    start = PROPAGATOR.forecast(rng.standard_normal((EXPERIMENTS, SITES)), 2000)
    truth = PROPAGATOR.trajectory(start, CYCLES * EVERY, EVERY)[1:].astype(dtype)
    values = OPERATOR.observe(truth) + SIGMA * rng.standard_normal((CYCLES, EXPERIMENTS, 5))
    values[0, 0, 2], values[2, 1] = np.nan, np.nan
    spreads = np.array([0.5, 2.0])[:, None, None]
    ensemble = start[:, None] + spreads * rng.standard_normal((EXPERIMENTS, members, SITES))
    return truth, Observations(OPERATOR, values.astype(dtype), SIGMA[None, None]), ensemble.astype(dtype)


def scores(E, truth):
    """RMSE of the mean, spread and CRPS of an ensemble (member, site)."""
    pairs = np.abs(E[:, None] - E[None]).mean(axis=(0, 1))
    return (
        np.sqrt(np.mean((E.mean(axis=0) - truth) ** 2)),
        np.sqrt(np.mean(((E - E.mean(axis=0)) ** 2).sum(axis=0) / (len(E) - 1))),
        np.mean(np.abs(E - truth).mean(axis=0) - pairs / 2),
    )


@pytest.mark.parametrize("name, dtype", [*((name, "float64") for name in METHODS), ("4DEnVar", "float32")])
def test_all_that_a_filter_returns(name, dtype):
    method, tolerance = METHODS[name], {"float64": 1e-10, "float32": 1e-4}[dtype]
    propagator = Propagator(PROPAGATOR.model, 0.01, {"float64": "euler", "float32": "rk4"}[dtype])  # compiled elsewhere
    truth, observations, ensemble = setting(method.members, dtype)
    found = method.assimilate(propagator, observations, ensemble, EVERY, truth, np.random.default_rng(1))
    first = propagator.forecast(ensemble, EVERY)
    for e in range(EXPERIMENTS):
        ends = [("forecast", 0, first[e])] + [("analysis", -1, found.ensemble[e])] * (name != "IEnKS")
        for which, t, E in ends:
            own = [getattr(found, f"{which}_{score}")[t, e] for score in ("rmse", "spread", "crps")]
            np.testing.assert_allclose(own, scores(E, truth[t, e]), rtol=tolerance)
            np.testing.assert_allclose(getattr(found, which)[t, e], E.mean(axis=0), atol=10 * tolerance)
        seen = np.isfinite(observations.values[0, e])
        Y = OPERATOR.observe(first[e])[:, seen] / SIGMA[seen]
        departure = observations.values[0, e, seen] / SIGMA[seen] - Y.mean(axis=0)
        np.testing.assert_allclose(found.innovation[0, e], np.sqrt(np.mean(departure**2)), rtol=10 * tolerance)
        expected = np.sqrt(1 + np.mean(Y.var(axis=0, ddof=1)))
        np.testing.assert_allclose(found.innovation_expected[0, e], expected, rtol=10 * tolerance)
    assert np.isnan(found.innovation[2, 1]) and np.isnan(found.innovation_expected[2, 1])
    assert np.isfinite(found.innovation).sum() == CYCLES * EXPERIMENTS - 1
    assert found.forecast_ranks.sum(axis=-1).tolist() == [CYCLES * SITES] * EXPERIMENTS
    assert found.analysis_ranks.shape == (EXPERIMENTS, method.members + 1)
    kept = "ensemble", "forecast", "analysis", "forecast_rmse", "analysis_spread", "forecast_crps", "innovation"
    assert {getattr(found, own).dtype.name for own in (*kept, "innovation_expected")} == {dtype}


@pytest.mark.parametrize("name", METHODS)
def test_ranks_of_one_forecast(name):
    """No member equals the truth, so that nothing is drawn."""
    method = replace(METHODS[name], **({"window": 1} if name == "4DEnVar" else {}))
    truth, observations, ensemble = setting(method.members)
    once = Observations(OPERATOR, observations.values[:1], SIGMA[None, None])
    found = method.assimilate(PROPAGATOR, once, ensemble, EVERY, truth[:1], np.random.default_rng(1))
    below = (PROPAGATOR.forecast(ensemble, EVERY) < truth[0][:, None]).sum(axis=1)
    for e in range(EXPERIMENTS):
        expected = np.bincount(below[e], minlength=method.members + 1)
        np.testing.assert_array_equal(found.forecast_ranks[e], expected)


@pytest.mark.parametrize("name", METHODS)
def test_each_experiment_has_an_inflation_and_a_generator_of_its_own(name):
    method = replace(METHODS[name], inflation=[1.02, 1.3])
    truth, observations, ensemble = setting(method.members)

    def run(method, e=None):
        own = slice(None) if e is None else slice(e, e + 1)
        given = Observations(OPERATOR, observations.values[:, own], SIGMA[None, None])
        rngs = [np.random.default_rng(seed) for seed in (3, 4)][own]
        return method.assimilate(PROPAGATOR, given, ensemble[own], EVERY, truth[:, own], rngs)

    both = run(method)
    for e, inflation in enumerate((1.02, 1.3)):
        alone = run(replace(method, inflation=inflation), e)
        for which in ("ensemble", "forecast_ranks"):
            np.testing.assert_array_equal(getattr(both, which)[e], getattr(alone, which)[0])
        for which in ("analysis", "analysis_spread", "forecast_crps", "innovation_expected"):
            np.testing.assert_array_equal(getattr(both, which)[:, e], getattr(alone, which)[:, 0])


@pytest.mark.parametrize("name", METHODS)
def test_what_is_not_wanted_is_left_out_and_nothing_else(name):
    truth, observations, ensemble = setting(METHODS[name].members)
    given = PROPAGATOR, observations, ensemble, EVERY, truth
    whole, few = (
        METHODS[name].assimilate(*given, np.random.default_rng(1), *choice) for choice in ((), ("scores", False))
    )
    assert few.forecast is few.analysis is few.forecast_ranks is few.analysis_ranks is None
    assert np.isnan(few.forecast_crps).all() and np.isnan(few.analysis_crps).all()
    for which in ("ensemble", "forecast_rmse", "analysis_rmse", "forecast_spread", "analysis_spread", "innovation"):
        np.testing.assert_array_equal(getattr(few, which), getattr(whole, which))


def test_inflation_multiplies_the_anomalies_after_the_analysis():
    truth, observations, ensemble = setting(7)
    given = PROPAGATOR, Observations(OPERATOR, observations.values[:1], SIGMA[None, None]), ensemble, EVERY, truth[:1]
    plain, inflated = (ETKF(7, own).assimilate(*given) for own in (1.0, [1.5, 2.5]))
    mean = plain.ensemble.mean(axis=1, keepdims=True)
    expected = mean + np.array([1.5, 2.5])[:, None, None] * (plain.ensemble - mean)
    np.testing.assert_allclose(inflated.ensemble, expected, atol=1e-12)
    np.testing.assert_allclose(inflated.analysis_spread, plain.analysis_spread * [1.5, 2.5], rtol=1e-12)
    np.testing.assert_array_equal(inflated.forecast_spread, plain.forecast_spread)


def test_a_rotation_keeps_mean_and_covariance_and_moves_members():
    for members in (2, 3, 7):
        truth, observations, ensemble = setting(members)
        nothing = Observations(OPERATOR, np.full((1, EXPERIMENTS, 5), np.nan))
        found = ETKF(members, rotation=True).assimilate(
            PROPAGATOR, nothing, ensemble, EVERY, rng=np.random.default_rng(2)
        )
        forecast = PROPAGATOR.forecast(ensemble, EVERY)
        np.testing.assert_allclose(found.ensemble.mean(axis=1), forecast.mean(axis=1), atol=1e-12)
        for one, other in zip(found.ensemble, forecast):
            np.testing.assert_allclose(np.cov(one.T), np.cov(other.T), atol=1e-11)
        moved = np.abs(found.ensemble - forecast).max(axis=(1, 2)) > 0.1
        assert moved.all() or members == 2  # two members stay or change places


def test_averages_leave_out_the_burn_in():
    truth, observations, ensemble = setting(7)
    found = ETKF(7).assimilate(PROPAGATOR, observations, ensemble, EVERY, truth)
    averages = found.averages(burn_in=2)
    wanted = {f"{which}_{score}" for which in ("forecast", "analysis") for score in ("rmse", "spread", "crps")}
    assert set(averages) == wanted | {"innovation", "innovation_expected"}
    for name, mean in averages.items():
        np.testing.assert_allclose(mean, np.nanmean(getattr(found, name)[2:], axis=0), rtol=1e-12)
    baseline = CycledFourDVar(np.eye(SITES)).assimilate(PROPAGATOR, observations, ensemble[:, 0], EVERY, truth)
    averages = baseline.averages(burn_in=2)
    assert set(averages) == {"forecast_rmse", "analysis_rmse"}
    for name, mean in averages.items():
        np.testing.assert_allclose(mean, getattr(baseline, name)[2:].mean(axis=0), rtol=1e-12)
    with pytest.raises(ValueError, match="burn_in: expected 0..4 of 5 cycles, found 5"):
        found.averages(burn_in=5)


@pytest.mark.parametrize(("kind", "last"), [(Assimilation, "ensemble"), (Baseline, "analysis")])
def test_what_blew_up_has_no_averages(kind, last):
    """The first of two experiments has scores, but only in the first two of four cycles."""
    scores = np.array([[1.0, 1.0], [2.0, 3.0], [np.nan, 4.0], [np.nan, 8.0]])
    lost = np.array([[[np.nan]], [[1.0]]])
    own = dict.fromkeys(kind.__dataclass_fields__, scores) | {last: lost if last == "ensemble" else lost[None, ..., 0]}
    averages = kind(**own).averages()
    assert averages and all(np.isnan(mean[0]) and mean[1] == 4.0 for mean in averages.values())


# --- twin experiments -------------------------------------------------------------------------------------------------

TWIN = TwinExperiment(PROPAGATOR, rotating(3, SITES), 0.5, every=2, cycles=6, seeds=(3, 5), spin_up=4.0)


@pytest.mark.parametrize("simulator", [None, Propagator(Lorenz96(SITES, 9.0), 0.005, "euler")], ids=["own", "other"])
def test_the_spin_up_is_in_time_units(simulator):
    """A longer one is a shorter one, run on; nothing else depends on it."""
    short, long = (replace(TWIN, simulator=simulator, spin_up=spin_up) for spin_up in (4.0, 4.5))
    own = PROPAGATOR if simulator is None else simulator
    steps = round(0.5 / own.dt)
    np.testing.assert_array_equal(long.truth[0], own.forecast(short.truth[0], steps))
    np.testing.assert_array_equal(long.ensemble(4), own.forecast(short.ensemble(4), steps))
    errors = [own.observations.values - own.observations.of(own.truth) for own in (short, long)]
    np.testing.assert_allclose(*errors, atol=1e-12)


def test_random_numbers_serve_one_purpose_each():
    """Without a spin-up that counts, all draws can be seen: starts, errors of observations, members."""
    experiment = replace(TWIN, spin_up=1e-9, every=1, cycles=3)
    noise = (experiment.observations.values - experiment.observations.of(experiment.truth)) / 0.5
    about = replace(experiment, start="truth", spread=2.0)
    free, perturbed = experiment.ensemble(5), about.ensemble(5)
    start = (perturbed - 2 * (perturbed - replace(about, spread=1.0).ensemble(5)))[:, 0]
    draws = noise, free, (perturbed - start[:, None]) / 2, start
    for e in range(2):
        numbers = [np.round(noise[:, e] if index == 0 else own[e], 9).ravel() for index, own in enumerate(draws)]
        for index, one in enumerate(numbers):
            assert len(set(one)) == one.size
            for other in numbers[index + 1 :]:
                assert not set(one) & set(other) or index == 1  # members are drawn from one stream either way
        assert not set(numbers[1]) & set(numbers[3]) and not set(numbers[2]) & set(numbers[3])
    np.testing.assert_allclose(noise.std(), 1, atol=0.35)


def test_observations_have_the_errors_asked_for():
    cov = np.array([[1.0, 0.6, 0.0], [0.6, 2.0, -0.3], [0.0, -0.3, 0.5]])
    experiment = replace(TWIN, operator=rotating(4, SITES), sigma=None, cov=cov, cycles=4000, seeds=7, spin_up=1.0)
    errors = (experiment.observations.values - experiment.observations.of(experiment.truth))[:, 0]
    np.testing.assert_allclose(np.cov(errors.T), cov, atol=0.12)
    np.testing.assert_array_equal(experiment.observations.covariance, cov)


def test_the_numbers_of_a_cycled_4d_var():
    rng, method = np.random.default_rng(3), FourDVar(FINE, iterations=7)
    start = spun_up(method.propagator, 2, 10, rng)
    found = cycled_fourdvar(method, start, 12, 3, number=4, sigma=0.6, rng=rng, leads=(0, 5))
    assert found.window == 12 and found.forecast_leads.tolist() == [0, 5]
    np.testing.assert_array_equal(found.truth[0], start)
    for which in ("background", "analysis"):
        expected = np.sqrt(((getattr(found, which) - found.truth) ** 2).mean(axis=-1))
        np.testing.assert_allclose(getattr(found, f"{which}_rmse"), expected, rtol=1e-12)
    for cycle in range(3):  # each window again, from what is kept of it
        sites = np.argwhere(np.isfinite(found.observed[cycle]))[:, 2].reshape(12, 2, 4)
        values = np.take_along_axis(found.observed[cycle], sites, axis=-1)
        again = method.assimilate(Observations(at_sites(sites, SITES), values, 0.6), found.background[cycle])
        np.testing.assert_array_equal(again.state, found.analysis[cycle])
        np.testing.assert_array_equal(again.evaluations, found.evaluations[cycle])
    errors = found.observed[0] - method.propagator.trajectory(start, 11)
    assert np.nanstd(errors) == pytest.approx(0.6, rel=0.25)


def test_errors_ahead_start_where_they_are_asked_to():
    found = TWIN.run(ETKF(6, 1.02))
    errors = TWIN.lead_errors(found, (0, 2), burn_in=1, stride=2)
    starts = np.array([1, 3])
    ahead = PROPAGATOR.forecast(found.analysis[starts], 4)
    for lead, states in ((0, found.analysis[starts]), (1, ahead)):
        truth = TWIN.truth[starts + 2 * lead]
        np.testing.assert_allclose(errors[lead], np.sqrt(((states - truth) ** 2).mean(axis=-1)), rtol=1e-12)


def test_times_are_rounded_to_steps():
    """0.3 / 0.1 is a little less than 3."""
    for time, steps in ((0.3, 3), (0.29, 3), (0.24, 2), (1e-9, 0)):
        assert steps_of(time, "time", Propagator(PROPAGATOR.model, 0.1)) == steps


def test_durations_of_spin_ups_and_climatologies():
    rng = np.random.default_rng
    expected = PROPAGATOR.forecast(rng(7).standard_normal((3, SITES)), 150)
    np.testing.assert_array_equal(spun_up(PROPAGATOR, 3, 1.5, rng(7)), expected)
    mean, cov = climatology(PROPAGATOR, rng(8), states=450, spin_up=0.3, spacing=0.04)  # of 200 runs, three times
    runs = PROPAGATOR.forecast(rng(8).standard_normal((200, SITES)), 30)
    states = PROPAGATOR.trajectory(runs, 8, 4).reshape(-1, SITES)[:450]
    np.testing.assert_allclose(mean, states.sum(axis=0) / 450, rtol=1e-12)
    np.testing.assert_allclose(cov, (states - mean).T @ (states - mean) / 449, rtol=1e-10)


def test_the_sites_of_operators():
    def sites(operator):
        return operator.indices[..., 0].tolist()

    assert sites(rotating(3, 6)) == [[0, 3], [1, 4], [2, 5]]
    assert sites(rotating(3, 6, backwards=True)) == [[0, 3], [2, 5], [1, 4]]
    assert sites(rotating(2, 8, fields=2)) == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert sites(every(4, 12, start=1)) == [[1, 5, 9]] and sites(every(2, 8, start=1, fields=2)) == [[1, 3, 5, 7]]
    chosen = np.array(sites(random_sites(4, 9, 50, np.random.default_rng(9))))
    assert (
        (np.diff(chosen, axis=1) > 0).all() and set(chosen.ravel()) == set(range(9)) and len({*map(tuple, chosen)}) > 30
    )


NO_SITES = {"means": interpolation([0.5, 3.5], SITES), "tanh": at_sites([1, 2], SITES).pointwise("tanh")}


@pytest.mark.parametrize("operator", NO_SITES.values(), ids=NO_SITES)
def test_observations_of_no_single_sites_have_none(operator):
    with pytest.raises(ValueError, match="sites: expected observations of single sites, found functions of several"):
        _ = Observations(operator, np.zeros((2, operator.n))).sites


def test_a_baseline_blew_up_where_a_number_of_its_last_state_did():
    analysis = np.zeros((4, 3, SITES))
    analysis[-1, 1, 2], analysis[0, 2, 0] = np.nan, np.inf
    assert Baseline(analysis, analysis, np.zeros((4, 3)), np.zeros((4, 3))).blew_up.tolist() == [False, True, False]


# --- training ---------------------------------------------------------------------------------------------------------

SMALL = Network((convolution(3, 4), tanh(), convolution(2, 2), relu(), convolution(1)), "small")


def test_histories_of_a_training():
    """Losses are means over the minibatches between validations, whatever their number."""
    y = Propagator(Lorenz96(SITES, 8.0), 0.05).trajectory(setting(2)[0][0], 25)
    settings = {"batch": 8, "epochs": 3, "learning_rate": 0.01}
    each, pairs = (
        Training(SMALL, 0.05, validate_every=often, **settings).fit(y, y[:9], seeds=[4, 9]) for often in (1, 4)
    )
    assert each.updates.tolist() == list(range(1, 19)) and pairs.updates.tolist() == [4, 8, 12, 16, 18]
    parts = np.split(each.training_losses, [4, 8, 12, 16])
    np.testing.assert_allclose(pairs.training_losses, [part.mean(axis=0) for part in parts], rtol=1e-12)
    np.testing.assert_array_equal(pairs.validation_losses, each.validation_losses[pairs.updates - 1])
    np.testing.assert_array_equal(pairs.loss, pairs.validation_losses.min(axis=0))
    assert (pairs.learning_rates == 0.01).all() and pairs.converged.tolist() == [False] * 2 and pairs.seeds == (4, 9)
    np.testing.assert_array_equal(pairs.best, pairs.weights[pairs.loss.argmin()])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_training_keeps_its_state_in_the_precision_of_its_data(dtype):
    run = Run.begin(Training(SMALL, 0.05), dtype, (3, 4), None)
    for name in ("weights", "means", "squares", "best"):
        own = getattr(run, name)
        assert own.dtype == dtype and own.shape == (2, SMALL.size), name


# --- 4D-Var -----------------------------------------------------------------------------------------------------------


FINE = Propagator(Lorenz96(SITES, 8.0), 0.0125)


def windows():
    rng = np.random.default_rng(4)
    start = FINE.forecast(rng.standard_normal((3, SITES)), 400)
    observations = observe(FINE.trajectory(start, 8, 2), 5, 0.7, rng)
    sigma = np.broadcast_to(np.array([0.3, 0.7, 1.1])[None, :, None], observations.values.shape)
    values = observations.values.copy()
    values[1, 2, 0] = np.nan
    return Observations(observations.operator, values, sigma), start + rng.standard_normal(start.shape)


@pytest.mark.parametrize("shape", [(), (1, 3, 1), (5, 1, 5), (1, 1, 1), (5, 3, 5)])
def test_errors_of_observations_broadcast_and_so_do_those_of_a_window(shape):
    """A number, or an array whose axes (time, window, observation) are whole or of length 1."""
    observations, _ = windows()
    sigma = np.random.default_rng(8).uniform(0.1, 1, shape)
    everything = Observations(observations.operator, observations.values, sigma)
    for window in range(3):
        expected = np.broadcast_to(sigma, observations.values.shape)[:, window]
        np.testing.assert_array_equal(np.broadcast_to(everything[window].sigma, expected.shape), expected)


def test_observations_of_a_window_keep_its_own_errors():
    observations, guess = windows()
    method = FourDVar(FINE, every=2)
    J, gradient = method.cost(guess, observations)
    for window, sigma in enumerate((0.3, 0.7, 1.1)):
        own = observations[window]
        np.testing.assert_array_equal(own.sigma, np.full(own.values.shape, sigma))
        np.testing.assert_array_equal(own.sites, observations.sites[:, window])
        y = FINE.trajectory(guess[window], 8, 2)
        seen = np.isfinite(own.values)
        departure = np.take_along_axis(y, own.sites, axis=-1)[seen] - own.values[seen]
        assert J[window] == pytest.approx(0.5 * (departure**2).sum() / sigma**2, rel=1e-12)
        one, own_gradient = method.cost(guess[window], own)
        assert one == pytest.approx(J[window], rel=1e-13)
        np.testing.assert_allclose(own_gradient, gradient[window], rtol=0, atol=1e-11 * np.abs(gradient).max())


@pytest.mark.parametrize("iterations, converged", [(3, False), (200, True)])
def test_iterations_and_evaluations_are_those_of_scipy(iterations, converged):
    observations, guess = windows()
    method = FourDVar(FINE, every=2, iterations=iterations, tolerance=1e-7)
    found = method.assimilate(observations, guess)
    for window in range(3):
        expected = minimize(
            lambda x, own=observations[window]: method.cost(x, own),
            guess[window],
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": iterations, "ftol": 1e-7, "gtol": 1e-7},
        )
        assert found.iterations[window] == expected.nit and found.evaluations[window] == expected.nfev
        assert found.iterations[window] != found.evaluations[window]
        assert found.converged[window] == expected.success == converged
        assert found.converged.dtype == bool and found.iterations.dtype == found.evaluations.dtype == int
        assert found.cost[window] == pytest.approx(expected.fun, rel=1e-12)
        np.testing.assert_allclose(found.state[window], expected.x, rtol=0, atol=1e-10)


class Counted:
    """1/2 |x|^4 + 1/2 |x - 1|^2 from far off, with all that is asked of it counted."""

    def __init__(self):
        self.costs = self.products = self.transposed = self.linearisations = 0

    def cost(self, z):
        self.costs += 1
        return 0.5 * (z @ z) ** 2 + 0.5 * ((z - 1) ** 2).sum(), 2 * (z @ z) * z + z - 1

    def linearised(self, z):
        self.linearisations += 1
        A = np.concatenate([2 * z[None], np.eye(len(z))])
        operator = aslinearoperator(A)

        def count(name, product):
            def counted(v):
                setattr(self, name, getattr(self, name) + 1)
                return product(v)

            return counted

        operator._matvec, operator._rmatvec = (
            count("products", operator._matvec),
            count("transposed", operator._rmatvec),
        )
        return operator, np.concatenate([[-z @ z], 1 - z])


def test_iterations_are_limited_and_the_evaluations_that_a_line_search_takes_are_not():
    """Of a valley whose walls rise with the fourth power, each iteration takes several."""

    class Valley:
        def cost(self, z):
            return (z**4).sum() + 1e-3 * ((z - 1) ** 2).sum(), 4 * z**3 + 2e-3 * (z - 1)

    found = MINIMISERS["L-BFGS"](Valley(), np.array([100.0, -3.0, 0.5]), 3, 1e-12)
    assert found.iterations == 3 and found.evaluations > 4 and not found.converged


def test_gauss_and_newton_count_what_they_ask_for():
    problem = Counted()
    found = MINIMISERS["Gauss-Newton"](problem, np.array([3.0, -2.0, 1.0]), 40, 1e-12)
    assert found.iterations == problem.linearisations > 3
    assert found.evaluations == problem.costs + problem.transposed
    assert found.converged and np.abs(problem.cost(found.z)[1]).max() < 1e-5
    assert found.cost == problem.cost(found.z)[0]
    few = MINIMISERS["Gauss-Newton"](Counted(), np.array([3.0, -2.0, 1.0]), 2, 1e-12)
    assert few.iterations == 2 and not few.converged


class Uphill(Counted):
    """Its derivative has the wrong sign, so that no step is short enough."""

    def linearised(self, z):
        A, d = super().linearised(z)
        return A, -d


class Lost:
    """A cost whose gradient soon is no number, so that SciPy loses its way without a word."""

    def cost(self, z):
        return float(z @ z), 2 * z if np.abs(z).max() > 2.9 else np.full(3, np.nan)


def test_a_minimiser_that_lost_its_way_stays_at_the_start_and_says_so():
    start = np.array([3.0, -2.0, 1.0])
    found = MINIMISERS["L-BFGS"](Lost(), start, 40, 1e-12)
    assert found.converged is False and found.cost == start @ start and found.iterations <= found.evaluations
    np.testing.assert_array_equal(found.z, start)


def test_gauss_and_newton_give_up_where_every_step_leads_up():
    start, problem = np.array([3.0, -2.0, 1.0]), Uphill()
    found = MINIMISERS["Gauss-Newton"](problem, start, 40, 1e-12)
    assert not found.converged and found.iterations == 1 and found.cost == problem.cost(start)[0]
    np.testing.assert_array_equal(found.z, start)


def test_a_first_guess_for_each_window():
    values = np.array([[[1.0, 4.0], [2.0, 8.0]], [[9.0, 9.0], [9.0, 9.0]]])
    operator = at_sites(np.array([[[0, 6], [3, 5]]] * 2), SITES)
    guess = interpolate(Observations(operator, values), SITES)
    expected = [
        np.interp(np.arange(SITES), own, seen, period=SITES) for own, seen in (([0, 6], [1, 4]), ([3, 5], [2, 8]))
    ]
    np.testing.assert_allclose(guess, expected)


# --- predictability ---------------------------------------------------------------------------------------------------


def test_exponents_spread_and_dimension_from_matrices():
    """23 rounds in ten parts, of which the first three have one more; directions begin where the generator says."""
    model = Propagator(Lorenz96(SITES, 8.0), 0.05)
    x = model.forecast(np.random.default_rng(5).standard_normal(SITES), 1000)
    found = lyapunov_spectrum(model, x, 23 * 4, count=9, every=4, spin_up=41, rng=np.random.default_rng(6))
    Q, growth = np.linalg.qr(np.random.default_rng(6).standard_normal((SITES, 9)))[0], []
    for _ in range(40 // 4 + 23):
        Q, R = np.linalg.qr(model.jacobian(x, 4) @ Q)
        x = model.forecast(x, 4)
        growth.append(np.log(np.abs(np.diag(R))) / (4 * 0.05))
    growth = np.array(growth[10:])
    means = [growth[3 * i : 3 * i + 3] if i < 3 else growth[2 * i + 3 : 2 * i + 5] for i in range(10)]
    means = np.array([part.mean(axis=0) for part in means])
    order = np.argsort(-growth.mean(axis=0))
    exponents = growth.mean(axis=0)[order]
    deviation = np.sqrt(((means - means.mean(axis=0)) ** 2).sum(axis=0) / 9)
    np.testing.assert_allclose(found.exponents, exponents, rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.spread, (deviation / np.sqrt(10))[order], rtol=1e-6)
    np.testing.assert_array_equal(found.state, x)
    assert LyapunovSpectrum(np.array([1.0, 0.2, -1.0]), np.full(3, 0.1), None, x).positive == 1
    j = np.flatnonzero(np.cumsum(exponents) >= 0)[-1] + 1
    assert found.dimension == pytest.approx(j + exponents[:j].sum() / -exponents[j], abs=1e-6)
