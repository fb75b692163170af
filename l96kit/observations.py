"""Observations of single sites, with independent errors."""

from dataclasses import dataclass

import numpy as np

from l96kit import _arrays


@dataclass(frozen=True)
class SiteObservations:
    """Values observed at some sites, at each of several times.

    Parameters
    ----------
    sites : (time, n) or (time, ..., n) of integers, which sites are observed at each time
    values : (time, ..., n), what was observed, dimensionless; leading axes are independent windows
    sigma : standard deviation of the error, dimensionless; one number or like `values`

    Raises
    ------
    ValueError, TypeError
        shapes that do not match, values that are not finite, sigma <= 0
    """

    sites: np.ndarray
    values: np.ndarray
    sigma: float = 1.0

    def __post_init__(self):
        sites = _arrays.array(self.sites, "sites")
        if sites.dtype.kind not in "iu":
            raise TypeError(f"sites: expected integers, found {sites.dtype}; they are indices of the state")
        values = _arrays.finite(_arrays.floating(self.values, "values"), "values")
        if sites.ndim < 2 or values.ndim < 2 or len(sites) != len(values) or sites.shape[-1] != values.shape[-1]:
            raise ValueError(
                f"sites: expected shape (time, n) like values {values.shape}, found {sites.shape}; "
                "both need the same times and the same number of observations a time"
            )
        sigma = np.asarray(self.sigma, float)
        if not (np.isfinite(sigma).all() and (sigma > 0).all()):
            raise ValueError(
                f"sigma: expected positive finite numbers, found {self.sigma!r}; it is a standard deviation"
            )
        if sigma.ndim not in (0, values.ndim):
            raise ValueError(
                f"sigma: expected one number or an array with the axes of values {values.shape}, found {sigma.shape}; "
                "give each axis, of length 1 where sigma is the same"
            )
        _arrays.parameter(sigma, "sigma", values.shape)
        if not len(values):
            raise ValueError(f"values: expected at least one time, found shape {values.shape}; observe something")
        middle = (slice(None), *(None,) * (values.ndim - sites.ndim), slice(None))
        object.__setattr__(self, "sites", np.broadcast_to(sites[middle], values.shape))
        object.__setattr__(self, "values", values)

    def __len__(self):
        """How many times were observed."""
        return len(self.values)

    def __getitem__(self, window):
        """The observations of one window, by its index in the leading axes."""
        at = (slice(None), *(window if isinstance(window, tuple) else (window,)))
        sigma = np.broadcast_to(self.sigma, self.values.shape)[at]
        return SiteObservations(self.sites[at], self.values[at], sigma)

    def check_sites(self, length):
        """Refuse a site that a state of this length does not have."""
        if self.sites.size and not (self.sites.min() >= 0 and self.sites.max() < length):
            bad = self.sites[(self.sites < 0) | (self.sites >= length)].flat[0]
            raise ValueError(f"sites: expected indices 0..{length - 1}, found {bad}; count sites from 0")

    def of(self, y):
        """What the trajectory y (time, ..., site) has at the observed sites: (time, ..., n)."""
        return np.take_along_axis(y, self.sites, axis=-1)

    def misfit(self, y):
        """Half the sum of squared, weighted departures of y (time, ..., site) from the observations, and its gradient.

        Returns
        -------
        J : (...), one a window: 1/2 sum over times and observations of ((y_site - value) / sigma)^2
        y_ad : like y, dJ/dy
        """
        if y.shape[:-1] != self.values.shape[:-1]:
            raise ValueError(
                f"y: expected shape {(*self.values.shape[:-1], 'site')}, a state for each time and window observed, "
                f"found {y.shape}; leave out what was not observed"
            )
        departures = (self.of(y) - self.values) / self.sigma
        y_ad = np.zeros(y.shape, y.dtype)
        flat = y_ad.reshape(-1, y.shape[-1])
        rows = np.arange(len(flat))[:, None]
        np.add.at(flat, (rows, self.sites.reshape(len(flat), -1)), (departures / self.sigma).reshape(len(flat), -1))
        return 0.5 * (departures**2).sum(axis=(0, -1)), y_ad


def observe(truth, number, sigma, rng, rotating=False) -> SiteObservations:
    """Draw `number` different sites at random for each time and window of a truth (time, ..., site), and add noise.

    rotating : draw from the sites that were not seen yet, until all were seen, and so on; `number` then divides them

    Source: the setting of Fertig, Harlim & Hunt (2007), with the sites drawn anew each time; rotating as in
    Nonnenmacher & Greenberg (2021), here for each window by itself.
    """
    truth = _arrays.floating(_arrays.on_host(truth, "truth"), "truth")
    if truth.ndim < 2 or 0 in truth.shape:
        raise ValueError(f"truth: expected shape (time, ..., site), found {truth.shape}; pass a trajectory")
    if _arrays.count(number, "number") > truth.shape[-1]:
        raise ValueError(f"number: expected at most the {truth.shape[-1]} sites of a state, found {number}; take fewer")
    sigma = _arrays.positive(sigma, "sigma")
    if rotating:
        sites = _rotating_sites(truth.shape, number, rng)
    else:
        sites = np.argsort(rng.random(truth.shape), axis=-1, kind="stable")[..., :number]
    sites = np.sort(sites, axis=-1)
    values = np.take_along_axis(truth, sites, axis=-1)
    return SiteObservations(sites, values + sigma * rng.standard_normal(values.shape).astype(truth.dtype), sigma)


def _rotating_sites(shape, number, rng):
    """(time, ..., number) of a truth (time, ..., site)."""
    times, *windows, length = shape
    if length % number:
        raise ValueError(f"number: expected a divisor of {length} sites with rotating=True, found {number}; choose one")
    turn = length // number
    orders = np.argsort(rng.random((-(-times // turn), *windows, length)), axis=-1)
    steps = np.moveaxis(orders.reshape(len(orders), *windows, turn, number), -2, 1)
    return steps.reshape(-1, *windows, number)[:times]


def interpolate(observations: SiteObservations, sites) -> np.ndarray:
    """A first guess from the first time observed: linear in between, periodic. Returns (..., site)."""
    if not observations.values.size:
        raise ValueError("observations: expected at least one at the first time, found none; nothing to interpolate")
    where = observations.sites[0].reshape(-1, observations.sites.shape[-1])
    values = observations.values[0].reshape(where.shape)
    guesses = [np.interp(np.arange(sites), at, value, period=sites) for at, value in zip(where, values)]
    return np.array(guesses, values.dtype).reshape(*observations.values.shape[1:-1], sites)
