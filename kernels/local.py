"""The ensemble transform for each site by itself, with what observations are worth there: many sites side by side.

A matrix of a chunk of sites lies with its entries in order and the sites of each entry along a row, so that all loops
run over sites. A row has `chunk` sites. See `ensemble` for mean, A, Y and d.
"""

from l96kit.kernels._targets import called, inline, part, reduction
from l96kit.kernels.ensemble import Workspace, transform_in_turn
from l96kit.kernels.matrices import (
    add_product,
    add_row,
    copy,
    fill,
    precision,
    row,
    rows_of,
    scale,
)
from l96kit.kernels.square_roots import inverse_root_with, parabola
from l96kit.kernels.tile import U

ROWS = 7  # of a chunk, that `transform` works with


@inline
def even(n):
    """Room for n rows and columns: blocks have two."""
    return n + n % 2


@reduction
def _largest(x):
    largest = x.dtype.type(0)
    for k in range(U(0), U(x.shape[0])):
        largest = max(largest, x[k])
    return largest


@reduction
def _four_products(z, x, y, n):
    """z_ab += sum_c x_ac y_cb at each site, for two of each."""
    z00, z01, z10, z11 = z
    x00, x01, x10, x11 = x
    y00, y01, y10, y11 = y
    for k in range(U(0), U(n)):
        a, b, c, d = x00[k], x01[k], x10[k], x11[k]
        p, q, r, s = y00[k], y01[k], y10[k], y11[k]
        z00[k] += a * p + b * r
        z01[k] += a * q + b * s
        z10[k] += c * p + d * r
        z11[k] += c * q + d * s


@inline
def _block(x, i, j, n, chunk):
    at = i * n + j
    return row(x, at, chunk), row(x, at + 1, chunk), row(x, at + n, chunk), row(x, at + n + 1, chunk)


@called
def multiply(x, y, z, n, chunk):
    """z = x y at each site, (n, n) each. They are symmetric and commute, so z is symmetric: half of it is a copy. An
    iteration forgives that only where the condition is small: see `square_roots.MOST_CONDITION`."""
    fill(z, z.dtype.type(0))
    for i in range(0, n, 2):
        for j in range(i, n, 2):
            block = _block(z, i, j, n, chunk)
            for c in range(0, n, 2):
                _four_products(block, _block(x, i, c, n, chunk), _block(y, c, j, n, chunk), chunk)
            if j > i:
                mirrored = _block(z, j, i, n, chunk)
                copy(block[0], mirrored[0])
                copy(block[1], mirrored[2])
                copy(block[2], mirrored[1])
                copy(block[3], mirrored[3])


@part
def add_to_diagonal(x, value, members, n, chunk):
    for i in range(members):
        own = row(x, i * n + i, chunk)
        for k in range(U(0), U(chunk)):
            own[k] += value


@reduction
def scale_each(x, factors):
    for k in range(U(0), U(x.shape[0])):
        x[k] *= factors[k]


@reduction
def add_product_of_each(x, y, z):
    """z += x y at each site."""
    for k in range(U(0), U(z.shape[0])):
        z[k] += x[k] * y[k]


@reduction
def add_size(x, total):
    for k in range(U(0), U(total.shape[0])):
        total[k] += abs(x[k])


@reduction
def take_larger(x, largest):
    for k in range(U(0), U(largest.shape[0])):
        largest[k] = max(largest[k], x[k])


@reduction
def add_square(x, total):
    for k in range(U(0), U(total.shape[0])):
        total[k] += x[k] * x[k]


@inline
def _multiply(x, y, z, layout):
    _members, n, rows = layout
    multiply(x, y, z, n, rows[0].shape[0])


@called
def largest_row_sums(x, layout):
    """That of each site to the last row, and the largest of all."""
    members, n, (total, _, _, _, _, largest) = layout
    chunk = largest.shape[0]
    fill(largest, x.dtype.type(0))
    for i in range(members):
        fill(total, x.dtype.type(0))
        for j in range(members):
            add_size(row(x, i * n + j, chunk), total)
        take_larger(total, largest)
    return _largest(largest)


@inline
def polynomials(x, least, _largest_of_all, layout):
    _members, _n, (a, b, f_a, f_1, f_2, largest) = layout
    parabolas(least, a, b, f_a, f_1, f_2, largest)
    return a, b, f_a, f_1, f_2


@reduction
def parabolas(least, a, b, f_a, f_1, f_2, largest):
    for k in range(U(0), U(largest.shape[0])):
        bound = max(least, largest[k])
        a[k], b[k], f_a[k], f_1[k], f_2[k] = parabola(least, bound, precision(a), a.dtype.type(0.5))


@called
def add_each(values, x, layout):
    members, n, _rows = layout
    for i in range(members):
        add_row(values, row(x, i * n + i, values.shape[0]), x.dtype.type(1))


@called
def stretch_each(x, factors, layout):
    _members, n, _rows = layout
    for entry in range(n * n):
        scale_each(row(x, entry, factors.shape[0]), factors)


@called
def add_stretched_each(x, factors, y, layout):
    _members, n, _rows = layout
    for entry in range(n * n):
        at = factors.shape[0]
        add_product_of_each(factors, row(x, entry, at), row(y, entry, at))


@inline
def _add_same(value, x, layout):
    members, n, rows = layout
    add_to_diagonal(x, value, members, n, rows[0].shape[0])


