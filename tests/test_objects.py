"""Every public class: it goes to another process and comes back the same, it is equal to what is made alike and to
nothing else, and one can read what it is."""

import copy
import dataclasses
import importlib
import inspect
import pickle
from pathlib import Path

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
    _objects,
    baselines,
    checks,
    filters,
    networks,
    predictability,
    propagators,
    training,
    twin,
)
from l96kit.baselines import Climatology, CycledFourDVar, OptimalInterpolation, ThreeDVar
from l96kit.ensemble_variational import FourDEnVar
from l96kit.filters import ESRF, ETKF, LETKF, EnKF, EnKFN, EnsembleFilter, IEnKS, ParticleFilter
from l96kit.localization import Localization
from l96kit.observation_operators import ObservationOperator, Pointwise, at_sites, every_site
from l96kit.observations import Observations
from l96kit.twin_experiments import TwinExperiment
from l96kit.variational import Analysis

RATE = 2.0


def decay(x, p):
    return -RATE * p[0][0] * x[0]


def decay_tl(x, p, x_tl, p_tl):
    return -RATE * (p[0][0] * x_tl[0] + p_tl[0][0] * x[0])


def decay_ad(x, p, y_ad):
    return -RATE * p[0][0] * y_ad[0], (-RATE * x[0] * y_ad[0],)


def growth(x, p):
    return p[0][0] * x[0]


def half(x):
    return x / 2


def half_and_one(x):
    return x / 2 + 1


def half_slope(x):
    return 0.5


def model():
    return Lorenz96(8, np.linspace(7, 9, 8))


def propagator(**more):
    return Propagator(model(), 0.05, **more)


def network(channels=3):
    return Network([networks.convolution(channels, 3), networks.tanh(), networks.convolution(1)])


ONE, OTHER = np.eye(8), 2 * np.eye(8)
VALUES = np.array([[1.0, np.nan], [0.0, -0.0]])
OF_A_FILTER = {"members": 5, "inflation": np.array([1.0, 1.1]), "rotation": True}

