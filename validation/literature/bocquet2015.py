"""Bocquet, Raanes & Hannart (2015), figure 3: Lorenz-96, every site observed, with and without inflation."""

from l96kit import Lorenz96
from l96kit.filters import ETKF, EnKFN
from l96kit.observation_operators import every_site
from l96kit.validation.literature import Point, Setting

EXPERIMENTS = (
    (
        Setting(Lorenz96(40, 8.0), 0.05, 1, every_site(40)),
        (
            Point(ETKF(20, 1.04, rotation=True), 0.20, 0.02),
            Point(EnKFN(20), 0.24, 0.02),
            Point(EnKFN(20, strength=2.0), 0.19, 0.02),
        ),
    ),
)
