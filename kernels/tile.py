"""A tile: some members of an ensemble side by side, so that neighbouring sites are a constant distance apart.

A tile holds `lanes` members of `sites` sites, position-major, member-minor and flat, with a halo of `reach` sites on
either side: site k of a lane lies at `x[(k + reach) * lanes + lane]`. A neighbour is then a constant offset, no loop
holds a modulo or a branch, and the loop over a tile is one vector loop. All arrays of a tile have the same length, so
that one index serves them all. Each function here builds a piece of code for one choice of lanes and reach; indices
are unsigned, because Numba gives a signed one a wrap-around test that keeps the loop from being vectorised.
"""

import numpy as np

from l96kit.kernels._targets import inline, part

U = np.uintp


def chain(make, count, start):
    """Compose start, make(start, 0), make(.., 1), ...: a loop that is unrolled before it is compiled."""
    for index in range(count):
        start = make(start, index)
    return start


def tuple_of(item, count):
    """Build `f(*args) = (item(0)(*args), item(1)(*args), ...)` for the two-argument functions item(i)."""

    @inline
    def empty(a, b):
        return ()

    def longer(shorter, index):
        last = item(index)

        @inline
        def build(a, b):
            return shorter(a, b) + (last(a, b),)

        return build

    return chain(longer, count, empty)


def window(reach, lanes):
    """The values round index j, ordered so that `w[m]` is the one m sites to the right and `w[-m]` to the left."""

    def neighbour(index):
        right = index <= reach
        offset = U(lanes * (index if right else 2 * reach + 1 - index))

        @inline
        def to_the_right(x, j):
            return x[j + offset]

        @inline
        def to_the_left(x, j):
            return x[j - offset]

        return to_the_right if right else to_the_left

    return tuple_of(neighbour, 2 * reach + 1)


def parameter_windows(reach, lanes, count, uniform):
    """One window for each parameter; a uniform parameter is a single number, the same at every site and member."""

    @inline
    def the_number(x, j):
        return x[0]

    look = tuple_of(lambda index: the_number, 2 * reach + 1) if uniform else window(reach, lanes)

    def parameter(index):
        @inline
        def build(p, j):
            return look(p[index], j)

        return build

    return tuple_of(parameter, count)


def halo(team, reach, lanes):
    """Copy both ends of the ring to the far sides, by way of `edge`: a loop within one array would move single numbers,
    and whole vectors read afterwards would wait for them (a third of the time of a step)."""
    span, sync = team.span, team.sync
    width = U(reach * lanes)

    @part
    def fill(x, edge, n):
        sync()
        for j in span(U(0), width):
            edge[j] = x[n + j]
        for j in span(U(0), width):
            x[j] = edge[j]
        for j in span(U(0), width):
            edge[j] = x[width + j]
        for j in span(U(0), width):
            x[width + n + j] = edge[j]
        sync()

    return fill


def transfer(team, reach, lanes):
    """Between an array (member, site) and a tile: `load` and `load_add` into the tile, `store` and `add` out of it.

    A tile that is wider than what is left of the ensemble repeats the last member; an array of one member serves all.
    """
    span = team.span
    left, width = U(reach), U(lanes)

    @part
    def load(x, tile, first):
        last = U(x.shape[0]) - U(1)
        for lane in range(width):
            member = min(first + lane, last)
            for k in span(U(0), U(x.shape[1])):
                tile[(k + left) * width + lane] = x[member, k]

    @part
    def load_add(x, tile, first):
        last = U(x.shape[0]) - U(1)
        for lane in range(width):
            member = min(first + lane, last)
            for k in span(U(0), U(x.shape[1])):
                tile[(k + left) * width + lane] += x[member, k]

    @part
    def store(tile, x, first):
        for lane in range(min(width, U(x.shape[0]) - first)):
            for k in span(U(0), U(x.shape[1])):
                x[first + lane, k] = tile[(k + left) * width + lane]

    @part
    def add(tile, x, first):
        for lane in range(min(width, U(x.shape[0]) - first)):
            for k in span(U(0), U(x.shape[1])):
                x[first + lane, k] += tile[(k + left) * width + lane]

    return load, load_add, store, add
