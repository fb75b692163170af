"""Analyses of one ensemble, in the coordinates of its members.

`mean` is a row of sites and A the anomalies, a row for each member. Y and d are what the observations make of them, in
units of their error, so that each has the error variance one: Y[q, member] the anomalies of what the members would
observe, a row for each observation, and d[q] what was observed less the mean of that. An analysis changes mean and A,
and Y and d as it likes. Its `shape` is (members, observations, width of a row of members), its `room` a `Workspace`.
See `matrices` for how rows lie.
"""

from typing import NamedTuple

import numpy as np

from l96kit.kernels._targets import called, inline
from l96kit.kernels.matrices import (
    PIECE,
    add_product,
    add_row,
    add_to_diagonal,
    add_to_each,
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
    weigh,
)
from l96kit.kernels.rotations import exchange, orthogonalize
from l96kit.kernels.square_roots import MOST_CONDITION, inverse_root, is_within_reach


class Workspace(NamedTuple):
    """What an analysis works in."""

    matrices: tuple  # four like C = N - 1 + Y^T Y, (members, members)
    B: np.ndarray  # like A
    b: np.ndarray  # a row of members
    w: np.ndarray  # a row of members
    total: np.ndarray  # a row of sites
    column: np.ndarray  # one number for each observation


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
    """Move what the anomalies have of a mean to the mean: of very many twice, since a long sum is not exact."""
    width, one = mean.shape[0], mean.dtype.type(1)
    for _ in range(1 + (members > PIECE)):
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
    C, inverse, root, other = room.matrices
    members, observations, width = shape
    prior = C.dtype.type(members - 1)
    precision_of_weights(Y, C, prior, shape)
    if not inverse_root(C, prior, inverse, root, other, (members, width)):
        transform_in_turn(mean, A, Y, d, room, shape)
        return
    weigh(Y, d, room.b, observations)
    weigh(inverse, room.b, room.w, members)
    weigh(inverse, room.w, room.b, members)
    move_mean(mean, A, room.b, room.total, members)
    recombine(A, inverse, prior ** C.dtype.type(0.5), room.B, (members, width))


@called
def transform_in_turn(mean, A, Y, d, room, shape):
    """The same for observations as accurate as one likes. Whitened ones may be rotated: with orthogonal anomalies they
    are assimilated one after another, where none changes what another one sees."""
    members, _, width = shape
    for i in range(rotate_observations(Y, d, room.w[:1], room, shape)):
        assimilate(mean, A, row(Y, i, width), d[i], room.total, members)


@called
def rotate_observations(Y, D, total_D, room, shape):
    """Make the anomalies of any two observations orthogonal; D, what belongs to these, goes with them. Returns how many
    have any. `total_D` is room for a row of D."""
    members, observations, width = shape
    rows = orthogonalize(Y, D, observations, members, (room.b, total_D, room.column))
    for i in range(rows):  # anomalies have no mean, so that what has little else is rounding
        own = row(Y, i, width)[:members]
        before = inner_product(own, own)
        add_to_each(own, -sum_of(own) / Y.dtype.type(members))
        if inner_product(own, own) <= precision(Y) * before:
            fill(own, Y.dtype.type(0))
    return rows


@called
def combine_rows(Y, d, rows, prior, w):
    """w = (prior + Y^T Y)^-1 Y^T d, where the rows of Y are orthogonal."""
    fill(w, d.dtype.type(0))
    for i in range(rows):
        own = row(Y, i, w.shape[0])
        add_row(own, w, d[i] / (prior + inner_product(own, own)))


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
    centre(mean, A, room.total, members)


