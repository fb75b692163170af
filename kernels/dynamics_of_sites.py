"""dx/dt from the tendency of one site, which a model states with its tangent and adjoint."""

from l96kit.kernels._targets import inline, site_function
from l96kit.kernels.dynamics import Dynamics
from l96kit.kernels.parameters import gathering, loading, windows
from l96kit.kernels.tile import fields_of, halo, of_fields, scaled_window, strides, transfer, window


def of_sites(model, team, lanes, uniform):
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
        slope=slope,
        slope_tl=slope_tl,
        slope_ad=slope_ad,
        start=start_sums,
        finish=finish_sums,
    )
