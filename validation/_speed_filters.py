"""The part of `l96kit.validation.speed` that is about filters: a cycle on Lorenz-96, against DAPPER.

Both have the same observations and ensembles to start from. DAPPER keeps errors alone (`error_only`), and we as much;
how much all scores cost stands in rows of its own.
"""

from typing import Any, NamedTuple

import numpy as np

from l96kit import Lorenz96, Propagator
from l96kit.filters import ETKF, LETKF, EnKF, IEnKS
from l96kit.localization import Localization
from l96kit.observation_operators import every_site
from l96kit.observations import Observations
from l96kit.validation._timing import in_turn, row, summary

K, DT, CYCLES, BURN_IN = 40, 0.05, 400, 100
ABOUT = f"K={K}, RK4, dt={DT}, every site observed at each step with sigma 1, float64, one core"
AGREEMENT = 0.15  # of the mean error of both, over so few cycles
SCORES_BAR, BATCH, BATCH_BAR, FORECAST_BAR = 2.0, 64, 1.5, 20.0


class Task(NamedTuple):
    """A method of ours and of DAPPER's, and how many times faster than that we mean to be."""

    label: str
    method: Any
    theirs: tuple
    bar: float


TASKS = (
    Task("EnKF, N = 40", EnKF(40, 1.06), ("EnKF", {"upd_a": "PertObs", "N": 40, "infl": 1.06}), 8),
    Task("ETKF, N = 28", ETKF(28, 1.02, True), ("EnKF", {"upd_a": "Sqrt", "N": 28, "infl": 1.02, "rot": True}), 8),
    Task(
        "LETKF, N = 7",
        LETKF(7, 1.04, True, Localization(4.0)),
        ("LETKF", {"N": 7, "infl": 1.04, "rot": True, "loc_rad": 4}),
        30,
    ),
    Task(
        "LETKF, N = 10",
        LETKF(10, 1.04, True, Localization(6.0)),
        ("LETKF", {"N": 10, "infl": 1.04, "rot": True, "loc_rad": 6}),
        30,
    ),
    Task(
        "iEnKS, N = 40, 10 iterations",
        IEnKS(40, 1.04, lag=1, iterations=10),
        ("iEnKS", {"upd_a": "Sqrt", "N": 40, "infl": 1.04, "Lag": 1, "nIter": 10}),
        12,
    ),
)


def measure(rounds, with_dapper):
    """Rows like those of `speed`, all of which need DAPPER."""
    if not with_dapper:
        raise SystemExit("speed: expected --peers dapper with --filters, found it missing; pip install 'l96kit[peers]'")
    import dapper
    from dapper import da_methods
    from dapper.mods.Lorenz96.sakov2008 import HMM
    from dapper.tools import progressbar

    progressbar.disable_progbar = True
    dapper.rc.comps["error_only"] = True
    dapper.set_seed(3000)
    HMM.tseq.BurnIn, HMM.tseq.T = BURN_IN * DT, CYCLES * DT
    xx, yy = HMM.simulate()
    propagator, rows = Propagator(Lorenz96(K, 8.0), DT, threads=1), []
    observations, truth = Observations(every_site(K), np.stack(list(yy)), 1.0), np.array(xx[1 : len(yy) + 1])
    for task in TASKS:
        name, settings = task.theirs
        start = HMM.X0.sample(task.method.members)

        def ours(probabilistic=False, method=task.method, start=start):
            rng = np.random.default_rng(0)
            return method.assimilate(
                propagator, observations, start, 1, truth, rng, keep="scores", probabilistic=probabilistic
            )

        def theirs(name=name, settings=settings):
            found = getattr(da_methods, name)(**settings)
            found.assimilate(HMM, xx, yy)
            return found

        check_agreement(task.label, ours(), theirs())
        batch = in_batch(task.method, propagator, observations, truth, start)
        seconds = in_turn([ours, theirs, lambda ours=ours: ours(True), batch], rounds, task.label)
        one, peer, scored, many = seconds[0], seconds[1], seconds[2], seconds[3] / BATCH
        of_cycle = {"seconds": summary(one / len(yy)), "peer_seconds": summary(peer / len(yy))}
        rows.append(row(f"{task.label}, a cycle, against DAPPER", peer / one, task.bar, **of_cycle))
        rows.append(row(f"{task.label}, with all scores over without", scored / one, SCORES_BAR, False))
        label = f"{task.label}, each of {BATCH} experiments, against DAPPER"
        rows.append(row(label, peer / many, BATCH_BAR * task.bar, seconds=summary(many / len(yy))))
    rows.append(forecast(propagator, HMM, rounds))
    return rows


def in_batch(method, propagator, observations, truth, start):
    """Many experiments in one call, which differ in their random numbers alone."""
    wide = Observations(observations.operator, np.repeat(observations.values[:, None], BATCH, axis=1), 1.0)
    truth, start = np.repeat(truth[:, None], BATCH, axis=1), np.repeat(start[None], BATCH, axis=0)

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
