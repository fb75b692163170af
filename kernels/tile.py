"""A tile: some members of an ensemble side by side, so that neighbouring sites are a constant distance apart.

A tile holds `lanes` members of `sites` sites, position-major, member-minor and flat, with a halo of `reach` sites on
either side: site k of a lane lies at `x[(k + reach) * lanes + lane]`. A neighbour is then a constant offset, no loop
holds a modulo or a branch, and the loop over a tile is one vector loop. Of a model with several fields the rings lie
one behind the other, `stride(n)` apart. The same index serves all arrays of a tile. Each function here builds a piece
of code for one choice of lanes and reach; indices are unsigned, because Numba gives a signed one a wrap-around test
that keeps the loop from being vectorised.
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


def fields_of(model):
    """How many numbers a model has at a site."""
    return getattr(model, "FIELDS", 1)


def strides(reach, lanes):
    """`stride(n)`: how far apart the fields of a tile lie, with n numbers each."""
    both_halos = U(2 * reach * lanes)

    @inline
    def stride(n):
        return U(n) + both_halos

    return stride


def of_fields(fields, build):
    """`of_all(x, (j, stride))`: build(x, j) of the only field, or a tuple of those of all fields."""

    def of_field(index):
        behind = U(index)

        @inline
        def one(x, place):
            j, stride = place
            return build(x, j + behind * stride)

        return one

    return of_field(0) if fields == 1 else tuple_of(of_field, fields)


def for_fields(fields, action):
    """`for_all(args, values, (j, stride))`: action(args, value, j) for each field; of one, `values` is its value."""

    def for_field(index):
        behind, only = U(index), fields == 1

        @inline
        def value_of(values):
            return values if only else values[index]

        @inline
        def one(everything):
            args, values, (j, stride) = everything
            action(args, value_of(values), j + behind * stride)

        return one

    actions = in_turn([for_field(index) for index in range(fields)])

    @inline
    def for_all(args, values, place):
        actions((args, values, place))

    return for_all


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


def halo(team, reach, lanes, fields=1):
    """Copy both ends of each ring to the far sides."""
    span, sync = team.span, team.sync
    width, stride = U(reach * lanes), strides(reach, lanes)

    @part
    def both_ends(ring, beyond, n):
        for j in span(U(0), width):
            beyond[j] = ring[n + j]
        for j in span(U(0), width):
            beyond[width + n + j] = ring[width + j]

    @part
    def fill(x, n):
        sync()
        for field in range(fields):
            ring = x[U(field) * stride(n) :]
            both_ends(ring, ring, n)  # what is read and what is written are distinct: so whole vectors are moved
        sync()

    return fill


def transfer(team, reach, lanes, fields=1):
    """Between an array (member, site) and a tile: `load` and `load_add` into the tile, `store` and `add` out of it.

    The sites of an array are those of its first field, then those of the next. A tile that is wider than what is left
    of the ensemble is filled up by `load` with the last member, whose numbers are harmless, and left alone by the
    others. An array of one member serves all.
    """
    span = team.span
    left, width, both = U(reach), U(lanes), U(2 * reach)

    @inline
    def ring_of(x):
        return U(x.shape[1]) // U(fields)

    @inline
    def place(field, k, lane, ring):
        return (U(field) * (ring + both) + k + left) * width + lane

    @part
    def load(x, tile, first):
        last, ring = U(x.shape[0]) - U(1), ring_of(x)
        for lane in range(width):
            member = min(first + lane, last)
            for field in range(fields):
                for k in span(U(0), ring):
                    tile[place(field, k, lane, ring)] = x[member, U(field) * ring + k]

    @part
    def load_add(x, tile, first):
        ring = ring_of(x)
        for lane in range(min(width, U(x.shape[0]) - first)):
            for field in range(fields):
                for k in span(U(0), ring):
                    tile[place(field, k, lane, ring)] += x[first + lane, U(field) * ring + k]

    @part
    def store(tile, x, first):
        ring = ring_of(x)
        for lane in range(min(width, U(x.shape[0]) - first)):
            for field in range(fields):
                for k in span(U(0), ring):
                    x[first + lane, U(field) * ring + k] = tile[place(field, k, lane, ring)]

    @part
    def add(tile, x, first):
        ring = ring_of(x)
        for lane in range(min(width, U(x.shape[0]) - first)):
            for field in range(fields):
                for k in span(U(0), ring):
                    x[first + lane, U(field) * ring + k] += tile[place(field, k, lane, ring)]

    return load, load_add, store, add