# Of each class of settings: a value for each field, none of them the default, and one that differs.
SETTINGS = {
    Lorenz96: {"K": (8, 9), "F": (7.5, np.full(8, 7.5))},
    VissioLucarini20: {"K": (8, 9), "F": (9.0, 8.0), "G": (8.0, 7.0), "alpha": (0.5, 0.6), "gamma": (0.7, 0.8)},
    Lorenz63: {"sigma": (9.0, 8.0), "rho": (27.0, 26.0), "beta": (2.0, 3.0)},
    KuramotoSivashinsky: {"sites": (32, 64), "length": (22.0, 23.0)},
    StencilModel: {
        "at_site": (decay, growth),
        "at_site_tl": (decay_tl, lambda x, p, x_tl, p_tl: growth(x_tl, p)),
        "at_site_ad": (decay_ad, lambda x, p, y_ad: (p[0][0] * y_ad[0], (0.0,))),
        "sites": (8, 9),
        "reach": (1, 3),
        "parameters": ({"c": 1.5}, {"c": np.arange(8.0)}),
        "name": ("decay", "loss"),
        "fields": (1, None),  # functions of two fields are others
    },
    Network: {"layers": ([networks.convolution(1)], [networks.convolution(1, 2)]), "name": ("one", "two")},
    Emulator: {
        "network": (network(), Network(network().layers, "another")),
        "weights": (np.arange(16.0), np.arange(1.0, 17.0)),
        "sites": (8, None),  # those of the base
        "base": (Lorenz96(8, 6.0), Lorenz96(8, 5.0)),
    },
    Propagator: {
        "model": (model(), Lorenz96(8)),
        "dt": (0.05, 0.01),
        "scheme": ("heun", "euler"),
        "device": ("cpu", None),  # the other one needs a GPU
        "threads": (2, 3),
    },
    Pointwise: {"value": (half, half_and_one), "slope": (half_slope, lambda x: 0.5 + 0 * x)},
    ObservationOperator: {
        "sites": (8, 9),
        "indices": (np.array([[[0, 1], [2, 3]]]), np.array([[[0, 1], [2, 4]]])),
        "weights": (np.array([[[0.5, 0.5], [1.0, 2.0]]]), np.array([[[0.5, 0.5], [1.0, 2.5]]])),
        "function": (Pointwise(half, half_slope), "cube"),
    },
    Observations: {
        "operator": (at_sites([0, 3], 8), at_sites([0, 4], 8)),
        "values": (VALUES, np.array([[1.0, 3.0], [0.0, 0.0]])),
        "sigma": (np.array([[0.5, 0.6]]), 0.5),
        "cov": (None, None),  # instead of sigma
    },
    Localization: {"radius": (3.0, 4.0), "taper": ("gauss", "step")},
    EnsembleFilter: {},
    EnKF: {},
    ETKF: {},
    ESRF: {},
    EnKFN: {"strength": (1.5, 2.0)},
    LETKF: {"localization": (Localization(2.0), Localization(3.0))},
    IEnKS: {"lag": (2, 3), "iterations": (4, 5), "tolerance": (1e-3, 1e-4)},
    ParticleFilter: {"jitter": (0.5, np.array([0.5, 0.6]))},
    FourDEnVar: {"rotation": (False, None), "window": (3, 2), "localization": (Localization(2.0), Localization(3.0))},
    ThreeDVar: {"background_cov": (ONE, OTHER)},
    OptimalInterpolation: {"background_cov": (ONE, OTHER), "mean": (np.arange(8.0), np.ones(8))},
    Climatology: {"mean": (np.arange(8.0), np.ones(8))},
    CycledFourDVar: {
        "background_cov": (ONE, OTHER),
        "scale": (0.5, 0.6),
        "lag": (2, 3),
        "iterations": (4, 5),
        "tolerance": (1e-3, 1e-4),
    },
    FourDVar: {
        "propagator": (propagator(), propagator(threads=1)),
        "background_cov": (ONE, OTHER),
        "every": (2, 3),
        "iterations": (40, 50),
        "tolerance": (1e-3, 1e-4),
        "model_cov": (ONE, np.ones(8)),
        "minimiser": ("Gauss-Newton", "L-BFGS"),
    },
    Training: {
        "network": (network(), network(4)),
        "dt": (0.05, 0.01),
        "every": (2, 3),
        "rollout": (3, 4),
        "scheme": ("heun", "euler"),
        "base": (Lorenz96(40, 6.0), Lorenz96(40, 5.0)),
        "region": (10, 20),
        "ring": (True, None),  # regions are of rings
        "batch": (16, 8),
        "learning_rate": (1e-2, 1e-4),
        "validate_every": (5, 6),
        "rate_patience": (3, 4),
        "rate_factor": (0.5, 0.2),
        "smallest_rate": (1e-5, 1e-6),
        "patience": (7, 8),
        "epochs": (9, 10),
        "device": ("cpu", None),
        "threads": (2, 3),
    },
    TwinExperiment: {
        "propagator": (propagator(), propagator(threads=1)),
        "operator": (every_site(8), at_sites([1], 8)),
        "sigma": (0.5, 0.6),
        "every": (2, 4),
        "cycles": (5, 6),
        "seeds": ((3, 5), (3, 6)),
        "spin_up": (3.0, 4.0),
        "start": ("truth", "climatology"),
        "spread": (0.5, 0.6),
        "cov": (None, None),  # instead of sigma
        "simulator": (Propagator(Lorenz96(8), 0.025), Propagator(Lorenz96(8), 0.05)),
    },
}
for kind in filter(lambda kind: issubclass(kind, EnsembleFilter), SETTINGS):
    others = {"members": 6, "inflation": 1.1, "rotation": False}
    SETTINGS[kind] = {name: (value, others[name]) for name, value in OF_A_FILTER.items()} | SETTINGS[kind]


def made(kind, **changes):
    return kind(**{name: copy.deepcopy(value) for name, (value, _) in SETTINGS[kind].items()} | changes)


def numbers(kind, **given):
    """A result whose arrays are numbers, but for what is given."""
    return kind(**{field.name: np.arange(6.0).reshape(2, 3) for field in dataclasses.fields(kind)} | given)


