"""dx/dt = A x + D w(x) of a spectral model, see `exponential`.

The tile arrays hold dx/dt or its like, a copy of x or what comes back to w, three spectra, and what transforms work in.
"""

from types import SimpleNamespace

from l96kit.kernels import exponential
from l96kit.kernels._targets import inline, part, site_function
from l96kit.kernels.dynamics import Dynamics
from l96kit.kernels.spectral import transforms
from l96kit.kernels.tile import U


def of_spectrum(model, team, lanes):
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

    return Dynamics(
        tiles=7,
        bind=bind,
        bind_tl=bind_tl,
        begin=begin,
        prepare=prepare,
        slope=slope,
        prepare_tl=prepare_tl,
        slope_tl=slope_tl,
        prepare_ad=prepare_ad,
        slope_ad=slope_ad,
        spectral=SimpleNamespace(to_spectrum=to_spectrum, to_sites=to_sites, w=w, w_tl=w_tl, w_ad=w_ad),
    )
