"""Cycles of incremental 4D-Var: the iteration of Gauss and Newton, with the tangents of all columns of a root of the
background covariance.

The start of a window is x = background + sum_c v_c B_c, and v minimises 1/2 |v|^2 + 1/2 |d|^2, where d is the
innovation in units of the error. With the tangents Y_c of what is observed, an iteration is (1 + Y^T Y) step =
Y^T d - v. The window moves by one cycle, and only the newest observations count.

An experiment is what a tile is elsewhere. `data` holds, in this order,

    x (experiment, 1, site), at the start of the window, `lag` cycles before the observations or as many as there are,
        which is changed in place; p and p_tl as in `trajectory`
    (dt, every, lag, iterations), (indices, weights, begin) and (values, root) as in `filters`
    (columns, tuning): (column, site); (experiment, 2), what multiplies columns, and the step that ends the iteration
    truth (cycle, experiment, site), and what is kept: means (2, cycle, experiment, site) of forecasts and analyses, or
        no cycles of them, and errors (cycle, experiment, 2), RMSE of both
    tile arrays for all that
"""

from math import nan
from types import SimpleNamespace

from l96kit.kernels._targets import called, inline
from l96kit.kernels.dynamics_of_model import dynamics_of
from l96kit.kernels.ensemble import combine_rows, precision_of_weights
from l96kit.kernels.matrices import (
    AT_ONCE,
    add_row,
    copy,
    factorize,
    fill,
    inner_product,
    is_finite,
    rounded_up,
    row,
    rows_of,
    scale,
    solve,
    taken,
    weigh,
    whole,
)
from l96kit.kernels.observing import in_units_of_error, observing_tl
from l96kit.kernels.rotations import orthogonalize
from l96kit.kernels.schemes import forecasting, one_step
from l96kit.kernels.scoring import rmse
from l96kit.kernels.square_roots import is_within_reach
from l96kit.kernels.tile import U, fields_of, transfer

METHOD = "gauss-newton"


def room_of(columns, observations, sites, lanes):
    """How many numbers an experiment works in."""
    wide, rows = rounded_up(columns, lanes), rounded_up(columns, AT_ONCE) + 2 * rounded_up(observations, AT_ONCE)
    return (rows + 3) * wide + 2 * rounded_up(observations, lanes) + (columns + 3) * sites


@called
def change(Y, d, v, C, room, shape):
    """Take v to the minimum, and its change to the first row of `room`; returns the length of this.

    As seen from v = 0 the innovation is d + Y v, and the minimum C^-1 Y^T (d + Y v) with C = 1 + Y^T Y. Where rounding
    of that matrix would take digits, observations are rotated until the rows of Y are orthogonal. `room` are two rows
    like v and one of observations.
    """
    (step, found, column), (columns, observations, width), one = room, shape, v.dtype.type(1)
    for q in range(observations):
        d[q] += inner_product(row(Y, q, width), v)
    precision_of_weights(Y, C, one, shape)
    if is_within_reach(C, one, (columns, width)):
        weigh(Y, d, found, observations)
        factorize(C, columns, width)
        solve(C, columns, width, found, 1)
    else:
        rows = orthogonalize(Y, d, observations, columns, (step, found[:1], column))
        combine_rows(Y, d, rows, one, found)
    copy(found, step)
    add_row(v, step, -one)
    copy(found, v)
    return inner_product(step, step) ** v.dtype.type(0.5)


@called
def add_columns(columns, v, factor, x):
    """x += factor sum_c v_c columns_c."""
    for c in range(columns.shape[0]):
        add_row(columns[c], x, factor * v[c])


@called
def set_columns(columns, factor, x):
    for c in range(columns.shape[0]):
        copy(columns[c], x[c])
        scale(x[c], factor)


@called
def record(x, truth, means, errors, which, room):
    """Keep what is wanted of a forecast (0) or an analysis (1)."""
    if means.shape[1]:
        copy(x, means[which, 0])
    errors[which] = rmse(x, truth, room)


