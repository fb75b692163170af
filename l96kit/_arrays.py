"""The border: what comes in is checked and brought into the form of the kernels, what goes out into the user's."""

import math
import operator
import os
import reprlib
import sys
from collections.abc import Mapping
from functools import cache

import numpy as np

PRECISIONS = (np.dtype("float32"), np.dtype("float64"))
MOST = 2**62  # whole numbers beyond are mistakes


def settle(record, **checked):
    """Give a frozen record what was checked, in place of what came."""
    for name, value in checked.items():
        object.__setattr__(record, name, value)


def kept(values):
    """A copy of numbers that nobody can change: one of Python's for a single one."""
    found = np.array(values)
    if not found.ndim:
        return found.item()
    found.flags.writeable = False
    return found


class _Shown(reprlib.Repr):
    """A short `repr`, on one line."""

    maxstring = maxother = 60

    def repr1(self, x, level):
        try:
            return " ".join(super().repr1(x, level).split())
        except Exception:  # an object's own, or an int of too many digits
            return f"a value of type {type(x).__name__}"


shown = _Shown().repr


# --- arrays ---------------------------------------------------------------------------------------------------------


def on_device(x):
    """Whether x lies on a GPU."""
    return hasattr(x, "__cuda_array_interface__")


def array(x, name):
    """x as a plain NumPy array. Masks are refused, since they would be lost."""
    if type(x) is np.ndarray:
        return x
    if on_device(x):
        raise TypeError(
            f"{name}: expected an array in main memory, found one on a GPU; take Propagator(..., device='cuda'), or "
            "copy it back first"
        )
    if _is_masked(x):
        raise ValueError(
            f"{name}: expected a number everywhere, found masked ones; fill them first with what they stand for, or "
            "leave that part out"
        )
    try:
        return np.asarray(x)
    except ValueError as problem:
        raise ValueError(
            f"{name}: expected an array, found something of no regular shape ({problem}); give all rows one length"
        ) from None
    except Exception as problem:  # whatever an array of another library raises
        raise TypeError(
            f"{name}: expected an array, found {type(x).__name__} that NumPy cannot read ({problem}); convert it first"
        ) from None


def _is_masked(x):
    if isinstance(x, (list, tuple)):
        return any(map(_is_masked, x))
    return isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x)


def kind(x):
    """What an array is of, for a message; the type of what NumPy could only wrap, such as None or a sparse matrix."""
    return x.dtype if x.ndim or x.dtype != object else type(x.item()).__name__


def real(x, name):
    """Real numbers of any type in double precision; single precision stays what it is."""
    x = array(x, name)
    if x.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected real numbers, found {kind(x)}; pass a float or an array of floats")
    return x if x.dtype in PRECISIONS else x.astype(float)


def floating(x, name, device=False):
    """x as an array in single or double precision; anything else is refused, never converted behind the user's back.

    device : whether it is one of Numba's on a GPU
    """
    x = x if device else array(x, name)
    if x.dtype not in PRECISIONS:
        raise TypeError(
            f"{name}: expected float32 or float64, found {kind(x)}; convert it first"
            + (f", for example {name}.astype(float)" if np.dtype(x.dtype).kind in "biuf" else " to real numbers")
        )
    return x


def precision(dtype, name="dtype"):
    """Single or double precision, by any of their names."""
    try:
        found = np.dtype(dtype) if isinstance(dtype, (str, type, np.dtype)) else None
    except Exception:  # a string may be anything
        found = None
    if found is None or found not in PRECISIONS:
        raise TypeError(f"{name}: expected float32 or float64, found {shown(dtype)}; name one of them")
    return found


def finite(x, name):
    if not on_device(x) and not np.isfinite(x).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        place = f" at index {where}" if where else ""
        raise ValueError(
            f"{name}: expected finite numbers, found {x[where]}{place}; mend the data or leave that part out"
        )
    return x


