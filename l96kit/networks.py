"""Networks on a ring that predict a tendency, as data: a list of layers, and all their weights in one array.

    network = Network([convolution(16, 3), relu(), convolution(1)])

A layer reads the layer before it, or what `of` names: 0 is the state, i the i-th layer, (i, start, stop) some of its
channels, and a list of these their concatenation. Positions wrap round the ring, so a network serves rings of any
length. A convolution of width w sees w // 2 sites to the left and (w - 1) // 2 to the right.
"""

import json
import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import NamedTuple

import numpy as np

from l96kit import _arrays, store
from l96kit._objects import Settings
from l96kit._random import generator
from l96kit.kernels import layers as kernels
from l96kit.models import Model, StencilModel

POINTWISE = {
    "relu": kernels.RELU,
    "leaky_relu": kernels.LEAKY_RELU,
    "tanh": kernels.TANH,
    "square": kernels.SQUARE,
}


class Layer(NamedTuple):
    """What a layer does: see the functions of this module that make one."""

    kind: str
    of: tuple
    channels: int = 0
    width: int = 1
    bias: bool = False


def convolution(channels, width=1, of=None, bias=True) -> Layer:
    """`channels` numbers a site, each a weighted sum of what is read there and round it, plus a bias."""
    channels, width = _arrays.count(channels, "channels"), _arrays.count(width, "width")
    bias = _arrays.flag(bias, "bias", "False leaves it out")
    return Layer("convolution", _sources(of), channels, width, bias)


def product(of, channels=1) -> Layer:
    """`channels` weighted sums of all products of a channel of the one source with one of the other, at each site."""
    return Layer("product", _sources(of, 2), _arrays.count(channels, "channels"))


def add(of) -> Layer:
    """The sum of two sources, of just as many channels: a connection past the layers in between."""
    return Layer("sum", _sources(of, 2))


def relu(of=None) -> Layer:
    """max(x, 0)"""
    return Layer("relu", _sources(of))


def leaky_relu(of=None) -> Layer:
    """x above zero, x / 100 below"""
    return Layer("leaky_relu", _sources(of))


def tanh(of=None) -> Layer:
    """tanh x"""
    return Layer("tanh", _sources(of))


def square(of=None) -> Layer:
    """x^2"""
    return Layer("square", _sources(of))


def _sources(of, count=None):
    """What a layer reads, as a tuple; an empty one stands for the layer before."""
    if of is None and count is None:
        return ()
    if count is not None:
        if not isinstance(of, (list, tuple)) or len(of) != count:
            raise ValueError(f"of: expected {count} sources, found {_arrays.shown(of)}; name two layers: [0, 2]")
    elif not isinstance(of, list):
        of = [of]
    if not of:
        raise ValueError("of: expected at least one source, found an empty list; leave it out for the layer before")
    return tuple(map(_source, of))


def _source(found):
    """The number of a layer, or (layer, first channel, last channel + 1)."""
    numbers = found if isinstance(found, tuple) else (found,)
    if len(numbers) not in (1, 3) or not all(isinstance(number, Integral) for number in numbers):
        raise ValueError(
            f"of: expected the number of a layer or (layer, first channel, last channel + 1), found "
            f"{_arrays.shown(found)}; name several in a list"
        )
    return tuple(map(int, numbers)) if len(numbers) == 3 else int(numbers[0])


