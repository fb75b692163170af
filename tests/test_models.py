"""Models besides Lorenz-96: a user's, whose functions are refused by name if kernels cannot use them, and others."""

import numpy as np
import pytest

from l96kit import (
    Emulator,
    KuramotoSivashinsky,
    Lorenz63,
    Lorenz96,
    Propagator,
    StencilModel,
    VissioLucarini20,
)
from l96kit.checks import check_model
from l96kit.networks import sq_net

K = 9


def decay(x, p):
    (rate,) = p
    return -rate[0] * x[0]


def decay_tl(x, p, x_tl, p_tl):
    return -p[0][0] * x_tl[0] - p_tl[0][0] * x[0]


def decay_ad(x, p, y_ad):
    return -p[0][0] * y_ad[0], (-x[0] * y_ad[0],)


BAD_MODELS = {
    "too few arguments": (
        {"at_site": lambda x: -x[0]},
        TypeError,
        r"at_site: expected a function of \(x, p\), found one of \(x\); mend its signature",
    ),
    "too many arguments": (
        {"at_site_tl": lambda x, p, x_tl, p_tl, t: -x_tl[0]},
        TypeError,
        r"at_site_tl: expected a function of \(x, p, x_tl, p_tl\), found one of \(x, p, x_tl, p_tl, t\); mend",
    ),
    "no function": (
        {"at_site_ad": np.sin},
        TypeError,
        r"at_site_ad: expected a Python function of \(x, p, y_ad\), found ufunc; write it with def",
    ),
    "looks too far": (
        {"at_site": lambda x, p: x[2]},
        ValueError,
        r"at_site: expected it to look at most reach = 1 sites away .* found x\[2\]; raise `reach`",
    ),
    "unknown parameter": (
        {"at_site": lambda x, p: p[1][0] * x[0]},
        ValueError,
        "at_site: expected it to look .* at 1 parameters, found tuple index out of range; .* name the parameters",
    ),
    "two parameters of one": (
        {"at_site": lambda x, p: [-a[0] * b[0] for a, b in (p,)]},
        ValueError,
        r"at_site: expected it to look .* at 1 parameters, found not enough values to unpack .*; raise",
    ),
    "a parameter as a number": (
        {"at_site": lambda x, p: -p * x[0]},
        TypeError,
        r"at_site: expected plain arithmetic, found that it raises TypeError.* p is a tuple .*: \(r,\) = p, then r",
    ),
    "a window as a number": (
        {"at_site_tl": lambda x, p, x_tl, p_tl: -p[0] * x_tl[0]},
        TypeError,
        r"at_site_tl: expected plain arithmetic, found that it raises TypeError.* x and each parameter in p are ",
    ),
    "returns nothing": (
        {"at_site": lambda x, p: None},
        TypeError,
        "at_site: expected it to return one number, found None; mend what it returns",
    ),
    "returns an array": (
        {"at_site_tl": lambda x, p, x_tl, p_tl: np.array(x_tl)},
        TypeError,
        "at_site_tl: expected it to return one number, found array",
    ),
    "no gradient of its parameter": (
        {"at_site_ad": lambda x, p, y_ad: -p[0][0] * y_ad[0]},
        TypeError,
        "at_site_ad: expected it to return one number, and a tuple of 1, one for each parameter, found ",
    ),
    "too many gradients": (
        {"at_site_ad": lambda x, p, y_ad: (y_ad[0], (x[0], x[0]))},
        TypeError,
        "at_site_ad: expected it to return one number, and a tuple of 1, one for each parameter, found ",
    ),
    "parameters in a list": ({"parameters": [1.0]}, TypeError, "parameters: expected a dict of name -> value, found l"),
    "parameter NaN": ({"parameters": {"rate": np.nan}}, ValueError, "rate: expected finite numbers, found nan; mend"),
    "short ring": ({"sites": 3}, ValueError, "sites: expected at least 4, found 3; choose sites >= 4"),
    "ring shorter than reach": ({"sites": 5, "reach": 6}, ValueError, "sites: expected at least 6, found 5; choose"),
    "reach = 0": ({"reach": 0}, ValueError, "reach: expected at least 1, found 0; choose reach >= 1"),
}


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_bad_models_are_refused(kind):
    changes, error, message = BAD_MODELS[kind]
    good = {"at_site": decay, "at_site_tl": decay_tl, "at_site_ad": decay_ad, "sites": K, "reach": 1}
    with pytest.raises(error, match=f"^{message}"):
        StencilModel(**{**good, "parameters": {"rate": 2.0}, **changes})


