"""Sakov & Oke (2008), table 1: Lorenz-96, every site observed at each step."""

from l96kit import Lorenz96
from l96kit.filters import ESRF, EnKF, EnKFN
from l96kit.observation_operators import every_site
from l96kit.validation.literature import Point, Setting

EXPERIMENTS = (
    (
        Setting(Lorenz96(40, 8.0), 0.05, 1, every_site(40)),
        (
            Point(EnKF(40, 1.06), 0.22, 0.02),
            Point(EnKF(28, 1.08), 0.24, 0.02),
            Point(ESRF(28, 1.02, rotation=True), 0.18, 0.02),
            Point(EnKFN(24, rotation=True), 0.21, 0.02),
            Point(EnKFN(24, rotation=True, strength=2.0), 0.18, 0.02),
        ),
    ),
)
