"""Anderson (2010), figure 10: Lorenz-63, all observed after 0.12 time units with variance 8."""

from l96kit import Lorenz63
from l96kit.filters import ESRF, EnKFN
from l96kit.observation_operators import every_site
from l96kit.validation.literature import Point, Setting

EXPERIMENTS = (
    (
        Setting(Lorenz63(), 0.01, 12, every_site(3), 8.0, 2.0),
        (
            Point(EnKFN(20, rotation=True), 0.87, 0.05),
            Point(ESRF(20, 1.01, rotation=True), 0.87, 0.05),  # the adjustment filter, without localization
        ),
    ),
)
