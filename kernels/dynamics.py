"""dx/dt in a tile, and its derivatives: the functions of a site, a network, the sum of both, or a spectral model.

Steps know no more of a model than this. What it needs comes with the data as p = (fields, program, weights): its
parameters (parameter, member, site) or (parameter, 1, 1), and the program and the weights of its network, empty if it
has none. A spectral model has there the passes of its transforms, and its coefficients and the roots of unity. `bind`
and its like take from there and from the work space what the other functions are given as f.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

from l96kit.kernels import exponential
from l96kit.kernels._targets import inline, part, site_function
from l96kit.kernels.layers import SPARE, vector_of
from l96kit.kernels.networks import network
from l96kit.kernels.parameters import gathering, loading, windows
from l96kit.kernels.spectral import transforms
from l96kit.kernels.tile import U, fields_of, halo, of_fields, scaled_window, strides, transfer, window


class Dynamics(NamedTuple):
    """Functions of tile arrays; `stage` and `scale` are fixed when a kernel is built. What is given at index j is a
    number, or of a model with several fields a tuple: those at j and at its like in the other fields.

    tiles : how many tile arrays `bind` is given, and as many for the tangent or the adjoint
    bind((p, tiles, rest, first member, n)) -> f; bind_tl, of the changes of p, -> f_tl
    begin((p_ad, tiles_ad, tile, first member)) -> f_ad; end, called likewise, leaves the gradients in p_ad
    prepare(stage)((x, f, n)) comes before slope((x, f), j), dx/dt at index j
    prepare_tl((x_tl, f, f_tl, n)) before slope_tl((x, f, x_tl, f_tl), j), after `prepare`
    prepare_ad(stage)((y_ad, weight, f, f_ad, n)) before slope_ad(scale)((x, f, y_ad, f_ad, dt), sums, j), which gives
        what comes back to x from weight y_ad, and the sums that it adds to; these start with start(f_ad) and end with
        finish((f_ad, sums)). `scale(x, dt)` is `weight`, None stands for one.
    """

    tiles: int
    bind: Callable
    bind_tl: Callable
    begin: Callable
    end: Callable
    prepare: Callable
    slope: Callable
    prepare_tl: Callable
    slope_tl: Callable
    prepare_ad: Callable
    slope_ad: Callable
    start: Callable
    finish: Callable
    spectral: SimpleNamespace | None = None  # what exponential schemes need besides


def is_spectral(model):
    return getattr(model, "SPECTRAL", False)


def dynamics(model, stages, team, lanes, uniform):
    """What a model's kernel describes; `stages` is how many states an adjoint keeps for it at once."""
    if is_spectral(model):
        return _of_spectrum(model, team, lanes)
    if not getattr(model, "NETWORK", False):
        return _of_sites(model, team, lanes, uniform)
    alone = _of_network(model.REACH, stages, team, lanes)
    if model.tendency is None:
        return alone
    return _sum(_of_sites(model, team, lanes, uniform), alone)


@inline
def _nothing(args):
    pass


def _no_preparation(stage):
    return _nothing


