"""The part of `l96kit.validation.speed` that is about Kuramoto-Sivashinsky: an ensemble, against NumPy and JAX."""

import os
from importlib import import_module

import numpy as np

from l96kit import KuramotoSivashinsky, Propagator
from l96kit.validation._contestants import JAX_ENVIRONMENT
from l96kit.validation._timing import in_turn, row, summary

SITES, LENGTH, DT, MEMBERS, STEPS = 128, 32 * np.pi, 0.5, 64, 100
ROOTS = 32  # on the circle round which coefficients are integrated
AGREEMENT = 1e-9  # relative, after one step
BARS = {"NumPy": 5, "JAX": 2}


def measure(with_jax, rounds):
    """Rows like those of `speed`."""
    propagator = Propagator(KuramotoSivashinsky(SITES, LENGTH), DT, threads=1)
    x = propagator.forecast(np.random.default_rng(5).standard_normal((MEMBERS, SITES)), 400)
    names = ["NumPy", "JAX"][: 1 + with_jax]
    calls = [lambda: propagator.forecast(x, STEPS)]
    for name in names:
        call, once = contestant(name, x)
        error = np.abs(once - propagator.step(x)).max()
        if not error <= AGREEMENT * np.abs(once).max():
            raise ArithmeticError(f"{name}: expected the same step as ours, found a difference of {error:.2g}")
        calls.append(call)
    ours, *peers = in_turn(calls, rounds, "Kuramoto-Sivashinsky")
    return [
        row(
            f"Kuramoto-Sivashinsky, a step of {MEMBERS} members, against {name}",
            seconds / ours,
            BARS[name],
            seconds=summary(ours / STEPS),
            peer_seconds=summary(seconds / STEPS),
        )
        for name, seconds in zip(names, peers)
    ]


def contestant(name, x):
    """A call of so many steps, and the state after one."""
    if name == "NumPy":
        step = step_of(np)

        def run(steps):
            v = np.fft.rfft(x)
            for _ in range(steps):
                v = step(v)
            return np.fft.irfft(v, SITES)

        return lambda: run(STEPS), run(1)
    os.environ.update(JAX_ENVIRONMENT)
    jax = import_module("jax")
    step = step_of(jax.numpy)

    def forecast(x, steps):
        v, _ = jax.lax.scan(lambda v, _: (step(v), None), jax.numpy.fft.rfft(x), None, length=steps)
        return jax.numpy.fft.irfft(v, SITES)

    compiled = jax.jit(forecast, static_argnums=1)
    start = jax.numpy.asarray(x)
    compiled(start, STEPS).block_until_ready()
    return lambda: compiled(start, STEPS).block_until_ready(), np.asarray(compiled(start, 1))


def step_of(xp):
    """ETD-RK4 in the space of Fourier's modes, as Kassam & Trefethen (2005) write it; `xp` is NumPy or JAX's."""
    q = np.append(np.arange(SITES // 2), 0) * 2 * np.pi / LENGTH
    linear = q**2 - q**4
    z = DT * linear[:, None] + np.exp(1j * np.pi * (np.arange(ROOTS) + 0.5) / ROOTS)

    def mean(values):
        return DT * values.mean(axis=-1).real

    E, E2, Q = np.exp(DT * linear), np.exp(DT * linear / 2), mean((np.exp(z / 2) - 1) / z)
    f1 = mean((-4 - z + np.exp(z) * (4 - 3 * z + z**2)) / z**3)
    f2 = 2 * mean((2 + z + np.exp(z) * (z - 2)) / z**3)
    f3 = mean((-4 - 3 * z - z**2 + np.exp(z) * (4 - z)) / z**3)
    g = -0.5j * q

    def nonlinear(v):
        return g * xp.fft.rfft(xp.fft.irfft(v, SITES) ** 2)

    def step(v):
        here = nonlinear(v)
        a = E2 * v + Q * here
        at_a = nonlinear(a)
        at_b = nonlinear(E2 * v + Q * at_a)
        at_c = nonlinear(E2 * a + Q * (2 * at_b - here))
        return E * v + f1 * here + f2 * (at_a + at_b) + f3 * at_c

    return step
