"""Is this tangent the derivative of that function, and this adjoint its transpose? For our operators and for yours.

The functions take plain callables of NumPy arrays and return numbers; what is good enough is the caller's to say. The
usual bounds are 1e-13 for the dot test in float64 and 1e-5 in float32, and slopes within 0.1 of 1 and 2.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from l96kit._random import generator
from l96kit.models import _Window

COMPLEX_STEP = 1e-100  # its square vanishes, so the imaginary part is the derivative to rounding
FIRST_STEP = 1e-2
HALVINGS = 4


def _tuple(x):
    return tuple(np.asarray(part) for part in (x if isinstance(x, (tuple, list)) else (x,)))


def _inner(a, b):
    a, b = _tuple(a), _tuple(b)
    if [p.shape for p in a] != [q.shape for q in b]:
        raise ValueError(
            f"tl, ad: expected results like x and y, found shapes {[q.shape for q in b]} where {[p.shape for p in a]} "
            "are due; an adjoint returns one array for each that the tangent takes"
        )
    for part in (*a, *b):
        if part.dtype.kind not in "fiu":
            raise TypeError(f"tl, ad: expected real numbers, found {part.dtype}; split complex ones into two arrays")
    return float(sum(np.vdot(np.asarray(p, float), np.asarray(q, float)) for p, q in zip(a, b)))


def _norm(a):
    return float(np.sqrt(_inner(a, a)))


def _random_like(x, rng):
    parts = tuple(rng.standard_normal(part.shape).astype(part.dtype) for part in _tuple(x))
    return parts if isinstance(x, (tuple, list)) else parts[0]


def _moved(x, step, direction):
    parts = tuple((p + step * d).astype(p.dtype) for p, d in zip(_tuple(x), _tuple(direction)))
    return parts if isinstance(x, (tuple, list)) else parts[0]


def dot_test(tl: Callable, ad: Callable, x: Any, y: Any = None, rng=None, tolerance=None) -> float:
    """How far <L u, v> is from <u, L' v> for random u and v, as a fraction of |L u| |v|.

    Parameters
    ----------
    tl : function u -> L u, the tangent about a fixed state
    ad : function v -> L' v, the adjoint about the same state
    x : array, or tuple of arrays, of the shape and precision of u
    y : likewise for v; by default like L u
    rng : numpy.random.Generator; by default seeded with 0
    tolerance : raise AssertionError, with both inner products, if the result is larger

    Returns
    -------
    float, dimensionless. (Divided by the inner product itself, correct code would fail at random.)
    """
    rng = generator(np.random.default_rng(0) if rng is None else rng)
    u = _random_like(x, rng)
    Lu = tl(u)
    v = _random_like(Lu if y is None else y, rng)
    left, right = _inner(Lu, v), _inner(u, ad(v))
    scale = _norm(Lu) * _norm(v)
    error = abs(left - right) / scale if scale > 0 else abs(left - right)
    if tolerance is not None and not error <= tolerance:
        raise AssertionError(
            f"dot test: expected <Lu, v> = <u, L'v> to {tolerance:g}, found {left!r} and {right!r}, {error:.2g} apart; "
            "one of tangent and adjoint is wrong"
        )
    return error


def taylor_test(forward: Callable, tl: Callable, x: Any, direction: Any = None, rng=None) -> tuple[float, float]:
    """How fast |f(x + e h) - f(x)| and |f(x + e h) - f(x) - e L h| vanish with e: the slopes should be 1 and 2.

    Parameters
    ----------
    forward : function x -> f(x), an array or a tuple of arrays
    tl : function h -> L h, the tangent about x
    x : array or tuple of arrays
    direction : h, like x; random by default

    Returns
    -------
    (slope of the first remainder, slope of the second). A function that is linear in this direction has no second
    remainder; then the second slope is infinite. The steps e shrink with the growth of the tangent, |L h| / |h|, since
    a fixed one would fail correct code over long runs.
    """
    rng = generator(np.random.default_rng(0) if rng is None else rng)
    h = _random_like(x, rng) if direction is None else direction
    here, tangent = _tuple(forward(x)), _tuple(tl(h))
    first = FIRST_STEP / max(1.0, _norm(tangent) / max(_norm(h), np.finfo(float).tiny))
    steps = first * 0.5 ** np.arange(HALVINGS + 1)
    remainders = []
    for step in steps:
        there = _tuple(forward(_moved(x, step, h)))
        change = [np.asarray(b, float) - np.asarray(a, float) for a, b in zip(here, there)]
        rest = [c - step * np.asarray(t, float) for c, t in zip(change, tangent)]
        remainders.append((_norm(change), _norm(rest)))
    rounding = 100 * np.finfo(here[0].dtype).eps * max(_norm(here), np.finfo(float).tiny)
    first_order, second_order = np.array(remainders).T
    return _slope(steps, first_order, 0.0), _slope(steps, second_order, rounding)


def _slope(steps, remainders, rounding):
    """The slope in a double logarithmic plot, of those remainders that stand out from rounding."""
    good = remainders > rounding
    if good.sum() < 2:
        return float("inf")
    return float(np.polyfit(np.log(steps[good]), np.log(remainders[good]), 1)[0])


def complex_step(forward: Callable, x: Any, direction: Any) -> np.ndarray:
    """The derivative of a plain NumPy function at x in a direction, exact to rounding.

    `forward` must accept complex arrays and be analytic: no abs, max, conj, comparisons of complex numbers. x and
    direction are arrays, or tuples of arrays that are given to `forward` as its arguments.

    Source: Squire & Trapp (1998).
    """
    pairs = zip(_tuple(x), _tuple(direction), strict=True)
    moved = [np.asarray(p, complex) + 1j * COMPLEX_STEP * np.asarray(d, float) for p, d in pairs]
    return np.imag(forward(*moved)) / COMPLEX_STEP


class ModelCheck(NamedTuple):
    """Errors of a model's derivatives: relative differences and slopes, all dimensionless."""

    tendency: float
    tendency_tl: float
    dot_test: float
    taylor_slopes: tuple


