"""Tendency and trajectory of any model over an ensemble: what one team does for one tile, forward, `_tl` and `_ad`.

Each body is a function (tile, data, work). `data` holds the arrays of the whole ensemble, `work` groups of tile arrays:
two for states, stage states, kept k, what the dynamics ask for; the same again for the tangent or the adjoint; and last
one array with what is left of the work space. Arrays are (member, site), trajectories (time, member, site), each
C-contiguous; those with one member serve all members. `p` is what `dynamics` describes, `p_ad` its gradients: those of
fields (parameter, member, site), of uniform parameters (parameter, tile, worker), of weights (tile, weight). `tape` is
the state before each step, a tile array with its halo.
"""

from types import SimpleNamespace

from l96kit.kernels._targets import inline, part
from l96kit.kernels.dynamics_of_model import dynamics_of
from l96kit.kernels.schemes import one_step
from l96kit.kernels.tile import U, fields_of, for_fields, halo, strides, transfer


def bodies(model, tableau, team, lanes, uniform):
    """All bodies for one model and scheme, each with its layout; compiled only when used."""
    size, fields = U(lanes), fields_of(model)
    first, stride = U(model.REACH * lanes), strides(model.REACH, lanes)
    span, sync = team.span, team.sync
    load, load_add, store, add = transfer(team, model.REACH, lanes, fields)
    fill = halo(team, model.REACH, lanes, fields)
    f = dynamics_of(model, tableau.stages, team, lanes, uniform)
    bind, bind_tl, begin, end = f.bind, f.bind_tl, f.begin, f.end
    scheme = one_step(model, tableau, f, team, lanes)
    step, step_tl, step_ad = scheme.step, scheme.step_tl, scheme.step_ad
    prepare, slope, prepare_tl, slope_tl = f.prepare(0), f.slope, f.prepare_tl, f.slope_tl
    prepare_ad, slope_ad, start_sums, finish = f.prepare_ad(0), f.slope_ad(None), f.start, f.finish

    @inline
    def length(x):
        """n: how many numbers of a field there are in a tile."""
        return U(x.shape[x.ndim - 1]) // U(fields) * size

    @part
    def set_to_zero(tile):
        for j in span(U(0), U(tile.shape[0])):
            tile[j] = 0

    @inline
    def put(x, value, j):
        x[j] = value

    put_all = for_fields(fields, put)

    @inline
    def tendency(tile, data, work):
        x, p, y = data
        (state, result), _, _, tiles, rest = work
        start, n = U(tile) * size, length(x)
        load(x, state, start)
        bound = bind((p, tiles, rest, start, n))
        fill(state, n)
        prepare((state, bound, n))
        for j in span(first, first + n):
            put_all(result, slope((state, bound), j), (j, stride(n)))
        sync()
        store(result, y, start)

    @inline
    def tendency_tl(tile, data, work):
        x, p, x_tl, p_tl, y_tl = data
        (state, _result), _, _, tiles, (tangent, result_tl), _, _, tiles_tl, rest = work
        start, n = U(tile) * size, length(x)
        load(x, state, start)
        load(x_tl, tangent, start)
        bound, bound_tl = bind((p, tiles, rest, start, n)), bind_tl((p_tl, tiles_tl, rest, start, n))
        fill(state, n)
        fill(tangent, n)
        prepare((state, bound, n))
        prepare_tl((tangent, bound, bound_tl, n))
        for j in span(first, first + n):
            put_all(result_tl, slope_tl((state, bound, tangent, bound_tl), j), (j, stride(n)))
        sync()
        store(result_tl, y_tl, start)

    @inline
    def tendency_ad(tile, data, work):
        x, p, y_ad, x_ad, p_ad = data
        (state, _result), _, _, tiles, (adjoint, result_ad), _, _, tiles_ad, rest = work
        start, n = U(tile) * size, length(x)
        load(x, state, start)
        bound = bind((p, tiles, rest, start, n))
        bound_ad = begin((p_ad, tiles_ad, tile, start))
        set_to_zero(adjoint)
        sync()
        load_add(y_ad, adjoint, start)
        fill(state, n)
        fill(adjoint, n)
        prepare((state, bound, n))
        prepare_ad((adjoint, state.dtype.type(1), bound, bound_ad, n))
        sums = start_sums(bound_ad)
        for j in span(first, first + n):
            back, sums = slope_ad((state, bound, adjoint, bound_ad, 0.0), sums, j)
            put_all(result_ad, back, (j, stride(n)))
        finish((bound_ad, sums))
        sync()
        add(result_ad, x_ad, start)
        end((p_ad, tiles_ad, tile, start))

    @inline
    def trajectory(tile, data, work):
        """y[t] is the state after t * every steps from x = y[0]. A tape, if it has room, gets the state before each."""
        x, p, dt, every, y, tape = data
        (state, other), stage_states, kept, tiles, rest = work
        start, n, taped = U(tile) * size, length(x), tape.shape[1]
        if taped > 0:
            state = tape[tile, 0]
        load(x, state, start)
        room = stage_states, kept, bind((p, tiles, rest, start, n))
        sync()
        store(state, y[0], start)
        for t in range(1, y.shape[0]):
            for s in range((t - 1) * every + 1, t * every + 1):
                if s < taped:
                    following = tape[tile, s]
                else:
                    following, other = other, state
                step(state, following, room, dt, n)
                state = following
            sync()
            store(state, y[t], start)

    @inline
    def trajectory_tl(tile, data, work):
        """y_tl[t] is the tangent at the times of y, along the trajectory that starts at x and ends at `later`, from
        which a next call goes on."""
        x, p, x_tl, p_tl, dt, every, later, y_tl = data
        (state, state_next), stage_states, kept, tiles = work[:4]
        (tangent, tangent_next), stage_tangents, kept_tl, tiles_tl, rest = work[4:]
        start, n = U(tile) * size, length(x)
        load(x, state, start)
        load(x_tl, tangent, start)
        bound, bound_tl = bind((p, tiles, rest, start, n)), bind_tl((p_tl, tiles_tl, rest, start, n))
        room = stage_states, kept, bound, stage_tangents, kept_tl, bound_tl
        sync()
        store(tangent, y_tl[0], start)
        for t in range(1, y_tl.shape[0]):
            for _ in range(every):
                step_tl(state, state_next, tangent, tangent_next, room, dt, n)
                state, state_next = state_next, state
                tangent, tangent_next = tangent_next, tangent
            sync()
            store(tangent, y_tl[t], start)
        store(state, later, start)

    @inline
    def trajectory_ad(tile, data, work):
        """Back along the steps on the tape; y_ad[t] is added to the adjoint when time t is reached."""
        tape, p, dt, every, y_ad, x_ad, p_ad = data
        _, stage_states, kept, tiles = work[:4]
        (adjoint, adjoint_next), stage_adjoints, kept_ad, tiles_ad, rest = work[4:]
        start, n = U(tile) * size, length(y_ad)
        bound, bound_ad = bind((p, tiles, rest, start, n)), begin((p_ad, tiles_ad, tile, start))
        room = stage_states, kept, bound, stage_adjoints, kept_ad, bound_ad
        set_to_zero(adjoint)
        sync()
        load_add(y_ad[y_ad.shape[0] - 1], adjoint, start)
        for t in range(y_ad.shape[0] - 2, -1, -1):
            for s in range((t + 1) * every - 1, t * every - 1, -1):
                step_ad(tape[tile, s], adjoint, adjoint_next, room, dt, n)
                adjoint, adjoint_next = adjoint_next, adjoint
            sync()
            load_add(y_ad[t], adjoint, start)
        sync()
        add(adjoint, x_ad, start)
        end((p_ad, tiles_ad, tile, start))

    forward = (2, *scheme.layout, f.tiles)
    both_tl = forward * 2
    stage_states, kept, stage_adjoints, kept_ad = scheme.layout_ad
    both_ad = (2, stage_states, kept, f.tiles, 2, stage_adjoints, kept_ad, f.tiles)
    return {
        "tendency": SimpleNamespace(body=tendency, layout=forward),
        "tendency_tl": SimpleNamespace(body=tendency_tl, layout=both_tl),
        "tendency_ad": SimpleNamespace(body=tendency_ad, layout=both_ad),
        "trajectory": SimpleNamespace(body=trajectory, layout=forward),
        "trajectory_tl": SimpleNamespace(body=trajectory_tl, layout=both_tl),
        "trajectory_ad": SimpleNamespace(body=trajectory_ad, layout=both_ad),
    }
