"""Small symmetric matrices: products, inverse square roots, Cholesky factors.

A matrix lies in a flat array, row by row; a row has `width` numbers, of which those beyond the matrix, and the rows up
to the next multiple of four, are zero and stay zero. So no loop has a remainder.
"""

from l96kit.kernels._targets import called, inline, part, reduction
from l96kit.kernels.products import AT_ONCE, row_products
from l96kit.kernels.tile import U

MOST_ROUNDS = 60  # of the iteration for square roots; its slow phase takes one for each factor of two in the condition


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


@reduction
def _sum_of_sizes(x):
    total = x.dtype.type(0)
    for k in _places(x.shape[0]):
        total += abs(x[k])
    return total


@called
def inverse_root(x, least, inverse, root, room, shape):
    """The symmetric Z = x^(-1/2) and Y = x^(1/2) of a matrix with eigenvalues no smaller than `least`; x is lost.

    A coupled iteration of products alone (Higham 2008, section 6.7): with X = 1 - Z Y and P = 1 + X / 2 + 3 X^2 / 8,
    the beginning of a series for (1 - X)^(-1/2), Z <- P Z and Y <- Y P make X as small as its third power. Z begins
    with the parabola through s^(-1/2) at three points between `least` and a bound of the largest eigenvalue. `room` is
    as large as x, and `shape` is (n, width).
    """
    n, width = shape
    zero, one, steps, whole = x.dtype.type(0), x.dtype.type(1), (width, 1), (n, n, width)
    largest = least
    for i in range(n):
        largest = max(largest, _sum_of_sizes(row(x, i, width)))
    start_inverse_root(x, least, largest, inverse, room, shape)
    multiply(x, steps, inverse, root, whole)
    for _ in range(MOST_ROUNDS):
        multiply(inverse, steps, root, room, whole)
        scale(room, -one)
        add_to_diagonal(room, one, n, width)
        distance = inner_product(room, room)
        enough = one * n * precision(x)
        if not distance < enough:
            multiply(room, steps, room, x, whole)
            scale(x, x.dtype.type(0.375))
        else:
            fill(x, zero)
        add_row(room, x, x.dtype.type(0.5))
        add_to_diagonal(x, one, n, width)  # P
        multiply(x, steps, inverse, room, whole)
        copy(room, inverse)
        multiply(root, steps, x, room, whole)
        copy(room, root)
        if not distance > enough ** x.dtype.type(0.6):
            break


@inline
def parabola(least, largest, smallest, half):
    """a, b, f_a, f_1, f_2 of f_a + (s - a) (f_1 + (s - b) f_2), which is s^(-1/2) at Chebyshev's points a, b, c."""
    b, step = half * (largest + least), half * (largest - least) * (half + half * half) ** half
    step = max(step, b * smallest**half)
    a, c = b - step, b + step
    f_a, f_b, f_c = a**-half, b**-half, c**-half
    f_1 = (f_b - f_a) / step
    return a, b, f_a, f_1, ((f_c - f_b) / step - f_1) / (step + step)


@inline
def start_inverse_root(x, least, largest, inverse, room, shape):
    n, width = shape
    a, b, f_a, f_1, f_2 = parabola(least, largest, precision(x), x.dtype.type(0.5))
    copy(x, room)
    add_to_diagonal(room, -b, n, width)
    scale(room, f_2)
    add_to_diagonal(room, f_1, n, width)
    multiply(x, (width, 1), room, inverse, (n, n, width))
    add_row(room, inverse, -a)
    add_to_diagonal(inverse, f_a, n, width)


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
