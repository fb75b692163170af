"""What an operator of the registry is: forward, tangent linear and adjoint of a kernel, with its reference.

To add a family, write a subclass of `Operator` with its `forward`, `tl` and `ad`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from unittest import mock

import numpy as np

from l96kit import training
from l96kit.kernels import launch as kernels
from l96kit.propagators import Propagator
from l96kit.reference import kuramoto_sivashinsky, observing, runge_kutta
from l96kit.training import Training

DT = 0.05  # time units; six hours of the atmosphere, as Lorenz (1996) took it


def domain_length(sites):
    """Of the domain: with a fixed one the fourth derivative would outweigh all else as sites become more."""
    return 0.8 * sites


@contextmanager
def launching(device=None, times=1):
    """Every kernel is launched so many times, on another device if one is given (a model's tendency names none)."""
    choice = {} if device is None else {"device": device}

    def repeated(original):
        def launch(*args, **choices):
            for _ in range(times):
                original(*args, **{**choices, **choice})

        return launch

    with (
        mock.patch.object(kernels, "launch", repeated(kernels.launch)),
        mock.patch.object(kernels, "launch_training", repeated(kernels.launch_training)),
        mock.patch.object(kernels, "launch_observing", repeated(kernels.launch_observing)),
        mock.patch.object(kernels, "zero_gradients", partial(kernels.zero_gradients, **choice)),
    ):
        yield


@dataclass(frozen=True)
class Operator(ABC):
    """An operator of a tuple of arrays: the ensemble (member, site), then the parameters.

    name : as in the tables
    proves : the `module.function_ad` of `kernels/` whose derivative this shows to be right
    sample : (rng, members, sites, dtype) -> inputs, dimensionless
    model : (sites, *parameters) -> the model
    tendency : the same in NumPy, (x, *parameters) -> dx/dt, for any dtype
    uniform : whether the kernel takes its parameters as numbers instead of fields
    kinks : whether Taylor's remainders tell nothing: a finite step may cross a kink, as ReLU has, or it is linear

    Kernels are run by way of the API, so that what it adds to an adjoint is proved with them.
    """

    name: str
    proves: tuple
    sample: Callable
    model: Callable
    tendency: Callable
    uniform: bool
    kinks: bool = False

    op = ""
    scheme = "euler"

    @property
    def ops(self) -> tuple:
        """The kernels that it runs, as `kernels.launch` calls them."""
        return self.op, f"{self.op}_tl", f"{self.op}_ad"

    @abstractmethod
    def reference(self, *inputs):
        """NumPy: the result, (..., member, site)."""

    @abstractmethod
    def forward(self, inputs, device="cpu", threads=None):
        """The kernel's result, like the reference."""

    @abstractmethod
    def tl(self, inputs, inputs_tl, device="cpu", threads=None):
        """The kernel's tangent about `inputs` in the direction `inputs_tl`, like the result."""

    @abstractmethod
    def ad(self, inputs, y_ad, device="cpu", threads=None):
        """The kernel's adjoint about `inputs`: from y_ad, like the result, to a tuple like the inputs."""

    def model_of(self, inputs):
        return self.model(inputs[0].shape[-1], *inputs[1:])


def _changes(model, inputs_tl):
    return dict(zip(model.parameters, inputs_tl[1:]))


def _joined(result):
    """(x_ad, dict of name -> gradient) as a tuple like the inputs."""
    x_ad, parameters_ad = result
    return (x_ad, *map(np.asarray, parameters_ad.values()))


class Tendency(Operator):
    """dx/dt."""

    op = "tendency"

    def reference(self, *inputs):
        return self.tendency(*inputs)

    def forward(self, inputs, device="cpu", threads=None):
        with launching(device):
            return self.model_of(inputs).tendency(inputs[0])

    def tl(self, inputs, inputs_tl, device="cpu", threads=None):
        model = self.model_of(inputs)
        with launching(device):
            return model.tendency_tl(inputs[0], inputs_tl[0], _changes(model, inputs_tl))

    def ad(self, inputs, y_ad, device="cpu", threads=None):
        with launching(device):
            return _joined(self.model_of(inputs).tendency_ad(inputs[0], y_ad))


@dataclass(frozen=True)
class Step(Operator):
    """One time step."""

    scheme: str = "rk4"
    dt: float = DT
    op = "trajectory"

    def next_state(self, x, *parameters):
        if self.scheme == "etdrk4":
            return kuramoto_sivashinsky.step(x, domain_length(x.shape[-1]), self.dt)
        return runge_kutta.SCHEMES[self.scheme](lambda state: self.tendency(state, *parameters), x, self.dt)

    def reference(self, x, *parameters):
        return self.next_state(x, *parameters)

    def propagator(self, inputs, device="cpu", threads=None):
        return Propagator(self.model_of(inputs), self.dt, self.scheme, device, threads)

    def forward(self, inputs, device="cpu", threads=None):
        return self.propagator(inputs, device, threads).step(inputs[0])

    def tl(self, inputs, inputs_tl, device="cpu", threads=None):
        run = self.propagator(inputs, device, threads)
        return run.step_tl(inputs[0], inputs_tl[0], _changes(run.model, inputs_tl))

    def ad(self, inputs, y_ad, device="cpu", threads=None):
        return _joined(self.propagator(inputs, device, threads).step_ad(inputs[0], y_ad))


@dataclass(frozen=True)
class Trajectory(Step):
    """Several steps, every second one stored: what happens between stored times counts too."""

    steps: int = 4
    every: int = 2

    def reference(self, x, *parameters):
        states = [x]
        for step in range(1, self.steps + 1):
            x = self.next_state(x, *parameters)
            if step % self.every == 0:
                states.append(x)
        return np.stack(states)

    def forward(self, inputs, device="cpu", threads=None):
        return self.propagator(inputs, device, threads).trajectory(inputs[0], self.steps, self.every)

    def tl(self, inputs, inputs_tl, device="cpu", threads=None):
        run = self.propagator(inputs, device, threads)
        changes = _changes(run.model, inputs_tl)
        return run.trajectory_tl(inputs[0], inputs_tl[0], self.steps, self.every, changes)

    def ad(self, inputs, y_ad, device="cpu", threads=None):
        return _joined(self.propagator(inputs, device, threads).trajectory_ad(inputs[0], y_ad, self.every))


@dataclass(frozen=True)
class Loss(Operator):
    """The loss of rollouts on random trajectories as a function of weights. The ensemble lends it its shape alone.

    It comes twice: from rollouts alone, and as the kernel has it that computes the gradient.

    at_once : how many samples are taken at once
    """

    rollout: int = 2
    every: int = 3
    at_once: int = 3
    scheme: str = "rk4"
    op = "loss"

    @property
    def ops(self):
        return "loss_ad", "training"

    def data(self, x):
        """Trajectories (time, member, site) for an ensemble like x, one sample a member."""
        rng = np.random.default_rng(x.shape)
        return rng.standard_normal((self.rollout + 1, *x.shape)).astype(x.dtype)

    def training(self, inputs, device="cpu", threads=None):
        model, settings = self.model_of(inputs), {"device": device, "threads": threads}
        return Training(model.network, DT, self.every, self.rollout, self.scheme, model.base, **settings)

    def reference(self, x, weights):
        y = self.data(x.real).astype(float)
        steps = self.rollout * self.every
        found = runge_kutta.trajectory(
            lambda state: self.tendency(state, weights), y[0], DT, steps, self.scheme, self.every
        )
        return np.repeat(np.mean((found[1:] - y[1:]) ** 2), 2)

    def forward(self, inputs, device="cpu", threads=None):
        run, y = self.training(inputs, device, threads), self.data(inputs[0])
        with mock.patch.object(training, "AT_ONCE", self.at_once):
            return np.array([run.loss(inputs[1], y), run.gradient(inputs[1], y)[0]], y.dtype)

    def tl(self, inputs, inputs_tl, device="cpu", threads=None):
        y, run = self.data(inputs[0]), Propagator(self.model_of(inputs), DT, self.scheme, device, threads)
        steps, changes = self.rollout * self.every, {"weights": inputs_tl[1]}
        found = run.trajectory(y[0], steps, self.every)
        found_tl = run.trajectory_tl(y[0], np.zeros_like(y[0]), steps, self.every, changes)
        return np.repeat(np.mean(2 * (found[1:] - y[1:]) * found_tl[1:]), 2)

    def ad(self, inputs, y_ad, device="cpu", threads=None):
        with mock.patch.object(training, "AT_ONCE", self.at_once):
            _, gradient = self.training(inputs, device, threads).gradient(inputs[1], self.data(inputs[0]))
        return np.zeros_like(inputs[0]), y_ad.sum() * gradient


@dataclass(frozen=True)
class Observe(Operator):
    """What is observed of a state at two times, of which the second is the first of the next period."""

    function: str = "identity"
    op = "observe"
    times = 1, 2

    def model_of(self, inputs):
        return self.model(inputs[0].shape[-1]).pointwise(self.function)

    def reference(self, x):
        operator = self.model(x.shape[-1])
        rows = [time % operator.period for time in self.times]
        return np.stack(
            [observing.observe(x, operator.indices[row], operator.weights[row], self.function) for row in rows]
        )

    def forward(self, inputs, device="cpu", threads=None):
        with launching(device):
            return self.model_of(inputs).observe(np.stack([inputs[0]] * 2), self.times)

    def tl(self, inputs, inputs_tl, device="cpu", threads=None):
        with launching(device):
            (x,), (x_tl,) = inputs, inputs_tl
            x = x.reshape(*(1,) * (x_tl.ndim - x.ndim), *x.shape)
            return self.model_of(inputs).observe_tl(np.stack([x] * 2), np.stack([x_tl] * 2), self.times)

    def ad(self, inputs, y_ad, device="cpu", threads=None):
        with launching(device):
            return (self.model_of(inputs).observe_ad(np.stack([inputs[0]] * 2), y_ad, self.times).sum(axis=0),)
