"""Is this tangent the derivative of that function, and this adjoint its transpose? For our operators and for yours.

The functions take plain callables of NumPy arrays and return numbers; what is good enough is the caller's to say. The
usual bounds are 1e-13 for the dot test in float64 and 1e-5 in float32, and slopes within 0.1 of 1 and 2.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from l96kit import _arrays
from l96kit._random import generator
from l96kit.models import Model, _Window

COMPLEX_STEP = 1e-100  # its square vanishes, so the imaginary part is the derivative to rounding
FIRST_STEP = 1e-2
HALVINGS = 4
DISTINCT = 100  # times its rounding that a function must change, to show an error of one per cent


def _parts(x, name):
    """One array or several as a tuple of new arrays in single or double precision; a function may use its own again."""
    parts = tuple(_arrays.real(part, name).copy() for part in (x if isinstance(x, (tuple, list)) else (x,)))
    if not any(part.size for part in parts):
        raise ValueError(f"{name}: expected at least one number, found none; there is nothing to check")
    return parts


def _like(found, expected, name, what, remedy="return one array for each"):
    """The parts of what was found, if they have the shapes of those expected; `what` says whose these are."""
    found = _parts(found, name)
    shapes, due = [part.shape for part in found], [part.shape for part in expected]
    if shapes != due:
        raise ValueError(
            f"{name}: expected arrays like {what}, found shapes {shapes} where {due} are due; {remedy}"
        )
    return found


def _direction(found, about):
    return _like(found, about, "direction", "x", "give one array for each")


def _as_given(parts, x):
    """Copies of parts, which a function may change, in the form of x: a tuple if that has several."""
    parts = tuple(part.copy() for part in parts)
    return parts if isinstance(x, (tuple, list)) else parts[0]


def _inner(a, b):
    return float(sum(np.vdot(np.asarray(p, float), np.asarray(q, float)) for p, q in zip(a, b)))


def _norm(a):
    """The Euclidean norm of all parts, also where squares would leave the range of numbers."""
    largest = float(np.max([np.abs(part).max(initial=0) for part in a]))
    if not 0 < largest < np.inf:
        return largest
    return largest * float(np.sqrt(sum(((np.asarray(part, float) / largest) ** 2).sum() for part in a)))


def _random_like(parts, rng):
    return tuple(rng.standard_normal(part.shape).astype(part.dtype) for part in parts)


def _moved(parts, step, direction):
    return tuple((p + step * d).astype(p.dtype) for p, d in zip(parts, direction))


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
    float, dimensionless; NaN, which meets no tolerance, if tangent or adjoint is not finite. (Divided by the inner
    product itself, correct code would fail at random.)
    """
    rng, tl, ad = generator(rng, default=0), _arrays.function(tl, "tl", "u"), _arrays.function(ad, "ad", "v")
    if tolerance is not None:
        tolerance = _arrays.not_negative(tolerance, "tolerance", "asks for equality")
    about = _parts(x, "x")
    u = _random_like(about, rng)
    result = tl(_as_given(u, x))
    Lu = _parts(result, "tl, ad") if y is None else _like(result, _parts(y, "y"), "tl, ad", "y")
    v = _random_like(Lu if y is None else _parts(y, "y"), rng)
    remedy = "an adjoint returns one array for each that the tangent takes"
    back = _like(ad(_as_given(v, result if y is None else y)), u, "tl, ad", "x", remedy)
    left, right, scale = _inner(Lu, v), _inner(u, back), _norm(Lu) * _norm(v)
    if not np.isfinite([left, right, scale]).all():
        error = float("nan")
    else:
        error = abs(left - right) / (scale if scale > 0 else 1)
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
    remainder; then the second slope is infinite. What cannot be judged is NaN: both slopes if function or tangent are
    not finite, the second if the function changes too little to tell an error of one per cent from rounding, as it does
    where x is far larger than h. The steps e shrink with the growth of the tangent, |L h| / |h|, since a fixed one
    would fail correct code over long runs, and with |x| / |h|, for units in which x is small.
    """
    rng, about = generator(rng, default=0), _parts(x, "x")
    forward, tl = _arrays.function(forward, "forward", "x"), _arrays.function(tl, "tl", "h")
    h = _random_like(about, rng) if direction is None else _direction(direction, about)
    here = _parts(forward(_as_given(about, x)), "forward")
    tangent = _like(tl(_as_given(h, x)), here, "tl", "those of forward")
    if not _norm(h) > 0:
        raise ValueError("direction: expected one that leads away from x, found zeros; take another")
    if not np.isfinite(_norm(tangent)):
        return float("nan"), float("nan")
    first = FIRST_STEP / max(1.0, _norm(tangent) / _norm(h), _norm(h) / (_norm(about) or np.inf))
    steps = first * 0.5 ** np.arange(HALVINGS + 1)
    remainders = []
    for step in steps:
        there = _like(forward(_as_given(_moved(about, step, h), x)), here, "forward", "those at x")
        with np.errstate(invalid="ignore"):  # then it is NaN
            change = [np.asarray(b, float) - np.asarray(a, float) for a, b in zip(here, there)]
        rest = [c - step * np.asarray(t, float) for c, t in zip(change, tangent)]
        remainders.append((_norm(change), _norm(rest)))
    rounding = 100 * max(np.finfo(part.dtype).eps for part in here) * max(_norm(here), np.finfo(float).tiny)
    if not np.isfinite(remainders).all():
        return float("nan"), float("nan")
    first_order, second_order = np.array(remainders).T
    slope = _slope(steps, second_order, rounding) if first_order[0] > DISTINCT * rounding else float("nan")
    return _slope(steps, first_order, 0.0), slope


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
    about = _parts(x, "x")
    pairs = zip(about, _direction(direction, about))
    moved = [np.asarray(p, complex) + 1j * COMPLEX_STEP * np.asarray(d, float) for p, d in pairs]
    found = _arrays.array(_arrays.function(forward, "forward", "x")(*moved), "forward")
    if found.dtype.kind != "c":
        raise TypeError(
            f"forward: expected complex numbers of complex ones, found {_arrays.kind(found)}, of which no derivative "
            "can be read; avoid abs, max, .real and real buffers"
        )
    return found.imag / COMPLEX_STEP


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
    _arrays.instance(model, Model, "model", "a model such as l96kit.Lorenz96()", "pass the model itself")
    if not model.is_local:
        raise TypeError(
            f"model: expected one made of functions of a site, found {type(model).__name__}; check a propagator of it "
            "with l96kit.dot_test and l96kit.taylor_test"
        )
    rng = generator(rng, default=0)
    model = _with_a_parameter_a_site(model)
    x = rng.standard_normal((3, model.sites)) if x is None else _arrays.real(x, "x").astype(float)
    x = _arrays.state(x, model.sites)
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