def _of_sites(model, team, lanes, uniform):
    count, fields, stride_of = len(model.PARAMETERS), fields_of(model), strides(model.REACH, lanes)
    look, parameters = of_fields(fields, window(model.REACH, lanes)), windows(model.REACH, lanes, count, uniform)
    load, _, store, _ = transfer(team, model.REACH, lanes)
    load_all = loading(count, uniform, load, halo(team, model.REACH, lanes))
    begin_sums, start_sums, collect, finish_sums, end_sums = gathering(team, count, uniform, load, store)
    tendency, tendency_tl, tendency_ad = map(site_function, (model.tendency, model.tendency_tl, model.tendency_ad))

    @inline
    def bind(args):
        p, tiles, rest, first, n = args
        load_all((p[0], tiles, first, n))
        return tiles, stride_of(n)

    @inline
    def begin(args):
        p_ad, tiles_ad, tile, first = args
        begin_sums((tiles_ad, p_ad[0], tile, first))
        return tiles_ad

    @inline
    def end(args):
        p_ad, tiles_ad, tile, first = args
        end_sums((tiles_ad, p_ad[0], tile, first))

    @inline
    def slope(args, j):
        x, (p, stride) = args
        return tendency(look(x, (j, stride)), parameters(p, j))

    @inline
    def slope_tl(args, j):
        x, (p, stride), x_tl, (p_tl, _) = args
        place = j, stride
        return tendency_tl(look(x, place), parameters(p, j), look(x_tl, place), parameters(p_tl, j))

    def slope_ad(scale):
        if scale is None:

            @inline
            def look_ad(y_ad, dt, place):
                return look(y_ad, place)

        else:
            look_scaled = of_fields(fields, scaled_window(model.REACH, lanes, scale))

            @inline
            def look_ad(y_ad, dt, place):
                return look_scaled((y_ad, dt), place)

        @inline
        def at_site(args, sums, j):
            x, (p, stride), y_ad, p_ad, dt = args
            place = j, stride
            x_ad, values = tendency_ad(look(x, place), parameters(p, j), look_ad(y_ad, dt, place))
            return x_ad, collect(p_ad, sums, values, j)

        return at_site

    return Dynamics(
        tiles=count,
        bind=bind,
        bind_tl=bind,
        begin=begin,
        end=end,
        prepare=_no_preparation,
        slope=slope,
        prepare_tl=_nothing,
        slope_tl=slope_tl,
        prepare_ad=_no_preparation,
        slope_ad=slope_ad,
        start=start_sums,
        finish=finish_sums,
    )


def _of_network(reach, stages, team, lanes):
    """The one tile array holds dx/dt, its tangent, or what comes back to the state."""
    forward, tl, ad = network(team, lanes, reach)
    aside = -reach * lanes % vector_of(team, lanes)  # then the sites begin where a vector does

    @inline
    def room_of(program, rest, size, index):
        last = program.shape[0] - 1
        length = (program[last, 2] + program[last, 4] + SPARE) * size
        return rest[index * length : (index + 1) * length]

    @inline
    def bind(args):
        p, tiles, rest, first, n = args
        return p[1], p[2], rest[aside:], tiles[0]

    @inline
    def bind_tl(args):
        p_tl, tiles_tl, rest, first, n = args
        return p_tl[2], tiles_tl[0]

    @inline
    def begin(args):
        p_ad, tiles_ad, tile, first = args
        return p_ad[1][tile], tiles_ad[0]

    def prepare(stage):
        @inline
        def at_stage(args):
            x, f, n = args
            program, weights, rest, slope_of_all = f
            forward(x, slope_of_all, program, weights, room_of(program, rest, slope_of_all.shape[0], stage), n)

        return at_stage

    @inline
    def slope(args, j):
        x, f = args
        return f[3][j]

    @inline
    def prepare_tl(args):
        x_tl, f, f_tl, n = args
        program, weights, rest, _ = f
        weights_tl, slope_of_all = f_tl
        size = slope_of_all.shape[0]
        room, room_tl = room_of(program, rest, size, 0), room_of(program, rest, size, 1)
        tl(x_tl, slope_of_all, program, weights, weights_tl, room, room_tl, n)

    @inline
    def slope_tl(args, j):
        x, f, x_tl, f_tl = args
        return f_tl[1][j]

    def prepare_ad(stage):
        @inline
        def at_stage(args):
            y_ad, weight, f, f_ad, n = args
            program, weights, rest, _ = f
            weights_ad, back = f_ad
            size = back.shape[0]
            room, room_ad = room_of(program, rest, size, stage), room_of(program, rest, size, stages)
            ad(y_ad, weight, back, program, weights, weights_ad, room, room_ad, n)

        return at_stage

    def slope_ad(scale):
        @inline
        def at_site(args, sums, j):
            x, f, y_ad, f_ad, dt = args
            return f_ad[1][j], sums

        return at_site

    @inline
    def start(f_ad):
        return ()

    return Dynamics(
        tiles=1,
        bind=bind,
        bind_tl=bind_tl,
        begin=begin,
        end=_nothing,
        prepare=prepare,
        slope=slope,
        prepare_tl=prepare_tl,
        slope_tl=slope_tl,
        prepare_ad=prepare_ad,
        slope_ad=slope_ad,
        start=start,
        finish=_nothing,
    )


