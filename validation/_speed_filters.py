"""The part of `l96kit.validation.speed` that is about filters: a cycle on Lorenz-96, against DAPPER.

Both have the same observations and ensembles to start from. DAPPER keeps errors alone (`error_only`), and we as much;
how much all scores cost stands in rows of its own.
"""

from typing import Any, NamedTuple

import numpy as np

from l96kit import Lorenz96, Propagator
from l96kit.baselines import CycledFourDVar
from l96kit.filters import ETKF, LETKF, EnKF, IEnKS
from l96kit.localization import Localization
from l96kit.observation_operators import every_site
from l96kit.observations import Observations
from l96kit.validation._dapper import peer_of, quiet
from l96kit.validation._timing import in_turn, row, summary

K, DT, CYCLES, BURN_IN = 40, 0.05, 400, 100
ABOUT = f"K={K}, RK4, dt={DT}, every site observed at each step with sigma 1, float64, one core"
AGREEMENT = 0.15  # of the mean error of both, over so few cycles
MOST_ROUNDS = 9  # each compares hundreds of cycles, and DAPPER takes up to a minute for them
SCORES_BAR, BATCH, BATCH_BAR, FORECAST_BAR = 2.0, 64, 1.5, 20.0


class Task(NamedTuple):
    """A method, and how many times faster than DAPPER's we mean to be."""

    label: str
    method: Any
    bar: float


TASKS = (
    Task("EnKF, N = 40", EnKF(40, 1.06), 8),
    Task("ETKF, N = 28", ETKF(28, 1.02, True), 8),
    Task("LETKF, N = 7", LETKF(7, 1.04, True, Localization(4.0)), 30),
    Task("LETKF, N = 10", LETKF(10, 1.04, True, Localization(6.0)), 30),
    Task("iEnKS, N = 40, 10 iterations", IEnKS(40, 1.04, lag=1, iterations=10), 12),
)


FOUR_D_VAR_EVERY, FOUR_D_VAR_LAG, FOUR_D_VAR_SCALE, FOUR_D_VAR_BAR = 4, 4, 0.02, 50  # steps, cycles, variance of B


def measure(rounds, with_dapper):
    """Rows like those of `speed`, all of which need DAPPER."""
    if not with_dapper:
        raise SystemExit("speed: expected --peers dapper with --filters, found it missing; pip install 'l96kit[peers]'")
    import dapper
    from dapper.mods.Lorenz96.sakov2008 import HMM

    quiet()
    rounds = min(rounds, MOST_ROUNDS)
    dapper.set_seed(3000)
    HMM.tseq.BurnIn, HMM.tseq.T = BURN_IN * DT, CYCLES * DT
    xx, yy = HMM.simulate()
    propagator, rows = Propagator(Lorenz96(K, 8.0), DT, threads=1), []
    observations, truth = Observations(every_site(K), np.stack(list(yy)), 1.0), np.array(xx[1 : len(yy) + 1])
    for task in TASKS:
        start = HMM.X0.sample(task.method.members)

        def ours(probabilistic=False, method=task.method, start=start):
            rng = np.random.default_rng(0)
            return method.assimilate(
                propagator, observations, start, 1, truth, rng, keep="scores", probabilistic=probabilistic
            )

        def theirs(method=task.method):
            found = peer_of(method)
            found.assimilate(HMM, xx, yy)
            return found

        check_agreement(task.label, ours(), theirs())
        batch = in_batch(task.method, propagator, observations, truth, start)
        one, peer, scored, many = in_turn([ours, theirs, lambda ours=ours: ours(True), batch], rounds, task.label)
        rows += against_dapper(task.label, task.bar, len(yy), one, peer, many)
        rows.append(row(f"{task.label}, with all scores over without", scored / one, SCORES_BAR, False))
    rows += four_d_var(propagator, HMM, rounds)
    rows.append(forecast(propagator, HMM, rounds))
    return rows


