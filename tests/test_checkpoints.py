"""Going backwards with few states: every segment once, the last first, each from its true state."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l96kit import Lorenz96, Propagator, propagators
from l96kit.checkpoints import reverse_in_segments


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.integers(0, 60), st.integers(1, 9), st.one_of(st.none(), st.integers(1, 12)))
def test_every_segment_is_reversed_once_from_its_state(intervals, segment, checkpoints):
    reversed_parts = []

    def advance(state, first, last):
        assert state == first  # a "state" here is its own time
        return last

    def reverse(state, first, last):
        assert state == first
        reversed_parts.append((first, last))

    reverse_in_segments(0, intervals, segment, checkpoints, advance, reverse)
    expected = [(first, min(first + segment, intervals)) for first in range(0, intervals, segment)] or [(0, 0)]
    assert reversed_parts == expected[::-1]


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("checkpoints", [1, 2, 3, 7, 20, 60])
def test_the_gradient_has_the_same_bits(members, checkpoints):
    propagator = Propagator(Lorenz96(9, np.linspace(7, 9, 9)), 0.05)
    x = propagator.forecast(np.random.default_rng(members).standard_normal((members, 9)), 100)

    def cost(y, t):
        weight = np.cos(t)[:, None, None]
        return (weight * y**3).sum() / 3, weight * y**2

    J, x_ad, p_ad = propagator.gradient(x, cost, 60, every=2)
    again = propagator.gradient(x, cost, 60, every=2, checkpoints=checkpoints)
    assert again[0] == pytest.approx(J, rel=1e-12)
    np.testing.assert_array_equal(again[1], x_ad)
    np.testing.assert_array_equal(again[2]["F"], p_ad["F"])


@pytest.mark.parametrize(("every", "parts"), [(1, [41, 10, 10, 10, 11]), (4, [11, 2, 2, 2, 2, 3])])
def test_a_window_that_does_not_fit_the_memory_is_cut(every, parts, monkeypatch):
    propagator = Propagator(Lorenz96(9, 8.0), 0.05)
    x = propagator.forecast(np.random.default_rng(0).standard_normal((2, 9)), 100)
    pieces = []

    def cost(y, t):
        pieces.append(len(t))
        return (y**2).sum() / 2, y

    whole = propagator.gradient(x, cost, 40, every)
    monkeypatch.setattr(propagators, "TAPE_BYTES", 10 * 8 * (9 + 4) * 8)  # ten steps of a tile of eight members
    cut = propagator.gradient(x, cost, 40, every)
    assert pieces == parts
    np.testing.assert_array_equal(whole[1], cut[1])


def read_only(y_ad):
    y_ad = y_ad.copy()
    y_ad.flags.writeable = False
    return y_ad


FORMS = {
    "double": lambda y_ad: y_ad.astype(np.float64),
    "whole numbers": lambda y_ad: y_ad.astype(np.int64),
    "transposed": lambda y_ad: np.asfortranarray(y_ad),
    "read-only": read_only,
    "lists": lambda y_ad: y_ad.tolist(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_derivatives_of_a_cost_may_come_in_any_form(form):
    propagator = Propagator(Lorenz96(9, 8.0), 0.05)
    x = np.random.default_rng(1).standard_normal((3, 9)).astype(np.float32)

    def gradient(form):
        return propagator.gradient(x, lambda y, t: (y.sum(axis=(0, -1)), form(np.round(y))), 20, every=2)

    (J, x_ad, p_ad), expected = gradient(form), gradient(lambda y_ad: y_ad)
    assert x_ad.dtype == p_ad["F"].dtype == np.float32
    for found, exact in ((J, expected[0]), (x_ad, expected[1]), (p_ad["F"], expected[2]["F"])):
        np.testing.assert_array_equal(found, exact)
