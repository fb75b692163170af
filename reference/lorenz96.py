"""One-level Lorenz-96 in plain NumPy (Lorenz 1996, eq. 1)."""

import numpy as np


def tendency(x, F):
    """dx_k/dt = (x_{k+1} - x_{k-2}) x_{k-1} - x_k + F_k on a ring.

    x : (..., site), dimensionless; F : number, (site,) or (..., site). Returns (..., site). Any dtype, also complex.
    """
    right = np.roll(x, -1, axis=-1)
    left = np.roll(x, 1, axis=-1)
    second_left = np.roll(x, 2, axis=-1)
    return (right - second_left) * left - x + F
