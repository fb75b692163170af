"""The Lorenz-96 model with temperature in plain NumPy (Vissio & Lucarini 2020, eqs. 3 and 4)."""

import numpy as np


def tendency(x, F, G, alpha, gamma):
    """Of x (..., 2 site), first all X, then all theta; parameters are numbers, (site,) or (..., site). Any dtype."""
    X, theta = np.split(x, 2, axis=-1)

    def at(field, offset):
        return np.roll(field, -offset, axis=-1)

    dX = at(X, -1) * (at(X, 1) - at(X, -2)) - alpha * theta - gamma * X + F
    dtheta = at(X, 1) * at(theta, 2) - at(X, -1) * at(theta, -2) + alpha * X - gamma * theta + G
    return np.concatenate([dX, dtheta], axis=-1)