def state(x, sites, name="x", dtype=None, device=False):
    """Check an ensemble (..., site) and return it as it is."""
    x = floating(x, name, device)
    if len(x.shape) == 0 or x.shape[-1] != sites:
        raise ValueError(
            f"{name}: expected shape (..., {sites}), one number for each site in the last axis, found "
            f"{tuple(x.shape)}; build the model with the size of your data or transpose the array"
        )
    if 0 in x.shape:
        raise ValueError(f"{name}: expected at least one member, found shape {tuple(x.shape)}; the ensemble is empty")
    if dtype is not None and x.dtype != dtype:
        raise TypeError(
            f"{name}: expected {np.dtype(dtype)} as the other arrays, found {kind(x)}; use "
            f"{name}.astype('{np.dtype(dtype)}')"
        )
    return finite(x, name)


def broadcast(x, other, name, of="x"):
    """x and another array of that name in the shape that both broadcast to."""
    try:
        shape = np.broadcast_shapes(x.shape, other.shape)
    except ValueError:
        raise ValueError(
            f"{name}: expected a shape that broadcasts against {of} {x.shape}, found {other.shape}; "
            "give both the same leading axes"
        ) from None
    return tuple(a if a.shape == shape else np.broadcast_to(a, shape) for a in (x, other))


def last_axis(x, name):
    """How many sites an ensemble (..., site) has."""
    x = floating(x, name)
    if len(x.shape) == 0:
        raise ValueError(
            f"{name}: expected shape (..., site), found a single number; pass an array of one state or more"
        )
    return x.shape[-1]


def plain(x, dtype=None):
    """x as kernels are compiled for: contiguous, aligned and writeable; a read-only one would be compiled for anew."""
    x = np.asarray(x, dtype)
    return x if x.flags.carray else np.array(x, order="C")


def members(x):
    """The array with its leading axes flattened: (member, site), C-contiguous."""
    if on_device(x):
        return x if len(x.shape) == 2 else x.reshape(-1, x.shape[-1])
    return plain(x).reshape(-1, x.shape[-1])


def times(y):
    """A trajectory with its leading axes flattened: (time, member, site), C-contiguous."""
    if on_device(y):
        return y if len(y.shape) == 3 else y.reshape(y.shape[0], -1, y.shape[-1])
    return plain(y).reshape(y.shape[0], -1, y.shape[-1])


def output(out, shape, dtype, name="out"):
    """An array to write to: the user's own if it fits, otherwise a new one."""
    if out is None:
        return _room(shape, dtype)
    if not isinstance(out, np.ndarray) or np.ma.isMaskedArray(out) or out.shape != tuple(shape) or out.dtype != dtype:
        found = f"{out.dtype} {out.shape}" if type(out) is np.ndarray else type(out).__name__
        raise ValueError(
            f"{name}: expected a NumPy array {np.dtype(dtype)} {tuple(shape)}, found {found}; allocate one like it"
        )
    if not out.flags.writeable:
        raise ValueError(f"{name}: expected a writeable array, found a read-only one; pass a copy")
    low, high = np.lib.array_utils.byte_bounds(out)
    if high - low < out.nbytes:
        raise ValueError(f"{name}: expected places of its own for all numbers, found that some share one; pass a copy")
    return out


def _room(shape, dtype):
    wanted = math.prod(map(int, shape)) * np.dtype(dtype).itemsize
    what = wanted, "trajectory", "store fewer times with a larger `every`"
    require_memory(*what)
    try:
        return np.empty(shape, dtype)
    except MemoryError:  # of what there is, this process gets less
        raise _too_little(*what) from None


def require_memory(wanted, name, remedy):
    """Refuse what would take more bytes than there are, before any work: much later it would end the process."""
    if wanted > _memory():
        raise _too_little(wanted, name, remedy)


def _too_little(wanted, name, remedy):
    return MemoryError(f"{name}: expected memory for {wanted / 2**30:.3g} GiB, found too little; {remedy}")