def _of_spectrum(model, team, lanes):
    """dx/dt = A x + D w(x), see `exponential`.

    The tile arrays hold dx/dt or its like, a copy of x or what comes back to w, three spectra, and what transforms work
    in.
    """
    span, sync = team.span, team.sync
    to_spectrum, to_sites = transforms(team, lanes)
    product, product_tl, product_ad = map(site_function, (model.product, model.product_tl, model.product_ad))
    slope_of = exponential.mixing(team, lanes, [("A", 1, 0)], [("1", 1, 1)])
    linear_ad = exponential.mixing(team, lanes, [("A", 1, 0)], [])
    product_back = exponential.mixing(team, lanes, [], [("1", -1, 0)])

    @part
    def w(x, y, n):
        for j in span(U(0), n):
            y[j] = product(x[j])

    @part
    def w_tl(x, x_tl, y_tl, n):
        for j in span(U(0), n):
            y_tl[j] = product_tl(x[j], x_tl[j])

    @part
    def w_ad(x, y_ad, x_ad, n):
        for j in span(U(0), n):
            x_ad[j] = product_ad(x[j], y_ad[j])

    @part
    def scale(x, weight, y, n):
        for j in span(U(0), n):
            y[j] = weight * x[j]
        sync()

    @inline
    def bind(args):
        p, tiles, rest, first, n = args
        _, program, weights = p
        roots = exponential.coefficients_before_roots(U(weights.shape[0]))
        return weights[:roots], (program, weights[roots:], tiles[5], tiles[6]), tiles

    @inline
    def bind_tl(args):
        p_tl, tiles_tl, rest, first, n = args
        return tiles_tl

    @inline
    def begin(args):
        p_ad, tiles_ad, tile, first = args
        return tiles_ad

    def prepare(stage):
        @inline
        def at_stage(args):
            x, (numbers, transform, tiles), n = args
            slope_of_all, copy = tiles[0], tiles[1]
            scale(x, x.dtype.type(1), copy, n)
            w(x, slope_of_all, n)
            to_spectrum(x, tiles[2], transform)
            to_spectrum(slope_of_all, tiles[3], transform)
            slope_of(tiles[2:4], tiles[4], numbers)
            to_sites(tiles[4], slope_of_all, transform)

        return at_stage

    @inline
    def prepare_tl(args):
        x_tl, (numbers, transform, tiles), tiles_tl, n = args
        slope_of_all = tiles_tl[0]
        w_tl(tiles[1], x_tl, slope_of_all, n)
        to_spectrum(x_tl, tiles_tl[2], transform)
        to_spectrum(slope_of_all, tiles_tl[3], transform)
        slope_of(tiles_tl[2:4], tiles_tl[4], numbers)
        to_sites(tiles_tl[4], slope_of_all, transform)

    def prepare_ad(stage):
        @inline
        def at_stage(args):
            y_ad, weight, (numbers, transform, tiles), tiles_ad, n = args
            linear_back, back_to_w = tiles_ad[0], tiles_ad[1]
            scale(y_ad, weight, back_to_w, n)
            to_spectrum(back_to_w, tiles_ad[2], transform)
            linear_ad(tiles_ad[2:3], tiles_ad[3], numbers)
            to_sites(tiles_ad[3], linear_back, transform)
            product_back(tiles_ad[2:3], tiles_ad[3], numbers)
            to_sites(tiles_ad[3], back_to_w, transform)

        return at_stage

    @inline
    def slope(args, j):
        x, f = args
        return f[2][0][j]

    @inline
    def slope_tl(args, j):
        x, f, x_tl, f_tl = args
        return f_tl[0][j]

    def slope_ad(scale):
        @inline
        def at_site(args, sums, j):
            x, f, y_ad, f_ad, dt = args
            return f_ad[0][j] + product_ad(x[j], f_ad[1][j]), sums

        return at_site

    @inline
    def start(f_ad):
        return ()

    return Dynamics(
        tiles=7,
        bind=bind,
        bind_tl=bind_tl,
        begin=begin,
        end=_nothing,
        prepare=prepare,
        slope=slope,
        prepare_tl=prepare_tl,
        slope_tl=slope_tl,
        prepare_ad=prepare_ad,
        slope_ad=slope_ad,
        start=start,
        finish=_nothing,
        spectral=SimpleNamespace(to_spectrum=to_spectrum, to_sites=to_sites, w=w, w_tl=w_tl, w_ad=w_ad),
    )


