"""dx/dt of any model: the functions of a site, a network, the sum of both, or a spectral model."""

from l96kit.kernels._targets import inline
from l96kit.kernels.dynamics import Dynamics, is_spectral
from l96kit.kernels.dynamics_of_network import of_network
from l96kit.kernels.dynamics_of_sites import of_sites
from l96kit.kernels.dynamics_of_spectrum import of_spectrum


def dynamics_of(model, stages, team, lanes, uniform):
    """What a model's kernel describes; `stages` is how many states an adjoint keeps for it at once."""
    if is_spectral(model):
        return of_spectrum(model, team, lanes)
    if not getattr(model, "NETWORK", False):
        return of_sites(model, team, lanes, uniform)
    alone = of_network(model.REACH, stages, team, lanes)
    if model.tendency is None:
        return alone
    return _sum(of_sites(model, team, lanes, uniform), alone)


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