def bodies(model, tableau, team, lanes, uniform):
    f = dynamics_of(model, tableau.stages, team, lanes, uniform)
    scheme = one_step(model, tableau, f, team, lanes)
    load, _, store, _ = transfer(team, model.REACH, lanes, fields_of(model))
    bind, bind_tl, step_tl, fields = f.bind, f.bind_tl, scheme.step_tl, U(fields_of(model))
    forecast, observe = forecasting(model, f, scheme, team, lanes), observing_tl(model)

    @inline
    def propagate(x, x_tl, later, p, p_tl, dt, steps, work):
        """All columns so many time steps on in place, about x, which goes to `later`."""
        (state, state_next), stage_states, kept, tiles = work[:4]
        (tangent, tangent_next), stage_tangents, kept_tl, tiles_tl, rest = work[4:]
        for tile in range((x_tl.shape[0] + lanes - 1) // lanes):
            start, n = U(tile) * U(lanes), U(x.shape[1]) // fields * U(lanes)
            load(x, state, U(0))
            load(x_tl, tangent, start)
            bound, bound_tl = bind((p, tiles, rest, start, n)), bind_tl((p_tl, tiles_tl, rest, start, n))
            room = stage_states, kept, bound, stage_tangents, kept_tl, bound_tl
            for _ in range(steps):
                step_tl(state, state_next, tangent, tangent_next, room, dt, n)
                state, state_next = state_next, state
                tangent, tangent_next = tangent_next, tangent
            store(state, later, U(0))
            store(tangent, x_tl, start)

    @inline
    def body(experiment, data, work):
        x_of_all, p, p_tl, clock, operator, (values, root), (columns, tuning), truth, means, errors, arrays = data
        (dt, every, lag, iterations), (indices, weights, begin) = clock, operator
        x, factor, tolerance = x_of_all[experiment], tuning[experiment, 0], tuning[experiment, 1]
        (count, sites), observations, one = columns.shape, values.shape[2], x.dtype.type(1)
        wide, across = whole(count, lanes), whole(observations, lanes)
        room = work[8][work[8].shape[0] - arrays * work[0][0].shape[0] :]
        fill(room, room.dtype.type(0))
        C, at = taken(room, 0, rows_of(count) * wide), rows_of(count) * wide
        Y, at = taken(room, at, rows_of(observations) * wide), at + rows_of(observations) * wide
        other, at = taken(room, at, Y.shape[0]), at + Y.shape[0]
        v, at = taken(room, at, wide), at + wide
        change_of_v, at = taken(room, at, wide), at + wide
        found, at = taken(room, at, wide), at + wide
        d, at = taken(room, at, across), at + across
        column, at = taken(room, at, across), at + across
        tangents, at = taken(room, at, columns.size).reshape(count, sites), at + columns.size
        start, at = taken(room, at, sites).reshape(1, sites), at + sites
        later, at = taken(room, at, sites).reshape(1, sites), at + sites
        difference = taken(room, at, sites)
        for t in range(values.shape[0]):
            cycle = begin + t
            now, kept = cycle % indices.shape[0], means[:, t : t + 1, experiment]
            if not is_finite(x[0]):
                fill(x[0], x.dtype.type(nan))
                break
            fill(v, x.dtype.type(0))
            for iteration in range(iterations):
                copy(x[0], start[0])
                add_columns(columns, v, factor, start[0])
                set_columns(columns, factor, tangents)
                propagate(start, tangents, later, p, p_tl, dt, min(lag, cycle + 1) * every, work)
                if iteration == 0:
                    record(later[0], truth[t, experiment], kept, errors[t, experiment], 0, difference)
                observe(later[0], tangents, indices[now], weights[now], values[t, experiment], Y, d)
                in_units_of_error(Y, d, root, other, observations)
                shape, own = (count, observations, wide), (change_of_v, found, column)
                if not change(Y, d, v, C, own, shape) > tolerance:
                    break
            add_columns(tangents, change_of_v, one, later[0])
            record(later[0], truth[t, experiment], kept, errors[t, experiment], 1, difference)
            add_columns(columns, v, factor, x[0])
            if cycle + 1 >= lag:
                forecast(x, p, dt, every, (work[0], work[1], work[2], work[3], work[8]))

    return {METHOD: SimpleNamespace(body=body, layout=(2, *scheme.layout, f.tiles) * 2)}
