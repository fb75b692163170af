"""Observation operators: what is observed of a state, with tangent linear and adjoint.

    H(x)_q = h(sum_i weights[q, i] x[indices[q, i]])

The functions of this module make the usual ones; `pointwise` adds h to any of them. Where the operator changes with
time it has a *period*: at observation time t, counted from 0, it is the one of t modulo the period.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from l96kit import _arrays
from l96kit._objects import Settings
from l96kit._random import generator
from l96kit.kernels import launch as kernels
from l96kit.kernels._fingerprint import fingerprint, frozen
from l96kit.kernels.observing import FUNCTIONS, of_one_number

LEAST_DIRECTION = 0.5  # of a mean of places on a ring, as angles: below, they lie all around
SLOPE_TOLERANCE = 1e-3  # relative; for functions that differ in more than rounding
_TRIALS = tuple(sign * scale for scale in (0.137, 0.618, 1.73, 5.41, 31.4) for sign in (1, -1))  # no kinks in general


@dataclass(frozen=True, eq=False, repr=False)
class ObservationOperator(Settings):
    """What is observed at each time: functions of weighted sums of sites.

    Parameters
    ----------
    sites : numbers of a state
    indices : (period, ..., n, part) of integers, the sites of each sum; leading axes between period and n are those of
        independent windows or experiments, and may be left out if these observe the same
    weights : like `indices`, of the sums; None stands for ones
    function : h, one of "identity", "square", "cube", "absolute", "exponential", "tanh", or a `Pointwise` of your own

    Raises
    ------
    ValueError, TypeError
        sites that a state does not have, shapes that do not match, weights that are not finite, unknown functions
    """

    sites: int
    indices: np.ndarray
    weights: Any = None
    function: Any = "identity"

    def __post_init__(self):
        sites = _arrays.count(self.sites, "sites")
        indices = _arrays.array(self.indices, "indices")
        if indices.dtype.kind not in "iu":
            raise TypeError(f"indices: expected integers, found {indices.dtype}; they are sites of a state")
        if indices.ndim < 3 or not indices.size:
            raise ValueError(
                f"indices: expected shape (period, ..., n, part), found {indices.shape}; a time and an observation at "
                "least, and a site for each; where nothing was observed, values are NaN"
            )
        outside = (indices < 0) | (indices >= sites)
        if outside.any():
            raise ValueError(
                f"indices: expected sites 0..{sites - 1}, found {indices[outside].flat[0]}; count sites from 0"
            )
        weights = np.ones(indices.shape) if self.weights is None else self.weights
        weights = _arrays.finite(_arrays.floating(weights, "weights"), "weights")
        if weights.shape != indices.shape:
            raise ValueError(
                f"weights: expected shape {indices.shape} like indices, found {weights.shape}; give each one"
            )
        if not isinstance(self.function, Pointwise):
            _arrays.one_of(self.function, tuple(FUNCTIONS), "function")
        indices, weights = indices.astype(np.int64, order="C"), weights.astype(float, order="C")
        _arrays.settle(self, sites=sites, indices=_arrays.kept(indices), weights=_arrays.kept(weights))

    @property
    def period(self):
        """After how many observation times it is the same again."""
        return len(self.indices)

    @property
    def n(self):
        """Observations at each time."""
        return self.indices.shape[-2]

    @property
    def windows(self):
        """Leading axes, of windows or experiments that observe different things; often none."""
        return self.indices.shape[1:-2]

    def __getitem__(self, window):
        """The operator of one window, by its index in the leading axes."""
        if not self.windows:
            return self
        at = slice(None), *_arrays.index(window, self.windows, "window")
        return replace(self, indices=self.indices[at], weights=self.weights[at])

    def places(self, ring):
        """Where on a ring of so many sites each observation is: (period, ..., n), the weighted mean of its sites.

        Raises ValueError for sums of sites all around the ring, which are nowhere.
        """
        ring = _arrays.count(ring, "ring")
        angles, shares = 2 * np.pi * (self.indices % ring) / ring, np.abs(self.weights)
        mean = (shares * np.exp(1j * angles)).sum(axis=-1)
        if (np.abs(mean) < LEAST_DIRECTION * shares.sum(axis=-1)).any():
            raise ValueError(
                "operator: expected observations near one place each, found sums of sites all around the ring; take "
                "Localization(np.inf), which is none, or a method without"
            )
        return np.angle(mean) % (2 * np.pi) * ring / (2 * np.pi)

    def pointwise(self, function):
        """The same with h of each sum: a name or a `Pointwise`."""
        return replace(self, function=function)

    # --- forward, tangent, adjoint -----------------------------------------------------------------------------------

    def observe(self, x, time=0):
        """H(x): x (..., site) at one time, or (time, ..., site) at several.

        time : which observation time, a whole number; or an array (time,) of them, one for each x. Returns (..., n).
        """
        x, places = self._state(x, "x", time)
        y = np.empty((*x.shape[:-1], self.n), x.dtype)
        self._launch("observe", (_arrays.members(x), places), y, x)
        return y

    def observe_tl(self, x, x_tl, time=0):
        """The tangent of `observe` about x in the direction x_tl, (..., site), broadcast: (..., n)."""
        x = _arrays.state(x, self.sites, "x")
        x, x_tl = _arrays.broadcast(x, _arrays.state(x_tl, self.sites, "x_tl", x.dtype), "x_tl")
        x, places = self._state(x, "x", time)
        y_tl = np.empty((*x.shape[:-1], self.n), x.dtype)
        self._launch("observe_tl", (_arrays.members(x), _arrays.members(x_tl), places), y_tl, x)
        return y_tl

    def observe_ad(self, x, y_ad, time=0):
        """The transpose of `observe_tl`: y_ad (..., n) to (..., site)."""
        x, places = self._state(x, "x", time)
        y_ad = _arrays.finite(_arrays.floating(y_ad, "y_ad"), "y_ad")
        expected = *x.shape[:-1], self.n
        if y_ad.shape != expected:
            raise ValueError(f"y_ad: expected shape {expected}, found {y_ad.shape}; one number for each observation")
        y_ad = _arrays.in_precision(y_ad, "y_ad", x.dtype)
        x_ad = np.zeros_like(_arrays.members(x))
        back = tuple(part[self._rows(time)] for part in self._by_site)
        back = _flat(back[0]), _flat(back[1], x.dtype)
        self._launch("observe_ad", (_arrays.members(x), _arrays.members(y_ad), places, back), x_ad, x)
        return x_ad.reshape(x.shape)

    @property
    def kernel(self):
        """What its kernels are built from."""
        return _kernel(_function_of(self.function))

    def _launch(self, op, data, output, x):
        if x.size and output.size:
            rows = output.reshape(-1, output.shape[-1])
            kernels.launch_observing(op, self.kernel, (*data, rows), 1, self.n)

    def _state(self, x, name, time):
        """x, and what is observed of it as kernels have it."""
        x = _arrays.state(x, self.sites, name)
        rows = self._rows(time)
        if np.ndim(time) and len(x) != len(rows):
            raise ValueError(f"time: expected shape ({len(x)},), one for each state in time, found {np.shape(time)}")
        leading = x.shape[1 if np.ndim(time) else 0 : -1]
        if self.windows and leading != self.windows:
            raise ValueError(
                f"{name}: expected shape (..., {', '.join(map(str, self.windows))}, {self.sites}), since each window "
                f"has an operator of its own, found {x.shape}; take operator[window] for one"
            )
        share = 1 if self.windows else max(1, int(np.prod(leading)))
        indices, weights = _flat(self.indices[rows]), _flat(self.weights[rows], x.dtype)
        return x, (indices, weights, share)

    def _rows(self, time):
        """The part of the period that belongs to a time or to several: (time,)."""
        found = np.atleast_1d(_arrays.array(time, "time"))
        if found.dtype.kind not in "iu" or found.ndim != 1 or (found < 0).any():
            raise ValueError(
                f"time: expected whole numbers from 0 on, found {_arrays.shown(time)}; count observation times"
            )
        return found % self.period

    @cached_property
    def _by_site(self):
        """The observations that each site is part of, and its weights in them: (period, ..., site, part)."""
        shape = self.indices.shape
        indices, weights = self.indices.reshape(-1, *shape[-2:]), self.weights.reshape(-1, *shape[-2:])
        counts = np.zeros((len(indices), self.sites), np.int64)
        np.add.at(counts, (np.arange(len(indices))[:, None, None], indices), 1)
        observations = np.zeros((len(indices), self.sites, counts.max(initial=0)), np.int64)
        found = np.zeros(observations.shape)
        for at, (row, own) in enumerate(zip(indices, weights)):
            order = np.argsort(row.ravel(), kind="stable")
            sites = row.ravel()[order]
            place = np.arange(len(sites)) - np.searchsorted(sites, sites)
            observations[at, sites, place] = order // shape[-1]
            found[at, sites, place] = own.ravel()[order]
        return tuple(part.reshape(*shape[:-2], *part.shape[1:]) for part in (observations, found))


def checked_operator(value):
    """An operator; anything else is refused."""
    remedy = "make one with a function of l96kit.observation_operators, such as every_site(40)"
    return _arrays.instance(value, ObservationOperator, "operator", "an ObservationOperator", remedy)


def _flat(part, dtype=None):
    """(row, n, part) of (period, ..., n, part), a copy as kernels take it."""
    return np.array(part.reshape(-1, *part.shape[-2:]), dtype, order="C")


@dataclass(frozen=True, eq=False, repr=False)
class Pointwise(Settings):
    """A function of one number of your own, and its derivative: of Python, as Numba can compile them, or of NumPy.

    Raises
    ------
    TypeError
        what is no function of one number, or uses what cannot be looked into
    ValueError
        a slope that is not the derivative, where both are defined
    """

    value: Callable
    slope: Callable

    def __post_init__(self):
        for name in ("value", "slope"):
            function = getattr(self, name)
            if not callable(function):
                raise TypeError(f"{name}: expected a function of one number, found {type(function).__name__}")
            _try(function, name)
        self._function  # noqa: B018  what the functions use is taken as it is now
        _check_slope(self.value, self.slope)

    def _made_of(self):
        return self._function.name

    def _fingerprint(self):
        return self._function.name

    @cached_property
    def _function(self):
        return _users_function(frozen(self.value, "value"), frozen(self.slope, "slope"))


def _try(function, name):
    """Refuse what Python itself cannot call, or what returns no number; Numba would say so at length, and later."""
    try:
        found = function(1.0)
    except (ArithmeticError, ValueError):  # 1.0 may lie outside what it is defined for
        return
    except Exception as problem:
        raise TypeError(f"{name}: expected a function of one number, found that of 1.0 it raises {problem!r}") from None
    if not isinstance(found, (int, float, np.number)):
        raise TypeError(f"{name}: expected a function that returns a number, found {type(found).__name__} of 1.0")


def _check_slope(value, slope):
    """Refuse a slope that differs from differences of the value, wherever these are sure."""
    for x in _TRIALS:
        with np.errstate(all="ignore"), contextlib.suppress(ArithmeticError, ValueError, TypeError):
            expected, doubt = _difference_quotient(value, x)
            found = float(slope(x))
            if abs(found - expected) > doubt + SLOPE_TOLERANCE * max(abs(found), abs(expected)):
                break
    else:
        return
    raise ValueError(
        f"slope: expected the derivative of value, about {expected:.6g} at {x}, found {found:.6g}; mend one of the two"
    )


def _difference_quotient(function, x):
    """The derivative by central differences, with the steps that agree best; and how far it may be off.

    Raises ArithmeticError if no two of them agree.
    """
    steps = max(1.0, abs(x)) * 0.1 ** np.arange(1, 9)
    pairs = [(function(x + step), function(x - step)) for step in steps]
    precision = np.result_type(*(np.asarray(value).dtype for value in pairs[0]), np.float16)
    values = np.array(pairs, float)
    found = (values[:, 0] - values[:, 1]) / (2 * steps)
    rounding = 10 * np.finfo(precision).eps * np.abs(values).max(axis=1) / steps
    found, rounding, apart = found[1:], rounding[1:], np.abs(np.diff(found))
    best = np.nanargmin((apart + rounding) / (np.abs(found) + rounding + np.finfo(float).tiny))
    if apart[best] > 0.01 * abs(found[best]) + rounding[best]:
        raise ArithmeticError
    return found[best], apart[best] + rounding[best]


class _Function(SimpleNamespace):
    """What an observation is of a weighted sum: `functions` are h and its derivative, as kernels have them."""

    __hash__ = object.__hash__


_FUNCTIONS = {name: _Function(name=name, functions=pair, made_of=()) for name, pair in FUNCTIONS.items()}
_users_functions = WeakValueDictionary()  # by their fingerprint; the same function is compiled once


def _users_function(*functions):
    made_of = fingerprint(*functions)
    own = tuple(map(of_one_number, functions))
    function = _Function(name=f"user-{made_of}", functions=own, made_of=((made_of, functions),))
    return _users_functions.setdefault(made_of, function)


def _function_of(chosen):
    return chosen._function if isinstance(chosen, Pointwise) else _FUNCTIONS[chosen]


class _Kernel(SimpleNamespace):
    """What kernels of observations are built from."""

    __hash__ = object.__hash__


@kernels.kept_with_owner
def _kernel(function):
    name, made_of = f"observation-{function.name}", function.made_of
    return _Kernel(NAME=name, REACH=0, PARAMETERS=(), OBSERVED=function.functions, MADE_OF=made_of)


def observed_model(model, chosen):
    """The kernel of a model that is observed with h; it lives as long as both."""
    if chosen == "identity":
        return model
    function = _function_of(chosen)
    of_models = vars(function).setdefault("of_models", WeakKeyDictionary())
    if model not in of_models:
        own = {key: getattr(model, key) for key in dir(model) if not key.startswith("_")}
        own["NAME"] = f"{model.NAME}-observed-{function.name}"
        own["MADE_OF"] = (*getattr(model, "MADE_OF", ()), *function.made_of)
        of_models.setdefault(model, _Kernel(**{**own, "OBSERVED": function.functions}))
    return of_models[model]


# --- the usual ones ---------------------------------------------------------------------------------------------------


def at_sites(which, sites) -> ObservationOperator:
    """Some sites: `which` (n,), or (time, ..., n) if they change; of the last time follows the first."""
    which = _arrays.array(which, "which")
    if which.ndim == 0 or not which.size:
        raise ValueError(
            f"which: expected shape (n,) or (time, ..., n), found {which.shape}; pass a list of sites, one at least"
        )
    return ObservationOperator(sites, (which[None] if which.ndim == 1 else which)[..., None])


def every_site(sites) -> ObservationOperator:
    """All of them."""
    sites = _arrays.count(sites, "sites")
    _require_memory(sites)
    return at_sites(np.arange(sites), sites)


def every(step, sites, start=0, fields=1) -> ObservationOperator:
    """Sites start, start + step, ... of a ring, of each of its fields; `sites` are the numbers of a state."""
    return at_sites(_every(step, sites, start, fields), sites)


def rotating(step, sites, fields=1, backwards=False) -> ObservationOperator:
    """Every step-th site, one further each time (or one back): after `step` times, all sites were seen."""
    step, sites, fields = _arrays.count(step, "step"), _arrays.count(sites, "sites"), _arrays.count(fields, "fields")
    backwards = _arrays.flag(backwards, "backwards", "True goes one back each time")
    if step > sites or sites // fields % step:
        raise ValueError(f"step: expected a divisor of {sites // fields} sites, found {step}; choose one")
    turns = [-turn % step if backwards else turn for turn in range(step)]
    return at_sites([_every(step, sites, turn, fields) for turn in turns], sites)


def _every(step, sites, start, fields):
    step, start = _arrays.count(step, "step"), _arrays.count(start, "start", 0)
    sites, fields = _arrays.count(sites, "sites"), _arrays.count(fields, "fields")
    ring, rest = divmod(sites, fields)
    if rest:
        raise ValueError(f"fields: expected a divisor of {sites} sites, found {fields}; a state holds them in turn")
    if start >= ring:
        raise ValueError(f"start: expected a site 0..{ring - 1}, found {start}; count sites from 0")
    _require_memory(sites)
    own = np.arange(start, ring, step)
    return np.concatenate([own + field * ring for field in range(fields)])


def random_sites(number, sites, times, rng) -> ObservationOperator:
    """`number` different sites at each of so many times, drawn anew."""
    number, sites = _arrays.count(number, "number"), _arrays.count(sites, "sites")
    if number > sites:
        raise ValueError(f"number: expected at most the {sites} sites of a state, found {number}; take fewer")
    shape = _arrays.count(times, "times"), sites
    _require_memory(math.prod(shape))
    order = np.argsort(generator(rng).random(shape), axis=-1, kind="stable")
    return at_sites(np.sort(order[:, :number], axis=-1), sites)


def _require_memory(indices):
    _arrays.require_memory(8 * indices, "sites", "take fewer")


def linear(matrix) -> ObservationOperator:
    """A matrix (n, site), or (time, n, site) if it changes."""
    matrix = _arrays.finite(_arrays.floating(matrix, "matrix"), "matrix")
    if matrix.ndim not in (2, 3) or 0 in matrix.shape:
        raise ValueError(
            f"matrix: expected shape (n, site) or (time, n, site), found {matrix.shape}; a row for each one"
        )
    matrix = matrix if matrix.ndim == 3 else matrix[None]
    return ObservationOperator(matrix.shape[-1], np.broadcast_to(np.arange(matrix.shape[-1]), matrix.shape), matrix)


def interpolation(places, sites) -> ObservationOperator:
    """Linear interpolation on the ring, at places (n,) between 0 and the number of sites."""
    places = _arrays.finite(_arrays.floating(places, "places"), "places")
    if places.ndim != 1 or not len(places):
        raise ValueError(f"places: expected shape (n,), found {places.shape}; pass a list of numbers")
    sites = _arrays.count(sites, "sites")
    outside = (places < 0) | (places >= sites)
    if outside.any():
        raise ValueError(f"places: expected numbers from 0 to below {sites}, found {places[outside][0]:g}; on the ring")
    left = np.floor(places).astype(int)
    share = places - left
    return ObservationOperator(
        sites, np.stack([left, (left + 1) % sites], axis=-1)[None], np.stack([1 - share, share], axis=-1)[None]
    )
