"""Networks as dynamics: those with known weights are Lorenz-96 to rounding, and what does not fit is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l96kit import Emulator, Lorenz63, Lorenz96, Network, Propagator, StencilModel, dot_test, lyapunov_spectrum, store
from l96kit import networks as nn
from l96kit.checks import check_model, complex_step
from l96kit.reference.networks import evaluate

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


@st.composite
def layers(draw):
    """Layers of any kinds that read any channels of any layers before, some of them several."""
    channels, found = [1], []

    def source():
        number = draw(st.integers(0, len(channels) - 1))
        start = draw(st.integers(0, channels[number] - 1))
        return number, start, draw(st.integers(start + 1, channels[number]))

    for number in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["convolution", "product", "sum", "relu", "leaky_relu", "tanh", "square"]))
        one, other, count = source(), source(), draw(st.integers(1, 4))
        if kind == "convolution":
            width = draw(st.integers(1, 3)) if number < 2 else 1
            found.append(nn.convolution(count, width, [one, other][: draw(st.integers(1, 2))], draw(st.booleans())))
            channels.append(count)
        elif kind == "product":
            found.append(nn.product((one, other), count))
            channels.append(count)
        elif kind == "sum":
            width = min(one[2] - one[1], other[2] - other[1])
            found.append(nn.add([(number, start, start + width) for number, start, _ in (one, other)]))
            channels.append(width)
        else:
            of = [one, other][: draw(st.integers(1, 2))]
            found.append(getattr(nn, kind)(of))
            channels.append(sum(stop - start for _, start, stop in of))
    return [*found, nn.convolution(1, of=[source(), source()])]


@settings(max_examples=60)
@given(layers(), st.integers(0, 2**32 - 1))
def test_layers_may_read_what_they_like(layers, seed):
    """Of whatever layers, a network and its derivatives are those of its formula."""
    rng, network = np.random.default_rng(seed), Network(layers)
    x, x_tl, y_ad = rng.standard_normal((3, 3, 8))
    weights, weights_tl = rng.uniform(-1, 1, (2, network.size))
    emulator = Emulator(network, weights, 8)

    def formula(x, weights):
        return evaluate(network.layers, weights, x)

    y, y_tl = formula(x, weights), complex_step(formula, (x, weights), (x_tl, weights_tl))
    scale = 1 + np.abs(y).max() + np.abs(y_tl).max()
    np.testing.assert_allclose(emulator.tendency(x), y, rtol=0, atol=1e-11 * scale)
    found = emulator.tendency_tl(x, x_tl, {"weights": weights_tl})
    np.testing.assert_allclose(found, y_tl, rtol=0, atol=1e-11 * scale)
    x_ad, parameters_ad = emulator.tendency_ad(x, y_ad)
    back = (x_ad * x_tl).sum() + parameters_ad["weights"] @ weights_tl
    scale += np.abs(x_ad).max() + np.abs(parameters_ad["weights"]).max()
    assert (y_ad * y_tl).sum() == pytest.approx(back, rel=0, abs=1e-10 * scale)


def test_sizes_are_those_of_the_paper():
    assert [network.size for network in (nn.deep_net(), nn.sq_net(), nn.bilin_net())] == [43_201, 20, 19]
    assert [network.reach for network in (nn.deep_net(), nn.sq_net(), nn.bilin_net())] == [1, 2, 2]
    assert [network.sight for network in (nn.deep_net(), nn.sq_net(), nn.bilin_net())] == [(2, 2), (2, 1), (2, 1)]


@pytest.mark.parametrize("network", [nn.deep_net(), nn.sq_net(), nn.bilin_net()], ids=lambda network: network.name)
def test_a_tendency_depends_on_what_a_network_sees_and_on_nothing_else(network):
    sites = 12
    model = Emulator(network, network.initial_weights(np.random.default_rng(3)), sites)
    x = np.random.default_rng(4).standard_normal(sites)
    (left, right), seen = network.sight, set()
    for change in range(sites):
        other = x.copy()
        other[change] += 1
        seen |= {(change - site + 6) % sites - 6 for site in np.flatnonzero(model.tendency(other) != model.tendency(x))}
    assert seen == set(range(-left, right + 1))


def test_layers_are_those_of_the_released_code():
    widths = [shape[2] for _, what, _, shape in nn.deep_net().shapes() if what == "weight"]
    channels = [shape[0] for _, what, _, shape in nn.deep_net().shapes() if what == "weight"]
    assert widths == [3, 1, 1, 1, 3, 1, 1, 1, 1] and channels == [16, 32, 32, 32, 32, 128, 128, 128, 1]


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


def test_first_weights_of_products_are_as_wide_as_those_of_bilinear_layers():
    """Of PyTorch: +-1 / sqrt(channels of the first factor)."""
    first, second = (1, 0, 4), (1, 4, 20)
    network = Network((nn.convolution(20, 3), nn.product((first, second), 50), nn.convolution(1)))
    weights = network.initial_weights(np.random.default_rng(0))
    (place,) = (place for number, _, place, _ in network.shapes() if number == 2)
    assert np.abs(weights[place]).max() == pytest.approx(4**-0.5, rel=1e-2)


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
    "bias": (
        lambda: Network([nn.Layer("convolution", (), 1, 1, "no")]),
        TypeError,
        "bias of layer 1: expected True or",
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


def decay(x, p):
    return -p[0][0] * x[0]


def decay_tl(x, p, x_tl, p_tl):
    return -p[0][0] * x_tl[0] - p_tl[0][0] * x[0]


def decay_ad(x, p, y_ad):
    return -p[0][0] * y_ad[0], (-x[0] * y_ad[0],)


def _decay(parameters):
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


# --- files ----------------------------------------------------------------------------------------------------------

ODD = Network([nn.convolution(2, 3), nn.relu(), nn.convolution(1, bias=False, of=[0, (2, 1, 2)])], "odd")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (2,), (3, 2), (0,)])
def test_networks_in_files(tmp_path, shape, dtype):
    weights = RNG.standard_normal((*shape, ODD.size)).astype(dtype)
    nn.save(tmp_path / "a.h5", ODD, weights, {"note": "two", "steps": 3})
    network, found, attributes = nn.load(tmp_path / "a.h5")
    assert network == ODD and network.name == "odd" and found.dtype == dtype
    assert attributes == {"note": "two", "steps": 3, "l96kit_version": attributes["l96kit_version"]}
    np.testing.assert_array_equal(found, weights)


def test_networks_of_whole_numbers_of_numpy_in_files(tmp_path):
    network = Network([nn.convolution(np.int64(1), np.int64(3), of=[np.int64(0)])])
    nn.save(tmp_path / "a.h5", network, np.zeros(4))
    assert nn.load(tmp_path / "a.h5")[0] == network


def test_a_closure_in_a_file_is_never_the_network_alone(tmp_path):
    network, weights = KNOWN["sqNet"]
    path, bases = tmp_path / "a.h5", [None, Lorenz96(12, 8.0), Lorenz96(12, 7.0), Lorenz96(12, np.full(12, 8.0))]
    bases += [_decay({"rate": 2.0}), _decay({"rate": 3.0}), _decay({"speed": 2.0})]
    bases += [replace(bases[4], at_site=lambda x, p: -2 * x[0])]
    for base in bases:
        nn.save(path, network, weights, base=base)
        np.testing.assert_array_equal(nn.load(path, base)[1], weights)
        for other in bases:
            if other is not base:
                with pytest.raises(
                    ValueError, match="base: expected .*, as .*a.h5 tells of its .* found .*; pass that"
                ):
                    nn.load(path, other)
    nn.save(path, network, weights, base=Lorenz96(12, 8))
    nn.load(path, Lorenz96(40, 8.0))  # weights know no ring
    with pytest.raises(
        ValueError, match="base: expected Lorenz96, F = 8.0, as .*a.h5 tells of its network, found None; "
    ):
        nn.load(path)
    with pytest.raises(ValueError, match="base: expected a model of one field"):
        nn.save(path, network, weights, base=Lorenz63())
    with pytest.raises(TypeError, match="base: expected a model without a network"):
        nn.load(path, 8.0)


def test_versions_that_know_no_base_still_read_networks_that_have_none(tmp_path):
    for base, number in ((None, 1), (Lorenz96(12, 8.0), 2)):
        nn.save(tmp_path / "a.h5", *KNOWN["sqNet"], base=base)
        assert json.loads(store.load(tmp_path / "a.h5")[1]["network"])["format"] == number


def of_one_layer(format=1, bias=False, width=1, name="a", **more):
    layers = [["convolution", [[0, 0, 1]], 1, width, bias]]
    return json.dumps({"format": format, "layers": layers, "name": name, **more})


OTHERS = {
    "a list": ("[]", "network"),
    "a deep list": ("[" * 100_000, "network"),
    "half of it": (of_one_layer()[:-1], "network"),
    "no layers": ('{"format": 1, "name": "a"}', "network"),
    "nothing for layers": (of_one_layer(layers=None), "network"),
    "another layer": (of_one_layer(layers=[["foo", [[0, 0, 1]], 1]]), "network"),
    "infinite": (of_one_layer(width=np.inf), "network"),
    "a word": (of_one_layer(bias="no"), "network"),
    "a number for a name": (of_one_layer(name=3), "network"),
    "no base": (of_one_layer(2), "network"),
    "a list for a base": (of_one_layer(2, base=[8]), "network"),
    "a number for parameters": (of_one_layer(2, base={"model": "Lorenz96", "parameters": 8}), "network"),
    "later": (of_one_layer(3), "format 1 or 2, found 3; read it with"),
    "a format in words": (of_one_layer("1"), "format 1 or 2, found '1'; read it with"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_refused(tmp_path, kind):
    about, expected = OTHERS[kind]
    for found, message in ((of_one_layer(), None), (about, f"a.h5: expected .*{expected}")):
        store.save(tmp_path / "a.h5", {"weights": ("weight", np.zeros(1))}, {"network": found})
        if message is None:
            nn.load(tmp_path / "a.h5")
        else:
            with pytest.raises(ValueError, match=message):
                nn.load(tmp_path / "a.h5")


def test_what_cannot_be_saved_or_read_is_refused(tmp_path):
    path, weights = tmp_path / "a.h5", np.zeros(ODD.size)
    for call, error, message in (
        (lambda: nn.save(path, ODD, weights, {"network": "mine"}), ValueError, "attributes: expected other names than"),
        (lambda: nn.save(path, ODD, weights, {"when": {}}), TypeError, "when: expected a number, a string or a small"),
        (lambda: nn.save(path, ODD, weights, 3), TypeError, "attributes: expected a dict"),
        (lambda: nn.save(path, nn.sq_net(), weights), ValueError, "as many as sqNet has"),
        (lambda: nn.save(path, weights, ODD), TypeError, "network: expected l96kit.Network, found ndarray"),
        (lambda: nn.load(path), FileNotFoundError, "expected a file, found none"),
    ):
        with pytest.raises(error, match=message):
            call()
    for variables in ({"x": ("site", np.zeros(3))}, {"weights": ("weight", np.zeros(3))}):
        store.save(path, variables, {"network": of_one_layer()})
        with pytest.raises(ValueError, match="expected a network that l96kit saved"):
            nn.load(path)


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
