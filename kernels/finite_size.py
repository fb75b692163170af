"""The EnKF-N: the transform of an ensemble whose anomalies are inflated first, as its innovation asks for.

The factor f of the anomalies minimises the dual cost

    J(f) = d^T (N - 1 + f^2 Y Y^T)^-1 d + e / f^2 + c log f^2,

whose slope in u = log f^2 is that of v^T C v with C = N - 1 + f^2 Y^T Y and C v = Y^T d. An innovation far beyond the
spread may give it two minima, of which the lower one is taken.

Source: Bocquet, Raanes & Hannart (2015), eqs. 36 and 38; Raanes, Bocquet & Carrassi (2019).
"""

import math

from l96kit.kernels._targets import called, inline, reduction
from l96kit.kernels.ensemble import assimilate, precision_of_weights, rotate_observations, transform
from l96kit.kernels.matrices import (
    add_to_diagonal,
    copy,
    factorize,
    fill,
    inner_product,
    precision,
    row,
    scale,
    solve,
    trace,
    weigh,
)
from l96kit.kernels.square_roots import is_within_reach
from l96kit.kernels.tile import U

NEWTON_STEPS = 30
SPACING = 0.25  # of u where costs are compared; a term of J falls over some units
MOST_POINTS = 10_000
BISECTIONS = 60  # of the interval about the lowest point


@called
def finite_size(mean, A, Y, d, strength, room, shape):
    """`strength` multiplies e and c."""
    C, products, inverse, _other = room.matrices
    members, _, width = shape
    prior = A.dtype.type(members - 1)
    precision_of_weights(Y, C, prior, shape)
    if is_within_reach(C, prior, (members, width)) and has_one_minimum(d, strength, prior):
        precision_of_weights(Y, products, A.dtype.type(0), shape)
        factor = inflation_by_newton(Y, d, strength, (products, C, inverse), (room.b, room.w), shape)
        scale(A, factor)
        scale(Y, factor)
        transform(mean, A, Y, d, room, shape)
        return
    rows = rotate_observations(Y, d, room.w[:1], room, shape)
    factor = lowest_inflation(Y, d, strength, room.column[:rows], (members, width))
    scale(A, factor)
    scale(Y, factor)
    for i in range(rows):
        assimilate(mean, A, row(Y, i, width), d[i], room.total, members)


@inline
def constants(share, strength, N):
    """e and c; `share` is the mean of (N - 1) / (N - 1 + s) over the N eigenvalues s of Y^T Y."""
    one = N / N
    e, c = (N + one) / N, N / (N - one)
    correction = (e / c) ** (share / (one + one))
    return strength * e / correction, strength * c * correction


@inline
def has_one_minimum(d, strength, prior):
    """Whether J must have: its slope is c - e exp(-u) less a term of at most q / 4, with q = |d|^2 / (N - 1), and the
    slope of that is at most q / sqrt(108). So J is convex up to where its slope stays positive if q is below 2.88 c,
    and c is at least `strength`."""
    return inner_product(d, d) < d.dtype.type(2.88) * strength * prior


@called
def inflation_by_newton(Y, d, strength, matrices, rows, shape):
    """f at the only minimum; of the matrices, the first is Y^T Y."""
    (products, C, inverse), (v, u), (members, observations, width) = matrices, rows, shape
    one, two, N, prior = C.dtype.type(1), C.dtype.type(2), C.dtype.type(members), C.dtype.type(members - 1)
    factorize_sum(products, one, prior, C, shape)
    fill(inverse, C.dtype.type(0))
    add_to_diagonal(inverse, one, members, width)
    solve(C, members, width, inverse, width)
    e, c = constants(prior * trace(inverse, members, width) / N, strength, N)
    f = one
    for _ in range(NEWTON_STEPS):
        factorize_sum(products, f * f, prior, C, shape)
        weigh(Y, d, v, observations)
        solve(C, members, width, v, 1)
        copy(v, u)
        solve(C, members, width, u, 1)
        v_v, v_u = inner_product(v, v), inner_product(v, u)
        slope = two * (c / f - e / f**3 - f * v_v)
        curvature = two * (two * e / f**4 + e / f**4 - c / f**2 + (two + one) * v_v - two * two * prior * v_u)
        step = -slope / curvature if curvature > 0 else (f if slope < 0 else -f / two)
        step = max(step, -f / two)
        f += step
        if not abs(step) > f * precision(C) ** (one / two):
            break
    return f


@inline
def factorize_sum(products, factor, prior, C, shape):
    """The Cholesky factor of prior + factor products."""
    members, _, width = shape
    copy(products, C)
    scale(C, factor)
    add_to_diagonal(C, prior, members, width)
    factorize(C, members, width)


@called
def lowest_inflation(Y, d, strength, squares, shape):
    """f at the lowest minimum, with orthogonal rows of Y; `squares` is room for as many numbers."""
    members, width = shape
    zero, two, N, prior = d.dtype.type(0), d.dtype.type(2), d.dtype.type(members), d.dtype.type(members - 1)
    largest, shares, longest = zero, d.dtype.type(members - squares.shape[0]), zero
    for i in range(squares.shape[0]):
        squares[i] = inner_product(row(Y, i, width), row(Y, i, width))
        largest = max(largest, squares[i])
    for i in range(squares.shape[0]):
        if squares[i] <= (precision(d) * N) ** 2 * largest:  # rounding, which must not ask for inflation
            squares[i] = d[i] = zero
        shares += prior / (prior + squares[i])
        longest += d[i] * d[i] / squares[i] if d[i] != zero else zero
    e, c = constants(shares / N, strength, N)
    # J falls up to the first point, where e / f^2 is c, and rises from the last one on
    u, spacing = math.log(e / c), d.dtype.type(SPACING)
    points = (math.log((e + longest) / c) - u) / spacing + two
    if not points < MOST_POINTS:
        return points - points  # NaN, since d or Y are not finite
    lowest, at = cost(u, squares, d, e, c, prior), u
    for _ in range(int(points)):
        u += spacing
        found = cost(u, squares, d, e, c, prior)
        if found < lowest:
            lowest, at = found, u
    begin, end = at - spacing, at + spacing
    for _ in range(BISECTIONS):
        at = (begin + end) / two
        if slope(at, squares, d, e, c, prior) > 0:
            end = at
        else:
            begin = at
    return math.exp(at / two)


@reduction
def cost(u, squares, d, e, c, prior):
    """J with orthogonal rows, less what f does not change."""
    variance = math.exp(u)
    total = e / variance + c * u
    for i in range(U(0), U(squares.shape[0])):
        total += d[i] * d[i] / (prior + variance * squares[i])
    return total


@reduction
def slope(u, squares, d, e, c, prior):
    """dJ/du"""
    variance = math.exp(u)
    total = c - e / variance
    for i in range(U(0), U(squares.shape[0])):
        share = prior / (prior + variance * squares[i])
        total -= d[i] * d[i] * share * (d.dtype.type(1) - share) / prior
    return total
