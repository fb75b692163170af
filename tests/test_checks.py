"""The test kit itself: it passes what is right and fails what is wrong."""

import math
import pickle
from types import ModuleType

import numpy as np
import pytest

from l96kit import Lorenz96, StencilModel, complex_step, dot_test, taylor_test
from l96kit.checks import _difference, check_model

RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((7, 5))


def test_dot_test_of_a_matrix():
    assert dot_test(lambda u: MATRIX @ u, lambda v: MATRIX.T @ v, np.zeros(5)) < 1e-15


def test_dot_test_finds_one_wrong_number_and_shows_both_products():
    wrong = MATRIX.T.copy()
    wrong[2, 3] *= 1.001
    assert dot_test(lambda u: MATRIX @ u, lambda v: wrong @ v, np.zeros(5)) > 1e-6
    with pytest.raises(AssertionError, match=r"<Lu, v> = <u, L'v> to 1e-13, found -?\d.* and -?\d"):
        dot_test(lambda u: MATRIX @ u, lambda v: wrong @ v, np.zeros(5), tolerance=1e-13)


def test_dot_test_of_several_arrays():
    def tl(u):
        return u[0].sum() * np.ones(2) + u[1]

    def ad(v):
        return np.full((2, 2), v.sum()), v

    assert dot_test(tl, ad, (np.zeros((2, 2)), np.zeros(2))) < 1e-15


def test_dot_test_fails_what_is_not_a_number():
    with pytest.raises(AssertionError):
        dot_test(lambda u: u * np.nan, lambda v: v, np.zeros(3), tolerance=1e-13)


def test_taylor_slopes():
    x = RNG.standard_normal(6)
    assert taylor_test(np.sin, lambda h: np.cos(x) * h, x) == pytest.approx((1, 2), abs=0.05)
    assert taylor_test(np.sin, lambda h: 1.01 * np.cos(x) * h, x) == pytest.approx((1, 1), abs=0.1)


def test_taylor_slope_of_a_linear_function_has_no_second_remainder():
    first, second = taylor_test(lambda x: MATRIX @ x, lambda h: MATRIX @ h, np.ones(5))
    assert first == pytest.approx(1) and second == np.inf


@pytest.mark.parametrize(("curvature", "slope"), [(1e-11, np.inf), (4.4e-10, np.inf), (2.5e-9, 2.0)])
def test_one_remainder_above_rounding_has_no_slope(curvature, slope):
    """Of those that halving leaves, none, the first and the first two are above a hundred roundings of one."""
    one = np.ones(1)
    found = taylor_test(lambda x: x + curvature * (x - 1) ** 2, lambda h: h, one, direction=one)
    assert found == pytest.approx((1, slope), abs=0.05)


def test_functions_may_work_in_place_and_return_the_same_array_each_time():
    """As solvers do that allocate nothing: what they overwrite is their own."""
    x, buffer, square = np.ones(5), np.empty(5), MATRIX[:5]

    def step(z):
        z += 0.1 * np.sin(z)
        return z

    def scaled(u):
        u *= 3
        return u

    assert taylor_test(step, lambda h: h + 0.1 * np.cos(1) * h, x) == pytest.approx((1, 2), abs=0.05)
    np.testing.assert_array_equal(x, 1)
    assert dot_test(scaled, lambda v: 3 * v, x) < 1e-15
    assert dot_test(lambda u: np.matmul(square, u, out=buffer), lambda v: np.matmul(square.T, v, out=buffer), x) < 1e-15
    assert taylor_test(lambda z: np.sin(z, out=buffer), lambda h: np.cos(1) * h, x) == pytest.approx((1, 2), abs=0.05)


def test_complex_step():
    x, h = RNG.standard_normal((2, 6))
    np.testing.assert_allclose(
        complex_step(lambda z: np.exp(z) * np.sin(z), x, h), np.exp(x) * (np.sin(x) + np.cos(x)) * h
    )
    np.testing.assert_allclose(complex_step(lambda a, b: a * b, (x, 2.0), (h, 0.5)), 2 * h + 0.5 * x)


def logistic(x, p):
    (r,) = p
    return r[0] * x[0] * (1 - x[-1])


