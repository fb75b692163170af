"""Long work in turns: the same bits however it is cut, short launches, and what an interruption leaves."""

import inspect
import io
import os
import signal
import sys
import time
import weakref
from contextlib import contextmanager
from dataclasses import replace
from itertools import count, product
from types import ModuleType

import numpy as np
import pytest

from l96kit import (
    BlowUpError,
    FourDVar,
    Lorenz96,
    Propagator,
    Training,
    _adjoint,
    _progress,
    baselines,
    lorenz96,
    lyapunov_spectrum,
    predictability,
    propagators,
    sensitivity,
    singular_vectors,
    twin,
)
from l96kit._progress import GROWTH, TURN, Pace, progress_bar, turns
from l96kit.baselines import CycledFourDVar, ThreeDVar, climatology
from l96kit.ensemble_variational import FourDEnVar
from l96kit.filters import EnKF, IEnKS
from l96kit.kernels import _targets, launch
from l96kit.kernels._signals import signals_held_back
from l96kit.networks import sq_net
from l96kit.observation_operators import every_site, rotating
from l96kit.observations import Observations, observe
from l96kit.twin import cycled_fourdvar, spun_up
from l96kit.twin_experiments import TwinExperiment

SITES = 12
MODEL = Lorenz96(SITES, 8.0)
RUN, SLOW = Propagator(MODEL, 0.05), Propagator(MODEL, 0.01, "euler")
RNG = np.random.default_rng(2)
X = RUN.forecast(RNG.standard_normal((3, SITES)), 100)
X_TL, Y_AD = RNG.standard_normal((3, SITES)), RNG.standard_normal((7, 3, SITES))
OBSERVATIONS = Observations(every_site(SITES), RUN.forecast(X, 30) + RNG.standard_normal((5, 3, SITES)), 1.0)
WINDOWS = observe(Propagator(MODEL, 0.0125).trajectory(X, 6), 4, 1.0, np.random.default_rng(3))
EXPERIMENT = TwinExperiment(SLOW, rotating(3, SITES), cycles=4, seeds=(0, 1), spin_up=1.0)
TRAINING = Training(sq_net(), 0.05, scheme="heun", batch=4, epochs=2)
Y = RUN.trajectory(X, 30)


def square(y, t):
    return (y**2).sum() / 2, y


def ensembles(members):
    return X[:, None] + np.random.default_rng(4).standard_normal((3, members, SITES))


def assimilated(method, progress=False):
    found = method.assimilate(SLOW, OBSERVATIONS, ensembles(6), 3, None, np.random.default_rng(5), progress=progress)
    return found.ensemble, found.analysis, found.innovation


def baseline(progress=False):
    return CycledFourDVar(np.eye(SITES), lag=2).assimilate(SLOW, OBSERVATIONS, X, 3, progress=progress).analysis


def trained(progress=False):
    found = TRAINING.fit(Y, seeds=2, progress=progress)
    return found.weights, found.training_losses


def four_d_var(progress=False):
    return FourDVar(Propagator(MODEL, 0.0125)).assimilate(WINDOWS, X, progress=progress).state


def cycled(progress=False):
    method = FourDVar(Propagator(MODEL, 0.0125))
    return cycled_fourdvar(method, X, 8, 2, 4, leads=(0,), rng=np.random.default_rng(6), progress=progress).analysis


def lead_errors(progress=False):
    experiment = replace(EXPERIMENT)  # which keeps the truth that it simulated: each call shall have as many launches
    return experiment.lead_errors(experiment.run(EnKF(6)), [0, 2], progress=progress)


