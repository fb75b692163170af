"""Lorenz-96 as plain functions: arrays in, arrays out, no classes.

    dx_k/dt = (x_{k+1} - x_{k-2}) x_{k-1} - x_k + F_k,        k = 1..K, periodic        (Lorenz 1996, eq. 1)

In all of them

    x : (..., site) float32 or float64, dimensionless; the last axis is the ring, every other an ensemble
    F : forcing, dimensionless: one number, one a site (site,), or one a member and site (..., site)
    dt : length of a step, in time units (one is five days of the atmosphere)
    scheme : "euler", "heun" (predictor-corrector), "rk4" (classic) or "rk38" (3/8 rule)
    out : an array to write the result to, optional; it may be x itself
    progress : show a bar (on a terminal or in a notebook)

and the precision of the result is that of x. A name ending in `_tl` is the tangent linear, in `_ad` the adjoint of the
function without it, with respect to state and forcing; both are exact derivatives of what the function computes. Bad
input raises TypeError or ValueError, a run that leaves the finite numbers `l96kit.BlowUpError`.

For a GPU, a choice of threads, checkpoints or other models, see `l96kit.Propagator`, which these functions call.
"""

from l96kit import _arrays
from l96kit.models import Lorenz96
from l96kit.propagators import Propagator


def tendency(x, F, out=None):
    """dx/dt, per time unit: (..., site) to (..., site)."""
    return _model(x, F).tendency(x, out)


def tendency_tl(x, F, x_tl, F_tl=0.0):
    """The change of dx/dt for the changes x_tl (..., site) and F_tl (like a forcing), which broadcast against x."""
    return _model(x, F).tendency_tl(x, x_tl, {"F": F_tl})


def tendency_ad(x, F, y_ad):
    """The transpose of `tendency_tl`: y_ad (..., site) to (x_ad (..., site), F_ad shaped as F)."""
    return _with_forcing(_model(x, F).tendency_ad(x, y_ad))


def step(x, F, dt, scheme="rk4", out=None):
    """The state one step later: (..., site) to (..., site)."""
    return _propagator(x, F, dt, scheme).step(x, out)


def step_tl(x, F, dt, x_tl, F_tl=0.0, scheme="rk4"):
    """The change of the state one step later for the changes x_tl (..., site) and F_tl (like a forcing)."""
    return _propagator(x, F, dt, scheme).step_tl(x, x_tl, {"F": F_tl})


def step_ad(x, F, dt, y_ad, scheme="rk4"):
    """The transpose of `step_tl`: y_ad (..., site) to (x_ad (..., site), F_ad shaped as F)."""
    return _with_forcing(_propagator(x, F, dt, scheme).step_ad(x, y_ad))


def trajectory(x, F, dt, steps, every=1, scheme="rk4", out=None, progress=False):
    """The states at steps 0, every, 2 every, ..., steps: (..., site) to (time, ..., site).

    `steps` is a multiple of `every`; `out`, if given, has the shape (steps / every + 1, ..., site).
    """
    return _propagator(x, F, dt, scheme).trajectory(x, steps, every, out, progress)


def trajectory_tl(x, F, dt, steps, x_tl, F_tl=0.0, every=1, scheme="rk4", progress=False):
    """The change of each state of `trajectory` for the changes x_tl (..., site) and F_tl: (time, ..., site)."""
    return _propagator(x, F, dt, scheme).trajectory_tl(x, x_tl, steps, every, {"F": F_tl}, progress)


def trajectory_ad(x, F, dt, y_ad, every=1, scheme="rk4", progress=False):
    """The transpose of `trajectory_tl`: y_ad (time, ..., site) to (x_ad (..., site), F_ad shaped as F).

    With y_ad the derivatives of a scalar with respect to each state of `trajectory(x, ...)`, these are its gradients.
    """
    return _with_forcing(_propagator(x, F, dt, scheme).trajectory_ad(x, y_ad, every, progress=progress))


def _model(x, F):
    return Lorenz96(_arrays.last_axis(x, "x"), F)


def _propagator(x, F, dt, scheme):
    return Propagator(_model(x, F), dt, scheme)


def _with_forcing(x_ad_and_parameters_ad):
    x_ad, parameters_ad = x_ad_and_parameters_ad
    return x_ad, parameters_ad["F"]
