"""Derivatives of any reference forward by the complex step (Squire & Trapp 1998): exact to rounding."""

import numpy as np

STEP = 1e-100  # so small that its square vanishes: the imaginary part is the first derivative and nothing else


def tangent(function, inputs, directions):
    """The derivative of `function(*inputs)` in the given directions, one for each input (arrays or numbers)."""
    moved = [np.asarray(x) + 1j * STEP * np.asarray(d) for x, d in zip(inputs, directions)]
    return np.imag(function(*moved)) / STEP


def jacobians(function, inputs):
    """One matrix (output, input) for each input, both flattened; a column for each number of the input."""
    inputs = [np.asarray(x, float) for x in inputs]
    matrices = []
    for which, x in enumerate(inputs):
        columns = []
        for index in range(x.size):
            directions = [np.zeros_like(other) for other in inputs]
            directions[which].flat[index] = 1.0
            columns.append(np.ravel(tangent(function, inputs, directions)))
        matrices.append(np.stack(columns, axis=-1))
    return matrices


def adjoint(function, inputs, y_ad):
    """The transposed derivative applied to y_ad, one array for each input: the sum over outputs, by plain products."""
    return [(matrix.T @ np.ravel(y_ad)).reshape(np.shape(x)) for matrix, x in zip(jacobians(function, inputs), inputs)]
