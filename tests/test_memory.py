"""What takes more memory than there is, is refused before any work, and nothing that fits."""

import numpy as np
import pytest

from l96kit import FourDVar, Lorenz96, Propagator, _arrays, lyapunov_spectrum
from l96kit._random import seeds
from l96kit.baselines import climatology
from l96kit.networks import Network, convolution
from l96kit.observation_operators import every_site, random_sites
from l96kit.observations import observe
from l96kit.twin import spun_up
from l96kit.twin_experiments import TwinExperiment

SITES = 12
MODEL = Lorenz96(SITES, 8.0)
RUN = Propagator(MODEL, 0.01)
X = 8 + np.random.default_rng(0).standard_normal((6, SITES))
OBSERVATIONS = observe(RUN.trajectory(X, 8), 3, 1.0, np.random.default_rng(1))
WEAK = FourDVar(RUN, model_cov=np.ones(SITES))
EXPERIMENT = TwinExperiment(RUN, every_site(SITES), cycles=50, seeds=[1, 2], spin_up=0.1)


def rng():
    return np.random.default_rng(1)


# What takes memory: (call, what it is named by, as many numbers of 8 bytes as are kept at once)
WORK = {
    "trajectory": (lambda: RUN.trajectory(X, 40), "trajectory", 41 * X.size),
    "jacobian": (lambda: RUN.jacobian(X, 2), "jacobian", X.size * SITES),
    "jacobian of a tendency": (lambda: MODEL.jacobian(X), "jacobian", X.size * SITES),
    "gradient": (lambda: RUN.gradient(X, lambda y, t: (0.0, y), 40, checkpoints=4), "gradient", 4 * X.size),
    "exponents": (lambda: lyapunov_spectrum(RUN, X[0], 300, 2, 1, 0), "steps", 300 * 2),
    "vectors": (lambda: lyapunov_spectrum(RUN, X[0], 2, 12, 1, 0), "count", 12 * SITES),
    "climatology": (lambda: climatology(RUN, rng(), 500, 0.1, 0.01), "states", 500 * SITES),
    "spun_up": (lambda: spun_up(RUN, 30, 0.1, rng()), "truths", 30 * SITES),
    "model errors": (lambda: WEAK.cost(X, OBSERVATIONS), "model_errors", 8 * X.size),
    "weights": (lambda: Network([convolution(40, 5), convolution(1)]).initial_weights(rng()), "weights", 40 * 6 + 41),
    "seeds": (lambda: seeds(1000), "seeds", 1000),
    "every site": (lambda: every_site(700), "sites", 700),
    "random sites": (lambda: random_sites(3, 70, 50, rng()), "sites", 70 * 50),
    "cycles": (lambda: TwinExperiment(RUN, every_site(SITES), cycles=50, seeds=[1, 2]), "cycles", 2 * 50 * SITES),
    "ensemble": (lambda: EXPERIMENT.ensemble(40), "members", 2 * 40 * SITES),
}


@pytest.mark.parametrize("call, name, numbers", WORK.values(), ids=WORK)
def test_what_does_not_fit_is_refused_before_any_work(call, name, numbers, monkeypatch):
    monkeypatch.setattr(_arrays, "_memory", lambda: 3 * 8 * numbers)
    call()
    monkeypatch.setattr(_arrays, "_memory", lambda: 8 * numbers - 1)
    with pytest.raises(MemoryError, match=rf"{name}: expected memory for [\d.e-]+ GiB, found too little; "):
        call()


def test_the_memory_is_that_of_this_machine():
    assert 2**28 < _arrays._memory() < 2**48