@dataclass(frozen=True, eq=False, repr=False)
class Network(Settings):
    """Layers that lead from a state (one channel) to a tendency (one channel), at every site alike.

    Parameters
    ----------
    layers : sequence of layers from `convolution`, `product`, `add`, `relu`, `leaky_relu`, `tanh`, `square`
    name : appears in messages and files

    Attributes
    ----------
    size : how many weights there are
    reach : how far a layer looks, in sites
    """

    layers: tuple
    name: str = "network"

    def __post_init__(self):
        layers = self.layers
        if not isinstance(layers, (list, tuple)) or not layers or not all(isinstance(n, Layer) for n in layers):
            found = [type(n).__name__ for n in layers] if isinstance(layers, (list, tuple)) else layers
            raise TypeError(
                f"layers: expected a list of layers such as convolution(16, 3) and relu(), found "
                f"{_arrays.shown(found)}; see l96kit.networks"
            )
        _arrays.text(self.name, "name", "it appears in messages and files")
        for layer in layers:
            _arrays.one_of(layer.kind, ("convolution", "product", "sum", *POINTWISE), "layers")
        channels, resolved = [1], []
        for number, layer in enumerate(layers, 1):
            sources = tuple(_resolved(source, number, channels) for source in layer.of or (number - 1,))
            widths = [stop - start for _, start, stop in sources]
            _check(layer, number, widths)
            if layer.kind == "sum" and widths[0] != widths[1]:
                raise ValueError(
                    f"layer {number}: expected two sources of as many channels, found {widths[0]} and {widths[1]}; "
                    "add a convolution in between"
                )
            out = layer.channels or (widths[0] if layer.kind == "sum" else sum(widths))
            resolved.append(layer._replace(of=sources, channels=out))
            channels.append(out)
        if channels[-1] != 1:
            raise ValueError(
                f"layers: expected one channel in the end, the tendency, found {channels[-1]}; end with convolution(1)"
            )
        object.__setattr__(self, "layers", tuple(resolved))

    def __repr__(self):
        return f"<{self.name}: {len(self.layers)} layers, {self.size} weights>"

    @cached_property
    def size(self) -> int:
        return sum(map(_size, self.layers))

    @property
    def reach(self) -> int:
        return max(layer.width // 2 for layer in self.layers)

    @cached_property
    def sight(self) -> tuple:
        """How many sites to the left and to the right a tendency depends on."""
        found = [(0, 0)]
        for layer in self.layers:
            sources = [found[number] for number, _, _ in layer.of]
            left, right = (max(source[side] for source in sources) for side in (0, 1))
            found.append((left + layer.width // 2, right + (layer.width - 1) // 2))
        return found[-1]

    @cached_property
    def program(self) -> np.ndarray:
        """The table that the kernels run: (row, number), int64."""
        readers = Counter(source[0] for layer in self.layers for source in layer.of)
        starts, end = [0], 1  # of each layer's channels in the room; of all
        rows, at = [], 0
        for layer in self.layers:
            if _is_in_place(layer, self.layers, readers):
                starts.append(starts[layer.of[0][0]])
            else:
                starts.append(end)
                end += layer.channels
            rows += _rows(layer, starts, starts[-1], at)
            at += _size(layer)
        return np.array(rows, np.int64)

    def checked_weights(self, weights, name="weights"):
        """Weights (weight,) of this network; one number stands for all."""
        weights = _arrays.real(weights, name)
        if weights.shape not in ((), (self.size,)):
            raise ValueError(
                f"{name}: expected shape ({self.size},), as many as {self.name} has, found {weights.shape}; they may "
                "belong to another network"
            )
        return _arrays.finite(np.broadcast_to(weights, self.size), name)

    def shapes(self):
        """Where the weights lie: list of (layer, "weight" or "bias", slice of the array, shape)."""
        found, at = [], 0
        for number, layer in enumerate(self.layers, 1):
            for what, shape in _shapes(layer):
                found.append((number, what, slice(at, at + int(np.prod(shape))), shape))
                at += int(np.prod(shape))
        return found

    def initial_weights(self, rng, dtype=np.float64):
        """Weights (weight,) as PyTorch draws them: uniform between +-1 / sqrt(inputs of a number).

        Source: He et al. (2015), with a = sqrt(5), as the default of PyTorch's layers.
        """
        dtype, rng = _arrays.precision(dtype), generator(rng)
        _arrays.require_memory(8 * self.size, "weights", "take fewer channels")
        weights = np.empty(self.size, dtype)
        for number, _, place, shape in self.shapes():
            layer = self.layers[number - 1]
            inputs = shape[1] if layer.kind == "product" else _inputs(layer) * layer.width
            weights[place] = generator(rng).uniform(-1, 1, place.stop - place.start) / np.sqrt(inputs)
        return weights


def _check(layer, number, widths):
    """Refuse what no function of this module makes, so that no kernel meets it; `widths` are channels of sources."""
    _arrays.count(layer.width, f"width of layer {number}")
    _arrays.count(layer.channels, f"channels of layer {number}", layer.kind in ("convolution", "product"))
    if not isinstance(layer.bias, (bool, np.bool_)):
        raise TypeError(f"bias of layer {number}: expected True or False, found {layer.bias!r}; True adds one")
    if layer.kind in ("sum", "product") and len(widths) != 2:
        raise ValueError(
            f"layer {number}: expected two sources of a {layer.kind}, found {len(widths)}; name two layers"
        )
    given = {"sum": widths[0], "convolution": layer.channels, "product": layer.channels}.get(layer.kind, sum(widths))
    if layer.channels not in (0, given) or (layer.kind != "convolution" and layer.width != 1):
        raise ValueError(
            f"layer {number}: expected a {layer.kind} of {given} channels and width 1, found {layer.channels} and "
            f"{layer.width}; make it with a function of l96kit.networks"
        )


def _resolved(source, number, channels):
    """(layer, first channel, last + 1) of a source as the user gave it."""
    layer, start, stop = source if isinstance(source, tuple) else (source, 0, None)
    if not 0 <= layer < number:
        raise ValueError(
            f"layer {number}: expected `of` to name 0 to {number - 1}, found {layer}; it reads what is before"
        )
    stop = channels[layer] if stop is None else stop
    if not 0 <= start < stop <= channels[layer]:
        raise ValueError(
            f"layer {number}: expected channels within 0 to {channels[layer]} of layer {layer}, found {start} to "
            f"{stop}; mend `of`"
        )
    return layer, start, stop


def _inputs(layer):
    return sum(stop - start for _, start, stop in layer.of)


def _shapes(layer):
    """The arrays of weights of a layer: list of ("weight" or "bias", shape)."""
    if layer.kind == "product":
        return [("weight", (layer.channels, *(stop - start for _, start, stop in layer.of)))]
    if layer.kind != "convolution":
        return []
    weight = ("weight", (layer.channels, _inputs(layer), layer.width))
    return [weight, ("bias", (layer.channels,))] if layer.bias else [weight]


def _size(layer):
    return sum(int(np.prod(shape)) for _, shape in _shapes(layer))


def _is_in_place(layer, layers, readers):
    """Whether a layer may overwrite what it reads: all of a layer that no other reads. It saves half of the room.

    The last layer may not, since its channel is to be the last one. What a pointwise layer wrote may not be lost, since
    its slope follows from it.
    """
    if POINTWISE.get(layer.kind) not in kernels.IN_PLACE or len(layer.of) > 1 or layer is layers[-1]:
        return False
    (number, start, stop), *_ = layer.of
    source = layers[number - 1]
    reads_all = number > 0 and readers[number] == 1 and (start, stop) == (0, source.channels)
    return reads_all and source.kind not in POINTWISE


def _rows(layer, starts, write, at):
    """The rows of a layer, one for each source that is concatenated."""
    sources = [(starts[number] + start, stop - start) for number, start, stop in layer.of]
    if layer.kind == "convolution":
        stride = _inputs(layer) * layer.width
        bias = at + layer.channels * stride if layer.bias else kernels.NONE
        for read, count in sources:
            yield kernels.Row(
                kernels.CONVOLUTION, read, write, count, layer.channels, layer.width, layer.width // 2, at, stride, bias
            )
            at, bias = at + count * layer.width, kernels.MORE
    elif layer.kind in ("product", "sum"):
        (read, count), (other, others) = sources
        operation = kernels.PRODUCT if layer.kind == "product" else kernels.SUM
        yield kernels.Row(operation, read, write, count, layer.channels, at=at, other=other, others=others)
    else:
        for read, count in sources:
            yield kernels.Row(POINTWISE[layer.kind], read, write, count, count)
            write += count


# --- files --------------------------------------------------------------------------------------------------------

ALONE, WITH_BASE = 1, 2  # formats; versions of l96kit that know no base refuse the second


def save(path, network, weights, attributes=None, base=None):
    """Write a network and its weights (weight,) or (..., weight), such as one row a seed, to an HDF5 file.

    attributes : dict of more to keep, numbers and strings, such as the dt of the training
    base : the model to which the network is added, as of `Emulator`; a network that was trained with one means nothing
        without it. The file tells what it is, and `load` asks for it.

    `Trained.save` writes all of this by itself.
    """
    if not isinstance(network, Network):
        raise TypeError(
            f"network: expected l96kit.Network, found {type(network).__name__}; pass (path, network, weights)"
        )
    attributes = _arrays.mapping({} if attributes is None else attributes, "attributes")
    if "network" in attributes:
        raise ValueError("attributes: expected other names than 'network', found it; the file has the network there")
    weights = _arrays.floating(weights, "weights")
    for row in _each(weights):
        network.checked_weights(row)
    axes = (*(f"axis_{axis}" for axis in range(weights.ndim - 1)), "weight")
    about = {"format": ALONE, "name": network.name, "layers": network.layers}
    if base is not None:
        about |= {"format": WITH_BASE, "base": _told(checked_base(base))}
    store.save(path, {"weights": (axes, weights)}, {**attributes, "network": json.dumps(about)})


def load(path, base=None):
    """Read such a file: the network, its weights, and dict of attributes.

    base : the model to which the network is to be added, if the file tells of one: its kind and its parameters must be
        those of then. (Of a `StencilModel` the file knows the name of its function, not what it does.) The emulator is
        then `Emulator(network, weights, base=base)`.

    Raises
    ------
    OSError
        if there is no file, or the system does not give it
    ValueError
        a file that is damaged, of another kind or of a later version; no base or another one for a network that has
        one; a base for a network that stands alone
    """
    base = None if base is None else _told(checked_base(base))
    variables, attributes = store.load(path)
    try:
        found = json.loads(attributes.pop("network"))
        version = found["format"]
        if version in (ALONE, WITH_BASE):
            layers = [Layer(kind, tuple(map(tuple, of)), *rest) for kind, of, *rest in found["layers"]]
            network, weights = Network(layers, found["name"]), _arrays.floating(variables["weights"][1], "weights")
            for row in _each(weights):
                network.checked_weights(row)
            wanted = found["base"] if version == WITH_BASE else None
            in_words = _in_words(wanted)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as problem:
        raise ValueError(
            f"{path}: expected a network that l96kit saved, found none ({problem}); name another file"
        ) from None
    if version not in (ALONE, WITH_BASE):
        raise ValueError(
            f"{path}: expected format {ALONE} or {WITH_BASE}, found {version!r}; read it with the l96kit that wrote it"
        )
    if wanted != base:
        raise ValueError(
            f"base: expected {in_words}, as {path} tells of its network, found {_in_words(base)}; pass that one to "
            "load, and to Emulator"
        )
    return network, weights, {name: _plain(value) for name, value in attributes.items()}


def checked_base(base):
    """A model to which a network can be added."""
    if not isinstance(base, Model) or base.network is not None:
        raise TypeError(
            f"base: expected a model without a network such as Lorenz96(40, 8.0), found {type(base).__name__}; add the "
            "networks into one"
        )
    if not base.is_local:
        raise TypeError(
            f"base: expected a model made of functions of a site, as Lorenz96(40, 8.0), found {type(base).__name__}; a "
            "network cannot be added to it"
        )
    if base.fields > 1:
        raise ValueError(f"base: expected a model of one field, as networks have, found {base.fields}; take another")
    if "weights" in base.parameters:
        raise ValueError(
            "base: expected a model without a parameter 'weights', which are those of the network, found one; rename it"
        )
    return base


def _told(base):
    """What a file tells of a model: its kind and its parameters."""
    kind = type(base).__name__
    if isinstance(base, StencilModel):
        kind += f" {base.at_site.__name__}"
    return {"model": kind, "parameters": {name: np.asarray(value).tolist() for name, value in base.parameters.items()}}


def _in_words(told):
    if told is None:
        return "None"
    shown = {
        name: np.array2string(np.array(value), threshold=6) if isinstance(value, list) else value
        for name, value in told["parameters"].items()
    }
    return ", ".join([told["model"], *(f"{name} = {value}" for name, value in shown.items())])


def checked_network(value):
    """A network; anything else is refused."""
    return _arrays.instance(value, Network, "network", "l96kit.Network", "make one from a list of layers")


def _each(weights):
    """(..., weight) as (row, weight), also of networks that have none."""
    return weights.reshape(math.prod(weights.shape[:-1]), *weights.shape[-1:])


def _plain(value):
    """A number of Python for one of NumPy's."""
    return value.item() if isinstance(value, np.generic) else value


# --- the networks of Nonnenmacher & Greenberg (2021) ----------------------------------------------------------------


def deep_net() -> Network:
    """deepNet: eight hidden layers with ReLU, two of them of width 3; 43,201 weights.

    Source: Nonnenmacher & Greenberg (2021), in the order of the code that they released: the convolutions of width 3
    are the first and the fifth.
    """
    widths = ((16, 3), (32, 1), (32, 1), (32, 1), (32, 3), (128, 1), (128, 1), (128, 1))
    hidden = [layer for channels, width in widths for layer in (convolution(channels, width), relu())]
    return Network((*hidden, convolution(1)), "deepNet")


def sq_net() -> Network:
    """sqNet: three channels of width 4, squared, beside the state itself; 20 weights. It can equal Lorenz-96.

    Source: Nonnenmacher & Greenberg (2021), section 2.2.
    """
    return Network((convolution(3, 4), square(), convolution(1, of=[2, 0])), "sqNet")


def bilin_net() -> Network:
    """bilinNet: three channels of width 4, the product of two beside the third; 19 weights. It can equal Lorenz-96.

    Source: Nonnenmacher & Greenberg (2021), section 2.2.
    """
    first, second, third = (1, 0, 1), (1, 1, 2), (1, 2, 3)
    return Network((convolution(3, 4), product((first, second)), convolution(1, of=[2, third])), "bilinNet")


def sq_net_of_lorenz96(F=8.0, dtype=np.float64):
    """The weights (20,) with which `sq_net` is the tendency of Lorenz-96, by a b = ((a + b)^2 - a^2 - b^2) / 2."""
    taps = [[0, 1, 0, 0], [-1, 0, 0, 1], [-1, 1, 0, 1]]  # at k-2, k-1, k, k+1
    return _weights_of(taps, [-0.5, -0.5, 0.5, -1.0], F, dtype)


def bilin_net_of_lorenz96(F=8.0, dtype=np.float64):
    """The weights (19,) with which `bilin_net` is the tendency of Lorenz-96."""
    taps = [[0, 1, 0, 0], [-1, 0, 0, 1], [0, 0, 1, 0]]
    return _weights_of(taps, [1.0, 1.0, -1.0], F, dtype)


def _weights_of(taps, others, F, dtype):
    """Three channels without bias, the weights that follow, and the forcing as the last bias."""
    F = _arrays.number(F, "F", "a network has one for all sites")
    weights = np.concatenate([np.ravel(taps), np.zeros(3), others, [F]])
    return _arrays.in_precision(_arrays.finite(weights, "F"), "F", _arrays.precision(dtype))
