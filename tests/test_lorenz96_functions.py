"""The plain functions of `l96kit.lorenz96` against the reference and its complex-step derivatives."""

import numpy as np
import pytest

from l96kit import Lorenz96, Propagator, lorenz96
from l96kit.reference import linearize, runge_kutta
from l96kit.reference import lorenz96 as reference

K, DT, STEPS, EVERY = 7, 0.05, 4, 2
FORCINGS = {"number": (), "site": (K,), "member": (3, 1), "member and site": (3, K)}


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def forcing(rng, shape):
    return 8 + rng.standard_normal(shape)


def close(found, expected, scale=1.0):
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * scale)


def reference_step(scheme):
    def step(x, F):
        return runge_kutta.SCHEMES[scheme](lambda y: reference.tendency(y, F), x, DT)

    return step


def reference_trajectory(x, F):
    return runge_kutta.trajectory(lambda y: reference.tendency(y, F), x, DT, STEPS, every=EVERY)


@pytest.mark.parametrize("shape", FORCINGS.values(), ids=FORCINGS)
def test_tendency(rng, shape):
    x, x_tl, y_ad = rng.standard_normal((3, 3, K))
    F, F_tl = forcing(rng, shape), rng.standard_normal(shape)
    close(lorenz96.tendency(x, F), reference.tendency(x, F), 10)
    close(lorenz96.tendency_tl(x, F, x_tl, F_tl), linearize.tangent(reference.tendency, (x, F), (x_tl, F_tl)))
    for found, expected in zip(lorenz96.tendency_ad(x, F, y_ad), linearize.adjoint(reference.tendency, (x, F), y_ad)):
        close(found, expected)


@pytest.mark.parametrize("scheme", runge_kutta.SCHEMES)
def test_step(rng, scheme):
    x, x_tl, y_ad = rng.standard_normal((3, 3, K))
    F, F_tl = forcing(rng, ()), rng.standard_normal()
    step = reference_step(scheme)
    close(lorenz96.step(x, F, DT, scheme), step(x, F), 10)
    close(lorenz96.step_tl(x, F, DT, x_tl, F_tl, scheme), linearize.tangent(step, (x, F), (x_tl, F_tl)))
    for found, expected in zip(lorenz96.step_ad(x, F, DT, y_ad, scheme), linearize.adjoint(step, (x, F), y_ad)):
        close(found, expected)


@pytest.mark.parametrize("shape", FORCINGS.values(), ids=FORCINGS)
def test_trajectory(rng, shape):
    x, x_tl = rng.standard_normal((2, 3, K))
    F, F_tl = forcing(rng, shape), rng.standard_normal(shape)
    y_ad = rng.standard_normal((STEPS // EVERY + 1, 3, K))
    close(lorenz96.trajectory(x, F, DT, STEPS, EVERY), reference_trajectory(x, F), 10)
    found = lorenz96.trajectory_tl(x, F, DT, STEPS, x_tl, F_tl, EVERY)
    close(found, linearize.tangent(reference_trajectory, (x, F), (x_tl, F_tl)), 10)
    adjoints = lorenz96.trajectory_ad(x, F, DT, y_ad, EVERY)
    for found, expected in zip(adjoints, linearize.adjoint(reference_trajectory, (x, F), y_ad)):
        close(found, expected, 10)


def test_one_state_alone_and_the_default_forcing_change(rng):
    x, x_tl = rng.standard_normal((2, K))
    found = lorenz96.trajectory_tl(x, 8.0, DT, STEPS, x_tl, every=EVERY)
    expected = linearize.tangent(lambda x: reference_trajectory(x, 8.0), (x,), (x_tl,))
    close(found, expected, 10)
    close(lorenz96.tendency_tl(x, 8.0, x_tl), linearize.tangent(lambda x: reference.tendency(x, 8.0), (x,), (x_tl,)))


def test_out_is_filled_and_returned_and_may_be_x(rng):
    x = rng.standard_normal((3, K))
    out = np.empty_like(x)
    assert lorenz96.tendency(x, 8.0, out=out) is out
    np.testing.assert_array_equal(out, lorenz96.tendency(x, 8.0))
    expected = lorenz96.step(x, 8.0, DT)
    assert lorenz96.step(x, 8.0, DT, out=out) is out
    np.testing.assert_array_equal(out, expected)
    states = np.empty((3, 3, K))
    assert lorenz96.trajectory(x, 8.0, DT, 4, every=2, out=states) is states
    np.testing.assert_array_equal(states, lorenz96.trajectory(x, 8.0, DT, 4, every=2))
    assert lorenz96.step(x, 8.0, DT, out=x) is x
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precision_is_that_of_x_and_results_those_of_the_classes(rng, dtype):
    x, x_tl, y_ad = rng.standard_normal((3, 5, K)).astype(dtype)
    propagator = Propagator(Lorenz96(K, 7.5), DT, "heun")
    pairs = [
        (lorenz96.step(x, 7.5, DT, "heun"), propagator.step(x)),
        (lorenz96.step_tl(x, 7.5, DT, x_tl, scheme="heun"), propagator.step_tl(x, x_tl)),
        (lorenz96.step_ad(x, 7.5, DT, y_ad, "heun")[0], propagator.step_ad(x, y_ad)[0]),
        (lorenz96.step_ad(x, 7.5, DT, y_ad, "heun")[1], propagator.step_ad(x, y_ad)[1]["F"]),
        (lorenz96.tendency_ad(x, 7.5, y_ad)[0], propagator.model.tendency_ad(x, y_ad)[0]),
    ]
    for found, expected in pairs:
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)


def test_a_list_is_an_array_and_a_number_is_refused():
    np.testing.assert_array_equal(lorenz96.tendency([1.0, 2.0, 3.0, 4.0], 8.0), [3.0, 5.0, 11.0, 1.0])
    with pytest.raises(ValueError, match=r"x: expected shape \(\.\.\., site\), found a single number; pass an array"):
        lorenz96.step(3.0, 8.0, DT)