@cache
def _memory():
    """Bytes of this machine, or what a process may address where it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return sys.maxsize


# --- numbers and choices --------------------------------------------------------------------------------------------


def number(value, name, advice):
    """One real number, as Python's."""
    found = array(value, name)
    if found.ndim or found.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected a number, found {shown(value)}; {advice}")
    return float(found)


def positive(value, name, unit=""):
    """A positive finite number."""
    found = number(value, name, f"pass a float{unit}")
    if not 0 < found < math.inf:
        raise ValueError(f"{name}: expected a positive finite number{unit}, found {shown(value)}; choose {name} > 0")
    return found


def not_negative(value, name, meaning):
    """A finite number of at least 0; `meaning` says what 0 does."""
    found = number(value, name, f"0 {meaning}")
    if not 0 <= found < math.inf:
        raise ValueError(f"{name}: expected 0 or more, found {shown(value)}; 0 {meaning}")
    return found


def all_positive(values, name, meaning, or_zero=False):
    """One positive finite number or an array of them, as a copy that nobody can change; `meaning` says what 1 does."""
    found = array(values, name)
    of_what_kind, wanted = "positive numbers", "positive finite numbers"
    if or_zero:
        of_what_kind = wanted = "numbers of 0 or more"
    if found.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected {of_what_kind}, found {shown(values)}; 1 {meaning}")
    found = real(found, name)
    if not (np.isfinite(found) & ((found > 0) | (or_zero & (found == 0)))).all():
        raise ValueError(f"{name}: expected {wanted}, found {shown(values)}; 1 {meaning}")
    return kept(found)


def count(value, name, least=1):
    """A whole number of at least `least`, as Python's."""
    try:
        found = operator.index(None if isinstance(value, (bool, np.ma.MaskedArray)) else value)
    except TypeError:
        raise TypeError(f"{name}: expected a whole number, found {shown(value)}; pass an int") from None
    if found > MOST:
        raise ValueError(f"{name}: expected at most {MOST}, found {shown(found)}; choose a smaller one")
    if found < least:
        raise ValueError(f"{name}: expected at least {least}, found {shown(found)}; choose {name} >= {least}")
    return found


def index(where, lengths, name):
    """Which of the leading axes of those lengths: a whole number or a slice for each, or for the first few."""
    found = where if isinstance(where, tuple) else (where,)
    if len(found) > len(lengths):
        raise IndexError(f"{name}: expected at most {len(lengths)} numbers, found {shown(where)}; leave some out")
    for at, length in zip(found, lengths):
        if not isinstance(at, slice) and not -length <= count(at, name, -MOST) < length:
            raise IndexError(f"{name}: expected a number below {length}, found {shown(at)}; windows count from 0")
    return tuple(at if isinstance(at, slice) else operator.index(at) for at in found)


def flag(value, name, meaning):
    """True or False; `meaning` says what one of them does."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, found {shown(value)}; {meaning}")
    return bool(value)


def instance(value, kind, name, wanted, remedy):
    """What is of a class, or of one of several, that `wanted` names."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected {wanted}, found {type(value).__name__}; {remedy}")
    return value


def function(value, name, arguments):
    """What can be called; `arguments` says with what."""
    if not callable(value):
        raise TypeError(f"{name}: expected a function of {arguments}, found {type(value).__name__}; write one")
    return value


def one_of(value, choices, name):
    """One of some names."""
    if not isinstance(value, str) or value not in choices:
        names = ", ".join(map(repr, choices))
        raise ValueError(f"{name}: expected one of {names}, found {shown(value)}; choose one of them")
    return value