def test_a_model_that_the_trial_numbers_do_not_suit_is_taken():
    def root(x, p):
        if x[0] < 100.0:
            raise ValueError("made for large numbers")
        return x[0] / 2

    model = StencilModel(
        root, lambda x, p, x_tl, p_tl: x_tl[0] / 2, lambda x, p, y_ad: (y_ad[0] / 2, ()), sites=4, reach=1
    )
    np.testing.assert_array_equal(model.tendency(np.full(4, 200.0)), np.full(4, 100.0))


# --- several fields -------------------------------------------------------------------------------------------------


def exchange(x, p):
    u, v = x
    return v[1] - p[0][0] * u[0], u[-1] * v[0]


def exchange_tl(x, p, x_tl, p_tl):
    (u, v), (u_tl, v_tl) = x, x_tl
    return v_tl[1] - p_tl[0][0] * u[0] - p[0][0] * u_tl[0], u_tl[-1] * v[0] + u[-1] * v_tl[0]


def exchange_ad(x, p, y_ad):
    (u, v), (a, b) = x, y_ad
    return (b[1] * v[1] - p[0][0] * a[0], a[-1] + b[0] * u[-1]), (-u[0] * a[0],)


def test_a_model_of_two_fields_passes_the_checks():
    rate = np.linspace(0.5, 1.5, K)
    model = StencilModel(exchange, exchange_tl, exchange_ad, 2 * K, 1, {"rate": rate}, fields=2)
    found = check_model(model)
    assert max(found.tendency, found.tendency_tl, found.dot_test) < 1e-13
    assert found.taylor_slopes == pytest.approx((1, 2), abs=0.1)


def test_parameters_may_differ_in_what_they_depend_on():
    """On members and sites, on sites alone, on nothing."""
    rng = np.random.default_rng(3)
    x, F, G = rng.standard_normal((4, 2 * 9)), rng.uniform(8, 10, (4, 9)), rng.uniform(5, 6, 9)
    found = VissioLucarini20(9, F, G, 0.7, 1.1)
    alone = [VissioLucarini20(9, own, G, 0.7, 1.1).tendency(one) for one, own in zip(x, F)]
    np.testing.assert_array_equal(found.tendency(x), alone)


def test_parameters_have_names():
    with pytest.raises(TypeError, match="parameters: expected .*string.*, found 3; each has a name"):
        StencilModel(exchange, exchange_tl, exchange_ad, 2 * K, 1, {3: 1.0}, fields=2)


def test_fields_must_fit():
    with pytest.raises(ValueError, match="sites: expected a multiple of fields = 2, found 9; it is the length of the"):
        StencilModel(exchange, exchange_tl, exchange_ad, 9, 1, {"rate": 1.0}, fields=2)
    with pytest.raises(ValueError, match="sites: expected at least 8, found 6"):
        StencilModel(exchange, exchange_tl, exchange_ad, 6, 1, {"rate": 1.0}, fields=2)
    with pytest.raises(TypeError, match="at_site: expected it to return a tuple of 2, one for each field, found"):
        StencilModel(lambda x, p: -x[0][0], exchange_tl, exchange_ad, 2 * K, 1, {"rate": 1.0}, fields=2)
    with pytest.raises(TypeError, match="at_site_ad: .* a tuple of 2, one for each field, and a tuple of 1, one for"):
        StencilModel(exchange, exchange_tl, lambda x, p, y_ad: (x[0][0], ()), 2 * K, 1, {"rate": 1.0}, fields=2)
    with pytest.raises(
        ValueError, match="base: expected a model of one field, as networks have, found 2; take another"
    ):
        Emulator(sq_net(), 0.0, base=VissioLucarini20(8))


