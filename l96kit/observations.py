"""Observations: what was observed, where, and how well."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from l96kit import _arrays
from l96kit._minimisers import or_infinite
from l96kit._objects import Settings
from l96kit._random import generator
from l96kit.observation_operators import ObservationOperator, at_sites, checked_operator


@dataclass(frozen=True, eq=False, repr=False)
class Observations(Settings):
    """Values observed at each of several times, with Gaussian errors.

    Parameters
    ----------
    operator : what was observed, see `l96kit.observation_operators`
    values : (time, ..., n), dimensionless, NaN where nothing was observed; leading axes are independent windows or
        experiments
    sigma : standard deviation of the error, dimensionless; one number or like `values`, 1 if there is no `cov` either.
        Errors are then independent.
    cov : (n, n), the covariance of the errors of one time, instead of `sigma`; then nothing may be missing

    All of them are copied.

    Raises
    ------
    ValueError, TypeError
        shapes that do not match, values that are infinite, sigma <= 0, a covariance that is not positive definite
    """

    operator: ObservationOperator
    values: np.ndarray
    sigma: Any = None
    cov: Any = None

    def __post_init__(self):
        checked_operator(self.operator)
        if np.ma.is_masked(self.values):
            floats = "" if self.values.dtype.kind == "f" else ".astype(float)"
            raise ValueError(
                "values: expected NaN where nothing was observed, found masked ones; take "
                f"values{floats}.filled(np.nan)"
            )
        values = _arrays.floating(self.values, "values")
        if np.isinf(values).any():
            raise ValueError(
                "values: expected numbers, or NaN where nothing was observed, found infinite ones; take NaN for them"
            )
        windows, n = self.operator.windows, self.operator.n
        if values.ndim < 2 or values.shape[-1] != n or (windows and values.shape[1:-1] != windows):
            wanted = ", ".join(map(str, ("time", *(windows or ("...",)), n)))
            raise ValueError(
                f"values: expected shape ({wanted}), found {values.shape}; a number for each one of the operator"
            )
        if not len(values):
            raise ValueError(f"values: expected at least one time, found shape {values.shape}; observe something")
        _arrays.settle(self, values=_arrays.kept(values), sigma=error_of(self.sigma, self.cov))
        if self.cov is None:
            _arrays.settle(self, sigma=self._checked_sigma())
        else:
            _arrays.settle(self, _root=_root_of(self.cov, n), cov=_arrays.covariance(self.cov, "cov"))
            if np.isnan(values).any():
                raise ValueError(
                    "values: expected numbers everywhere with a covariance, found NaN; leave out what was not "
                    "observed, or give sigma for independent errors"
                )

    def _checked_sigma(self):
        sigma = _arrays.all_positive(self.sigma, "sigma", "is the usual error; a covariance (n, n) is `cov`")
        remedy = "give each axis, of length 1 where sigma is the same; a covariance (n, n) is `cov`"
        if np.ndim(sigma) not in (0, self.values.ndim):
            raise ValueError(
                f"sigma: expected one number or an array with the axes of values {self.values.shape}, found "
                f"{sigma.shape}; {remedy}"
            )
        try:
            np.broadcast_to(sigma, self.values.shape)
        except ValueError:
            raise ValueError(
                f"sigma: expected a shape that broadcasts to that of values {self.values.shape}, found {sigma.shape}; "
                f"{remedy}"
            ) from None
        return sigma

    def __len__(self):
        """How many times were observed."""
        return len(self.values)

    def __getitem__(self, window):
        """The observations of one window, by its index in the leading axes."""
        at = slice(None), *_arrays.index(window, self.values.shape[1:-1], "window")
        sigma = self.sigma if np.ndim(self.sigma) == 0 else np.broadcast_to(self.sigma, self.values.shape)[at]
        return Observations(self.operator[window], self.values[at], sigma, self.cov)

    @property
    def sites(self):
        """(time, ..., n), where each observation is of one site."""
        if self.operator.indices.shape[-1] > 1 or self.operator.function != "identity":
            raise ValueError("sites: expected observations of single sites, found functions of several; there are none")
        at = self.operator.indices[np.arange(len(self)) % self.operator.period, ..., 0]
        between = self.values.ndim - at.ndim
        return np.broadcast_to(at.reshape(len(at), *(1,) * between, *at.shape[1:]), self.values.shape)

    @property
    def covariance(self):
        """R (n, n), where it is the same at all times."""
        if self.cov is not None:
            return np.asarray(self.cov, float)
        sigma, n = np.asarray(self.sigma, float), self.operator.n
        row = sigma.reshape(-1, sigma.shape[-1])[:1] if sigma.ndim else sigma.reshape(1, 1)
        if not (sigma == row).all():
            raise ValueError("observations: expected the same sigma at all times, found several; the method takes one")
        return np.diag(np.broadcast_to(row[0] ** 2, n))

    def check_sites(self, length):
        """Refuse an operator that is made for other states than those of this length."""
        if self.operator.sites != length:
            raise ValueError(
                f"observations: expected an operator for states of {length} numbers, found one for "
                f"{self.operator.sites}; make it for the model"
            )

    def of(self, y):
        """What the trajectory y (time, ..., site) has where it was observed: (time, ..., n)."""
        return self.operator.observe(y, np.arange(len(self)))

    def misfit(self, y):
        """Half the sum of squared, weighted departures of y (time, ..., site) from the observations, and its gradient.

        Returns
        -------
        J : (...), one a window: 1/2 sum over times of (H(y) - value)^T R^-1 (H(y) - value); infinite where that is
            beyond all numbers, or H(y) is none
        y_ad : like y, dJ/dy; zero where J is infinite
        """
        y = _arrays.real(y, "y")
        if y.shape[:-1] != self.values.shape[:-1]:
            raise ValueError(
                f"y: expected shape {(*self.values.shape[:-1], 'site')}, a state for each time and window observed, "
                f"found {y.shape}; leave out what was not observed"
            )
        with np.errstate(over="ignore", invalid="ignore"):  # then it is infinite
            weighted = self.weighted(self.of(y) - self.values)
            J = 0.5 * _arrays.total(weighted**2, (0, -1))
        known = np.isfinite(weighted).all(axis=(0, -1))[..., None]
        return or_infinite(J, self.weighted_ad(y, np.where(known, weighted, weighted.dtype.type(0))))

    def weighted(self, departures):
        """R^-1/2 times (time, ..., n), zero where nothing was observed."""
        if self.cov is not None:
            return departures @ self._root.T
        return np.where(np.isnan(self.values), 0, departures) / self.sigma

    def weighted_tl(self, y, y_tl):
        """The tangent of what is observed of y (time, ..., site), weighted: (time, ..., n)."""
        return self.weighted(self.operator.observe_tl(y, y_tl, np.arange(len(self))))

    def weighted_ad(self, y, weighted):
        """Its transpose: (time, ..., n) to (time, ..., site)."""
        if self.cov is None:
            forcing = np.where(np.isnan(self.values), 0, weighted) / self.sigma
        else:
            forcing = weighted @ self._root
        return self.operator.observe_ad(y, forcing, np.arange(len(self)))


def checked_observations(value):
    """Observations; anything else is refused."""
    remedy = "make one from what is observed, the values and its error"
    return _arrays.instance(value, Observations, "observations", "l96kit.observations.Observations", remedy)


def error_of(sigma, cov):
    """Its standard deviation, 1 if neither that nor a covariance is given; both are refused."""
    if sigma is not None and cov is not None:
        raise ValueError(
            f"sigma: expected None with a cov, which says what errors are, found {_arrays.shown(sigma)}; "
            "leave one out"
        )
    return 1.0 if sigma is None and cov is None else sigma


def _root_of(cov, n):
    """The inverse of the Cholesky factor of a covariance (n, n)."""
    from scipy.linalg import solve_triangular

    return solve_triangular(_arrays.cholesky(cov, n, "cov"), np.eye(n), lower=True)


def observe(truth, what, sigma, rng, rotating=False, cov=None) -> Observations:
    """Observe a truth (time, ..., site), and add noise.

    what : an operator; or a number of sites, which are drawn at random for each time and window
    sigma : standard deviation of the error; or `cov` (n, n), its covariance, and None
    rotating : draw from the sites that were not seen yet, until all were seen, and so on; their number then divides all

    Source: the setting of Fertig, Harlim & Hunt (2007), with the sites drawn anew each time; rotating as in
    Nonnenmacher & Greenberg (2021), here for each window by itself.
    """
    truth = _arrays.floating(truth, "truth")
    if truth.ndim < 2 or 0 in truth.shape:
        raise ValueError(f"truth: expected shape (time, ..., site), found {truth.shape}; pass a trajectory")
    sigma, rng = error_of(sigma, cov), generator(rng)
    if cov is None:
        sigma = _arrays.positive(sigma, "sigma")
    rotating = _arrays.flag(rotating, "rotating", "True draws from sites not seen yet")
    operator = what if isinstance(what, ObservationOperator) else _drawn(truth.shape, what, rng, rotating)
    seen = operator.observe(truth, np.arange(len(truth)))
    noise = rng.standard_normal(seen.shape)
    if cov is None:
        return Observations(operator, seen + (sigma * noise).astype(truth.dtype), sigma)
    noise = noise @ _arrays.cholesky(cov, operator.n, "cov").T
    return Observations(operator, seen + noise.astype(truth.dtype), cov=cov)


def _drawn(shape, number, rng, rotating):
    """Sites drawn for each time and window of a truth."""
    number = _arrays.count(number, "number")
    if number > shape[-1]:
        raise ValueError(f"number: expected at most the {shape[-1]} sites of a state, found {number}; take fewer")
    if rotating:
        sites = _rotating_sites(shape, number, rng)
    else:
        sites = np.argsort(rng.random(shape), axis=-1, kind="stable")[..., :number]
    return at_sites(np.sort(sites, axis=-1), shape[-1])


def _rotating_sites(shape, number, rng):
    """(time, ..., number) of a truth (time, ..., site)."""
    times, *windows, length = shape
    if length % number:
        raise ValueError(f"number: expected a divisor of {length} sites with rotating=True, found {number}; choose one")
    turn = length // number
    orders = np.argsort(rng.random((-(-times // turn), *windows, length)), axis=-1)
    steps = np.moveaxis(orders.reshape(len(orders), *windows, turn, number), -2, 1)
    return steps.reshape(-1, *windows, number)[:times]


def interpolate(observations: Observations, sites) -> np.ndarray:
    """A first guess from the first time observed: linear in between, periodic. Returns (..., site)."""
    sites = _arrays.count(sites, "sites")
    checked_observations(observations).check_sites(sites)
    where = observations.sites[0].reshape(-1, observations.sites.shape[-1])
    values = observations.values[0].reshape(where.shape)
    there = ~np.isnan(values)
    if not (there.size and there.any(axis=-1).all()):
        raise ValueError("observations: expected at least one at the first time, found none; nothing to interpolate")
    guesses = [
        np.interp(np.arange(sites), *(own[seen] for own in pair), period=sites)
        for *pair, seen in zip(where, values, there)
    ]
    return np.array(guesses, values.dtype).reshape(*observations.values.shape[1:-1], sites)
