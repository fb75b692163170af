"""Networks as dynamics: those with known weights are Lorenz-96 to rounding, and what does not fit is refused."""

import numpy as np
import pytest

from l96kit import Emulator, Lorenz96, Network, Propagator, StencilModel, dot_test, lyapunov_spectrum
from l96kit import networks as nn
from l96kit.checks import check_model

KNOWN = {"sqNet": (nn.sq_net(), nn.sq_net_of_lorenz96()), "bilinNet": (nn.bilin_net(), nn.bilin_net_of_lorenz96())}
RNG = np.random.default_rng(0)


# Tiles of one and of several, with and without padding.
@pytest.mark.parametrize(("name", "shape"), [("sqNet", (60,)), ("bilinNet", (9, 5)), ("bilinNet", (2, 8, 60))])
def test_known_weights_are_lorenz96(name, shape):
    emulated, known = Emulator(*KNOWN[name], shape[-1]), Lorenz96(shape[-1], 8.0)
    emulator, model = Propagator(emulated, 0.02), Propagator(known, 0.02)
    x = 8 + RNG.standard_normal(shape)
    x_tl, y_ad = RNG.standard_normal(shape), RNG.standard_normal((5, *shape))
    np.testing.assert_allclose(emulator.model.tendency(x), model.model.tendency(x), rtol=0, atol=1e-12)
    np.testing.assert_allclose(emulator.trajectory(x, 8, 2), model.trajectory(x, 8, 2), rtol=0, atol=1e-12)
    np.testing.assert_allclose(emulator.trajectory_tl(x, x_tl, 8, 2), model.trajectory_tl(x, x_tl, 8, 2), atol=1e-12)
    x_ad, parameters_ad = emulator.trajectory_ad(x, y_ad, 2)
    expected, expected_parameters = model.trajectory_ad(x, y_ad, 2)
    np.testing.assert_allclose(x_ad, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(parameters_ad["weights"][-1], expected_parameters["F"], rtol=1e-12)  # F is the last bias


def test_an_emulator_goes_where_a_model_goes():
    x = Propagator(Lorenz96(40, 8.0), 0.05).forecast(RNG.standard_normal(40), 400)
    emulator, model = Propagator(Emulator(*KNOWN["sqNet"]), 0.05), Propagator(Lorenz96(40, 8.0), 0.05)
    np.testing.assert_allclose(emulator.jacobian(x, 3), model.jacobian(x, 3), atol=1e-12)
    operator, v = emulator.linear_operator(x, 3), RNG.standard_normal(40)
    np.testing.assert_allclose(operator.T @ v, model.linear_operator(x, 3).T @ v, atol=1e-12)
    found, expected = (lyapunov_spectrum(run, x, 200, 3, spin_up=20).exponents for run in (emulator, model))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_network_is_added_to_a_model():
    network, weights = nn.sq_net(), 0.1 * RNG.standard_normal(20)
    base, x = Lorenz96(12, RNG.standard_normal(12)), RNG.standard_normal((3, 12))
    both = Emulator(network, weights, base=base)
    alone = base.tendency(x) + Emulator(network, weights, 12).tendency(x)
    np.testing.assert_allclose(both.tendency(x), alone, rtol=0, atol=1e-13)
    assert set(Propagator(both, 0.01).step_ad(x, x)[1]) == {"F", "weights"}


def test_sizes_are_those_of_the_paper():
    assert [network.size for network in (nn.deep_net(), nn.sq_net(), nn.bilin_net())] == [43_201, 20, 19]
    assert [network.reach for network in (nn.deep_net(), nn.sq_net(), nn.bilin_net())] == [1, 2, 2]


def test_initial_weights_are_uniform_and_repeat():
    network = nn.deep_net()
    weights = network.initial_weights(np.random.default_rng(3))
    np.testing.assert_array_equal(weights, network.initial_weights(np.random.default_rng(3)))
    inputs = {number: shape[1] * shape[2] for number, what, _, shape in network.shapes() if what == "weight"}
    for number, _, place, _ in network.shapes():
        bound = inputs[number] ** -0.5
        assert np.abs(weights[place]).max() <= bound
    largest = max(network.shapes(), key=lambda entry: entry[2].stop - entry[2].start)
    assert weights[largest[2]].std() == pytest.approx(inputs[largest[0]] ** -0.5 / 3**0.5, rel=0.05)


def test_the_precision_is_that_of_the_state():
    emulator = Emulator(*KNOWN["sqNet"])
    x = RNG.standard_normal((3, 40)).astype("float32")
    assert emulator.tendency(x).dtype == np.float32
    assert emulator.tendency_ad(x, x)[1]["weights"].dtype == np.float32


BAD = {
    "no layers": (lambda: Network([]), TypeError, "layers: expected a list of layers"),
    "a function": (lambda: Network([nn.relu]), TypeError, r"layers: expected a list of layers .* found \['function'\]"),
    "channels of nobody": (lambda: Network([nn.Layer("relu", (), 5)]), ValueError, "layer 1: expected a relu of 1"),
    "no width": (
        lambda: Network([nn.Layer("convolution", (), 1, 0)]),
        ValueError,
        "width of layer 1: expected at least",
    ),
    "half a width": (lambda: Network([nn.Layer("convolution", (), 1, 2.5)]), TypeError, "width of layer 1: expected a"),
    "a product of one": (
        lambda: Network([nn.Layer("product", (0,), 1)]),
        ValueError,
        "layer 1: expected two sources of a product",
    ),
    "a sum of one": (lambda: Network([nn.Layer("sum", (0,))]), ValueError, "layer 1: expected two sources of a sum"),
    "two channels": (lambda: Network([nn.convolution(2)]), ValueError, "layers: expected one channel in the end"),
    "later": (lambda: Network([nn.convolution(1, of=1)]), ValueError, "layer 1: expected `of` to name 0 to 0, found 1"),
    "channels": (
        lambda: Network([nn.convolution(2), nn.convolution(1, of=[(1, 0, 3)])]),
        ValueError,
        "layer 2: expected channels within 0 to 2 of layer 1, found 0 to 3",
    ),
    "sum": (
        lambda: Network([nn.convolution(2), nn.add((0, 1))]),
        ValueError,
        "layer 2: expected two sources of as many",
    ),
    "no sources": (lambda: nn.relu([]), ValueError, "of: expected at least one source"),
    "no list": (lambda: nn.Network(None), TypeError, "layers: expected a list of layers .*, found None"),
    "no name": (lambda: nn.Network((nn.convolution(1),), None), TypeError, "name: expected a string, found None"),
    "unknown layer": (lambda: nn.Network((nn.Layer("gelu", ()),)), ValueError, "layers: expected one of 'convolution'"),
    "one factor": (lambda: nn.product((1,)), ValueError, "of: expected 2 sources"),
    "no factors": (lambda: nn.product(1), ValueError, "of: expected 2 sources, found 1; name two layers"),
    "two numbers": (lambda: nn.relu((1, 0)), ValueError, r"of: expected the number of a layer or .*, found \(1, 0\)"),
    "no number": (lambda: nn.add(["1", 2]), ValueError, "of: expected the number of a layer or .*, found '1'"),
    "width": (lambda: nn.convolution(1, 0), ValueError, "width: expected at least 1, found 0"),
    "weights": (
        lambda: Emulator(nn.sq_net(), np.zeros(19)),
        ValueError,
        r"weights: expected shape \(20,\), as many as sqNet has, found \(19,\); they may belong to another network",
    ),
    "NaN": (lambda: Emulator(nn.sq_net(), np.full(20, np.nan)), ValueError, "weights: expected finite numbers"),
    "network": (lambda: Emulator("deep", np.zeros(3)), TypeError, "network: expected l96kit.Network, found str"),
    "ring": (
        lambda: Emulator(Network([nn.convolution(1, 11)]), np.zeros(12), 7),
        ValueError,
        "sites: expected at least 8, found 7",
    ),
    "base": (
        lambda: Emulator(*KNOWN["sqNet"], base=Emulator(*KNOWN["sqNet"])),
        TypeError,
        "base: expected a model without a network",
    ),
    "base with weights": (
        lambda: Emulator(*KNOWN["sqNet"], base=_decay({"weights": 1.0})),
        ValueError,
        "base: expected a model without a parameter 'weights'",
    ),
    "check": (
        lambda: check_model(Emulator(*KNOWN["sqNet"])),
        TypeError,
        "of a site, found Emulator; check a propagator of it",
    ),
    "change": (
        lambda: Emulator(*KNOWN["sqNet"]).tendency_tl(np.ones(40), np.ones(40), {"weights": np.ones(3)}),
        ValueError,
        r"weights: expected shape \(20,\)",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_does_not_fit_is_refused(kind):
    call, error, message = BAD[kind]
    with pytest.raises(error, match=message):
        call()


def _decay(parameters):
    def decay(x, p):
        return -p[0][0] * x[0]

    def decay_tl(x, p, x_tl, p_tl):
        return -p[0][0] * x_tl[0] - p_tl[0][0] * x[0]

    def decay_ad(x, p, y_ad):
        return -p[0][0] * y_ad[0], (-x[0] * y_ad[0],)

    return StencilModel(decay, decay_tl, decay_ad, sites=8, reach=1, parameters=parameters)


def test_a_users_model_with_a_network():
    x = RNG.standard_normal((3, 8))
    found = Emulator(*KNOWN["bilinNet"], base=_decay({"rate": 2.0})).tendency(x)
    np.testing.assert_allclose(found, Lorenz96(8, 8.0).tendency(x) - 2 * x, atol=1e-13)


def test_a_parameter_may_be_called_weights():
    x = RNG.standard_normal((3, 8))
    assert (
        dot_test(
            lambda u: _decay({"weights": 2.0}).tendency_tl(x, u[0], {"weights": u[1]}),
            lambda v: (lambda x_ad, p_ad: (x_ad, p_ad["weights"]))(*_decay({"weights": 2.0}).tendency_ad(x, v)),
            (x, np.array(2.0)),
        )
        < 1e-14
    )


@pytest.mark.parametrize(("sites", "scheme"), [(9, "rk4"), (40, "rk4"), (41, "rk4"), (52, "heun"), (53, "euler")])
def test_jacobians_of_ensembles_are_those_of_single_tangents(sites, scheme):
    """Of rings on which no two, two or more perturbations share a tangent."""
    network = nn.sq_net()
    run = Propagator(Emulator(network, 0.1 * RNG.standard_normal(network.size), sites), 0.05, scheme)
    x = RNG.standard_normal((2, 3, sites))
    found = run.jacobian(x)
    assert found.shape == (2, 3, sites, sites)
    for member in np.ndindex(2, 3):
        np.testing.assert_allclose(found[member], run.trajectory_tl(x[member], np.eye(sites), 1)[1].T, atol=1e-14)
    tendency = run.model.jacobian(x)
    np.testing.assert_allclose(tendency[1, 2], run.model.tendency_tl(x[1, 2], np.eye(sites)).T, atol=1e-14)


def test_a_gradient_without_that_of_the_weights():
    run, x = Propagator(Emulator(*KNOWN["sqNet"]), 0.05), 8 + RNG.standard_normal((3, 40))

    def cost(y, t):
        return 0.5 * (y**2).sum(), y

    J, x_ad, parameters_ad = run.gradient(x, cost, 4, parameters=False)
    expected = run.gradient(x, cost, 4)
    assert (J, parameters_ad) == (expected[0], {})
    np.testing.assert_array_equal(x_ad, expected[1])
