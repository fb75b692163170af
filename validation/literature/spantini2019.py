"""Spantini, Baptista & Marzouk (2022), figure 9: Lorenz-96, every second site observed after 0.4 time units."""

from l96kit import Lorenz96
from l96kit.filters import ETKF, LETKF, IEnKS
from l96kit.localization import Localization
from l96kit.observation_operators import every
from l96kit.validation.literature import Point, Setting

EXPERIMENTS = (
    (
        Setting(Lorenz96(40, 8.0), 0.02, 20, every(2, 40), 0.5, 0.1),
        (
            Point(LETKF(40, 1.10, False, Localization(4.0)), 1.0, 0.05, 2000),
            Point(ETKF(100, 1.10), 0.97, 0.1, 2000),
            Point(IEnKS(60, 1.10, lag=2), 0.47, 0.05, 2000),
        ),
    ),
)
