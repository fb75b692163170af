"""Every setting of every class changes a result: one that is dropped on the way would be noticed here.

`SETTINGS` has, for each class, a result, settings that all count in it, and another value for each.
"""

from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple

import numpy as np
import pytest

import l96kit
from l96kit import (
    Emulator,
    FourDVar,
    KuramotoSivashinsky,
    Lorenz63,
    Lorenz96,
    Network,
    Propagator,
    StencilModel,
    Training,
    VissioLucarini20,
)
from l96kit.baselines import Climatology, CycledFourDVar, OptimalInterpolation, ThreeDVar
from l96kit.ensemble_variational import FourDEnVar
from l96kit.filters import ESRF, ETKF, LETKF, EnKF, EnKFN, EnsembleFilter, IEnKS, ParticleFilter
from l96kit.localization import Localization
from l96kit.networks import convolution, relu, tanh
from l96kit.observation_operators import ObservationOperator, Pointwise, at_sites, every_site, rotating
from l96kit.observations import Observations, observe
from l96kit.twin_experiments import TwinExperiment

SITES, EVERY, CYCLES = 12, 3, 4
EULER = Propagator(Lorenz96(SITES, 8.0), 0.01, "euler")
FINE = Propagator(Lorenz96(SITES, 8.0), 0.0125)
RNG = np.random.default_rng(0)
START = EULER.forecast(RNG.standard_normal((2, SITES)), 2000)
TRUTH = EULER.trajectory(START, CYCLES * EVERY, EVERY)[1:]
OBSERVED = observe(TRUTH, rotating(3, SITES), 0.7, RNG)
ENSEMBLE = START[:, None] + RNG.standard_normal((2, 20, SITES))
COV = np.eye(SITES) + 0.3
NETWORK = Network((convolution(3, 4), tanh(), convolution(2, 2), relu(), convolution(1)), "small")
OTHER_NETWORK = Network((*NETWORK.layers[:-2], tanh(), convolution(1)), "small, too")
WEIGHTS = 0.3 * RNG.standard_normal(NETWORK.size)
SERIES = Propagator(Lorenz96(SITES, 8.0), 0.05).trajectory(START, 40)


def tendency(model):
    return (model.tendency(8 + np.sin(np.arange(model.sites))),)


def stepped(model):
    """Of as many states as share kernels with other tests."""
    return (Propagator(model, 0.05).step(np.sin(np.arange(9.0 * model.sites)).reshape(9, -1)),)


def filtered(method):
    found = method.assimilate(EULER, OBSERVED, ENSEMBLE[:, : method.members], EVERY, rng=np.random.default_rng(1))
    return found.ensemble, found.analysis


def cycled(method):
    return (method.assimilate(EULER, OBSERVED, START + 1.0, EVERY).analysis,)


def minimised(method):
    """Of a window whose first guess is far off, so that iterations end when settings say so."""
    guess = START[0] + np.cos(np.arange(SITES))
    background = None if method.background_cov is None else guess
    values = observe(method.propagator.trajectory(START[0], 3 * method.every, method.every), 6, 0.7, rng(2))
    found = method.assimilate(values, guess, background)
    return found.state, found.cost, found.iterations


def trained(training):
    found = training.fit(SERIES, SERIES[:20], weights=WEIGHTS)
    return found.best, found.validation_losses, found.learning_rates


def loss_gradient(training):
    return training.gradient(WEIGHTS, SERIES[:4])


def twin(experiment):
    found = experiment.run(ETKF(5, 1.02))
    return experiment.truth, experiment.observations.values, experiment.ensemble(5), found.analysis


def rng(seed):
    return np.random.default_rng(seed)


class Case(NamedTuple):
    """A class, what is computed with it, settings, and others for some of them."""

    kind: type
    result: Any
    given: dict
    others: dict


FILTER = {"members": 6, "inflation": [1.02, 1.1], "rotation": False}
OTHER_FILTER = {"members": 7, "inflation": [1.02, 1.2], "rotation": True}

