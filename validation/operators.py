"""The registry: each operator once, with its kernel, its reference and a sampler of its inputs.

The tests, the table of derivatives, the PTX table and the planted faults iterate over `OPERATORS`; an operator that is
not in it is not proved, and a test refuses a `*_ad` in `kernels/` that no entry names. What an operator is stands in
`operator_kinds`; to add one, write an entry for each variant.
"""

from typing import Any

import numpy as np

from l96kit.emulators import Emulator
from l96kit.models import KuramotoSivashinsky, Lorenz63, Lorenz96, StencilModel, VissioLucarini20
from l96kit.networks import (
    Network,
    add,
    bilin_net,
    convolution,
    deep_net,
    leaky_relu,
    product,
    relu,
    sq_net,
    square,
    tanh,
)
from l96kit.observation_operators import ObservationOperator, interpolation, linear, rotating
from l96kit.reference import kuramoto_sivashinsky, lorenz63, lorenz96, networks, runge_kutta, vissio_lucarini
from l96kit.validation.operator_kinds import Loss, Observe, Step, Tendency, Trajectory, domain_length

# --- samplers -------------------------------------------------------------------------------------------------------

EXTENTS = ("number", "per site", "row", "column", "per member and site", "in an array of one")


def _sampler(state, *parameters, fields=1):
    """A sampler of normal numbers; each parameter is (mean, deviation, extent), the state (mean, deviation)."""

    def sample(rng, members, sites, dtype):
        shapes = dict(zip(EXTENTS, [(), (sites,), (1, sites), (members, 1), (members, sites), (1, 1)]))
        shapes["state"] = members, fields * sites

        def draw(mean, deviation, extent):
            return np.asarray(mean + deviation * rng.standard_normal(shapes[extent]), dtype)

        return (draw(*state, "state"), *(draw(*parameter) for parameter in parameters))

    return sample


# --- Lorenz-96 ------------------------------------------------------------------------------------------------------

_SITES = ("dynamics_of_sites.slope_ad", "dynamics_of_sites.look_ad")
_TENDENCY = ("trajectory.tendency_ad",)
_STEP = ("runge_kutta.step_ad", "runge_kutta.slope_ad", "runge_kutta.evaluating_ad")
_TRAJECTORY = ("trajectory.trajectory_ad", *_STEP)


def _lorenz96(extent):
    return {
        "sample": _sampler((2.0, 3.0), (8.0, 1.0, extent)),
        "model": Lorenz96,
        "tendency": lorenz96.tendency,
        "uniform": extent == "number",
    }


# --- models of several fields ---------------------------------------------------------------------------------------


