"""The parameters of a model in a tile, and how an adjoint adds up what comes back to them.

Parameters are *uniform* if each is one number, the same at every site and member; otherwise each is a field, like the
state. A kernel is built for one or the other. `p` and `p_ad` are tuples of tile arrays, one for each parameter.
"""

from collections.abc import Callable
from typing import NamedTuple

from l96kit.kernels._targets import inline
from l96kit.kernels.tile import in_turn, tuple_of, window


def windows(reach, lanes, count, uniform):
    """`build(p, j)`: one window for each parameter."""

    @inline
    def the_number(x, j):
        return x[0]

    look = tuple_of(lambda index: the_number, 2 * reach + 1) if uniform else window(reach, lanes)

    def parameter(i):
        @inline
        def build(p, j):
            return look(p[i], j)

        return build

    return tuple_of(parameter, count)


def loading(count, uniform, load, fill):
    """`load_all((x, p, tile's first member, n))` from the array (parameter, member, site) or (parameter, 1, 1)."""

    def one(i):
        @inline
        def number(args):
            x, p, first, n = args
            p[i][0] = x[i, 0, 0]

        @inline
        def field(args):
            x, p, first, n = args
            load(x[i], p[i], first)
            fill(p[i], n)

        return number if uniform else field

    return _each(one, count)


class Gathering(NamedTuple):
    """How an adjoint adds up what comes back to the parameters.

    After `begin((p_ad, out, tile, first))`, a pass over the tile makes `sums = start(p_ad)`, at each site `sums =
    collect(p_ad, sums, values, j)` and at its end `finish((p_ad, sums))`; `end` is called as `begin`. What is added to,
    `out`, is the array of the whole ensemble: (parameter, member, site) or, of uniform parameters, (parameter, tile,
    worker). Sums go on from what is there, so that a window cut into segments gives the same bits as a whole one.
    """

    begin: Callable
    start: Callable
    collect: Callable
    finish: Callable
    end: Callable


def gathering(team, count, uniform, load, store):
    return _gathering_numbers(team, count) if uniform else _gathering_fields(count, load, store)


def _each(action, count):
    return in_turn([action(i) for i in range(count)])


def _gathering_numbers(team, count):
    """Each worker keeps its sums in registers during a pass, and between passes at its own place in the tile array."""
    rank = team.rank

    @inline
    def has_place(tile):
        return rank() < tile.shape[0]  # a worker beyond has no site

    def beginning(i):
        @inline
        def one(args):
            p_ad, out, tile, first = args
            if has_place(p_ad[i]):
                p_ad[i][rank()] = out[i, tile, rank()]

        return one

    def zero(i):
        @inline
        def of_its_kind(p_ad, unused):
            return p_ad[i].dtype.type(0)

        return of_its_kind

    def plus(i):
        @inline
        def added(p_ad, both):
            sums, values = both
            return sums[i] + p_ad[i].dtype.type(values[i])

        return added

    def finishing(i):
        @inline
        def one(args):
            p_ad, sums = args
            if has_place(p_ad[i]):
                p_ad[i][rank()] += sums[i]

        return one

    def ending(i):
        @inline
        def one(args):
            p_ad, out, tile, first = args
            if has_place(p_ad[i]):
                out[i, tile, rank()] = p_ad[i][rank()]

        return one

    zeros, plus_all = tuple_of(zero, count), tuple_of(plus, count)

    @inline
    def start(p_ad):
        return zeros(p_ad, p_ad)

    @inline
    def collect(p_ad, sums, values, j):
        return plus_all(p_ad, (sums, values))

    return Gathering(_each(beginning, count), start, collect, _each(finishing, count), _each(ending, count))


def _gathering_fields(count, load, store):
    """There is a sum at each site."""

    def beginning(i):
        @inline
        def one(args):
            p_ad, out, tile, first = args
            load(out[i], p_ad[i], first)

        return one

    def adding(i):
        @inline
        def one(args):
            p_ad, values, j = args
            p_ad[i][j] += values[i]

        return one

    def ending(i):
        @inline
        def one(args):
            p_ad, out, tile, first = args
            store(p_ad[i], out[i], first)

        return one

    add_all = _each(adding, count)

    @inline
    def start(p_ad):
        return ()

    @inline
    def collect(p_ad, sums, values, j):
        add_all((p_ad, values, j))
        return sums

    @inline
    def finish(args):
        pass

    return Gathering(_each(beginning, count), start, collect, finish, _each(ending, count))
