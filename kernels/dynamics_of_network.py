"""dx/dt from a network.

The one tile array holds dx/dt, its tangent, or what comes back to the state.
"""

from l96kit.kernels._targets import inline
from l96kit.kernels.dynamics import Dynamics
from l96kit.kernels.layers import SPARE, vector_of
from l96kit.kernels.networks import network


def of_network(reach, stages, team, lanes):
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

    return Dynamics(
        tiles=1,
        bind=bind,
        bind_tl=bind_tl,
        begin=begin,
        prepare=prepare,
        slope=slope,
        prepare_tl=prepare_tl,
        slope_tl=slope_tl,
        prepare_ad=prepare_ad,
        slope_ad=slope_ad,
    )
