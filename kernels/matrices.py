"""Small symmetric matrices: products and Cholesky factors.

A matrix lies in a flat array, row by row; a row has `width` numbers, of which those beyond the matrix, and the rows up
to the next multiple of four, are zero and stay zero. So no loop has a remainder.
"""

from l96kit.kernels._targets import called, inline, part, reduction
from l96kit.kernels.products import AT_ONCE, row_products
from l96kit.kernels.tile import U

PIECE = 1024  # numbers that single precision adds up well


@inline
def _places(n):
    return range(U(0), U(n))


_add_four_products, _ = row_products(_places, reduction)


def rounded_up(n, size):
    """To a multiple of `size`."""
    return (n + size - 1) // size * size


whole = inline(rounded_up)  # the same in kernels: so many numbers and those that fill their last vector


@inline
def rows_of(n):
    """Room for n rows: a multiple of four."""
    return whole(n, AT_ONCE)


@inline
def taken(room, begin, count):
    return room[begin : begin + count]


@inline
def row(x, i, width):
    return x[i * width : (i + 1) * width]


@part
def fill(x, value):
    for k in _places(x.shape[0]):
        x[k] = value


@called
def add_product(x, steps, y, z, shape):
    """z_i += sum_c x[i * down + c * along] y_c, with (down, along) = steps, for i < rows, c < inner, in fours."""
    down, along = steps
    rows, inner, width = shape
    for i in range(0, rows_of(rows), AT_ONCE):
        zs = row(z, i, width), row(z, i + 1, width), row(z, i + 2, width), row(z, i + 3, width)
        outputs = U(i * down), U((i + 1) * down), U((i + 2) * down), U((i + 3) * down)
        for c in range(0, rows_of(inner), AT_ONCE):
            _add_four_products(zs, y, x, outputs, (U(c * width), U(c * along)), U(width), U(along), width)


@inline
def multiply(x, steps, y, z, shape):
    """The same, without what z held."""
    fill(z, z.dtype.type(0))
    add_product(x, steps, y, z, shape)


@part
def add_to_diagonal(x, value, n, width):
    for i in range(U(0), U(n)):
        x[i * U(width) + i] += value


@reduction
def scale(x, factor):
    for k in _places(x.shape[0]):
        x[k] *= factor


@part
def add_to_each(x, value):
    for k in _places(x.shape[0]):
        x[k] += value


@reduction
def add_row(x, y, factor):
    """y += factor x."""
    for k in _places(y.shape[0]):
        y[k] += factor * x[k]


@reduction
def inner_product(x, y):
    total = x.dtype.type(0)
    for k in _places(x.shape[0]):
        total += x[k] * y[k]
    return total


@reduction
def sum_of(x):
    total = x.dtype.type(0)
    for k in _places(x.shape[0]):
        total += x[k]
    return total


# Running sums of very many numbers in single precision go astray: that of 1e5 times 1e-5 ends at 1.001. So these go on
# in double precision from one piece to the next, which costs nothing.


@called
def square_of(x):
    """The sum of all squares, in double precision."""
    total = 0.0
    for begin in range(0, x.shape[0], PIECE):
        piece = x[begin : begin + PIECE]
        total += inner_product(piece, piece)
    return total


@called
def total_of(x):
    """The sum of all, in double precision."""
    total = 0.0
    for begin in range(0, x.shape[0], PIECE):
        total += sum_of(x[begin : begin + PIECE])
    return total


@inline
def is_finite(x):
    """Whether all numbers are, and their squares."""
    size = inner_product(x, x)
    return size - size == 0


@inline
def trace(x, n, width):
    total = x.dtype.type(0)
    for i in range(n):
        total += x[i * width + i]
    return total


@called
def weigh(rows, weights, total, count):
    """total = sum_i weights[i] rows_i."""
    fill(total, total.dtype.type(0))
    for i in range(count):
        add_row(row(rows, i, total.shape[0]), total, weights[i])


@reduction
def copy(x, y):
    for k in _places(x.shape[0]):
        y[k] = x[k]


@called
def factorize(x, n, width):
    """The upper factor R of x = R^T R, in place of its upper triangle (Cholesky)."""
    for i in range(n):
        own = x[i * width + i : (i + 1) * width]
        scale(own, x.dtype.type(1) / own[0] ** x.dtype.type(0.5))
        for j in range(i + 1, n):
            add_row(own[j - i :], x[j * width + j : (j + 1) * width], -own[j - i])


@called
def solve(factor, n, width, b, across):
    """x of R^T R x = b in place of b, whose n rows have `across` numbers."""
    one = b.dtype.type(1)
    for i in range(n):
        own = row(b, i, across)
        scale(own, one / factor[i * width + i])
        for j in range(i + 1, n):
            add_row(own, row(b, j, across), -factor[i * width + j])
    for i in range(n - 1, -1, -1):
        own = row(b, i, across)
        scale(own, one / factor[i * width + i])
        for j in range(i):
            add_row(own, row(b, j, across), -factor[j * width + i])


@inline
def precision(x):
    return x.dtype.type(2.3e-16) if x.itemsize == 8 else x.dtype.type(1.2e-7)