@inline
def _largest_distance(x, layout):
    _members, n, rows = layout
    total = rows[5]
    fill(total, x.dtype.type(0))
    for entry in range(n * n):
        add_square(row(x, entry, total.shape[0]), total)
    return _largest(total)


# at each site; the slowest decides how many rounds there are; layout = (members, n, six rows)
_sums = add_each, stretch_each, add_stretched_each, _add_same
_arithmetic = _multiply, largest_row_sums, polynomials, *_sums, _largest_distance
inverse_root = inverse_root_with(_arithmetic, keeps_root=False)


@called
def products_of_members(Y, d, pairs, shape):
    """Y[q, a] Y[q, b] in row a n + b of `pairs`, and Y[q, a] d[q] behind them in row n n + a; q lies along a row."""
    members, n, observations, width, across = shape
    for q in range(observations):
        own = row(Y, q, width)
        for a in range(members):
            for b in range(members):
                pairs[(a * n + b) * across + q] = own[a] * own[b]
            pairs[(n * n + a) * across + q] = own[a] * d[q]


@inline
def _piece(x, i, width, begin, chunk):
    return x[i * width + begin : i * width + begin + chunk]


@inline
def _six_rows(x, chunk):
    half = row(x, 0, chunk), row(x, 1, chunk), row(x, 2, chunk)
    return *half, row(x, 3, chunk), row(x, 4, chunk), row(x, 5, chunk)


@called
def transform(mean, A, Y, d, coefficients, more_room, room, shape):
    """The symmetric transform at each site (Hunt et al. 2007, eqs. 21 and 23), where the precision of each observation
    is multiplied by its coefficient; these lie in chunks of sites, in each a row for each observation.

    The matrices of `room` have n rows more, which are for the right-hand sides; there is more room for products of
    members, for `ROWS` rows of a chunk, and for as much as Y and d. `shape` is (members, n, observations, width of a
    row of members and of one of observations, chunk).
    """
    (C, inverse, root, other), (pairs, room_of_rows, seen) = room.matrices, more_room
    members, n, observations, width, across, chunk = shape
    rows, moved = _six_rows(room_of_rows, chunk), row(room_of_rows, 6, chunk)
    sites, prior, zero, one = mean.shape[0], mean.dtype.type(members - 1), mean.dtype.type(0), mean.dtype.type(1)
    products_of_members(Y, d, pairs, shape[:5])
    lines, matrix = n * n + n, n * n * chunk
    for begin in range(0, sites, chunk):
        size = rows_of(observations) * chunk
        own = coefficients[begin // chunk * size : (begin // chunk + 1) * size]
        fill(C, zero)
        add_product(pairs, (across, 1), own, C, (lines, observations, chunk))
        b, t = C[matrix : matrix + n * chunk], inverse[matrix : matrix + n * chunk]
        x, Z = C[:matrix], inverse[:matrix]
        add_to_diagonal(x, prior, members, n, chunk)
        if not inverse_root(x, prior, Z, root[:matrix], other[:matrix], (members, n, rows)):
            for site in range(begin, begin + chunk):
                transform_site(mean, A, Y, d, own[site - begin :], site, seen, room, (members, observations, chunk))
            continue
        multiply_vector(Z, b, t, members, n, chunk)
        multiply_vector(Z, t, b, members, n, chunk)
        fill(moved, zero)
        for a in range(members):
            add_product_of_each(row(b, a, chunk), _piece(A, a, sites, begin, chunk), moved)
        add_row(moved, mean[begin : begin + chunk], one)
        # the new anomalies wait until none of the old ones is needed
        for member in range(members):
            waiting = row(other, member, chunk)
            fill(waiting, zero)
            for a in range(members):
                add_product_of_each(row(Z, member * n + a, chunk), _piece(A, a, sites, begin, chunk), waiting)
        for member in range(members):
            target = _piece(A, member, sites, begin, chunk)
            fill(target, zero)
            add_row(row(other, member, chunk), target, prior ** mean.dtype.type(0.5))


@called
def transform_site(mean, A, Y, d, coefficients, site, seen, room, shape):
    """The transform at one site, with the observations that it sees, however accurate they are: `seen` is for these."""
    members, observations, chunk = shape
    (Y_seen, d_seen), own, total = seen, room.matrices[0][:members], room.total[:1]
    sites, width, zero, half = mean.shape[0], room.b.shape[0], mean.dtype.type(0), mean.dtype.type(0.5)
    count = 0
    for q in range(observations):
        coefficient = coefficients[q * chunk]
        if coefficient > zero:
            copy(row(Y, q, width), row(Y_seen, count, width))
            scale(row(Y_seen, count, width), coefficient**half)
            d_seen[count] = coefficient**half * d[q]
            count += 1
    for member in range(members):
        own[member] = A[member * sites + site]
    alone = Workspace(room.matrices, room.B, room.b, room.w, total, room.column)
    transform_in_turn(mean[site : site + 1], own, Y_seen[: count * width], d_seen, alone, (members, count, width))
    for member in range(members):
        A[member * sites + site] = own[member]


@called
def multiply_vector(Z, b, t, members, n, chunk):
    """t = Z b at each site."""
    fill(t, t.dtype.type(0))
    for i in range(members):
        for j in range(members):
            add_product_of_each(row(Z, i * n + j, chunk), row(b, j, chunk), row(t, i, chunk))
