"""Values that a public function may be handed in place of a good one.

`forms` are the same numbers in other clothes: a function takes them, and finds what it finds of a plain array, or
refuses them in words. `junk` is anything else.
"""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np


class OnDevice:
    """What looks like an array on a GPU."""

    dtype, shape, ndim, size = np.dtype(float), (4, 9), 2, 36
    __cuda_array_interface__ = {"shape": shape, "typestr": "<f8", "data": (0, False), "version": 3}


class Unreadable:
    """An array of a library that does not give it to NumPy."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("call .detach() first")


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no repr")


class ArrayLike:
    """An array of another library."""

    def __init__(self, numbers):
        self.numbers = numbers

    def __array__(self, dtype=None, copy=None):
        return np.array(self.numbers, dtype)


def forms(good):
    """name -> the same numbers as those of an array, a tuple of numbers, or a number; none of anything else."""
    if isinstance(good, bool) or not _is_numeric(good):
        return {}
    return _forms_of_a_number(good) if np.ndim(good) == 0 else _forms_of_an_array(np.asarray(good))


def _is_numeric(good):
    if isinstance(good, (tuple, list)):
        return bool(good) and all(isinstance(one, (int, float)) for one in good)
    return isinstance(good, (int, float, np.ndarray))


def _forms_of_a_number(good):
    import xarray as xr

    found = {
        "0-d array": np.array(good),
        "0-d masked nowhere": np.ma.array(good),
        "DataArray": xr.DataArray(good),
        "object": np.array(good, object),
        "array-like": ArrayLike(good),
        "Fraction": Fraction(good),
        "Decimal": Decimal(good),
        "long double": np.longdouble(good),
        "float32": np.float32(good),
        "int8": np.int8(good),
        "uint8": np.uint8(abs(int(good))),
        "uint64": np.uint64(abs(int(good))),
    }
    return found


def _forms_of_an_array(good):
    import pandas as pd
    import xarray as xr

    whole = np.rint(good)
    found = {
        "list": good.tolist(),
        "tuple": tuple(good.tolist()),
        "list of arrays": list(good),
        "Fortran order": np.asfortranarray(good),
        "strided": np.repeat(good, 2, axis=-1)[..., ::2],
        "backwards": good[..., ::-1].copy()[..., ::-1],
        "read-only": _read_only(good),
        "unaligned": _unaligned(good),
        "other byte order": good.astype(good.dtype.newbyteorder()),
        "masked nowhere": np.ma.array(good),
        "DataArray": xr.DataArray(good),
        "array-like": ArrayLike(good),
        "objects": good.astype(object),
        "long double": good.astype(np.longdouble),
        "float32": good.astype(np.float32),
        "float16": good.astype(np.float16),
        "int16": whole.astype(np.int16),
        "uint8": np.abs(whole).astype(np.uint8),
        "uint64": np.abs(whole).astype(np.uint64),
        "matrix": np.asmatrix(good) if good.ndim <= 2 else good,
    }
    if good.ndim <= 2:
        found["data frame"] = pd.DataFrame(good) if good.ndim == 2 else pd.Series(good)
    return found


def _read_only(good):
    copy = good.copy()
    copy.flags.writeable = False
    return copy


def _unaligned(good):
    view = np.zeros(good.nbytes + 1, np.uint8)[1:].view(good.dtype).reshape(good.shape)
    view[...] = good
    return view


def masked(good):
    """name -> numbers some of which are masked; they may never be taken for numbers."""
    found = {"masked": np.ma.masked, "masked number": np.ma.array(3, mask=True), "in a list": [np.ma.masked, 1.0]}
    if isinstance(good, np.ndarray) and good.ndim:
        mask = np.zeros(good.shape, bool)
        mask[..., 0] = True
        array = np.ma.array(good, mask=mask)
        found |= {"masked array": array, "list of masked": list(array), "all masked": np.ma.masked_all(good.shape)}
    return found


def junk(good):
    """name -> what is not meant; some of it may be an argument all the same."""
    found = {
        "None": None,
        "text": "text",
        "empty text": "",
        "NUL": "a\0b",
        "text of NumPy": np.str_("text"),
        "bytes": b"text",
        "True": True,
        "False": False,
        "NaN": np.nan,
        "infinity": np.inf,
        "minus infinity": -np.inf,
        "0": 0,
        "-1": -1,
        "0.5": 0.5,
        "1": 1,
        "2.0": 2.0,
        "-0.0": -0.0,
        "tiny": 5e-324,
        "large": 1e308,
        "complex": 1j,
        "huge": 2**61,
        "more than 64 bits": 10**30,
        "less than 64 bits": -(10**30),
        "thousands of digits": 10**5000,
        "empty list": [],
        "empty tuple": (),
        "empty dict": {},
        "dict": {"a": 1},
        "dict of numbers": {1: 2.0},
        "set": {1, 2},
        "object": object(),
        "unprintable": Unprintable(),
        "function": lambda *arguments: None,
        "class": dict,
        "module": np,
        "Ellipsis": ...,
        "slice": slice(None),
        "date": datetime.date(2000, 1, 1),
        "iterator": iter([1.0]),
        "range": range(3),
        "ragged": [[1.0, 2.0], [3.0]],
        "ragged arrays": [np.zeros((2, 3)), np.zeros((2, 2))],
        "list of None": [None, None],
        "list of text": ["a", "b"],
        "empty array": np.array([]),
        "no rows": np.zeros((0, 9)),
        "no columns": np.zeros((4, 0)),
        "array": np.arange(3.0),
        "square": np.ones((9, 9)),
        "many axes": np.ones((2, 1, 2, 1, 9)),
        "array of text": np.array(["a", "b"]),
        "dates": np.array(["2000-01-01"], "datetime64[D]"),
        "times": np.ones(9, "timedelta64[s]"),
        "record": np.zeros(9, [("a", float)]),
        "complex array": np.ones((4, 9), complex),
        "booleans": np.ones((4, 9), bool),
        "objects": np.array([object()] * 9),
        "on a GPU": OnDevice(),
        "unreadable": Unreadable(),
        "a generator": np.random.default_rng(0),
        "a legacy generator": np.random.RandomState(0),
    }
    if isinstance(good, np.ndarray) and good.ndim:
        found |= {
            "with NaN": _with(good, np.nan),
            "with infinity": _with(good, np.inf),
            "enormous": good * 1e200,
            "minute": good * 1e-200,
            "zeros": 0 * good,
            "one column more": np.concatenate([good, good[..., :1]], axis=-1),
            "one row": good[:1],
            "one axis more": good[None],
            "transposed": good.T,
            "broadcast": np.broadcast_to(good[:1], good.shape),
            "one number for all": np.broadcast_to(good.flat[0], good.shape),
        }
    if isinstance(good, dict):
        found |= {f"dict of {name}": dict.fromkeys(good, value) for name, value in list(found.items())}
    return found


def _with(good, number):
    copy = good.astype(float)
    copy.flat[-1] = number
    return copy
