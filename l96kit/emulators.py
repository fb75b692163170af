"""A network as the dynamics of a model: alone, or added to another model."""

from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace

import numpy as np

from l96kit import _arrays
from l96kit.kernels import launch as kernels
from l96kit.models import SMALLEST_RING, Model
from l96kit.networks import Network, checked_base, checked_network


@dataclass(frozen=True, eq=False, repr=False)
class Emulator(Model):
    """A model whose tendency is that of a network, or of another model plus that of a network.

    It goes wherever a model goes: into every scheme, at any time step, with tangents and adjoints in state and weights.

    Parameters
    ----------
    network : of what layers
    weights : (weight,), for `network`; the gradient of "weights" has this shape
    sites : length of the ring, which the weights do not tell: a network trained on one serves any other
    base : a model to which the network is added, such as `Lorenz96(40, 8.0)`; then `sites` is the base's

    Raises
    ------
    ValueError, TypeError
        weights of another network, or not finite; a ring of fewer sites than the network looks to one side, which is
        rounded up to a power of two, as networks share their compiled kernels
    """

    network: Network = field()
    weights: np.ndarray = field(repr=False)
    sites: int = 40
    base: Model | None = None

    def __post_init__(self):
        checked_network(self.network)
        if self.base is not None:
            checked_base(self.base)
            _arrays.settle(self, sites=self.base.sites)
        smallest = max(SMALLEST_RING, _rounded(self.network.reach))  # as kernels are shared
        sites, weights = _arrays.count(self.sites, "sites", smallest), self.network.checked_weights(self.weights)
        _arrays.settle(self, sites=sites, weights=_arrays.kept(weights))

    @property
    def parameters(self) -> dict:
        return {**({} if self.base is None else self.base.parameters), "weights": self.weights}

    @property
    def sight(self) -> tuple:
        if self.base is None:
            return self.network.sight
        return tuple(map(max, self.network.sight, self.base.sight))

    @property
    def kernel(self):
        reach = _rounded(self.network.reach)
        return _kernel_alone(reach) if self.base is None else _kernel_with(self.base.kernel, reach)


def _rounded(reach):
    """The next power of two, at least 2: with a little more halo, networks share their compiled kernels."""
    return 1 << max(1, (reach - 1).bit_length())


@cache
def _kernel_alone(reach):
    """What the kernels of any network of this reach are built from."""
    return _Kernel(NAME=f"network-{reach}", REACH=reach, PARAMETERS=(), NETWORK=True, tendency=None)


@kernels.kept_with_owner
def _kernel_with(base, reach):
    """The same for one that is added to a model, by the model's kernel."""
    return _Kernel(
        NAME=f"{base.NAME}-and-network-{reach}",
        MADE_OF=getattr(base, "MADE_OF", ()),
        REACH=max(base.REACH, reach),
        PARAMETERS=base.PARAMETERS,
        NETWORK=True,
        tendency=base.tendency,
        tendency_tl=base.tendency_tl,
        tendency_ad=base.tendency_ad,
    )


class _Kernel(SimpleNamespace):
    __hash__ = object.__hash__
