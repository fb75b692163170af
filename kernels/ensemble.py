"""Analyses of one ensemble, in the coordinates of its members.

`mean` is a row of sites and A the anomalies, a row for each member. Y and d are what the observations make of them, in
units of their error, so that each has the error variance one: Y[q, member] the anomalies of what the members would
observe, a row for each observation, and d[q] what was observed less the mean of that. An analysis changes mean and A.
Its `shape` is (members, observations, width of a row of members); its `room` four matrices like C = Y^T Y, one like A,
two rows of members and one of sites. See `matrices` for how rows lie.
"""

import math

import numpy as np

from l96kit.kernels._targets import called, inline
from l96kit.kernels.matrices import (
    add_product,
    add_row,
    add_to_diagonal,
    copy,
    factorize,
    fill,
    inner_product,
    multiply,
    precision,
    row,
    rows_of,
    scale,
    solve,
    sum_of,
    trace,
    weigh,
)
from l96kit.kernels.square_roots import inverse_root

NEWTON_STEPS = 30

# --- mean and anomalies ---------------------------------------------------------------------------------------------


@called
def split(x, mean, A, total):
    """Mean and anomalies of an ensemble (member, site); `total` is room for a row."""
    sites, width = x.shape[1], mean.shape[0]
    fill(mean, mean.dtype.type(0))
    for member in range(x.shape[0]):
        copy(x[member], A[member * width : member * width + sites])
    centre(mean, A, total, x.shape[0])


@called
def assemble(mean, A, x):
    """The other way round."""
    sites, width = x.shape[1], mean.shape[0]
    for member in range(x.shape[0]):
        copy(A[member * width : member * width + sites], x[member])
        add_row(mean[:sites], x[member], mean.dtype.type(1))


@called
def abandon(x):
    """Mark an ensemble that left the finite numbers."""
    for member in range(x.shape[0]):
        fill(x[member], x.dtype.type(np.nan))


@called
def centre(mean, A, total, members):
    """Move what the anomalies have of a mean to the mean."""
    width, one = mean.shape[0], mean.dtype.type(1)
    fill(total, total.dtype.type(0))
    for member in range(members):
        add_row(row(A, member, width), total, one / mean.dtype.type(members))
    add_row(total, mean, one)
    for member in range(members):
        add_row(total, row(A, member, width), -one)


@called
def rotate(A, normals, total, ones, members):
    """Turn the anomalies by a random orthogonal matrix that keeps the mean, uniform over all of these, from 1, 2, ..,
    members - 1 normal numbers for one reflection each (Stewart 1980)."""
    fill(ones, ones.dtype.type(1))
    exchange(A, ones[:members], total, 0)
    at = 0
    for length in range(1, members):
        exchange(A, normals[at : at + length], total, members - length)
        at += length
    exchange(A, ones[:members], total, 0)


@called
def exchange(A, v, total, begin):
    """The reflection of rows `begin` and on that exchanges the direction of v with that of the first of them.

    Its normal is |v| e - v, half whose square is |v| (|v| - v_0).
    """
    width, zero = total.shape[0], v.dtype.type(0)
    size = inner_product(v, v) ** v.dtype.type(0.5)
    half_square = size * (size - v[0])
    if not half_square > zero:  # the two are the same
        return
    fill(total, zero)
    for i in range(v.shape[0]):
        add_row(row(A, begin + i, width), total, ((size if i == 0 else zero) - v[i]) / half_square)
    for i in range(v.shape[0]):
        add_row(total, row(A, begin + i, width), v[i] - (size if i == 0 else zero))


# --- all observations at once -----------------------------------------------------------------------------------------


@called
def precision_of_weights(Y, C, prior, shape):
    """C = prior + Y^T Y, of the weights of the members."""
    members, observations, width = shape
    multiply(Y, (1, width), Y, C, (members, observations, width))
    add_to_diagonal(C, prior, members, width)