@called
def add_increments_of_observations(A, Y, errors, room, shape, across):
    """A += A^T Y^T (Y Y^T + N - 1)^-1 errors, for each member."""
    C, prior = room.matrices[0], A.dtype.type(shape[0] - 1)
    members, observations, width = shape
    for q in range(observations):
        for r in range(observations):
            C[q * across + r] = inner_product(row(Y, q, width), row(Y, r, width))
    add_to_diagonal(C, prior, observations, across)
    if not is_within_reach(C, prior, (observations, across)):
        add_increments_in_turn(A, Y, errors, room, shape)
        return
    factorize(C, observations, across)
    solve(C, observations, across, errors, width)
    add_combined(A, Y, errors, observations, room, shape)


@called
def add_increments_in_turn(A, Y, errors, room, shape):
    """The same for observations as accurate as one likes: rotated, none has to do with another one."""
    prior, width = A.dtype.type(shape[0] - 1), shape[2]
    rows = rotate_observations(Y, errors, room.w, room, shape)
    for i in range(rows):
        own = row(Y, i, width)
        scale(row(errors, i, width), A.dtype.type(1) / (prior + inner_product(own, own)))
    add_combined(A, Y, errors, rows, room, shape)


@inline
def add_combined(A, Y, weights, rows, room, shape):
    """A += A^T Y^T weights, for each member."""
    members, _, width = shape
    sites = room.total.shape[0]
    multiply(Y, (width, 1), A, room.B, (rows, members, sites))
    add_product(weights, (1, width), room.B, A, (members, rows, sites))


@called
def add_increments_of_members(A, Y, errors, room, shape):
    """A += A^T (Y^T Y + N - 1)^-1 Y^T errors, for each member."""
    C, weights, _, _ = room.matrices
    members, observations, width = shape
    prior = A.dtype.type(members - 1)
    precision_of_weights(Y, C, prior, shape)
    if not is_within_reach(C, prior, (members, width)):
        add_increments_in_turn(A, Y, errors, room, shape)
        return
    factorize(C, members, width)
    multiply(Y, (1, width), errors, weights, (members, observations, width))
    solve(C, members, width, weights, width)
    multiply(weights, (1, width), A, room.B, (members, members, room.total.shape[0]))
    add_row(room.B, A, A.dtype.type(1))


# --- one observation after another ------------------------------------------------------------------------------------


@called
def serial(mean, A, Y, d, copies, room, shape):
    """The square root filter for observations in turn (Whitaker & Hamill 2002, eqs. 10 to 13).

    What is left of the anomalies when members are fewer than accurate observations is rounding, which innovations must
    not be multiplied by: then the mean, which does not depend on the order, comes from rotated `copies` of Y and d.
    """
    members, observations, width = shape
    prior = A.dtype.type(members - 1)
    if not inner_product(Y, Y) < prior * A.dtype.type(MOST_CONDITION):
        Y_rotated, d_rotated = copies
        copy(Y, Y_rotated)
        copy(d, d_rotated)
        rows = rotate_observations(Y_rotated, d_rotated, room.w[:1], room, shape)
        combine_rows(Y_rotated, d_rotated, rows, prior, room.w)
        move_mean(mean, A, room.w, room.total, members)
        fill(d, d.dtype.type(0))
    for q in range(observations):
        own = row(Y, q, width)
        total, share = assimilate(mean, A, own, d[q], room.total, members)
        for later in range(q + 1, observations):
            other = row(Y, later, width)
            own_gain = inner_product(own, other) / (prior * total)
            d[later] -= own_gain * d[q]
            add_row(own, other, -share * own_gain)


@called
def assimilate(mean, A, own, innovation, gain, members):
    """One observation, of which the members have the anomalies `own`. Returns the variance of its innovation and the
    share of the gain that anomalies get. `gain` is room for a row of sites."""
    one, prior = A.dtype.type(1), A.dtype.type(members - 1)
    total = inner_product(own, own) / prior + one
    share = one / (one + one / total ** A.dtype.type(0.5))
    weigh(A, own, gain, members)
    scale(gain, one / (prior * total))
    add_row(gain, mean, innovation)
    for member in range(members):
        add_row(gain, row(A, member, gain.shape[0]), -share * own[member])
    return total, share
