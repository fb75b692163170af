"""What the usual operators observe, in time and of windows, and what does not fit; the registry has their adjoints."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from l96kit import dot_test
from l96kit.observation_operators import (
    ObservationOperator,
    Pointwise,
    at_sites,
    every,
    every_site,
    interpolation,
    linear,
    random_sites,
    rotating,
)
from l96kit.observations import Observations, observe

SITES = 12
STATE = np.arange(float(SITES))


def test_sites_are_observed_as_they_are():
    np.testing.assert_array_equal(every_site(SITES).observe(STATE), STATE)
    np.testing.assert_array_equal(at_sites([3, 0, 3], SITES).observe(STATE), [3, 0, 3])
    np.testing.assert_array_equal(every(4, SITES, start=1).observe(STATE), [1, 5, 9])
    np.testing.assert_array_equal(every(4, 2 * SITES, fields=2).observe(np.arange(24.0)), [0, 4, 8, 12, 16, 20])


@pytest.mark.parametrize(("backwards", "second"), [(False, [1, 5, 9]), (True, [3, 7, 11])])
def test_rotating_sites_move_by_one_and_come_again(backwards, second):
    operator = rotating(4, SITES, backwards=backwards)
    assert operator.period == 4
    np.testing.assert_array_equal(operator.observe(STATE, 1), second)
    np.testing.assert_array_equal(operator.observe(STATE, 5), second)
    states = np.tile(STATE, (8, 2, 1))
    seen = operator.observe(states, np.arange(8))
    assert seen.shape == (8, 2, 3) and (np.sort(seen[:4, 0].ravel()) == STATE).all()


def test_random_sites_are_different_ones():
    operator = random_sites(5, SITES, 20, np.random.default_rng(0))
    seen = operator.observe(np.tile(STATE, (20, 1)), np.arange(20))
    assert all(len(set(row)) == 5 for row in seen.tolist()) and len({tuple(row) for row in seen.tolist()}) > 10


def test_matrices_and_interpolation():
    rng = np.random.default_rng(1)
    matrix, x = rng.standard_normal((2, 5, SITES)), rng.standard_normal((3, SITES))
    for time in range(4):
        np.testing.assert_allclose(linear(matrix).observe(x, time), x @ matrix[time % 2].T, atol=1e-14)
    between = interpolation([0.25, 3.0, 11.5], SITES).observe(STATE)
    np.testing.assert_allclose(between, [0.25, 3.0, 5.5], atol=1e-14)
    np.testing.assert_allclose(interpolation([0.25, 3.0, 11.5], SITES).places(SITES)[0], [0.25, 3.0, 11.5], atol=0.1)


def test_observations_lie_where_the_states_are_that_count_most():
    matrix = np.zeros((3, SITES))
    matrix[0, 7], matrix[1, [2, 4]], matrix[2, 5] = -1.0, (-1.0, -3.0), 2.0
    for scale in (1.0, 1e-6, 1e6):
        np.testing.assert_allclose(linear(scale * matrix).places(SITES)[0], [7.0, 3.5, 5.0], atol=0.2)
        with pytest.raises(ValueError, match="found sums of sites all around the ring"):
            linear(scale * (1 + 0.1 * (np.arange(SITES) == 2))[None]).places(SITES)


def doubled(x):
    return 2 * x * x


def doubled_slope(x):
    return 4 * x


def test_functions_are_applied_to_sums():
    operator = linear(np.ones((1, SITES))).pointwise(Pointwise(doubled, doubled_slope))
    assert operator.observe(STATE) == pytest.approx([2 * 66.0**2])
    assert operator.observe_tl(STATE, np.ones(SITES)) == pytest.approx([4 * 66.0 * 12])
    np.testing.assert_allclose(operator.observe_ad(STATE, np.ones(1)), np.full(SITES, 4 * 66.0))


def test_windows_may_observe_different_things():
    sites = np.random.default_rng(2).integers(0, SITES, (7, 2, 3))
    operator, x = at_sites(sites, SITES), np.random.default_rng(3).standard_normal((7, 2, SITES))
    times = np.arange(7)
    np.testing.assert_array_equal(operator.observe(x, times), np.take_along_axis(x, sites, axis=-1))
    for last in (1, -1):
        np.testing.assert_array_equal(operator[last].observe(x[:, 1], times), operator.observe(x, times)[:, 1])
    squared = operator.pointwise("square")
    np.testing.assert_array_equal(squared[1].observe(x[:, 1], times), operator.observe(x, times)[:, 1] ** 2)
    y_ad = np.random.default_rng(4).standard_normal((7, 2, 3))
    error = dot_test(lambda h: operator.observe_tl(x, h, times), lambda y: operator.observe_ad(x, y, times), x, y_ad)
    assert error < 1e-15


def test_single_precision_stays():
    x = STATE.astype(np.float32)
    operator = interpolation([0.5], SITES).pointwise("tanh")
    assert operator.observe(x).dtype == operator.observe_ad(x, np.ones(1)).dtype == np.float32


def test_noise_has_the_covariance_asked_for():
    root = np.array([[1.0, 0.0], [0.8, 0.3]])
    truth = np.zeros((20000, SITES))
    found = observe(truth, at_sites([1, 5], SITES), None, np.random.default_rng(5), cov=root @ root.T)
    np.testing.assert_allclose(np.cov(found.values.T), root @ root.T, atol=0.03)
    J, y_ad = found.misfit(truth)
    assert pytest.approx(len(truth), rel=0.03) == J
    np.testing.assert_allclose(y_ad[7, [1, 5]], -np.linalg.solve(root @ root.T, found.values[7]), rtol=1e-10)


def test_what_is_missing_does_not_count():
    values = np.array([[1.0, np.nan, 3.0]])
    J, y_ad = Observations(at_sites([0, 1, 2], SITES), values, 2.0).misfit(np.zeros((1, SITES)))
    assert pytest.approx(10 / 8) == J
    np.testing.assert_allclose(y_ad[0, :4], [-0.25, 0, -0.75, 0])


def test_a_function_need_not_be_defined_everywhere():
    Pointwise(lambda x: math.log(x - 2), lambda x: 1 / (x - 2))


def sure(value, slope, off):
    """Whether a derivative is taken as it is, and refused if it is changed."""
    Pointwise(value, slope)
    with pytest.raises(ValueError, match="^slope: expected the derivative of value, about .* at .*, found "):
        Pointwise(value, lambda x: off(slope(x)))


SLOPES = {
    "square": (lambda x: x * x, lambda x: 2 * x),
    "sine": (np.sin, np.cos),
    "fast": (lambda x: math.sin(1e4 * x), lambda x: 1e4 * math.cos(1e4 * x)),
    "large": (lambda x: 1e8 + x, lambda x: 1.0),
    "small": (lambda x: 1e-30 * x * x, lambda x: 2e-30 * x),
    "steep": (lambda x: math.exp(x * x), lambda x: 2 * x * math.exp(x * x)),
    "kink": (lambda x: max(x, 0.0), lambda x: float(x > 0)),
    "steps": (math.floor, lambda x: 0.0),
    "logarithm": (math.log, lambda x: 1 / x),
    "root": (lambda x: x**0.5, lambda x: 0.5 * x**-0.5),
    "single precision": (lambda x: np.float32(2) * x * x, lambda x: np.float32(4) * x),
}


@pytest.mark.parametrize("value, slope", SLOPES.values(), ids=SLOPES)
def test_a_slope_is_the_derivative(value, slope):
    sure(value, slope, lambda found: 1.01 * found + 1e-2 * (found == 0))


@given(st.lists(st.floats(-9, 9, allow_subnormal=False), min_size=2, max_size=6), st.sampled_from([0.99, 2.0, -1.0]))
def test_slopes_of_polynomials(coefficients, factor):
    coefficients, slopes = tuple(coefficients), tuple(np.polyder(coefficients))
    assume(np.abs(slopes).max() > 1e-3 * np.abs(coefficients).max())
    sure(lambda x: np.polyval(coefficients, x), lambda x: np.polyval(slopes, x), lambda found: factor * found)


BAD = {
    "slope": (ValueError, "slope: expected the derivative of value", lambda: Pointwise(lambda u: u * u, lambda u: u)),
    "outside": (ValueError, r"expected sites 0\.\.11, found 12", lambda: at_sites([12], SITES)),
    "one number": (ValueError, r"which: expected shape \(n,\)", lambda: at_sites(3, SITES)),
    "not whole": (TypeError, "indices: expected integers", lambda: at_sites([1.0], SITES)),
    "no part": (ValueError, "indices: expected shape", lambda: ObservationOperator(SITES, np.zeros((1, 3), int))),
    "weights": (
        ValueError,
        r"weights: expected shape \(1, 2, 1\) like indices",
        lambda: ObservationOperator(SITES, np.zeros((1, 2, 1), int), np.ones((1, 2))),
    ),
    "weights NaN": (
        ValueError,
        "weights: expected finite numbers",
        lambda: ObservationOperator(SITES, np.zeros((1, 2, 1), int), np.full((1, 2, 1), np.nan)),
    ),
    "function": (ValueError, "function: expected one of 'identity'", lambda: every_site(SITES).pointwise("sqrt")),
    "no function": (TypeError, "slope: expected a function", lambda: Pointwise(doubled, 2.0)),
    "no number": (TypeError, "value: expected a function that returns a number", lambda: Pointwise(print, doubled)),
    "two arguments": (TypeError, "slope: expected a function of one number", lambda: Pointwise(doubled, pow)),
    "no generator": (TypeError, "rng: expected a NumPy generator, found int", lambda: random_sites(3, SITES, 1, 0)),
    "sites": (TypeError, "sites: expected a whole number", lambda: rotating(2, None)),
    "step": (ValueError, "step: expected a divisor of 12 sites, found 5", lambda: rotating(5, SITES)),
    "fields": (ValueError, "fields: expected a divisor of 12", lambda: every(1, SITES, fields=5)),
    "start": (ValueError, r"start: expected a site 0\.\.11, found 12", lambda: every(1, SITES, start=12)),
    "too many": (ValueError, "at most the 12 sites", lambda: random_sites(13, SITES, 1, np.random.default_rng(0))),
    "places": (ValueError, "places: expected numbers from 0 to below 12", lambda: interpolation([12.0], SITES)),
    "matrix": (ValueError, r"matrix: expected shape \(n, site\)", lambda: linear(np.ones(SITES))),
    "state": (ValueError, r"x: expected shape \(..., 12\)", lambda: every_site(SITES).observe(np.zeros(11))),
    "time": (ValueError, "time: expected whole numbers from 0 on", lambda: every_site(SITES).observe(STATE, -1)),
    "times": (ValueError, r"time: expected shape \(1,\)", lambda: every_site(SITES).observe(STATE[None], [0, 1])),
    "forcing": (ValueError, r"y_ad: expected shape \(12,\)", lambda: every_site(SITES).observe_ad(STATE, np.ones(3))),
}


@pytest.mark.parametrize("error, message, make", BAD.values(), ids=BAD)
def test_bad_operators_are_refused(error, message, make):
    with pytest.raises(error, match=message):
        make()
