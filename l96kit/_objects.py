"""What settings and results have in common: how they compare, how they are shown, how they go to other processes."""

import inspect
import pickle
import sys
from collections.abc import Mapping
from dataclasses import fields

import numpy as np

FEW = 4  # numbers of an array that are shown one by one


class Settings:
    """Of a frozen dataclass that says what is to be done: equal if all that it was made of is, arrays number by number.

    Pickle sends what it was made of, and it is made anew from that, with all checks.
    """

    def _made_of(self):
        """What tells it from others, beyond its type: by default all fields."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def _key(self):
        return type(self), _key(self._made_of())

    def __eq__(self, other):
        return self._key() == other._key() if type(other) is type(self) else NotImplemented

    def __hash__(self):
        return hash(self._key())

    def __repr__(self):
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.repr}
        shown = (f"{name}={_shown(value)}" for name, value in given.items() if value is not None)
        return f"{type(self).__name__}({', '.join(shown)})"

    def __copy__(self):
        return self  # nobody can change it

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in given.items():
            if inspect.isfunction(value):
                _check_name(value, name)
            elif isinstance(value, Mapping):
                given[name] = dict(value)
        return _made_anew, (type(self), given, self._fingerprint())

    def _fingerprint(self):
        """Of functions, which pickle sends as names: other functions may have these where they arrive."""
        return None


def _made_anew(kind, given, fingerprint):
    found = kind(**given)
    if found._fingerprint() != fingerprint:
        raise pickle.UnpicklingError(
            f"{kind.__name__}: expected functions as they were when it was pickled, found that they, or values that "
            "they use, are others here; use the same modules in both places"
        )
    return found


def _check_name(function, name):
    """Refuse what pickle cannot send; cloudpickle, if somebody uses it, can."""
    found = sys.modules.get(function.__module__)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not function and "cloudpickle" not in sys.modules:
        raise pickle.PicklingError(
            f"{name}: expected a function that a module has under its name, found {function.__qualname__}, which "
            "pickle cannot send to another process; write it with def at the top of a module"
        )


def _key(value):
    """Something that is equal, and has the same hash, for values that mean the same."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.item() if value.ndim == 0 else (value.shape, _bytes(value))
    if isinstance(value, Mapping):
        return tuple((name, _key(item)) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(map(_key, value))
    return value


def _bytes(numbers):
    """The same for all precisions that hold the numbers, for both zeros, and for all NaN."""
    numbers = numbers.astype(float) + 0.0
    return np.where(np.isnan(numbers), np.nan, numbers).tobytes()


def _shown(value):
    if isinstance(value, np.ndarray) and value.size > FEW:
        return f"array {value.shape}"
    if isinstance(value, (np.ndarray, np.generic)):
        return repr(value.tolist())
    if inspect.isfunction(value):
        return value.__qualname__
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name!r}: {_shown(item)}" for name, item in value.items()) + "}"
    return repr(value)


class Result:
    """Of a dataclass that says what was found: shown with the shape of each array and what its numbers are like."""

    def __repr__(self):
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.repr}
        lines = (f"  {name} {_summary(value)}\n" for name, value in found.items() if value is not None)
        return f"{type(self).__name__}(\n{''.join(lines)})"


def _summary(value):
    if not isinstance(value, (np.ndarray, np.generic)):
        return _shown(value)
    shape = f"{value.shape}: " if value.ndim else ""
    if value.size <= FEW:
        return shape + np.array2string(np.asarray(value), precision=6, separator=", ")
    if value.dtype == bool:
        return f"{shape}{value.sum()} of {value.size} true"
    known = value[np.isfinite(value)]
    if not known.size:
        return f"{shape}nothing finite"
    more = f", {value.size - known.size} not finite" if known.size < value.size else ""
    return f"{shape}{known.min():.4g} to {known.max():.4g}, mean {known.mean(dtype=float):.4g}{more}"