SETTINGS = (
    Case(Lorenz96, tendency, {"K": 6, "F": 8.0}, {"K": 7, "F": 9.0}),
    Case(
        VissioLucarini20,
        tendency,
        {"K": 6, "F": 1.0, "G": 2.0, "alpha": 3.0, "gamma": 4.0},
        {"K": 7, "F": 1.1, "G": 2.1, "alpha": 3.1, "gamma": 4.1},
    ),
    Case(Lorenz63, tendency, {"sigma": 9.0, "rho": 20.0, "beta": 2.0}, {"sigma": 8.0, "rho": 21.0, "beta": 3.0}),
    Case(KuramotoSivashinsky, tendency, {"sites": 16, "length": 20.0}, {"sites": 18, "length": 21.0}),
    Case(
        Emulator,
        stepped,
        {"network": NETWORK, "weights": WEIGHTS, "sites": 12, "base": None},
        {"network": OTHER_NETWORK, "weights": WEIGHTS + 0.1, "sites": 13, "base": Lorenz96(SITES, 8.0)},
    ),
    Case(Network, lambda network: (network.size,), {"layers": NETWORK.layers}, {"layers": (convolution(1),)}),
    Case(
        Propagator,
        lambda propagator: (propagator.forecast(START, 2),),
        {"model": Lorenz96(SITES, 8.0), "dt": 0.01, "scheme": "euler"},
        {"model": Lorenz96(SITES, 9.0), "dt": 0.02, "scheme": "rk4"},
    ),
    Case(
        Localization,
        lambda localization: (localization.coefficients(np.arange(6.0)),),
        {"radius": 2.0, "taper": "gauss"},
        {"radius": 2.1, "taper": "step"},
    ),
    Case(
        ObservationOperator,
        lambda operator: (operator.observe(np.arange(operator.sites) + 2.0), operator.places(operator.sites)),
        {"sites": 4, "indices": [[[0, 1]]], "weights": [[[1.0, 2.0]]], "function": "square"},
        {"sites": 5, "indices": [[[1, 2]]], "weights": [[[2.0, 2.0]]], "function": "cube"},
    ),
    Case(
        Observations,
        lambda observations: observations.misfit(TRUTH[:2, 0]),
        {"operator": at_sites([1, 3], SITES), "values": np.ones((2, 2)), "sigma": [[0.5], [0.7]]},
        {"operator": at_sites([1, 4], SITES), "values": np.full((2, 2), 2.0), "sigma": [[0.5], [0.6]]},
    ),
    Case(
        Observations,
        lambda observations: observations.misfit(TRUTH[:2, 0]),
        {"operator": at_sites([1, 3], SITES), "values": np.ones((2, 2)), "cov": np.array([[1.0, 0.4], [0.4, 2.0]])},
        {"cov": np.array([[1.0, 0.3], [0.3, 2.0]])},
    ),
    Case(EnKF, filtered, FILTER, OTHER_FILTER),
    Case(ETKF, filtered, FILTER, OTHER_FILTER),
    Case(ESRF, filtered, FILTER, OTHER_FILTER),
    Case(EnKFN, filtered, FILTER | {"strength": [1.5, 0.7]}, OTHER_FILTER | {"strength": [1.5, 0.8]}),
    Case(
        LETKF,
        filtered,
        FILTER | {"localization": Localization(2.0, "step")},
        OTHER_FILTER | {"localization": Localization(3.0, "step")},
    ),
    Case(
        IEnKS,
        filtered,
        FILTER | {"lag": 2, "iterations": 3, "tolerance": 1e-9},
        OTHER_FILTER | {"lag": 1, "iterations": 1, "tolerance": 1.0},
    ),
    Case(ParticleFilter, filtered, FILTER | {"jitter": [0.7, 0.9]}, OTHER_FILTER | {"jitter": [0.7, 0.8]}),
    Case(
        FourDEnVar,
        filtered,
        {"members": 6, "inflation": [1.02, 1.1], "window": 3, "localization": Localization(2.0, "step")},
        {"members": 7, "inflation": [1.02, 1.2], "window": 2, "localization": Localization(3.0, "step")},
    ),
    Case(ThreeDVar, cycled, {"background_cov": COV}, {"background_cov": 2 * COV}),
    Case(
        OptimalInterpolation,
        cycled,
        {"background_cov": COV, "mean": np.full(SITES, 2.0)},
        {"background_cov": 2 * COV, "mean": np.full(SITES, 2.1)},
    ),
    Case(Climatology, cycled, {"mean": np.full(SITES, 2.0)}, {"mean": np.full(SITES, 2.1)}),
    Case(
        CycledFourDVar,
        cycled,
        {"background_cov": COV, "scale": [0.5, 1.5], "lag": 2, "iterations": 3, "tolerance": 1e-9},
        {"background_cov": 2 * COV, "scale": [0.5, 1.6], "lag": 1, "iterations": 1, "tolerance": 10.0},
    ),
    Case(
        FourDVar,
        minimised,
        {"propagator": FINE, "background_cov": COV, "every": 2, "iterations": 9, "tolerance": 1e-9}
        | {"model_cov": 0.1 * COV, "minimiser": "Gauss-Newton"},
        {"propagator": Propagator(Lorenz96(SITES, 9.0), 0.0125), "background_cov": 2 * COV, "every": 3}
        | {"iterations": 1, "tolerance": 0.1, "model_cov": None, "minimiser": "L-BFGS"},
    ),
    Case(
        TwinExperiment,
        twin,
        {"propagator": EULER, "operator": rotating(3, SITES), "sigma": 0.7, "every": 2, "cycles": 3, "seeds": (3, 5)}
        | {"spin_up": 5.0, "start": "truth", "spread": 0.5, "simulator": Propagator(EULER.model, 0.005, "euler")},
        {"propagator": Propagator(Lorenz96(SITES, 9.0), 0.01, "euler"), "operator": every_site(SITES), "sigma": 0.8}
        | {"every": 3, "cycles": 4, "seeds": (3, 6), "spin_up": 5.1, "start": "climatology", "spread": 0.6}
        | {"simulator": None},
    ),
    Case(
        TwinExperiment,
        twin,
        {"propagator": EULER, "operator": rotating(4, SITES), "cov": np.diag([0.1, 0.2, 0.3]), "cycles": 3},
        {"cov": np.diag([0.1, 0.2, 0.4])},
    ),
    Case(
        Training,
        trained,
        {"network": NETWORK, "dt": 0.05, "batch": 16, "learning_rate": 0.3, "validate_every": 2, "epochs": 9}
        | {"rate_patience": 2, "rate_factor": 0.5, "smallest_rate": 1e-10, "patience": 9},
        {"dt": 0.04, "batch": 15, "learning_rate": 0.2, "validate_every": 3, "epochs": 8, "rate_patience": 1}
        | {"rate_factor": 0.4, "smallest_rate": 0.4, "patience": 1},
    ),
    Case(
        Training,
        loss_gradient,
        {"network": NETWORK, "dt": 0.05, "every": 2, "rollout": 2, "base": None},
        {"network": OTHER_NETWORK, "every": 1, "rollout": 1, "base": Lorenz96(SITES, 8.0)},
    ),
    Case(
        Training,
        loss_gradient,
        {"network": NETWORK, "dt": 0.05, "scheme": "euler", "region": None, "ring": True},
        {"scheme": "heun", "region": 5, "ring": False},  # a region that divides the ring changes nothing
    ),
)