# --- the models of the package --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "dt", "steps"), [(VissioLucarini20(36), 0.05, 1), (Lorenz63(), 0.01, 3)])
def test_jacobians_have_a_column_for_each_number_of_each_field(model, dt, steps):
    run = Propagator(model, dt)
    x = run.forecast(np.random.default_rng(0).standard_normal((2, model.sites)), 5)
    columns = [run.trajectory_tl(x, column, steps, steps)[1] for column in np.eye(model.sites)]
    np.testing.assert_allclose(run.jacobian(x, steps), np.stack(columns, axis=-1), atol=1e-13)


def test_states_of_models_have_a_length():
    for model, sites in ((VissioLucarini20(36), 72), (Lorenz63(), 3)):
        assert model.sites == sites
        with pytest.raises(ValueError, match=rf"x: expected shape \(..., {sites}\)"):
            model.tendency(np.zeros(5))


def test_parameters_belong_to_the_sites_of_the_ring():
    assert VissioLucarini20(8, alpha=np.ones(8)).tendency(np.ones(16)).shape == (16,)
    with pytest.raises(
        ValueError, match=r"alpha: expected a number or a shape that broadcasts .* \(8,\), found \(16,\)"
    ):
        VissioLucarini20(8, alpha=np.ones(16))


@pytest.mark.parametrize(
    ("model", "dt", "mean", "deviation"),
    [
        (Lorenz63(), 0.01, (0.0, 0.0, 23.55), (7.92, 9.0, 8.63)),
        (VissioLucarini20(36), 0.05, (2.3, 1.8), (3.5, 4.5)),
    ],
)
def test_the_attractor_is_where_the_literature_has_it(model, dt, mean, deviation):
    run = Propagator(model, dt)
    x = run.forecast(np.random.default_rng(0).standard_normal((64, model.sites)), 20_000)
    y = run.trajectory(x, 2000, 10).reshape(-1, model.fields, model.ring)
    np.testing.assert_allclose(y.mean(axis=(0, 2)), mean, atol=0.3)
    np.testing.assert_allclose(y.std(axis=(0, 2)), deviation, rtol=0.03)


@pytest.mark.parametrize("model, dt", [(Lorenz96(40, 8.0), 0.05), (KuramotoSivashinsky(), 0.5)], ids=["L96", "KS"])
def test_where_bits_are_the_same_and_where_roundings_differ(model, dt):
    """As `Propagator` says: the same in all ensembles of two or more; close to them alone, or with an array for F."""
    run, x = Propagator(model, dt), np.random.default_rng(0).standard_normal((11, model.sites))

    def everything(run, x):
        y_ad = np.ones_like(x)
        return run.trajectory(x, 3), run.trajectory_tl(x, y_ad, 3), run.step_ad(x, y_ad)[0][None]

    whole, pair, alone = everything(run, x), everything(run, x[9:]), everything(run, x[9])
    for among, two, one in zip(whole, pair, alone):
        np.testing.assert_array_equal(among[:, 9:], two)
        np.testing.assert_allclose(one, among[:, 9], rtol=0, atol=1e-13 * np.abs(among).max())
    if isinstance(model, Lorenz96):
        number, array = (Propagator(Lorenz96(40, F), dt).trajectory(x, 3) for F in (8.0, np.full(40, 8.0)))
        np.testing.assert_allclose(array, number, rtol=0, atol=1e-13 * np.abs(number).max())
