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


def in_turn(actions):
    """One function that calls the given ones, all with the same argument (of several, a tuple), one after the other."""

    @inline
    def nothing(args):
        pass

    def then(earlier, index):
        action = actions[index]

        @inline
        def both(args):
            earlier(args)
            action(args)

        return both

    return chain(then, len(actions), nothing)


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


def cutting(layout):
    """`cut(room, size)`: tile arrays of a length, in groups of as many as `layout` says, then the rest of the room."""
    starts = [sum(layout[:group]) for group in range(len(layout))]

    def array(position):
        @inline
        def one(room, size):
            return room[position * size : (position + 1) * size]

        return one

    def group(index):
        return tuple_of(lambda i: array(starts[index] + i), layout[index])

    groups, arrays = tuple_of(group, len(layout)), sum(layout)

    @inline
    def cut(room, size):
        return groups(room, size) + (room[arrays * size :],)

    return cut


def window(reach, lanes):
    """The values round index j, ordered so that `w[m]` is the one m sites to the right and `w[-m]` to the left."""
    return tuple_of(lambda index: _neighbour(index, reach, lanes), 2 * reach + 1)


def scaled_window(reach, lanes, weight):
    """The same of `(x, dt)`: values that are multiplied by `weight(x, dt)`."""

    def scaled(index):
        neighbour = _neighbour(index, reach, lanes)

        @inline
        def multiplied(x_and_dt, j):
            x, dt = x_and_dt
            return weight(x, dt) * neighbour(x, j)

        return multiplied

    return tuple_of(scaled, 2 * reach + 1)


def _neighbour(index, reach, lanes):
    right = index <= reach
    offset = U(lanes * (index if right else 2 * reach + 1 - index))

    @inline
    def to_the_right(x, j):
        return x[j + offset]

    @inline
    def to_the_left(x, j):
        return x[j - offset]

    return to_the_right if right else to_the_left


def halo(team, reach, lanes):
    """Copy both ends of the ring to the far sides."""
    span, sync = team.span, team.sync
    width = U(reach * lanes)

    @part
    def both_ends(ring, beyond, n):
        for j in span(U(0), width):
            beyond[j] = ring[n + j]
        for j in span(U(0), width):
            beyond[width + n + j] = ring[width + j]

    @part
    def fill(x, n):
        sync()
        both_ends(x, x, n)  # what is read and what is written are distinct: told so, the compiler moves whole vectors
        sync()

    return fill


def transfer(team, reach, lanes):
    """Between an array (member, site) and a tile: `load` and `load_add` into the tile, `store` and `add` out of it.

    A tile that is wider than what is left of the ensemble is filled up by `load` with the last member, whose numbers
    are harmless, and left alone by the others. An array of one member serves all.
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
        for lane in range(min(width, U(x.shape[0]) - first)):
            for k in span(U(0), U(x.shape[1])):
                tile[(k + left) * width + lane] += x[first + lane, k]

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
