"""Tendency and trajectory of any model over an ensemble: what one team does for one tile, forward, `_tl` and `_ad`.

Each body is a function (tile, data, work). `data` holds the arrays of the whole ensemble, `work` the groups of
tile arrays that `runge_kutta.one_step` describes, `tape` the state before each step, a tile array with its halo. Arrays
are (member, site), trajectories (time, member, site), parameters (parameter, member, site), each C-contiguous; those
with one member serve all members. Uniform parameters are (parameter, 1, 1), their gradients (parameter, tile, worker).
"""

from types import SimpleNamespace

from l96kit.kernels._targets import inline, part, site_function
from l96kit.kernels.parameters import gathering, loading, windows
from l96kit.kernels.runge_kutta import one_step
from l96kit.kernels.tile import U, halo, transfer, window


def bodies(model, tableau, team, lanes, uniform):
    """All bodies for one model and scheme, each with its layout; compiled only when used."""
    size = U(lanes)
    first = U(model.REACH * lanes)
    count = len(model.PARAMETERS)
    span, sync = team.span, team.sync
    load, load_add, store, add = transfer(team, model.REACH, lanes)
    fill = halo(team, model.REACH, lanes)
    look = window(model.REACH, lanes)
    parameters = windows(model.REACH, lanes, count, uniform)
    load_parameters = loading(count, uniform, load, fill)
    gather = gathering(team, count, uniform, load, store)
    begin, start_sums, collect, finish, end = gather
    scheme = one_step(model, tableau, team, lanes, uniform, gather)
    step, step_tl, step_ad = scheme.step, scheme.step_tl, scheme.step_ad
    tendency_at, tendency_tl_at, tendency_ad_at = map(
        site_function, (model.tendency, model.tendency_tl, model.tendency_ad)
    )

    @inline
    def length(x):
        return U(x.shape[x.ndim - 1]) * size

    @part
    def set_to_zero(tile, n):
        for j in span(first, first + n):
            tile[j] = 0

    @inline
    def tendency(tile, data, work):
        x, p, y = data
        (state, result), at = work[0], work[3]
        start, n = U(tile) * size, length(x)
        load(x, state, start)
        load_parameters((p, at, start, n))
        fill(state, n)
        for j in span(first, first + n):
            result[j] = tendency_at(look(state, j), parameters(at, j))
        sync()
        store(result, y, start)

    @inline
    def tendency_tl(tile, data, work):
        x, p, x_tl, p_tl, y_tl = data
        (state, _result), at = work[0], work[3]
        (tangent, result_tl), at_tl = work[4], work[7]
        start, n = U(tile) * size, length(x)
        load(x, state, start)
        load(x_tl, tangent, start)
        load_parameters((p, at, start, n))
        load_parameters((p_tl, at_tl, start, n))
        fill(state, n)
        fill(tangent, n)
        for j in span(first, first + n):
            result_tl[j] = tendency_tl_at(look(state, j), parameters(at, j), look(tangent, j), parameters(at_tl, j))
        sync()
        store(result_tl, y_tl, start)

    @inline
    def tendency_ad(tile, data, work):
        x, p, y_ad, x_ad, p_ad = data
        (state, _result), at = work[0], work[3]
        (adjoint, result_ad), at_ad = work[4], work[7]
        start, n = U(tile) * size, length(x)
        load(x, state, start)
        load_parameters((p, at, start, n))
        begin((at_ad, p_ad, tile, start))
        set_to_zero(adjoint, n)
        sync()
        load_add(y_ad, adjoint, start)
        fill(state, n)
        fill(adjoint, n)
        sums = start_sums(at_ad)
        for j in span(first, first + n):
            result_ad[j], at_site = tendency_ad_at(look(state, j), parameters(at, j), look(adjoint, j))
            sums = collect(at_ad, sums, at_site, j)
        finish((at_ad, sums))
        sync()
        add(result_ad, x_ad, start)
        end((at_ad, p_ad, tile, start))

    @inline
    def trajectory(tile, data, work):
        """y[t] is the state after t * every steps from x = y[0]. A tape, if it has room, gets the state before each."""
        x, p, dt, every, y, tape = data
        (state, other), at = work[0], work[3]
        start, n, taped = U(tile) * size, length(x), tape.shape[1]
        if taped > 0:
            state = tape[tile, 0]
        load(x, state, start)
        load_parameters((p, at, start, n))
        sync()
        store(state, y[0], start)
        for t in range(1, y.shape[0]):
            for s in range((t - 1) * every + 1, t * every + 1):
                if s < taped:
                    following = tape[tile, s]
                else:
                    following, other = other, state
                step(state, following, work, dt, n)
                state = following
            sync()
            store(state, y[t], start)

    @inline
    def trajectory_tl(tile, data, work):
        """y_tl[t] is the tangent at the times of y, along the trajectory that starts at x."""
        x, p, x_tl, p_tl, dt, every, y_tl = data
        (state, state_next), at = work[0], work[3]
        (tangent, tangent_next), at_tl = work[4], work[7]
        start, n = U(tile) * size, length(x)
        load(x, state, start)
        load(x_tl, tangent, start)
        load_parameters((p, at, start, n))
        load_parameters((p_tl, at_tl, start, n))
        sync()
        store(tangent, y_tl[0], start)
        for t in range(1, y_tl.shape[0]):
            for _ in range(every):
                step_tl(state, state_next, tangent, tangent_next, work, dt, n)
                state, state_next = state_next, state
                tangent, tangent_next = tangent_next, tangent
            sync()
            store(tangent, y_tl[t], start)

    @inline
    def trajectory_ad(tile, data, work):
        """Back along the steps on the tape; y_ad[t] is added to the adjoint when time t is reached."""
        tape, p, dt, every, y_ad, x_ad, p_ad = data
        (adjoint, adjoint_next), at, at_ad = work[4], work[3], work[7]
        start, n = U(tile) * size, length(y_ad)
        load_parameters((p, at, start, n))
        begin((at_ad, p_ad, tile, start))
        set_to_zero(adjoint, n)
        sync()
        load_add(y_ad[y_ad.shape[0] - 1], adjoint, start)
        for t in range(y_ad.shape[0] - 2, -1, -1):
            for s in range((t + 1) * every - 1, t * every - 1, -1):
                step_ad(tape[tile, s], adjoint, adjoint_next, work, dt, n)
                adjoint, adjoint_next = adjoint_next, adjoint
            sync()
            load_add(y_ad[t], adjoint, start)
        sync()
        add(adjoint, x_ad, start)
        end((at_ad, p_ad, tile, start))

    forward, both_tl, both_ad = scheme.layout, scheme.layout_tl, scheme.layout_ad
    return {
        "tendency": SimpleNamespace(body=tendency, layout=forward),
        "tendency_tl": SimpleNamespace(body=tendency_tl, layout=both_tl),
        "tendency_ad": SimpleNamespace(body=tendency_ad, layout=both_ad),
        "trajectory": SimpleNamespace(body=trajectory, layout=forward),
        "trajectory_tl": SimpleNamespace(body=trajectory_tl, layout=both_tl),
        "trajectory_ad": SimpleNamespace(body=trajectory_ad, layout=both_ad),
    }
