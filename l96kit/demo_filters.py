"""The part of `l96kit demo` that runs twin experiments of ensemble filters."""

import time

import numpy as np

from l96kit.filters import ETKF, LETKF
from l96kit.localization import Localization
from l96kit.observation_operators import rotating
from l96kit.twin_experiments import TwinExperiment

CYCLES, BURN_IN, EVERY = 600, 100, 2
METHODS = {
    "ETKF, 30 members": ETKF(30, 1.1, rotation=True),
    "LETKF, 20 members": LETKF(20, 1.07, rotation=True, localization=Localization(7.0)),
}
COLUMNS = "rmse", "spread", "crps"


def run(seed, slow):
    """Both filters on the same observations: 10 of the 40 sites in turn, three twin experiments.

    Returns RMSE and spread in time of the last one, for a picture, and dict of variable -> (dimensions, array).
    """
    seeds = range(seed, seed + 3)
    experiment = TwinExperiment(slow, rotating(4, slow.model.sites), 1.0, EVERY, CYCLES, seeds)
    print(f"  {'analysis':>20}" + "".join(f"{name:>17}" for name in COLUMNS) + f"{'ms a cycle':>13}")
    scores = []
    for name, method in METHODS.items():
        experiment.run(method)  # compiled, or read from the cache
        started = time.perf_counter()
        found = experiment.run(method)
        milliseconds = (time.perf_counter() - started) * 1e3 / (CYCLES * len(seeds))
        averages = found.averages(BURN_IN)
        both = np.array([averages[f"analysis_{column}"] for column in COLUMNS])
        cells = "".join(f"{mean:>9.3f} +- {spread:.3f}" for mean, spread in zip(both.mean(1), both.std(1, ddof=1)))
        print(f"  {name:>20}{cells}{milliseconds:>13.2f}", flush=True)
        scores.append(both)
    variables = {f"filter_{column}": (("filter", "seed"), np.array(scores)[:, i]) for i, column in enumerate(COLUMNS)}
    return (found.analysis_rmse[:, 0], found.analysis_spread[:, 0]), variables
