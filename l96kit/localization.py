"""Localization: how far an observation reaches, and how much of it is left at a distance.

A taper is a function of the distance d, in sites, and of the *localization radius* r. Authors mean different things by
"radius". Here, and in DAPPER, it is the standard deviation of the Gaussian that a taper resembles:

| taper | coefficient at distance d | at d = r | is zero from |
|---|---|---|---|
| "gaspari-cohn" | Gaspari & Cohn (1999), eq. 4.10, with half-width c = 1.82 r | 0.63 | 3.64 r |
| "gauss" | exp(-(d / r)^2 / 2) | 0.61 | where it is below `SMALLEST` |
| "step" | 1 up to r | 1 | beyond r |

A Gaspari-Cohn function that is quoted with its half-width c, or its support 2 c, has r = c / 1.82. (It has the
curvature of the Gaussian at d = 0 if c = sqrt(10 / 3) r = 1.826 r.)
"""

from dataclasses import dataclass

import numpy as np

from l96kit import _arrays
from l96kit._objects import Settings

SMALLEST = 1e-3  # coefficients below count as zero, which saves observations that would do nothing
HALF_WIDTH = 1.82  # of Gaspari & Cohn's function, over the radius


def gaspari_cohn(distance, half_width):
    """The fifth-order piecewise rational function of compact support: 1 at zero, 0 from 2 half-widths on.

    Source: Gaspari & Cohn (1999), eq. 4.10.
    """
    z = np.abs(np.asarray(distance, float)) / half_width
    near = 1 + z**2 * (-5 / 3 + z * (5 / 8 + z * (1 / 2 - z / 4)))
    y = np.clip(z, 1, 2)
    far = 4 - 5 * y + y**2 * (5 / 3 + y * (5 / 8 + y * (-1 / 2 + y / 12))) - 2 / (3 * y)
    return np.where(z <= 1, near, np.maximum(far, 0))


TAPERS = {
    "gaspari-cohn": lambda d, r: gaspari_cohn(d, HALF_WIDTH * r),
    "gauss": lambda d, r: np.exp(-0.5 * (d / r) ** 2),
    "step": lambda d, r: np.where(d <= r, 1.0, 0.0),
}


@dataclass(frozen=True, eq=False, repr=False)
class Localization(Settings):
    """A taper and its radius, in sites; see the table of this module.

    Raises
    ------
    ValueError
        radius <= 0, or an unknown taper
    """

    radius: float
    taper: str = "gaspari-cohn"

    def __post_init__(self):
        if np.ndim(self.radius) or self.radius != np.inf:
            _arrays.positive(self.radius, "radius", " of sites, or infinity for none")
        _arrays.one_of(self.taper, tuple(TAPERS), "taper")

    def coefficients(self, distance):
        """What is left at some distances, in sites: like `distance`, from 1 down to 0."""
        distance = np.abs(np.asarray(distance, float))
        if self.radius == np.inf:
            return np.ones_like(distance)
        found = TAPERS[self.taper](distance, self.radius)
        return np.where(found < SMALLEST, 0.0, found)


def places_of(localization, operator, ring):
    """Where observations are, (period, n); anywhere if they reach all sites."""
    return operator.places(ring) if localization.radius != np.inf else np.zeros((operator.period, operator.n))


def checked(localization):
    if not isinstance(localization, Localization):
        raise TypeError(
            f"localization: expected a Localization, found {type(localization).__name__}; pass Localization(4.0)"
        )
    return localization


def ring_distance(a, b, sites):
    """How far apart places a and b lie on a ring of so many sites, the shorter way round; broadcast."""
    apart = np.mod(np.subtract(a, b), sites)
    return np.minimum(apart, sites - apart)
