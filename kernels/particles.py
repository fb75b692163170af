"""Resampling: members drawn by their likelihoods. See `ensemble` for mean, A, Y, d, `shape` and `room`."""

import math

import numpy as np

from l96kit.kernels._targets import called
from l96kit.kernels.ensemble import centre
from l96kit.kernels.matrices import (
    PIECE,
    add_row,
    copy,
    factorize,
    fill,
    inner_product,
    precision,
    row,
    rows_of,
    scale,
    total_of,
    weigh,
)

SMALLEST = 1.2e-38  # variance; single precision has no smaller numbers with all their digits


@called
def resample(mean, A, Y, d, numbers, jitter, room, shape):
    """Members drawn with their likelihoods as weights, systematically from one random number, and moved by a Gaussian
    with the covariance of the weighted members times the square of the bandwidth that suits one, times `jitter`
    (Gordon, Salmond & Smith 1993; Kitagawa 1996; Musso, Oudjane & Le Gland 2001). `numbers` are normal, one and then
    one for each member and site.
    """
    (C, part, _, _), B, weights, centre_of_mass = room.matrices, room.B, room.b, room.total
    members, observations, _ = shape
    width, one, zero = mean.shape[0], mean.dtype.type(1), mean.dtype.type(0)
    sites = (numbers.shape[0] - 1) // members
    if inner_product(d, d) + inner_product(Y, Y) == zero:  # nothing was observed
        return
    likelihoods(Y, d, weights, shape)
    if weights[0] != weights[0]:
        fill(A, weights[0])
        return
    draw(A, weights, numbers[0], B, members)
    if jitter > zero:
        weigh(A, weights, centre_of_mass, members)
        root_of_covariance(A, weights, centre_of_mass, (C, part), members, sites)
        power = one / mean.dtype.type(sites + 4)
        bandwidth = (mean.dtype.type(4) / mean.dtype.type((sites + 2) * members)) ** power
        for member in range(members):
            for site in range(sites):
                moved = numbers[1 + member * sites + site]
                add_row(row(C, site, width), row(B, member, width), jitter * bandwidth * moved)
    copy(B, A)
    centre(mean, A, centre_of_mass, members)


@called
def draw(A, weights, number, B, members):
    """B_i is the member at which the running sum of the weights reaches (u + i) / N of them all, with u uniform and the
    same for all i. Sums are in double precision, or the last members would never be drawn."""
    width, whole = B.shape[0] // rows_of(members), 0.0
    for member in range(members):
        whole += weights[member]
    share = whole / members
    begin, at, total = 0.5 * math.erfc(-number * 0.5**0.5), 0, np.float64(weights[0])
    for member in range(members):
        while total < (begin + member) * share and at < members - 1:
            at += 1
            total += weights[at]
        copy(row(A, at, width), row(B, member, width))


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
    scale(weights, d.dtype.type(1.0 / total_of(weights)))


@called
def root_of_covariance(A, weights, middle, rooms, members, sites):
    """The upper factor of the covariance of the weighted members.

    So that few members have one too, each variance grows by a little of itself, whatever its units, and where all
    members are the same it is `SMALLEST`.

    Very many are added up piece by piece, as `matrices.square_of` does.
    """
    (C, part), width, one = rooms, middle.shape[0], A.dtype.type(1)
    fill(C, A.dtype.type(0))
    for begin in range(0, members, PIECE):
        fill(part, A.dtype.type(0))
        for member in range(begin, min(begin + PIECE, members)):
            own = row(A, member, width)
            add_row(middle, own, -one)
            for site in range(sites):
                add_row(own, row(part, site, width), weights[member] * own[site])
        add_row(part, C, one)
    little = A.dtype.type(100 * sites) * precision(C)
    for site in range(sites):
        C[site * width + site] += little * C[site * width + site] + A.dtype.type(SMALLEST)
    factorize(C, sites, width)
    for site in range(sites):
        fill(row(C, site, width)[:site], A.dtype.type(0))
