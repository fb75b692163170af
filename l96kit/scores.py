"""Scores of forecasts and analyses.

States are (..., site), ensembles (..., member, site), all of them dimensionless. A score is taken over the sites, and
over the members if there are any; averages over time, cycles and seeds are the caller's. Numbers may be of any real
type: they are compared in double precision, and scores of single precision alone are in single precision.
"""

import numpy as np

from l96kit import _arrays
from l96kit._random import generator


def rmse(x, truth):
    """Root-mean-square difference over the sites of states that broadcast: (..., site) to (...). Of NaN it is NaN."""
    x, truth = _arrays.real(x, "x"), _arrays.real(truth, "truth")
    sites = {states.shape[-1] for states in (x, truth) if states.ndim}
    if len(sites) != 1 or 0 in sites:
        raise ValueError(
            f"truth: expected states of as many sites as x {x.shape}, one at least, found {truth.shape}; sites are the "
            "last axis"
        )
    x, truth = _arrays.broadcast(x, truth, "truth")
    return _in_precision(np.sqrt(((_wide(x) - truth) ** 2).mean(axis=-1)), x, truth)


def spread(ensemble):
    """Root of the mean over the sites of the variance of an ensemble (..., member, site): (...).

    The variance is the unbiased one, with N - 1. Of a reliable ensemble of N members, spread^2 (N + 1) / N is on
    average the squared RMSE of the mean (Fortin et al. 2014, eq. 15).
    """
    ensemble = _ensemble(ensemble)
    return _in_precision(np.sqrt(_wide(ensemble).var(axis=-2, ddof=1).mean(axis=-1)), ensemble)


def crps(ensemble, truth, fair=False):
    """Continuous ranked probability score of an ensemble (..., member, site), mean over the sites: (...).

    That of the distribution with a step of 1 / N at each member: mean |x_i - y| - 1/2 mean |x_i - x_j| over all pairs
    (Gneiting & Raftery 2007, eq. 21). With `fair`, pairs of a member with itself do not count, so that the score does
    not depend on the number of members (Ferro 2014, eq. 4). Of one member it is the absolute error, and none is fair.
    """
    fair = _arrays.flag(fair, "fair", "True leaves out pairs of a member with itself")
    ensemble = _ensemble(ensemble, least=2 if fair else 1)
    members, truth = ensemble.shape[-2], _truth(truth, ensemble)
    error = np.abs(_wide(ensemble) - truth).mean(axis=-2)
    # sum over pairs of |x_i - x_j| = 2 sum_i (2 i - N - 1) x_(i), of the members in order
    order = 2 * np.arange(1, members + 1) - members - 1
    pairs = 2 * np.tensordot(np.sort(_wide(ensemble), axis=-2), order, (-2, 0))
    found = (error - pairs / (2 * members * (members - 1 if fair else members))).mean(axis=-1)
    return _in_precision(found, ensemble, truth)


def rank_histogram(ensemble, truth, rng=None):
    """How often the truth had 0, 1, .., N members below it: counts (N + 1,) over all leading axes and sites.

    Members equal to the truth are taken at random to lie below or above it. A reliable ensemble has a flat histogram
    (Hamill 2001).
    """
    ensemble = _ensemble(ensemble, least=1)
    truth = _truth(truth, ensemble)
    rng = np.random.default_rng() if rng is None else generator(rng)
    below, equal = (ensemble < truth).sum(axis=-2), (ensemble == truth).sum(axis=-2)
    ranks = below + rng.integers(0, equal, endpoint=True)
    return np.bincount(ranks.ravel(), minlength=ensemble.shape[-2] + 1)


def _wide(numbers):
    return numbers.astype(np.float64, copy=False)


def _in_precision(score, *compared):
    return score.astype(np.result_type(*compared))


def _ensemble(ensemble, least=2):
    ensemble = _arrays.finite(_arrays.real(ensemble, "ensemble"), "ensemble")
    if ensemble.ndim < 2 or ensemble.shape[-2] < least or 0 in ensemble.shape:
        raise ValueError(
            f"ensemble: expected shape (..., member, site) with at least {least} members, found {ensemble.shape}; "
            "members are the last axis but one"
        )
    return ensemble


def _truth(truth, ensemble):
    """(..., 1, site), which broadcasts against the members."""
    truth = _arrays.real(truth, "truth")
    expected = *ensemble.shape[:-2], ensemble.shape[-1]
    if truth.shape != expected:
        raise ValueError(
            f"truth: expected shape {expected}, that of the ensemble without its members, found {truth.shape}; give "
            "one state for each ensemble"
        )
    return _arrays.finite(truth, "truth")[..., None, :]
