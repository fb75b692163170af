"""The Kuramoto-Sivashinsky equation: sizes, neutral modes, order, climate, and what is refused."""

import numpy as np
import pytest

from l96kit import Emulator, KuramotoSivashinsky, Lorenz96, Propagator
from l96kit.checks import check_model
from l96kit.networks import sq_net
from l96kit.reference import kuramoto_sivashinsky as reference


@pytest.mark.parametrize("sites", [16, 18, 22, 34, 48, 90, 128, 250, 1018, 1024])
def test_a_step_at_any_even_number_of_sites(sites):
    model = KuramotoSivashinsky(sites, sites / 4)
    x = np.random.default_rng(sites).standard_normal((3, sites))
    expected = reference.step(x, model.length, 0.25)
    np.testing.assert_allclose(Propagator(model, 0.25).step(x), expected, atol=1e-12 * np.abs(expected).max())


def test_mean_and_nyquist_mode_stay_as_they_are():
    model = KuramotoSivashinsky()
    run = Propagator(model, 0.5)
    sawtooth = np.resize([1.0, -1.0], model.sites)
    np.testing.assert_allclose(run.step(0.3 + 0.2 * sawtooth), 0.3 + 0.2 * sawtooth, atol=1e-14)
    x = np.random.default_rng(0).standard_normal((2, model.sites))
    y = run.forecast(x, 50)
    np.testing.assert_allclose(y.mean(axis=-1), x.mean(axis=-1), atol=1e-13)
    np.testing.assert_allclose(y @ sawtooth, x @ sawtooth, atol=1e-11)


def test_the_scheme_is_of_order_four():
    model = KuramotoSivashinsky()
    x = Propagator(model, 0.5).forecast(np.random.default_rng(0).standard_normal(model.sites), 400)

    def after_one(steps):
        return Propagator(model, 1 / steps).forecast(x, steps)

    exact = after_one(4096)
    errors = [np.abs(after_one(steps) - exact).max() for steps in (64, 128, 256)]
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 4, atol=0.4)


def test_its_climate_is_that_of_the_literature():
    """Standard deviation 1.31 (McCabe & Brown 2021 have the same domain, sites and step)."""
    model = KuramotoSivashinsky()
    run = Propagator(model, 0.5)
    x = np.random.default_rng(0).standard_normal((32, model.sites))
    x = run.forecast(x - x.mean(axis=-1, keepdims=True), 1000)
    y = run.trajectory(x, 4000, 40)
    assert y.std() == pytest.approx(1.31, rel=0.02)


def test_an_explicit_scheme_agrees_where_it_is_stable():
    model = KuramotoSivashinsky(32, 20.0)
    x = Propagator(model, 0.5).forecast(np.random.default_rng(0).standard_normal(32), 100)
    exponential, explicit = Propagator(model, 1e-3), Propagator(model, 1e-3, "rk4")
    assert (exponential.scheme, explicit.scheme) == ("etdrk4", "rk4")
    np.testing.assert_allclose(explicit.forecast(x, 200), exponential.forecast(x, 200), atol=1e-9)


def test_a_jacobian_is_the_matrix_of_the_tangent():
    run = Propagator(KuramotoSivashinsky(16, 12.0), 0.5)
    x = np.random.default_rng(0).standard_normal(16)
    columns = [run.step_tl(x, column) for column in np.eye(16)]
    np.testing.assert_allclose(run.jacobian(x), np.stack(columns, axis=-1), atol=1e-14)


REFUSED = {
    "odd": (lambda: KuramotoSivashinsky(33), ValueError, "sites: expected an even number, found 33; take one more"),
    "few": (lambda: KuramotoSivashinsky(14), ValueError, "sites: expected at least 16, found 14"),
    "length": (lambda: KuramotoSivashinsky(32, -1.0), ValueError, "length: expected a positive finite number"),
    "scheme": (
        lambda: Propagator(Lorenz96(), 0.05, "etdrk4"),
        ValueError,
        "scheme: expected one of 'euler', 'heun', 'rk4', 'rk38', found 'etdrk4'",
    ),
    "parameter": (
        lambda: Propagator(KuramotoSivashinsky(), 0.5).step_tl(np.ones(128), np.ones(128), {"F": 1.0}),
        ValueError,
        "parameters_tl: expected no names, found 'F'; this model has no parameters",
    ),
    "base": (
        lambda: Emulator(sq_net(), 0.0, base=KuramotoSivashinsky()),
        TypeError,
        "base: expected a model made of functions of a site, .* found KuramotoSivashinsky; a network cannot be added",
    ),
    "check": (
        lambda: check_model(KuramotoSivashinsky()),
        TypeError,
        "model: expected one made of functions of a site, found KuramotoSivashinsky; check a propagator of it",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_all_of_a_ring_depends_on_all_of_it():
    """What a region of a training would have to see, and how far a Jacobian reaches."""
    model = KuramotoSivashinsky(32, 20.0)
    assert model.sight == (32, 32)
    jacobian = Propagator(model, 0.25).jacobian(np.sin(np.arange(32.0)))
    assert (np.abs(jacobian) > 1e-12).all()
