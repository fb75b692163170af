"""The part of `l96kit demo` that trains an emulator and puts it to work beside the simulator."""

import time
from typing import NamedTuple

import numpy as np

from l96kit import networks, twin
from l96kit.emulators import Emulator
from l96kit.propagators import Propagator
from l96kit.scores import rmse
from l96kit.training import Training
from l96kit.variational import FourDVar

STEPS = 1200
WINDOW = 40  # steps of 4D-Var
STATES = 50  # at which the emulator is compared with the simulator


class Kind(NamedTuple):
    """A network, and how it is trained here: precision, updates between validations, epochs at most."""

    build: object
    dtype: type
    validate_every: int
    epochs: int


KINDS = {
    "small": Kind(networks.sq_net, np.float64, 200, 4000),
    "deep": Kind(networks.deep_net, np.float32, 200, 300),
}


def run(out, kind, seed, rng, slow, fast, truths, cycles, skipped):
    """Train on `STEPS` steps of `slow`, compare Jacobians and rollouts, assimilate with both models at `fast`'s step.

    Returns the fields of one rollout, for a picture, and dict of variable -> (dimensions, array).
    """
    kind = KINDS[kind]
    network, sites = kind.build(), slow.model.sites
    states = twin.spun_up(slow, STATES + 1, 50, rng).astype(kind.dtype)
    y = slow.trajectory(states[0], STEPS)
    training = Training(network, slow.dt, validate_every=kind.validate_every, epochs=kind.epochs)
    print(f"  training {network.name}, {network.size:,} weights", flush=True)
    started = time.perf_counter()
    found = training.fit(y, seeds=[seed], progress=True)
    print(f"  {found.updates[-1]:,} updates of {training.batch} samples, {time.perf_counter() - started:.1f} s")
    found.save(out / "emulator.h5", {"steps": STEPS, "seed": seed})

    emulator = Propagator(Emulator(network, found.best, sites), slow.dt)
    truth, rollout = (run.trajectory(states[1:], 60) for run in (slow, emulator))
    errors = rmse(rollout, truth).mean(axis=-1)
    jacobian, of_emulator = slow.jacobian(states[1:]), emulator.jacobian(states[1:])
    norms = np.linalg.norm(of_emulator - jacobian, axis=(-2, -1)).mean(), np.linalg.norm(jacobian, axis=(-2, -1)).mean()
    print(f"  RMSE after 1, 12, 60 steps   {errors[1]:.1e}, {errors[12]:.1e}, {errors[60]:.1e}")
    print(f"  Jacobian of one step         differs by {norms[0]:.1e} of {norms[1]:.2f} (Frobenius norms)")

    scores = {}
    start, first = twin.spun_up(fast, truths, 50, rng), int(rng.integers(2**31))
    for name, model in (("simulator", fast), (network.name, _at(emulator, fast.dt))):
        result = twin.cycled_fourdvar(
            FourDVar(model),
            start,
            WINDOW,
            cycles,
            leads=(WINDOW,),
            rng=np.random.default_rng(first),
            progress=True,
            simulator=fast,
        )
        scores[name] = result.analysis_rmse[skipped:].mean(axis=0), result.forecast_rmse[0, skipped:].mean(axis=0)
    print(f"  4D-Var with both on the same new truths and observations, windows of {WINDOW} steps:\n")
    print(f"  {'model':>14}{'analysis':>17}{'forecast':>17}")
    for name, both in scores.items():
        print(f"  {name:>14}" + "".join(f"{score.mean():>9.3f} +- {score.std(ddof=1):.3f}" for score in both))
    variables = {
        "emulator_rollout_rmse": (("rollout_step",), errors),
        "emulator_analysis_rmse": (("model", "twin"), np.array([both[0] for both in scores.values()])),
    }
    fields = {"simulator": truth[:, 0], "emulator": rollout[:, 0], "error": rollout[:, 0] - truth[:, 0]}
    return fields, variables


def _at(emulator, dt):
    """The same network at another time step, in double precision."""
    model = emulator.model
    return Propagator(Emulator(model.network, model.weights.astype(float), model.sites), dt)