OTHERS = {
    filters.Assimilation: numbers(filters.Assimilation, forecast=None, ensemble=np.full((2, 5, 8), np.nan)),
    baselines.Baseline: numbers(baselines.Baseline),
    Analysis: numbers(Analysis, model_errors=None, cost=np.array(12.5), converged=np.array([True] * 5 + [False])),
    predictability.LyapunovSpectrum: numbers(predictability.LyapunovSpectrum, dimension=5.25),
    training.Trained: numbers(training.Trained, training=made(Training), seeds=(0, 1)),
    twin.Twin: numbers(twin.Twin, window=16),
    checks.ModelCheck: checks.ModelCheck(1e-16, 2e-16, 3e-16, (1.0, 2.0)),
    networks.Layer: networks.convolution(3, 3),
    propagators.BlowUpError: propagators.BlowUpError(3, 1, np.zeros((2, 8)), 0.05),
}
ABSTRACT = {l96kit.models.Model}


def public_classes():
    for path in sorted(Path(l96kit.__file__).parent.glob("[!_]*.py")):
        if path.stem.startswith("demo"):
            continue
        module = importlib.import_module(f"l96kit.{path.stem}")
        for name, found in vars(module).items():
            if inspect.isclass(found) and found.__module__ == module.__name__ and not name.startswith("_"):
                yield found


@pytest.mark.parametrize("kind", list(public_classes()), ids=lambda kind: kind.__name__)
def test_every_public_class_is_tested_here(kind):
    assert (kind in ABSTRACT) + (kind in SETTINGS) + (kind in OTHERS) == 1
    assert issubclass(kind, _objects.Settings) == (kind in SETTINGS or kind in ABSTRACT)
    if kind in SETTINGS:
        assert list(SETTINGS[kind]) == [field.name for field in dataclasses.fields(kind)]
        assert "__repr__" not in vars(kind) or kind is Network


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_settings_that_are_made_alike_are_equal_and_no_others(kind):
    one = made(kind)
    assert one == made(kind) and hash(one) == hash(made(kind)) and one != "another"
    assert one == copy.copy(one) and one == copy.deepcopy(one) and {one: 1}[made(kind)] == 1
    for name, (_, other) in SETTINGS[kind].items():
        if other is not None:
            assert made(kind, **{name: other}) != one, name
    assert len(repr(one)) < 700 and repr(one).startswith(("<one", kind.__name__)) and " at 0x" not in repr(one)


BAD_VALUES = {int: (2.5, -1, "3", None), float: ("much", np.nan, 1j, None), bool: ("yes", 2, None), str: (3, None)}
BAD_OTHERS = object(), "nonsense", 3j
MAY_BE_NONE = {"region", "validate_every", "threads", "sigma", "scheme"}


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_a_setting_refuses_by_its_name_what_it_cannot_be(kind):
    for name, (value, _) in SETTINGS[kind].items():
        if (kind, name) == (Emulator, "sites"):
            continue  # those of the base, whatever is given
        instead = {"sigma": None} if name == "cov" else {}
        for bad in BAD_VALUES.get(type(value), BAD_OTHERS):
            if bad is not None or name not in MAY_BE_NONE:
                with pytest.raises((ValueError, TypeError), match=f"^{name}: expected "):
                    made(kind, **{name: bad, **instead})


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_settings_go_to_another_process(kind):
    one = made(kind)
    there = pickle.loads(pickle.dumps(one))
    assert there == one and there is not one
    for field in dataclasses.fields(kind):
        value = getattr(there, field.name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, getattr(one, field.name))
            assert not (value.flags.writeable or getattr(one, field.name).flags.writeable), field.name


@pytest.mark.parametrize("kind", OTHERS, ids=lambda kind: kind.__name__)
def test_results_go_to_another_process(kind):
    one = OTHERS[kind]
    there = pickle.loads(pickle.dumps(one))
    assert type(there) is kind and str(there) == str(one)
    for name, value in vars(one).items() if hasattr(one, "__dict__") else ():
        np.testing.assert_array_equal(getattr(there, name), value)
    if dataclasses.is_dataclass(kind):
        assert issubclass(kind, _objects.Result)
        shown = [field.name for field in dataclasses.fields(kind) if field.repr]
        assert all(f"\n  {name} " in repr(one) for name in shown if getattr(one, name) is not None)


