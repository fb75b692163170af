"""Float32 in, float32 out, whatever is called; and what is right in one precision alone."""

from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from l96kit import (
    FourDVar,
    Lorenz96,
    Propagator,
    lorenz96,
    lyapunov_spectrum,
    scores,
)
from l96kit.baselines import Climatology, OptimalInterpolation, ThreeDVar
from l96kit.ensemble_variational import FourDEnVar
from l96kit.networks import sq_net
from l96kit.observation_operators import every_site, interpolation
from l96kit.observations import Observations, interpolate, observe

SITES, MEMBERS = 12, 20
MODEL = Lorenz96(SITES, 8.0)
RUN = Propagator(MODEL, 0.01)
X = RUN.forecast(np.random.default_rng(0).standard_normal((MEMBERS, SITES)), 500).astype(np.float32)
Y = RUN.trajectory(X, 4, 2)
OPERATOR = interpolation([0.0, 3.5, 7.2], SITES)
SEEN = np.ones((MEMBERS, 3), np.float32)
B = np.eye(SITES) + 0.2


def observed(what=OPERATOR):
    return observe(Y[:, 0], what, 0.5, np.random.default_rng(1))


def minimised(**settings):
    method = FourDVar(RUN, B, every=2, **settings)
    return method.assimilate(observed(), X[0] + 1, X[1])


CALLS = {
    "tendency": lambda: MODEL.tendency(X),
    "tendency, tangent": lambda: MODEL.tendency_tl(X, X),
    "tendency, adjoint": lambda: MODEL.tendency_ad(X, X),
    "step, adjoint": lambda: RUN.step_ad(X, X),
    "trajectory": lambda: RUN.trajectory(X, 4, 2),
    "trajectory, tangent": lambda: RUN.trajectory_tl(X, X, 4, 2),
    "trajectory, adjoint": lambda: RUN.trajectory_ad(X, Y, 2),
    "gradient": lambda: RUN.gradient(X, lambda y, t: (np.float32(0), y.astype(float)), 4, 2)[1:],
    "functions": lambda: lorenz96.trajectory(X, 8.0, 0.01, 4),
    "end of a Lyapunov run": lambda: lyapunov_spectrum(RUN, X[0], 40, 2, spin_up=0).state,
    "observed": lambda: OPERATOR.observe(X),
    "observed, tangent": lambda: OPERATOR.observe_tl(X, X),
    "observed, adjoint": lambda: OPERATOR.observe_ad(X, SEEN),
    "observations": lambda: (
        observed().values,
        observe(Y, OPERATOR, None, np.random.default_rng(0), cov=np.eye(3)).values,
    ),
    "misfit": lambda: observed().misfit(Y[:, 0])[1],
    "first guess": lambda: interpolate(observed(3), SITES),
    "cost": lambda: FourDVar(RUN, B, every=2, model_cov=B).cost(X[0], observed(), X[1])[1:],
    "4D-Var": lambda: minimised(iterations=3).state,
    "weak 4D-Var": lambda: (lambda found: (found.state, found.model_errors))(minimised(iterations=3, model_cov=B)),
    "3D-Var": lambda: ThreeDVar(B).assimilate(RUN, observed(), X[0], 2, Y[:, 0]),
    "optimal interpolation": lambda: OptimalInterpolation(B, np.zeros(SITES, np.float32)).assimilate(
        RUN, observed(), X[0], 2
    ),
    "climatology": lambda: Climatology(np.zeros(SITES, np.float32)).assimilate(RUN, observed(), X[0], 2),
    "4DEnVar": lambda: FourDEnVar(MEMBERS, [1.1]).assimilate(
        RUN, Observations(OPERATOR, observed().values[:, None], 0.5), X[None], 2, Y[:, :1], np.random.default_rng(0)
    ),
    "scores": lambda: (scores.rmse(X, X[0]), scores.spread(X)),
    "first weights": lambda: sq_net().initial_weights(np.random.default_rng(0), np.float32),
}


def arrays(found):
    """All arrays of real numbers in a result, and NumPy's own numbers."""
    if isinstance(found, (np.ndarray, np.floating)):
        return [found] if found.dtype.kind == "f" else []
    if is_dataclass(found):
        found = [getattr(found, field.name) for field in fields(found)]
    if isinstance(found, dict):
        found = found.values()
    return (
        [own for part in found for own in arrays(part)] if isinstance(found, (tuple, list, type({}.values()))) else []
    )


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_single_precision_stays(call):
    found = arrays(call())
    assert found and {own.dtype.name for own in found} == {"float32"}


def test_directions_fall_together_sooner_in_single_precision():
    """In three time units their lengths come to differ by 2e-9."""
    model, x = Propagator(MODEL, 0.05), X[0]
    assert np.isfinite(lyapunov_spectrum(model, x.astype(float), 180, every=60, spin_up=0).exponents).all()
    with pytest.raises(ValueError, match="beyond the precision of float32; take a smaller `every`"):
        lyapunov_spectrum(model, x, 180, every=60, spin_up=0)


def test_a_minimum_is_found_to_the_precision_of_the_model():
    """A cost in float32 is known to seven digits: more are not asked for, or no minimiser would converge."""
    observations = observe(Y[:, 0], every_site(SITES), 0.1, np.random.default_rng(2))
    for minimiser in ("L-BFGS", "Gauss-Newton"):
        method = FourDVar(RUN, B, every=2, minimiser=minimiser)
        single = method.assimilate(observations, X[0] + 1, X[1])
        double = Observations(observations.operator, observations.values.astype(float), 0.1)
        exact = method.assimilate(double, X[0].astype(float) + 1, X[1].astype(float))
        assert single.converged and exact.converged and single.iterations <= exact.iterations + 2
        np.testing.assert_allclose(single.cost, exact.cost, rtol=1e-4)
        assert np.abs(single.state - exact.state).max() > 1e-9
        np.testing.assert_allclose(single.state, exact.state, atol=1e-2)