def logistic_tl(x, p, x_tl, p_tl):
    (r,), (r_tl,) = p, p_tl
    return r_tl[0] * x[0] * (1 - x[-1]) + r[0] * x_tl[0] * (1 - x[-1]) - r[0] * x[0] * x_tl[-1]


def logistic_ad(x, p, y_ad):
    (r,) = p
    return r[0] * (1 - x[-1]) * y_ad[0] - r[1] * x[1] * y_ad[1], (x[0] * (1 - x[-1]) * y_ad[0],)


def wrong_tl(x, p, x_tl, p_tl):
    return logistic_tl(x, p, x_tl, p_tl) + 0.01 * x_tl[0]


def wrong_ad(x, p, y_ad):
    x_ad, p_ad = logistic_ad(x, p, y_ad)
    return x_ad + 0.01 * y_ad[1], p_ad


@pytest.mark.parametrize("r", [2.0, np.linspace(1, 2, 9)], ids=["uniform", "field"])
def test_a_users_model_is_proved(r):
    errors = check_model(StencilModel(logistic, logistic_tl, logistic_ad, sites=9, reach=1, parameters={"r": r}))
    assert max(errors.tendency, errors.tendency_tl, errors.dot_test) < 1e-14
    assert errors.taylor_slopes == pytest.approx((1, 2), abs=0.01)


def test_faults_in_a_users_model_show():
    wrong_tangent = check_model(StencilModel(logistic, wrong_tl, logistic_ad, sites=9, reach=1, parameters={"r": 2.0}))
    assert wrong_tangent.tendency_tl > 1e-3 and wrong_tangent.dot_test > 1e-6
    assert wrong_tangent.taylor_slopes[1] < 1.5
    wrong_adjoint = check_model(StencilModel(logistic, logistic_tl, wrong_ad, sites=9, reach=1, parameters={"r": 2.0}))
    assert wrong_adjoint.dot_test > 1e-6 and wrong_adjoint.tendency_tl < 1e-14


def halved_tl(x, p, x_tl, p_tl):
    return 0.5 * logistic_tl(x, p, x_tl, p_tl)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_errors_of_either_sign_show(sign):
    model = StencilModel(logistic, halved_tl, logistic_ad, sites=9, reach=1, parameters={"r": 2.0})
    assert check_model(model, sign * np.linspace(0.1, 0.4, 9)).tendency_tl == pytest.approx(0.5)
    assert _difference(np.array([1.0, 2.0]), np.array([3.0, 2.0])) == 2 / 3 == _difference(np.array([5.0]), [3.0])


def shifted_parameter_ad(x, p, y_ad):
    x_ad, _ = logistic_ad(x, p, y_ad)
    return x_ad, (x[1] * (1 - x[0]) * y_ad[1],)


def test_a_gradient_at_the_wrong_site_shows_though_the_parameter_is_a_number():
    model = StencilModel(logistic, logistic_tl, shifted_parameter_ad, sites=9, reach=1, parameters={"r": 2.0})
    assert check_model(model).dot_test > 1e-6


def test_our_own_model():
    errors = check_model(Lorenz96(11, 8.0))
    assert max(errors.tendency, errors.tendency_tl, errors.dot_test) < 1e-14


HALF = 0.5


def difference(x, right, left):
    return HALF * (x[right] - x[left])


def make_advection(speed):
    """A model whose functions use a helper, a constant of the module and a variable of the enclosing function."""

    def gradient(x):
        return difference(x, 1, -1)

    def at_site(x, p):
        return -speed * gradient(x)

    def at_site_tl(x, p, x_tl, p_tl):
        return -speed * gradient(x_tl)

    def at_site_ad(x, p, y_ad):
        return speed * gradient(y_ad), ()

    return StencilModel(at_site, at_site_tl, at_site_ad, sites=8, reach=1)


def test_helpers_constants_and_closures_of_a_users_model():
    slow, fast = make_advection(1.0), make_advection(3.0)
    x = RNG.standard_normal(8)
    np.testing.assert_allclose(slow.tendency(x), (np.roll(x, 1) - np.roll(x, -1)) / 2)
    np.testing.assert_allclose(fast.tendency(x), 3 * slow.tendency(x))
    assert check_model(fast).dot_test < 1e-14


