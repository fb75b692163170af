"""Tendency and trajectory of any model over an ensemble: what one team does for one tile, forward, `_tl` and `_ad`.

Each body is a function (tile, data, work). `data` holds the arrays of the whole ensemble, `work` the groups of
tile arrays that `runge_kutta.one_step` describes, `tape` room for the steps between two stored times. Arrays are
(member, site), trajectories (time, member, site), parameters (parameter, member, site), each C-contiguous; those with
one member serve all members.
"""

from types import SimpleNamespace

from l96kit.kernels._targets import inline, site_function
from l96kit.kernels.runge_kutta import add_to_all, one_step
from l96kit.kernels.tile import U, halo, parameter_windows, transfer, window


def bodies(model, tableau, team, lanes, uniform):
    """All bodies for one model and scheme, each with its layout; compiled only when used."""
    size = U(lanes)
    first = U(model.REACH * lanes)
    count = len(model.PARAMETERS)
    span, sync = team.span, team.sync
    load, load_add, store, add = transfer(team, model.REACH, lanes)
    scheme = one_step(model, tableau, team, lanes, uniform)
    step, step_tl, step_ad = scheme.step, scheme.step_tl, scheme.step_ad
    fill = halo(team, model.REACH, lanes)
    look = window(model.REACH, lanes)
    parameters = parameter_windows(model.REACH, lanes, count, uniform)
    tendency_at, tendency_tl_at, tendency_ad_at = map(
        site_function, (model.tendency, model.tendency_tl, model.tendency_ad)
    )
    add_to = add_to_all(count)

    @inline
    def length(x):
        return U(x.shape[x.ndim - 1]) * size

    def loading(i):
        @inline
        def number(p, tiles, start, edge, n):
            tiles[i][0] = p[i, 0, 0]

        @inline
        def field(p, tiles, start, edge, n):
            load(p[i], tiles[i], start)
            fill(tiles[i], edge, n)

        return number if uniform else field

    def all_parameters(action):
        """action(i)(p, tiles, start, edge, n) for every parameter."""

        @inline
        def nothing(p, tiles, start, edge, n):
            pass

        done = nothing
        for i in range(count):
            done = _then(done, action(i))
        return done

    def loading_plain(i):
        @inline
        def one(p, tiles, start, edge, n):
            load(p[i], tiles[i], start)

        return one

    def storing(i):
        @inline
        def one(p, tiles, start, edge, n):
            store(tiles[i], p[i], start)

        return one

    load_parameters = all_parameters(loading)
    load_gradients, store_gradients = all_parameters(loading_plain), all_parameters(storing)

    @inline
    def tendency(tile, data, work):
        x, p, y = data
        (state, result, edge), at = work[0], work[3]
        start, n = U(tile) * size, length(x)
        load(x, state, start)
        load_parameters(p, at, start, edge, n)
        fill(state, edge, n)
        for j in span(first, first + n):
            result[j] = tendency_at(look(state, j), parameters(at, j))
        sync()
        store(result, y, start)

    @inline
    def tendency_tl(tile, data, work):
        x, p, x_tl, p_tl, y_tl = data
        (state, _result, edge), at = work[0], work[3]
        (tangent, result_tl), at_tl = work[4], work[7]
        start, n = U(tile) * size, length(x)
        load(x, state, start)
        load(x_tl, tangent, start)
        load_parameters(p, at, start, edge, n)
        load_parameters(p_tl, at_tl, start, edge, n)
        fill(state, edge, n)
        fill(tangent, edge, n)
        for j in span(first, first + n):
            result_tl[j] = tendency_tl_at(look(state, j), parameters(at, j), look(tangent, j), parameters(at_tl, j))
        sync()
        store(result_tl, y_tl, start)

    @inline
    def tendency_ad(tile, data, work):
        x, p, y_ad, x_ad, p_ad = data
        (state, _result, edge), at = work[0], work[3]
        (adjoint, result_ad), at_ad = work[4], work[7]
        start, n = U(tile) * size, length(x)
        load(x, state, start)
        load(y_ad, adjoint, start)
        load_parameters(p, at, start, edge, n)
        load_gradients(p_ad, at_ad, start, edge, n)
        fill(state, edge, n)
        fill(adjoint, edge, n)
        for j in span(first, first + n):
            result_ad[j], at_site = tendency_ad_at(look(state, j), parameters(at, j), look(adjoint, j))
            add_to(at_ad, at_site, j)
        sync()
        add(result_ad, x_ad, start)
        store_gradients(p_ad, at_ad, start, edge, n)

    @inline
    def trajectory(tile, data, work):
        """y[t] is the state after t * every steps from x = y[0]; what the tape has room for is put there, too."""
        x, p, dt, every, y, tape = data
        state, edge, at = work[0][0], work[0][2], work[3]
        start, n = U(tile) * size, length(x)
        load(x, state, start)
        load_parameters(p, at, start, edge, n)
        sync()
        store(state, y[0], start)
        for t in range(1, y.shape[0]):
            for s in range((t - 1) * every, t * every):
                if s < tape.shape[1]:
                    for j in span(U(0), n):
                        tape[tile, s, j] = state[first + j]
                step(work, dt, n)
                sync()  # others may still look at their neighbours
            store(state, y[t], start)

    @inline
    def trajectory_tl(tile, data, work):
        """y_tl[t] is the tangent at the times of y, along the trajectory that starts at x."""
        x, p, x_tl, p_tl, dt, every, y_tl = data
        state, edge, at = work[0][0], work[0][2], work[3]
        tangent, at_tl = work[4][0], work[7]
        start, n = U(tile) * size, length(x)
        load(x, state, start)
        load(x_tl, tangent, start)
        load_parameters(p, at, start, edge, n)
        load_parameters(p_tl, at_tl, start, edge, n)
        sync()
        store(tangent, y_tl[0], start)
        for t in range(1, y_tl.shape[0]):
            for _ in range(every):
                step_tl(work, dt, n)
                sync()  # others may still look at their neighbours
            store(tangent, y_tl[t], start)

    @inline
    def trajectory_ad(tile, data, work):
        """Back along the steps on the tape; y_ad[t] is added to the adjoint when time t is reached."""
        p, dt, every, tape, y_ad, x_ad, p_ad = data
        state, edge, at = work[0][0], work[0][2], work[3]
        adjoint, at_ad = work[4][0], work[7]
        start, n = U(tile) * size, length(y_ad)
        load_parameters(p, at, start, edge, n)
        load_gradients(p_ad, at_ad, start, edge, n)
        load(y_ad[y_ad.shape[0] - 1], adjoint, start)
        for t in range(y_ad.shape[0] - 2, -1, -1):
            for s in range((t + 1) * every - 1, t * every - 1, -1):
                for j in span(U(0), n):
                    state[first + j] = tape[tile, s, j]
                step_ad(work, dt, n)
                sync()  # others may still look at their neighbours
            load_add(y_ad[t], adjoint, start)
        sync()
        add(adjoint, x_ad, start)
        store_gradients(p_ad, at_ad, start, edge, n)

    both = scheme.layout_ad
    return {
        "tendency": SimpleNamespace(body=tendency, layout=scheme.layout),
        "tendency_tl": SimpleNamespace(body=tendency_tl, layout=scheme.layout_tl),
        "tendency_ad": SimpleNamespace(body=tendency_ad, layout=both),
        "trajectory": SimpleNamespace(body=trajectory, layout=scheme.layout),
        "trajectory_tl": SimpleNamespace(body=trajectory_tl, layout=scheme.layout_tl),
        "trajectory_ad": SimpleNamespace(body=trajectory_ad, layout=both),
    }


def _then(earlier, action):
    @inline
    def both(p, tiles, start, edge, n):
        earlier(p, tiles, start, edge, n)
        action(p, tiles, start, edge, n)

    return both
