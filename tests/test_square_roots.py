"""The inverse square root by products against the eigenvectors of LAPACK."""

import numpy as np
import pytest
from numba import njit

from l96kit.kernels.square_roots import inverse_root


@njit
def run(x, least, inverse, root, room, layout):
    inverse_root(x, least, inverse, root, room, layout)


@pytest.mark.parametrize("n", [2, 5, 20])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e5])
def test_the_root_is_exact_to_rounding(n, size):
    rng = np.random.default_rng(n)
    rows, width = -(-n // 4) * 4, -(-n // 8) * 8
    Y = np.sqrt(size) * rng.standard_normal((3 * n, n))
    x = np.zeros((rows, width))
    x[:n, :n] = Y.T @ Y + (n - 1) * np.eye(n)
    values, vectors = np.linalg.eigh(x[:n, :n])
    inverse, root, room = np.zeros((3, rows * width))
    run(x.ravel(), n - 1.0, inverse, root, room, (n, width))
    for found, power in ((inverse, -0.5), (root, 0.5)):
        expected = (vectors * values**power) @ vectors.T
        error = np.abs(found.reshape(rows, width)[:n, :n] - expected).max()
        assert error < 1e-13 * np.abs(expected).max()
