"""The three equations of Lorenz (1963), 25 to 27, in plain NumPy."""

import numpy as np


def tendency(x, sigma, rho, beta):
    """Of x (..., 3); the parameters are numbers or (..., 1). Any dtype."""
    x, y, z = np.split(x, 3, axis=-1)
    return np.concatenate([sigma * (y - x), x * (rho - z) - y, x * y - beta * z], axis=-1)