def check_model(model, x=None, rng=None) -> ModelCheck:
    """Check the three functions of a model of sites, a `StencilModel` or one of ours, against one another, with a
    parameter for each site.

    Parameters
    ----------
    model : the model
    x : (..., site), the states to check at, in double precision; by default random

    Returns
    -------
    ModelCheck
        tendency : the compiled tendency against the same function run by NumPy on the whole ring
        tendency_tl : the tangent against the complex step of that, in state and parameters
        dot_test : the adjoint against the tangent, in state and parameters
        taylor_slopes : of tendency and tangent in the state
    """
    if not model.is_local:
        raise TypeError(
            f"model: expected one made of functions of a site, found {type(model).__name__}; check a propagator of it "
            "with l96kit.dot_test and l96kit.taylor_test"
        )
    rng = generator(np.random.default_rng(0) if rng is None else rng)
    model = _with_a_parameter_a_site(model)
    x = rng.standard_normal((3, model.sites)) if x is None else np.asarray(x, float)
    names = list(model.parameters)
    values = tuple(np.asarray(model.parameters[name], float) for name in names)
    space = (x, *values)
    changes = _random_like(space, rng)

    def with_numpy(x, *parameters):
        fields = np.split(x, model.fields, axis=-1)
        windows = tuple(_window(field, model) for field in fields)
        p = tuple(_window(p + 0 * fields[0], model) for p in parameters)
        if model.fields == 1:
            return model.kernel.tendency(windows[0], p)
        return np.concatenate(model.kernel.tendency(windows, p), axis=-1)

    def tl(u):
        return model.tendency_tl(x, u[0], dict(zip(names, u[1:])))

    def ad(v):
        x_ad, parameters_ad = model.tendency_ad(x, v)
        return (x_ad, *(parameters_ad[name] for name in names))

    return ModelCheck(
        tendency=_difference(model.tendency(x), with_numpy(*space)),
        tendency_tl=_difference(tl(changes), complex_step(with_numpy, space, changes)),
        dot_test=dot_test(tl, ad, space, rng=rng),
        taylor_slopes=taylor_test(model.tendency, lambda h: model.tendency_tl(x, h), x, rng=rng),
    )


def _with_a_parameter_a_site(model):
    """The same model with one value a site for every number: a sum over sites would hide where a gradient belongs."""
    fields = {name: np.broadcast_to(p, np.shape(p) or (model.ring,)) for name, p in model.parameters.items()}
    own = {field.name for field in dataclasses.fields(model)}
    copy = dataclasses.replace(model, **({"parameters": fields} if "parameters" in own else fields))
    vars(copy)["kernel"] = model.kernel  # what the model was made of, whatever became of it since
    return copy


def _window(x, model):
    offsets = [*range(model.kernel.REACH + 1), *range(-model.kernel.REACH, 0)]
    return _Window(np.roll(x, -offset, axis=-1) for offset in offsets)


def _difference(a, b):
    return float(np.abs(a - b).max() / max(np.abs(b).max(), np.finfo(float).tiny))
