"""Hoteit et al. (2015), figure 2, with the ETKF and LETKF of DAPPER: Lorenz-96, every site observed at each step."""

from l96kit import Lorenz96
from l96kit.filters import ETKF, LETKF
from l96kit.localization import Localization
from l96kit.observation_operators import every_site
from l96kit.validation.literature import Point, Setting

EXPERIMENTS = (
    (
        Setting(Lorenz96(40, 8.0), 0.05, 1, every_site(40)),
        (
            Point(ETKF(28, 1.02, rotation=True), 0.18, 0.02),
            Point(ETKF(17, 1.03), 0.217, 0.02),
            Point(LETKF(7, 1.04, True, Localization(4.0)), 0.22, 0.02),
            Point(LETKF(10, 1.02, True, Localization(4.0)), 0.21, 0.02),
            Point(LETKF(10, 1.04, True, Localization(6.0)), 0.20, 0.02),
            Point(LETKF(10, 1.10, True, Localization(10.0)), 0.22, 0.02),
            Point(LETKF(10, 1.20, False, Localization(15.0)), 0.29, 0.03),
        ),
    ),
)
