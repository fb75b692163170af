"""The Runge-Kutta schemes in plain NumPy, each written out as in a textbook (Hairer, Norsett & Wanner 1993, II.1)."""

import numpy as np


def euler(f, x, dt):
    return x + dt * f(x)


def heun(f, x, dt):
    """Predictor-corrector: an Euler step, then the mean of the slopes at both ends."""
    here = f(x)
    there = f(x + dt * here)
    return x + dt * (here + there) / 2


def rk4(f, x, dt):
    """The classic scheme of order four."""
    k1 = f(x)
    k2 = f(x + dt * k1 / 2)
    k3 = f(x + dt * k2 / 2)
    k4 = f(x + dt * k3)
    return x + dt * (k1 + 2 * k2 + 2 * k3 + k4) / 6


def rk38(f, x, dt):
    """Kutta's 3/8 rule, also of order four."""
    k1 = f(x)
    k2 = f(x + dt * k1 / 3)
    k3 = f(x + dt * (k2 - k1 / 3))
    k4 = f(x + dt * (k1 - k2 + k3))
    return x + dt * (k1 + 3 * k2 + 3 * k3 + k4) / 8


SCHEMES = {"euler": euler, "heun": heun, "rk4": rk4, "rk38": rk38}


def trajectory(f, x, dt, steps, scheme="rk4", every=1):
    """States (time, ...) at steps 0, every, 2 * every, ..., steps from x (...). Any dtype, also complex."""
    states = [x]
    for step in range(1, steps + 1):
        x = SCHEMES[scheme](f, x, dt)
        if step % every == 0:
            states.append(x)
    return np.stack(states)
