"""The symmetric inverse square root of a matrix by products alone, however matrices lie in memory."""

from l96kit.kernels._targets import called, inline, reduction
from l96kit.kernels.matrices import (
    add_row,
    add_to_diagonal,
    copy,
    fill,
    inner_product,
    multiply,
    precision,
    row,
    scale,
)
from l96kit.kernels.tile import U

MOST_ROUNDS = 20  # its slow phase takes one for each factor of two in the condition
MOST_CONDITION = 32  # beyond, rounding takes more digits than LAPACK loses


@inline
def parabola(least, largest, smallest, half):
    """a, b, f_a, f_1, f_2 of f_a + (s + a) (f_1 + (s + b) f_2), which is s^(-1/2) at three points of Chebyshev."""
    middle, step = half * (largest + least), half * (largest - least) * (half + half * half) ** half
    step = max(step, middle * smallest**half)
    f_a, f_b, f_c = (middle - step) ** -half, middle**-half, (middle + step) ** -half
    f_1 = (f_b - f_a) / step
    return step - middle, -middle, f_a, f_1, ((f_c - f_b) / step - f_1) / (step + step)


def inverse_root_with(arithmetic, keeps_root):
    """`inverse_root` with functions for the products and sums of matrices in one layout.

    Of these, `bound` gives the largest row sum of all matrices, `polynomial` from that what `parabola` does, `add`,
    `stretch` and `add_stretched` take its numbers, `add_same` takes one number, and `distance_of` gives the largest sum
    of squares. `keeps_root` is for those who use Y.
    """
    multiply, bound, polynomial, add, stretch, add_stretched, add_same, distance_of = arithmetic

    @called
    def start(x, least, largest, inverse, room, layout):
        a, b, f_a, f_1, f_2 = polynomial(x, least, largest, layout)
        copy(x, room)
        add(b, room, layout)
        stretch(room, f_2, layout)
        add(f_1, room, layout)
        multiply(x, room, inverse, layout)
        add_stretched(room, a, inverse, layout)
        add(f_a, inverse, layout)

    @called
    def inverse_root(x, least, inverse, root, room, layout):
        """The symmetric Z = x^(-1/2) and, if it is kept, Y = x^(1/2), with all eigenvalues at least `least`; x is lost.

        A coupled iteration (Higham 2008, section 6.7): with X = 1 - Z Y and P = 1 + X / 2 + 3 X^2 / 8, the beginning of
        a series for (1 - X)^(-1/2), Z <- P Z and Y <- Y P make X as small as its third power. Z begins with the
        parabola through s^(-1/2) at three points between `least` and a bound of the largest eigenvalue. `room` is as
        large as x; `layout` begins with the number of rows.

        Returns whether it did: beyond a condition of `MOST_CONDITION` nothing is done.
        """
        zero, one, half = x.dtype.type(0), x.dtype.type(1), x.dtype.type(0.5)
        largest = bound(x, layout)
        if not largest < least * x.dtype.type(MOST_CONDITION):
            return False
        start(x, least, largest, inverse, room, layout)
        multiply(x, inverse, root, layout)
        enough = one * x.dtype.type(layout[0]) * precision(x)
        for _ in range(MOST_ROUNDS):
            multiply(inverse, root, room, layout)
            scale(room, -one)
            add_same(one, room, layout)  # X
            distance = distance_of(room, layout)
            if not distance < enough:
                multiply(room, room, x, layout)
                scale(x, x.dtype.type(0.375))
            else:
                fill(x, zero)
            add_row(room, x, half)
            add_same(one, x, layout)  # P
            multiply(x, inverse, room, layout)
            copy(room, inverse)
            ended = not distance > enough ** x.dtype.type(0.6)
            if keeps_root or not ended:
                multiply(root, x, room, layout)
                copy(room, root)
            if ended:
                break
        return True

    return inverse_root


# --- one matrix, with layout = (n, width) -----------------------------------------------------------------------------


@inline
def _multiply(x, y, z, layout):
    n, width = layout
    multiply(x, (width, 1), y, z, (n, n, width))


@reduction
def _sum_of_sizes(x):
    total = x.dtype.type(0)
    for k in range(U(0), U(x.shape[0])):
        total += abs(x[k])
    return total


@called
def largest_row_sum(x, layout):
    """A bound of the eigenvalues (Gershgorin 1931)."""
    n, width = layout
    largest = x.dtype.type(0)
    for i in range(n):
        total = _sum_of_sizes(row(x, i, width))
        largest = total if not total < largest else largest  # NaN stays
    return largest


@inline
def is_within_reach(x, least, layout):
    """Whether a matrix x >= least has at most that condition."""
    return largest_row_sum(x, layout) < least * x.dtype.type(MOST_CONDITION)


@inline
def _polynomial(x, least, largest, layout):
    return parabola(least, max(least, largest), precision(x), x.dtype.type(0.5))


@inline
def _add(value, x, layout):
    add_to_diagonal(x, value, *layout)


@inline
def _stretch(x, factor, layout):
    scale(x, factor)


@inline
def _add_stretched(x, factor, y, layout):
    add_row(x, y, factor)


@inline
def _distance(x, layout):
    return inner_product(x, x)


_arithmetic = _multiply, largest_row_sum, _polynomial, _add, _stretch, _add_stretched, _add, _distance
inverse_root = inverse_root_with(_arithmetic, keeps_root=True)
