"""Roots by products and rows by rotations, against LAPACK."""

import numpy as np
import pytest
from numba import njit

from l96kit.kernels.rotations import orthogonalize
from l96kit.kernels.square_roots import MOST_CONDITION, inverse_root


@njit
def root_of(x, least, inverse, root, room, layout):
    return inverse_root(x, least, inverse, root, room, layout)


@njit
def rows_of(Y, D, rows, columns, room):
    return orthogonalize(Y, D, rows, columns, room)


def in_rows(matrix):
    """With room for whole vectors, as kernels have it; flat, and as a view of the matrix alone."""
    (rows, columns), lanes = matrix.shape, 64 // matrix.itemsize
    found = np.zeros((-(-rows // 4) * 4, -(-columns // lanes) * lanes), matrix.dtype)
    found[:rows, :columns] = matrix
    return found.ravel(), found[:rows, :columns]


def largest(x):
    return np.abs(x).max(initial=0)


@pytest.mark.parametrize("n", [2, 5, 20])
@pytest.mark.parametrize("condition", [1 + 1e-6, 2.0, 6.0])
def test_the_root_is_exact_to_rounding(n, condition):
    vectors, _ = np.linalg.qr(np.random.default_rng(n).standard_normal((n, n)))
    values = np.geomspace(1, condition, n)
    x, _ = in_rows((vectors * values) @ vectors.T)
    (inverse, of_inverse), (root, of_root), (room, _) = (in_rows(np.zeros((n, n))) for _ in range(3))
    assert root_of(x, 1.0, inverse, root, room, (n, len(x) // (-(-n // 4) * 4)))
    for found, power in ((of_inverse, -0.5), (of_root, 0.5)):
        expected = (vectors * values**power) @ vectors.T
        assert largest(found - expected) < 1e-14 * largest(expected)


def test_a_large_condition_is_left_to_others():
    x, own = in_rows(np.diag([1.0, MOST_CONDITION]))
    (inverse, _), (root, _), (room, _) = (in_rows(np.zeros((2, 2))) for _ in range(3))
    assert not root_of(x, 1.0, inverse, root, room, (2, 8))
    np.testing.assert_array_equal(own, np.diag([1.0, MOST_CONDITION]))


MATRICES = {
    "wide": lambda rng: rng.standard_normal((5, 20)),
    "tall": lambda rng: rng.standard_normal((40, 7)),
    "one row": lambda rng: rng.standard_normal((1, 3)),
    "of small rank": lambda rng: rng.standard_normal((20, 3)) @ rng.standard_normal((3, 12)),
    "rows that repeat": lambda rng: rng.standard_normal((4, 9))[[0, 1, 1, 2, 3, 0]],
    "tall, its first row far longer": lambda rng: np.vstack([1e4 * np.eye(5)[:1], rng.standard_normal((30, 5))]),
    "zero": lambda rng: np.zeros((6, 4)),
    "rows of very different length": lambda rng: np.geomspace(1e6, 1e-6, 8)[:, None] * rng.standard_normal((8, 30)),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("make", MATRICES.values(), ids=MATRICES)
def test_rows_become_orthogonal_and_their_products_stay(make, dtype):
    rng = np.random.default_rng(0)
    matrix = make(rng).astype(dtype)
    (n, columns), eps = matrix.shape, np.finfo(dtype).eps
    belonging = rng.standard_normal((n, 1)).astype(dtype)
    (Y, own), (D, _) = in_rows(matrix), (belonging.ravel().copy(), None)
    width = len(Y) // (-(-n // 4) * 4)
    count = rows_of(Y, D, n, columns, (np.zeros(width, dtype), np.zeros(1, dtype), np.zeros(n, dtype)))
    assert count == min(n, columns) and not own[count:].any()
    sizes = np.linalg.norm(own[:count].astype(float), axis=1)
    directions = own[:count] / np.where(sizes > 0, sizes, 1)[:, None]
    seen = sizes > 1e2 * eps * sizes.max()
    assert largest((directions @ directions.T - np.eye(count))[np.ix_(seen, seen)]) < 30 * eps
    values = np.linalg.svd(matrix.astype(float), compute_uv=False)
    np.testing.assert_allclose(np.sort(sizes)[::-1], values, atol=30 * eps * values[0])
    np.testing.assert_allclose(own.T @ D[:n], matrix.T @ belonging[:, 0], atol=1e2 * eps * max(values[0], eps))


def test_small_singular_values_keep_their_digits():
    """Of rows that are 1e12 times as long as others; `eigh` of their products has none of the small ones."""
    lengths, (vectors, _) = np.geomspace(1e6, 1e-6, 8), np.linalg.qr(np.random.default_rng(1).standard_normal((30, 8)))
    Y, own = in_rows(lengths[:, None] * vectors.T)
    rows_of(Y, np.zeros(8), 8, 30, (np.zeros(32), np.zeros(1), np.zeros(8)))
    np.testing.assert_allclose(np.linalg.norm(own, axis=1), lengths, rtol=1e-14)
