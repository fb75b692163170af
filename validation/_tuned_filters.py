"""The tuned baselines of McCabe & Brown (2021), whose scores stand in the history of their code alone, and their grid.

Scores are mean analysis RMSEs, averaged over one or three seeds, of runs whose length, burn-in and starts are unknown.
"""

from typing import Any, NamedTuple

from l96kit import KuramotoSivashinsky, Lorenz96
from l96kit.observation_operators import every_site, rotating

MEMBERS = (5, 10, 15, 20, 30)
INFLATIONS = (1.0, 1.01, 1.02, 1.04, 1.07, 1.1, 1.2, 1.4, 1.7, 2.0)
RADII = (0.1, 0.2, 0.4, 0.7, 1.0, 2.0, 4.0, 7.0, 10.0, 20.0, 40.0, 70.0)
SCALES = (0.1, 0.2, 0.4, 0.75, 1.0, 1.25, 1.5, 2.0, 2.25, 2.5, 3.0)  # of the identity, as background covariance


class System(NamedTuple):
    """A twin experiment, and what was found for it: of 4D-Var, and of LETKF and iEnKS with `MEMBERS`."""

    label: str
    model: Any
    dt: float
    every: int
    operator: Any
    sigma: float
    four_d_var: float
    letkf: tuple
    ienks: tuple
    spin_up: float = 50.0


def _lorenz(label, operator, sigma, *scores):
    return System(label, Lorenz96(40, 8.0), 0.05, 2, operator, sigma, *scores)


def _kuramoto(label, sigma, *scores):
    return System(label, KuramotoSivashinsky(), 0.5, 2, every_site(128), sigma, *scores, 200.0)


PARTIAL, FULL = rotating(4, 40), every_site(40)
SYSTEMS = {
    "L96-partial-1": _lorenz(
        "Lorenz-96, 10 of 40 sites in turn, sigma 1",
        PARTIAL,
        1.0,
        1.00,
        (1.29, 0.79, 0.73, 0.71, 0.69),
        (4.80, 4.59, 4.15, 0.73, 0.61),
    ),
    "L96-partial-2.5": _lorenz(
        "Lorenz-96, 10 of 40 sites in turn, sigma 2.5",
        PARTIAL,
        2.5,
        2.48,
        (2.56, 2.11, 2.03, 1.94, 1.88),
        (4.76, 4.24, 3.46, 2.68, 2.16),
    ),
    "L96-full-1": _lorenz(
        "Lorenz-96, all sites, sigma 1",
        FULL,
        1.0,
        0.396,
        (0.362, 0.285, 0.264, 0.260, 0.254),
        (4.28, 2.84, 0.42, 0.248, 0.236),
    ),
    "L96-full-2.5": _lorenz(
        "Lorenz-96, all sites, sigma 2.5",
        FULL,
        2.5,
        0.99,
        (1.052, 0.859, 0.816, 0.805, 0.781),
        (4.15, 2.70, 1.23, 0.812, 0.72),
    ),
    "KS-1": _kuramoto(
        "Kuramoto-Sivashinsky, all places, sigma 1",
        1.0,
        0.213,
        (0.151, 0.123, 0.112, 0.112, 0.100),
        (1.39, 0.753, 0.196, 0.122, 0.093),
    ),
    "KS-2.5": _kuramoto(
        "Kuramoto-Sivashinsky, all places, sigma 2.5",
        2.5,
        0.534,
        (0.441, 0.374, 0.372, 0.346, 0.316),
        (1.45, 1.02, 0.553, 0.383, 0.314),
    ),
}
