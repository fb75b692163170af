"""Scores of an ensemble, whose mean and anomalies are as in `ensemble`, and what is kept of it."""

import numpy as np

from l96kit.kernels._targets import called, inline, reduction
from l96kit.kernels.matrices import add_row, copy, fill, square_of
from l96kit.kernels.tile import U

RMSE, SPREAD, CRPS = 0, 1, 2


@inline
def rmse(x, truth, error):
    """Root-mean-square difference; `error` becomes that of each site."""
    copy(truth, error)
    add_row(x, error, -x.dtype.type(1))
    return x.dtype.type((square_of(error) / x.shape[0]) ** 0.5)


@called
def score(x, mean, A, truth, ties, found, ranks, total):
    """RMSE, spread and CRPS to `found`; ranks are counted if there is room for them and all is finite."""
    (members, sites), width, like = x.shape, mean.shape[0], mean.dtype.type
    error = total[:sites]
    found[RMSE] = rmse(mean[:sites], truth, error)
    found[SPREAD] = like((square_of(A) / (sites * (members - 1))) ** 0.5)
    if ranks.shape[0] == 0 or found[RMSE] - found[RMSE] != like(0):
        return  # not wanted, no truth, or beyond the finite numbers
    from_truth = between = 0.0  # in double precision, as a sum over all pairs of members has many terms
    for i in range(members):
        own = A[i * width : i * width + sites]
        from_truth += distance(own, error)
        for j in range(i):
            between += distance(own, A[j * width : j * width + sites])
    found[CRPS] = like((from_truth / members - between / (float(members) * members)) / sites)
    count_ranks(x, truth, ties, error, ranks)


@reduction
def distance(x, y):
    total = x.dtype.type(0)
    for k in range(U(0), U(x.shape[0])):
        total += abs(x[k] - y[k])
    return total


@called
def count_ranks(x, truth, ties, below, ranks):
    """How many members lie below the truth, at each site; of those that equal it, as many as are drawn. `below` is room
    for a row."""
    (members, sites), tied = x.shape, False
    fill(below, below.dtype.type(0))
    for member in range(members):
        tied |= add_below(x[member], truth, below) > 0
    for k in range(sites):
        rank = int(below[k])
        if tied:
            equal = 0
            for member in range(members):
                equal += x[member, k] == truth[k]
            rank += drawn(ties, k, equal)
        ranks[rank] += 1


@reduction
def add_below(x, truth, below):
    """Add one where x is smaller; returns at how many places it is equal."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    equal = zero
    for k in range(U(0), U(x.shape[0])):
        below[k] += one if x[k] < truth[k] else zero
        equal += one if x[k] == truth[k] else zero
    return equal


@inline
def mixed(number):
    """The bits of a whole number, each of which changes about half of those that come out (Steele, Lea & Flood 2014,
    fig. 14)."""
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@called
def drawn(ties, site, equal):
    """One of 0, .., equal, all as likely. It depends on `ties` (seed, cycle, which) and the site alone, so that an
    experiment has the same ranks among others and in any blocks of cycles."""
    seed, cycle, which = ties
    step, number = np.uint64(0x9E3779B97F4A7C15), seed
    for part in (cycle, site, which):
        number = mixed(number + step * (np.uint64(part) + np.uint64(1)))
    return int(number % np.uint64(equal + 1))


@called
def score_innovation(Y, d, values, members, found):
    """RMS of the innovation in units of the error, and what the ensemble makes one expect of it: the mean square is one
    and the variance of what the members observe. NaN stays where nothing was observed."""
    seen, like = 0, d.dtype.type
    for q in range(values.shape[0]):
        seen += values[q] == values[q]
    if seen:
        found[0] = like((square_of(d) / seen) ** 0.5)
        found[1] = like((1.0 + square_of(Y) / (float(seen) * (members - 1))) ** 0.5)


@inline
def record(x, mean, A, truth, means, found, place, which, total):
    """Keep what is wanted of the members x, a forecast (0) or an analysis (1)."""
    (t, experiment, (seed, cycle)), (scores, ranks, _) = place, found
    if means.shape[1]:
        copy(mean[: truth.shape[2]], means[which, t, experiment])
    ties, own = (seed, cycle, which), ranks[experiment, which]
    score(x, mean, A, truth[t, experiment], ties, scores[t, experiment, which], own, total)
