"""All schemes, of both kinds, and forecasts with them."""

from l96kit.kernels import exponential, runge_kutta
from l96kit.kernels._targets import inline
from l96kit.kernels.tile import U, fields_of, transfer

SCHEMES = {**runge_kutta.SCHEMES, **exponential.SCHEMES}


def one_step(model, tableau, f, team, lanes):
    """One step of a scheme, with its derivatives and the tile arrays that they take."""
    if isinstance(tableau, exponential.Exponential):
        return exponential.one_step(f, tableau, team, lanes)
    return runge_kutta.one_step(f, tableau, team, lanes, model.REACH, fields_of(model))


def forecasting(model, f, scheme, team, lanes):
    """`forecast(x, p, dt, steps, work)`: all members of an ensemble (member, site) so many time steps on, in place.

    `work` holds what the scheme asks for, the tile arrays of the dynamics, and what is left of the room.
    """
    load, _, store, _ = transfer(team, model.REACH, lanes, fields_of(model))
    bind, step, fields = f.bind, scheme.step, U(fields_of(model))

    @inline
    def forecast(x, p, dt, steps, work):
        (state, other), stage_states, kept, tiles, rest = work
        for tile in range((x.shape[0] + lanes - 1) // lanes):
            start, n = U(tile) * U(lanes), U(x.shape[1]) // fields * U(lanes)
            load(x, state, start)
            room = stage_states, kept, bind((p, tiles, rest, start, n))
            for _ in range(steps):
                step(state, other, room, dt, n)
                state, other = other, state
            store(state, x, start)

    return forecast