@called
def transform(mean, A, Y, d, room, shape):
    """The ensemble transform with the symmetric square root (Hunt et al. 2007, eqs. 21 and 23)."""
    (C, inverse, root, other), B, (b, w), total = room
    members, observations, width = shape
    prior = C.dtype.type(members - 1)
    precision_of_weights(Y, C, prior, shape)
    inverse_root(C, prior, inverse, root, other, (members, width))
    weigh(Y, d, b, observations)
    weigh(inverse, b, w, members)
    weigh(inverse, w, b, members)
    move_mean(mean, A, b, total, members)
    recombine(A, inverse, prior ** C.dtype.type(0.5), B, (members, width))


@inline
def move_mean(mean, A, weights, total, members):
    weigh(A, weights, total, members)
    add_row(total, mean, mean.dtype.type(1))


@inline
def recombine(A, weights, factor, B, shape):
    """A_i becomes factor sum_j weights_ij A_j."""
    members, width = shape
    multiply(weights, (width, 1), A, B, (members, members, B.shape[0] // rows_of(members)))
    copy(B, A)
    scale(A, factor)


@called
def perturb(mean, A, Y, d, normals, errors, room, shape):
    """Each member sees observations with errors of its own, from `normals` (observation, member), which are centred and
    given back the spread that centring takes (Burgers et al. 1998; Evensen 2003, eq. 63). `errors` is as much as Y.

    The gain comes from a matrix of the observations or of the members, whichever are fewer.
    """
    members, observations, width = shape
    one, N = A.dtype.type(1), A.dtype.type(members)
    spread = (N / (N - one)) ** A.dtype.type(0.5)
    for q in range(observations):
        own, drawn = row(errors, q, width)[:members], row(normals, q, members)
        fill(own, d[q] - spread * sum_of(drawn) / N)
        add_row(drawn, own, spread)
        add_row(row(Y, q, width)[:members], own, -one)
    if observations < members:
        add_increments_of_observations(A, Y, errors, room, shape, d.shape[0])
    else:
        add_increments_of_members(A, Y, errors, room, shape)
    centre(mean, A, room[3], members)


@called
def add_increments_of_observations(A, Y, errors, room, shape, across):
    """A += A^T Y^T (Y Y^T + N - 1)^-1 errors, for each member."""
    (C, _, _, _), B, _rows, total = room
    members, observations, width = shape
    for q in range(observations):
        for r in range(observations):
            C[q * across + r] = inner_product(row(Y, q, width), row(Y, r, width))
    add_to_diagonal(C, A.dtype.type(members - 1), observations, across)
    factorize(C, observations, across)
    solve(C, observations, across, errors, width)
    sites = total.shape[0]
    multiply(Y, (width, 1), A, B, (observations, members, sites))
    add_product(errors, (1, width), B, A, (members, observations, sites))


@called
def add_increments_of_members(A, Y, errors, room, shape):
    """The same as A^T (Y^T Y + N - 1)^-1 Y^T errors."""
    (C, weights, _, _), B, _rows, total = room
    members, observations, width = shape
    precision_of_weights(Y, C, C.dtype.type(members - 1), shape)
    factorize(C, members, width)
    multiply(Y, (1, width), errors, weights, (members, observations, width))
    solve(C, members, width, weights, width)
    multiply(weights, (1, width), A, B, (members, members, total.shape[0]))
    add_row(B, A, A.dtype.type(1))


@called
def finite_size(mean, A, Y, d, strength, room, shape):
    """The transform of an ensemble whose anomalies were inflated as its innovation asks for (EnKF-N)."""
    factor = finite_size_inflation(Y, d, strength, room, shape)
    scale(A, factor)
    scale(Y, factor)
    transform(mean, A, Y, d, room, shape)


@called
def finite_size_inflation(Y, d, strength, room, shape):
    """The factor f of the anomalies that minimises the dual cost of the EnKF-N,

        d^T (N - 1 + f^2 Y Y^T)^-1 d + e / f^2 + c log f^2,

    by Newton's method. Its derivative is that of v^T C v with C = N - 1 + f^2 Y^T Y and C v = Y^T d; `strength`
    multiplies e and c.

    Source: Bocquet, Raanes & Hannart (2015), eqs. 36 and 38; Raanes, Bocquet & Carrassi (2019).
    """
    (products, C, inverse, _other), _B, (v, u), _total = room
    members, observations, width = shape
    one, two = C.dtype.type(1), C.dtype.type(2)
    N, prior = C.dtype.type(members), C.dtype.type(members - 1)
    precision_of_weights(Y, products, C.dtype.type(0), shape)
    factorize_sum(products, one, prior, C, shape)
    fill(inverse, C.dtype.type(0))
    add_to_diagonal(inverse, one, members, width)
    solve(C, members, width, inverse, width)
    e, c = (N + one) / N, N / prior
    correction = (e / c) ** (prior * trace(inverse, members, width) / (two * N))
    e, c = strength * e / correction, strength * c * correction
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


# --- one observation after another ------------------------------------------------------------------------------------


@called
def serial(mean, A, Y, d, room, shape):
    """The square root filter for observations in turn (Whitaker & Hamill 2002, eqs. 10 to 13)."""
    _matrices, _B, _rows, gain = room
    members, observations, width = shape
    one, prior = A.dtype.type(1), A.dtype.type(members - 1)
    for q in range(observations):
        own = row(Y, q, width)
        total = inner_product(own, own) / prior + one
        share = one / (one + one / total ** (one / (one + one)))
        weigh(A, own, gain, members)
        scale(gain, one / (prior * total))
        add_row(gain, mean, d[q])
        for member in range(members):
            add_row(gain, row(A, member, gain.shape[0]), -share * own[member])
        for later in range(q + 1, observations):
            other = row(Y, later, width)
            own_gain = inner_product(own, other) / (prior * total)
            d[later] -= own_gain * d[q]
            add_row(own, other, -share * own_gain)


# --- resampling -------------------------------------------------------------------------------------------------------


@called
def resample(mean, A, Y, d, numbers, jitter, room, shape):
    """Members drawn with their likelihoods as weights, systematically from one random number, and moved by a Gaussian
    with the covariance of the weighted members times the square of the bandwidth that suits one, times `jitter`
    (Gordon, Salmond & Smith 1993; Kitagawa 1996; Musso, Oudjane & Le Gland 2001). `numbers` are normal, one and then
    one for each member and site.
    """
    (C, _, _, _), B, (weights, _), centre_of_mass = room
    members, observations, _ = shape
    width, one, zero = mean.shape[0], mean.dtype.type(1), mean.dtype.type(0)
    sites = (numbers.shape[0] - 1) // members
    if inner_product(d, d) + inner_product(Y, Y) == zero:  # nothing was observed
        return
    likelihoods(Y, d, weights, shape)
    if weights[0] != weights[0]:
        fill(A, weights[0])
        return
    at, total, half = 0, weights[0], one / (one + one)
    begin = half * math.erfc(-numbers[0] * half**half)
    for member in range(members):
        while total * members < begin + member and at < members - 1:
            at += 1
            total += weights[at]
        copy(row(A, at, width), row(B, member, width))
    if jitter > zero:
        weigh(A, weights, centre_of_mass, members)
        root_of_covariance(A, weights, centre_of_mass, C, members, sites)
        power = one / mean.dtype.type(sites + 4)
        bandwidth = (mean.dtype.type(4) / mean.dtype.type((sites + 2) * members)) ** power
        for member in range(members):
            for site in range(sites):
                drawn = numbers[1 + member * sites + site]
                add_row(row(C, site, width), row(B, member, width), jitter * bandwidth * drawn)
    copy(B, A)
    centre(mean, A, centre_of_mass, members)


@called
def likelihoods(Y, d, weights, shape):
    """Of all members, with the sum one."""
    members, observations, width = shape
    half, largest = d.dtype.type(0.5), -d.dtype.type(np.inf)
    fill(weights, d.dtype.type(0))
    for q in range(observations):
        own = row(Y, q, width)
        for member in range(members):
            weights[member] -= half * (d[q] - own[member]) ** 2
    for member in range(members):
        largest = max(largest, weights[member])
    for member in range(members):
        weights[member] = math.exp(weights[member] - largest)
    scale(weights, d.dtype.type(1) / sum_of(weights))


@called
def root_of_covariance(A, weights, middle, C, members, sites):
    """The upper factor of the covariance of the weighted members; a little is added, so that few members have one."""
    width = middle.shape[0]
    fill(C, A.dtype.type(0))
    for member in range(members):
        own = row(A, member, width)
        add_row(middle, own, -A.dtype.type(1))
        for site in range(sites):
            add_row(own, row(C, site, width), weights[member] * own[site])
    least = precision(C) * (trace(C, sites, width) + precision(C))
    add_to_diagonal(C, A.dtype.type(100) * least, sites, width)
    factorize(C, sites, width)
    for site in range(sites):
        fill(row(C, site, width)[:site], A.dtype.type(0))


# --- the iterated smoother --------------------------------------------------------------------------------------------
# The ensemble at the start of a window has the mean plus w A and the anomalies T A, T = sqrt(N - 1) C^(-1/2) symmetric.
# Of the four matrices, the second is C^(-1/2), the third C^(1/2). Source: Bocquet & Sakov (2014), algorithm 1.


@called
def start_iterating(w, room, members, width):
    """w = 0 and T = 1."""
    _C, inverse, root, _other = room[0]
    size = root.dtype.type(members - 1) ** root.dtype.type(0.5)
    fill(w, w.dtype.type(0))
    fill(inverse, root.dtype.type(0))
    fill(root, root.dtype.type(0))
    add_to_diagonal(inverse, root.dtype.type(1) / size, members, width)
    add_to_diagonal(root, size, members, width)


@called
def update_start(mean, A, w, new_mean, new_A, room, shape):
    """The ensemble at the start of the window that w and T stand for."""
    (_C, inverse, _root, _other), _B, _rows, total = room
    members, _, width = shape
    multiply(inverse, (width, 1), A, new_A, (members, members, mean.shape[0]))
    scale(new_A, A.dtype.type(members - 1) ** A.dtype.type(0.5))
    copy(mean, new_mean)
    move_mean(new_mean, A, w, total, members)


@called
def iterate(w, Y, d, seen, before, room, shape):
    """One step of Gauss and Newton, of w and T; returns the size of the change of w.

    Y comes from members that T was applied to, which is undone: `seen` is room for that. `before` keeps C^(1/2).
    """
    (C, inverse, root, other), _B, (b, step), _total = room
    members, observations, width = shape
    prior = C.dtype.type(members - 1)
    copy(root, before)
    multiply(Y, (width, 1), root, seen, (observations, members, width))
    scale(seen, prior ** C.dtype.type(-0.5))
    precision_of_weights(seen, C, prior, shape)
    inverse_root(C, prior, inverse, root, other, (members, width))
    weigh(seen, d, b, observations)
    add_row(w, b, -prior)
    weigh(inverse, b, step, members)
    weigh(inverse, step, b, members)
    copy(b, step)
    add_row(step, w, w.dtype.type(1))
    return inner_product(step, step) ** C.dtype.type(0.5)


@called
def update_end(mean, A, before, room, B, shape):
    """The ensemble at the end of the window after the last change, which is not propagated: its sensitivity to the
    weights is that of the members, with T undone."""
    (_C, inverse, _root, _other), _A, (_b, step), total = room
    members, _, width = shape
    multiply(before, (width, 1), A, B, (members, members, mean.shape[0]))
    scale(B, mean.dtype.type(members - 1) ** mean.dtype.type(-0.5))
    move_mean(mean, B, step, total, members)
    multiply(inverse, (width, 1), B, A, (members, members, mean.shape[0]))
    scale(A, mean.dtype.type(members - 1) ** mean.dtype.type(0.5))