def test_arrays_are_equal_by_their_values():
    """Of any precision and order in memory, both zeros, NaN where nothing was observed."""
    forcing = np.arange(8.0)
    same = [forcing, forcing.astype(np.float32), np.arange(8), np.arange(16.0)[::2] / 2]
    assert len({Lorenz96(8, F) for F in same}) == 1
    assert len({Lorenz96(8, F) for F in (8, 8.0, np.float32(8), np.array(8.0))}) == 1
    assert Lorenz96(8, forcing) != Lorenz96(8, forcing[:, None].repeat(8, axis=1))
    assert ETKF(4, [[1.1, 1.2]]) != ETKF(4, [[1.1], [1.2]]) != ETKF(4, [1.1, 1.2])
    seen = [Observations(at_sites([0, 3], 8), values) for values in (VALUES, np.array([[1.0, -np.nan], [-0.0, 0.0]]))]
    assert seen[0] == seen[1] and hash(seen[0]) == hash(seen[1])
    assert ETKF(4) != EnKF(4) and ThreeDVar(ONE) != OptimalInterpolation(ONE, np.zeros(8))


def test_numbers_of_a_result_can_be_read():
    found = repr(OTHERS[Analysis])
    assert "state (2, 3): 0 to 5, mean 2.5\n" in found and "cost 12.5\n" in found
    assert "converged (6,): 5 of 6 true\n" in found and "model_errors" not in found
    assert "ensemble (2, 5, 8): nothing finite\n" in repr(OTHERS[filters.Assimilation])
    some = numbers(baselines.Baseline, forecast=np.array([1.0, np.nan, 3.0, np.inf, 2.0]), analysis=np.zeros((0, 2)))
    assert "forecast (5,): 1 to 3, mean 2, 2 not finite\n" in repr(some) and "analysis (0, 2): []\n" in repr(some)


def test_what_pickle_cannot_send_is_refused():
    """Functions without a name of their own; nobody would find them in another process."""
    nameless = made(StencilModel, at_site=lambda x, p: p[0][0] * x[0])
    for one, name in ((nameless, "at_site"), (every_site(8).pointwise(Pointwise(half, lambda x: 0.5)), "slope")):
        with pytest.raises(pickle.PicklingError, match=f"^{name}: expected a function that a module has under its"):
            pickle.dumps(one)
        assert copy.deepcopy(one) == one


@pytest.mark.parametrize("kind", [StencilModel, Pointwise], ids=lambda kind: kind.__name__)
def test_functions_that_are_others_where_they_arrive_are_refused(kind, monkeypatch):
    sent = pickle.dumps(made(kind))
    monkeypatch.setitem(globals(), "RATE", 3.0)
    monkeypatch.setattr(inspect.getmodule(half), "half", half_and_one)
    with pytest.raises(pickle.UnpicklingError, match=f"^{kind.__name__}: expected functions as they were"):
        pickle.loads(sent)


def test_a_tangent_goes_to_another_process():
    run, x = Propagator(Lorenz96(8), 0.05), np.linspace(6, 9, 8)
    operator, v = run.linear_operator(x, 3), np.arange(8.0)
    there = pickle.loads(pickle.dumps(operator))
    np.testing.assert_array_equal(there @ v, operator @ v)
    np.testing.assert_array_equal(there.T @ v, operator.T @ v)
    matrix = run.jacobian(x, 3)
    np.testing.assert_allclose(there @ np.eye(8), matrix, atol=1e-14)
    np.testing.assert_allclose(there.H @ np.eye(8), matrix.T, atol=1e-14)


def test_a_seed_is_a_seed_and_a_number_says_how_many():
    assert made(TwinExperiment, seeds=4).seeds == (0, 1, 2, 3)
    assert made(TwinExperiment, seeds=[4]).seeds == (4,)