# Everything that takes long: (progress) -> what it gives
WORK = {
    "trajectory": lambda progress=False: RUN.trajectory(X, 6, progress=progress),
    "trajectory, every": lambda progress=False: RUN.trajectory(X, 12, 4, progress=progress),
    "forecast": lambda progress=False: RUN.forecast(X[0], 7, progress=progress),
    "trajectory_tl": lambda progress=False: RUN.trajectory_tl(X, X_TL, 6, progress=progress),
    "trajectory_tl, every": lambda progress=False: RUN.trajectory_tl(X[0], X_TL, 12, 4, {"F": 0.5}, progress),
    "trajectory_ad": lambda progress=False: RUN.trajectory_ad(X, Y_AD, progress=progress)[0],
    "trajectory_ad, every": lambda progress=False: RUN.trajectory_ad(X, Y_AD, 5, progress=progress)[1]["F"],
    "gradient": lambda progress=False: RUN.gradient(X, square, 9, progress=progress)[1],
    "gradient, every": lambda progress=False: RUN.gradient(X, square, 15, 5, progress=progress)[1],
    "gradient, checkpoints": lambda progress=False: RUN.gradient(X, square, 15, 5, 2, progress=progress)[1],
    "jacobian": lambda progress=False: RUN.jacobian(X, 3, progress=progress),
    "lyapunov_spectrum": lambda progress=False: lyapunov_spectrum(RUN, X[0], 30, 3, 5, 20, progress=progress).exponents,
    "singular_vectors": lambda progress=False: singular_vectors(RUN, X[0], 5, 2, progress=progress)[0],
    "sensitivity": lambda progress=False: sensitivity(RUN, X[0], 5, 2, progress=progress),
    "filter": lambda progress=False: assimilated(EnKF(6, 1.05, rotation=True), progress),
    "smoother": lambda progress=False: assimilated(IEnKS(6, lag=2, iterations=2), progress),
    "baseline": baseline,
    "climatology": lambda progress=False: climatology(RUN, np.random.default_rng(0), 400, 1.0, progress=progress)[1],
    "spun_up": lambda progress=False: spun_up(RUN, 2, 1.0, np.random.default_rng(0), progress=progress),
    "fit": trained,
    "loss gradient": lambda progress=False: TRAINING.gradient(np.ones(20), Y, progress=progress)[1],
    "4D-Var": four_d_var,
    "cycled 4D-Var": cycled,
    "lead_errors": lead_errors,
}
@pytest.fixture
def one_by_one(monkeypatch):
    """Turns of one unit, and adjoints of one step."""
    monkeypatch.setattr(Pace, "units", property(lambda _: 1, lambda *_: None), raising=False)
    monkeypatch.setattr(_adjoint, "CACHE_BYTES", 1)


@pytest.fixture
def launches(monkeypatch):
    """What is launched: (operation, data); `launches.until` is how many there may be before Ctrl-C."""

    class Launches(list):
        until = np.inf

    found, really = Launches(), launch._launch

    def spy(op, model, scheme, data, *more):
        if len(found) >= found.until:
            raise KeyboardInterrupt
        found.append((op, data))
        return really(op, model, scheme, data, *more)

    monkeypatch.setattr(launch, "_launch", spy)
    return found


def assert_same_bits(found, expected):
    for one, other in zip(*(all_of if isinstance(all_of, tuple) else (all_of,) for all_of in (found, expected))):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", WORK)
def test_the_bits_do_not_depend_on_turns(name, request):
    whole = WORK[name]()
    request.getfixturevalue("one_by_one")
    assert_same_bits(WORK[name](), whole)


STEPS = {
    "trajectory": lambda x, p, dt, every, y, tape: every * (len(y) - 1),
    "trajectory_tl": lambda x, p, x_tl, p_tl, dt, every, later, y_tl: every * (len(y_tl) - 1),
    "trajectory_ad": lambda tape, p, dt, every, y_ad, x_ad, p_ad: every * (len(y_ad) - 1),
    "perturb": lambda *data: len(data[4][0]),  # cycles
    "iterated": lambda *data: len(data[4][0]),
    "gauss-newton": lambda *data: len(data[5][0]),
    "training": lambda *data: data[4].shape[1],  # updates
    "loss_ad": lambda *data: len(data[4]),  # minibatches
    "tendency": lambda *data: 1,
    "observe": lambda *data: 1,
    "observe_tl": lambda *data: 1,
    "observe_ad": lambda *data: 1,
}


