"""The EnKF-N: the transform of an ensemble whose anomalies are inflated first, as its innovation asks for.

The factor f of the anomalies minimises the dual cost

    J(f) = d^T (N - 1 + f^2 Y Y^T)^-1 d + e / f^2 + c log f^2.

An innovation far beyond the spread may give it two minima, of which the lower one is taken. With orthogonal rows of Y
it is a sum over these, in which each term falls over some units of u = log f^2: points that lie closer miss no minimum.

Source: Bocquet, Raanes & Hannart (2015), eqs. 36 and 38; Raanes, Bocquet & Carrassi (2019).
"""

import math

from l96kit.kernels._targets import called, reduction
from l96kit.kernels.ensemble import assimilate, rotate_observations
from l96kit.kernels.matrices import inner_product, precision, row, scale
from l96kit.kernels.tile import U

SPACING = 0.25  # of u at the points where costs are compared
MOST_POINTS = 10_000
BISECTIONS = 60  # of the interval about the lowest point; fewer, if rounding ends them


@called
def finite_size(mean, A, Y, d, strength, room, shape):
    """`strength` multiplies e and c."""
    members, _, width = shape
    rows = rotate_observations(Y, d, room.w[:1], room, shape)
    squares, largest = room.column[:rows], A.dtype.type(0)
    for i in range(rows):
        squares[i] = inner_product(row(Y, i, width), row(Y, i, width))
        largest = max(largest, squares[i])
    for i in range(rows):  # what is rounding alone must not ask for inflation
        if squares[i] <= (precision(A) * A.dtype.type(members)) ** 2 * largest:
            squares[i] = d[i] = A.dtype.type(0)
    factor = math.exp(log_of_variance_factor(squares, d[:rows], strength, members) / A.dtype.type(2))
    scale(A, factor)
    scale(Y, factor)
    for i in range(rows):
        assimilate(mean, A, row(Y, i, width), d[i], room.total, members)


@called
def log_of_variance_factor(squares, d, strength, members):
    """The u of the lowest minimum, with the squares of the lengths of the rows of Y."""
    one, two, N, prior = d.dtype.type(1), d.dtype.type(2), d.dtype.type(members), d.dtype.type(members - 1)
    e, c, shares, longest = (N + one) / N, N / prior, d.dtype.type(members - d.shape[0]), d.dtype.type(0)
    for i in range(d.shape[0]):
        shares += prior / (prior + squares[i])
        longest += d[i] * d[i] / squares[i] if d[i] != 0 else d.dtype.type(0)
    correction = (e / c) ** (shares / (two * N))
    e, c = strength * e / correction, strength * c * correction
    # J falls before, where e / f^2 outweighs c, and rises after the first and the last point
    first, spacing = math.log(e / c), d.dtype.type(SPACING)
    points = (math.log((e + longest) / c) - first) / spacing + two
    if not points < MOST_POINTS:
        return points - points  # NaN, since d or Y are not finite
    lowest, at = cost(first, squares, d, e, c, prior), first
    for i in range(1, int(points)):
        u = first + d.dtype.type(i) * spacing
        found = cost(u, squares, d, e, c, prior)
        if found < lowest:
            lowest, at = found, u
    begin, end = at - spacing, at + spacing
    for _ in range(BISECTIONS):
        middle = (begin + end) / two
        if slope(middle, squares, d, e, c, prior) > 0:
            end = middle
        else:
            begin = middle
    return middle


@reduction
def cost(u, squares, d, e, c, prior):
    variance = math.exp(u)
    total = e / variance + c * u
    for i in range(U(0), U(d.shape[0])):
        total += d[i] * d[i] / (prior + variance * squares[i])
    return total


@reduction
def slope(u, squares, d, e, c, prior):
    """dJ/du"""
    variance = math.exp(u)
    total = c - e / variance
    for i in range(U(0), U(d.shape[0])):
        share = prior / (prior + variance * squares[i])
        total -= d[i] * d[i] * share * (d.dtype.type(1) - share) / prior
    return total
