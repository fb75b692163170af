"""Who is timed in `l96kit.validation.speed`: ourselves, the NumPy reference, and JAX in two hands.

`prepare(kind, x, steps)` of each gives a function of no arguments that does the work once and returns an array: the
state at the end ("forward"), its change for a change of one at every site ("tangent"), or the gradient of half the sum
of its squares with respect to the start ("gradient"). A peer has compiled it by then.
"""

import os
import time
from importlib import import_module
from itertools import product
from typing import NamedTuple

import numpy as np

from l96kit import Lorenz96, Propagator
from l96kit.reference import lorenz96 as reference
from l96kit.reference import runge_kutta

K, F, DT = 40, 8.0, 0.05


def seconds_of(call, repeats=1):
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


class Ours:
    name = "l96kit"

    def __init__(self, threads=1):
        self.propagator = Propagator(Lorenz96(K, F), DT, threads=threads)

    def prepare(self, kind, x, steps):
        propagator, direction = self.propagator, np.ones_like(x)

        def cost(y, t):
            y_ad = np.zeros_like(y)
            y_ad[-1] = y[-1]
            return 0.5 * (y[-1] ** 2).sum(), y_ad

        return {
            "forward": lambda: propagator.forecast(x, steps),
            "tangent": lambda: propagator.trajectory_tl(x, direction, steps, every=steps)[-1],
            "gradient": lambda: propagator.gradient(x, cost, steps, every=steps)[1],
        }[kind]


class NumPy:
    """The reference; it has no derivatives but the complex step."""

    name = "NumPy"
    kinds = ("forward",)

    def prepare(self, kind, x, steps):
        return lambda: runge_kutta.trajectory(lambda y: reference.tendency(y, F), x, DT, steps, every=steps)[-1]

    again = prepare


class Variant(NamedTuple):
    """One way to write a kernel in JAX."""

    neighbours: str  # "roll", "take" (by indices) or "halo" (slices of a longer ring)
    sites_first: bool  # the layout (site, member)
    unroll: int  # steps in a turn of the loop
    remat: bool  # the adjoint computes the stages anew instead of keeping them


class Jax:
    """What one writes in JAX, with `jnp.roll`, in some variants; the quickest is the one that is compared."""

    name = "JAX"
    kinds = ("forward", "tangent", "gradient")
    neighbours = ("roll",)
    loops = ((1, False), (4, False), (1, True))  # (unroll, remat)

    def __init__(self):
        os.environ.update(JAX_ENVIRONMENT)
        self.jax = import_module("jax")
        self.chosen = {}  # (kind, shape): the variant
        self.record = {}

    def variants(self, kind, x):
        for neighbours, sites_first, (unroll, remat) in product(self.neighbours, (False, True), self.loops):
            if (x.ndim == 2 or not sites_first) and (kind == "gradient" or not remat):
                yield Variant(neighbours, sites_first, unroll, remat)

    def stage(self, y):
        """What the tendency is computed of."""
        return y

    def build(self, kind, x, steps, variant):
        jax, jnp = self.jax, self.jax.numpy
        axis = 0 if variant.sites_first else x.ndim - 1
        x = jnp.asarray(x.T if variant.sites_first else x)
        direction = jnp.ones_like(x)
        tendency = getattr(self, variant.neighbours)(axis)

        def step(x, _):
            k1 = tendency(x)
            k2 = tendency(self.stage(x + DT / 2 * k1))
            k3 = tendency(self.stage(x + DT / 2 * k2))
            k4 = tendency(self.stage(x + DT * k3))
            return x + DT / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        def forecast(x):
            turn = jax.checkpoint(step) if variant.remat else step
            return jax.lax.scan(turn, x, None, steps, unroll=variant.unroll)[0]

        function = {
            "forward": forecast,
            "tangent": lambda x: jax.jvp(forecast, (x,), (direction,))[1],
            "gradient": jax.grad(lambda x: 0.5 * jnp.sum(forecast(x) ** 2)),
        }[kind]
        compiled = jax.jit(function).lower(x).compile()
        if variant.sites_first:
            return lambda: np.asarray(compiled(x)).T  # a view of its result
        return lambda: compiled(x).block_until_ready()

    def roll(self, axis):
        roll = self.jax.numpy.roll
        return lambda x: (roll(x, -1, axis) - roll(x, 2, axis)) * roll(x, 1, axis) - x + F

    def prepare(self, kind, x, steps):
        tried = []
        for variant in self.variants(kind, x):
            start = time.perf_counter()
            call = self.build(kind, x, steps, variant)
            compiling = time.perf_counter() - start
            tried.append((min(seconds_of(call) for _ in range(3)), compiling, variant, call))
        tried.sort(key=lambda candidate: candidate[0])
        self.record[f"{self.name}, {kind}, shape {x.shape}, {steps} steps"] = [
            {**variant._asdict(), "seconds": seconds, "seconds_to_compile": compiling}
            for seconds, compiling, variant, _ in tried
        ]
        _, _, self.chosen[kind, x.shape], call = tried[0]
        return call

    def again(self, kind, x, steps):
        """The variant that `prepare` chose, for other steps."""
        return self.build(kind, x, steps, self.chosen[kind, x.shape])


class TunedJax(Jax):
    """What one writes after a study of XLA, which otherwise merges the stages and computes each many times over.

    There are barriers between the stages, and neighbours are slices of one longer array or taken by their indices.
    """

    name = "JAX, tuned"
    neighbours = ("halo", "take")
    loops = ((1, False), (1, True))

    def stage(self, y):
        return self.jax.lax.optimization_barrier(y)

    def halo(self, axis):
        lax = self.jax.lax

        def tendency(x):
            n = x.shape[axis]
            ends = lax.slice_in_dim(x, n - 2, n, axis=axis), lax.slice_in_dim(x, 0, 1, axis=axis)
            longer = lax.optimization_barrier(lax.concatenate((ends[0], x, ends[1]), axis))

            def shifted(start):
                return lax.slice_in_dim(longer, start, start + n, axis=axis)

            return (shifted(3) - shifted(0)) * shifted(1) - x + F

        return tendency

    def take(self, axis):
        def shifted(x, offset):
            places = (np.arange(x.shape[axis]) + offset) % x.shape[axis]
            return self.jax.numpy.take(x, places, axis=axis, unique_indices=True, mode="clip")

        return lambda x: (shifted(x, 1) - shifted(x, -2)) * shifted(x, -1) - x + F


JAX_ENVIRONMENT = {
    "JAX_ENABLE_X64": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
PEERS = {"jax": (Jax, TunedJax)}