def _vissio_lucarini(*extents):
    means = zip((10.0, 10.0, 1.0, 1.0), (1.0, 1.0, 0.2, 0.2), extents)
    return {
        "sample": _sampler((2.0, 3.0), *means, fields=2),
        "model": lambda sites, *parameters: VissioLucarini20(sites // 2, *parameters),
        "tendency": vissio_lucarini.tendency,
        "uniform": set(extents) == {"number"},
    }


def _lorenz63(extent):
    """Its ring has one site, whatever the ensemble is given."""
    sample = _sampler((2.0, 3.0), (10.0, 1.0, extent), (28.0, 1.0, extent), (2.5, 0.2, extent), fields=3)
    return {
        "sample": lambda rng, members, sites, dtype: sample(rng, members, 1, dtype),
        "model": lambda sites, *parameters: Lorenz63(*parameters),
        "tendency": lorenz63.tendency,
        "uniform": extent == "number",
    }


# --- Kuramoto-Sivashinsky ---------------------------------------------------------------------------------------------


def _kuramoto_sivashinsky():
    """It needs 16 sites, and an even number of them."""
    sample = _sampler((0.0, 1.3))
    return {
        "sample": lambda rng, members, sites, dtype: sample(rng, members, sites + sites % 2 + 12, dtype),
        "model": lambda sites: KuramotoSivashinsky(sites, domain_length(sites)),
        "tendency": lambda x: kuramoto_sivashinsky.tendency(x, domain_length(x.shape[-1])),
        "uniform": True,
    }


# --- a model of a user's own: Burgers with a speed and a viscosity that vary along the ring --------------------------
# Its parameters enter as products with the state and at neighbouring sites, which those of Lorenz-96 do not.


def burgers(x, p):
    """-c_k x_k (x_{k+1} - x_{k-1}) + (nu_k + nu_{k+1}) (x_{k+1} - x_k) - (nu_k + nu_{k-1}) (x_k - x_{k-1})."""
    c, nu = p
    return -c[0] * x[0] * (x[1] - x[-1]) + (nu[0] + nu[1]) * (x[1] - x[0]) - (nu[0] + nu[-1]) * (x[0] - x[-1])


def burgers_tl(x, p, x_tl, p_tl):
    c, nu = p
    c_tl, nu_tl = p_tl
    advection = c_tl[0] * x[0] * (x[1] - x[-1]) + c[0] * (x_tl[0] * (x[1] - x[-1]) + x[0] * (x_tl[1] - x_tl[-1]))
    right = (nu_tl[0] + nu_tl[1]) * (x[1] - x[0]) + (nu[0] + nu[1]) * (x_tl[1] - x_tl[0])
    left = (nu_tl[0] + nu_tl[-1]) * (x[0] - x[-1]) + (nu[0] + nu[-1]) * (x_tl[0] - x_tl[-1])
    return right - left - advection


def burgers_ad(x, p, y_ad):
    c, nu = p
    advection = c[0] * (x[1] - x[-1]) * y_ad[0] + c[-1] * x[-1] * y_ad[-1] - c[1] * x[1] * y_ad[1]
    diffusion = (nu[0] + nu[1]) * (y_ad[1] - y_ad[0]) - (nu[0] + nu[-1]) * (y_ad[0] - y_ad[-1])
    c_ad = -x[0] * (x[1] - x[-1]) * y_ad[0]
    nu_ad = (x[1] - x[0]) * (y_ad[0] - y_ad[1]) - (x[0] - x[-1]) * (y_ad[0] - y_ad[-1])
    return diffusion - advection, (c_ad, nu_ad)


def burgers_reference(x, c, nu):
    """The same, with fluxes between the sites. x : (..., site); c, nu : number, (site,) or (..., site)."""
    nu = nu + 0 * x
    flux = (nu + np.roll(nu, -1, axis=-1)) * (np.roll(x, -1, axis=-1) - x)  # across the right-hand face
    return flux - np.roll(flux, 1, axis=-1) - c * x * (np.roll(x, -1, axis=-1) - np.roll(x, 1, axis=-1))


def burgers_model(sites, c: Any, nu: Any):
    return StencilModel(burgers, burgers_tl, burgers_ad, sites, 1, {"c": c, "nu": nu}, "Burgers")


def _burgers(speed, viscosity):
    return {
        "sample": _sampler((0.0, 1.0), (0.5, 0.1, speed), (0.5, 0.1, viscosity)),
        "model": burgers_model,
        "tendency": burgers_reference,
        "uniform": speed == viscosity == "number",
    }


# --- networks: the weights are the one parameter ---------------------------------------------------------------------

MIXED = Network(  # every kind of layer, sources of all kinds, odd numbers of channels
    (
        convolution(3, 2),
        tanh(),
        convolution(5, 5, of=[1, (2, 0, 2)], bias=False),
        leaky_relu(),
        product(((2, 1, 3), 4), channels=2),
        add(((4, 1, 3), 5)),
        square(of=[6, (3, 2, 3)]),
        convolution(1, of=[7, 0]),
    ),
    "mixed",
)
TANH = Network(  # pointwise layers right behind others, of which none may lose what its slope follows from
    (convolution(3, 3), tanh(), tanh(), convolution(2, 2), tanh(), leaky_relu(), tanh(), convolution(1)), "tanh"
)
RELU = Network((convolution(6, 3), relu(), convolution(5), relu(), convolution(1, 3)), "relu")


def _network_reference(network):
    return lambda x, weights: networks.evaluate(network.layers, weights, x)


def _has_kinks(network):
    return any(layer.kind in ("relu", "leaky_relu") for layer in network.layers)


def _network(network, spread=0.5):
    def sample(rng, members, sites, dtype):
        return tuple(
            np.asarray(part, dtype)
            for part in (rng.standard_normal((members, sites)), spread * rng.standard_normal(network.size))
        )

    return {
        "sample": sample,
        "model": lambda sites, weights: Emulator(network, weights, sites),
        "tendency": _network_reference(network),
        "uniform": True,
        "kinks": _has_kinks(network),
    }


def _network_beside_lorenz96(network, F=8.0):
    """The weights are the one parameter, the forcing is a constant."""
    return {
        **_network(network, 0.3),
        "model": lambda sites, weights: Emulator(network, weights, base=Lorenz96(sites, F)),
        "tendency": lambda x, weights: lorenz96.tendency(x, F) + _network_reference(network)(x, weights),
    }


def _network_added_to_lorenz96(network, extent):
    state_and_forcing = _sampler((2.0, 3.0), (8.0, 1.0, extent))

    def sample(rng, members, sites, dtype):
        weights = 0.2 * rng.standard_normal(network.size)
        return (*state_and_forcing(rng, members, sites, dtype), np.asarray(weights, dtype))

    return {
        "sample": sample,
        "model": lambda sites, F, weights: Emulator(network, weights, base=Lorenz96(sites, F)),
        "tendency": lambda x, F, weights: lorenz96.tendency(x, F) + _network_reference(network)(x, weights),
        "uniform": extent == "number",
        "kinks": _has_kinks(network),
    }


# --- observations -----------------------------------------------------------------------------------------------------


def _sums(sites):
    """Of two sites each with the same one again, and more of them than sites."""
    rng = np.random.default_rng(sites)
    indices = rng.integers(0, sites, (2, sites + 3, 3))
    indices[..., 2] = indices[..., 0]
    return ObservationOperator(sites, indices, rng.standard_normal(indices.shape))


def _matrices(sites):
    return linear(np.random.default_rng(sites).standard_normal((2, 3, sites)) / np.sqrt(sites))


def _between(sites):
    operator = interpolation(np.linspace(0.3, sites - 0.4, 3), sites)
    return ObservationOperator(sites, np.repeat(operator.indices, 2, axis=0), np.repeat(operator.weights, 2, axis=0))


def _alternate(sites):
    """Every second site of an even number of them, in turn."""
    return rotating(2, sites - sites % 2) if sites % 2 == 0 else _between(sites)


def _observations():
    proves = ("observing.one_ad",)
    for name, model, function in (
        ("sites", _alternate, "identity"),
        ("sums", _sums, "tanh"),
        ("sums", _sums, "absolute"),
        ("matrix", _matrices, "cube"),
        ("interpolation", _between, "square"),
        ("interpolation", _between, "exponential"),
    ):
        settings = {"sample": _sampler((1.0, 1.0)), "model": model, "tendency": None, "uniform": True}
        kinks = function in ("absolute", "identity")
        yield Observe(f"observed {name}, {function}.observe", proves, **settings, kinks=kinks, function=function)


# --- the list -------------------------------------------------------------------------------------------------------


def _lorenz96_operators():
    own, extents = ("lorenz96.tendency_ad", *_SITES), ("number", "per site", "per member and site")
    for extent in extents:
        yield Tendency(f"lorenz96.tendency, F {extent}", own + _TENDENCY, **_lorenz96(extent))
    for scheme in runge_kutta.SCHEMES:
        for kind in (Step, Trajectory):
            for extent in extents:
                name = f"lorenz96.{kind.__name__.lower()}, {scheme}, F {extent}"
                yield kind(name, own + _TRAJECTORY, **_lorenz96(extent), scheme=scheme)


_TRAINING = ("training.loss_ad", "training.minibatch_ad", "training.rollouts_ad", *_STEP[1:])
_SPECTRAL = (
    "kuramoto_sivashinsky.product_ad",
    "dynamics_of_spectrum.prepare_ad",
    "dynamics_of_spectrum.slope_ad",
    "dynamics_of_spectrum.w_ad",
)
_NETWORK = (
    "layers.convolution_ad",
    "layers.product_ad",
    "layers.sum_ad",
    "dynamics_of_network.prepare_ad",
    "dynamics_of_network.slope_ad",
)
_SUM = (*_SITES, *_NETWORK, "dynamics_of_model.prepare_ad", "dynamics_of_model.slope_ad")

OPERATORS = (
    *_lorenz96_operators(),
    Tendency("mixed network.tendency", _NETWORK + _TENDENCY, **_network(MIXED)),
    Tendency("deepNet.tendency", _NETWORK + _TENDENCY, **_network(deep_net(), 0.2)),
    Trajectory("mixed network.trajectory, rk4", _NETWORK + _TRAJECTORY, **_network(MIXED, 0.15)),
    Step("sqNet.step, rk4", _NETWORK + _TRAJECTORY, **_network(sq_net())),
    Step(
        "lorenz96 and sqNet.step, euler, F number",
        _SUM + _TRAJECTORY,
        **_network_added_to_lorenz96(sq_net(), "number"),
        scheme="euler",
    ),
    Step("bilinNet.step, euler", _NETWORK + _TRAJECTORY, **_network(bilin_net()), scheme="euler"),
    Trajectory(
        "lorenz96 and relu network.trajectory, heun, F per site",
        _SUM + _TRAJECTORY,
        **_network_added_to_lorenz96(RELU, "per site"),
        scheme="heun",
    ),
    Loss("mixed network.loss of rollouts, euler", _NETWORK + _TRAINING, **_network(MIXED, 0.15), scheme="euler"),
    Loss(
        "lorenz96 and tanh network.loss of rollouts, euler",
        _SUM + _TRAINING,
        **_network_beside_lorenz96(TANH),
        scheme="euler",
        every=1,
        at_once=100,
    ),
    Tendency(
        "vissio-lucarini.tendency, parameters per site",
        ("vissio_lucarini.tendency_ad", *_SITES, *_TENDENCY),
        **_vissio_lucarini(*["per site"] * 4),
    ),
    Trajectory(
        "vissio-lucarini.trajectory, rk4, parameters numbers",
        ("vissio_lucarini.tendency_ad", *_SITES, *_TRAJECTORY),
        **_vissio_lucarini(*["number"] * 4),
    ),
    Trajectory(
        "vissio-lucarini.trajectory, heun, parameters of all extents",
        ("vissio_lucarini.tendency_ad", *_SITES, *_TRAJECTORY),
        **_vissio_lucarini("row", "column", "per member and site", "number"),
        scheme="heun",
    ),
    Tendency(
        "lorenz63.tendency, parameters numbers", ("lorenz63.tendency_ad", *_SITES, *_TENDENCY), **_lorenz63("number")
    ),
    Tendency(
        "lorenz63.tendency, parameters in arrays of one",
        ("lorenz63.tendency_ad", *_SITES, *_TENDENCY),
        **_lorenz63("in an array of one"),
    ),
    Trajectory(
        "lorenz63.trajectory, heun, parameters per member",
        ("lorenz63.tendency_ad", *_SITES, *_TRAJECTORY),
        **_lorenz63("per member and site"),
        scheme="heun",
    ),
    Tendency("kuramoto-sivashinsky.tendency", _SPECTRAL + _TENDENCY, **_kuramoto_sivashinsky()),
    Step(
        "kuramoto-sivashinsky.step, euler", _SPECTRAL + _TRAJECTORY, **_kuramoto_sivashinsky(), scheme="euler", dt=1e-3
    ),
    Trajectory(
        "kuramoto-sivashinsky.trajectory, etdrk4",
        ("trajectory.trajectory_ad", "exponential.step_ad", "exponential.stage_ad", *_SPECTRAL),
        **_kuramoto_sivashinsky(),
        scheme="etdrk4",
        dt=0.5,
    ),
    Tendency("burgers.tendency, c number, nu per site", _SITES + _TENDENCY, **_burgers("number", "per site")),
    Trajectory("burgers.trajectory, rk4, c and nu numbers", _SITES + _TRAJECTORY, **_burgers("number", "number")),
    Trajectory(
        "burgers.trajectory, heun, c a row, nu a column",
        _SITES + _TRAJECTORY,
        **_burgers("row", "column"),
        scheme="heun",
    ),
    *_observations(),
)
