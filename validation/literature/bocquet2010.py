"""Bocquet, Pires & Wu (2010), figures 1 and 5: Lorenz-96, every second site observed with variance 1.5.

DAPPER's values, with rotation and inflation in place of the additive noise of the paper, are better than the paper's.
"""

from l96kit import Lorenz96
from l96kit.filters import EnKFN, IEnKS, ParticleFilter
from l96kit.observation_operators import every
from l96kit.validation.literature import Point, Setting

EXPERIMENTS = (
    (
        Setting(Lorenz96(10, 8.0), 0.05, 1, every(2, 10), 1.5),
        (
            Point(EnKFN(8, rotation=True, strength=1.3), 0.31, 0.03),
            Point(ParticleFilter(800, jitter=0.8), 0.25, 0.05),  # there with weights, resampled when few count
        ),
    ),
    (
        Setting(Lorenz96(40, 8.0), 0.05, 1, every(2, 40), 1.5),
        (
            Point(EnKFN(24, 1.01, rotation=True), 0.38, 0.03),
            Point(IEnKS(19, 1.04, lag=2), 0.39, 0.03),
        ),
    ),
)
