"""All schemes, of both kinds."""

from l96kit.kernels import exponential, runge_kutta
from l96kit.kernels.tile import fields_of

SCHEMES = {**runge_kutta.SCHEMES, **exponential.SCHEMES}


def one_step(model, tableau, f, team, lanes):
    """One step of a scheme, with its derivatives and the tile arrays that they take."""
    if isinstance(tableau, exponential.Exponential):
        return exponential.one_step(f, tableau, team, lanes)
    return runge_kutta.one_step(f, tableau, team, lanes, model.REACH, fields_of(model))
