"""Who is timed with emulators in `l96kit.validation.speed`: ourselves, PyTorch and JAX, in float32 on one core.

`prepare(kind, name, task)` of each gives a function of no arguments that does the work once and returns an array to
compare. Kinds: "update" (so many updates by Adam of one-step losses, batch 32; the weights afterwards), "forward" (the
end of a trajectory), "jacobians" (of one step), "analysis" (4D-Var by SciPy's L-BFGS, so many iterations).
"""

import os
from dataclasses import replace
from importlib import import_module
from typing import NamedTuple

import numpy as np

from l96kit import FourDVar, Training, networks
from l96kit.observations import interpolate, observe
from l96kit.validation._contestants import JAX_ENVIRONMENT, seconds_of
from l96kit.validation._trained import BUILDERS, DT, FINE, F, K, emulator, simulator, trained

BATCH, RATE = 32, 1e-3


class Work(NamedTuple):
    """The numbers that all contestants are given."""

    weights: np.ndarray
    states: np.ndarray  # (member, site)
    targets: np.ndarray  # the same one step later
    count: int  # updates, steps or iterations
    window: int = 0  # observation times


def work_for(kind, name, members, count, window=0):
    """Members are samples of a training set, of an ensemble, or states to take a Jacobian at."""
    rng = np.random.default_rng(5)
    weights = BUILDERS[name]().initial_weights(rng, np.float32)
    if kind == "analysis":  # a network that knows the model, or the minimisation has no sense
        weights = well_trained(name)
    run = simulator()
    x = run.forecast(F + rng.standard_normal((members, K)), 200)
    return Work(weights, x.astype(np.float32), run.step(x).astype(np.float32), count, window)


def well_trained(name):
    if name == "sqNet":
        return networks.sq_net_of_lorenz96(dtype=np.float32)
    return trained(name, 1200)[0][0]


def window_of(work):
    """Truth and observations of a window: sites (time, n) and values (time, n)."""
    truth = simulator(FINE).trajectory(work.states[0], work.window - 1)
    return observe(truth, 10, 1.0, np.random.default_rng(6))


class OurEmulators:
    name = "l96kit"

    def prepare(self, kind, name, work):
        if kind == "update":
            return lambda: self.update(BUILDERS[name](), work)
        run = replace(emulator(name, work.weights, DT if kind != "analysis" else FINE), threads=1)
        if kind == "forward":
            return lambda: run.forecast(work.states, work.count)
        if kind == "jacobians":
            return lambda: run.jacobian(work.states)
        observations = window_of(work)
        method = FourDVar(run, iterations=work.count, tolerance=1e-30)
        return lambda: method.assimilate(observations, interpolate(observations, K)).state

    @staticmethod
    def update(network, work):
        pairs = np.stack([work.states, work.targets])
        epochs = work.count * BATCH // len(work.states)
        training = Training(network, DT, batch=BATCH, learning_rate=RATE, epochs=epochs, threads=1)
        return training.fit(pairs, pairs[:, :1], weights=work.weights).training_losses[-1]


