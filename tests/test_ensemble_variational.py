"""4DEnVar against its equations, the Kalman filter and the stochastic filter."""

import numpy as np
import pytest

from l96kit import Lorenz96, Propagator, StencilModel, scores
from l96kit._random import child
from l96kit.ensemble_variational import FourDEnVar
from l96kit.localization import Localization, ring_distance
from l96kit.observation_operators import every_site, interpolation, rotating
from l96kit.observations import Observations, observe
from l96kit.reference import ensemble as reference

SITES, EVERY, CYCLES, MEMBERS = 12, 3, 5, 9
PROPAGATOR = Propagator(Lorenz96(SITES, 8.0), 0.01, "euler")


def setting(operator, sigma=0.7, cov=None, members=MEMBERS):
    rng = np.random.default_rng(0)
    start = PROPAGATOR.forecast(rng.standard_normal((2, SITES)), 2000)
    truth = PROPAGATOR.trajectory(start, CYCLES * EVERY, EVERY)[1:]
    observations = observe(truth, operator, sigma, rng, cov=cov)
    return truth, observations, start[:, None] + rng.standard_normal((2, members, SITES))


SETTINGS = {
    "localized": (interpolation([0.0, 1.5, 4.2, 9.75], SITES), None, Localization(2.0)),
    "a function, errors that depend on one another": (
        rotating(6, SITES).pointwise("cube"),
        np.array([[1.0, 0.4], [0.4, 2.0]]),
        Localization(np.inf),
    ),
}


@pytest.mark.parametrize("operator, cov, localization", SETTINGS.values(), ids=SETTINGS)
def test_windows_are_those_of_the_reference(operator, cov, localization):
    truth, observations, ensemble = setting(operator, None if cov is not None else 0.7, cov)
    method = FourDEnVar(MEMBERS, 1.05, window=2, localization=localization)
    found = method.assimilate(PROPAGATOR, observations, ensemble, EVERY, truth, np.random.default_rng(1))
    R, places = 0.49 * np.eye(operator.n) if cov is None else cov, operator.places(SITES)
    rng = np.random.default_rng(1)
    for e in range(2):
        E, (drawing, _, _) = ensemble[e], (child(rng) for _ in range(3))
        for begin in range(0, CYCLES, 2):
            now = np.arange(begin, min(begin + 2, CYCLES))
            there = places[now % len(places)].ravel()
            apart = ring_distance(np.concatenate([np.arange(SITES), there])[:, None], there, SITES)

            def trajectory(E, steps=EVERY * len(now)):  # noqa: B008
                return PROPAGATOR.trajectory(E, steps, EVERY)[1:]

            normals = drawing.standard_normal((len(now), MEMBERS, operator.n))
            forecast = trajectory(E)
            E = reference.four_d_envar(
                E,
                trajectory,
                lambda state, t, now=now: operator.observe(state, now[t]),
                observations.values[now, e],
                R,
                normals,
                localization.coefficients(apart),
            )
            for which, states in (("forecast", forecast), ("analysis", trajectory(E))):
                np.testing.assert_allclose(getattr(found, which)[now, e], states.mean(axis=1), rtol=0, atol=1e-10)
                crps = getattr(found, f"{which}_crps")[now, e]
                np.testing.assert_allclose(crps, scores.crps(states, truth[now, e]), rtol=1e-9)
            E = reference.inflated(trajectory(E)[-1], 1.05)
        np.testing.assert_allclose(found.ensemble[e], E, rtol=0, atol=1e-10)
        assert found.analysis_ranks[e].sum() == CYCLES * SITES
    assert np.isfinite(found.innovation).all() and (found.innovation_expected > 1).all()


def tendency(x, p):
    return x[1] - x[-1] - 0.1 * x[0]


def tendency_ad(x, p, y_ad):
    return y_ad[-1] - y_ad[1] - 0.1 * y_ad[0], ()


LINEAR = Propagator(StencilModel(tendency, lambda x, p, x_tl, p_tl: tendency(x_tl, p), tendency_ad, SITES, 1), 0.05)


def test_the_end_of_a_window_converges_to_kalman():
    """With a linear model one window with all observations ends where the Kalman filter does."""
    rng = np.random.default_rng(2)
    truth = LINEAR.trajectory(rng.standard_normal((1, SITES)), CYCLES * EVERY, EVERY)[1:]
    observations = observe(truth, every_site(SITES), 0.5, rng)
    step, mean, cov = LINEAR.jacobian(np.zeros(SITES), EVERY), np.zeros(SITES), np.eye(SITES)
    for y in observations.values[:, 0]:
        mean, cov = reference.kalman(step @ mean, step @ cov @ step.T, np.eye(SITES), 0.25 * np.eye(SITES), y)
    errors = []
    for members in (200, 6400):  # many more than the 60 observations
        trials = []
        for seed in range(8):
            own = np.random.default_rng(seed)
            ensemble = own.standard_normal((1, members, SITES))
            method = FourDEnVar(members, window=CYCLES)
            found = method.assimilate(LINEAR, observations, ensemble, EVERY, rng=own, probabilistic=False)
            trials.append(np.abs(found.analysis[-1, 0] - mean).mean())
        errors.append(np.mean(trials))
    assert np.log(errors[0] / errors[1]) / np.log(32) == pytest.approx(0.5, abs=0.12)


def test_gaps_and_blow_ups():
    truth, observations, ensemble = setting(every_site(SITES))
    values = observations.values.copy()
    values[:, 0, 4:] = np.nan
    values[2, 1] = np.nan
    method = FourDEnVar(MEMBERS, window=3, localization=Localization(3.0))
    given = Observations(observations.operator, values, 0.7)
    found = method.assimilate(PROPAGATOR, given, ensemble, EVERY, truth, np.random.default_rng(3))
    assert np.isfinite(found.analysis).all() and np.isnan(found.innovation[2, 1])
    ensemble[0] *= 1e100
    with np.errstate(all="ignore"):
        broken = method.assimilate(PROPAGATOR, given, ensemble, EVERY, truth, np.random.default_rng(3))
    assert broken.blew_up.tolist() == [True, False] and np.isnan(broken.analysis[:, 0]).all()
    np.testing.assert_array_equal(broken.analysis[:, 1], found.analysis[:, 1])


BAD = {
    "window": (ValueError, "window: expected at least 1", lambda: FourDEnVar(4, window=0)),
    "rotation": (ValueError, "rotation: expected False for 4DEnVar", lambda: FourDEnVar(4, rotation=True)),
    "localization": (TypeError, "localization: expected a Localization", lambda: FourDEnVar(4, localization=4.0)),
    "one member": (ValueError, "members: expected at least 2", lambda: FourDEnVar(1)),
}


@pytest.mark.parametrize("error, message, make", BAD.values(), ids=BAD)
def test_bad_tuning_is_refused(error, message, make):
    with pytest.raises(error, match=message):
        make()


def test_localization_needs_independent_errors():
    truth, observations, ensemble = setting(rotating(6, SITES), None, np.array([[1.0, 0.4], [0.4, 2.0]]))
    method = FourDEnVar(MEMBERS, localization=Localization(3.0))
    with pytest.raises(ValueError, match="observations: expected independent errors for FourDEnVar"):
        method.assimilate(PROPAGATOR, observations, ensemble, EVERY, rng=np.random.default_rng(0))