def four_d_var(propagator, HMM, rounds):
    """Windows of several cycles, as in Bocquet & Sakov (2013). What crashes in DAPPER's, an observation operator of one
    time that is asked for that of a time, is mended first."""
    from dapper import da_methods
    from dapper.mods import Operator

    call = Operator.__call__
    Operator.__call__ = lambda own, *args: own if isinstance(args[0], (int, np.integer)) else call(own, *args)
    HMM = HMM.copy()
    HMM.tseq.dko, HMM.tseq.T, HMM.tseq.BurnIn = FOUR_D_VAR_EVERY, CYCLES * FOUR_D_VAR_EVERY * DT, BURN_IN * DT
    xx, yy = HMM.simulate()
    truth = np.array(xx[FOUR_D_VAR_EVERY::FOUR_D_VAR_EVERY])
    observations = Observations(every_site(K), np.stack(list(yy)), 1.0)
    method = CycledFourDVar(np.eye(K), FOUR_D_VAR_SCALE, FOUR_D_VAR_LAG)
    label = f"4D-Var, window of {FOUR_D_VAR_LAG} observation times"

    def ours(times=()):
        wide = Observations(observations.operator, repeated(observations.values, times), 1.0)
        start = np.broadcast_to(HMM.X0.mu, (*times, K))
        return method.assimilate(propagator, wide, start, FOUR_D_VAR_EVERY, repeated(truth, times))

    def theirs():
        found = da_methods.Var4D(B="eye", xB=FOUR_D_VAR_SCALE, Lag=FOUR_D_VAR_LAG, nIter=10, wtol=0)
        found.assimilate(HMM, xx, yy)
        return found

    check_agreement(label, ours(), theirs())
    one, peer, many = in_turn([ours, theirs, lambda: ours((BATCH,))], rounds, label)
    Operator.__call__ = call
    return against_dapper(label, FOUR_D_VAR_BAR, len(yy), one, peer, many)


def repeated(x, times):
    """(time, ..) as (time, *times, ..)."""
    return np.broadcast_to(x.reshape(len(x), *(1,) * len(times), -1), (len(x), *times, x.shape[-1]))


def against_dapper(label, bar, cycles, one, peer, many):
    """Rows of one experiment and of each of many in one call, from the seconds of all cycles."""
    many = many / BATCH
    return [
        row(
            f"{label}, a cycle, against DAPPER",
            peer / one,
            bar,
            seconds=summary(one / cycles),
            peer_seconds=summary(peer / cycles),
        ),
        row(
            f"{label}, each of {BATCH} experiments, against DAPPER",
            peer / many,
            BATCH_BAR * bar,
            seconds=summary(many / cycles),
        ),
    ]


def in_batch(method, propagator, observations, truth, start):
    """Many experiments in one call, which differ in their random numbers alone."""
    wide = Observations(observations.operator, repeated(observations.values, (BATCH,)), 1.0)
    truth, start = repeated(truth, (BATCH,)), np.repeat(start[None], BATCH, axis=0)

    def run():
        rng = np.random.default_rng(0)
        method.assimilate(propagator, wide, start, 1, truth, rng, keep="scores", probabilistic=False)

    return run


def check_agreement(label, ours, theirs):
    mine = ours.analysis_rmse[BURN_IN:].mean()
    peer = np.mean(theirs.stats.err.rms.a[BURN_IN:])
    if not abs(mine / peer - 1) <= AGREEMENT:
        raise ArithmeticError(
            f"DAPPER, {label}: expected the same error as ours to {AGREEMENT:g}, found {peer:.3f} and {mine:.3f}; one "
            "of the two does not compute what the other does"
        )


def forecast(propagator, HMM, rounds, members=100, steps=200):
    x = HMM.X0.sample(members)

    def theirs():
        y = x
        for _ in range(steps):
            y = HMM.Dyn(y, 0.0, DT)

    seconds = in_turn([lambda: propagator.forecast(x, steps), theirs], rounds, "forecast")
    return row(
        f"forecast of {members} members, a step, against DAPPER",
        seconds[1] / seconds[0],
        FORECAST_BAR,
        seconds=summary(seconds[0] / steps),
        peer_seconds=summary(seconds[1] / steps),
    )