class TorchEmulators:
    """PyTorch as its users write it: modules' functions, autograd, Adam, `torch.func` with vmap for Jacobians."""

    name = "PyTorch"

    def __init__(self):
        self.torch = import_module("torch")
        self.torch.set_num_threads(1)

    def parameters(self, name, weights):
        torch = self.torch
        return [torch.tensor(weights[place].reshape(shape)) for _, _, place, shape in BUILDERS[name]().shapes()]

    def tendency(self, name):
        torch, functional = self.torch, self.torch.nn.functional

        def convolution(x, weight, bias):
            taps = weight.shape[-1]
            if taps > 1:
                x = functional.pad(x, (taps // 2, (taps - 1) // 2), mode="circular")
            return functional.conv1d(x, weight, bias)

        def deep_net(p, x):
            for i in range(0, len(p) - 2, 2):
                x = torch.relu(convolution(x, p[i], p[i + 1]))
            return convolution(x, p[-2], p[-1])

        def sq_net(p, x):
            return convolution(torch.cat([convolution(x, p[0], p[1]) ** 2, x], dim=-2), p[2], p[3])

        def bilin_net(p, x):
            y = convolution(x, p[0], p[1])
            return convolution(torch.cat([p[2] * y[..., :1, :] * y[..., 1:2, :], y[..., 2:, :]], dim=-2), p[3], p[4])

        return {"deepNet": deep_net, "sqNet": sq_net, "bilinNet": bilin_net}[name]

    def step(self, name, dt=DT):
        tendency = self.tendency(name)

        def step(p, x):
            k1 = tendency(p, x)
            k2 = tendency(p, x + dt / 2 * k1)
            k3 = tendency(p, x + dt / 2 * k2)
            k4 = tendency(p, x + dt * k3)
            return x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

        return step

    def prepare(self, kind, name, work):
        torch, step, p = self.torch, self.step(name), self.parameters(name, work.weights)
        x, y = (torch.tensor(array)[:, None] for array in (work.states, work.targets))
        if kind == "update":
            return lambda: self.update(step, name, work, x, y)
        if kind == "forward":

            def forward():
                with torch.no_grad():
                    state = x
                    for _ in range(work.count):
                        state = step(p, state)
                return state.numpy()[:, 0]

            return forward
        if kind == "jacobians":
            return self.jacobians(step, p, x)
        return self.analysis(self.step(name, FINE), p, work)

    def update(self, step, name, work, x, y):
        torch, p = self.torch, self.parameters(name, work.weights)
        for part in p:
            part.requires_grad_()
        optimiser, rng = torch.optim.Adam(p, RATE), np.random.default_rng(0)
        per_epoch, total = len(x) // BATCH, 0.0
        for update in range(work.count):
            if update % per_epoch == 0:
                order, total = rng.permutation(len(x)), 0.0
            batch = order[update % per_epoch * BATCH :][:BATCH]
            optimiser.zero_grad()
            loss = torch.mean((step(p, x[batch]) - y[batch]) ** 2)
            loss.backward()
            optimiser.step()
            total += loss.item()
        return np.array([total / per_epoch])

    def jacobians(self, step, p, x):
        """The quicker of reverse and forward mode."""
        torch = self.torch

        def one(state):
            return step(p, state[None, None])[0, 0]

        def by(mode):
            function = torch.func.vmap(mode(one))

            def all_of_them():
                with torch.no_grad():
                    return np.concatenate([function(part[:, 0]).numpy() for part in torch.split(x, 100)])

            return all_of_them

        calls = [by(mode) for mode in (torch.func.jacrev, torch.func.jacfwd)]
        return min(calls, key=lambda call: seconds_of(call))

    def analysis(self, step, p, work):
        from scipy.optimize import minimize

        torch, observations = self.torch, window_of(work)
        sites, values = torch.tensor(observations.sites), torch.tensor(observations.values)

        def cost(v):
            start = torch.tensor(v.astype(np.float32), requires_grad=True)
            state, J = start[None, None], 0.0
            for t in range(work.window):
                state = step(p, state) if t else state
                J = J + 0.5 * ((state[0, 0, sites[t]] - values[t]) ** 2).sum()
            J.backward()
            return J.item(), start.grad.numpy().astype(float)

        settings = {"maxiter": work.count, "ftol": 0.0, "gtol": 0.0, "maxfun": 10**6}
        return lambda: minimize(cost, interpolate(observations, K), jac=True, method="L-BFGS-B", options=settings).x


class JaxEmulators:
    """JAX under jit; of two ways to write a convolution of width one the quicker is taken."""

    name = "JAX"
    ways = ("einsum", "convolution")

    def __init__(self):
        os.environ.update(JAX_ENVIRONMENT)
        self.jax = import_module("jax")
        self.record = {}

    def parameters(self, name, weights):
        return [weights[place].reshape(shape) for _, _, place, shape in BUILDERS[name]().shapes()]

    def tendency(self, name, way):
        jax, jnp = self.jax, self.jax.numpy

        def convolution(x, weight, bias):
            taps = weight.shape[-1]
            if way == "convolution":
                padded = jnp.concatenate([x[..., x.shape[-1] - taps // 2 :], x, x[..., : (taps - 1) // 2]], axis=-1)
                y = jax.lax.conv_general_dilated(padded, weight, (1,), "VALID", dimension_numbers=("NCH", "OIH", "NCH"))
            else:
                y = sum(
                    jnp.einsum("oi,bik->bok", weight[..., t], jnp.roll(x, taps // 2 - t, axis=-1)) for t in range(taps)
                )
            return y + bias[:, None]

        def deep_net(p, x):
            for i in range(0, len(p) - 2, 2):
                x = jax.nn.relu(convolution(x, p[i], p[i + 1]))
            return convolution(x, p[-2], p[-1])

        def sq_net(p, x):
            return convolution(jnp.concatenate([convolution(x, p[0], p[1]) ** 2, x], axis=1), p[2], p[3])

        def bilin_net(p, x):
            y = convolution(x, p[0], p[1])
            return convolution(jnp.concatenate([p[2] * y[:, :1] * y[:, 1:2], y[:, 2:]], axis=1), p[3], p[4])

        return {"deepNet": deep_net, "sqNet": sq_net, "bilinNet": bilin_net}[name]

    def step(self, name, way, dt=DT):
        return TorchEmulators.step(SameTendency(self.tendency(name, way)), name, dt)

    def prepare(self, kind, name, work):
        calls = [getattr(self, kind)(name, way, work) for way in self.ways]
        seconds = [min(seconds_of(call) for _ in range(2)) for call in calls]
        self.record[f"{name}, {kind}"] = dict(zip(self.ways, seconds))
        return calls[int(np.argmin(seconds))]

    def update(self, name, way, work):
        jax, jnp, step = self.jax, self.jax.numpy, self.step(name, way)
        x, y = (jnp.asarray(array)[:, None] for array in (work.states, work.targets))

        @jax.jit
        def update(p, m, v, t, x, y):
            loss, g = jax.value_and_grad(lambda p: jnp.mean((step(p, x) - y) ** 2))(p)
            m = [0.9 * a + 0.1 * b for a, b in zip(m, g)]
            v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g)]
            rate = RATE / (1 - 0.9**t)
            p = [a - rate * b / (jnp.sqrt(c / (1 - 0.999**t)) + 1e-8) for a, b, c in zip(p, m, v)]
            return p, m, v, loss

        def updates():
            p = [jnp.asarray(part) for part in self.parameters(name, work.weights)]
            m = v = [jnp.zeros_like(part) for part in p]
            rng, per_epoch, losses = np.random.default_rng(0), len(x) // BATCH, []
            for number in range(work.count):
                if number % per_epoch == 0:
                    order, losses = rng.permutation(len(x)), []
                batch = order[number % per_epoch * BATCH :][:BATCH]
                p, m, v, loss = update(p, m, v, jnp.float32(number + 1), x[batch], y[batch])
                losses.append(loss)
            return np.array([np.mean(losses)])

        updates()
        return updates

    def forward(self, name, way, work):
        jax, jnp, step = self.jax, self.jax.numpy, self.step(name, way)
        p, x = self.parameters(name, work.weights), jnp.asarray(work.states)[:, None]
        run = jax.jit(lambda x: jax.lax.scan(lambda x, _: (step(p, x), None), x, None, work.count)[0])
        return lambda: np.asarray(run(x))[:, 0]

    def jacobians(self, name, way, work):
        jax, jnp, step = self.jax, self.jax.numpy, self.step(name, way)
        p, parts = self.parameters(name, work.weights), np.array_split(work.states, -(-len(work.states) // 100))

        def one(state):
            return step(p, state[None, None])[0, 0]

        calls = []
        for mode in (jax.jacrev, jax.jacfwd):
            function = jax.jit(jax.vmap(mode(one)))
            calls.append(lambda f=function: np.concatenate([np.asarray(f(jnp.asarray(part))) for part in parts]))
            calls[-1]()
        return min(calls, key=lambda call: seconds_of(call))

    def analysis(self, name, way, work):
        from scipy.optimize import minimize

        jax, jnp, step = self.jax, self.jax.numpy, self.step(name, way, FINE)
        p, observations = self.parameters(name, work.weights), window_of(work)
        sites, values = jnp.asarray(observations.sites), jnp.asarray(observations.values)

        @jax.jit
        @jax.value_and_grad
        def cost(start):
            def forward(state, now):
                at, value = now
                return step(p, state), 0.5 * jnp.sum((state[0, 0, at] - value) ** 2)

            return jnp.sum(jax.lax.scan(forward, start[None, None], (sites, values))[1])

        def to_minimise(v):
            J, gradient = cost(jnp.asarray(v, jnp.float32))
            return float(J), np.asarray(gradient, float)

        settings = {"maxiter": work.count, "ftol": 0.0, "gtol": 0.0, "maxfun": 10**6}
        return lambda: (
            minimize(to_minimise, interpolate(observations, K), jac=True, method="L-BFGS-B", options=settings).x
        )


class SameTendency(NamedTuple):
    """What `TorchEmulators.step` asks of a peer."""

    function: object

    def tendency(self, name):
        return self.function


PEERS = {"torch": TorchEmulators, "jax": JaxEmulators}