def text(value, name, meaning):
    """A string; `meaning` says where it goes."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a string, found {shown(value)}; {meaning}")
    return value


def mapping(value, name):
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: expected a dict of name -> value, found {type(value).__name__}; pass a dict")
    return value


# --- parameters -----------------------------------------------------------------------------------------------------


def parameter_fields(values, names, shape, dtype, uniform=None):
    """The parameters as the kernels want them: (parameter, 1, 1) if each is one number, else (parameter, member, site).

    `shape` is that of the ensemble, (..., site), which every parameter must broadcast to. Members that share the
    parameters share one row.
    """
    values = [parameter(value, name, shape) for value, name in zip(values, names)]
    if uniform is None:
        uniform = is_uniform(values)
    if uniform:
        return _in_precision(np.array(values).reshape(-1, 1, 1), names, dtype)
    rows = shape if any(value.ndim > 1 for value in values) else shape[-1:]
    fields = [np.broadcast_to(value, rows).reshape(-1, shape[-1]) for value in values]
    return _in_precision(np.stack(fields), names, dtype)


def _in_precision(fields, names, dtype):
    """Parameters (parameter, ...) in the precision of the state."""
    found = np.empty(fields.shape, dtype)
    for index, name in enumerate(names):
        found[index] = in_precision(fields[index], name, dtype)
    return found


def in_precision(values, name, dtype):
    """Numbers in the precision of the state, as kernels take them, NaN where there are none; those that it cannot hold
    are refused."""
    with np.errstate(over="ignore"):
        found = plain(values, dtype)
    if np.isinf(found).any():
        raise ValueError(
            f"{name}: expected numbers within the range of {np.dtype(dtype)}, found {np.nanmax(np.abs(values)):g}; "
            "take smaller ones or float64"
        )
    return found


def parameter(value, name, shape):
    value = real(value, name)
    try:
        fits = not value.ndim or np.broadcast_shapes(value.shape, shape) == tuple(shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: expected a number or a shape that broadcasts to the ensemble {tuple(shape)}, found "
            f"{value.shape}; pass one value, one a site {shape[-1:]} or one a member and site"
        )
    return finite(value, name)


def parameter_alone(value, name, sites):
    """A copy of a parameter, checked before there is an ensemble: every leading axis is taken for one of the
    ensemble's."""
    leading = array(value, name).shape[:-1]
    return kept(parameter(value, name, (*leading, sites)))


def is_uniform(values):
    return all(np.ndim(value) == 0 for value in values)


def unbroadcast(field, ensemble_shape, shape):
    """The transpose of broadcasting a parameter of `shape` over the ensemble: sum what it was copied to."""
    if not shape:
        return total(field)
    if set(shape) == {1}:  # a kernel may have taken it for one number
        return total(field).reshape(shape)
    field = field.reshape(ensemble_shape)
    surplus = field.ndim - len(shape)
    field = total(field, tuple(range(surplus)))
    copied = tuple(axis for axis, length in enumerate(shape) if length == 1)
    return total(field, copied, keepdims=True)


def total(x, axis=None, keepdims=False):
    """The sum, in the precision of x; it is taken in double precision, since a long one in single goes astray."""
    return x.sum(axis=axis, dtype=float, keepdims=keepdims).astype(x.dtype)


def mean(x, axis):
    """The mean, likewise."""
    return x.mean(axis=axis, dtype=float).astype(x.dtype)


def covariance(cov, name):
    """A copy of a covariance, symmetric and positive definite."""
    cov = floating(cov, name)
    cholesky(cov, len(cov) if cov.ndim else 1, name)
    return kept(cov)


def cholesky(cov, n, name):
    """The lower Cholesky factor of a covariance (n, n)."""
    cov = finite(floating(cov, name), name)
    if cov.shape != (n, n) or not n:
        raise ValueError(f"{name}: expected shape ({n or 'n'}, {n or 'n'}), found {cov.shape}; give one row for each")
    if not np.allclose(cov, cov.T, rtol=0, atol=1e-6 * np.abs(cov).max()):
        raise ValueError(f"{name}: expected a symmetric matrix, found one that is not; take (C + C.T) / 2")
    try:
        return np.linalg.cholesky(cov)
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(cov)[0]
        raise ValueError(
            f"{name}: expected a positive definite matrix, found its smallest eigenvalue {smallest:.3g}; "
            "add a small variance to its diagonal"
        ) from None