def _sum(one, other):
    """Functions of a site, which need no preparation, and a network; each has tile arrays of its own.

    f, f_tl, f_ad and the sums are pairs.
    """
    own = one.tiles

    def binding(bind_one, bind_other):
        @inline
        def bind(args):
            p, tiles, rest, first, n = args
            return bind_one((p, tiles[:own], rest, first, n)), bind_other((p, tiles[own:], rest, first, n))

        return bind

    begin_one, begin_other, end_one, end_other = one.begin, other.begin, one.end, other.end
    slope_one, slope_other, slope_tl_one, slope_tl_other = one.slope, other.slope, one.slope_tl, other.slope_tl
    prepare_tl_other = other.prepare_tl
    start_one, start_other, finish_one, finish_other = one.start, other.start, one.finish, other.finish

    @inline
    def begin(args):
        p_ad, tiles_ad, tile, first = args
        return begin_one((p_ad, tiles_ad[:own], tile, first)), begin_other((p_ad, tiles_ad[own:], tile, first))

    @inline
    def end(args):
        p_ad, tiles_ad, tile, first = args
        end_one((p_ad, tiles_ad[:own], tile, first))
        end_other((p_ad, tiles_ad[own:], tile, first))

    def prepare(stage):
        prepare_other = other.prepare(stage)

        @inline
        def at_stage(args):
            x, f, n = args
            prepare_other((x, f[1], n))

        return at_stage

    @inline
    def slope(args, j):
        x, f = args
        return slope_one((x, f[0]), j) + slope_other((x, f[1]), j)

    @inline
    def prepare_tl(args):
        x_tl, f, f_tl, n = args
        prepare_tl_other((x_tl, f[1], f_tl[1], n))

    @inline
    def slope_tl(args, j):
        x, f, x_tl, f_tl = args
        return slope_tl_one((x, f[0], x_tl, f_tl[0]), j) + slope_tl_other((x, f[1], x_tl, f_tl[1]), j)

    def prepare_ad(stage):
        prepare_other = other.prepare_ad(stage)

        @inline
        def at_stage(args):
            y_ad, weight, f, f_ad, n = args
            prepare_other((y_ad, weight, f[1], f_ad[1], n))

        return at_stage

    def slope_ad(scale):
        slope_one, slope_other = one.slope_ad(scale), other.slope_ad(scale)

        @inline
        def at_site(args, sums, j):
            x, f, y_ad, f_ad, dt = args
            of_one, sums_of_one = slope_one((x, f[0], y_ad, f_ad[0], dt), sums[0], j)
            of_other, sums_of_other = slope_other((x, f[1], y_ad, f_ad[1], dt), sums[1], j)
            return of_one + of_other, (sums_of_one, sums_of_other)

        return at_site

    @inline
    def start(f_ad):
        return start_one(f_ad[0]), start_other(f_ad[1])

    @inline
    def finish(args):
        f_ad, sums = args
        finish_one((f_ad[0], sums[0]))
        finish_other((f_ad[1], sums[1]))

    return Dynamics(
        tiles=own + other.tiles,
        bind=binding(one.bind, other.bind),
        bind_tl=binding(one.bind_tl, other.bind_tl),
        begin=begin,
        end=end,
        prepare=prepare,
        slope=slope,
        prepare_tl=prepare_tl,
        slope_tl=slope_tl,
        prepare_ad=prepare_ad,
        slope_ad=slope_ad,
        start=start,
        finish=finish,
    )
