"""Filters: cycles of a forecast, of observations and an analysis, for one ensemble at a time.

An experiment is what a tile is elsewhere: one worker goes through its cycles. `data` holds, in this order,

    x (experiment, member, site), the ensembles, which are changed in place, and p as in `trajectory`
    (dt, every, lag, iterations), the time step and how many of them a cycle has; and of the iterated smoother
    (indices, weights, begin), of what is observed: in cycle t of this call, with (begin + t) modulo their period, the
        function of the sum of weights times sites, each (period, observation, part); see `observing`
    (values, root): (cycle, experiment, observation), NaN where nothing was observed, and 1 / sigma (1, observation) or
        the inverse of the Cholesky factor of the covariance, (observation, observation) with room for whole vectors
    (tuning, normals, turns, seeds): (experiment, 2), inflation and what the method takes; random numbers (experiment,
        cycle, ..) of the analysis and of a rotation, none of them if there is none; (experiment,), what ranks among
        equals are drawn from
    coefficients (period, number), of a localization, see `local`
    truth (cycle, experiment, site), and what is kept: means (2, cycle, experiment, site) of forecasts and analyses, or
        no cycles of them; and (scores, ranks, innovations): (cycle, experiment, 2, 3), RMSE of the mean, spread and
        CRPS of both; (experiment, 2, members + 1), how often the truth had so many members below it, or none; (cycle,
        experiment, 2), see `scoring.score_innovation`
    (sites in a row, sites in a chunk, numbers of a matrix, tile arrays for all that)

An ensemble that left the finite numbers is NaN from then on, and nothing more is kept of it.
"""

from types import SimpleNamespace

from l96kit.kernels import ensemble, finite_size, local, particles
from l96kit.kernels._targets import inline
from l96kit.kernels.dynamics_of_model import dynamics_of
from l96kit.kernels.ensemble import Workspace, abandon, assemble, rotate, split
from l96kit.kernels.iterated import iterate, start_iterating, update_end, update_start
from l96kit.kernels.matrices import AT_ONCE, fill, is_finite, rounded_up, rows_of, scale, taken, whole
from l96kit.kernels.observing import observing, whiten
from l96kit.kernels.schemes import forecasting, one_step
from l96kit.kernels.scoring import record, score_innovation

INFLATION, TUNED = 0, 1  # columns of `tuning`

# --- methods ----------------------------------------------------------------------------------------------------------


@inline
def _transform(args):
    mean, A, Y, d, _more, room, shape = args
    ensemble.transform(mean, A, Y, d, room, shape)


@inline
def _perturb(args):
    mean, A, Y, d, (_, normals, _, errors, _, _), room, shape = args
    ensemble.perturb(mean, A, Y, d, normals, errors, room, shape)


@inline
def _serial(args):
    mean, A, Y, d, (_, _, _, errors, rest, _), room, shape = args
    ensemble.serial(mean, A, Y, d, (errors, rest[: d.shape[0]]), room, shape)


@inline
def _finite_size(args):
    mean, A, Y, d, (strength, _, _, _, _, _), room, shape = args
    finite_size.finite_size(mean, A, Y, d, strength, room, shape)


@inline
def _local(args):
    mean, A, Y, d, (_, _, coefficients, errors, rest, chunk), room, (members, observations, wide) = args
    n, across = local.even(members), d.shape[0]
    pairs = rest[: rows_of(n * n + n) * across]
    rows = rest[len(pairs) : len(pairs) + local.ROWS * chunk]
    seen = errors, rest[len(pairs) + len(rows) :]
    shape = members, n, observations, wide, across, chunk
    local.transform(mean, A, Y, d, coefficients, (pairs, rows, seen), room, shape)


@inline
def _resample(args):
    mean, A, Y, d, (jitter, normals, _, _, _, _), room, shape = args
    particles.resample(mean, A, Y, d, normals, jitter, room, shape)


