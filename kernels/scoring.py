"""Scores of an ensemble, whose mean and anomalies are as in `ensemble`, and what is kept of it."""

from l96kit.kernels._targets import called, inline, reduction
from l96kit.kernels.matrices import add_row, copy, inner_product
from l96kit.kernels.tile import U

RMSE, SPREAD, CRPS = 0, 1, 2


@inline
def rmse(x, truth, error):
    """Root-mean-square difference; `error` becomes that of each site."""
    copy(truth, error)
    add_row(x, error, -x.dtype.type(1))
    return (inner_product(error, error) / x.dtype.type(x.shape[0])) ** x.dtype.type(0.5)


@called
def score(mean, A, truth, members, found, ranks, total):
    """RMSE, spread and CRPS to `found`; ranks are counted if there is room for them and all is finite."""
    sites, width, zero = truth.shape[0], mean.shape[0], mean.dtype.type(0)
    error, half = total[:sites], mean.dtype.type(0.5)
    found[RMSE] = rmse(mean[:sites], truth, error)
    found[SPREAD] = (inner_product(A, A) / mean.dtype.type(sites * (members - 1))) ** half
    if ranks.shape[0] == 0 or found[RMSE] - found[RMSE] != zero:
        return  # not wanted, no truth, or beyond the finite numbers
    from_truth = between = zero
    for i in range(members):
        own = A[i * width : i * width + sites]
        from_truth += distance(own, error)
        for j in range(i):
            between += distance(own, A[j * width : j * width + sites])
    count = mean.dtype.type(members)
    found[CRPS] = (from_truth / count - between / (count * count)) / mean.dtype.type(sites)
    for k in range(sites):
        below = 0
        for i in range(members):
            below += A[i * width + k] < error[k]
        ranks[below] += 1


@reduction
def distance(x, y):
    total = x.dtype.type(0)
    for k in range(U(0), U(x.shape[0])):
        total += abs(x[k] - y[k])
    return total


@called
def score_innovation(Y, d, values, members, found):
    """RMS of the innovation in units of the error, and what the ensemble makes one expect of it: the mean square is one
    and the variance of what the members observe. NaN stays where nothing was observed."""
    seen, one = 0, d.dtype.type(1)
    for q in range(values.shape[0]):
        seen += values[q] == values[q]
    if seen:
        n, half = d.dtype.type(seen), d.dtype.type(0.5)
        found[0] = (inner_product(d, d) / n) ** half
        found[1] = (one + inner_product(Y, Y) / (n * d.dtype.type(members - 1))) ** half


@inline
def record(mean, A, truth, means, found, place, which, total):
    """Keep what is wanted of a forecast (0) or an analysis (1)."""
    (t, experiment, members), (scores, ranks, _) = place, found
    if means.shape[1]:
        copy(mean[: truth.shape[2]], means[which, t, experiment])
    score(mean, A, truth[t, experiment], members, scores[t, experiment, which], ranks[experiment, which], total)