@pytest.mark.parametrize("name", WORK)
def test_a_turn_may_be_as_short_as_one_step(name, one_by_one, launches):
    WORK[name]()
    assert launches
    assert {STEPS[op](*data) for op, data in launches} == {1}


@pytest.mark.parametrize("name", WORK)
def test_an_interruption_comes_through_and_leaves_nothing_behind(name, launches, one_by_one):
    whole = WORK[name]()
    launches.until = len(launches) + len(launches) // 2
    with pytest.raises(KeyboardInterrupt):
        WORK[name]()
    launches.until = np.inf
    assert_same_bits(WORK[name](), whole)


@pytest.mark.parametrize("every", [1, 3])
def test_what_an_interruption_leaves_in_out(every, launches, one_by_one):
    expected = RUN.trajectory(X, 12, every)
    for layout, steps in product((np.zeros(expected.shape), np.zeros(expected.shape[::-1]).T), (0, 1, 7)):
        out, launches.until = layout, len(launches) + steps
        with pytest.raises(KeyboardInterrupt):
            RUN.trajectory(X, 12, every, out=out)
        reached = steps // every + 1
        np.testing.assert_array_equal(out[:reached], expected[:reached])
        assert np.isnan(out[reached:]).all() and len(out) > reached
        launches.until = np.inf
    kept = X.copy()
    launches.until = len(launches) + 2
    with pytest.raises(KeyboardInterrupt):
        RUN.forecast(kept, 5, out=kept)
    np.testing.assert_array_equal(kept, X)


def test_a_blow_up_leaves_the_same_in_out():
    wild, out = 6 * X, np.zeros((31, 3, SITES))
    with pytest.raises(BlowUpError) as caught:
        RUN.trajectory(wild, 30, out=out)
    step = caught.value.step
    np.testing.assert_array_equal(caught.value.trajectory, out[:step])
    assert np.isfinite(out[:step]).all() and np.isnan(out[step:]).all() and 1 < step <= 30


@pytest.fixture
def launched_in_threads(monkeypatch):
    """A function that runs a kernel over 20 tiles in two threads, one tile at a time, and in `.came` what is held."""

    @contextmanager
    def held_back():
        with signals_held_back() as launched.came:
            yield launched.came

    def launched(kernel):
        _targets.run_cpu(kernel, 1, (), 20, 8, np.dtype(float), 2, 20 * _targets.WITHOUT_A_LOOK)

    monkeypatch.setattr(_targets, "signals_held_back", held_back)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    yield launched
    signal.signal(signal.SIGINT, before)


def test_threads_hear_of_an_interruption_between_tiles(launched_in_threads):
    begun = []

    def kernel(first, last, size, data, room):
        begun.append((first, last))
        if first == 0:
            os.kill(os.getpid(), signal.SIGINT)
        while not launched_in_threads.came:
            time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt):
        launched_in_threads(kernel)
    assert sorted(begun) in ([(0, 1)], [(0, 1), (10, 11)])


def test_an_interruption_never_meets_the_locks_of_threads(launched_in_threads, monkeypatch):
    """Between two steps of `threading` it would become a RuntimeError about locks, or be lost in a weak reference."""
    passed = []

    class Pool(_targets.ThreadPoolExecutor):
        def submit(self, *work):
            signal.raise_signal(signal.SIGINT)
            passed.append(work)
            return super().submit(*work)

    monkeypatch.setattr(_targets, "ThreadPoolExecutor", Pool)
    with pytest.raises(KeyboardInterrupt):
        launched_in_threads(lambda *_: None)
    assert len(passed) == 2


