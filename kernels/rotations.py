"""Rows reflected and rotated into one another; until any two are orthogonal, which gives singular values and vectors.

Rows lie as in `matrices`.
"""

from l96kit.kernels._targets import called, reduction
from l96kit.kernels.matrices import add_row, fill, inner_product, precision, row, scale
from l96kit.kernels.tile import U

MOST_SWEEPS = 40  # over all pairs of rows; most matrices take less than ten


@called
def exchange(A, v, total, begin):
    """The reflection of rows `begin` and on that exchanges the direction of v with that of the first of them.

    Its normal is |v| e - v, half whose square is |v| (|v| - v_0). `total` is room for a row.
    """
    width, zero = total.shape[0], v.dtype.type(0)
    size = inner_product(v, v) ** v.dtype.type(0.5)
    half_square = size * (size - v[0])
    if not half_square > zero:  # the two are the same
        return
    fill(total, zero)
    for i in range(v.shape[0]):
        add_row(row(A, begin + i, width), total, ((size if i == 0 else zero) - v[i]) / half_square)
    for i in range(v.shape[0]):
        add_row(total, row(A, begin + i, width), v[i] - (size if i == 0 else zero))


@called
def orthogonalize(Y, D, rows, columns, room):
    """Q Y and Q D in place of Y and D, with the orthogonal Q after which any two rows of Y are orthogonal. Then these
    are the right singular vectors of Y, each as long as its singular value. Returns how many rows are left, the first
    ones, at most as many as Y has columns; the others are zero.

    Small singular values keep their digits beside large ones (Demmel & Veselic 1992); as roots of eigenvalues of Y^T Y
    they would not. `room` is a row of Y, a row of D, and a number for each row.
    """
    total, total_D, column = room
    zero, one = Y.dtype.type(0), Y.dtype.type(1)
    width = total.shape[0]
    if rows > columns:  # a QR factorization (Householder 1958)
        for j in range(columns):
            v = column[: rows - j]
            for i in range(j, rows):
                v[i - j] = Y[i * width + j]
            if v[0] > zero:  # so that nothing cancels in the normal
                scale(v, -one)
            exchange(Y, v, total, j)
            exchange(D, v, total_D, j)
        rows = columns
        fill(Y[rows * width :], zero)
    for _ in range(MOST_SWEEPS):
        if not rotate_pairs(Y, D, rows, columns, (width, total_D.shape[0])):
            break
    return rows


@called
def rotate_pairs(Y, D, rows, columns, widths):
    """One sweep of rotations of all pairs of rows that are not orthogonal, the longer one first (Hestenes 1958; de Rijk
    1989); returns how many were not."""
    (width, across), one, half = widths, Y.dtype.type(1), Y.dtype.type(0.5)
    enough = precision(Y) * max(one, Y.dtype.type(columns) ** half / Y.dtype.type(4))  # what sums of products round to
    rotated = 0
    for i in range(rows - 1):
        x = row(Y, i, width)
        x_x = inner_product(x, x)
        for j in range(i + 1, rows):
            y = row(Y, j, width)
            x_y, y_y = products_with(x, y)
            if not abs(x_y) > enough * x_x**half * y_y**half:
                continue
            zeta = (x_x - y_y) * half / x_y
            size = abs(zeta)
            t = one / (size + (one + size * size) ** half)
            c = one / (one + t * t) ** half
            s = t * c if zeta > 0 else -t * c
            if x_x < y_y:
                c, s = s, -c
            x_x = rotate_pair(x, y, c, s)
            rotate_pair(row(D, i, across), row(D, j, across), c, s)
            rotated += 1
    return rotated


@reduction
def products_with(x, y):
    """x y and y y."""
    x_y = y_y = x.dtype.type(0)
    for k in range(U(0), U(y.shape[0])):
        x_y += x[k] * y[k]
        y_y += y[k] * y[k]
    return x_y, y_y


@reduction
def rotate_pair(x, y, c, s):
    """x <- c x + s y, y <- c y - s x; returns the new x x."""
    x_x = x.dtype.type(0)
    for k in range(U(0), U(x.shape[0])):
        a, b = c * x[k] + s * y[k], c * y[k] - s * x[k]
        x[k], y[k] = a, b
        x_x += a * a
    return x_x
