"""Random numbers: they follow from the state of the generator that is given, and ranks among equals are drawn."""

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

import l96kit
from l96kit import Lorenz96, Propagator, _random, checks, networks, observations, predictability, scores, twin
from l96kit.baselines import climatology
from l96kit.ensemble_variational import FourDEnVar
from l96kit.filters import ETKF, EnKF, IEnKS
from l96kit.observation_operators import every_site, random_sites
from l96kit.observations import Observations
from l96kit.variational import FourDVar

SITES, MEMBERS, EXPERIMENTS, CYCLES = 12, 6, 2, 40
PROPAGATOR = Propagator(Lorenz96(SITES, 8.0), 0.01, "euler")
AT_REST = Propagator(Lorenz96(SITES, 0.0), 0.01, "euler")  # zeros stay zeros: all members equal the truth
ZEROS = np.zeros((CYCLES, EXPERIMENTS, SITES))
OBSERVED = Observations(every_site(SITES), ZEROS, 0.7)
X = np.random.default_rng(0).standard_normal((EXPERIMENTS, MEMBERS, SITES))


def analyses(rng):
    method = EnKF(MEMBERS, rotation=True)
    return method.assimilate(PROPAGATOR, Observations(every_site(SITES), ZEROS[:2], 0.7), X, 3, rng=rng).ensemble


def test_analyses_follow_from_the_state_of_the_generator():
    rng = np.random.default_rng(1)
    rng.standard_normal(100)
    state = rng.bit_generator.state
    first, second = analyses(rng), analyses(rng)  # which moves it on
    restored = np.random.default_rng(2)
    restored.bit_generator.state = state
    np.testing.assert_array_equal(analyses(restored), first)
    np.testing.assert_array_equal(analyses(restored), second)
    jumped = np.random.Generator(np.random.PCG64(1).jumped())
    others = [analyses(np.random.default_rng(1)), analyses(jumped), second]
    assert not any(np.array_equal(first, other) for other in others)
    assert not np.array_equal(others[0], others[1])


def test_legacy_bit_generators_serve():
    """They have no sequence of seeds that one could spawn from."""
    legacy = [np.random.RandomState(seed)._bit_generator for seed in (3, 3, 4)]
    one, again, other = (analyses(np.random.Generator(bits)) for bits in legacy)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_an_experiment_may_have_a_generator_of_its_own():
    both = analyses([np.random.default_rng(5), np.random.default_rng(6)])
    for e, seed in enumerate((5, 6)):
        seen = Observations(every_site(SITES), ZEROS[:2, e], 0.7)
        alone = EnKF(MEMBERS, rotation=True).assimilate(PROPAGATOR, seen, X[e], 3, rng=np.random.default_rng(seed))
        np.testing.assert_array_equal(alone.ensemble, both[e])
    with pytest.raises(TypeError, match="rng: expected a NumPy generator or 2 of them, found 1 of them"):
        analyses([np.random.default_rng(5)])


TAKE_A_GENERATOR = {
    "baselines.climatology": lambda rng: climatology(PROPAGATOR, rng, 2, 0.01),
    "checks.dot_test": lambda rng: checks.dot_test(lambda u: u, lambda v: v, X, rng=rng),
    "checks.taylor_test": lambda rng: checks.taylor_test(lambda x: x, lambda h: h, X, rng=rng),
    "checks.check_model": lambda rng: checks.check_model(PROPAGATOR.model, rng=rng),
    "ensemble_variational.record": None,  # which gets one that was made here
    "filters.EnsembleFilter.assimilate": analyses,
    "networks.Network.initial_weights": lambda rng: networks.sq_net().initial_weights(rng),
    "observation_operators.random_sites": lambda rng: random_sites(2, SITES, 3, rng),
    "observations.observe": lambda rng: observations.observe(ZEROS, 3, 1.0, rng),
    "predictability.lyapunov_spectrum": lambda rng: predictability.lyapunov_spectrum(PROPAGATOR, X[0, 0], 10, rng=rng),
    "scores.rank_histogram": lambda rng: scores.rank_histogram(X[0], X[1, 0], rng),
    "twin.spun_up": lambda rng: twin.spun_up(PROPAGATOR, 2, 1.0, rng),
    "twin.cycled_fourdvar": lambda rng: twin.cycled_fourdvar(FourDVar(PROPAGATOR), X[0], 3, 1, rng=rng),
}


