"""Models on a ring: Lorenz-96 and its relatives, Kuramoto-Sivashinsky, and any other made of three small functions.

A model knows its tendency dx/dt and its derivatives; `l96kit.Propagator` steps it through time.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from types import MappingProxyType, SimpleNamespace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from l96kit import _arrays
from l96kit._objects import Settings
from l96kit.kernels import exponential, kuramoto_sivashinsky, lorenz63, lorenz96, spectral, vissio_lucarini
from l96kit.kernels import launch as kernels
from l96kit.kernels._fingerprint import fingerprint, frozen
from l96kit.kernels.dynamics import is_spectral
from l96kit.kernels.layers import Row
from l96kit.kernels.runge_kutta import SCHEMES
from l96kit.kernels.tile import fields_of

SMALLEST_RING = 4


class Model(Settings):
    """What all models share. Subclasses give `kernel`, `sites` and `parameters`.

    kernel : the functions `tendency`, `tendency_tl`, `tendency_ad` of one site, with NAME, REACH and PARAMETERS
    sites : length of the state: that of the ring, times the number of fields
    parameters : dict of name -> number, (site of the ring,) or (..., site of the ring), broadcast over the ensemble
    """

    @property
    def fields(self) -> int:
        """How many numbers there are at a site of the ring; a state holds those of the first field, then the next."""
        return fields_of(self.kernel)

    @property
    def is_local(self) -> bool:
        """Whether dx/dt at a site is a function of its neighbourhood alone."""
        return self.network is None and not is_spectral(self.kernel)

    @property
    def ring(self) -> int:
        """How many sites the ring has."""
        return self.sites // self.fields

    def tendency(self, x, out=None):
        """dx/dt of an ensemble.

        Parameters
        ----------
        x : (..., site) float32 or float64, dimensionless
        out : array like x, optional; may be x itself

        Returns
        -------
        (..., site), per time unit
        """
        x, p = self._checked(x)
        out = _arrays.output(out, x.shape, x.dtype)
        y = np.empty_like(_arrays.members(x))
        self._launch("tendency", (_arrays.members(x), p, y), 1)
        out[...] = y.reshape(x.shape)
        return out

    def tendency_tl(self, x, x_tl, parameters_tl=None):
        """The derivative of `tendency` at x in the direction x_tl (and of the parameters: dict of name -> change).

        x : (..., site); x_tl : (..., site), of the same precision, broadcast against x. Returns the broadcast shape.
        """
        x, x_tl = self._pair(x, x_tl, "x_tl")
        p, p_tl = self.parameter_pair(parameters_tl, x.shape, x.dtype, dt=None)
        y_tl = np.empty_like(_arrays.members(x))
        self._launch("tendency_tl", (_arrays.members(x), p, _arrays.members(x_tl), p_tl, y_tl), 1)
        return y_tl.reshape(x.shape)

    def tendency_ad(self, x, y_ad):
        """The transpose of `tendency_tl`: y_ad (..., site) to x_ad (..., site) and a dict of name -> gradient.

        A gradient is shaped as the parameter.
        """
        x, y_ad = self._pair(x, y_ad, "y_ad")
        p = self.kernel_parameters(x.shape, x.dtype, dt=None)
        x_ad = np.zeros_like(_arrays.members(x))
        p_ad = kernels.zero_gradients(self.kernel, p, *x_ad.shape, x.dtype)
        self._launch("tendency_ad", (_arrays.members(x), p, _arrays.members(y_ad), x_ad, p_ad), 2)
        return x_ad.reshape(x.shape), self.parameter_gradients(p_ad, x.shape)

    def jacobian(self, x):
        """The matrices d(dx_i/dt)/dx_j at x (..., site): (..., site, site), per time unit."""
        x = self._state(x)
        _arrays.require_memory(x.nbytes * self.sites, "jacobian", "take products with tangents instead")
        directions = np.eye(self.sites, dtype=x.dtype).reshape(self.sites, *(1,) * (x.ndim - 1), self.sites)
        return np.moveaxis(self.tendency_tl(x, directions), 0, -1)

    @property
    def sight(self) -> tuple:
        """How many sites to the left and to the right dx/dt depends on."""
        return (self.kernel.REACH,) * 2

    schemes = tuple(SCHEMES)  # that can step it through time
    usual_scheme = "rk4"

    # --- parameters, for the propagators also ----------------------------------------------------------------------

    network = None  # that is part of the model; then "weights" is one of the parameters

    @property
    def _site_parameters(self):
        return {name: value for name, value in self.parameters.items() if self.network is None or name != "weights"}

    @property
    def _weights(self):
        return None if self.network is None else self.parameters["weights"]

    def kernel_parameters(self, shape, dtype, dt):
        """All parameters for an ensemble of the given shape, as `kernels.dynamics` has them, and what a model may need
        of its steps of `dt`; None stands for no step at all.
        """
        own = self._site_parameters
        fields = _arrays.parameter_fields(own.values(), own, self._of_one_field(shape), dtype)
        return self._with_weights(fields, self._weights, dtype)

    def _with_weights(self, fields, weights, dtype):
        """`weights` None stands for no network, or for no change of its weights."""
        program = np.zeros((0, len(Row._fields)), np.int64) if self.network is None else self.network.program
        weights = np.zeros(0) if weights is None else weights
        return fields, program, _arrays.in_precision(weights, "weights", dtype)

    def parameter_pair(self, parameters_tl, shape, dtype, dt):
        """The parameters and their changes, both in the same form."""
        own, changes = self._site_parameters, dict.fromkeys(self.parameters, 0.0)
        for name, change in _arrays.mapping({} if parameters_tl is None else parameters_tl, "parameters_tl").items():
            _arrays.one_of(name, tuple(changes), "parameters_tl")
            changes[name] = _arrays.real(change, name)
        own_tl = [changes[name] for name in own]
        uniform = _arrays.is_uniform([*own.values(), *own_tl])
        fields, fields_tl = (
            _arrays.parameter_fields(values, own, self._of_one_field(shape), dtype, uniform)
            for values in (own.values(), own_tl)
        )
        weights_tl = None
        if self.network is not None and "weights" in (parameters_tl or ()):
            weights_tl = self.network.checked_weights(changes["weights"])
        return (
            self._with_weights(fields, self._weights, dtype),
            self._with_weights(fields_tl, weights_tl, dtype),
        )

    def parameter_gradients(self, p_ad, shape):
        """What a kernel added up for an ensemble of `shape` as arrays like the parameters themselves."""
        fields_ad, weights_ad = p_ad
        shape = self._of_one_field(shape)
        gradients = {
            name: _arrays.unbroadcast(gradient, shape, np.shape(value))
            for (name, value), gradient in zip(self._site_parameters.items(), fields_ad)
        }
        return gradients if self.network is None else {**gradients, "weights": _arrays.total(weights_ad, axis=0)}

    def _settle_parameters(self):
        """Keep copies of parameters that are fields of the model itself."""
        checked = {name: _arrays.parameter_alone(value, name, self.ring) for name, value in self.parameters.items()}
        _arrays.settle(self, **checked)

    def _of_one_field(self, shape):
        """(..., site of the ring) for an ensemble of `shape`; parameters belong to the sites of the ring."""
        return *shape[:-1], shape[-1] // self.fields

    # --- in between ------------------------------------------------------------------------------------------------

    def _state(self, x):
        return _arrays.state(x, self.sites)

    def _checked(self, x):
        x = self._state(x)
        return x, self.kernel_parameters(x.shape, x.dtype, dt=None)

    def _pair(self, x, other, name):
        x = self._state(x)
        other = _arrays.state(other, self.sites, name, x.dtype)
        return _arrays.broadcast(x, other, name)

    def _launch(self, op, data, outputs):
        kernels.launch(op, self.kernel, "euler", data, outputs, 1)


@dataclass(frozen=True, eq=False, repr=False)
class Lorenz96(Model):
    """The one-level Lorenz-96 model on a ring of K sites,

        dx_k/dt = (x_{k+1} - x_{k-2}) x_{k-1} - x_k + F_k,

    with a forcing F that is one number, one a site (site,), or one a member and site (..., site). All quantities are
    dimensionless; one time unit stands for five days.

    Source: Lorenz (1996), eq. 1.

    Raises
    ------
    ValueError
        K < 4, or F that is not finite.
    """

    K: int = 40
    F: Any = 8.0
    kernel = lorenz96

    def __post_init__(self):
        _arrays.settle(self, K=_arrays.count(self.K, "K", SMALLEST_RING))
        self._settle_parameters()

    @property
    def sites(self) -> int:
        return self.K

    @property
    def parameters(self) -> dict:
        return {"F": self.F}


@dataclass(frozen=True, eq=False, repr=False)
class VissioLucarini20(Model):
    """The Lorenz-96 model with temperature, on a ring of K sites,

        dX_k/dt     = X_{k-1} (X_{k+1} - X_{k-2}) - alpha theta_k - gamma X_k + F_k,
        dtheta_k/dt = X_{k+1} theta_{k+2} - X_{k-1} theta_{k-2} + alpha X_k - gamma theta_k + G_k.

    A state is (2 K,): X_1..X_K, then theta_1..theta_K. Each parameter is one number, one a site (K,), or one a member
    and site (..., K). All quantities are dimensionless.

    Source: Vissio & Lucarini (2020), eqs. 3 and 4.

    Raises
    ------
    ValueError
        K < 4, or a parameter that is not finite.
    """

    K: int = 36
    F: Any = 10.0
    G: Any = 10.0
    alpha: Any = 1.0
    gamma: Any = 1.0
    kernel = vissio_lucarini

    def __post_init__(self):
        _arrays.settle(self, K=_arrays.count(self.K, "K", SMALLEST_RING))
        self._settle_parameters()

    @property
    def sites(self) -> int:
        return 2 * self.K

    @property
    def parameters(self) -> dict:
        return {"F": self.F, "G": self.G, "alpha": self.alpha, "gamma": self.gamma}


@dataclass(frozen=True, eq=False, repr=False)
class Lorenz63(Model):
    """The three equations of Lorenz (1963),

        dx/dt = sigma (y - x),    dy/dt = rho x - y - x z,    dz/dt = x y - beta z.

    A state is (3,): x, y, z. Each parameter is one number, or one a member (..., 1). All quantities are dimensionless.

    Source: Lorenz (1963), eqs. 25 to 27.
    """

    sigma: Any = 10.0
    rho: Any = 28.0
    beta: Any = 8 / 3
    kernel = lorenz63
    sites = 3

    def __post_init__(self):
        self._settle_parameters()

    @property
    def parameters(self) -> dict:
        return {"sigma": self.sigma, "rho": self.rho, "beta": self.beta}


@dataclass(frozen=True, eq=False, repr=False)
class KuramotoSivashinsky(Model):
    """The Kuramoto-Sivashinsky equation,

        du/dt = -u u_x - u_xx - u_xxxx,    periodic in x, u real and dimensionless,

    at `sites` places of a domain of dimensionless `length`, by Fourier transforms. The Nyquist mode counts as having no
    derivative: with the mean it is neutral, nothing damps what is put into it. Terms are not dealiased.

    The scheme for it is "etdrk4" (with dt = 0.5 in the setting of 128 sites), which solves the linear part exactly;
    explicit schemes need steps below 2.8 / q^4, with q = pi sites / length the largest wavenumber.

    Source: Kassam & Trefethen (2005), section 4.

    Raises
    ------
    ValueError
        an odd number of sites, or fewer than 16; length <= 0
    """

    sites: int = 128
    length: float = 32 * np.pi
    kernel = kuramoto_sivashinsky
    parameters = MappingProxyType({})
    schemes = (*SCHEMES, *exponential.SCHEMES)
    usual_scheme = "etdrk4"

    def __post_init__(self):
        sites = _arrays.count(self.sites, "sites", 16)
        if sites % 2:
            raise ValueError(f"sites: expected an even number, found {sites}; take one more or one less")
        _arrays.settle(self, sites=sites, length=_arrays.positive(self.length, "length"))

    @property
    def sight(self) -> tuple:
        return (self.sites,) * 2

    def kernel_parameters(self, shape, dtype, dt):
        fields = np.zeros((0, 1, 1), dtype)
        linear, turning = kuramoto_sivashinsky.symbols(self.sites, self.length)
        numbers = exponential.coefficients(linear, turning, dt), spectral.roots_of_unity(self.sites)
        return fields, spectral.plan(self.sites), _arrays.in_precision(np.concatenate(numbers), "length", dtype)

    def parameter_pair(self, parameters_tl, shape, dtype, dt):
        for name in _arrays.mapping({} if parameters_tl is None else parameters_tl, "parameters_tl"):
            raise ValueError(
                f"parameters_tl: expected no names, found {_arrays.shown(name)}; this model has no parameters to change"
            )
        p = self.kernel_parameters(shape, dtype, dt)
        return p, p


@dataclass(frozen=True, eq=False, repr=False)
class StencilModel(Model):
    """A model of your own on a ring, made of three functions of one site; it then has everything that Lorenz-96 has.

    Each function sees a window of the ring: `x[0]` is the value at this site, `x[1]` at its right and `x[-1]` at its
    left neighbour, up to `reach` sites away. `p` holds one such window for each parameter, in their order.

    at_site(x, p) -> dx/dt at this site
    at_site_tl(x, p, x_tl, p_tl) -> the change of dx/dt at this site
    at_site_ad(x, p, y_ad) -> (x_ad, p_ad): with y_ad the adjoint of dx/dt, all that comes back to x[0] from every
        site that depends on it, and a tuple of what comes back to each parameter at this site

    With several `fields`, x, x_tl, y_ad, dx/dt and x_ad are tuples, one entry a field.

    They are compiled by Numba for CPU and CUDA and must be plain arithmetic (and `math`). What they use from outside
    (numbers, tuples, enumerations, arrays, other functions) stays what it is when the model is made. Check them with
    `l96kit.checks.check_model`.

    Parameters
    ----------
    sites : length of the state: of the ring, which is at least 4 and at least `reach`, times `fields`
    reach : how far the functions look, the adjoint included, in sites
    parameters : dict of name -> number, (site of the ring,) or (..., site of the ring)
    name : appears in messages and tables
    fields : how many numbers there are at a site; a state holds all those of the first field, then the next

    The adjoint is in gather form: it needs no locks and gives the same bits for any number of threads.
    """

    at_site: Callable
    at_site_tl: Callable
    at_site_ad: Callable
    sites: int
    reach: int = 2
    parameters: Mapping[str, Any] = field(default_factory=dict)
    name: str = "stencil model"
    fields: int = 1

    def __post_init__(self):
        for which, arguments in _SITE_FUNCTIONS.items():
            function = getattr(self, which)
            if not inspect.isfunction(function):
                raise TypeError(
                    f"{which}: expected a Python function of ({', '.join(arguments)}), found "
                    f"{type(function).__name__}; write it with def"
                )
            found = tuple(inspect.signature(function).parameters)
            if len(found) != len(arguments):
                raise TypeError(
                    f"{which}: expected a function of ({', '.join(arguments)}), found one of ({', '.join(found)}); "
                    "mend its signature"
                )
        reach, fields = _arrays.count(self.reach, "reach"), _arrays.count(self.fields, "fields")
        sites = _arrays.count(self.sites, "sites", fields * max(SMALLEST_RING, reach))
        _arrays.settle(self, reach=reach, fields=fields, sites=sites)
        if self.sites % self.fields:
            raise ValueError(
                f"sites: expected a multiple of fields = {self.fields}, found {self.sites}; it is the length of the "
                "whole state"
            )
        _arrays.text(self.name, "name", "it appears in messages and tables")
        parameters = _arrays.mapping(self.parameters, "parameters")
        for name in parameters:
            _arrays.text(name, "parameters", "each has a name")
        checked = {name: _arrays.parameter_alone(value, name, sites // fields) for name, value in parameters.items()}
        _arrays.settle(self, parameters=checked)
        self._try_functions()
        self.kernel  # noqa: B018  what the functions use is taken as it is now

    def _made_of(self):
        return self.kernel.NAME, self.sites, self.parameters, self.name

    def _fingerprint(self):
        return self.kernel.NAME

    def _try_functions(self):
        """Call the functions with numbers, so that a mistake is named here and not in the compiler's words."""
        for scale in _TRIALS:
            self._try_functions_at(_Window(scale * np.linspace(0.6, 1.4, 2 * self.reach + 1)))

    def _try_functions_at(self, window):
        p, count = (window,) * len(self.parameters), len(self.parameters)
        x = window if self.fields == 1 else (window,) * self.fields
        results = {
            "at_site": self._try("at_site", x, p),
            "at_site_tl": self._try("at_site_tl", x, p, x, p),
            "at_site_ad": self._try("at_site_ad", x, p, x),
        }
        for which, result in results.items():
            if result is _UNKNOWN:
                continue
            expected = "one number" if self.fields == 1 else f"a tuple of {self.fields}, one for each field"
            if which == "at_site_ad":
                expected += f", and a tuple of {count}, one for each parameter"
                pair = isinstance(result, tuple) and len(result) == 2
                fits = pair and self._is_slope(result[0]) and _is_tuple(result[1], count)
            else:
                fits = self._is_slope(result)
            if not fits:
                raise TypeError(
                    f"{which}: expected it to return {expected}, found {_arrays.shown(result)}; mend what it "
                    "returns"
                )

    def _try(self, which, *arguments):
        try:
            return getattr(self, which)(*arguments)
        except (IndexError, ValueError) as problem:
            if isinstance(problem, IndexError) or "unpack" in str(problem):
                raise ValueError(
                    f"{which}: expected it to look at most reach = {self.reach} sites away and at "
                    f"{len(self.parameters)} parameters, found {problem}; raise `reach`, mend the index or name the "
                    "parameters"
                ) from None
            return _UNKNOWN
        except ArithmeticError:
            return _UNKNOWN
        except Exception as problem:
            raise TypeError(
                f"{which}: expected plain arithmetic, found that it raises {problem!r}; x and each parameter in p are "
                "windows of numbers, and p is a tuple of them even if there is one: (r,) = p, then r[0] at this site"
            ) from None

    def _is_slope(self, result):
        return _is_number(result) if self.fields == 1 else _is_tuple(result, self.fields)

    @cached_property
    def kernel(self):
        functions = self.at_site, self.at_site_tl, self.at_site_ad
        return _kernel(functions, self.reach, tuple(self.parameters), self.fields)