# Those whose other values compile kernels of their own, and where they are tested; or why they change no number.
_NO_NUMBER = "the result is the same for any: test_operators, test_training"
_FUNCTIONS = "test_models and test_targets; wrong ones are noticed in test_operators"
ELSEWHERE = {
    **dict.fromkeys([(Propagator, "device"), (Propagator, "threads")], _NO_NUMBER),
    **dict.fromkeys([(Training, "device"), (Training, "threads")], _NO_NUMBER),
    (Network, "name"): "is a label",
    (StencilModel, "name"): "is a label",
    **dict.fromkeys([(StencilModel, f"at_site{which}") for which in ("", "_tl", "_ad")], _FUNCTIONS),
    **dict.fromkeys([(StencilModel, name) for name in ("sites", "parameters", "fields")], "test_models"),
    (StencilModel, "reach"): "functions that look farther are refused in test_models",
    **dict.fromkeys([(Pointwise, "value"), (Pointwise, "slope")], "test_observation_operators"),
    (FourDEnVar, "rotation"): "True is refused",
}


def classes():
    """Those that check what they are given: settings, in all public modules."""
    modules = [import_module(f"l96kit.{found.name}") for found in iter_modules([Path(l96kit.__file__).parent])]
    for module in modules:
        for kind in vars(module).values():
            own = is_dataclass(kind) and kind.__module__ == module.__name__ and not kind.__name__.startswith("_")
            if own and hasattr(kind, "__post_init__") and kind is not EnsembleFilter:
                yield kind


def test_every_setting_is_here():
    known = {(case.kind, name) for case in SETTINGS for name in case.others} | set(ELSEWHERE)
    assert known == {(kind, field.name) for kind in classes() for field in fields(kind)}


@cache
def result_of_given(number):
    case = SETTINGS[number]
    return case.result(case.kind(**case.given))


CHANGES = [(number, name) for number, case in enumerate(SETTINGS) for name in case.others]


@pytest.mark.parametrize(
    ("number", "name"), CHANGES, ids=[f"{SETTINGS[number].kind.__name__}.{name}" for number, name in CHANGES]
)
def test_a_setting_changes_the_result(number, name):
    case = SETTINGS[number]
    other = case.result(case.kind(**{**case.given, name: case.others[name]}))
    pairs = zip(result_of_given(number), other, strict=True)
    assert not all(np.array_equal(one, another, equal_nan=True) for one, another in pairs)