def test_threads_are_forgotten_before_an_interruption_may_come(monkeypatch):
    pools, left = [], []

    class Pool(_targets.ThreadPoolExecutor):
        def __init__(self, threads):
            super().__init__(threads)
            pools.append(weakref.ref(self))

    @contextmanager
    def held_back():
        yield []
        left.extend(pool() for pool in pools)

    monkeypatch.setattr(_targets, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(_targets, "signals_held_back", held_back)
    _targets.run_cpu(lambda *_: None, 1, (), 20, 8, np.dtype(float), 2, 20 * _targets.WITHOUT_A_LOOK)
    assert left == [None]


def test_a_long_launch_goes_through_all_tiles_in_parts():
    parts = []

    def kernel(first, last, *_):
        parts.append((first, last))

    _targets.run_cpu(kernel, 1, (), 10, 8, np.dtype(float), 1, 5 * _targets.WITHOUT_A_LOOK)
    assert parts == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]


# --- how long a turn is -----------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what `clock.now` is set to."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(_progress.time, "monotonic", lambda: Clock.now)
    return Clock


def turn(pace, clock, units, seconds):
    with pace.turn(units):
        clock.now += seconds
    return pace.units


def test_turns_take_the_time_that_they_should(clock):
    pace = Pace(1000)
    assert turn(pace, clock, 1000, 10 * TURN) == 100  # ten times too long, as when a kernel is compiled
    assert turn(pace, clock, 100, TURN / 100) == 100 * GROWTH
    assert turn(pace, clock, 1, TURN / 2) == 100 * GROWTH  # a short one at the end tells little
    assert turn(pace, clock, 1, 100 * TURN) == 1
    sizes = []
    for now in turns(10, 4):
        sizes.append(now.stop - now.start)
        clock.now += sizes[-1] * TURN / 2.5  # two units fit
    assert sizes == [4, 2, 2, 2]


def test_turns_cover_the_work():
    for total, units, most in ((0, 1, None), (1, 5, None), (10, 3, None), (10, 1, 2)):
        parts = [range(total)[now] for now in turns(total, units, most)]
        assert [unit for part in parts for unit in part] == list(range(total))
        assert all(0 < len(part) <= (most or total) for part in parts)


# --- bars -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bars(monkeypatch):
    """All bars that are made, with what they reached."""
    found = []

    class Bar:
        def __init__(self, total, delay=0, unit_scale=None, **_):
            self.total, self.n, self.delay, self.unit_scale = total, 0, delay, unit_scale
            found.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, units=1):
            self.n += units

        def set_postfix(self, **_):
            pass

        unpause = set_postfix

    monkeypatch.setattr("tqdm.tqdm", Bar)
    return found


FINE, WEAK = (FourDVar(Propagator(MODEL, 0.0125), model_cov=cov) for cov in (None, np.ones(SITES)))
WITH_BARS = {
    **WORK,
    "function": lambda progress=False: lorenz96.trajectory(X, 8.0, 0.01, 4, progress=progress),
    "function, tangent": lambda progress=False: lorenz96.trajectory_tl(X, 8.0, 0.01, 4, X_TL, progress=progress),
    "function, adjoint": lambda progress=False: lorenz96.trajectory_ad(X, 8.0, 0.01, Y_AD, progress=progress),
    "loss": lambda progress=False: TRAINING.loss(np.ones(20), Y, progress=progress),
    "trajectory of 4D-Var": lambda progress=False: FINE.trajectory(X, 5, progress=progress),
    "trajectory with errors": lambda progress=False: WEAK.trajectory(X, 5, np.zeros((4, *X.shape)), progress=progress),
    "4DEnVar": lambda progress=False: FourDEnVar(6, window=2).assimilate(
        SLOW, OBSERVATIONS, ensembles(6), 3, rng=np.random.default_rng(5), progress=progress
    ),
    "3D-Var": lambda progress=False: ThreeDVar(np.eye(SITES)).assimilate(SLOW, OBSERVATIONS, X, 3, progress=progress),
    "ensemble": lambda progress=False: replace(EXPERIMENT).ensemble(4, progress=progress),
    "run": lambda progress=False: replace(EXPERIMENT).run(EnKF(6), progress=progress),
    "sweep": lambda progress=False: replace(EXPERIMENT).sweep(EnKF(6), inflation=[1.0, 1.1], progress=progress),
}