def make_decay(rate):
    def at_site(x, p):
        return -rate[0] * x[0]

    def at_site_tl(x, p, x_tl, p_tl):
        return -rate[0] * x_tl[0]

    def at_site_ad(x, p, y_ad):
        return -rate[0] * y_ad[0], ()

    return StencilModel(at_site, at_site_tl, at_site_ad, sites=4, reach=1)


def test_a_value_that_a_users_functions_use_is_part_of_the_model(monkeypatch):
    x = np.ones(4)
    fine = np.array([0.12345678901]), np.array([0.12345678902])
    assert [float(make_decay(rate).tendency(x)[0]) for rate in fine] == [-float(rate[0]) for rate in fine]
    before = make_advection(1.0)
    monkeypatch.setitem(globals(), "HALF", 1.0)
    after, x = make_advection(1.0), np.arange(8.0) ** 2
    np.testing.assert_allclose(after.tendency(x), 2 * before.tendency(x))


def test_a_users_model_can_be_copied():
    model = StencilModel(logistic, logistic_tl, logistic_ad, sites=9, reach=1, parameters={"r": 2.0})
    copy, x = pickle.loads(pickle.dumps(model)), RNG.standard_normal(9)
    np.testing.assert_array_equal(copy.tendency(x), model.tendency(x))


def one(v):
    return v


def two(v):
    return 2 * v


def make_sum(first, second, third, weights=(1.0,)):
    def at_site(x, p):
        return weights[0] * (first(x[0]) + 10 * second(x[0]) + 100 * third(x[0]))

    return StencilModel(at_site, lambda x, p, x_tl, p_tl: x_tl[0], lambda x, p, y_ad: (y_ad[0], ()), sites=4, reach=1)


def test_models_that_differ_in_what_a_name_means_differ():
    x = np.ones(4)
    assert make_sum(one, two, one).tendency(x)[0] == 121
    assert make_sum(one, two, two).tendency(x)[0] == 221
    close = 1.0, 1.0 + 1e-9
    assert [make_sum(one, one, one, (np.array([w]),)[0]).tendency(x)[0] for w in close] == [111 * w for w in close]


def test_what_a_model_uses_may_change_after_it_was_made(monkeypatch):
    rate = np.array([0.25])
    model = make_decay(rate)
    rate[0] = 9.0
    assert model.tendency(np.ones(4))[0] == -0.25


def test_a_module_that_changed_before_the_first_call_is_refused(monkeypatch):
    module = ModuleType("constants")
    module.RATE = 2.5
    model = StencilModel(
        lambda x, p: module.RATE * x[0] * 3, lambda x, p, a, b: a[0], lambda x, p, y_ad: (y_ad[0], ()), sites=4
    )
    module.RATE = 8.5
    with pytest.raises(RuntimeError, match="model: expected what its functions use to stay .* make the model anew"):
        model.tendency(np.ones((3, 4)))


@pytest.mark.parametrize(
    "at_site",
    [lambda x, p: math.sqrt(x[0] - 1) * x[3], lambda x, p: x[0] if x[0] < 2 else x[3]],
    ids=["outside the domain", "in a branch"],
)
def test_an_index_beyond_reach_is_found_where_few_numbers_lead(at_site):
    with pytest.raises(ValueError, match=r"at_site: expected it to look at most reach = 2 .* found x\[3\]"):
        StencilModel(at_site, lambda x, p, a, b: a[0], lambda x, p, y_ad: (y_ad[0], ()), sites=9)


def test_complex_step_of_single_precision():
    x = np.array([1, 2], "float32")
    np.testing.assert_allclose(complex_step(lambda z: z**2, x, np.ones_like(x)), [2, 4])
    model = StencilModel(logistic, logistic_tl, logistic_ad, sites=9, reach=1, parameters={"r": 2.0})
    assert check_model(model, RNG.standard_normal((2, 9)).astype("float32")).tendency_tl < 1e-14


def test_an_adjoint_that_returns_too_little_is_refused():
    x = (np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="an adjoint returns one array for each that the tangent takes"):
        dot_test(lambda u: u[0], lambda v: (v,), x)
    with pytest.raises(TypeError, match="expected real numbers, found complex128"):
        dot_test(lambda u: u, lambda v: 1j * v, np.ones(3))