_SITE_FUNCTIONS = {
    "at_site": ("x", "p"),
    "at_site_tl": ("x", "p", "x_tl", "p_tl"),
    "at_site_ad": ("x", "p", "y_ad"),
}


_TRIALS = (0.5, -0.5, 3.0, -3.0, 30.0, -30.0)  # whatever a function asks of its numbers, some have it


class _Window(tuple):
    """Numbers round a site, as the compiled functions see them, that tell when one looks beyond."""

    def __getitem__(self, index):
        if not isinstance(index, int) or abs(index) > len(self) // 2:
            raise IndexError(f"x[{index}]")
        return super().__getitem__(index)


_UNKNOWN = object()  # a result that was not obtained: the trial numbers may be outside of what a model is made for


def _is_number(value):
    return isinstance(value, Real)


def _is_tuple(value, count):
    return isinstance(value, tuple) and len(value) == count and all(map(_is_number, value))


class _SiteKernel(SimpleNamespace):
    """What a module such as `kernels.lorenz96` holds."""

    __hash__ = object.__hash__


_kernels = WeakValueDictionary()  # by what makes them; the same kernel is compiled once


def _kernel(functions, reach, parameters, fields):
    """The kernel of a user's functions, as they are now, the same for every model that is made of them."""
    functions = tendency, tendency_tl, tendency_ad = tuple(map(frozen, functions, _SITE_FUNCTIONS))
    made_of = fingerprint(*functions)
    kernel = _SiteKernel(
        NAME=f"user-{made_of}-{reach}-{len(parameters)}-{fields}",
        MADE_OF=((made_of, functions),),
        REACH=reach,
        FIELDS=fields,
        PARAMETERS=parameters,
        tendency=tendency,
        tendency_tl=tendency_tl,
        tendency_ad=tendency_ad,
    )
    return _kernels.setdefault((made_of, reach, parameters, fields), kernel)
