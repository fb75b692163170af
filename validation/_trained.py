"""The data and the trained networks that `validation.deep_emulators` looks at, trained once and then kept.

Settings are those of the code that Nonnenmacher & Greenberg (2021) released: Lorenz-96 (K=40, F=8), one RK4 step of
0.05, float32, Adam at 1e-3, minibatches of 32, the learning rate divided by ten after 10 validations without a smaller
loss, an end after 50. Of each run of T time units, the first 5 are left out, those up to 0.8 T serve for training,
those up to 0.9 T for validation. Where ours differs: samples of several runs are shuffled together, training stops at
once and not at the end of the epoch, and every seed is given.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from l96kit import Emulator, Lorenz96, Propagator, Training, networks
from l96kit.kernels._cache import cache_folder
from l96kit.validation._record import RESULTS, provenance

K, F, DT, SPIN_UP = 40, 8.0, 0.05, 5.0
FINE = 0.0125  # time units; the step of 4D-Var
FOLDER = RESULTS / "networks"
BUILDERS = {"deepNet": networks.deep_net, "sqNet": networks.sq_net, "bilinNet": networks.bilin_net}


class Size(NamedTuple):
    """A set of training data: length of a run in time units, runs, updates between validations, epochs at most."""

    length: float
    runs: int
    validate_every: int
    epochs: int


SIZES = {  # by the number of steps after the spin-up
    1_200: Size(65, 1, 200, 10_000),
    4_000: Size(205, 1, 2000, 5_000),
    8_000: Size(405, 1, 2000, 5_000),
    12_000: Size(605, 1, 2000, 5_000),
    120_000: Size(605, 10, 2000, 5_000),
}


def simulator(dt=DT, sites=K):
    return Propagator(Lorenz96(sites, F), dt)


def emulator(name, weights, dt=DT, sites=K):
    return Propagator(Emulator(BUILDERS[name](), weights, sites), dt)


def simulated(length, runs, seed, dt=DT, sites=K, dtype=np.float32):
    """Trajectories (time, run, site) of so many time units, from small random states, as the released code has it."""
    rng = np.random.default_rng(seed)
    start = (F * (0.5 + rng.standard_normal((runs, sites))) / 50).astype(dtype)
    return simulator(dt, sites).trajectory(start, round(length / dt))


def data(steps, dtype=np.float32):
    """Trajectories for training and for validation."""
    size = SIZES[steps]
    y = simulated(size.length, size.runs, [2021, steps], dtype=dtype)
    first, cut, end = (round(time / DT) for time in (SPIN_UP, 0.8 * size.length, 0.9 * size.length))
    return y[first : cut + 1], y[cut : end + 1]


def trained(name, steps, seeds=3, dtype=np.float32, store=False, epochs=None, progress=True):
    """The weights (seed, weight) of a network after full training, from the file if there is one; and its attributes.

    Training takes hours for deepNet; when it is interrupted, it goes on from where it was. `epochs` cuts it short, and
    then nothing is read or kept.
    """
    label = f"{name}-{steps}-{np.dtype(dtype).name}"
    path = FOLDER / f"{label}.h5"
    if epochs is None and path.exists():
        _, weights, attributes = networks.load(path)
        if len(weights) >= seeds:
            return weights[:seeds], attributes
    size = SIZES[steps]
    training = Training(
        BUILDERS[name](), DT, validate_every=size.validate_every, epochs=size.epochs if epochs is None else epochs
    )
    checkpoint = None if epochs else Path(cache_folder()) / "training" / f"{label}-{seeds}.h5"
    found = training.fit(*data(steps, dtype), seeds=seeds, checkpoint=checkpoint, progress=progress)
    record = provenance()
    attributes = {
        "steps": steps,
        "validation_loss": found.loss,
        "updates": np.isfinite(found.validation_losses).sum(axis=0) * size.validate_every,
        **{key: record[key] for key in ("date", "commit", "command")},
    }
    if store and epochs is None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        networks.save(path, training.network, found.weights, attributes)
    return found.weights, attributes
