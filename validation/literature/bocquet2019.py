"""Bocquet & Farchi (2019), figure 4: Kuramoto-Sivashinsky, all 128 places observed after one time unit.

The paper quotes Gaspari and Cohn's half-width c, 15, 25 and 51 places; our radius is c / 1.82.
"""

from l96kit import KuramotoSivashinsky
from l96kit.filters import ETKF, LETKF
from l96kit.localization import Localization
from l96kit.observation_operators import every_site
from l96kit.validation.literature import Point, Setting

EXPERIMENTS = (
    (
        Setting(KuramotoSivashinsky(), 0.5, 2, every_site(128), spin_up=200.0),
        (
            Point(LETKF(4, 1.11, True, Localization(15 / 1.82)), 0.18, 0.015),
            Point(LETKF(6, 1.06, True, Localization(25 / 1.82)), 0.14, 0.015),
            Point(LETKF(16, 1.02, True, Localization(51 / 1.82)), 0.11, 0.015, 5000),
            Point(ETKF(20, 1.03, True), 0.115, 0.015),
        ),
    ),
)
