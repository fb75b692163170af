"""Functions of a user's: told apart by all that they use, copied as they are now, and refused if nobody can tell."""

import enum
import functools
import math
import operator
import types
from typing import NamedTuple

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l96kit import StencilModel
from l96kit.kernels._fingerprint import fingerprint, frozen
from l96kit.observation_operators import Pointwise, every_site

constants = types.ModuleType("constants")


def closure(value):
    return lambda x: value


def of_a_global(value):
    return types.FunctionType((lambda x: THE_VALUE).__code__, {"THE_VALUE": value})  # noqa: F821


def default(value):
    def function(x, used=value):
        return used

    return function


def of_a_helper(value):
    helper = closure(value)
    return lambda x: helper(x)


def of_a_compiled_helper(value):
    helper = numba.njit(closure(value))
    return lambda x: helper(x)


def nested(value):
    return lambda x: (lambda y: value)(x)


def literal(value):
    return eval(f"lambda x: {value!r}")


WAYS = [closure, of_a_global, default, of_a_helper, of_a_compiled_helper, nested]


class Rates(NamedTuple):
    slow: float
    fast: float


class Turned(NamedTuple):
    fast: float
    slow: float


def member(value, kind=enum.IntEnum):
    return kind("Rate", {"FAST": value}).FAST


def constructor(value):
    class Settings(NamedTuple):
        rate: float = value

    return Settings


