"""What steps know of a model: dx/dt in a tile, and its derivatives.

What a model needs comes with the data as p = (fields, program, weights): its parameters (parameter, member, site) or
(parameter, 1, 1), and the program and the weights of its network, empty if it has none. A spectral model has there the
passes of its transforms, and its coefficients and the roots of unity. `bind` and its like take from there and from the
work space what the other functions are given as f.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

from l96kit.kernels._targets import inline


@inline
def _nothing(args):
    pass


@inline
def _no_sums(f_ad):
    return ()


def _no_preparation(stage):
    return _nothing


class Dynamics(NamedTuple):
    """Functions of tile arrays; `stage` and `scale` are fixed when a kernel is built. What is given at index j is a
    number, or of a model with several fields a tuple: those at j and at its like in the other fields. What a model does
    not need may be left out.

    tiles : how many tile arrays `bind` is given, and as many for the tangent or the adjoint
    bind((p, tiles, rest, first member, n)) -> f; bind_tl, of the changes of p, -> f_tl
    begin((p_ad, tiles_ad, tile, first member)) -> f_ad; end, called likewise, leaves the gradients in p_ad
    prepare(stage)((x, f, n)) comes before slope((x, f), j), dx/dt at index j
    prepare_tl((x_tl, f, f_tl, n)) before slope_tl((x, f, x_tl, f_tl), j), after `prepare`
    prepare_ad(stage)((y_ad, weight, f, f_ad, n)) before slope_ad(scale)((x, f, y_ad, f_ad, dt), sums, j), which gives
        what comes back to x from weight y_ad, and the sums that it adds to; these start with start(f_ad) and end with
        finish((f_ad, sums)). `scale(x, dt)` is `weight`, None stands for one.
    """

    tiles: int
    bind: Callable
    bind_tl: Callable
    begin: Callable
    slope: Callable
    slope_tl: Callable
    slope_ad: Callable
    end: Callable = _nothing
    prepare: Callable = _no_preparation
    prepare_tl: Callable = _nothing
    prepare_ad: Callable = _no_preparation
    start: Callable = _no_sums
    finish: Callable = _nothing
    spectral: SimpleNamespace | None = None  # what exponential schemes need besides


def is_spectral(model):
    return getattr(model, "SPECTRAL", False)