def public_functions_with(argument):
    for path in sorted(Path(l96kit.__file__).parent.glob("[!_]*.py")):
        module = importlib.import_module(f"l96kit.{path.stem}")
        for name, found in vars(module).items():
            if getattr(found, "__module__", None) == module.__name__ and not name.startswith(("_", "demo")):
                functions = vars(found) if inspect.isclass(found) else {"": found}
                for method, function in functions.items():
                    if inspect.isfunction(function) and argument in inspect.signature(function).parameters:
                        yield ".".join(filter(None, (path.stem, name, method)))


def test_nothing_is_missing():
    assert {name for name in public_functions_with("rng") if not name.startswith("demo")} == set(TAKE_A_GENERATOR)


@pytest.mark.parametrize("entry", [name for name, call in TAKE_A_GENERATOR.items() if call])
@pytest.mark.parametrize("rng", [np.random.RandomState(0), np.random, 3, np.random.PCG64(0)], ids=type)
def test_what_is_no_generator_is_refused(entry, rng):
    with pytest.raises(TypeError, match=r"^rng: expected a NumPy generator.*pass np.random.default_rng\(seed\)"):
        TAKE_A_GENERATOR[entry](rng)


# --- ranks among equals -----------------------------------------------------------------------------------------------

METHODS = {"ETKF": ETKF(MEMBERS), "EnKF": EnKF(MEMBERS), "IEnKS": IEnKS(MEMBERS), "4DEnVar": FourDEnVar(MEMBERS)}


def ranks(method, rng=None, experiments=slice(None), ensemble=0 * X, propagator=AT_REST):
    seen = Observations(every_site(SITES), ZEROS[:, experiments], 0.7)
    truth = ZEROS[:, experiments]
    found = method.assimilate(propagator, seen, ensemble[experiments], 1, truth, rng, "scores")
    return np.stack([found.forecast_ranks, found.analysis_ranks])


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_ranks_among_equals_are_drawn(method, monkeypatch):
    seeds = 7, 8
    both = ranks(method, [np.random.default_rng(seed) for seed in seeds])
    assert (both.sum(axis=-1) == CYCLES * SITES).all()
    expected = CYCLES * SITES / (MEMBERS + 1)
    assert (((both - expected) ** 2 / expected).sum(axis=-1) < 30).all()  # 6 is usual; if all had one rank, 2880
    forecast, analysis = both
    assert not np.array_equal(forecast, analysis) and not np.array_equal(both[:, 0], both[:, 1])
    monkeypatch.setattr("l96kit.filters.BLOCK_CYCLES", 7)
    for e, seed in enumerate(seeds):
        np.testing.assert_array_equal(ranks(method, np.random.default_rng(seed), e), both[:, e])


def test_ranks_are_reproducible_where_no_generator_is_needed():
    both = ranks(ETKF(MEMBERS))
    np.testing.assert_array_equal(both, ranks(ETKF(MEMBERS)))
    for e in range(EXPERIMENTS):
        np.testing.assert_array_equal(both[:, e], ranks(ETKF(MEMBERS), experiments=e))


def splitmix(number):
    """Steele, Lea & Flood (2014), in Python's whole numbers."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        number = (number ^ number >> shift) * factor % 2**64
    return number ^ number >> 31


def test_ranks_count_those_below_and_some_of_those_that_are_equal():
    """A step too short to change anything leaves members that are whole numbers, of which many equal the truth."""
    still = Propagator(Lorenz96(SITES, 8.0), 1e-300, "euler")
    ensemble = np.random.default_rng(1).integers(1, 6, X.shape).astype(float)
    given = np.random.default_rng(9)
    found = ETKF(MEMBERS).assimilate(
        still, Observations(every_site(SITES), ZEROS[:1]), ensemble, 1, ZEROS[:1] + 3, given, "scores"
    )
    rng = np.random.default_rng(9)
    for e in range(EXPERIMENTS):
        _, _, of_ranks = (_random.child(rng) for _ in range(3))
        seed = int(of_ranks.integers(2**64, dtype=np.uint64))
        expected = np.zeros(MEMBERS + 1, int)
        for site, members in enumerate(ensemble[e].T):
            number = seed
            for part in (0, site, 0):  # the first cycle, the site, a forecast
                number = splitmix((number + 0x9E3779B97F4A7C15 * (part + 1)) % 2**64)
            expected[(members < 3).sum() + number % (int((members == 3).sum()) + 1)] += 1
        np.testing.assert_array_equal(found.forecast_ranks[e], expected)
