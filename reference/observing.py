"""Observations in plain NumPy: functions of weighted sums of sites."""

import numpy as np

FUNCTIONS = {
    "identity": lambda x: x,
    "square": lambda x: x**2,
    "cube": lambda x: x**3,
    "absolute": lambda x: np.where(np.real(x) > 0, x, -x),
    "exponential": np.exp,
    "tanh": np.tanh,
}


def observe(x, indices, weights, function):
    """x (..., site), indices and weights (n, part): (..., n)."""
    matrix = np.zeros((len(indices), x.shape[-1]))
    np.add.at(matrix, (np.arange(len(indices))[:, None], indices), weights)
    return FUNCTIONS[function](x @ matrix.T)
