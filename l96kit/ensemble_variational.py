"""4DEnVar: the trajectories of an ensemble in place of tangent and adjoint."""

from dataclasses import dataclass, field

import numpy as np

from l96kit import _arrays
from l96kit._blas import one_blas_thread
from l96kit._cycles import for_each
from l96kit._progress import progress_bar
from l96kit.filters import CRPS, RMSE, SPREAD, EnsembleFilter, independent
from l96kit.localization import Localization, checked_localization, places_of, ring_distance
from l96kit.propagators import BlowUpError
from l96kit.scores import crps, rank_histogram, rmse, spread


@dataclass(frozen=True, eq=False, repr=False)
class FourDEnVar(EnsembleFilter):
    """4DEnVar in windows that follow one another: covariances of the ensemble's trajectories, localized, take
    observations at all times of a window to its start; each member sees observations with errors of its own.

    window : observation times in a window; the last one may be shorter
    localization : of covariances between sites and observations, and among observations

    The cost is quadratic and its minimum that of a dense system of all observations in a window. Forecasts and analyses
    are those throughout the window: analyses but the last know later observations. What is changed is the start of the
    window, whatever its length; of a linear model, a window of one time gives the stochastic filter, localized.
    Inflation comes at the end of a window.

    Source: Liu, Xiao & Wang (2008); Desroziers, Camino & Berre (2014); Burgers et al. (1998) for the errors.
    """

    window: int = 4
    localization: Localization = field(default_factory=lambda: Localization(np.inf))

    def _settle(self):
        _arrays.settle(self, window=_arrays.count(self.window, "window"))
        if self.rotation:
            raise ValueError("rotation: expected False for 4DEnVar, found True; errors of its own make members differ")
        checked_localization(self.localization)

    def _normals(self, observations):
        return observations.operator.n * self.members

    def _go_through(self, cycles, propagator, observations, every, random, kept, progress):
        if self.localization.radius != np.inf:
            independent(observations, type(self).__name__)
        inflation, times = for_each(self.inflation, cycles.leading, "inflation"), len(cycles.values)
        whitening = np.linalg.inv(np.linalg.cholesky(observations.covariance))
        places = places_of(self.localization, observations.operator, propagator.model.ring)
        own = np.arange(propagator.model.sites) % propagator.model.ring
        small = one_blas_thread(self.window * observations.operator.n)
        with progress_bar(len(cycles.x) * times, "cycles", progress, type(self).__name__) as bar, small:
            drawing, _, of_ranks = random[1]
            for e, (x, rng, rng_of_ranks) in enumerate(zip(cycles.x, drawing, of_ranks)):
                for begin in range(0, times, self.window):
                    now = np.arange(begin, min(begin + self.window, times))
                    bar.update(len(now))
                    try:
                        forecast = propagator.trajectory(x, len(now) * every, every)
                        values = whitened(cycles.values[now, e], whitening)
                        seen = observations.operator.observe(forecast[1:], now)
                        seen = np.where(np.isnan(values)[:, None], 0, seen) @ whitening.T
                        there = places[now % len(places)].ravel()
                        between = (
                            self.localization.coefficients(ring_distance(here[:, None], there, propagator.model.ring))
                            for here in (own, there)
                        )
                        normals = rng.standard_normal((len(now), self.members, observations.operator.n))
                        kept[3][now, e] = innovation_of(seen, values)
                        x += increments(x, seen, values, normals, *between)
                        if not np.isfinite(x).all():  # as what the members would observe is not
                            x[...] = np.nan
                            break
                        analysis = propagator.trajectory(x, len(now) * every, every)
                    except BlowUpError:
                        x[...] = np.nan
                        break
                    for which, states in enumerate((forecast[1:], analysis[1:])):
                        record(states, cycles.truth[now, e], kept, (now, e, which), rng_of_ranks)
                    mean = _arrays.mean(analysis[-1], axis=0)
                    x[...] = mean + inflation[e] * (analysis[-1] - mean)


def whitened(values, whitening):
    """(time, n) in units of the error, NaN where nothing was observed: then errors are independent."""
    missing = np.isnan(values)
    return np.where(missing, np.nan, np.where(missing, 0, values) @ whitening.T)


def increments(x, seen, values, normals, between_sites, between):
    """Of members x (member, site) at the start of a window, in which they would observe `seen` (time, member, n) of the
    values (time, n), both in units of the error. `normals` (time, member, n) become errors that are centred and have
    the spread that centring takes; localization is (site, time * n) and (time * n, time * n)."""
    members, missing = len(x), np.isnan(values)[:, None]
    errors = (normals - normals.mean(axis=1, keepdims=True)) * np.sqrt(members / (members - 1))
    Y, D = seen - seen.mean(axis=1, keepdims=True), values[:, None] + errors - seen
    Y, D = (np.moveaxis(np.where(missing, 0, part), 1, 0).reshape(members, -1) for part in (Y, D))
    A = x - _arrays.mean(x, axis=0)
    of_sites = between_sites * (A.T @ Y) / (members - 1)
    of_observations = between * (Y.T @ Y) / (members - 1) + np.eye(len(between))
    return D @ np.linalg.solve(of_observations, of_sites.T)


def innovation_of(seen, values):
    """(time, 2): RMS of the innovation, and what the ensemble makes one expect; see `Assimilation`."""
    seen_at_all = ~np.isnan(values)
    count = np.maximum(seen_at_all.sum(axis=-1), 1)
    square = np.where(seen_at_all, (values - seen.mean(axis=1)) ** 2, 0).sum(axis=-1) / count
    variance = np.where(seen_at_all, seen.var(axis=1, ddof=1), 0).sum(axis=-1) / count
    found = np.sqrt(np.stack([square, 1 + variance], axis=-1))
    return np.where(seen_at_all.any(axis=-1)[:, None], found, np.nan)


def record(states, truth, kept, place, rng):
    """Scores and means of states (time, member, site); `rng` draws ranks among members that equal the truth."""
    (means, scores, ranks, _), (now, e, which) = kept, place
    mean = _arrays.mean(states, axis=1)
    if means.shape[1]:
        means[which, now, e] = mean
    scores[now, e, which, RMSE] = rmse(mean, truth)
    scores[now, e, which, SPREAD] = spread(states)
    if ranks.shape[-1] and np.isfinite(truth).all():
        scores[now, e, which, CRPS] = crps(states, truth)
        ranks[e, which] += rank_histogram(states, truth, rng)
