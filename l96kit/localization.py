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

Distances go along the ring: fields of one site, such as momentum and temperature, lie at no distance from one another.
On a ring of one site, such as that of Lorenz-63, there is then nothing to localize, and it is refused.
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
    z = np.minimum(_checked_distance(distance) / _arrays.positive(half_width, "half_width"), 2)
    near = 1 + z**2 * (-5 / 3 + z * (5 / 8 + z * (1 / 2 - z / 4)))
    y = np.maximum(z, 1)
    far = 4 - 5 * y + y**2 * (5 / 3 + y * (5 / 8 + y * (-1 / 2 + y / 12))) - 2 / (3 * y)
    return np.where(z <= 1, near, np.maximum(far, 0))


def _checked_distance(distance):
    distance = np.abs(_arrays.real(distance, "distance").astype(float, copy=False))
    if np.isnan(distance).any():
        raise ValueError("distance: expected numbers, found NaN; leave it out")
    return distance


TAPERS = {
    "gaspari-cohn": lambda d, r: gaspari_cohn(d / r, HALF_WIDTH),
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
        unit = " of sites, or infinity for none"
        radius = _arrays.number(self.radius, "radius", f"pass a float{unit}")
        _arrays.settle(self, radius=radius if radius == np.inf else _arrays.positive(radius, "radius", unit))
        _arrays.one_of(self.taper, tuple(TAPERS), "taper")

    def coefficients(self, distance):
        """What is left at some distances, in sites: like `distance`, from 1 down to 0."""
        distance = _checked_distance(distance)
        if self.radius == np.inf:
            return np.ones_like(distance)
        found = TAPERS[self.taper](distance, self.radius)
        return np.where(found < SMALLEST, 0.0, found)


def places_of(localization, operator, ring):
    """Where observations are, (period, n); anywhere if they reach all sites."""
    if localization.radius == np.inf:
        return np.zeros((operator.period, operator.n))
    if ring == 1:
        raise ValueError(
            f"localization: expected a model of several sites for a radius of {localization.radius:g}, found one whose "
            "fields share a single site and lie at no distance; take Localization(np.inf), or a method without"
        )
    return operator.places(ring)


def checked_localization(value):
    return _arrays.instance(value, Localization, "localization", "a Localization", "pass Localization(4.0)")


def ring_distance(a, b, sites):
    """How far apart places a and b lie on a ring of so many sites, the shorter way round; broadcast."""
    a, b = _arrays.broadcast(_arrays.real(a, "a"), _arrays.real(b, "b"), "b", "a")
    apart = np.mod(a - b, _arrays.count(sites, "sites"))
    return np.minimum(apart, sites - apart)
