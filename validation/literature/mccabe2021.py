"""McCabe & Brown (2021): baselines that they tuned, Kuramoto-Sivashinsky, all 128 places observed after one time unit.

Scores and tunings are those of their notebooks, of one run each whose length and start are not known.
"""

from l96kit import KuramotoSivashinsky
from l96kit.filters import LETKF, IEnKS
from l96kit.localization import Localization
from l96kit.observation_operators import every_site
from l96kit.validation.literature import Point, Setting

SETTING = Setting(KuramotoSivashinsky(), 0.5, 2, every_site(128), spin_up=200.0)
EXPERIMENTS = (
    (
        SETTING,
        (
            Point(LETKF(10, 1.02, True, Localization(10.0)), 0.123, 0.006, 2000),
            Point(LETKF(15, 1.04, True, Localization(20.0)), 0.112, 0.006, 2000),
            Point(LETKF(30, 1.01, True, Localization(20.0)), 0.100, 0.005, 2000),
            Point(IEnKS(15, 1.2, True), 0.196, 0.01, 2000),
            Point(IEnKS(20, 1.07), 0.122, 0.006, 2000),
            Point(IEnKS(30, 1.02, True), 0.093, 0.005, 2000),
        ),
    ),
    (
        SETTING._replace(variance=6.25),
        (
            Point(LETKF(10, 1.07, True, Localization(20.0)), 0.374, 0.019, 2000),
            Point(LETKF(15, 1.04, True, Localization(20.0)), 0.372, 0.019, 2000),
            Point(LETKF(30, 1.02, True, Localization(20.0)), 0.316, 0.016, 2000),
            Point(IEnKS(15, 1.2, True), 0.553, 0.028, 2000),
            Point(IEnKS(20, 1.04, True), 0.383, 0.019, 2000),
            Point(IEnKS(30, 1.04, True), 0.314, 0.016, 2000),
        ),
    ),
)