@pytest.mark.parametrize("name", WITH_BARS)
def test_long_work_has_a_bar_if_it_is_wanted_and_seen(name, bars, monkeypatch, capsys):
    WITH_BARS[name](progress=True)
    assert not bars  # in a pipe
    monkeypatch.setattr(_progress, "is_watched", lambda: True)
    WITH_BARS[name]()
    assert not bars
    WITH_BARS[name](progress=True)
    assert bars and all(bar.n == bar.total or bar.total is None for bar in bars) and all(bar.n for bar in bars)
    assert all(bar.delay == 0.5 for bar in bars)  # seconds, as is said


def test_many_units_are_counted_by_thousands(bars, monkeypatch):
    monkeypatch.setattr(_progress, "is_watched", lambda: True)
    for total in (None, 9_999, 10_000):
        with _progress.progress_bar(total, "steps"):
            pass
    assert [bar.unit_scale for bar in bars] == [False, False, True]


def test_nothing_is_written_to_a_pipe(capfd):
    with progress_bar(3, "steps") as bar:
        bar.update(3)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(TypeError, match="progress: expected True or False, found 'no'"), progress_bar(3, "x", "no"):
        pass


def test_a_notebook_is_watched_and_a_pipe_is_not(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert not launch.is_watched()
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    assert launch.is_watched()


LENGTHS = {"steps", "cycles", "states", "truths", "trajectories", "observations", "leads", "members"}
SHORT = {  # what takes as long as its result is large, or is one call of a matrix
    "linear_operator",
    "observe",
    "misfit",
    "weighted",
    "weighted_tl",
    "weighted_ad",
    "of",
    "cost",
}


def public_functions():
    methods = EnKF, CycledFourDVar, baselines.ThreeDVar, baselines.Climatology
    for owner in (Propagator, FourDVar, Training, TwinExperiment, *methods):
        for name, function in inspect.getmembers(owner, inspect.isfunction):
            if not name.startswith("_"):
                yield f"{owner.__name__}.{name}", function
    for module in (predictability, twin, baselines, lorenz96):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if not name.startswith("_") and function.__module__ == module.__name__:
                yield f"{module.__name__}.{name}", function


def test_everything_long_has_the_same_keyword():
    seen = 0
    for name, function in public_functions():
        parameters = inspect.signature(function).parameters
        if LENGTHS & set(parameters) and name.split(".")[-1] not in SHORT:
            assert "progress" in parameters and parameters["progress"].default is False, name
            seen += 1
    assert seen > 15


# --- what nobody lives to see -----------------------------------------------------------------------------------------

HUGE = 10**18
ABSURD = {
    "forecast": ("steps", lambda: RUN.forecast(X, HUGE)),
    "trajectory": ("steps", lambda: RUN.trajectory(X, HUGE, HUGE // 2)),
    "trajectory, memory": ("trajectory", lambda: RUN.trajectory(X, 2**31)),
    "trajectory_tl": ("steps", lambda: RUN.trajectory_tl(X, X, HUGE, HUGE)),
    "trajectory_tl, memory": ("trajectory", lambda: RUN.trajectory_tl(X, X, 2**31)),
    "trajectory_ad": ("steps|every", lambda: RUN.trajectory_ad(X, Y_AD, HUGE)),
    "gradient": ("steps", lambda: RUN.gradient(X, square, HUGE, HUGE)),
    "gradient, states": ("gradient", lambda: RUN.gradient(X, square, 2**31, checkpoints=1)),
    "jacobian": ("steps", lambda: RUN.jacobian(X, HUGE)),
    "jacobian, memory": ("jacobian", lambda: Propagator(Lorenz96(10**6), 0.05).jacobian(np.ones(10**6))),
    "linear_operator": ("steps", lambda: RUN.linear_operator(X[0], HUGE)),
    "singular_vectors": ("steps", lambda: singular_vectors(RUN, X[0], HUGE)),
    "sensitivity": ("steps", lambda: sensitivity(RUN, X[0], HUGE, 0)),
    "lyapunov_spectrum": ("steps", lambda: lyapunov_spectrum(RUN, X[0], HUGE)),
    "lyapunov_spectrum, memory": ("steps", lambda: lyapunov_spectrum(RUN, X[0], 2**31, every=1)),
    "lyapunov_spectrum, before": ("spin_up", lambda: lyapunov_spectrum(RUN, X[0], 10, spin_up=HUGE)),
    "climatology": ("spin_up", lambda: climatology(RUN, RNG, spin_up=1e300)),
    "climatology, memory": ("states", lambda: climatology(RUN, RNG, HUGE)),
    "spun_up": ("time", lambda: spun_up(RUN, 1, 1e300, RNG)),
    "spin_up": ("spin_up", lambda: TwinExperiment(RUN, every_site(SITES), spin_up=1e300)),
    "cycles": ("cycles", lambda: TwinExperiment(RUN, every_site(SITES), cycles=HUGE)),
    "cycles, memory": ("cycles", lambda: TwinExperiment(RUN, every_site(SITES), cycles=10**12)),
    "filter": ("every", lambda: EnKF(6).assimilate(SLOW, OBSERVATIONS, ensembles(6), HUGE, rng=RNG)),
    "baseline": ("every", lambda: CycledFourDVar(np.eye(SITES)).assimilate(SLOW, OBSERVATIONS, X, HUGE)),
    "FourDVar": ("every", lambda: FourDVar(RUN, every=HUGE)),
    "Training": ("every", lambda: Training(sq_net(), 0.05, every=HUGE)),
    "rollout": ("rollout", lambda: Training(sq_net(), 0.05, rollout=HUGE)),
}


@pytest.mark.parametrize("name", ABSURD)
def test_what_nobody_lives_to_see_is_refused_before_any_work(name, launches):
    what, call = ABSURD[name]
    with pytest.raises((ValueError, MemoryError), match=rf"({what}).*: expected .*, found .*; "):
        call()
    assert not launches


# --- what an adjoint keeps --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 4])
def test_a_cost_may_work_in_place(every, one_by_one, monkeypatch):
    """Its number and its derivative lie in the same arrays at each call."""
    monkeypatch.setattr(propagators, "TAPE_BYTES", 1)
    J, y_ad, calls = np.zeros(len(X)), {}, count()

    def cost(y, t):
        next(calls)
        own = y_ad.setdefault(y.shape, np.empty_like(y))
        J[:], own[:] = (y**2).sum(axis=(0, -1)) / 2, y
        return J, own

    found = RUN.gradient(X, cost, 12, every)
    y = RUN.trajectory(X, 12, every)
    np.testing.assert_allclose(found[0], (y**2).sum(axis=(0, -1)) / 2, rtol=1e-14)
    np.testing.assert_allclose(found[1], RUN.trajectory_ad(X, y, every)[0], rtol=1e-12)
    assert next(calls) > 2


@pytest.mark.parametrize("every", [1, 4, 60])
def test_an_adjoint_keeps_as_many_states_as_a_cache_holds(every, monkeypatch):
    expected, calls = RUN.gradient(X, square, 60, every), count()
    kept, really = [], launch.tape
    of_step = launch.tape_bytes(MODEL.kernel, 3, SITES, X.dtype)

    def spy(model, members, sites, steps, *more):
        kept.append(steps)
        return really(model, members, sites, steps, *more)

    def cost(y, t):
        next(calls)
        return square(y, t)

    monkeypatch.setattr(launch, "tape", spy)
    for steps in (1, 3, 8, 59):
        monkeypatch.setattr(_adjoint, "CACHE_BYTES", steps * of_step)
        kept.clear()
        found = RUN.gradient(X, cost, 60, every)
        assert max(kept) <= steps and sum(kept) == 60
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_array_equal(found[2]["F"], expected[2]["F"])
    assert next(calls) == 4  # the whole window at once, each time
    monkeypatch.setattr(_adjoint, "MOST_KEPT", 3)  # so few that a segment of an interval has segments of its own
    found = RUN.gradient(X, square, 60, every)
    np.testing.assert_array_equal(found[1], expected[1])
