"""Sakov, Oliver & Bertino (2012), table 1: Lorenz-63, all observed after 0.25 time units with variance 2."""

from l96kit import Lorenz63
from l96kit.filters import ETKF, EnKF, EnKFN, IEnKS, ParticleFilter
from l96kit.observation_operators import every_site
from l96kit.validation.literature import Point, Setting

EXPERIMENTS = (
    (
        Setting(Lorenz63(), 0.01, 25, every_site(3), 2.0, 2.0),
        (
            Point(ETKF(3, 1.30), 0.80, 0.08),
            Point(ETKF(10, 1.02, rotation=True), 0.60, 0.05),
            Point(EnKF(10, 1.04), 0.65, 0.05),
            Point(EnKF(100, 1.01), 0.56, 0.05),
            Point(EnKFN(3), 0.60, 0.05),
            Point(EnKFN(10, rotation=True), 0.54, 0.05),
            Point(IEnKS(10, 1.02, True), 0.31, 0.03),
            Point(ParticleFilter(4000, jitter=0.7), 0.27, 0.03),  # there with weights, resampled when few count
        ),
    ),
)