# Values that are not the same, though they may look it, or be equal.
DIFFERENT = [
    (2, 5),
    (2, 2.0),
    (1, True),
    (0.0, -0.0),
    ("a", b"a"),
    ((1, 23), (12, 3)),
    ((1, (2, 3)), (1, 2, 3)),
    (((1,), 2), (1, (2,))),
    (Rates(1.0, 2.0), (1.0, 2.0)),
    (Rates(1.0, 2.0), Turned(1.0, 2.0)),
    (Rates(1.0, 2.0), NamedTuple("Rates", [("fast", float), ("slow", float)])(1.0, 2.0)),
    (Rates(1.0, 2.0), Rates(1.0, 3.0)),
    (member(2), member(5)),
    (type(member(2)), type(member(5))),
    (member(2), member(2, enum.Enum)),
    (member((1, 23), enum.Enum), member((12, 3), enum.Enum)),
    (constructor(2.0), constructor(5.0)),
    (np.float32(2), np.float64(2)),
    (np.arange(4), np.arange(4.0)),
    (np.arange(4), np.arange(4).reshape(2, 2)),
    (np.zeros(3000), np.eye(1, 3000, 1700)[0]),  # whose repr is the same
    (np.zeros(2, "f4,f4"), np.zeros(2, "f4,i4")),
    (closure(2), closure(5)),
    (np.sin, np.cos),
    (math.sin, np.sin),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("pair", DIFFERENT, ids=lambda pair: f"{pair[0]!r:.20} {pair[1]!r:.20}")
def test_values_that_differ_have_fingerprints_that_differ(way, pair):
    one, other = map(way, pair)
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(way(pair[0])) == fingerprint(frozen(one, "f"))


numbers = st.one_of(st.integers(-3, 123), st.sampled_from([0.0, -0.0, 0.5, 12.0]), st.booleans(), st.sampled_from("ab"))
values = st.recursive(numbers, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)


@given(values, values)
def test_fingerprints_are_equal_where_values_are(one, other):
    for way in (closure, literal):
        assert (fingerprint(way(one)) == fingerprint(way(other))) == (repr(one) == repr(other))


def test_what_is_taken_from_a_module_counts_and_nothing_else_of_it():
    def taken(x):
        return constants.rate * constants.inner.rate

    def found(**changes):
        vars(constants).update({"rate": 2.0, "inner": types.ModuleType("inner"), "x": {}, "other": 1.0})
        constants.inner.rate = changes.pop("inner_rate", 3.0)
        vars(constants).update(changes)
        return fingerprint(taken)

    assert found() == found(other=[]) and len({found(), found(rate=5.0), found(inner_rate=5.0)}) == 3


def test_a_frozen_function_keeps_what_it_uses():
    row = np.zeros(3)
    rates, used = Rates(2.0, row), (row, [])[:1]
    copy = frozen(lambda x, added=row: row[0] + added[0] + rates.fast[0] + used[0][0] + rates.slow, "f")
    row += 7
    assert copy(0.0) == 2.0


def test_names_of_attributes_are_no_globals():
    def rate(x):
        return constants.rate * x

    vars(constants).update(rate=2.0)
    function = types.FunctionType(rate.__code__, {"constants": constants})
    function.__globals__["rate"] = function
    assert frozen(function, "f")(3.0) == 6.0 and "rate" not in frozen(function, "f").__globals__


def test_a_frozen_function_holds_no_more_than_it_uses():
    assert set(frozen(of_a_global(2.0), "f").__globals__) <= {"THE_VALUE", "__builtins__", "__name__"}


class Holder:
    rate = 2.0

    def __call__(self, u):
        return 2.0 * u

    def method(self, u):
        return 2.0 * u


class OwnFloat(float):
    pass


REFUSED = {
    "dict": {"rate": 2.0},
    "list": [2.0],
    "set": {2.0},
    "class": Holder,
    "object": Holder(),
    "method": Holder().method,
    "partial": functools.partial(operator.mul, 2.0),
    "namespace": types.SimpleNamespace(rate=2.0),
    "number with a state": OwnFloat(2.0),
    "masked array": np.ma.masked_array([1.0, 2.0], [0, 1]),
    "objects in an array": np.array([None]),
    "generator": np.random.default_rng(0),
    "draws": np.random.default_rng(0).normal,
    "module": math,
    "range": range(3),
    "a part of a tuple": (1.0, (2.0, [3.0])),
    "a field": Rates(1.0, {}),
    "a member": member({"rate": 2.0}, enum.Enum),
    "own ufunc": np.frompyfunc(abs, 1, 1),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_looked_into_is_refused_by_name(way, kind):
    with pytest.raises(TypeError, match="^at_site.*: expected a number, .* found .*, (a|the) .*; put its numbers into"):
        frozen(way(REFUSED[kind]), "at_site")


def stars(x, *, rate=2.0):
    return rate * x


def any_number(*x):
    return x[0]


def endless(x):
    return endless(x)


def importing(x):
    import math

    return math.sin(x)


FUNCTIONS = {
    "keyword-only": (stars, r"h, in stars: expected arguments that have their places, found \(x, \*, rate=2.0\)"),
    "any number": (any_number, r"h, in any_number: expected arguments that have their places, found \(\*x\)"),
    "recursive": (endless, "h, in endless: expected functions that do not call themselves, found endless"),
    "importing": (importing, "h, in importing: expected no import in it, found that of math; put it above"),
    "no value": (lambda x: unknown(x), "h, in <lambda>: .* found unknown, which has none"),  # noqa: F821
    "nothing there": (lambda x: math.sine(x), "h, in <lambda>: .* found math.sine, which has none"),
}


@pytest.mark.parametrize("function, message", FUNCTIONS.values(), ids=FUNCTIONS)
def test_helpers_that_cannot_be_compiled_are_refused_by_name(function, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        frozen(lambda x: function(x), "h")
    with pytest.raises(TypeError, match="^value"):
        Pointwise(lambda x: x if x else function(x), lambda x: 1.0)


def test_models_with_other_constants_are_other_models():
    """Enumerations, named tuples and compiled helpers give what they give in Python."""

    def tendency(fast, rates):
        class Rate(enum.IntEnum):
            FAST = fast

        @numba.njit
        def helper(x):
            return Rate.FAST * x * rates.slow

        def at_site(x, p):
            return helper(x[0]) + rates.fast * Rate.FAST.value

        model = StencilModel(at_site, lambda x, p, x_tl, p_tl: x_tl[0], lambda x, p, y_ad: (y_ad[0], ()), 4, 1)
        return model.tendency(np.full(4, 10.0))[0]

    assert tendency(2, Rates(1.0, 0.5)) == 2 * 10 * 1.0 + 0.5 * 2
    assert tendency(5, Turned(1.0, 0.5)) == 5 * 10 * 0.5 + 1.0 * 5


def test_functions_of_numpy_and_python_simply_work():
    x = np.linspace(-2, 2, 9)
    sine = every_site(9).pointwise(Pointwise(np.sin, np.cos))
    np.testing.assert_allclose(sine.observe(x), np.sin(x), rtol=1e-15)
    np.testing.assert_allclose(sine.observe_tl(x, np.ones(9)), np.cos(x), rtol=1e-15)
    single = every_site(9).pointwise(Pointwise(math.sin, math.cos)).observe(x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, np.sin(x), rtol=1e-6)
