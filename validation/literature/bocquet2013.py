"""Bocquet & Sakov (2013), figure 4: Lorenz-96, every site observed after 0.2 time units.

The finite-size form of the iterative smoother, which they use with a lag, stands here with an inflation instead.
"""

import numpy as np

from l96kit import Lorenz96
from l96kit.baselines import CycledFourDVar
from l96kit.filters import IEnKS
from l96kit.observation_operators import every_site
from l96kit.validation.literature import Point, Setting

EXPERIMENTS = (
    (
        Setting(Lorenz96(40, 8.0), 0.05, 4, every_site(40)),
        (
            Point(CycledFourDVar(np.eye(40), 0.2, lag=1), 0.46, 0.03),
            Point(CycledFourDVar(np.eye(40), 0.1, lag=2), 0.39, 0.03),
            Point(CycledFourDVar(np.eye(40), 0.02, lag=4), 0.37, 0.03),
            Point(IEnKS(20, 1.04, True, lag=4), 0.31, 0.03),
        ),
    ),
    (
        Setting(Lorenz96(40, 8.0), 0.05, 12, every_site(40)),
        (Point(IEnKS(25, 1.2, True, lag=1), 0.46, 0.03),),  # Sakov, Oliver & Bertino (2012), table 3
    ),
)