ANALYSES = {
    "resample": _resample,
    "transform": _transform,
    "perturb": _perturb,
    "finite size": _finite_size,
    "serial": _serial,
    "local": _local,
}
METHODS = (*ANALYSES, "iterated")


def room_of(method, members, observations, sites, lanes, most):
    """What `sizes` begins with, and how many numbers an experiment works in. If each site has matrices of its own, then
    a chunk of sites has at most `most` numbers of each, if that is possible."""

    def whole(n):
        return rounded_up(n, lanes)

    def in_fours(n):
        return rounded_up(n, AT_ONCE)

    order = min(members, observations) if method == "perturb" else members
    chunk, matrix, beyond = whole(sites), in_fours(order) * whole(order) * (method != "serial"), 0
    if method == "resample":
        matrix = in_fours(sites) * whole(sites)
    if method == "serial":
        beyond = whole(observations)
    if method == "local":
        n = members + members % 2
        lines = in_fours(n * n + n)
        chunks = -(-sites // max(lanes, most // (lines * lanes) * lanes))
        chunk = whole(-(-sites // chunks))
        matrix, beyond = lines * chunk, (lines + 1) * whole(observations) + local.ROWS * chunk
    sites_in_row = -(-sites // chunk) * chunk
    ensembles = in_fours(members) * sites_in_row
    if method == "iterated":
        beyond = 2 * ensembles + sites_in_row + whole(members) + matrix
    rows = 2 * ensembles + 2 * in_fours(observations) * whole(members) + 4 * matrix
    vectors = 2 * sites_in_row + 2 * whole(members) + 2 * whole(observations)
    return (sites_in_row, chunk, matrix), rows + vectors + beyond


# --- cycles -----------------------------------------------------------------------------------------------------------


def bodies(model, tableau, team, lanes, uniform):
    """The body of each method, with its layout."""
    f = dynamics_of(model, tableau.stages, team, lanes, uniform)
    scheme = one_step(model, tableau, f, team, lanes)
    forecast, observe = forecasting(model, f, scheme, team, lanes), observing(model)

    @inline
    def rooms(work, members, observations, sizes):
        """The arrays of one experiment, all of them zero."""
        sites_in_row, _, matrix, arrays = sizes
        wide, across = whole(members, lanes), whole(observations, lanes)
        own = work[4][work[4].shape[0] - arrays * work[0][0].shape[0] :]
        fill(own, own.dtype.type(0))
        rows, seen = rows_of(members) * sites_in_row, rows_of(observations) * wide
        A, at = taken(own, 0, rows), rows
        B, at = taken(own, at, rows), at + rows
        Y, at = taken(own, at, seen), at + seen
        errors, at = taken(own, at, seen), at + seen
        C, at = taken(own, at, matrix), at + matrix
        first, at = taken(own, at, matrix), at + matrix
        second, at = taken(own, at, matrix), at + matrix
        third, at = taken(own, at, matrix), at + matrix
        mean, at = taken(own, at, sites_in_row), at + sites_in_row
        total, at = taken(own, at, sites_in_row), at + sites_in_row
        b, at = taken(own, at, wide), at + wide
        w, at = taken(own, at, wide), at + wide
        d, at = taken(own, at, across), at + across
        column, at = taken(own, at, across), at + across
        return (mean, A), (Y, d, errors), Workspace((C, first, second, third), B, b, w, total, column), own[at:]

    def cycling(analyse):
        @inline
        def body(experiment, data, work):
            x_of_all, p, clock, operator, (values, root), random, coefficients, truth, means, found, sizes = data
            (dt, every, _, _), (indices, weights, begin), (tuning, normals, turns, seeds) = clock, operator, random
            x, inflation = x_of_all[experiment], tuning[experiment, INFLATION]
            members, observations = x.shape[0], values.shape[2]
            (mean, A), (Y, d, errors), room, rest = rooms(work, members, observations, sizes)
            total, ones = room.total, room.b
            for t in range(values.shape[0]):
                cycle = begin + t
                place, now = (t, experiment, (seeds[experiment], cycle)), cycle % indices.shape[0]
                forecast(x, p, dt, every, work)
                split(x, mean, A, total)
                if not is_finite(A):
                    abandon(x)
                    break
                record(x, mean, A, truth, means, found, place, 0, total)
                observe(x, indices[now], weights[now], Y)
                whiten(Y, values[t, experiment], root, d, errors, members)
                score_innovation(Y, d, values[t, experiment], members, found[2][t, experiment])
                coefficients_now = coefficients[cycle % coefficients.shape[0]]
                more = tuning[experiment, TUNED], normals[experiment, t], coefficients_now, errors, rest, sizes[1]
                analyse((mean, A, Y, d, more, room, (members, observations, whole(members, lanes))))
                if turns.shape[2]:
                    rotate(A, turns[experiment, t], total, ones, members)
                scale(A, inflation)
                assemble(mean, A, x)
                record(x, mean, A, truth, means, found, place, 1, total)

        return body

    @inline
    def iterated(experiment, data, work):
        """x are states at the start of the window, `lag` cycles before the observations or as many as there are."""
        x_of_all, p, clock, operator, (values, root), random, _, truth, means, found, sizes = data
        (dt, every, lag, iterations), (indices, weights, begin), (tuning, _, turns, seeds) = clock, operator, random
        x, inflation, tolerance = x_of_all[experiment], tuning[experiment, INFLATION], tuning[experiment, TUNED]
        members, observations = x.shape[0], values.shape[2]
        (mean, A), (Y, d, seen), room, rest = rooms(work, members, observations, sizes)
        later_A, total, ones = room.B, room.total, room.b
        size, width, wide = later_A.shape[0], mean.shape[0], ones.shape[0]
        later_mean, at = taken(rest, 0, width), width
        w, at = taken(rest, at, wide), at + wide
        before, at = taken(rest, at, sizes[2]), at + sizes[2]
        B, at = taken(rest, at, size), at + size
        later = taken(rest, at, members * x.shape[1]).reshape(members, x.shape[1])
        shape = members, observations, wide
        for t in range(values.shape[0]):
            cycle = begin + t
            place, now = (t, experiment, (seeds[experiment], cycle)), cycle % indices.shape[0]
            split(x, mean, A, total)
            if not is_finite(A):
                abandon(x)
                break
            start_iterating(w, room, members)
            for iteration in range(iterations):
                update_start(mean, A, w, later_mean, later_A, room, shape)
                assemble(later_mean, later_A, later)
                forecast(later, p, dt, min(lag, cycle + 1) * every, work)
                split(later, later_mean, later_A, total)
                if iteration == 0:
                    record(later, later_mean, later_A, truth, means, found, place, 0, total)
                observe(later, indices[now], weights[now], Y)
                whiten(Y, values[t, experiment], root, d, seen, members)
                if iteration == 0:
                    score_innovation(Y, d, values[t, experiment], members, found[2][t, experiment])
                if not iterate(w, Y, d, seen, before, room, shape) > tolerance:
                    break
            update_end(later_mean, later_A, before, room, B, shape)
            assemble(later_mean, later_A, later)
            record(later, later_mean, later_A, truth, means, found, place, 1, total)
            update_start(mean, A, w, later_mean, later_A, room, shape)
            if turns.shape[2]:
                rotate(later_A, turns[experiment, t], total, ones, members)
            scale(later_A, inflation)
            assemble(later_mean, later_A, x)
            if cycle + 1 >= lag:
                forecast(x, p, dt, every, work)

    found = {name: cycling(analyse) for name, analyse in ANALYSES.items()} | {"iterated": iterated}
    layout = (2, *scheme.layout, f.tiles)
    return {name: SimpleNamespace(body=body, layout=layout) for name, body in found.items()}
